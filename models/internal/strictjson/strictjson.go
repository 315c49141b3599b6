// Package strictjson reads JSON that strangers wrote. What encoding/json lets pass is refused: a key that appears twice,
// bytes that are not UTF-8, halves of surrogate pairs, integers outside [-2^63, 2^64-1], numbers that are no float64,
// and nesting without end. Keys are matched letter for letter, and fields that nobody asks for keep their bytes.
package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// MaxDepth is how deep arrays and objects may nest.
const MaxDepth = 128

// Object is the fields of a JSON object in their order.
type Object []Field

// Field is a key and the text of its value.
type Field struct {
	Key   string
	Value json.RawMessage
}

// Parse takes an object apart and proves all of it, nested values too. The values share the text's memory.
func Parse(text []byte) (Object, error) {
	s := scanner{text: text}
	s.space()
	if s.at == len(text) || text[s.at] != '{' {
		return nil, s.problem("no object: want {")
	}
	var fields Object
	if err := s.object(func(key string, value []byte) { fields = append(fields, Field{key, value}) }); err != nil {
		return nil, err
	}
	return fields, s.end()
}

// Elements takes an array apart.
func Elements(text []byte) ([]json.RawMessage, error) {
	s := scanner{text: text}
	s.space()
	if s.at == len(text) || text[s.at] != '[' {
		return nil, fmt.Errorf("want an array, not %s", shorten(text))
	}
	list := []json.RawMessage{}
	if err := s.array(func(value []byte) error { list = append(list, value); return nil }); err != nil {
		return nil, err
	}
	return list, s.end()
}

// Get is the value of a key, nil if there is none.
func (o Object) Get(key string) json.RawMessage {
	for _, f := range o {
		if f.Key == key {
			return f.Value
		}
	}
	return nil
}

// Take is the value of a key, which leaves the object; nil if there is none.
func (o *Object) Take(key string) json.RawMessage {
	for i, f := range *o {
		if f.Key == key {
			if *o = append((*o)[:i:i], (*o)[i+1:]...); len(*o) == 0 {
				*o = nil // and with it the memory
			}
			return f.Value
		}
	}
	return nil
}

// IsNull reports whether a value is absent or null.
func IsNull(value []byte) bool { return len(value) == 0 || string(value) == "null" }

// String is a JSON string.
func String(value []byte) (string, error) {
	if len(value) < 2 || value[0] != '"' {
		return "", fmt.Errorf("want a string, not %s", shorten(value))
	}
	var text string
	err := json.Unmarshal(value, &text)
	return text, err
}

// Int is an integer from low to high, written without point or exponent.
func Int(value []byte, low, high int64) (int64, error) {
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("want an integer from %d to %d, not %s", low, high, shorten(value))
	}
	return n, nil
}

// Float is a finite number.
func Float(value []byte) (float64, error) {
	v, err := number(value)
	if err != nil || math.IsInf(v, 0) {
		return 0, fmt.Errorf("want a number, not %s", shorten(value))
	}
	return v, nil
}

// Float32s appends an array of numbers to dst. Each is rounded to float32 and must be finite there.
func Float32s(dst []float32, value []byte) ([]float32, error) {
	s := scanner{text: value}
	s.space()
	if s.at == len(value) || value[s.at] != '[' {
		return nil, fmt.Errorf("want an array of numbers, not %s", shorten(value))
	}
	begin := len(dst)
	err := s.array(func(text []byte) error {
		v, err := number(text)
		if err != nil {
			return fmt.Errorf("element %d: want a number, not %s", len(dst)-begin, shorten(text))
		}
		f := float32(v)
		if math.IsInf(float64(f), 0) {
			return fmt.Errorf("element %d: %s is no finite float32", len(dst)-begin, shorten(text))
		}
		dst = append(dst, f)
		return nil
	})
	return dst, err
}

// Float64s is an array of finite numbers.
func Float64s(value []byte) ([]float64, error) {
	elements, err := Elements(value)
	if err != nil {
		return nil, err
	}
	list := make([]float64, len(elements))
	for i, e := range elements {
		if list[i], err = Float(e); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return list, nil
}

// number parses a JSON number without a copy of its text.
func number(text []byte) (float64, error) {
	if len(text) == 0 || text[0] != '-' && (text[0] < '0' || text[0] > '9') { // ParseFloat also knows "inf" and "+1"
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(unsafe.String(&text[0], len(text)), 64)
}

func shorten(text []byte) string {
	switch {
	case len(text) == 0:
		return "nothing"
	case len(text) > 40:
		return string(text[:37]) + "..."
	}
	return string(text)
}

// Quote is a string as JSON; unlike encoding/json it leaves <, > and & as they are.
func Quote(text string) ([]byte, error) {
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("%q is not UTF-8", text)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(text)
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), err
}

// AppendFloat32s appends an array with as many digits as tell each float32 from its neighbours.
func AppendFloat32s(dst []byte, values []float32) []byte {
	dst = append(dst, '[')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendFloat(dst, float64(v), 'g', -1, 32)
	}
	return append(dst, ']')
}

// Append appends a field to an object in the making. Its value is proved and loses white space, which could hold line
// ends.
func (f Field) Append(dst []byte) ([]byte, error) {
	key, err := Quote(f.Key)
	if err != nil {
		return dst, fmt.Errorf("key: %w", err)
	}
	s := scanner{text: f.Value}
	if err = s.value(); err == nil {
		err = s.end()
	}
	if err != nil {
		return dst, fmt.Errorf("%s: %w", f.Key, err)
	}
	b := bytes.NewBuffer(append(append(dst, key...), ':'))
	err = json.Compact(b, f.Value)
	return b.Bytes(), err
}

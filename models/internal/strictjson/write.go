package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// ObjectWriter builds an object in a given order of keys. The first error sticks.
type ObjectWriter struct {
	fields [][]byte // "key":value
	seen   map[string]bool
	err    error
}

// NewObjectWriter begins an object.
func NewObjectWriter() *ObjectWriter { return &ObjectWriter{seen: map[string]bool{}} }

// Add adds what encoding/json makes of a value, without its escapes for HTML.
func (w *ObjectWriter) Add(key string, value any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil && w.err == nil {
		w.err = fmt.Errorf("%s: %w", key, err)
	}
	w.Raw(key, b.Bytes())
}

// Raw adds a value that is JSON already.
func (w *ObjectWriter) Raw(key string, value []byte) {
	if w.err == nil && w.seen[key] {
		w.err = fmt.Errorf("key %q appears twice", key)
	}
	if w.err != nil {
		return
	}
	w.seen[key] = true
	var field []byte
	field, w.err = Field{key, value}.Append(nil)
	w.fields = append(w.fields, field)
}

// Object adds another writer's object.
func (w *ObjectWriter) Object(key string, o *ObjectWriter) {
	text, err := o.Bytes()
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("%s: %w", key, err)
	}
	w.Raw(key, text)
}

// Keep adds fields as they are.
func (w *ObjectWriter) Keep(fields Object) {
	for _, f := range fields {
		w.Raw(f.Key, f.Value)
	}
}

// Bytes is the object on one line.
func (w *ObjectWriter) Bytes() ([]byte, error) { return w.join("{", ",", "}") }

// Document is the object with a line for each field, for people to read.
func (w *ObjectWriter) Document() ([]byte, error) { return w.join("{\n  ", ",\n  ", "\n}\n") }

func (w *ObjectWriter) join(before, between, after string) ([]byte, error) {
	if w.err != nil {
		return nil, w.err
	}
	return append(append([]byte(before), bytes.Join(w.fields, []byte(between))...), after...), nil
}

package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// ObjectWriter builds an object in a given order of keys. The first error sticks.
type ObjectWriter struct {
	text []byte
	seen map[string]bool
	err  error
}

// NewObjectWriter begins an object.
func NewObjectWriter() *ObjectWriter {
	return &ObjectWriter{text: []byte{'{'}, seen: map[string]bool{}}
}

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
	if w.err != nil {
		return
	}
	if w.seen[key] {
		w.err = fmt.Errorf("key %q appears twice", key)
		return
	}
	w.seen[key] = true
	if len(w.text) > 1 {
		w.text = append(w.text, ',')
	}
	w.text, w.err = Field{key, value}.Append(w.text)
}

// Keep adds fields as they are.
func (w *ObjectWriter) Keep(fields Object) {
	for _, f := range fields {
		w.Raw(f.Key, f.Value)
	}
}

// Bytes is the object.
func (w *ObjectWriter) Bytes() ([]byte, error) { return append(w.text, '}'), w.err }

// Indent lays JSON out for people, and ends it with a line.
func Indent(text []byte) ([]byte, error) {
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

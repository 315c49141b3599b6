// Package gguf reads and writes model files of the GGUF format, version 3: a table of keys, a table of tensors, and the
// tensors' little-endian data (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). The variant of PowerInfer,
// whose magic is PWRI, is read as well: it is the same but for the tensors of its predictors.
//
// The reader takes nothing on trust: counts, lengths and shapes are proved before memory is taken, tensors lie in the
// file, apart from each other. The writer publishes by rename, so a file is whole or not there.
package gguf

import (
	"errors"
	"fmt"
	"strings"

	"github.com/credence-ml/credence/models/internal/mapped"
)

// The magics: the first four bytes of a file.
const (
	Magic           = "GGUF"
	MagicPowerInfer = "PWRI"
)

// MaxHeader is the largest size in bytes of the two tables that is accepted.
const MaxHeader = 100_000_000

const defaultAlignment = 32

// FormatError says why a file is not a GGUF file, or a broken one.
type FormatError struct {
	Path   string // empty for data in memory
	Reason error
}

// Error names the file and what is wrong.
func (e *FormatError) Error() string {
	if e.Path == "" {
		return "gguf: " + e.Reason.Error()
	}
	return e.Path + ": " + e.Reason.Error()
}

// Unwrap is the reason.
func (e *FormatError) Unwrap() error { return e.Reason }

// Key is an entry of the file's table of keys. Value is a uint8, int8, uint16, int16, uint32, int32, uint64, int64,
// float32, float64, bool or string, or a slice of one of these.
type Key struct {
	Name  string
	Value any
}

// Tensor is a named array. Shape is outermost first, the reverse of the order in the file.
type Tensor struct {
	Name   string
	Type   Type
	Shape  []int64
	Offset int64  // bytes from the start of the file
	Data   []byte // in a file that was opened, its mapped memory
}

// Predictor reports whether the tensor is one of PowerInfer's predictors, which guess a layer's active neurons.
func (t *Tensor) Predictor() bool {
	return strings.HasPrefix(t.Name, "blk.") && (strings.Contains(t.Name, ".fc1.") || strings.Contains(t.Name, ".fc2.")) ||
		strings.Contains(t.Name, ".gpu_idx") || strings.Contains(t.Name, ".gpu_bucket")
}

// File is an open model file. Its methods may be called concurrently.
type File struct {
	Magic   string
	Keys    []Key
	Tensors []Tensor // in the order of the file's table

	byKey  map[string]any
	byName map[string]int
	part   *mapped.File
}

// Open maps a file into memory, read-only, so that only what is used is read. The tensors' Data must not be touched
// after Close.
func Open(path string) (*File, error) {
	part, err := mapped.Open(path)
	if err != nil {
		return nil, err
	}
	f, err := parse(part.Data)
	if err != nil {
		return nil, errors.Join(&FormatError{path, err}, part.Close())
	}
	f.part = part
	return f, nil
}

// Parse reads a file that is in memory. The tensors share data's memory.
func Parse(data []byte) (*File, error) {
	f, err := parse(data)
	if err != nil {
		return nil, &FormatError{Reason: err}
	}
	return f, nil
}

// Part is the mapped file; nil for data in memory.
func (f *File) Part() *mapped.File { return f.part }

// Close gives the mapped memory back. A second call does nothing.
func (f *File) Close() error {
	f.Tensors, f.byName = nil, nil
	if f.part == nil {
		return nil
	}
	return f.part.Close()
}

// Tensor is the tensor of that name, or nil.
func (f *File) Tensor(name string) *Tensor {
	if i, ok := f.byName[name]; ok {
		return &f.Tensors[i]
	}
	return nil
}

// Has reports whether there is such a key.
func (f *File) Has(key string) bool { _, ok := f.byKey[key]; return ok }

// Value is the value of a key, nil if it is not there.
func (f *File) Value(key string) any { return f.byKey[key] }

// ErrNoKey is the error of a key that is not in the file.
var ErrNoKey = errors.New("no such key")

// String is the value of a key that must be a string.
func (f *File) String(key string) (string, error) { return get[string](f, key) }

// Bool is the value of a key that must be a bool.
func (f *File) Bool(key string) (bool, error) { return get[bool](f, key) }

// Strings is the value of a key that must be an array of strings. It must not be changed.
func (f *File) Strings(key string) ([]string, error) { return get[[]string](f, key) }

// Float32s is the value of a key that must be an array of float32. It must not be changed.
func (f *File) Float32s(key string) ([]float32, error) { return get[[]float32](f, key) }

// Int32s is the value of a key that must be an array of int32. It must not be changed.
func (f *File) Int32s(key string) ([]int32, error) { return get[[]int32](f, key) }

func get[T any](f *File, key string) (T, error) {
	var value T
	v, ok := f.byKey[key]
	if !ok {
		return value, fmt.Errorf("%w: %s", ErrNoKey, key)
	}
	value, ok = v.(T)
	if !ok {
		return value, fmt.Errorf("%s is a %T, not a %T", key, v, value)
	}
	return value, nil
}

// Int is the value of a key that must be an integer that fits in 63 bits.
func (f *File) Int(key string) (int64, error) {
	v, ok := f.byKey[key]
	if !ok {
		return 0, fmt.Errorf("%w: %s", ErrNoKey, key)
	}
	switch v := v.(type) {
	case uint8:
		return int64(v), nil
	case int8:
		return int64(v), nil
	case uint16:
		return int64(v), nil
	case int16:
		return int64(v), nil
	case uint32:
		return int64(v), nil
	case int32:
		return int64(v), nil
	case int64:
		return v, nil
	case uint64:
		if v < 1<<63 {
			return int64(v), nil
		}
	}
	return 0, fmt.Errorf("%s is %v (%T), not an integer", key, v, v)
}

// Float is the value of a key that must be a number.
func (f *File) Float(key string) (float64, error) {
	switch v := f.byKey[key].(type) {
	case float32:
		return float64(v), nil
	case float64:
		return v, nil
	}
	n, err := f.Int(key)
	return float64(n), err
}

package gguf

import (
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/credence-ml/credence/models/internal/atomicfile"
)

// Source is a tensor to be written. Write is called once, in the order of the tensors, and writes exactly the bytes that
// type and shape ask for, so that a large model is never in memory as a whole.
type Source struct {
	Name  string
	Type  Type
	Shape []int64 // outermost first
	Write func(w io.Writer) error
}

// Write replaces the file at path by one with these keys and tensors. Whatever happens meanwhile, the path holds the
// old file or the new one, whole.
func Write(path string, keys []Key, tensors []Source) error {
	return atomicfile.Write(path, func(w io.Writer) error { return Encode(w, keys, tensors) })
}

// Encode writes a file with keys and tensors in the given order. A key general.alignment is respected.
func Encode(w io.Writer, keys []Key, tensors []Source) error {
	h := header{alignment: defaultAlignment}
	h.text = append(h.text, Magic...)
	h.text = binary.LittleEndian.AppendUint32(h.text, version)
	h.text = binary.LittleEndian.AppendUint64(h.text, uint64(len(tensors)))
	h.text = binary.LittleEndian.AppendUint64(h.text, uint64(len(keys)))
	if err := h.keys(keys); err != nil {
		return fmt.Errorf("gguf: %w", err)
	}
	sizes, err := h.tensors(tensors)
	if err != nil {
		return fmt.Errorf("gguf: %w", err)
	}
	h.text = append(h.text, make([]byte, h.padding(int64(len(h.text))))...)
	if len(h.text) > MaxHeader {
		return fmt.Errorf("gguf: keys and tensor table have %d bytes, at most %d are allowed", len(h.text), MaxHeader)
	}
	if _, err := w.Write(h.text); err != nil {
		return err
	}
	for i, t := range tensors {
		counted := &counter{w: w}
		if err := t.Write(counted); err != nil {
			return err
		}
		if counted.n != sizes[i] {
			return fmt.Errorf("gguf: tensor %q is %v%v, that is %d bytes, but %d were written", t.Name, t.Type, t.Shape, sizes[i], counted.n)
		}
		if _, err := w.Write(make([]byte, h.padding(sizes[i]))); err != nil {
			return err
		}
	}
	return nil
}

type header struct {
	text      []byte
	alignment int64
}

func (h *header) padding(n int64) int64 { return (h.alignment - n%h.alignment) % h.alignment }

func (h *header) string(s string) {
	h.text = binary.LittleEndian.AppendUint64(h.text, uint64(len(s)))
	h.text = append(h.text, s...)
}

func (h *header) keys(keys []Key) error {
	seen := map[string]bool{}
	for _, k := range keys {
		if seen[k.Name] || !utf8.ValidString(k.Name) || k.Name == "" {
			return fmt.Errorf("the key %q is taken, empty or not UTF-8", k.Name)
		}
		seen[k.Name] = true
		kind, element, n, err := kindOf(k.Value)
		if err != nil {
			return fmt.Errorf("key %s: %w", k.Name, err)
		}
		h.string(k.Name)
		h.text = binary.LittleEndian.AppendUint32(h.text, kind)
		if kind == kindArray {
			h.text = binary.LittleEndian.AppendUint32(h.text, element)
			h.text = binary.LittleEndian.AppendUint64(h.text, uint64(n))
		}
		switch v := k.Value.(type) {
		case string:
			h.string(v)
		case []string:
			for _, s := range v {
				h.string(s)
			}
		default:
			if h.text, err = binary.Append(h.text, binary.LittleEndian, v); err != nil {
				return fmt.Errorf("key %s: %w", k.Name, err)
			}
		}
		if k.Name == "general.alignment" {
			a, ok := k.Value.(uint32)
			if !ok || a < 8 || a&(a-1) != 0 || a > 1<<20 {
				return fmt.Errorf("key %s: %v is not a uint32 power of two from 8 to %d", k.Name, k.Value, 1<<20)
			}
			h.alignment = int64(a)
		}
	}
	return nil
}

func (h *header) tensors(tensors []Source) ([]int64, error) {
	seen, sizes, at := map[string]bool{}, make([]int64, len(tensors)), int64(0)
	for i, t := range tensors {
		if seen[t.Name] || !utf8.ValidString(t.Name) {
			return nil, fmt.Errorf("the tensor name %q is taken or not UTF-8", t.Name)
		}
		seen[t.Name] = true
		if len(t.Shape) > maxDims {
			return nil, fmt.Errorf("tensor %q has %d dimensions; at most %d are possible", t.Name, len(t.Shape), maxDims)
		}
		size, err := t.Type.bytesOf(t.Shape)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		h.string(t.Name)
		h.text = binary.LittleEndian.AppendUint32(h.text, uint32(len(t.Shape)))
		for k := range t.Shape {
			h.text = binary.LittleEndian.AppendUint64(h.text, uint64(t.Shape[len(t.Shape)-1-k]))
		}
		h.text = binary.LittleEndian.AppendUint32(h.text, uint32(t.Type))
		h.text = binary.LittleEndian.AppendUint64(h.text, uint64(at))
		sizes[i] = size
		at += size + h.padding(size)
	}
	return sizes, nil
}

// counter counts what passes to w.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"
	"unicode/utf8"

	"github.com/credence-ml/credence/models/internal/atomicfile"
)

// Write replaces the file at path by one with these tensors and metadata. Whatever happens meanwhile, the path holds
// the old file or the new one, whole.
func Write(path string, tensors []Tensor, metadata map[string]string) error {
	return atomicfile.Write(path, func(w io.Writer) error { return Encode(w, tensors, metadata) })
}

// Encode writes a file. The same tensors and metadata give the same bytes, in whatever order they come: tensors lie
// by falling element size and then by name, so that each is aligned to its elements.
func Encode(w io.Writer, tensors []Tensor, metadata map[string]string) error {
	tensors = slices.Clone(tensors)
	sort.SliceStable(tensors, func(i, j int) bool {
		a, b := tensors[i], tensors[j]
		return a.DType.Size() > b.DType.Size() || a.DType.Size() == b.DType.Size() && a.Name < b.Name
	})
	header, err := encodeHeader(tensors, metadata)
	if err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))); err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, t := range tensors {
		if _, err := w.Write(t.Data); err != nil {
			return err
		}
	}
	return nil
}

func encodeHeader(tensors []Tensor, metadata map[string]string) ([]byte, error) {
	type tensor struct {
		DType   DType    `json:"dtype"`
		Shape   []int64  `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	h := header{}
	h.raw('{')
	if metadata != nil {
		h.key(metadataName)
		h.raw('{')
		for _, key := range slices.Sorted(maps.Keys(metadata)) {
			h.key(key)
			h.value(metadata[key])
			if h.err == nil && !utf8.ValidString(metadata[key]) {
				h.err = fmt.Errorf("metadata %q: the value is not UTF-8", key)
			}
		}
		h.raw('}')
	}
	seen, at := map[string]bool{metadataName: true}, int64(0)
	for _, t := range tensors {
		if err := t.check(); err != nil {
			return nil, err
		}
		if seen[t.Name] {
			return nil, fmt.Errorf("the name %q is taken", t.Name)
		}
		seen[t.Name] = true
		end := at + int64(len(t.Data))
		h.key(t.Name)
		h.value(tensor{t.DType, append([]int64{}, t.Shape...), [2]int64{at, end}})
		at = end
	}
	h.raw('}')
	h.text.Write(bytes.Repeat([]byte{' '}, (8-h.text.Len()%8)%8))
	if h.err == nil && h.text.Len() > MaxHeader {
		h.err = fmt.Errorf("the header has %d bytes, at most %d are allowed", h.text.Len(), MaxHeader)
	}
	return h.text.Bytes(), h.err
}

// header builds JSON in a given order of keys.
type header struct {
	text bytes.Buffer
	err  error
}

func (h *header) raw(c byte) { h.text.WriteByte(c) }

func (h *header) key(name string) {
	if h.err == nil && !utf8.ValidString(name) {
		h.err = fmt.Errorf("the name %q is not UTF-8", name)
	}
	if last := h.text.Bytes()[h.text.Len()-1]; last != '{' {
		h.raw(',')
	}
	h.value(name)
	h.raw(':')
}

func (h *header) value(v any) {
	e := json.NewEncoder(&h.text)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil && h.err == nil {
		h.err = err
	}
	h.text.Truncate(h.text.Len() - 1) // the encoder's newline
}

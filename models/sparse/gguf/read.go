package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sort"
	"unicode/utf8"
)

const (
	version = 3
	maxDims = 4 // ggml's
)

// parse takes a whole file apart. The tensors share data's memory.
func parse(data []byte) (*File, error) {
	if len(data) < 24 {
		return nil, fmt.Errorf("%d bytes are too few for a GGUF file", len(data))
	}
	f := &File{Magic: string(data[:4]), byKey: map[string]any{}, byName: map[string]int{}}
	if f.Magic != Magic && f.Magic != MagicPowerInfer {
		return nil, fmt.Errorf("not a GGUF file: it begins with %q, not with %s or %s", f.Magic, Magic, MagicPowerInfer)
	}
	if v := binary.LittleEndian.Uint32(data[4:]); v != version {
		if v>>16 != 0 && v&0xffff == 0 {
			return nil, fmt.Errorf("the file is big-endian, which is not read")
		}
		return nil, fmt.Errorf("version %d of the format; version %d is read", v, version)
	}
	tensors, keys := binary.LittleEndian.Uint64(data[8:]), binary.LittleEndian.Uint64(data[16:])
	r := &reader{data: data, at: 24}
	if err := f.readKeys(r, keys); err != nil {
		return nil, err
	}
	if err := f.readTensors(r, tensors); err != nil {
		return nil, err
	}
	return f, f.place(data, r.at)
}

func (f *File) readKeys(r *reader, n uint64) error {
	if most := uint64(r.left()) / 13; n > most { // a key has 8 bytes of length, 4 of kind and a value
		return fmt.Errorf("%d keys are said to follow, but the file has room for %d: truncated, or not a GGUF file", n, most)
	}
	for i := range n {
		name, err := r.text()
		if err != nil {
			return fmt.Errorf("key %d of %d: %w", i, n, err)
		}
		if !utf8.ValidString(name) || name == "" {
			return fmt.Errorf("key %d of %d: %q is not a name", i, n, name)
		}
		if f.Has(name) {
			return fmt.Errorf("key %s appears twice", name)
		}
		value, err := r.value()
		if err != nil {
			return fmt.Errorf("key %s: %w", name, err)
		}
		f.byKey[name] = value
		f.Keys = append(f.Keys, Key{name, value})
	}
	return nil
}

func (f *File) readTensors(r *reader, n uint64) error {
	if most := uint64(r.left()) / 24; n > most { // name's length, dimensions, type, offset
		return fmt.Errorf("%d tensors are said to follow, but the file has room for %d: truncated, or not a GGUF file", n, most)
	}
	for i := range n {
		name, err := r.text()
		if err != nil {
			return fmt.Errorf("tensor %d of %d: %w", i, n, err)
		}
		if !utf8.ValidString(name) {
			return fmt.Errorf("tensor %d of %d: the name %q is not UTF-8", i, n, name)
		}
		if _, ok := f.byName[name]; ok {
			return fmt.Errorf("tensor %q appears twice", name)
		}
		t, err := r.tensor()
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		t.Name = name
		f.byName[name] = len(f.Tensors)
		f.Tensors = append(f.Tensors, t)
	}
	return nil
}

// place gives the tensors their data, which begins at the first multiple of the alignment after the tables.
func (f *File) place(data []byte, tables int) error {
	alignment := int64(defaultAlignment)
	if f.Has("general.alignment") {
		var err error
		if alignment, err = f.Int("general.alignment"); err != nil {
			return err
		}
		if alignment < 8 || alignment > 1<<20 || alignment&(alignment-1) != 0 {
			return fmt.Errorf("general.alignment is %d; a power of two from 8 to %d is needed", alignment, 1<<20)
		}
	}
	base := (int64(tables) + alignment - 1) / alignment * alignment
	order := make([]*Tensor, len(f.Tensors))
	for i := range f.Tensors {
		order[i] = &f.Tensors[i]
	}
	sort.SliceStable(order, func(i, j int) bool { return order[i].Offset < order[j].Offset })
	end, before := int64(0), ""
	for _, t := range order {
		size, err := t.Type.bytesOf(t.Shape)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if t.Offset%alignment != 0 {
			return fmt.Errorf("tensor %q: offset %d is not a multiple of the alignment, %d", t.Name, t.Offset, alignment)
		}
		if size > 0 {
			if t.Offset < end {
				return fmt.Errorf("tensor %q begins at byte %d of the data, within tensor %q, which ends at %d: tensors overlap", t.Name, t.Offset, before, end)
			}
			if room := int64(len(data)) - base; t.Offset > room || size > room-t.Offset {
				return fmt.Errorf("tensor %q: bytes %d to %d of the data, of which there are %d: truncated", t.Name, t.Offset, uint64(t.Offset)+uint64(size), max(0, room))
			}
			end, before = t.Offset+size, t.Name
			t.Data = data[base+t.Offset : base+end : base+end]
		}
		t.Offset += base
	}
	return nil
}

// reader walks through the tables.
type reader struct {
	data []byte
	at   int
}

func (r *reader) left() int { return len(r.data) - r.at }

var errTruncated = errors.New("the file ends in the middle: truncated")

// take is the next n bytes.
func (r *reader) take(n uint64) ([]byte, error) {
	if n > uint64(r.left()) {
		return nil, errTruncated
	}
	if r.at+int(n) > MaxHeader {
		return nil, fmt.Errorf("keys and tensor table have more than %d bytes", MaxHeader)
	}
	b := r.data[r.at : r.at+int(n)]
	r.at += int(n)
	return b, nil
}

func (r *reader) uint32() (uint32, error) {
	b, err := r.take(4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (r *reader) uint64() (uint64, error) {
	b, err := r.take(8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

func (r *reader) text() (string, error) {
	n, err := r.uint64()
	if err != nil {
		return "", err
	}
	b, err := r.take(n)
	return string(b), err
}

func (r *reader) tensor() (t Tensor, err error) {
	dims, err := r.uint32()
	if err != nil {
		return t, err
	}
	if dims > maxDims {
		return t, fmt.Errorf("%d dimensions; at most %d are possible", dims, maxDims)
	}
	t.Shape = make([]int64, dims)
	for k := range dims {
		n, err := r.uint64()
		if err != nil {
			return t, err
		}
		if n > math.MaxInt64 {
			return t, fmt.Errorf("dimension %d is %d", k, n)
		}
		t.Shape[dims-1-k] = int64(n)
	}
	kind, err := r.uint32()
	if err != nil {
		return t, err
	}
	t.Type = Type(kind)
	offset, err := r.uint64()
	if err == nil && offset > math.MaxInt64 {
		err = fmt.Errorf("offset %d", offset)
	}
	t.Offset = int64(offset)
	return t, err
}

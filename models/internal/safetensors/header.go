package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strconv"
	"unicode/utf8"
)

// MaxHeader is the largest header in bytes that the format allows.
const MaxHeader = 100_000_000

const metadataName = "__metadata__"

// parse takes a whole file apart. The tensors share data's memory.
func parse(data []byte) (map[string]Tensor, map[string]string, error) {
	if len(data) < 8 {
		return nil, nil, fmt.Errorf("%d bytes are too few for a safetensors file", len(data))
	}
	size := binary.LittleEndian.Uint64(data)
	if size > MaxHeader {
		return nil, nil, fmt.Errorf("not a safetensors file: its header would have %d bytes, at most %d are allowed", size, MaxHeader)
	}
	if size > uint64(len(data)-8) {
		return nil, nil, fmt.Errorf("the header has %d bytes, but only %d follow: truncated, or not a safetensors file", size, len(data)-8)
	}
	header, data := data[8:8+size], data[8+size:]
	if len(header) == 0 || header[0] != '{' {
		return nil, nil, fmt.Errorf("not a safetensors file: the header does not start with {")
	}
	entries, metadata, err := parseHeader(header)
	if err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	// Each byte belongs to exactly one tensor: files cannot smuggle anything between them.
	sort.Slice(entries, func(i, j int) bool {
		a, b := entries[i], entries[j]
		return a.begin < b.begin || a.begin == b.begin && a.end < b.end
	})
	tensors, at := make(map[string]Tensor, len(entries)), int64(0)
	for _, e := range entries {
		if e.begin != at || e.end < e.begin {
			return nil, nil, fmt.Errorf("tensor %q: data offsets [%d %d] where %d was to follow: tensors overlap or leave a gap", e.Name, e.begin, e.end, at)
		}
		if e.end > int64(len(data)) {
			return nil, nil, fmt.Errorf("tensor %q ends at byte %d of %d: truncated", e.Name, e.end, len(data))
		}
		e.Data, e.Offset = data[e.begin:e.end:e.end], 8+int64(size)+e.begin
		if err := e.check(); err != nil {
			return nil, nil, err
		}
		tensors[e.Name], at = e.Tensor, e.end
	}
	if at != int64(len(data)) {
		return nil, nil, fmt.Errorf("the tensors end at byte %d, but there are %d", at, len(data))
	}
	return tensors, metadata, nil
}

type entry struct {
	Tensor
	begin, end int64
}

// headerReader reads JSON token by token, since encoding/json's maps would accept a name that appears twice.
type headerReader struct{ *json.Decoder }

func parseHeader(header []byte) ([]entry, map[string]string, error) {
	if !utf8.Valid(header) {
		return nil, nil, fmt.Errorf("not UTF-8")
	}
	r := newHeaderReader(header)
	var entries []entry
	var metadata map[string]string
	err := r.object(func(name string) error {
		if name == metadataName {
			metadata = map[string]string{}
			return r.object(func(key string) error {
				value, err := next[string](r)
				metadata[key] = value
				return err
			})
		}
		e := entry{Tensor: Tensor{Name: name}}
		err := r.tensor(&e)
		entries = append(entries, e)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return entries, metadata, r.end()
}

func newHeaderReader(text []byte) headerReader {
	r := headerReader{json.NewDecoder(bytes.NewReader(text))}
	r.UseNumber()
	return r
}

func (r headerReader) end() error {
	if _, err := r.Token(); err != io.EOF {
		return fmt.Errorf("something follows the closing brace")
	}
	return nil
}

// object calls field at each value of an object, whose keys must differ.
func (r headerReader) object(field func(key string) error) error {
	if err := r.delim('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for r.More() {
		key, err := next[string](r)
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("%q appears twice", key)
		}
		seen[key] = true
		if err := field(key); err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
	}
	return r.delim('}')
}

func (r headerReader) tensor(e *entry) error {
	fields := 0
	err := r.object(func(key string) (err error) {
		fields++
		switch key {
		case "dtype":
			var name string
			name, err = next[string](r)
			e.DType = DType(name)
		case "shape":
			e.Shape, err = r.sizes()
		case "data_offsets":
			var offsets []int64
			if offsets, err = r.sizes(); err == nil && len(offsets) != 2 {
				err = fmt.Errorf("%d numbers, want 2", len(offsets))
			}
			if err == nil {
				e.begin, e.end = offsets[0], offsets[1]
			}
		default:
			err = fmt.Errorf("not a field of a tensor")
		}
		return err
	})
	if err == nil && fields != 3 {
		err = fmt.Errorf("want dtype, shape and data_offsets")
	}
	return err
}

// sizes reads an array of non-negative integers.
func (r headerReader) sizes() ([]int64, error) {
	if err := r.delim('['); err != nil {
		return nil, err
	}
	list := []int64{}
	for r.More() {
		number, err := next[json.Number](r)
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseUint(number.String(), 10, 63)
		if err != nil {
			return nil, fmt.Errorf("%s is not a size", number)
		}
		list = append(list, int64(n))
	}
	return list, r.delim(']')
}

func (r headerReader) delim(want json.Delim) error {
	got, err := next[json.Delim](r)
	if err == nil && got != want {
		err = fmt.Errorf("%v where %v was expected", got, want)
	}
	return err
}

// next is the next token, which must be of type T.
func next[T json.Delim | json.Number | string](r headerReader) (T, error) {
	token, err := r.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	value, ok := token.(T)
	if err == nil && !ok {
		err = fmt.Errorf("%v where %T was expected", token, value)
	}
	return value, err
}

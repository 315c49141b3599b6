package gguf

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// testdata/python.gguf was written by the Python package gguf 0.19.0 (testdata/python.py).
func TestReadsPythonsFile(t *testing.T) {
	f, err := Open(filepath.Join("testdata", "python.gguf"))
	require.NoError(t, err)
	defer f.Close()
	assert.Equal(t, Magic, f.Magic)
	for key, want := range map[string]any{"general.architecture": "llama", "test.count": uint32(7), "test.epsilon": float32(1e-5), "test.flag": true,
		"test.text": "Größe", "test.tokens": []string{"a", "▁b", ""}, "test.ids": []int32{3, -1}, "test.big": uint64(1 << 40)} {
		assert.Equal(t, want, f.Value(key), key)
	}
	count, err := f.Int("test.count")
	require.NoError(t, err)
	assert.EqualValues(t, 7, count)
	_, err = f.Int("test.text")
	assert.ErrorContains(t, err, "test.text is Größe (string), not an integer")
	_, err = f.String("missing")
	assert.ErrorIs(t, err, ErrNoKey)

	var names []string
	for _, tensor := range f.Tensors {
		names = append(names, tensor.Name)
		assert.Equal(t, []int64{2, 64}, tensor.Shape)
		assert.False(t, tensor.Predictor())
		assert.Equal(t, tensor.Data, f.Part().Data[tensor.Offset:][:len(tensor.Data)], "where the tensor says it lies")
	}
	assert.Equal(t, []string{"plain", "half", "BF16", "Q8_0", "Q4_0"}, names)
	plain := f.Tensor("plain")
	assert.Equal(t, F32, plain.Type)
	for i := range 128 {
		assert.Equal(t, (float32(i)-40)/16, math.Float32frombits(binary.LittleEndian.Uint32(plain.Data[4*i:])))
	}
	for name, size := range map[string]int{"half": 256, "BF16": 256, "Q8_0": 4 * 34, "Q4_0": 4 * 18} {
		assert.Len(t, f.Tensor(name).Data, size, name)
	}
	assert.Nil(t, f.Tensor("missing"))
	require.NoError(t, f.Close())
	require.NoError(t, f.Close(), "a second Close")
}

func source(name string, kind Type, shape []int64, data []byte) Source {
	return Source{name, kind, shape, func(w io.Writer) error { _, err := w.Write(data); return err }}
}

func examples() ([]Key, []Source) {
	keys := []Key{{"a", uint8(1)}, {"b", int8(-1)}, {"c", uint16(2)}, {"d", int16(-2)}, {"e", uint32(3)}, {"f", int32(-3)}, {"g", uint64(4)},
		{"h", int64(-4)}, {"i", float32(.5)}, {"j", 1e300}, {"k", false}, {"l", "text"}, {"m", []uint8{1, 2}}, {"n", []int8{-1}}, {"o", []uint16{}},
		{"p", []int16{1}}, {"q", []uint32{1}}, {"r", []int32{1}}, {"s", []uint64{1}}, {"t", []int64{1}}, {"u", []float32{1}}, {"v", []float64{1}},
		{"w", []bool{true, false}}, {"x", []string{"", "\xff"}}}
	return keys, []Source{source("one", F32, []int64{3}, make([]byte, 12)), source("blocks", Q8_0, []int64{1, 32}, bytes.Repeat([]byte{7}, 34)),
		source("empty", BF16, []int64{0, 5}, nil), source("scalar", F16, nil, []byte{1, 2})}
}

func TestRoundTrip(t *testing.T) {
	for _, alignment := range []uint32{0, 8, 64, 4096} {
		keys, tensors := examples()
		if alignment != 0 {
			keys = append(keys, Key{"general.alignment", alignment})
		}
		path := filepath.Join(t.TempDir(), "m.gguf")
		require.NoError(t, Write(path, keys, tensors))
		f, err := Open(path)
		require.NoError(t, err)
		defer f.Close()
		assert.Equal(t, keys, f.Keys)
		require.Len(t, f.Tensors, len(tensors))
		for i, want := range tensors {
			var data bytes.Buffer
			require.NoError(t, want.Write(&data))
			got := f.Tensors[i]
			assert.Equal(t, want.Name, got.Name)
			assert.Equal(t, want.Type, got.Type)
			assert.Equal(t, append([]int64{}, want.Shape...), got.Shape)
			assert.True(t, bytes.Equal(data.Bytes(), got.Data), want.Name)
			if alignment != 0 {
				assert.Zero(t, got.Offset%int64(alignment))
			}
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	one := source("x", F32, []int64{1}, make([]byte, 4))
	for want, c := range map[string]struct {
		keys    []Key
		tensors []Source
	}{
		`"x" is taken`:                          {tensors: []Source{one, one}},
		`the key "k" is taken`:                  {keys: []Key{{"k", "1"}, {"k", "2"}}},
		`a value of type int cannot be`:         {keys: []Key{{"k", 1}}},
		`not a uint32 power of two`:             {keys: []Key{{"general.alignment", uint32(3)}}},
		`that is 8 bytes, but 4 were written`:   {tensors: []Source{source("x", F32, []int64{2}, make([]byte, 4))}},
		`are not whole blocks of 32`:            {tensors: []Source{source("x", Q8_0, []int64{2, 33}, nil)}},
		`a single number cannot be q4_0`:        {tensors: []Source{source("x", Q4_0, nil, nil)}},
		`q6_K is not read`:                      {tensors: []Source{source("x", 14, []int64{256}, nil)}},
		`has 5 dimensions; at most 4`:           {tensors: []Source{source("x", F32, []int64{1, 1, 1, 1, 1}, make([]byte, 4))}},
		`shape [1099511627776 16777216] is too`: {tensors: []Source{source("x", F32, []int64{1 << 40, 1 << 24}, nil)}},
	} {
		assert.ErrorContains(t, Encode(io.Discard, c.keys, c.tensors), want)
	}
	path := filepath.Join(t.TempDir(), "m")
	require.Error(t, Write(path, nil, []Source{one, one}))
	assert.NoFileExists(t, path)
}

// raw builds a file by hand.
type raw struct{ bytes.Buffer }

func (r *raw) put(values ...any) *raw {
	for _, v := range values {
		switch v := v.(type) {
		case string:
			r.put(uint64(len(v)))
			r.WriteString(v)
		default:
			_ = binary.Write(r, binary.LittleEndian, v)
		}
	}
	return r
}

func begin(tensors, keys uint64) *raw {
	r := &raw{}
	r.WriteString(Magic)
	return r.put(uint32(3), tensors, keys)
}

// tensor is a table of one tensor, and data bytes after it.
func tensor(kind uint32, offset uint64, data int, dims ...uint64) []byte {
	r := begin(1, 0).put("x", uint32(len(dims)), dims, kind, offset)
	r.Write(make([]byte, (32-r.Len()%32)%32+data))
	return r.Bytes()
}

func TestHostileFiles(t *testing.T) {
	two := func(a, b uint64) []byte {
		r := begin(2, 0).put("a", uint32(1), uint64(8), uint32(0), a, "b", uint32(1), uint64(8), uint32(0), b)
		r.Write(make([]byte, (32-r.Len()%32)%32+96))
		return r.Bytes()
	}
	python, err := os.ReadFile(filepath.Join("testdata", "python.gguf"))
	require.NoError(t, err)
	padded := func(r *raw) []byte { return append(r.Bytes(), make([]byte, 200)...) }
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":             {nil, "0 bytes are too few"},
		"pickle":              {append([]byte("\x80\x02}q\x00"), make([]byte, 100)...), "not a GGUF file"},
		"big-endian":          {append([]byte("GGUF\x00\x00\x00\x03"), make([]byte, 100)...), "big-endian"},
		"version 1":           {append([]byte("GGUF\x01\x00\x00\x00"), make([]byte, 100)...), "version 1 of the format; version 3"},
		"many keys":           {padded(begin(0, 1<<60)), "keys are said to follow, but the file has room for"},
		"many tensors":        {padded(begin(1<<60, 0)), "tensors are said to follow, but the file has room for"},
		"long name":           {padded(begin(0, 1).put(uint64(1 << 62))), "truncated"},
		"long string":         {padded(begin(0, 1).put("k", uint32(8), uint64(1<<50))), "truncated"},
		"long array":          {padded(begin(0, 1).put("k", uint32(9), uint32(6), uint64(1<<61))), "truncated"},
		"many strings":        {padded(begin(0, 1).put("k", uint32(9), uint32(8), uint64(1<<40))), "an array of 1099511627776 strings"},
		"array of arrays":     {padded(begin(0, 1).put("k", uint32(9), uint32(9), uint64(1))), "arrays of arrays"},
		"unknown kind":        {padded(begin(0, 1).put("k", uint32(13))), "kind 13"},
		"bool of two":         {padded(begin(0, 1).put("k", uint32(7), uint8(2))), "a bool is 2"},
		"key twice":           {padded(begin(0, 2).put("k", uint32(0), uint8(2), "k", uint32(0), uint8(2))), "key k appears twice"},
		"key not UTF-8":       {padded(begin(0, 1).put("\xff", uint32(0), uint8(2))), "is not a name"},
		"alignment":           {padded(begin(0, 1).put("general.alignment", uint32(4), uint32(48))), "a power of two"},
		"five dimensions":     {tensor(0, 0, 99, 1, 1, 1, 1, 1), "5 dimensions"},
		"product overflows":   {tensor(0, 0, 99, 1<<32, 1<<32), "is too large"},
		"product wraps":       {tensor(0, 0, 99, 1<<62, 4), "is too large"},
		"negative dimension":  {tensor(0, 0, 99, 1<<63), "dimension 0 is"},
		"unknown type":        {tensor(99, 0, 99, 32), "type 99 is not read"},
		"unread quantisation": {tensor(12, 0, 999, 256), "q4_K is not read; f32, f16, bf16, q8_0 and q4_0 are"},
		"partial block":       {tensor(8, 0, 99, 31), "not whole blocks of 32"},
		"out of range":        {tensor(0, 0, 99, 25), "bytes 0 to 100 of the data, of which there are 99: truncated"},
		"far out of range":    {tensor(0, 1<<62, 99, 1), "truncated"},
		"negative offset":     {tensor(0, 1<<63, 99, 1), "offset 9223372036854775808"},
		"unaligned":           {tensor(0, 16, 99, 1), "not a multiple of the alignment, 32"},
		"overlap":             {two(0, 0), "tensors overlap"},
		"overlap, turned":     {two(32, 32), "tensors overlap"},
		"names twice": {padded(begin(2, 0).put("x", uint32(0), uint32(0), uint64(0), "x", uint32(0), uint32(0), uint64(0))),
			`tensor "x" appears twice`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(c.data)
			assert.ErrorContains(t, err, c.want)
		})
	}
	_, err = Parse(two(0, 32))
	assert.NoError(t, err)
	for n := range python { // cut anywhere; what follows the last tensor is padding
		if _, err := Parse(python[:n]); n < len(python)-32 {
			require.Error(t, err, "cut at %d", n)
		}
	}
	path := filepath.Join(t.TempDir(), "cut.gguf")
	require.NoError(t, os.WriteFile(path, python[:100], 0o666))
	_, err = Open(path)
	assert.ErrorContains(t, err, path+": ")
}

func TestHeaderLimit(t *testing.T) {
	r := begin(0, 1).put("k", uint32(8), uint64(MaxHeader))
	r.Write(make([]byte, MaxHeader))
	_, err := Parse(r.Bytes())
	assert.ErrorContains(t, err, "have more than 100000000 bytes")
}

func TestPowerInfer(t *testing.T) {
	data := begin(1, 0).put("blk.0.fc1.weight", uint32(0), uint32(0), uint64(0))
	data.Write(make([]byte, 64))
	b := data.Bytes()
	copy(b, MagicPowerInfer)
	f, err := Parse(b)
	require.NoError(t, err)
	assert.Equal(t, MagicPowerInfer, f.Magic)
	assert.True(t, f.Tensors[0].Predictor())
	assert.False(t, (&Tensor{Name: "blk.0.ffn_gate.weight"}).Predictor())
}

// Whatever bytes come, the reader returns; and what it accepts, the writer writes back the same.
func FuzzParse(f *testing.F) {
	python, err := os.ReadFile(filepath.Join("testdata", "python.gguf"))
	require.NoError(f, err)
	f.Add(python)
	var whole bytes.Buffer
	keys, tensors := examples()
	require.NoError(f, Encode(&whole, keys, tensors))
	f.Add(whole.Bytes())
	f.Add(tensor(12, 0, 999, 256))
	f.Add(tensor(0, 0, 99, 24))
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := Parse(data)
		if err != nil {
			return
		}
		if first.Has("general.alignment") {
			if _, ok := first.Value("general.alignment").(uint32); !ok {
				return // read in any width, written in one
			}
		}
		var sources []Source
		for _, tensor := range first.Tensors {
			sources = append(sources, source(tensor.Name, tensor.Type, tensor.Shape, tensor.Data))
		}
		var text bytes.Buffer
		require.NoError(t, Encode(&text, first.Keys, sources))
		second, err := Parse(text.Bytes())
		require.NoError(t, err)
		require.Len(t, second.Tensors, len(first.Tensors))
		for i, a := range first.Tensors {
			b := second.Tensors[i]
			a.Offset, b.Offset = 0, 0
			require.Equal(t, a, b)
		}
	})
}

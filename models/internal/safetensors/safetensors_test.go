package safetensors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// file puts a header and data together as the format has it.
func file(header, data string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header+data...)
}

// testdata/python.safetensors was written by the Python package safetensors 0.8.0.
func TestReadsPythonsFile(t *testing.T) {
	path := filepath.Join("testdata", "python.safetensors")
	for name, open := range map[string]func() (*File, error){
		"mapped": func() (*File, error) { return Open(path) },
		"loaded": func() (*File, error) { return Load(path, 1<<20) },
	} {
		t.Run(name, func(t *testing.T) {
			f, err := open()
			require.NoError(t, err)
			defer f.Close()
			assert.Equal(t, []string{"double", "empty", "größe", "half", "mask", "scalar", "short", "weight"}, f.Names())
			assert.Equal(t, map[string]string{"config": `{"a": 1}`, "naïve": "yes\n\"quoted\""}, f.Metadata())

			weight, err := f.Tensor("weight")
			require.NoError(t, err)
			assert.Equal(t, []int64{2, 3}, weight.Shape)
			floats, err := weight.Float32s()
			require.NoError(t, err)
			assert.Equal(t, []float32{1.5, -2, 3, float32(math.Inf(1)), .1, 0}, floats)
			assert.True(t, math.Signbit(float64(floats[5])), "negative zero")

			half, _ := f.Tensor("half")
			doubles, err := half.Float64s()
			require.NoError(t, err)
			assert.Equal(t, []float64{1, -.5, 0x1p-14, 0x1p-24, 65504, math.Inf(-1)}, doubles)

			double, _ := f.Tensor("double")
			doubles, err = double.Float64s()
			require.NoError(t, err)
			assert.Equal(t, []float64{.1, 1e300}, doubles)
			_, err = double.Float32s()
			assert.EqualError(t, err, `tensor "double" is F64[2], want F32, F16 or BF16`)

			for name, want := range map[string][]int64{
				"scalar": {-7}, "empty": {}, "mask": {1, 0, 1}, "short": {-32768, 32767}, "größe": {1<<32 - 1},
			} {
				tensor, err := f.Tensor(name)
				require.NoError(t, err)
				got, err := tensor.Int64s()
				require.NoError(t, err)
				assert.Equal(t, want, got, name)
			}
			_, err = f.Tensor("bias")
			assert.EqualError(t, err, `no tensor "bias" among 8`)
			_, err = weight.Int64s()
			assert.Error(t, err)
			assert.ErrorContains(t, weight.CopyFloat32s(make([]float32, 5)), "6 elements, but there is room for 5")
		})
	}
}

func examples() []Tensor {
	return []Tensor{
		New("b", []int64{2, 2}, []float32{1, 2, 3, 4}),
		New("a", []int64{3}, []uint8{7, 8, 9}),
		New("c", nil, []float64{math.Pi}),
		New("d", []int64{0, 5}, []int32(nil)),
		New("e", []int64{1}, []int64{-1}),
		{Name: "f", DType: BF16, Shape: []int64{2}, Data: []byte{0x80, 0x3f, 0xc0, 0x7f}},
	}
}

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	metadata := map[string]string{"z": "last", "a": "<first> & \"quoted\" \u2028"}
	require.NoError(t, Write(path, examples(), metadata))
	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	assert.Equal(t, metadata, f.Metadata())
	for _, want := range examples() {
		got, err := f.Tensor(want.Name)
		require.NoError(t, err)
		assert.Equal(t, want.DType, got.DType)
		assert.Equal(t, append([]int64{}, want.Shape...), got.Shape)
		assert.Equal(t, append([]byte{}, want.Data...), append([]byte{}, got.Data...), want.Name)
	}
	bf, _ := f.Tensor("f")
	values, err := bf.Float32s()
	require.NoError(t, err)
	assert.Equal(t, float32(1), values[0])
	assert.True(t, math.IsNaN(float64(values[1])))
	c, _ := f.Tensor("c")
	pi, err := c.Float64s()
	require.NoError(t, err)
	assert.Equal(t, []float64{math.Pi}, pi)

	// the same bytes whatever the order, and data aligned to 8
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	list := examples()
	list[0], list[2], list[4] = list[4], list[0], list[2]
	var again bytes.Buffer
	require.NoError(t, Encode(&again, list, metadata))
	assert.Equal(t, raw, again.Bytes())
	assert.Zero(t, binary.LittleEndian.Uint64(raw)%8)
	require.NoError(t, f.Close())
	require.NoError(t, f.Close(), "a second Close")
	_, err = f.Tensor("a")
	assert.Error(t, err)
}

func TestEmptyModel(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, Encode(&b, nil, nil))
	f, err := Parse(b.Bytes())
	require.NoError(t, err)
	assert.Empty(t, f.Names())
	assert.Nil(t, f.Metadata())
}

func TestWriterRefuses(t *testing.T) {
	one := New("x", []int64{1}, []float32{1})
	for want, tensors := range map[string][]Tensor{
		`the name "x" is taken`:                    {one, one},
		`the name "__metadata__" is taken`:         {New("__metadata__", []int64{1}, []float32{1})},
		`is F32[2], that is 8 bytes, but it has 4`: {New("x", []int64{2}, []float32{1})},
		`unknown element type "F8"`:                {{Name: "x", DType: "F8", Shape: []int64{1}, Data: []byte{1}}},
		`negative size`:                            {New("x", []int64{-1}, []float32{1})},
		`is too large`:                             {New("x", []int64{1 << 40, 1 << 40}, []float32{1})},
		`is not UTF-8`:                             {New("\xff", []int64{1}, []float32{1})},
	} {
		assert.ErrorContains(t, Encode(&bytes.Buffer{}, tensors, nil), want)
	}
	assert.ErrorContains(t, Encode(&bytes.Buffer{}, nil, map[string]string{"k": "\xff"}), `metadata "k": the value is not UTF-8`)
	assert.ErrorContains(t, Encode(&bytes.Buffer{}, nil, map[string]string{"\xff": "v"}), "is not UTF-8")

	path := filepath.Join(t.TempDir(), "m")
	require.Error(t, Write(path, []Tensor{one, one}, nil))
	assert.NoFileExists(t, path)
}

func TestHostileFiles(t *testing.T) {
	tensor := func(fields string) string { return `{"x":{` + fields + `}}` }
	good := `"dtype":"F32","shape":[2],"data_offsets":[0,8]`
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":                {nil, "0 bytes are too few"},
		"seven bytes":            {make([]byte, 7), "7 bytes are too few"},
		"header too long":        {binary.LittleEndian.AppendUint64(nil, math.MaxUint64), "its header would have 18446744073709551615 bytes"},
		"header over the limit":  {binary.LittleEndian.AppendUint64(nil, MaxHeader+1), "at most 100000000 are allowed"},
		"header cut":             {file(tensor(good), "")[:20], "but only 12 follow"},
		"empty header":           {file("", ""), "does not start with {"},
		"padding first":          {file(" {}", ""), "does not start with {"},
		"gzip":                   {append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0}, make([]byte, 100)...), "100 follow"},
		"no closing brace":       {file(`{"x":`, ""), "unexpected EOF"},
		"array":                  {file(`{"x":[]}`, ""), "[ where { was expected"},
		"more after":             {file(`{} {}`, ""), "something follows the closing brace"},
		"not UTF-8":              {file("{\"\xff\":1}", ""), "not UTF-8"},
		"name twice":             {file(`{"x":{`+good+`},"x":{`+good+`}}`, "12345678"), `"x" appears twice`},
		"name twice, escaped":    {file(`{"x":{`+good+`},"\u0078":{`+good+`}}`, "12345678"), `"x" appears twice`},
		"field twice":            {file(tensor(good+`,"dtype":"F32"`), "12345678"), `"dtype" appears twice`},
		"metadata twice":         {file(`{"__metadata__":{"a":"1","a":"2"}}`, ""), `"a" appears twice`},
		"metadata not strings":   {file(`{"__metadata__":{"a":1}}`, ""), `"a": 1 where string was expected`},
		"unknown field":          {file(tensor(good+`,"sparse":true`), "12345678"), "not a field of a tensor"},
		"field missing":          {file(tensor(`"dtype":"F32","shape":[2]`), "12345678"), "want dtype, shape and data_offsets"},
		"unknown type":           {file(tensor(`"dtype":"F4","shape":[2],"data_offsets":[0,8]`), "12345678"), `unknown element type "F4"`},
		"three offsets":          {file(tensor(`"dtype":"F32","shape":[2],"data_offsets":[0,8,9]`), "12345678"), "3 numbers, want 2"},
		"negative shape":         {file(tensor(`"dtype":"F32","shape":[-2],"data_offsets":[0,8]`), "12345678"), "-2 is not a size"},
		"fraction":               {file(tensor(`"dtype":"F32","shape":[2.0],"data_offsets":[0,8]`), "12345678"), "2.0 is not a size"},
		"exponent":               {file(tensor(`"dtype":"F32","shape":[2e0],"data_offsets":[0,8]`), "12345678"), "2e0 is not a size"},
		"over 63 bits":           {file(tensor(`"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8]`), "12345678"), "is not a size"},
		"product overflows":      {file(tensor(`"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]`), "12345678"), "is too large"},
		"product wraps to 8":     {file(tensor(`"dtype":"F32","shape":[4611686018427387906],"data_offsets":[0,8]`), "12345678"), "is too large"},
		"shape and bytes differ": {file(tensor(`"dtype":"F32","shape":[3],"data_offsets":[0,8]`), "12345678"), "that is 12 bytes, but it has 8"},
		"offsets reversed":       {file(tensor(`"dtype":"F32","shape":[2],"data_offsets":[8,0]`), "12345678"), "overlap or leave a gap"},
		"ends before it begins": {file(`{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"x":{"dtype":"U8","shape":[0],"data_offsets":[8,4]}}`, "12345678"),
			"overlap or leave a gap"},
		"data cut":    {file(tensor(good), "1234567"), "ends at byte 8 of 7: truncated"},
		"bytes after": {file(tensor(good), "123456789"), "the tensors end at byte 8, but there are 9"},
		"no tensors":  {file(`{}`, "1"), "the tensors end at byte 0, but there are 1"},
		"gap":         {file(tensor(`"dtype":"F32","shape":[1],"data_offsets":[4,8]`), "12345678"), "overlap or leave a gap"},
		"overlap": {file(`{"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}`, "12345678"),
			"where 5 was to follow"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Parse(c.data)
			assert.Nil(t, f)
			require.ErrorContains(t, err, c.want)
			var format *FormatError
			assert.ErrorAs(t, err, &format)
			assert.NotContains(t, err.Error(), "\n")
			path := filepath.Join(t.TempDir(), "m")
			require.NoError(t, os.WriteFile(path, c.data, 0o666))
			_, err = Open(path)
			assert.ErrorContains(t, err, c.want)
			assert.ErrorContains(t, err, path)
		})
	}
}

func TestPaddedHeaderAndZeroSizes(t *testing.T) {
	f, err := Parse(file(`{"a":{"dtype":"F64","shape":[3,0],"data_offsets":[0,0]},"b":{"data_offsets":[0,1],"shape":[],"dtype":"BOOL"}}  `, "\x01"))
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "b"}, f.Names())
}

func TestFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	for _, open := range []func(string) (*File, error){Open, func(p string) (*File, error) { return Load(p, 1<<20) }} {
		_, err := open(filepath.Join(dir, "none"))
		assert.ErrorIs(t, err, os.ErrNotExist)
		_, err = open(os.DevNull)
		assert.ErrorContains(t, err, "not a regular file")
	}
	_, err := Open(dir)
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = Load(filepath.Join("testdata", "python.safetensors"), 100)
	assert.ErrorContains(t, err, "more than the limit of 100")
}

func TestUnsigned64(t *testing.T) {
	_, err := New("x", []int64{1}, []uint64{math.MaxUint64}).Int64s()
	assert.ErrorContains(t, err, "element 0 is 18446744073709551615")
}

// Every half value against its definition.
func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		sign, exponent, fraction := 1-2*float64(h>>15), h>>10&31, float64(h&1023)
		want := sign * math.Ldexp(1+fraction/1024, exponent-15)
		switch {
		case exponent == 0:
			want = sign * math.Ldexp(fraction, -24)
		case exponent == 31 && fraction == 0:
			want = math.Inf(int(sign))
		case exponent == 31:
			want = math.NaN()
		}
		got := float64(halfToFloat32(uint16(h)))
		if math.IsNaN(want) {
			require.True(t, math.IsNaN(got), "%#x", h)
		} else {
			require.Equal(t, want, got, "%#x", h)
		}
	}
}

func TestSharded(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666))
	}
	index := func(text string) { put("model.safetensors.index.json", text) }
	require.NoError(t, Write(filepath.Join(dir, "m-1-of-2.safetensors"), []Tensor{New("a", []int64{1}, []float32{1}), New("unused", []int64{1}, []float32{9})}, nil))
	require.NoError(t, Write(filepath.Join(dir, "m-2-of-2.safetensors"), []Tensor{New("b", []int64{2}, []float32{2, 3})}, nil))
	index(`{"metadata":{"total_size":12,"kind":"test"},"weight_map":{"a":"m-1-of-2.safetensors","b":"m-2-of-2.safetensors"}}`)
	for _, path := range []string{dir, filepath.Join(dir, "model.safetensors.index.json")} {
		f, err := Open(path)
		require.NoError(t, err)
		assert.Equal(t, []string{"a", "b"}, f.Names())
		assert.Equal(t, map[string]string{"kind": "test"}, f.Metadata())
		b, err := f.Tensor("b")
		require.NoError(t, err)
		values, err := b.Float32s()
		require.NoError(t, err)
		assert.Equal(t, []float32{2, 3}, values)
		require.Len(t, f.Parts(), 2)
		assert.Equal(t, b.Data, f.Parts()[b.Part].Data[b.Offset:][:8], "where the tensor says it lies")
		require.NoError(t, f.Close())
	}
	put("broken.safetensors", "12345678")
	for text, want := range map[string]string{
		`{"weight_map":{"a":"../m-1-of-2.safetensors"}}`:      "not the name of a file beside the index",
		`{"weight_map":{"a":"/etc/passwd"}}`:                  "not the name of a file beside the index",
		`{"weight_map":{"a":""}}`:                             "not the name of a file beside the index",
		`{"weight_map":{"a":"m-2-of-2.safetensors"}}`:         `tensor "a" is not in m-2-of-2.safetensors`,
		`{"weight_map":{"a":"m-3-of-3.safetensors"}}`:         "no such file",
		`{"weight_map":{"a":"broken.safetensors"}}`:           "broken.safetensors: not a safetensors file",
		`{"weight_map":{"a":1}}`:                              "1 where string was expected",
		`{"weight_map":{"a":"m-1-of-2.safetensors","a":"m"}}`: `"a" appears twice`,
		`{"weight_map":{}}`:                                   "missing or empty",
		`{}`:                                                  "missing or empty",
		`{"weights":{}}`:                                      "not a field of an index",
		`{"weight_map":{"a":"m-1-of-2.safetensors"}}x`:        "something follows",
		`[]`:   "[ where { was expected",
		"\xff": "not UTF-8",
		fmt.Sprintf(`{"weight_map":{"a":%q}}`, strings.Repeat("../", 9)+"x"): "not the name of a file",
	} {
		index(text)
		_, err := Open(dir)
		assert.ErrorContains(t, err, want, text)
	}
}

// Whatever bytes come, the reader returns; and what it accepts, the writer writes back the same.
func FuzzParse(f *testing.F) {
	var whole bytes.Buffer
	require.NoError(f, Encode(&whole, examples(), map[string]string{"k": "v"}))
	f.Add(whole.Bytes())
	f.Add(whole.Bytes()[:40])
	python, err := os.ReadFile(filepath.Join("testdata", "python.safetensors"))
	require.NoError(f, err)
	f.Add(python)
	f.Add(file(`{"__metadata__":{"a":"b"},"x":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}`, "12345678"))
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := Parse(data)
		if err != nil {
			return
		}
		var list []Tensor
		for _, name := range first.Names() {
			tensor, err := first.Tensor(name)
			require.NoError(t, err)
			_, floatErr := tensor.Float64s()
			_, intErr := tensor.Int64s()
			require.True(t, floatErr == nil || intErr == nil || tensor.DType == U64)
			list = append(list, tensor)
		}
		var text bytes.Buffer
		require.NoError(t, Encode(&text, list, first.Metadata()))
		second, err := Parse(text.Bytes())
		require.NoError(t, err)
		for name, a := range first.tensors { // offsets may differ
			b := second.tensors[name]
			b.Offset = a.Offset
			require.Equal(t, a, b)
		}
		require.Len(t, second.tensors, len(first.tensors))
		require.Equal(t, first.Metadata(), second.Metadata())
	})
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":12,"kind":"test"},"weight_map":{"a":"m-1","b":"m-2"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../x"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if weights, _, err := parseIndex(data); err == nil {
			require.NotEmpty(t, weights)
		}
	})
}

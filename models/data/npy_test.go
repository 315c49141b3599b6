package data

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The files in testdata were written by NumPy 2.4.6.
func TestReadsNumPysFiles(t *testing.T) {
	read := func(name string) *Array {
		a, err := ReadNPY(filepath.Join("testdata", name))
		require.NoError(t, err)
		return a
	}
	a := read("f4.npy")
	values, err := a.Float32s()
	require.NoError(t, err)
	assert.Equal(t, []int{2, 3}, a.Shape)
	assert.Equal(t, []float32{.5, -1, 1, .25, 0, -.125}, values)
	a = read("f8-v2.npy")
	values, err = a.Float32s()
	require.NoError(t, err)
	assert.Equal(t, []float32{.1, -.2}, values)
	integers, err := read("i4-v3.npy").Int64s()
	require.NoError(t, err)
	assert.Equal(t, []int64{3, -2, 1}, integers)
	a = read("i8.npy")
	integers, err = a.Int64s()
	require.NoError(t, err)
	assert.Equal(t, []int{2, 1, 1}, a.Shape)
	assert.Equal(t, []int64{1, 1 << 40}, integers)
	a = read("u1.npy")
	integers, err = a.Int64s()
	require.NoError(t, err)
	assert.Equal(t, []int{1, 2, 2, 3}, a.Shape)
	assert.Equal(t, []int64{0, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 220}, integers)
	a = read("scalar.npy")
	assert.Equal(t, []int{}, a.Shape)
	assert.Equal(t, 1, a.Len())
	a = read("empty.npy")
	assert.Equal(t, []int{0, 7}, a.Shape)
	assert.Equal(t, 0, a.Len())
	for name, want := range map[string]string{
		"fortran.npy":    "expected C order, found Fortran order",
		"big-endian.npy": `expected one of the types |u1, <i4, <i8, <f4, <f8, found ">f4"`,
		"bool.npy":       `found "|b1"`,
	} {
		_, err := ReadNPY(filepath.Join("testdata", name))
		assert.ErrorContains(t, err, want)
	}
}

func TestWritesWhatNumPyWrites(t *testing.T) {
	want, err := os.ReadFile(filepath.Join("testdata", "f4.npy"))
	require.NoError(t, err)
	assert.Equal(t, want, npy(t, []float32{.5, -1, 1, .25, 0, -.125}, 2, 3))
	want, err = os.ReadFile(filepath.Join("testdata", "i8.npy"))
	require.NoError(t, err)
	assert.Equal(t, want, npy(t, []int64{1, 1 << 40}, 2, 1, 1))
	want, err = os.ReadFile(filepath.Join("testdata", "empty.npy"))
	require.NoError(t, err)
	assert.Equal(t, want, npy(t, []float32{}, 0, 7))
	want, err = os.ReadFile(filepath.Join("testdata", "scalar.npy"))
	require.NoError(t, err)
	assert.Equal(t, want, npy(t, []float32{2.5}))
	for d := range 40 { // whatever the header's length
		shape := bytes.Repeat([]byte{1}, d)
		sizes := make([]int, d)
		for i, one := range shape {
			sizes[i] = int(one)
		}
		b := npy(t, []uint8{7}, sizes...)
		assert.Equal(t, 1, len(b)%64)
		assert.Equal(t, byte('\n'), b[len(b)-2])
		a, err := ReadNPY(put(t, b, t.TempDir(), "x"))
		require.NoError(t, err)
		assert.Equal(t, sizes, a.Shape)
	}
	assert.ErrorContains(t, WriteNPY(&bytes.Buffer{}, []int{2, 3}, []uint8{1}), "shape [2 3] asks for 6 values, there are 1")
}

func npyText(header string, elements string) []byte {
	b := append([]byte(npyMagic), 1, 0)
	return append(append(binary.LittleEndian.AppendUint16(b, uint16(len(header))), header...), elements...)
}

func TestNPYHeaders(t *testing.T) {
	for _, header := range []string{
		"{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }   \n",
		`{"shape":(2,),"fortran_order":False,"descr":"|u1"}`,
		"{ 'shape' : ( 2 , ) ,'fortran_order':False,\n'descr':'|u1' , }\n",
		"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2), }",
		"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2,), }",
	} {
		a, err := ReadNPY(put(t, npyText(header, "ab"), t.TempDir(), "x"))
		require.NoError(t, err, header)
		assert.Equal(t, []byte("ab"), a.Data)
	}
	const rest = "'fortran_order': False, 'shape': (2,), }"
	for header, want := range map[string]string{
		"":                 `no "{"`,
		"{":                "no string",
		"{}":               "a key is missing",
		"{'descr': '|u1'}": "a key is missing",
		"{'descr': '|u1', 'descr': '|u1', " + rest:                                   `"descr" appears twice`,
		"{'descr': '|u1', 'more': 1, " + rest:                                        `unknown key "more"`,
		"{'descr': '|u1', " + rest + " x":                                            "follows the dictionary",
		"{'descr' '|u1', " + rest:                                                    `no ":"`,
		"{'descr': '|u1' " + rest:                                                    `no "}"`,
		"{'descr': '|u1, " + rest:                                                    `no "}"`,
		"{'descr': '|u1":                                                             "a string without end",
		`{'descr': '\x7cu1', ` + rest:                                                "escapes",
		"{'descr': [('a', '<f4')], " + rest:                                          "no string",
		"{'descr': '|u1', 'fortran_order': 0, 'shape': (2,)}":                        `no "False"`,
		"{'descr': '|u1', 'fortran_order': False, 'shape': (2)}":                     "the shape is no tuple",
		"{'descr': '|u1', 'fortran_order': False, 'shape': 2}":                       `no "("`,
		"{'descr': '|u1', 'fortran_order': False, 'shape': (-2,)}":                   "in the shape",
		"{'descr': '|u1', 'fortran_order': False, 'shape': (1 2)}":                   "no comma in the shape",
		"{'descr': '|u1', 'fortran_order': False, 'shape': (,)}":                     "in the shape",
		"{'descr': '|u1', 'fortran_order': False, 'shape': (2":                       "no comma in the shape",
		"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999,)}": "in the shape",
	} {
		_, err := ReadNPY(put(t, npyText(header, "ab"), t.TempDir(), "x"))
		require.ErrorContains(t, err, want, header)
		require.ErrorContains(t, err, "expected an NPY header with descr, fortran_order and shape")
	}
	for want, shape := range map[string]string{
		"at most 1073741824 elements, found shape [4294967296 4294967296]": "(4294967296, 4294967296)",
		"at most 1073741824 elements, found shape [1073741825]":            "(1073741825,)",
		"expected 1073741824 bytes of elements, found 2":                   "(1073741824,)",
		"the end of the file after the elements, found more bytes":         "(1,)",
		"expected 3 bytes of elements, found 2 (the file ends there)":      "(3,)",
	} {
		_, err := ReadNPY(put(t, npyText("{'descr': '|u1', 'fortran_order': False, 'shape': "+shape+"}", "ab"), t.TempDir(), "x"))
		assert.ErrorContains(t, err, want)
	}
	long := append([]byte(npyMagic), 2, 0)
	long = append(binary.LittleEndian.AppendUint32(long, 1<<31), strings.Repeat(" ", 100)...)
	_, err := ReadNPY(put(t, long, t.TempDir(), "x"))
	assert.ErrorContains(t, err, "an NPY header of at most 65536 bytes, found 2147483648")
	for data, want := range map[string]string{
		"":                   "8 bytes of NPY magic and version, found 0",
		"\x93NUMPY\x01":      "found 7",
		"\x93NUMPX\x01\x00":  "the NPY magic",
		"\x93NUMPY\x04\x00":  "NPY version 1.0, 2.0 or 3.0, found 4.0",
		"\x93NUMPY\x00\x00":  "found 0.0",
		"\x93NUMPY\x01\x01":  "found 1.1",
		"\x93NUMPY\x01\x00a": "2 bytes of NPY header length, found 1",
	} {
		_, err := ReadNPY(put(t, []byte(data), t.TempDir(), "x"))
		assert.ErrorContains(t, err, want)
	}
}

func FuzzNPYHeader(f *testing.F) {
	f.Add("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }   \n")
	f.Add(`{"shape":(2,),"fortran_order":True,"descr":"<f4"}`)
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseNPYHeader(text)
		if err != nil {
			return
		}
		for _, d := range h.shape {
			require.GreaterOrEqual(t, d, 0)
		}
	})
}

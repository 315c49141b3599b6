package data

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func npyBytes(t *testing.T, shape []int, values ...float32) []byte {
	var b bytes.Buffer
	require.NoError(t, WriteNPY(&b, shape, values))
	return b.Bytes()
}

func TestNPYMatrix(t *testing.T) {
	m, err := NewNPYMatrix(bytes.NewReader(npyBytes(t, []int{2, 3}, 1, 2, 3, 4, 5, 6)), "x")
	require.NoError(t, err)
	assert.Equal(t, []int{2, 3}, []int{m.Rows, m.Columns})
	values, err := m.Append(nil)
	require.NoError(t, err)
	assert.Equal(t, []float32{1, 2, 3}, values)
	assert.ErrorContains(t, m.End(), "2 rows, found 1 that belong to somebody")
	values, err = m.Append(values)
	require.NoError(t, err)
	assert.Equal(t, []float32{1, 2, 3, 4, 5, 6}, values)
	require.NoError(t, m.End())
	_, err = m.Append(nil)
	assert.ErrorContains(t, err, "no more rows")
}

func TestNPYMatrixRefuses(t *testing.T) {
	good := npyBytes(t, []int{2, 2}, 1, 2, 3, 4)
	read := func(file []byte) error {
		m, err := NewNPYMatrix(bytes.NewReader(file), "x")
		if err != nil {
			return err
		}
		for range m.Rows {
			if _, err := m.Append(nil); err != nil {
				return err
			}
		}
		return m.End()
	}
	require.NoError(t, read(good))
	var wide bytes.Buffer
	require.NoError(t, WriteNPY(&wide, []int{2, 2}, []float64{1, 2, 3, 4}))
	header := func(shape string) []byte {
		return append(bytes.Replace(bytes.Clone(good[:128]), []byte("(2, 2), }"+strings.Repeat(" ", len(shape)-6)), []byte(shape+", }"), 1), good[128:]...)
	}
	for want, file := range map[string][]byte{
		"a matrix <f4 with at least one row and one column, found <f8": wide.Bytes(),
		"found <f4 of shape [4]":           npyBytes(t, []int{4}, 1, 2, 3, 4),
		"found <f4 of shape [0 2]":         npyBytes(t, []int{0, 2}),
		"NaN in row 1, column 0":           npyBytes(t, []int{2, 2}, 1, 2, float32(math.NaN()), 4),
		"+Inf in row 0, column 1":          npyBytes(t, []int{2, 2}, 1, float32(math.Inf(1)), 3, 4),
		"8 bytes of row 1, found 7":        good[:len(good)-1],
		"the end of the file":              append(bytes.Clone(good), 0),
		"8 bytes of elements, found 0":     good[:128],
		"the NPY magic":                    append([]byte("\x1f\x8b"), good...),
		"at most 1099511627776 elements":   header("(9223372036854775807, 2)"),
		"40000000000 bytes of elements":    header("(1, 10000000000)"),
		"at most 65536 bytes, found 70000": append([]byte("\x93NUMPY\x02\x00\x70\x11\x01\x00"), good...),
	} {
		assert.ErrorContains(t, read(file), want)
	}
}

func TestNPYHeaderOfMatricesHasOneLength(t *testing.T) {
	for _, shape := range [][]int{{1, 1}, {math.MaxInt64, math.MaxInt64}} {
		header, err := NPYHeader(NPYFloat32, shape)
		require.NoError(t, err)
		assert.Len(t, header, 128)
	}
}

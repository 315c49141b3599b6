package data

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// WriteNPY writes values as an NPY file of version 1.0 in C order.
func WriteNPY[T uint8 | int32 | int64 | float32 | float64](w io.Writer, shape []int, values []T) error {
	var kind NPYType
	switch any(values).(type) {
	case []uint8:
		kind = NPYUint8
	case []int32:
		kind = NPYInt32
	case []int64:
		kind = NPYInt64
	case []float32:
		kind = NPYFloat32
	case []float64:
		kind = NPYFloat64
	}
	count := 1
	for _, d := range shape {
		count *= d
	}
	if count != len(values) {
		return fmt.Errorf("shape %v asks for %d values, there are %d", shape, count, len(values))
	}
	header, err := NPYHeader(kind, shape)
	if err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	return binary.Write(w, binary.LittleEndian, values)
}

// NPYHeader is what an NPY file of version 1.0 in C order has before its elements. For any matrix it has 128 bytes, so
// it can be put in once the number of rows is known.
func NPYHeader(kind NPYType, shape []int) ([]byte, error) {
	sizes := make([]string, len(shape))
	for i, d := range shape {
		sizes[i] = fmt.Sprint(d)
	}
	tuple := strings.Join(sizes, ", ")
	if len(shape) == 1 {
		tuple += ","
	}
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", kind, tuple)
	// The elements begin at a multiple of 64, as NumPy has it, and the header ends with a newline.
	const before = len(npyMagic) + 2 + 2
	header += strings.Repeat(" ", 63-(before+len(header))%64) + "\n"
	if len(header) > maxNPYHeader-1 {
		return nil, fmt.Errorf("shape %v has too many dimensions", shape)
	}
	text := append([]byte(npyMagic), 1, 0, byte(len(header)), byte(len(header)>>8))
	return append(text, header...), nil
}

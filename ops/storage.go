package ops

import (
	"fmt"
	"math"
)

// The storage types in plain Go, for those who read and write model files.

// Unpack expands stored elements into values; a quantised type holds whole blocks. Exact for f32, f16, bf16; of the
// quantised types the product of scale and integer is rounded once.
func Unpack(t DType, from []byte, values []float32) error {
	if err := checkStorage(t, from, values); err != nil {
		return err
	}
	if t.Block() > 1 {
		var block [32]float64
		for i := 0; i < len(values); i += 32 {
			dequantizeRow(t, from[int64(i/32)*t.BlockBytes():], block[:])
			for j, v := range block {
				values[i+j] = float32(v)
			}
		}
		return nil
	}
	size := int(t.BlockBytes())
	for i := range values {
		values[i] = float32(getElement(t, from[i*size:]))
	}
	return nil
}

// Pack stores values: rounded to nearest even, or quantised by blocks of 32 as quantizeRow says. A value that is not a
// number, or that is infinite in the type, is an error.
func Pack(t DType, values []float32, to []byte) error {
	if err := checkStorage(t, to, values); err != nil {
		return err
	}
	largest := math.MaxFloat32
	if t == F16 {
		largest = 65519.99
	}
	for i, v := range values {
		if !(math.Abs(float64(v)) <= largest) {
			return fmt.Errorf("element %d is %g, which %v cannot hold", i, v, t)
		}
	}
	if t.Block() > 1 {
		var block [32]float64
		for i := 0; i < len(values); i += 32 {
			for j := range block {
				block[j] = float64(values[i+j])
			}
			row := to[int64(i/32)*t.BlockBytes():][:t.BlockBytes()]
			clear(row)
			quantizeRow(t, block[:], row)
		}
		return nil
	}
	size := int(t.BlockBytes())
	for i, v := range values {
		putElement(t, to[i*size:], float64(v))
	}
	return nil
}

func checkStorage(t DType, b []byte, values []float32) error {
	switch t {
	case F32, F16, BF16, Q8_0, Q4_0:
	default:
		return fmt.Errorf("elements of type %v are not packed; f32, f16, bf16, q8_0 and q4_0 are", t)
	}
	n := int64(len(values))
	if n%t.Block() != 0 || int64(len(b)) != t.RowBytes(n) {
		return fmt.Errorf("%d values do not go into %d bytes of %v", n, len(b), t)
	}
	return nil
}

package ops

import (
	"encoding/binary"
	"math"
)

// quantizeRow writes whole blocks of 32 numbers in the GGUF layouts: a float16 scale and 8-bit integers (Q8_0), or 4-bit
// integers less 8, the first sixteen in the low halves of the bytes (Q4_0). The scale maps the largest magnitude to 127,
// or the number that has it to -8; the integers are the nearest.
func quantizeRow(t DType, from []float64, to []byte) {
	for k := 0; k < len(from)/32; k++ {
		x, block := from[32*k:32*k+32], to[int64(k)*t.BlockBytes():]
		largest := 0.0
		for _, v := range x {
			if math.Abs(v) > math.Abs(largest) {
				largest = v
			}
		}
		full := -8.0
		if t == Q8_0 {
			full, largest = 127, math.Abs(largest)
		}
		half := halfFromFloat32(float32(largest / full))
		binary.LittleEndian.PutUint16(block, half)
		inverse := 0.0
		if scale := float64(float32FromHalf(half)); scale != 0 {
			inverse = 1 / scale
		}
		for j, v := range x {
			switch q := v * inverse; t {
			case Q8_0:
				block[2+j] = byte(toInteger(q, -127, 127))
			case Q4_0:
				n := byte(toInteger(q, -8, 7) + 8)
				if j < 16 {
					block[2+j] = n
				} else {
					block[2+j-16] |= n << 4
				}
			}
		}
	}
}

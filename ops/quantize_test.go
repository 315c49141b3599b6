package ops

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A quantised row comes back within half a step of its block's scale (and the rounding of that scale), and quantising it
// again changes nothing.
func TestQuantizedRowsComeBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for typ, part := range map[DType]float64{Q8_0: .57 / 127, Q4_0: 1.01 / 8} { // Q4_0 has no step for the largest's negative
		x := make([]float64, 96)
		for i := range x {
			x[i] = r.NormFloat64() * math.Pow(10, float64(i/32-1))
		}
		clear(x[32:64]) // a block of zeros has the scale 0
		row, again := make([]byte, typ.RowBytes(96)), make([]byte, typ.RowBytes(96))
		y := make([]float64, 96)
		quantizeRow(typ, x, row)
		dequantizeRow(typ, row, y)
		for i := range x {
			largest := 0.0
			for _, v := range x[i/32*32 : i/32*32+32] {
				largest = math.Max(largest, math.Abs(v))
			}
			assert.InDelta(t, x[i], y[i], largest*part, "%v element %d", typ, i)
		}
		quantizeRow(typ, y, again)
		assert.Equal(t, row, again, "%v", typ)
	}
}

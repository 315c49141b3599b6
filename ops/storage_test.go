package ops

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPackedNumbersComeBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	values := make([]float32, 96)
	for i := range values[:90] {
		values[i] = float32(r.NormFloat64())
	}
	for dtype, relative := range map[DType]float64{F32: 0, F16: 0x1p-11, BF16: 0x1p-8, Q8_0: .5 / 127, Q4_0: 1.0 / 8} {
		packed := make([]byte, dtype.RowBytes(96))
		require.NoError(t, Pack(dtype, values, packed))
		back, again := make([]float32, 96), make([]byte, len(packed))
		require.NoError(t, Unpack(dtype, packed, back))
		for i, v := range values {
			scale := math.Abs(float64(v))
			if dtype.Block() > 1 {
				for _, w := range values[i/32*32 : i/32*32+32] {
					scale = max(scale, math.Abs(float64(w)))
				}
				scale *= 1.001 // the scale's own rounding
			}
			assert.InDelta(t, v, back[i], relative*scale, "%v", dtype)
		}
		if dtype.Block() == 1 {
			require.NoError(t, Pack(dtype, back, again))
			assert.Equal(t, packed, again)
		}
	}
}

func TestPackRefuses(t *testing.T) {
	assert.ErrorContains(t, Pack(F16, []float32{1, 65520}, make([]byte, 4)), "element 1 is 65520, which f16 cannot hold")
	assert.ErrorContains(t, Pack(BF16, []float32{float32(math.NaN())}, make([]byte, 2)), "element 0 is NaN")
	assert.ErrorContains(t, Pack(Q8_0, make([]float32, 31), make([]byte, 34)), "31 values do not go into 34 bytes of q8_0")
	assert.ErrorContains(t, Unpack(F32, make([]byte, 3), make([]float32, 1)), "1 values do not go into 3 bytes of f32")
	assert.ErrorContains(t, Unpack(I32, make([]byte, 4), make([]float32, 1)), "type i32")
}

package ops

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Values as image libraries give them with half-pixel centres and without antialiasing.
func TestResizeByHand(t *testing.T) {
	out, err := evaluate(t, func(c *CaseGraph) []Tensor {
		x := c.Values(F32, []float64{0, 4, 8, 12}, 1, 2, 2, 1)
		return []Tensor{ResizeBilinear(x, 2, 4), ResizeBilinear(x, 3, 1), ResizeBilinear(x, 2, 2)}
	})
	require.NoError(t, err)
	assert.Equal(t, []float64{0, 1, 3, 4, 8, 9, 11, 12}, out[0].Data)
	assert.Equal(t, []float64{2, 6, 10}, out[1].Data)
	assert.Equal(t, []float64{0, 4, 8, 12}, out[2].Data)
}

func TestResizeRefusesWhatDoesNotFit(t *testing.T) {
	for want, f := range map[string]func(c *CaseGraph){
		"resize_bilinear: in0 f32 [2x3x4]": func(c *CaseGraph) { ResizeBilinear(c.Normal(2, 3, 4), 5, 5) },
		"resize_bilinear: in0 f32 [2x0x4x1] cannot become 5 x 6": func(c *CaseGraph) {
			ResizeBilinear(c.Normal(2, 0, 4, 1), 5, 6)
		},
		"cannot become -1 x 6": func(c *CaseGraph) { ResizeBilinear(c.Normal(2, 3, 4, 1), -1, 6) },
	} {
		c := NewCaseGraph(1)
		f(c)
		assert.ErrorContains(t, c.Err(), want)
	}
}

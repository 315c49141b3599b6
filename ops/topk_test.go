package ops

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTopKByHand(t *testing.T) {
	inf, nan, zero := math.Inf(1), math.NaN(), math.Copysign(0, -1)
	got, err := evaluate(t, func(c *CaseGraph) []Tensor {
		value, index := TopK(c.Values(F32, []float64{zero, nan, 0, inf, -inf, 1, nan}, 1, 7), 7)
		return []Tensor{value, index}
	})
	require.NoError(t, err)
	assert.Equal(t, []float64{3, 5, 0, 2, 4, 1, 6}, got[1].Data)
	assert.Equal(t, []float64{inf, 1, zero, 0, -inf}, got[0].Data[:5])
}

func TestTopKRefusesMoreThanThereIs(t *testing.T) {
	c := NewCaseGraph(1)
	TopK(c.Normal(2, 3), 4)
	assert.ErrorContains(t, c.Err(), "4 of the elements of rows [2x3]")
	_, err := evaluate(t, func(c *CaseGraph) []Tensor {
		return record(OpTopKGrad, c.Graph, []Tensor{c.Normal(1, 2), c.Values(I32, []float64{0, 3}, 1, 2)}, nil, []Int{N(3)}, nil)[:1]
	})
	assert.ErrorContains(t, err, "index 3 of row 0 is outside 0 to 2")
}

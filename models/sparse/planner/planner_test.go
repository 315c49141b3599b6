package planner

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

// The figures of the literature: a gated block at 89 %, and LLaMA2-7B end to end, where blocks are 65.5 % of the bytes.
func TestBounds(t *testing.T) {
	b := FFN{Matrices: 3, Sparsity: .89, Predictor: .06}.Bounds()
	assert.InDelta(t, 2.46, b.GateFirst, .005)
	assert.InDelta(t, 9.09, b.Steps, .005)
	assert.InDelta(t, 5.88, b.Predicted, .005)
	assert.InDelta(t, 1.64, EndToEnd(b.GateFirst, .655), .005)
	assert.InDelta(t, 2.19, EndToEnd(b.Predicted, .655), .005)

	assert.InDelta(t, 2, FFN{Matrices: 2, Sparsity: 1}.Bounds().GateFirst, 1e-12)
	dense := FFN{Matrices: 3}.Bounds()
	assert.Equal(t, Bounds{1, 1, 1}, dense)
	assert.True(t, math.IsInf(FFN{Matrices: 3, Sparsity: 1}.Bounds().Steps, 1))
	assert.InDelta(t, .204, Union(.108, 2), .001)
}

func TestCheck(t *testing.T) {
	assert.NoError(t, FFN{Matrices: 3, Sparsity: .5}.Check())
	for _, f := range []FFN{{Matrices: 1}, {Matrices: 3, Sparsity: 1.1}, {Matrices: 3, Sparsity: math.NaN()}, {Matrices: 2, Predictor: -1}} {
		assert.Error(t, f.Check(), "%+v", f)
	}
}

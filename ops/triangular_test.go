package ops

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTriangularOpsByHand(t *testing.T) {
	nan := math.NaN()
	got, err := evaluate(t, func(c *CaseGraph) []Tensor {
		l := c.Values(F32, []float64{2, nan, 1, 4}, 1, 2, 2)
		x := c.Values(F32, []float64{6, 11}, 1, 1, 2)
		a := c.Values(F32, []float64{4, nan, 2, 17}, 1, 2, 2)
		return []Tensor{TriMatMul(l, x, false), TriMatMul(l, x, true), TriSolve(l, x, false), TriSolve(l, x, true), TriLogDet(l),
			Cholesky(a), Tril(l), TrilSoftplus(c.Values(F32, []float64{0, nan, -3, 1}, 1, 2, 2), .5)}
	})
	require.NoError(t, err)
	assert.Equal(t, []float64{12, 50}, got[0].Data)
	assert.Equal(t, []float64{23, 44}, got[1].Data)
	assert.Equal(t, []float64{3, 2}, got[2].Data)
	assert.Equal(t, []float64{1.625, 2.75}, got[3].Data)
	assert.InDelta(t, math.Log(8), got[4].Data[0], 1e-6)
	assert.Equal(t, []float64{2, 0, 1, 4}, got[5].Data)
	assert.Equal(t, []float64{2, 0, 1, 4}, got[6].Data)
	assert.InDeltaSlice(t, []float64{math.Ln2 + .5, 0, -3, math.Log1p(math.E) + .5}, got[7].Data, 1e-6)
}

// The convention of the Cholesky gradient: symmetric, and its product with a symmetric change of a is that of the loss.
func TestCholeskyGradientIsThatOfASymmetricMatrix(t *testing.T) {
	// a = [[p^2, pq], [pq, q^2 + r^2]] has the factor [[p, 0], [q, r]]; loss = l10, so dl = [[0, 0], [1, 0]]
	const p, q, r = 2.0, 1.0, 4.0
	got, err := evaluate(t, func(c *CaseGraph) []Tensor {
		l := c.Values(F32, []float64{p, 0, q, r}, 1, 2, 2)
		return []Tensor{record(OpCholeskyGrad, c.Graph, []Tensor{l, c.Values(F32, []float64{0, 0, 1, 0}, 1, 2, 2)}, nil, nil, nil)[0]}
	})
	require.NoError(t, err)
	// l10 = a10 / sqrt(a00): the two halves of a10 share 1/p, and a00 gets -q / (2 p^2)
	assert.InDeltaSlice(t, []float64{-q / (2 * p * p), 1 / (2 * p), 1 / (2 * p), 0}, got[0].Data, 1e-7)
}

func TestCholeskyNamesMatrixAndPivot(t *testing.T) {
	inf := math.Inf(1)
	for text, a := range map[string][]float64{
		"matrix 1 is not positive definite: pivot 1 is -3": {1, 0, 0, 1, 1, 2, 2, 1},
		"matrix 0 is not positive definite: pivot 0 is 0":  {0, 0, 0, 1, 1, 0, 0, 1},
		"pivot 1 is NaN":  {1, 0, math.NaN(), 1, 1, 0, 0, 1},
		"matrix 0 is not": {inf, 0, 0, 1, 1, 0, 0, 1},
	} {
		_, err := evaluate(t, func(c *CaseGraph) []Tensor { return []Tensor{Cholesky(c.Values(F32, a, 2, 2, 2))} })
		assert.ErrorContains(t, err, text)
	}
}

// The bound of a solution must hold for float32 substitution, however the matrix magnifies errors, and must not be so
// wide that a result to half the digits passes.
func TestSolveBoundFollowsTheCondition(t *testing.T) {
	const d = 30
	c := NewCaseGraph(5)
	l := make([]float64, d*d)
	for i := range d {
		for j := range i + 1 {
			l[i*d+j] = float64(float32(c.rand.NormFloat64()))
		}
		l[i*d+i] = 1 // condition about 2^d
	}
	x := make([]float64, d)
	for i := range x {
		x[i] = float64(float32(c.rand.NormFloat64()))
	}
	call := &RefCall{In: []*Dense{{DType: F32, Shape: []int{1, d, d}, Data: l}, {DType: F32, Shape: []int{1, 1, d}, Data: x}},
		Out: []*Dense{{DType: F32, Shape: []int{1, 1, d}, Data: make([]float64, d)}}, Ints: []int64{0}}
	require.NoError(t, DefOf(OpTriSolve).Reference(call))
	bound := DefOf(OpTriSolve).Bound(call, Eps32)[0]
	y, want := make([]float32, d), call.Out[0].Data
	for i := range d {
		s := float32(x[i])
		for j := range i {
			s -= float32(l[i*d+j]) * y[j]
		}
		y[i] = s
		assert.LessOrEqual(t, math.Abs(float64(y[i])-want[i]), bound[i]+Eps32*math.Abs(want[i]))
	}
	assert.Less(t, bound[5], 1e-4*math.Abs(want[5]))
}

func TestTriangularOpsRefuseWhatDoesNotFit(t *testing.T) {
	for text, record := range map[string]func(c *CaseGraph){
		"l is [2x3x3], x is [2x5x4]":          func(c *CaseGraph) { TriSolve(c.Normal(2, 3, 3), c.Normal(2, 5, 4), false) },
		"l is [2x3x3], x is [3x5x3]":          func(c *CaseGraph) { TriMatMul(c.Normal(2, 3, 3), c.Normal(3, 5, 3), true) },
		"input 0 is [3x3]; square matrices":   func(c *CaseGraph) { Cholesky(c.Normal(3, 3)) },
		"input 0 is [1x3x4]; square matrices": func(c *CaseGraph) { Tril(c.Normal(1, 3, 4)) },
	} {
		c := NewCaseGraph(1)
		record(c)
		assert.ErrorContains(t, c.Err(), text)
	}
}

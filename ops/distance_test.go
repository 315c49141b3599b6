package ops

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// evaluate runs the graph that record makes on the reference.
func evaluate(t *testing.T, record func(c *CaseGraph) []Tensor) ([]*Dense, error) {
	t.Helper()
	c := NewCaseGraph(1)
	outs := record(c)
	require.NoError(t, c.Err())
	c.Output(outs...)
	l, err := c.SimpleLowering()
	require.NoError(t, err)
	p, err := c.Lower(l)
	require.NoError(t, err)
	return c.Evaluate(p, p.NewMemory(), outs)
}

func TestDistancesByHand(t *testing.T) {
	got, err := evaluate(t, func(c *CaseGraph) []Tensor {
		x := c.Values(F32, []float64{0, 0, 3, 4, 1, 1}, 3, 2)
		y := c.Values(F32, []float64{0, 0, 3, 4, 0, 0, 6, 8}, 4, 2)
		distance, index := PairwiseArgMin(x, y)
		bound := c.Values(F32, []float64{25, 25.5, 14}, 3)
		return []Tensor{PairwiseSqdist(x, y), distance, index, PairwiseCount(x, y, bound)}
	})
	require.NoError(t, err)
	assert.Equal(t, []float64{0, 25, 0, 100, 25, 0, 25, 25, 2, 13, 2, 74}, got[0].Data)
	assert.Equal(t, []float64{0, 0, 2}, got[1].Data)
	assert.Equal(t, []float64{0, 1, 0}, got[2].Data, "ties go to the lowest index")
	assert.Equal(t, []float64{2, 4, 3}, got[3].Data, "a distance equal to the bound is not counted")
}

// The bound must let the kernels' form pass and the expanded form fail where the expanded form is wrong: near
// neighbours far from the origin.
func TestDistanceBoundRefusesTheExpandedForm(t *testing.T) {
	const d = 1000
	x, y := make([]float64, d), make([]float64, d)
	direct, xx, yy, xy := float32(0), float32(0), float32(0), float32(0)
	for k := range x {
		a, b := float32(50+math.Sin(float64(k))), float32(50+math.Sin(float64(k)+1e-3))
		x[k], y[k] = float64(a), float64(b)
		direct += (a - b) * (a - b)
		xx, yy, xy = xx+a*a, yy+b*b, xy+a*b
	}
	c := &RefCall{In: []*Dense{{DType: F32, Shape: []int{1, d}, Data: x}, {DType: F32, Shape: []int{1, d}, Data: y}}}
	want := sqdist(c, 0, 0)
	bound := sqdistBound(c, want, Eps32)
	assert.LessOrEqual(t, math.Abs(float64(direct)-want), bound)
	assert.Greater(t, math.Abs(float64(xx+yy-2*xy)-want), 1000*bound)
}

func TestDistancesRefuseWhatDoesNotFit(t *testing.T) {
	for text, record := range map[string]func(c *CaseGraph){
		"x is [3x4], y is [5x6]":      func(c *CaseGraph) { PairwiseSqdist(c.Normal(3, 4), c.Normal(5, 6)) },
		"[N x D] and [M x D]":         func(c *CaseGraph) { PairwiseSqdist(c.Normal(4), c.Normal(5, 4)) },
		"at least one row":            func(c *CaseGraph) { PairwiseArgMin(c.Normal(3, 4), c.Normal(0, 4)) },
		"one bound for each row of x": func(c *CaseGraph) { PairwiseCount(c.Normal(3, 4), c.Normal(5, 4), c.Normal(5)) },
		"input 1 is in1 i32":          func(c *CaseGraph) { PairwiseSqdist(c.Normal(3, 4), c.Indices(0, 2, 5, 4)) },
	} {
		c := NewCaseGraph(1)
		record(c)
		assert.ErrorContains(t, c.Err(), text)
	}
	_, err := evaluate(t, func(c *CaseGraph) []Tensor {
		m := c.Int("support", 4, 0)
		distance, _ := PairwiseArgMin(c.Normal(2, 3), c.NormalOf(F32, Shape{m.Of(1), N(3)}))
		return []Tensor{distance}
	})
	assert.ErrorContains(t, err, "y has no rows")
}

package ops

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMatchByHand(t *testing.T) {
	got, err := evaluate(t, func(c *CaseGraph) []Tensor {
		x := c.Values(F32, []float64{0, 0, 10, 0, 0}, 5, 1)
		y := c.Values(F32, []float64{3, 1, -1, 2}, 4, 1) // distances from 0: 9, 1, 1, 4; from 10: 49, 81, 121, 64
		z := c.Values(F32, []float64{-2}, 1, 1)          // 4; 144
		prediction := c.Values(I32, []float64{0, 1, 0, 0, 1}, 5)
		exclude := c.Values(I32, []float64{-1, 1, -1, 3, -1}, 5)
		q, distance, nearest := Match(x, prediction, exclude, N(3),
			bare(y, c.Values(I32, []float64{0, 0, 0, ClassBreaks}, 4)), bare(z, c.Values(I32, []float64{0}, 1)))
		none, far, nobody := Match(x, prediction, Tensor{}, N(3), bare(y, Full(c.Graph, I32, ClassRemoved, Dims(4))))
		return []Tensor{q, distance, nearest, none, far, nobody}
	})
	require.NoError(t, err)
	assert.Equal(t, []float64{2, 0, 1, 3, 0}, got[0].Data, "the broken row 3 ties with row 4 and comes first; K caps what has no end")
	assert.Equal(t, []float64{1, 1, 49, 1, 1}, got[1].Data)
	assert.Equal(t, []float64{1, 2, 0, 1, 1}, got[2].Data, "ties go to the lowest number, excluded rows are absent")
	assert.Equal(t, []float64{0, 0, 0, 0, 0}, got[3].Data)
	assert.Equal(t, math.Inf(1), got[4].Data[0])
	assert.Equal(t, []float64{-1, -1, -1, -1, -1}, got[5].Data)
}

func TestMatchRefusesWhatDoesNotFit(t *testing.T) {
	support := func(c *CaseGraph, rows, m int64) Support { return bare(c.Normal(rows, m), c.Indices(0, 2, rows)) }
	for text, record := range map[string]func(c *CaseGraph){
		"support 1 in4": func(c *CaseGraph) {
			Match(c.Normal(3, 4), c.Indices(0, 2, 3), Tensor{}, N(1), support(c, 5, 4), support(c, 5, 6))
		},
		"one i32 for each of its": func(c *CaseGraph) {
			Match(c.Normal(3, 4), c.Indices(0, 2, 3), Tensor{}, N(1), bare(c.Normal(5, 4), c.Indices(0, 2, 4)))
		},
		"the prediction in1": func(c *CaseGraph) { Match(c.Normal(3, 4), c.Normal(3), Tensor{}, N(1), support(c, 5, 4)) },
		"the excluded row in2": func(c *CaseGraph) {
			Match(c.Normal(3, 4), c.Indices(0, 2, 3), c.Indices(0, 2, 4), N(1), support(c, 5, 4))
		},
		"at least one support of 2": func(c *CaseGraph) { Match(c.Normal(3, 4), c.Indices(0, 2, 3), Tensor{}, N(1)) },
		"K is 0":                    func(c *CaseGraph) { Match(c.Normal(3, 4), c.Indices(0, 2, 3), Tensor{}, N(0), support(c, 5, 4)) },
		"30 supports; at most 29": func(c *CaseGraph) {
			Match(c.Normal(3, 4), c.Indices(0, 2, 3), Tensor{}, N(1), many(30, support(c, 5, 4))...)
		},
		"one i32 for each row of x is": func(c *CaseGraph) { Match(c.Normal(3, 4), c.Indices(0, 2, 5), Tensor{}, N(1), support(c, 5, 4)) },
	} {
		c := NewCaseGraph(1)
		record(c)
		assert.ErrorContains(t, c.Err(), text)
	}
}

func many(n int, s Support) []Support {
	r := make([]Support, n)
	for i := range r {
		r[i] = s
	}
	return r
}

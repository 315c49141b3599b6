package ops

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRowsByHand(t *testing.T) {
	out, err := evaluate(t, func(c *CaseGraph) []Tensor {
		table, index := c.Values(F32, []float64{1, 2, 3, 4, 5, 6}, 3, 2), c.Values(I32, []float64{2, 0, 2}, 3)
		picked := GatherRows(table, index)
		ScatterAddRows(table, c.Values(F32, []float64{10, 20, 30, 40, 50, 60}, 3, 2), index)
		return []Tensor{picked, table}
	})
	require.NoError(t, err)
	assert.Equal(t, []float64{5, 6, 1, 2, 5, 6}, out[0].Data)
	assert.Equal(t, []float64{31, 42, 3, 4, 65, 86}, out[1].Data)
}

func TestAnIndexOutsideTheTableIsNamed(t *testing.T) {
	for _, k := range []struct {
		rows  int64
		index []float64
		want  string
	}{
		{3, []float64{0, 2, 3, 9}, "index[2] is 3, outside 0 to 2"},
		{3, []float64{-1}, "index[0] is -1, outside 0 to 2"},
		{0, []float64{0}, "index[0] is 0, but the table is empty"},
	} {
		_, err := evaluate(t, func(c *CaseGraph) []Tensor {
			return []Tensor{GatherRows(c.Normal(k.rows, 2), c.Values(I32, k.index, int64(len(k.index))))}
		})
		assert.ErrorContains(t, err, k.want)
		_, err = evaluate(t, func(c *CaseGraph) []Tensor {
			table := c.Normal(k.rows, 2)
			ScatterAddRows(table, c.Normal(int64(len(k.index)), 2), c.Values(I32, k.index, int64(len(k.index))))
			return []Tensor{table}
		})
		assert.ErrorContains(t, err, k.want)
	}
}

func TestRowsRefuseWhatDoesNotFit(t *testing.T) {
	for want, f := range map[string]func(c *CaseGraph){
		"gather_rows: the table is i32":                      func(c *CaseGraph) { GatherRows(c.Indices(0, 5, 3, 2), c.Indices(0, 3, 4)) },
		"gather_rows: the table is [3x2], the index f32 [4]": func(c *CaseGraph) { GatherRows(c.Normal(3, 2), c.Normal(4)) },
		"scatter_add_rows: rows [4x3] with index i32 [4] do not fit the table [5x2]": func(c *CaseGraph) {
			ScatterAddRows(c.Normal(5, 2), c.Normal(4, 3), c.Indices(0, 5, 4))
		},
		"the table is f16; only a float32 table can be trained": func(c *CaseGraph) {
			table := c.NormalOf(F16, Dims(3, 2))
			VectorJacobian([]Tensor{GatherRows(table, c.Indices(0, 3, 1))}, []Tensor{c.Normal(1, 2)}, table)
		},
	} {
		c := NewCaseGraph(1)
		f(c)
		assert.ErrorContains(t, c.Err(), want)
	}
}

package ops

import (
	"fmt"
	"math"
)

// Rows of a table picked by index, and added back: embeddings and their gradient.

func init() {
	define(Def{
		Opcode: OpGatherRows, Name: "gather_rows",
		Doc: "Row n of the result is table[index[n]], as float32; half precision and quantised tables are expanded. Exact, special values " +
			"included. An index outside the table is an error that names its position. The gradient of a float32 table adds up equal indices.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			table, index := c.In[0], c.In[1]
			switch table.DType() {
			case F32, F16, BF16, Q8_0, Q4_0:
			default:
				return nil, fmt.Errorf("the table is %v; f32, f16, bf16, q8_0 or q4_0 is needed", table.DType())
			}
			if len(table.Shape()) != 2 || index.DType() != I32 || len(index.Shape()) != 1 {
				return nil, fmt.Errorf("the table is %s, the index %v %s; [rows x columns] and i32 [n] are needed", c.S(table), index.DType(), c.S(index))
			}
			return []TypeShape{{F32, Shape{index.Dim(0), table.Dim(1)}}}, nil
		},
		Reference: func(c *RefCall) error {
			table, index, y := c.In[0], c.In[1].Data, c.Out[0].Data
			if err := checkRows(index, table.Dim(0)); err != nil {
				return err
			}
			d := table.Dim(1)
			for n, i := range index {
				copy(y[n*d:(n+1)*d], table.Data[int(i)*d:])
			}
			return nil
		},
		Grad: func(c *GradCall) {
			if !c.NeedsGrad(0) {
				return
			}
			if c.In(0).DType() != F32 {
				c.Fail("the table is %v; only a float32 table can be trained", c.In(0).DType())
				return
			}
			sum := Full(c.g, F32, 0, c.In(0).Shape())
			ScatterAddRows(sum, c.OutGrad(0), c.In(1))
			c.SetIn(0, sum)
		},
		Bound: exactBound,
		Cases: gatherCases,
	})

	define(Def{
		Opcode: OpScatterAddRows, Name: "scatter_add_rows",
		Doc: "table[index[n]] += rows[n], n ascending, so that the sum is the same at every thread count. For K additions to an element the " +
			"error is up to 4 sqrt(K) 2^-24 times the sum of the magnitudes; one addition is correctly rounded. An index outside the table is an " +
			"error that names its position, and nothing is added.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			table, rows, index := c.InOut[0], c.In[0], c.In[1]
			if err := c.floats32(rows, table); err != nil {
				return nil, err
			}
			if len(table.Shape()) != 2 || index.DType() != I32 || len(index.Shape()) != 1 ||
				!rows.Shape().Equal(Shape{index.Dim(0), table.Dim(1)}) {
				return nil, fmt.Errorf("rows %s with index %v %s do not fit the table %s", c.S(rows), index.DType(), c.S(index), c.S(table))
			}
			return nil, nil
		},
		Reference: func(c *RefCall) error {
			rows, index, table := c.In[0].Data, c.In[1].Data, c.InOut[0]
			if err := checkRows(index, table.Dim(0)); err != nil {
				return err
			}
			d := table.Dim(1)
			for n, i := range index {
				for k, v := range rows[n*d : (n+1)*d] {
					table.Data[int(i)*d+k] += v
				}
			}
			return nil
		},
		Bound: func(c *RefCall, eps float64) [][]float64 {
			rows, index, table := c.In[0].Data, c.In[1].Data, c.InOut[0]
			d := table.Dim(1)
			// the table before is what is left without the rows
			before, sum := append([]float64(nil), table.Data...), make([]float64, len(table.Data))
			count := make([]int, table.Dim(0))
			for n, i := range index {
				count[int(i)]++
				for k, v := range rows[n*d : (n+1)*d] {
					before[int(i)*d+k] -= v
					sum[int(i)*d+k] += math.Abs(v)
				}
			}
			return eachBound(c, func(_ *Dense, i int) float64 {
				if count[i/d] < 2 {
					return 0
				}
				return productSumBound(count[i/d], sum[i]+math.Abs(before[i]), eps)
			})
		},
		Cases: func() []Case { return withoutGradient(scatterCases()) },
	})
}

// checkRows reports the first index outside a table of that many rows.
func checkRows(index []float64, rows int) error {
	for n, i := range index {
		if i < 0 || int(i) >= rows {
			if rows == 0 {
				return fmt.Errorf("index[%d] is %d, but the table is empty", n, int(i))
			}
			return fmt.Errorf("index[%d] is %d, outside 0 to %d", n, int(i), rows-1)
		}
	}
	return nil
}

// GatherRows is the float32 tensor [..., D] of the rows of table [V, D] that the int32 index [...] names: an embedding.
// The table may be f32, f16, bf16, q8_0 or q4_0.
func GatherRows(table, index Tensor) Tensor {
	shape := index.Shape()
	y := record(OpGatherRows, graphOf(table, index), []Tensor{table, flat(index)}, nil, nil, nil)[0]
	if y.Valid() && len(shape) != 1 {
		y = Reshape(y, append(shape.clone(), y.Dim(1))...)
	}
	return y
}

// ScatterAddRows adds rows [..., D] to the rows of table [V, D] that the int32 index [...] names, in place.
func ScatterAddRows(table, rows, index Tensor) {
	if rows.Valid() && len(rows.Shape()) != 2 && len(rows.Shape()) == len(index.Shape())+1 {
		rows = Reshape(rows, N(-1), rows.Dim(-1))
	}
	record(OpScatterAddRows, graphOf(table, rows, index), []Tensor{rows, flat(index)}, []Tensor{table}, nil, nil)
}

func gatherCases() []Case {
	at := func(v, d, n int64) func(c *CaseGraph) []Tensor {
		return func(c *CaseGraph) []Tensor { return []Tensor{GatherRows(c.Normal(v, d), c.Indices(0, v, n))} }
	}
	cases := []Case{
		{Name: "prime sizes", Record: at(11, 13, 29)},
		{Name: "one row, one column", Record: at(1, 1, 5)},
		{Name: "one index", Record: at(7, 19, 1)},
		{Name: "many indices", NoGradient: true, Record: at(5, 8, 1100)},
		{Name: "no index", Record: func(c *CaseGraph) []Tensor { return []Tensor{GatherRows(c.Normal(3, 5), c.Values(I32, nil, 0))} }},
		{Name: "no columns", Record: at(3, 0, 4)},
		{Name: "empty table, no index", Record: func(c *CaseGraph) []Tensor { return []Tensor{GatherRows(c.Normal(0, 5), c.Values(I32, nil, 0))} }},
		{Name: "two axes of index", Record: func(c *CaseGraph) []Tensor { return []Tensor{GatherRows(c.Normal(9, 4), c.Indices(0, 9, 3, 5))} }},
		{Name: "first and last row, again and again", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{GatherRows(c.Normal(4, 6), c.Values(I32, []float64{0, 3, 3, 0, 3}, 5))}
		}},
		{Name: "batch argument, slice of a table", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("n", 9, 4)
			return []Tensor{GatherRows(Slice(c.Normal(20, 7), 0, N(5), N(10)), c.draw(I32, Shape{n.Of(2)}, func() float64 { return float64(c.rand.Int64N(10)) }))}
		}},
		{Name: "strided table", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{GatherRows(Transpose(c.Normal(6, 8)), c.Indices(0, 8, 5))}
		}},
		{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			table := c.Values(F32, []float64{math.NaN(), math.Inf(1), math.Copysign(0, -1), 1e-45, 3e38, math.Inf(-1)}, 3, 2)
			return []Tensor{GatherRows(table, c.Values(I32, []float64{2, 0, 1}, 3))}
		}},
		{Name: "large", Bench: true, Record: at(4096, 256, 8192)},
	}
	for _, t := range []DType{F16, BF16, Q8_0, Q4_0} {
		cases = append(cases, Case{Name: t.String(), NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{GatherRows(c.NormalOf(t, Dims(13, 96)), c.Indices(0, 13, 17))}
		}})
	}
	for _, t := range []DType{F16, BF16} {
		cases = append(cases, Case{Name: t.String() + ", prime sizes and special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			special := c.Values(t, []float64{math.NaN(), math.Inf(1), math.Copysign(0, -1), 6e-8, 65504, math.Inf(-1), 3e-5, -1e-6}, 4, 2)
			return []Tensor{GatherRows(c.NormalOf(t, Dims(5, 37)), c.Indices(0, 5, 7)), GatherRows(special, c.Values(I32, []float64{3, 2, 1, 0}, 4))}
		}})
	}
	return append(cases, Case{Name: "q4_0, large", Bench: true, NoGradient: true, Record: func(c *CaseGraph) []Tensor {
		return []Tensor{GatherRows(c.NormalOf(Q4_0, Dims(1024, 1024)), c.Indices(0, 1024, 2048))}
	}})
}

func scatterCases() []Case {
	at := func(v, d, n int64) func(c *CaseGraph) []Tensor {
		return func(c *CaseGraph) []Tensor {
			table := c.Normal(v, d)
			ScatterAddRows(table, c.Normal(n, d), c.Indices(0, v, n))
			return []Tensor{table}
		}
	}
	return []Case{
		{Name: "prime sizes", Record: at(11, 13, 29)},
		{Name: "all to one row", Record: at(1, 5, 300)},
		{Name: "one column", Record: at(7, 1, 40)},
		{Name: "no rows", Record: func(c *CaseGraph) []Tensor {
			table := c.Normal(3, 5)
			ScatterAddRows(table, c.Normal(0, 5), c.Values(I32, nil, 0))
			return []Tensor{table}
		}},
		{Name: "no columns", Record: at(3, 0, 4)},
		{Name: "three axes, batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("n", 9, 4)
			table := c.Normal(6, 5)
			ScatterAddRows(table, c.NormalOf(F32, Shape{n.Of(1), N(3), N(5)}), c.draw(I32, Shape{n.Of(1), N(3)}, func() float64 { return float64(c.rand.Int64N(6)) }))
			return []Tensor{table}
		}},
		{Name: "special values", Record: func(c *CaseGraph) []Tensor {
			table := c.Values(F32, []float64{1, math.Inf(1), math.NaN(), 0, 1e-45, math.Copysign(0, -1)}, 3, 2)
			ScatterAddRows(table, c.Values(F32, []float64{math.NaN(), math.Inf(-1), 1, math.Inf(1), 1e-45, math.Copysign(0, -1)}, 3, 2),
				c.Values(I32, []float64{0, 1, 2}, 3))
			return []Tensor{table}
		}},
		{Name: "large", Bench: true, Record: at(4096, 256, 8192)},
	}
}

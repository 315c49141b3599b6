package ops

import (
	"fmt"
	"math"
	"sort"
)

// Selection of the largest elements of each row.

func init() {
	define(Def{Opcode: OpTopK, Name: "top_k",
		Doc: "The k largest elements of each row, in descending order, and their indices; ties: the lower index first; NaN comes last; -0 " +
			"equals 0. Exact. The gradient goes to the chosen places.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			if err := rowsOfFloats(c); err != nil {
				return nil, err
			}
			n, k := c.In[0].Dim(1), c.Ints[0]
			if !n.Const() || !k.Const() || k.N < 0 || k.N > n.N {
				return nil, fmt.Errorf("%d of the elements of rows %s; 0 to the length of the row can be chosen", k.N, c.S(c.In[0]))
			}
			shape := Shape{c.In[0].Dim(0), k}
			return []TypeShape{{F32, shape}, {I32, shape}}, nil
		},
		Reference: func(c *RefCall) error {
			k := int(c.Ints[0])
			eachRow(c.In[0], func(r, from, to int) {
				x := c.In[0].Data[from:to]
				order := make([]int, len(x))
				for i := range order {
					order[i] = i
				}
				sort.SliceStable(order, func(i, j int) bool {
					a, b := x[order[i]], x[order[j]]
					return a > b || math.IsNaN(b) && !math.IsNaN(a)
				})
				for i, at := range order[:k] {
					c.Out[0].Data[r*k+i], c.Out[1].Data[r*k+i] = x[at], float64(at)
				}
			})
			return nil
		},
		Grad: func(c *GradCall) {
			n := c.In(0).Dim(1)
			c.SetIn(0, record(OpTopKGrad, c.g, []Tensor{c.OutGrad(0), c.Out(1)}, nil, []Int{n}, nil)[0])
		},
		Bound: exactBound,
		Cases: topKCases,
	})

	define(Def{Opcode: OpTopKGrad, Name: "top_k_grad",
		Doc: "dx[index[j]] = dvalue[j] in each row, 0 elsewhere; the indices of a row are distinct. Exact. An index outside the row is an error.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			dvalue, index, n := c.In[0], c.In[1], c.Ints[0]
			if err := rowsOfFloats(c); err != nil {
				return nil, err
			}
			if index.DType() != I32 || !index.Shape().Equal(dvalue.Shape()) || !n.Const() || c.Max(dvalue.Dim(1)) > n.N {
				return nil, fmt.Errorf("dvalue %s, index %v %s and rows of %d elements do not fit", c.S(dvalue), index.DType(), c.S(index), n.N)
			}
			return []TypeShape{{F32, Shape{dvalue.Dim(0), n}}}, nil
		},
		Reference: func(c *RefCall) error {
			n := int(c.Ints[0])
			var bad error
			eachRow(c.In[0], func(r, from, to int) {
				for i := from; i < to; i++ {
					at := int(c.In[1].Data[i])
					if at < 0 || at >= n {
						bad = fmt.Errorf("index %d of row %d is outside 0 to %d", at, r, n-1)
						return
					}
					c.Out[0].Data[r*n+at] = c.In[0].Data[i]
				}
			})
			return bad
		},
		Bound: exactBound,
		Cases: topKGradCases,
	})
}

// TopK is the k largest elements along the innermost axis of x, in descending order, with their int32 indices; of equal
// elements the one with the lower index comes first.
func TopK(x Tensor, k int64) (value, index Tensor) {
	rows, lead := asRows(OpTopK, x)
	r := record(OpTopK, rows.g, []Tensor{rows}, nil, []Int{N(k)}, nil)
	shape := append(lead.clone(), N(k))
	return reshapeTo(r[0], shape), reshapeTo(r[1], shape)
}

// distinct is a matrix of elements that are all different by at least 1/8, so that small changes leave their order.
func distinct(c *CaseGraph, rows, n int64) Tensor {
	v := make([]float64, rows*n)
	for i, p := range c.rand.Perm(len(v)) {
		v[i] = float64(p-len(v)/2) / 8
	}
	return c.Values(F32, v, rows, n)
}

func topKCases() []Case {
	f := func(x Tensor, k int64) []Tensor {
		value, index := TopK(x, k)
		return []Tensor{value, index}
	}
	sized := func(name string, rows, n, k int64) Case {
		return Case{Name: name, Record: func(c *CaseGraph) []Tensor { return f(distinct(c, rows, n), k) }}
	}
	bench := func(name string, rows, n, k int64) Case {
		return Case{Name: name, Bench: true, NoGradient: true, Record: func(c *CaseGraph) []Tensor { return f(c.Normal(rows, n), k) }}
	}
	// steps are rows of i times step, which is the worst case for a search that keeps the best so far.
	steps := func(name string, step float64) Case {
		return Case{Name: name, NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			v := make([]float64, 2*300)
			for i := range v {
				v[i] = float64(i) * step
			}
			return f(c.Values(F32, v, 2, 300), 41)
		}}
	}
	return []Case{
		sized("prime sizes", 7, 101, 13),
		sized("largest alone", 5, 67, 1),
		sized("whole rows", 3, 37, 37),
		sized("one element", 1, 1, 1),
		sized("nothing chosen", 3, 5, 0),
		sized("no rows", 0, 5, 2),
		sized("long row", 1, 5000, 700),
		{Name: "any rank", Record: func(c *CaseGraph) []Tensor {
			return append(f(Reshape(distinct(c, 1, 9), N(9)), 4), f(Reshape(distinct(c, 6, 11), N(2), N(3), N(11)), 5)...)
		}},
		{Name: "transposed", Record: func(c *CaseGraph) []Tensor { return f(Transpose(distinct(c, 33, 6)), 8) }},
		{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 9, 4)
			return f(Slice(distinct(c, 9, 10), 0, N(0), n.Of(1)), 3)
		}},
		steps("ascending", 1),
		steps("descending", -1),
		{Name: "ties", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			v := make([]float64, 3*90)
			for i := range v {
				v[i] = float64(i * i % 7)
			}
			return append(f(c.Values(F32, v, 3, 90), 50), f(c.Values(F32, make([]float64, 100), 2, 50), 20)...)
		}},
		{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			inf, nan, zero := math.Inf(1), math.NaN(), math.Copysign(0, -1)
			v := []float64{nan, 1, -inf, inf, zero, 0, nan, inf, 1e-45, -1e-45, zero, 3e38, -3e38, nan, -inf, 0, nan, nan, 2, 1}
			x := c.Values(F32, v, 1, 20)
			return append(append(f(x, 20), f(x, 16)...), f(Full(c.Graph, F32, nan, Dims(2, 40)), 5)...)
		}},
		{Name: "most of a long row", NoGradient: true, Record: func(c *CaseGraph) []Tensor { return f(distinct(c, 2, 2600), 2100) }},
		bench("large, vocabulary", 32, 32000, 50),
		bench("large, support", 4, 100000, 2048),
		bench("large, short rows", 1024, 1000, 10),
	}
}

func topKGradCases() []Case {
	sized := func(name string, rows, n, k int64) Case {
		return Case{Name: name, Bench: rows > 100, NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			_, index := TopK(c.Normal(rows, n), k)
			return record(OpTopKGrad, c.Graph, []Tensor{c.Normal(rows, k), index}, nil, []Int{N(n)}, nil)[:1]
		}}
	}
	return []Case{
		sized("prime sizes", 7, 101, 13),
		sized("whole rows", 3, 37, 37),
		sized("nothing chosen", 3, 5, 0),
		sized("no rows", 0, 5, 2),
		sized("long rows", 2, 4100, 30),
		sized("large", 1024, 1000, 50),
	}
}

package ops

import (
	"fmt"
	"math"
)

// Attention over a cache of keys and values, and the writing of the cache.

func init() {
	define(Def{
		Opcode: OpWriteRows, Name: "write_rows",
		Doc: "Rows row .. row + T - 1 of the table become the T rows given, rounded to the table's type (f32, f16, bf16) to nearest even. " +
			"Exact otherwise. Rows that do not fit into the table are an error, and nothing is written.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			rows, table := c.In[0], c.InOut[0]
			if t := table.DType(); t != F32 && t != F16 && t != BF16 {
				return nil, fmt.Errorf("the table is %v; f32, f16 or bf16 is needed", t)
			}
			n := len(rows.Shape())
			if err := c.floats32(rows); err != nil {
				return nil, err
			}
			if n == 0 || len(table.Shape()) != n || !rows.Shape()[1:].Equal(table.Shape()[1:]) {
				return nil, fmt.Errorf("rows %s do not fit the table %s", c.S(rows), c.S(table))
			}
			return nil, nil
		},
		Reference: func(c *RefCall) error {
			rows, table, row := c.In[0], c.InOut[0], int(c.Ints[0])
			if row < 0 || row+rows.Dim(0) > table.Dim(0) {
				return fmt.Errorf("rows %d to %d are written to a table of %d", row, row+rows.Dim(0)-1, table.Dim(0))
			}
			if rows.Dim(0) > 0 {
				copy(table.Data[row*(len(rows.Data)/rows.Dim(0)):], rows.Data)
			}
			return nil
		},
		Bound: exactBound,
		Cases: func() []Case { return withoutGradient(writeRowsCases()) },
	})

	define(Def{
		Opcode: OpAttention, Name: "attention",
		Doc: "Causal attention: row t of q [T,H,D], at position p = position + t, over rows 0 .. p of the caches k [C,G,D] and v [C,G,D] (f32, " +
			"f16, bf16); head h reads group h / (H / G). y = sum_j softmax_j(scale q k_j) v_j in float32, the largest score subtracted first. A " +
			"row's bits depend on its position, not on T. The weights' relative error is up to e = 2 scale 4 sqrt(D) eps max_j sum |q k_j| + 16 " +
			"eps, the result's (e + 4 sqrt(p + 1) eps) sum_j weight_j |v_j|. NaN, or a score of Inf, gives NaN.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			q, k, v := c.In[0], c.In[1], c.In[2]
			if err := c.floats32(q); err != nil {
				return nil, err
			}
			for _, t := range []Tensor{k, v} {
				if d := t.DType(); d != F32 && d != F16 && d != BF16 {
					return nil, fmt.Errorf("a cache is %v; f32, f16 or bf16 is needed", t)
				}
			}
			h, g := q.Dim(1), k.Dim(1)
			if len(q.Shape()) != 3 || len(k.Shape()) != 3 || !k.Shape().Equal(v.Shape()) || !q.Dim(2).Equal(k.Dim(2)) ||
				!h.Const() || !g.Const() || g.N < 1 || h.N%g.N != 0 {
				return nil, fmt.Errorf("q is %s, k %s, v %s; [T x H x D] and twice [C x G x D] with H a multiple of G are needed",
					c.S(q), c.S(k), c.S(v))
			}
			return []TypeShape{{F32, q.Shape()}}, nil
		},
		Reference: func(c *RefCall) error {
			q := c.In[0]
			if p := int(c.Ints[0]); p < 0 || p+q.Dim(0) > c.In[1].Dim(0) {
				return fmt.Errorf("positions %d to %d with a cache of %d rows", p, p+q.Dim(0)-1, c.In[1].Dim(0))
			}
			eachAttention(c, func(at int, weights, _ []float64, v func(j int) []float64) {
				y := c.Out[0].Data[at : at+q.Dim(2)]
				for j, w := range weights {
					for i, x := range v(j) {
						y[i] += w * x
					}
				}
			})
			return nil
		},
		Bound: func(c *RefCall, eps float64) [][]float64 {
			bound := make([]float64, len(c.Out[0].Data))
			d := c.In[0].Dim(2)
			eachAttention(c, func(at int, weights, terms []float64, v func(j int) []float64) {
				e := 0.0
				for _, t := range terms {
					e = math.Max(e, productSumBound(d, t, eps))
				}
				e = math.Expm1(2*e) + 16*eps + productSumBound(len(weights), 1, eps)
				for j, w := range weights {
					for i, x := range v(j) {
						bound[at+i] += e*w*math.Abs(x) + tiny
					}
				}
			})
			return [][]float64{bound}
		},
		Cases: func() []Case { return withoutGradient(attentionCases()) },
	})
}

// eachAttention visits the heads of all rows: where their results begin, the softmax of the scores, the magnitudes of the
// scores' terms, and the rows of v.
func eachAttention(c *RefCall, visit func(at int, weights, terms []float64, v func(j int) []float64)) {
	q, k, v := c.In[0], c.In[1], c.In[2]
	heads, d, groups := q.Dim(1), q.Dim(2), k.Dim(1)
	for t := range q.Dim(0) {
		n := int(c.Ints[0]) + t + 1
		for h := range heads {
			group := h / (heads / groups)
			weights, terms := make([]float64, n), make([]float64, n)
			largest, sum := math.Inf(-1), 0.0
			for j := range weights {
				weights[j], terms[j] = dot(q, t*heads+h, k, j*groups+group)
				weights[j] *= c.Floats[0]
				terms[j] *= math.Abs(c.Floats[0])
				largest = math.Max(largest, weights[j])
			}
			for j := range weights {
				weights[j] = math.Exp(weights[j] - largest)
				sum += weights[j]
			}
			for j := range weights {
				weights[j] /= sum
			}
			visit((t*heads+h)*d, weights, terms, func(j int) []float64 {
				at := (j*groups + group) * d
				return v.Data[at : at+d]
			})
		}
	}
}

// WriteRows writes rows [T, ...] over the rows of table [C, ...] from row on, in place.
func WriteRows(table, rows Tensor, row Int) {
	record(OpWriteRows, graphOf(table, rows), []Tensor{rows}, []Tensor{table}, []Int{row}, nil)
}

// Attention is causal attention of the queries q [T, H, D], the first of which is at position, over the rows of the
// caches k and v [C, G, D] up to each query's own: [T, H, D]. H is a multiple of G; neighbouring heads share a group.
func Attention(q, k, v Tensor, position Int, scale float64) Tensor {
	return record(OpAttention, graphOf(q, k, v), []Tensor{q, k, v}, nil, []Int{position}, []Float{V(scale)})[0]
}

func writeRowsCases() []Case {
	at := func(t DType, capacity, rows, row int64, more ...int64) func(c *CaseGraph) []Tensor {
		return func(c *CaseGraph) []Tensor {
			table := c.NormalOf(t, Dims(append([]int64{capacity}, more...)...))
			WriteRows(table, c.Normal(append([]int64{rows}, more...)...), N(row))
			return []Tensor{table}
		}
	}
	cases := []Case{
		{Name: "the first rows", Record: at(F32, 7, 3, 0, 5)},
		{Name: "the last rows", Record: at(F32, 7, 3, 4, 2, 5)},
		{Name: "all rows", Record: at(F32, 3, 3, 0, 11)},
		{Name: "no rows at the end", Record: at(F32, 3, 0, 3, 11)},
		{Name: "single elements", Record: at(F32, 9, 4, 2)},
		{Name: "arguments", Record: func(c *CaseGraph) []Tensor {
			n, row := c.Int("rows", 5, 4), c.Int("row", 19, 13)
			table := c.Normal(20, 3, 7)
			WriteRows(table, c.NormalOf(F32, Shape{n.Of(1), N(3), N(7)}), row.Of(1))
			return []Tensor{table}
		}},
		{Name: "large", Bench: true, Record: at(F16, 1024, 512, 300, 4096)},
	}
	for _, t := range []DType{F16, BF16} {
		cases = append(cases, Case{Name: t.String(), Record: at(t, 9, 5, 3, 2, 19)},
			Case{Name: t.String() + ", whole vectors", Record: at(t, 9, 5, 3, 2, 12)},
			Case{Name: t.String() + ", special values", Record: func(c *CaseGraph) []Tensor {
				table := c.NormalOf(t, Dims(2, 8))
				WriteRows(table, c.Values(F32, []float64{math.NaN(), math.Inf(1), math.Copysign(0, -1), 1e-45, 3e38, math.Inf(-1), 65519, 6e-8}, 1, 8), N(1))
				return []Tensor{table}
			}})
	}
	return cases
}

func attentionCases() []Case {
	at := func(t DType, rows, heads, groups, d, capacity, position int64) func(c *CaseGraph) []Tensor {
		return func(c *CaseGraph) []Tensor {
			cache := Dims(capacity, groups, d)
			return []Tensor{Attention(c.Normal(rows, heads, d), c.NormalOf(t, cache), c.NormalOf(t, cache), N(position), 1/math.Sqrt(float64(d)))}
		}
	}
	cases := []Case{
		{Name: "prime sizes", Record: at(F32, 5, 3, 3, 13, 11, 4)},
		{Name: "one row", Record: at(F32, 1, 4, 2, 16, 40, 37)},
		{Name: "first position", Record: at(F32, 1, 2, 1, 8, 5, 0)},
		{Name: "prefill", Record: at(F32, 23, 4, 2, 32, 23, 0)},
		{Name: "more positions than a chunk", Record: at(F32, 3, 2, 1, 8, 700, 609)},
		{Name: "many heads to a group", Record: at(F32, 2, 21, 3, 24, 90, 71)},
		{Name: "one element", Record: at(F32, 2, 1, 1, 1, 3, 1)},
		{Name: "no rows", Record: at(F32, 0, 2, 1, 8, 5, 5)},
		{Name: "a head to a group, a long cache", Record: at(F16, 1, 2, 2, 16, 300, 290)},
		{Name: "wide heads", Record: at(F32, 3, 2, 1, 200, 70, 60)},
		{Name: "wide heads, a long cache", Record: at(BF16, 2, 3, 1, 136, 260, 199)},
		{Name: "many rows, a long cache", Record: at(F16, 11, 2, 1, 10, 270, 259)},
		{Name: "a very long cache", Record: at(F32, 1, 1, 1, 1, 8400, 8390)},
		{Name: "caches of two types", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{Attention(c.Normal(2, 4, 19), c.NormalOf(F16, Dims(9, 2, 19)), c.NormalOf(BF16, Dims(9, 2, 19)), N(7), .2)}
		}},
		{Name: "f16", Record: at(F16, 5, 6, 2, 19, 50, 33)},
		{Name: "bf16", Record: at(BF16, 9, 4, 4, 64, 60, 41)},
		{Name: "arguments", Record: func(c *CaseGraph) []Tensor {
			n, position := c.Int("rows", 9, 4), c.Int("position", 30, 17)
			return []Tensor{Attention(c.NormalOf(F32, Shape{n.Of(1), N(4), N(12)}), c.Normal(30, 2, 12), c.Normal(30, 2, 12), position.Of(1), .3)}
		}},
		{Name: "large scores", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{Attention(c.Uniform(-90, 90, 3, 2, 8), c.Uniform(-90, 90, 300, 1, 8), c.Normal(300, 1, 8), N(297), 1)}
		}},
		{Name: "special values", Record: func(c *CaseGraph) []Tensor {
			inf, nan := math.Inf(1), math.NaN()
			k := c.Values(F32, []float64{1, 2, nan, -inf, 1, inf}, 6, 1, 1)
			v := c.Values(F32, []float64{1, 2, 3, 4, inf, 6}, 6, 1, 1)
			return []Tensor{Attention(c.Values(F32, []float64{1, -1, 1, 1, 1, 1}, 6, 1, 1), k, v, N(0), 1)}
		}},
		{Name: "f16, decoding", Bench: true, Record: at(F16, 1, 32, 8, 128, 2048, 2047)},
		{Name: "f16, prefill", Bench: true, Record: at(F16, 128, 32, 8, 128, 512, 384)},
	}
	return cases
}

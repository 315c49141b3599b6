package ops

import (
	"fmt"
	"math"
)

// Products with stored weights: what a decoder's projections are. Unlike MATMUL the weights may be quantised, and a row
// of the result has the same bits in every batch, down to a batch of one, which is bound by the reading of the weights.

func init() {
	define(Def{
		Opcode: OpLinear, Name: "linear",
		Doc: "y = x w' + bias for x [M,K] and stored rows w [N,K] (f32, f16, bf16, q8_0, q4_0). x stays float32: each element is one sum of " +
			"K products with the exact values of w, error up to 4 sqrt(K) 2^-24 sum |x w|. A row's bits depend neither on the batch nor on " +
			"the type that holds the same weights. NaN and Inf as in IEEE 754 sums; K = 0 gives the bias.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			x, w := c.In[0], c.In[1]
			if err := checkStored(c, "w", w); err != nil {
				return nil, err
			}
			if len(x.Shape()) != 2 || x.DType() != F32 || !x.Dim(1).Equal(w.Dim(1)) {
				return nil, fmt.Errorf("x is %v %s, w is %s; float32 [M x K] and [N x K] are needed", x.DType(), c.S(x), c.S(w))
			}
			if err := checkBias(c, 2, w.Dim(0)); err != nil {
				return nil, err
			}
			return []TypeShape{{F32, Shape{x.Dim(0), w.Dim(0)}}}, nil
		},
		Reference: func(c *RefCall) error {
			eachLinear(c, func(i int, sum, _ float64) { c.Out[0].Data[i] = sum })
			return nil
		},
		Bound: func(c *RefCall, eps float64) [][]float64 {
			bound := make([]float64, len(c.Out[0].Data))
			k := c.In[0].Dim(1)
			eachLinear(c, func(i int, _, terms float64) { bound[i] = productSumBound(k+1, terms, eps) + float64(k)*tiny })
			return [][]float64{bound}
		},
		Grad: func(c *GradCall) {
			x, w, dy := c.In(0), c.In(1), c.OutGrad(0)
			if c.NeedsGrad(0) {
				if w.DType().Block() > 1 {
					c.Fail("w is %v; gradients pass through f32, f16 and bf16 weights", w)
					return
				}
				c.SetIn(0, MatMul(dy, w, MatMulOptions{}))
			}
			if c.NeedsGrad(1) {
				if w.DType() != F32 {
					c.Fail("w is %v; only float32 weights can be trained", w)
					return
				}
				c.SetIn(1, MatMul(dy, x, MatMulOptions{TransposeA: true}))
			}
			if c.NeedsGrad(2) {
				c.SetIn(2, sumTo(dy, c.In(2).Shape()))
			}
		},
		Cases: linearCases,
	})
}

// storedTypes are the types that weights may be stored in.
var storedTypes = []DType{F32, F16, BF16, Q8_0, Q4_0}

// checkStored demands a matrix of one of the storedTypes.
func checkStored(c *ShapeCall, name string, w Tensor) error {
	for _, t := range storedTypes {
		if w.DType() == t && len(w.Shape()) == 2 {
			return nil
		}
	}
	return fmt.Errorf("%s is %v %s; a matrix of %v is needed", name, w.DType(), c.S(w), storedTypes)
}

// checkBias demands that input i, if it is there, is float32 [n].
func checkBias(c *ShapeCall, i int, n Int) error {
	if i >= len(c.In) || c.In[i].DType() == F32 && c.In[i].Shape().Equal(Shape{n}) {
		return nil
	}
	return fmt.Errorf("the bias is %v %s; float32 [%s] is needed", c.In[i].DType(), c.S(c.In[i]), c.g.sizeString(n))
}

// eachLinear visits the elements of a product: the sum with the bias, and the magnitudes of its terms.
func eachLinear(c *RefCall, visit func(i int, sum, terms float64)) {
	x, w := c.In[0], c.In[1]
	n := w.Dim(0)
	for i := range x.Dim(0) {
		for j := range n {
			sum, terms := dot(x, i, w, j)
			if c.HasIn(2) {
				sum += c.In[2].Data[j]
				terms += math.Abs(c.In[2].Data[j])
			}
			visit(i*n+j, sum, terms)
		}
	}
}

// dot is the product of row i of x with row j of w, and the sum of the magnitudes of its terms.
func dot(x *Dense, i int, w *Dense, j int) (sum, terms float64) {
	k := x.Dim(-1)
	for l, v := range x.Data[i*k : i*k+k] {
		p := v * w.Data[j*k+l]
		sum += p
		terms += math.Abs(p)
	}
	return sum, terms
}

// Linear is x w' + bias for x [..., K], weights w [N, K] as they are stored (f32, f16, bf16, q8_0 or q4_0, a row per
// output) and an optional bias [N] (the zero Tensor: none): [..., N].
func Linear(x, w, bias Tensor) Tensor {
	rows, lead := asRows(OpLinear, x)
	y := record(OpLinear, rows.g, []Tensor{rows, w, bias}, nil, nil, nil)[0]
	if !y.Valid() {
		return y
	}
	return reshapeTo(y, append(lead.clone(), y.Dim(1)))
}

func linearCases() []Case {
	at := func(t DType, m, k, n int64, bias bool) func(c *CaseGraph) []Tensor {
		return func(c *CaseGraph) []Tensor {
			b := Tensor{}
			x, w := c.Normal(m, k), c.NormalOf(t, Dims(n, k))
			if bias {
				b = c.Normal(n)
			}
			return []Tensor{Linear(x, w, b)}
		}
	}
	inf, nan := math.Inf(1), math.NaN()
	cases := []Case{
		{Name: "prime sizes", Record: at(F32, 7, 37, 11, true)},
		{Name: "one row", Record: at(F32, 1, 131, 67, false)},
		{Name: "two rows, one column", Record: at(F32, 2, 19, 1, true)},
		{Name: "more than a panel", Record: at(F32, 13, 29, 151, false)},
		{Name: "one element", Record: at(F32, 1, 1, 1, false)},
		{Name: "three axes", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{Linear(c.Normal(2, 3, 5), c.Normal(4, 5), c.Normal(4))}
		}},
		{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 40, 23)
			return []Tensor{Linear(c.NormalOf(F32, Shape{n.Of(1), N(13)}), c.Normal(21, 13), c.Normal(21))}
		}},
		{Name: "empty", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{Linear(c.Normal(0, 3), c.Normal(4, 3), Tensor{}), Linear(c.Normal(2, 3), c.Normal(0, 3), Tensor{}),
				Linear(c.Normal(2, 0), c.Normal(4, 0), c.Normal(4))}
		}},
		{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			x := c.Values(F32, []float64{1, inf, nan, 0, 0, 1, 3e38, 3e38}, 4, 2)
			return []Tensor{Linear(x, c.Values(F32, []float64{1, 0, 2, 1, -1, 3}, 3, 2), Tensor{})}
		}},
	}
	for _, t := range storedTypes {
		for _, m := range []int64{1, 2, 5} {
			cases = append(cases, Case{Name: fmt.Sprintf("%v, %d rows", t, m), NoGradient: true, Record: at(t, m, 96, 53, true)})
		}
		cases = append(cases, Case{Name: fmt.Sprintf("%v, long sums", t), NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			w := c.NormalOf(t, Dims(3, 4192))
			return []Tensor{Linear(c.Normal(1, 4192), w, Tensor{}), Linear(c.Normal(6, 4192), w, Tensor{})}
		}}, Case{Name: fmt.Sprintf("%v, 1x4096x4096", t), Bench: true, NoGradient: true, Record: at(t, 1, 4096, 4096, false)})
	}
	for _, t := range []DType{F16, BF16} {
		for _, m := range []int64{1, 3} {
			cases = append(cases, Case{Name: fmt.Sprintf("%v, prime sizes, %d rows", t, m), NoGradient: true, Record: at(t, m, 37, 13, true)})
		}
	}
	return append(cases, Case{Name: "bf16, 128x2048x2048", Bench: true, NoGradient: true, Record: at(BF16, 128, 2048, 2048, false)})
}

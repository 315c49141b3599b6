package ops

import (
	"fmt"
	"math"
)

// The second and third step of a sparse feed-forward block by themselves: for a network whose zeros come from elsewhere
// (a predictor, a ReLU before a linear layer), and to be measured.

func init() {
	define(Def{Opcode: OpMaskedLinear, Name: "masked_linear",
		Doc: "y = s (x w') where s is not 0, and 0 elsewhere, whatever w holds; the rows of w that no row of x needs are not read, unless more " +
			"than limit F are. Each element is linear's sum times s, within 4 sqrt(K) 2^-24 |s| sum |x w| and a rounding.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			x, w, s := c.In[0], c.In[1], c.In[2]
			if err := checkStep(c, w); err != nil {
				return nil, err
			}
			if err := c.floats32(x, s); err != nil {
				return nil, err
			}
			if len(x.Shape()) != 2 || !x.Dim(1).Equal(w.Dim(1)) || !s.Shape().Equal(Shape{x.Dim(0), w.Dim(0)}) {
				return nil, fmt.Errorf("x is %s, w %s, s %s; [B x D], [F x D] and [B x F] are needed", c.S(x), c.S(w), c.S(s))
			}
			return []TypeShape{{F32, s.Shape()}, {I32, Dims(1)}}, nil
		},
		Reference: func(c *RefCall) error {
			x, w, s := c.In[0], c.In[1], c.In[2]
			n := w.Dim(0)
			for i := range s.Data {
				if s.Data[i] != 0 {
					sum, _ := dot(x, i/n, w, i%n)
					c.Out[0].Data[i] = s.Data[i] * sum
				}
			}
			c.Out[1].Data[0] = rowsRead(s, c.Floats[0])
			return nil
		},
		Bound: func(c *RefCall, eps float64) [][]float64 {
			x, w, s := c.In[0], c.In[1], c.In[2]
			bound := make([]float64, len(s.Data))
			for i := range bound {
				if s.Data[i] != 0 {
					n := w.Dim(0)
					_, terms := dot(x, i/n, w, i%n)
					bound[i] = math.Abs(s.Data[i])*(productSumBound(x.Dim(1)+1, terms, eps)+tiny) + eps*math.Abs(c.Out[0].Data[i]) + tiny
				}
			}
			return [][]float64{bound, {0}}
		},
		Cases: func() []Case { return withoutGradient(maskedLinearCases()) },
	})

	define(Def{Opcode: OpSparseLinear, Name: "sparse_linear",
		Doc: "y = h w + bias for w stored with a row per input: matmul's sums, in which the rows whose input is 0 in every row of h are not " +
			"read, unless more than limit F are needed. The bits do not depend on that, provided the weights are finite. Error up to 4 sqrt(F) " +
			"2^-24 sum |h w|.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			h, w := c.In[0], c.In[1]
			if err := checkStep(c, w); err != nil {
				return nil, err
			}
			if len(h.Shape()) != 2 || h.DType() != F32 || !h.Dim(1).Equal(w.Dim(0)) {
				return nil, fmt.Errorf("h is %v %s, w is %s; float32 [B x F] and [F x D] are needed", h.DType(), c.S(h), c.S(w))
			}
			if err := checkBias(c, 2, w.Dim(1)); err != nil {
				return nil, err
			}
			return []TypeShape{{F32, Shape{h.Dim(0), w.Dim(1)}}, {I32, Dims(1)}}, nil
		},
		Reference: func(c *RefCall) error {
			eachSparse(c, func(i int, sum, _ float64) { c.Out[0].Data[i] = sum })
			c.Out[1].Data[0] = rowsRead(c.In[0], c.Floats[0])
			return nil
		},
		Bound: func(c *RefCall, eps float64) [][]float64 {
			bound, n := make([]float64, len(c.Out[0].Data)), c.In[1].Dim(0)
			eachSparse(c, func(i int, _, terms float64) { bound[i] = productSumBound(n+1, terms, eps) + float64(n+1)*tiny })
			return [][]float64{bound, {0}}
		},
		Cases: func() []Case { return withoutGradient(sparseLinearCases()) },
	})
}

// checkStep demands stored weights of a constant number of rows, and a limit.
func checkStep(c *ShapeCall, w Tensor) error {
	if err := checkStored(c, "w", w); err != nil {
		return err
	}
	if limit := c.Floats[0].V; !w.Dim(0).Const() || !(limit >= 0 && limit <= 1) {
		return fmt.Errorf("w is %s, the limit %g; a constant number of rows and a limit from 0 to 1 are needed", c.S(w), limit)
	}
	return nil
}

// rowsRead is how many columns of m are not 0 in some row, or all if that is more than the limit allows.
func rowsRead(m *Dense, limit float64) float64 {
	n := m.Dim(1)
	needed := make([]bool, n)
	for i, v := range m.Data {
		needed[i%n] = needed[i%n] || v != 0
	}
	if read := float64(countTrue(needed)); read <= limit*float64(n) {
		return read
	}
	return float64(n)
}

// eachSparse visits the elements of h w + bias, with the magnitudes of their terms.
func eachSparse(c *RefCall, visit func(i int, sum, terms float64)) {
	h, w := c.In[0], c.In[1]
	n, d := w.Dim(0), w.Dim(1)
	for b := range h.Dim(0) {
		for k := range d {
			sum, terms := 0.0, 0.0
			for i, v := range h.Data[b*n : b*n+n] {
				if v != 0 {
					sum += v * w.Data[i*d+k]
					terms += math.Abs(v * w.Data[i*d+k])
				}
			}
			if c.HasIn(2) {
				sum += c.In[2].Data[k]
				terms += math.Abs(c.In[2].Data[k])
			}
			visit(b*d+k, sum, terms)
		}
	}
}

// limitOf is FFNOptions.Limit's convention.
func limitOf(limit float64) Float {
	switch {
	case limit == 0:
		return V(FFNLimit)
	case limit < 0:
		return V(0)
	}
	return V(limit)
}

// MaskedLinear is s (x w') for x [B, D], stored weights w [F, D] and s [B, F], computed only where s is not 0; and as
// i32 [1] how many rows of w were read. Limit is that of FFNOptions.
func MaskedLinear(x, w, s Tensor, limit float64) (y, read Tensor) {
	r := record(OpMaskedLinear, graphOf(x, w, s), []Tensor{x, w, s}, nil, nil, []Float{limitOf(limit)})
	return r[0], r[1]
}

// SparseLinear is h w + bias for h [B, F] with many zeros and weights w [F, D] stored with a row per input (the transpose
// of Linear's), with an optional bias [D]; and as i32 [1] how many rows of w were read. Limit is that of FFNOptions.
func SparseLinear(h, w, bias Tensor, limit float64) (y, read Tensor) {
	r := record(OpSparseLinear, graphOf(h, w, bias), []Tensor{h, w, bias}, nil, nil, []Float{limitOf(limit)})
	return r[0], r[1]
}

// sparseRows is a matrix whose elements are 0 but for about that share.
func sparseRows(c *CaseGraph, rows, n int64, share float64) Tensor {
	return c.draw(F32, Dims(rows, n), func() float64 {
		if c.rand.Float64() >= share {
			return 0
		}
		return c.rand.NormFloat64()
	})
}

// stepCases run f over shapes, shares of zeros and types.
func stepCases(f func(c *CaseGraph, t DType, b, d, n int64, share, limit float64) []Tensor) []Case {
	at := func(t DType, b, d, n int64, share, limit float64) func(c *CaseGraph) []Tensor {
		return func(c *CaseGraph) []Tensor { return f(c, t, b, d, n, share, limit) }
	}
	cases := []Case{
		{Name: "prime sizes", Record: at(F32, 3, 13, 37, .1, 0)},
		{Name: "one row", Record: at(F32, 1, 29, 2311, .1, 0)},
		{Name: "half", Record: at(F32, 1, 29, 301, .5, 1)},
		{Name: "all read", Record: at(F32, 2, 9, 301, .1, -1)},
		{Name: "none needed", Record: at(F32, 2, 9, 50, 0, 0)},
		{Name: "all needed", Record: at(F32, 2, 9, 50, 1, 0)},
		{Name: "many rows", Record: at(F32, 41, 33, 290, .3, 0)},
		{Name: "many rows, few needed", Record: at(F32, 41, 33, 290, .002, 0)},
		{Name: "whole vectors of values", Record: at(F32, 1, 40, 1236, .1, 0)},
		{Name: "more values than fit in a look", Record: at(F32, 9, 5, 2311, .01, 0)},
		{Name: "empty", Record: func(c *CaseGraph) []Tensor {
			return append(append(f(c, F32, 0, 3, 5, 1, 0), f(c, F32, 2, 0, 5, 1, 0)...), f(c, F32, 2, 3, 0, 1, 0)...)
		}},
	}
	for _, t := range []DType{F16, BF16} {
		for _, b := range []int64{1, 3, 9} {
			cases = append(cases, Case{Name: fmt.Sprintf("%v, prime sizes, %d rows", t, b), Record: at(t, b, 37, 61, .2, 0)})
		}
	}
	for _, t := range storedTypes {
		for _, b := range []int64{1, 2, 3, 11} {
			cases = append(cases, Case{Name: fmt.Sprintf("%v, %d rows", t, b), Record: at(t, b, 64, 275, .1, 0)})
		}
		cases = append(cases, Case{Name: fmt.Sprintf("%v, one row of a tenth", t), Bench: true, Record: at(t, 1, 2048, 5632, .1, 0)})
	}
	return cases
}

func maskedLinearCases() []Case {
	return stepCases(func(c *CaseGraph, t DType, b, d, n int64, share, limit float64) []Tensor {
		y, read := MaskedLinear(c.Normal(b, d), c.NormalOf(t, Dims(n, d)), sparseRows(c, b, n, share), limit)
		return []Tensor{y, read}
	})
}

func sparseLinearCases() []Case {
	cases := stepCases(func(c *CaseGraph, t DType, b, d, n int64, share, limit float64) []Tensor {
		y, read := SparseLinear(sparseRows(c, b, n, share), c.NormalOf(t, Dims(n, d)), Tensor{}, limit)
		return []Tensor{y, read}
	})
	return append(cases, Case{Name: "bias", Record: func(c *CaseGraph) []Tensor {
		y, read := SparseLinear(sparseRows(c, 3, 150, .1), c.Normal(150, 21), c.Normal(21), 0)
		return []Tensor{y, read}
	}})
}

package ops

import (
	"fmt"
	"math"
)

func defineArg(code Opcode, name, doc string, better func(x, best float64) bool, f func(Tensor) Tensor) {
	define(Def{Opcode: code, Name: name, Doc: doc, Bound: exactBound,
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			if err := rowsOfFloats(c); err != nil {
				return nil, err
			}
			if x := c.In[0]; c.Max(x.Dim(1)) == 0 {
				return nil, fmt.Errorf("the rows of %s are empty", c.S(x))
			}
			return []TypeShape{{I32, Shape{c.In[0].Dim(0)}}}, nil
		},
		Grad: func(c *GradCall) {},
		Reference: func(c *RefCall) error {
			n := c.In[0].Dim(1)
			for r := range c.Out[0].Data {
				best, at := math.NaN(), 0
				for k, x := range c.In[0].Data[r*n : r*n+n] {
					if !math.IsNaN(x) && (math.IsNaN(best) || better(x, best)) {
						best, at = x, k
					}
				}
				c.Out[0].Data[r] = float64(at)
			}
			return nil
		},
		Cases: func() []Case { return argCases(f) }})
}

func init() {
	defineArg(OpArgMax, "arg_max", "Index of the largest element of each row; ties: the lowest; NaN is never chosen unless all are (0). Exact.",
		func(x, best float64) bool { return x > best }, ArgMax)
	defineArg(OpArgMin, "arg_min", "Index of the smallest element of each row; ties: the lowest; NaN is never chosen unless all are (0). Exact.",
		func(x, best float64) bool { return x < best }, ArgMin)
}

// rowsOfFloats demands that input 0 is a float32 matrix.
func rowsOfFloats(c *ShapeCall) error {
	if len(c.In[0].Shape()) != 2 {
		return fmt.Errorf("input is %s; rows [R x N] are needed", c.S(c.In[0]))
	}
	return c.floats32(c.In[0])
}

// asRows views x as a matrix of its innermost rows, and returns the other axes.
func asRows(code Opcode, x Tensor) (Tensor, Shape) {
	g := x.g
	if g == nil || g.err != nil {
		return Tensor{}, nil
	}
	n := len(x.Shape())
	if n == 0 {
		return g.failf("%s: %v has no axis", defsByCode[code].Name, x), nil
	}
	lead := x.Shape()[:n-1]
	if n == 2 {
		return x, lead
	}
	rows, err := lead.Count()
	if err != nil {
		return g.failf("%s: %w", defsByCode[code].Name, err), nil
	}
	return Reshape(x, rows, x.Dim(-1)), lead
}

// perRow records an op that makes one element of each row of x (the first input, any rank).
func perRow(code Opcode, x Tensor, more ...Tensor) Tensor {
	rows, lead := asRows(code, x)
	y := record(code, rows.g, append([]Tensor{rows}, more...), nil, nil, nil)[0]
	return reshapeTo(y, lead)
}

// reshapeTo is Reshape for a result that often has the shape already.
func reshapeTo(x Tensor, shape Shape) Tensor {
	if x.g == nil || x.Shape().Equal(shape) {
		return x
	}
	return Reshape(x, shape...)
}

// ArgMax is the index of the largest element along the innermost axis, which is dropped.
func ArgMax(x Tensor) Tensor { return perRow(OpArgMax, x) }

// ArgMin is the index of the smallest element along the innermost axis, which is dropped.
func ArgMin(x Tensor) Tensor { return perRow(OpArgMin, x) }

func argCases(f func(Tensor) Tensor) []Case {
	return []Case{
		{Name: "prime sizes", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(13, 101))} }},
		{Name: "any rank", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(7)), f(c.Normal(2, 3, 5))} }},
		{Name: "one column", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(5, 1))} }},
		{Name: "no rows", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(0, 5))} }},
		{Name: "transposed", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(Transpose(c.Normal(33, 6)))} }},
		{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 9, 4)
			return []Tensor{f(c.NormalOf(F32, Shape{n.Of(1), N(10)}))}
		}},
		{Name: "ties", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			v := make([]float64, 5*70)
			for i := range v {
				v[i] = float64(i * i % 7)
			}
			return []Tensor{f(c.Values(F32, v, 5, 70)), f(c.Values(F32, make([]float64, 3*50), 3, 50))}
		}},
		{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			inf, nan := math.Inf(1), math.NaN()
			return []Tensor{f(c.Values(F32, []float64{nan, 1, inf, nan, nan, nan, -inf, nan, -inf, 0, math.Copysign(0, -1), 0,
				nan, inf, -inf, inf, nan, inf, -3, -inf, -inf}, 7, 3))}
		}},
		{Name: "long rows with a late NaN", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			v := make([]float64, 2*100)
			for i := range v {
				v[i] = float64((i * 37) % 100)
			}
			v[99], v[150] = math.NaN(), math.NaN()
			return []Tensor{f(c.Values(F32, v, 2, 100))}
		}},
		{Name: "long rows", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(c.Normal(3, 300)), f(c.Normal(2, 20001)), f(Cast(c.Indices(-9, 9, 2, 17000), F32))}
		}},
		{Name: "large", Bench: true, NoGradient: true, Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(1024, 1024))} }},
		{Name: "large, ten classes", Bench: true, NoGradient: true, Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(65536, 10))} }},
	}
}

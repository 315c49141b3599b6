package ops

import (
	"fmt"
	"math"
)

// Reductions over any set of axes, which stay in the result with size 1.

type reduceDef struct {
	code  Opcode
	name  string
	doc   string
	start float64
	step  func(acc, x float64) float64
	bound func(*RefCall, float64) [][]float64
	grad  func(c *GradCall)
	f     func(x Tensor, axes ...int) Tensor
	extra func() []Case
}

func defineReduce(r reduceDef) {
	define(Def{Opcode: r.code, Name: r.name, Doc: r.doc, Bound: r.bound, Grad: r.grad,
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			if err := c.floats32(c.In...); err != nil {
				return nil, err
			}
			shape := c.In[0].Shape().clone()
			if m := c.Ints[0]; !m.Const() || m.N < 0 || m.N >= 1<<len(shape) {
				return nil, fmt.Errorf("axes mask %d does not fit %s", m.N, c.S(c.In[0]))
			}
			for k := range shape {
				if c.Ints[0].N>>k&1 == 1 {
					shape[k] = N(1)
				}
			}
			return []TypeShape{{F32, shape}}, nil
		},
		Strided: func(*ShapeCall, int) bool { return true },
		Reference: func(c *RefCall) error {
			y := c.Out[0].Data
			for i := range y {
				y[i] = r.start
			}
			eachReduced(c, func(i, o int) { y[o] = r.step(y[o], c.In[0].Data[i]) })
			if r.code == OpReduceMean {
				for i := range y {
					y[i] /= float64(reducedCount(c))
				}
			}
			return nil
		},
		Cases: func() []Case { return append(reduceCases(r.f), r.extra()...) }})
}

// eachReduced visits every element i of the input with the output o that it goes into.
func eachReduced(c *RefCall, visit func(i, o int)) {
	x := c.In[0]
	stride, n := make([]int, len(x.Shape)), 1
	for k := len(x.Shape) - 1; k >= 0; k-- {
		if c.Ints[0]>>k&1 == 0 {
			stride[k] = n
			n *= x.Shape[k]
		}
	}
	index, o := make([]int, len(x.Shape)), 0
	for i := range x.Data {
		visit(i, o)
		for k := len(x.Shape) - 1; k >= 0; k-- {
			index[k]++
			o += stride[k]
			if index[k] < x.Shape[k] {
				break
			}
			o -= index[k] * stride[k]
			index[k] = 0
		}
	}
}

// reducedCount is how many elements go into each output.
func reducedCount(c *RefCall) int {
	n := 1
	for k, d := range c.In[0].Shape {
		if c.Ints[0]>>k&1 == 1 {
			n *= d
		}
	}
	return n
}

// sumBound is the house bound for sums, with the magnitude that each element contributes; scale multiplies the sum.
func sumBound(magnitude func(x float64) float64, mean bool) func(*RefCall, float64) [][]float64 {
	return func(c *RefCall, eps float64) [][]float64 {
		sum := make([]float64, len(c.Out[0].Data))
		eachReduced(c, func(i, o int) { sum[o] += magnitude(c.In[0].Data[i]) })
		n := reducedCount(c)
		return eachBound(c, func(_ *Dense, i int) float64 {
			b := productSumBound(n, sum[i], eps)
			if mean {
				b /= float64(max(n, 1))
			}
			return b + tiny
		})
	}
}

func init() {
	defineReduce(reduceDef{code: OpReduceSum, name: "reduce_sum", f: Sum, extra: sumCases,
		doc:  "Sum over axes, in a fixed order, within 4 sqrt(K) eps sum|x|; an empty sum is 0. NaN propagates.",
		step: func(acc, x float64) float64 { return acc + x }, bound: sumBound(math.Abs, false),
		grad: func(c *GradCall) { c.SetIn(0, BroadcastTo(c.OutGrad(0), c.In(0).Shape())) }})

	defineReduce(reduceDef{code: OpReduceMean, name: "reduce_mean", f: Mean, extra: sumCases,
		doc:  "Mean over axes, within 4 sqrt(K) eps mean|x|; an empty mean is NaN. NaN propagates.",
		step: func(acc, x float64) float64 { return acc + x }, bound: sumBound(math.Abs, true), grad: meanGrad})

	defineReduce(reduceDef{code: OpReduceMax, name: "reduce_max", f: Max, extra: extremeCases(Max), start: math.Inf(-1),
		doc:  "Largest over axes, NaN if any is NaN, -Inf if there is none. Exact. Equal maxima share the gradient.",
		step: larger, bound: exactBound, grad: extremeGrad})

	defineReduce(reduceDef{code: OpReduceMin, name: "reduce_min", f: Min, extra: extremeCases(Min), start: math.Inf(1),
		doc:  "Smallest over axes, NaN if any is NaN, Inf if there is none. Exact. Equal minima share the gradient.",
		step: smaller, bound: exactBound, grad: extremeGrad})

	defineReduce(reduceDef{code: OpReduceSumSquares, name: "reduce_sum_squares", f: SumSquares, extra: sumCases,
		doc:  "Sum of squares over axes, in a fixed order, within 4 sqrt(K) eps sum x^2; an empty sum is 0. NaN propagates.",
		step: func(acc, x float64) float64 { return acc + x*x }, bound: sumBound(func(x float64) float64 { return x * x }, false),
		grad: func(c *GradCall) {
			c.SetIn(0, Mul(BroadcastTo(Scale(c.OutGrad(0), 2), c.In(0).Shape()), c.In(0)))
		}})
}

// larger and smaller are NaN if either operand is; math.Max and math.Min prefer an infinity to a NaN.
func larger(a, b float64) float64 {
	if math.IsNaN(a) || math.IsNaN(b) {
		return math.NaN()
	}
	return math.Max(a, b)
}

func smaller(a, b float64) float64 {
	if math.IsNaN(a) || math.IsNaN(b) {
		return math.NaN()
	}
	return math.Min(a, b)
}

// meanGrad divides by the count. Where that depends on an argument, it is itself a sum of ones over one axis.
func meanGrad(c *GradCall) {
	x, dy, fixed := c.In(0), c.OutGrad(0), int64(1)
	for k, d := range x.Shape() {
		switch {
		case c.Ints[0].N>>k&1 == 0:
		case d.Const():
			fixed *= d.N
		default:
			ones := BroadcastTo(Full(c.g, F32, float64(d.N), Dims(1)), Shape{d.Arg.Of(1)})
			dy = Div(dy, Sum(ones))
		}
	}
	if fixed > 1 {
		dy = Scale(dy, 1/float64(fixed))
	}
	c.SetIn(0, BroadcastTo(dy, x.Shape()))
}

// extremeGrad shares the gradient among the elements equal to the result.
func extremeGrad(c *GradCall) {
	x, mask := c.In(0), c.Ints[0]
	chosen := Equal(x, c.Out(0))
	count := recordReduce(OpReduceSum, chosen, mask)
	c.SetIn(0, Mul(chosen, Div(c.OutGrad(0), count)))
}

func recordReduce(code Opcode, x Tensor, mask Int) Tensor {
	return record(code, x.g, []Tensor{x}, nil, []Int{mask}, nil)[0]
}

// reduceAxes turns a list of axes (negative: from the innermost; none: all) into a mask.
func reduceAxes(code Opcode, x Tensor, axes []int) Tensor {
	n := len(x.Shape())
	mask := int64(0)
	if len(axes) == 0 {
		mask = 1<<n - 1
	}
	for _, k := range axes {
		if k < 0 {
			k += n
		}
		if k < 0 || k >= n {
			if x.g != nil {
				x.g.failf("%s: %v has no axis among %v", defsByCode[code].Name, x, axes)
			}
			return Tensor{}
		}
		mask |= 1 << k
	}
	return recordReduce(code, x, N(mask))
}

// Sum adds up over axes, which stay with size 1; without axes over all.
func Sum(x Tensor, axes ...int) Tensor { return reduceAxes(OpReduceSum, x, axes) }

// Mean is the average over axes, which stay with size 1; without axes over all.
func Mean(x Tensor, axes ...int) Tensor { return reduceAxes(OpReduceMean, x, axes) }

// Max is the largest element over axes, which stay with size 1; without axes over all.
func Max(x Tensor, axes ...int) Tensor { return reduceAxes(OpReduceMax, x, axes) }

// Min is the smallest element over axes, which stay with size 1; without axes over all.
func Min(x Tensor, axes ...int) Tensor { return reduceAxes(OpReduceMin, x, axes) }

// SumSquares is the sum of squares over axes, which stay with size 1; without axes over all.
func SumSquares(x Tensor, axes ...int) Tensor { return reduceAxes(OpReduceSumSquares, x, axes) }

func reduceCases(f func(x Tensor, axes ...int) Tensor) []Case {
	one := func(name string, x func(c *CaseGraph) Tensor, axes ...int) Case {
		return Case{Name: name, Record: func(c *CaseGraph) []Tensor { return []Tensor{f(x(c), axes...)} }}
	}
	normal := func(dims ...int64) func(c *CaseGraph) Tensor {
		return func(c *CaseGraph) Tensor { return c.Normal(dims...) }
	}
	long := func(name string, x func(c *CaseGraph) Tensor, axes ...int) Case {
		k := one(name, x, axes...)
		k.NoGradient = true
		return k
	}
	bench := func(name string, x func(c *CaseGraph) Tensor, axes ...int) Case {
		k := long(name, x, axes...)
		k.Bench = true
		return k
	}
	return []Case{
		one("all axes", normal(7, 13, 5)),
		one("last axis", normal(7, 131), -1),
		one("first axis", normal(131, 7), 0),
		one("middle axis", normal(3, 17, 5), 1),
		one("outer axes", normal(3, 17, 5), 0, 2),
		one("five axes", normal(2, 3, 4, 3, 5), 0, 2, 4),
		one("axis of size 1", normal(5, 1, 3), 1),
		one("scalar", normal()),
		one("empty result", normal(0, 3), 1),
		one("transposed", func(c *CaseGraph) Tensor { return Transpose(c.Normal(41, 23)) }, -1),
		one("sliced", func(c *CaseGraph) Tensor { return Slice(c.Normal(9, 40), 1, N(2), N(19)) }, 0),
		one("batch argument", func(c *CaseGraph) Tensor {
			n := c.Int("batch", 8, 5)
			return c.NormalOf(F32, Shape{n.Of(2), N(3)})
		}, 0),
		one("few outputs, long", normal(3000, 3), 0),
		one("in whole vectors", normal(40, 260), 1),
		long("everything, long", normal(64, 300)),
		long("rows, long", normal(3, 20000), 1),
		long("rows, long, no whole vectors", normal(2, 20001), 1),
		long("columns, long", normal(2100, 36), 0),
		long("columns between other axes, long", normal(2, 300, 2, 12), 1),
		long("columns in several blocks", normal(20, 1300), 0),
		long("transposed, long", func(c *CaseGraph) Tensor { return Transpose(c.Normal(30, 20, 40)) }, 1, 2),
		bench("large, last axis", normal(1024, 1024), 1),
		bench("large, first axis", normal(1024, 1024), 0),
		bench("large, all axes", normal(1024, 1024)),
		bench("large, channels of images", normal(32, 32, 32, 32), 0, 1, 2),
	}
}

func sumCases() []Case {
	return append(emptyReduction(),
		Case{Name: "repeated", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{Sum(BroadcastTo(c.Normal(5, 1), Dims(3, 5, 7)), 0, 2), Mean(BroadcastTo(c.Normal(5, 1), Dims(3, 5, 7)), 1),
				SumSquares(BroadcastTo(c.Normal(5, 1), Dims(3, 5, 7)), 0, 2)}
		}},
		Case{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			inf, nan := math.Inf(1), math.NaN()
			x := c.Values(F32, []float64{1, nan, 2, inf, 3, 4, inf, 1, -inf, 1e-45, 1e-45, 0}, 4, 3)
			return []Tensor{Sum(x, 1), Mean(x, 1), SumSquares(x, 1)}
		}})
}

func emptyReduction() []Case {
	return []Case{{Name: "nothing to reduce", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
		x := c.Normal(3, 0)
		return []Tensor{Sum(x, 1), Mean(x, 1), Max(x, 1), Min(x, 1), SumSquares(x, 1)}
	}}}
}

func extremeCases(f func(x Tensor, axes ...int) Tensor) func() []Case {
	return func() []Case {
		return append(emptyReduction(),
			Case{Name: "ties and special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
				inf, nan := math.Inf(1), math.NaN()
				x := c.Values(F32, []float64{1, nan, 2, inf, 3, -inf, inf, nan, -inf, 2, 2, 1, -inf, -inf, -inf}, 5, 3)
				return []Tensor{f(x, 1), f(x, 0), f(x)}
			}})
	}
}

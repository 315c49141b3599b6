package ops

import "math"

// Softmax and its relatives over the innermost axis. All subtract the row's maximum first. A logit of -Inf is an
// impossible class; a row with a NaN or an Inf, or of nothing but -Inf, has no distribution and gives NaN.

// logits is one row as every op of this family sees it.
type logits struct {
	x      []float64
	m, s   float64 // maximum; sum of exp(x - m)
	sumEps float64 // the relative error of s, in units of the round-off: see logitsOf
}

// logitsOf works out a row. Each term of s carries the rounding of its argument, p_k |x_k - m| in total, and that of exp.
func logitsOf(x []float64) logits {
	l := logits{x: x, m: math.Inf(-1)}
	for _, v := range x {
		l.m = larger(l.m, v)
	}
	for _, v := range x {
		l.s += math.Exp(v - l.m)
	}
	l.sumEps = 4*math.Sqrt(float64(len(x))) + 4
	for k, v := range x {
		if p := l.p(k); p > 0 {
			l.sumEps += p * (l.m - v)
		}
	}
	return l
}

func (l *logits) p(k int) float64 { return math.Exp(l.x[k]-l.m) / l.s }

// pEps is the relative error of p(k).
func (l *logits) pEps(k int) float64 {
	if math.IsInf(l.x[k], -1) {
		return 0
	}
	return l.sumEps + 6 + l.m - l.x[k]
}

// logEps is the error of log s.
func (l *logits) logEps() float64 { return l.sumEps + 4*math.Log(l.s) }

// eachRow calls f with the index and the range of every row of x.
func eachRow(x *Dense, f func(r, from, to int)) {
	n := x.Dim(-1)
	for r := range x.Dim(0) {
		f(r, r*n, r*n+n)
	}
}

// boundRows makes the bound of an op with one output of rows.
func boundRows(f func(c *RefCall, eps float64, r, from, to int, bound []float64)) func(*RefCall, float64) [][]float64 {
	return func(c *RefCall, eps float64) [][]float64 {
		bound := make([]float64, len(c.Out[0].Data))
		eachRow(c.In[0], func(r, from, to int) { f(c, eps, r, from, to, bound) })
		return [][]float64{bound}
	}
}

func sameRows(c *ShapeCall) ([]TypeShape, error) {
	if err := rowsOfFloats(c); err != nil {
		return nil, err
	}
	return sameInputs(c)
}

func init() {
	define(Def{Opcode: OpSoftmax, Name: "softmax", Shape: sameRows, Cases: func() []Case { return softmaxCases(Softmax) },
		Doc: "exp(x) / sum exp(x) along rows, within (10 + 4 sqrt N + D_k + sum p D) eps p_k, D_k = max - x_k. A logit of -Inf gives 0; " +
			"a row with NaN or Inf, or of -Inf alone, gives NaN.",
		Reference: func(c *RefCall) error {
			eachRow(c.In[0], func(_, from, to int) {
				l := logitsOf(c.In[0].Data[from:to])
				for k := range l.x {
					c.Out[0].Data[from+k] = l.p(k)
				}
			})
			return nil
		},
		Bound: boundRows(func(c *RefCall, eps float64, _, from, to int, bound []float64) {
			l := logitsOf(c.In[0].Data[from:to])
			for k := range l.x {
				bound[from+k] = l.pEps(k)*eps*l.p(k) + 2*tiny
			}
		}),
		Grad: func(c *GradCall) { c.SetIn(0, SoftmaxGrad(c.Out(0), c.OutGrad(0))) }})

	define(Def{Opcode: OpSoftmaxGrad, Name: "softmax_grad", Shape: sameRows,
		Cases: func() []Case { return rowPairCases(SoftmaxGrad, func(x Tensor) Tensor { return Softmax(x) }) },
		Doc:   "y (dy - sum y dy) along rows, within (4 sqrt N sum|y dy| + 2|dy| + 2|sum y dy|) eps |y|. NaN propagates.",
		Reference: func(c *RefCall) error {
			y, dy := c.In[0].Data, c.In[1].Data
			eachRow(c.In[0], func(_, from, to int) {
				dot := 0.0
				for k := from; k < to; k++ {
					dot += y[k] * dy[k]
				}
				for k := from; k < to; k++ {
					c.Out[0].Data[k] = y[k] * (dy[k] - dot)
				}
			})
			return nil
		},
		Bound: boundRows(func(c *RefCall, eps float64, _, from, to int, bound []float64) {
			y, dy := c.In[0].Data, c.In[1].Data
			dot, abs := 0.0, 0.0
			for k := from; k < to; k++ {
				dot += y[k] * dy[k]
				abs += math.Abs(y[k] * dy[k])
			}
			for k := from; k < to; k++ {
				bound[k] = math.Abs(y[k])*(productSumBound(to-from, abs, eps)+2*eps*(math.Abs(dy[k])+math.Abs(dot))) + 2*tiny
			}
		})})

	define(Def{Opcode: OpLogSoftmax, Name: "log_softmax", Shape: sameRows, Cases: func() []Case { return softmaxCases(LogSoftmax) },
		Doc: "x - log sum exp(x) along rows, within (D_k + 4 + 4 sqrt N + sum p D + 4 log S) eps, D_k = max - x_k, S = sum exp(-D). A logit " +
			"of -Inf gives -Inf; a row with NaN or Inf, or of -Inf alone, gives NaN.",
		Reference: func(c *RefCall) error {
			eachRow(c.In[0], func(_, from, to int) {
				l := logitsOf(c.In[0].Data[from:to])
				for k, x := range l.x {
					c.Out[0].Data[from+k] = x - l.m - math.Log(l.s)
				}
			})
			return nil
		},
		Bound: boundRows(func(c *RefCall, eps float64, _, from, to int, bound []float64) {
			l := logitsOf(c.In[0].Data[from:to])
			for k, x := range l.x {
				if !math.IsInf(x, -1) {
					bound[from+k] = eps * (l.m - x + l.logEps())
				}
			}
		}),
		Grad: func(c *GradCall) { c.SetIn(0, LogSoftmaxGrad(c.Out(0), c.OutGrad(0))) }})

	define(Def{Opcode: OpLogSoftmaxGrad, Name: "log_softmax_grad", Shape: sameRows,
		Cases: func() []Case { return rowPairCases(LogSoftmaxGrad, func(x Tensor) Tensor { return LogSoftmax(x) }) },
		Doc:   "dy - exp(y) sum dy along rows, within (4 sqrt N sum|dy| + 6 |sum dy|) eps exp(y). NaN propagates.",
		Reference: func(c *RefCall) error {
			y, dy := c.In[0].Data, c.In[1].Data
			eachRow(c.In[0], func(_, from, to int) {
				sum := 0.0
				for _, v := range dy[from:to] {
					sum += v
				}
				for k := from; k < to; k++ {
					c.Out[0].Data[k] = dy[k] - math.Exp(y[k])*sum
				}
			})
			return nil
		},
		Bound: boundRows(func(c *RefCall, eps float64, _, from, to int, bound []float64) {
			sum, abs := 0.0, 0.0
			for _, v := range c.In[1].Data[from:to] {
				sum += v
				abs += math.Abs(v)
			}
			for k := from; k < to; k++ {
				bound[k] = math.Exp(c.In[0].Data[k])*(productSumBound(to-from, abs, eps)+6*eps*math.Abs(sum)) + tiny*(1+math.Abs(sum))
			}
		})})

	define(Def{Opcode: OpLogSumExp, Name: "log_sum_exp", Cases: func() []Case { return append(softmaxCases(LogSumExp), noColumns(LogSumExp)) },
		Doc: "log sum exp(x) of rows, within (4 + 4 sqrt N + sum p D + 4 log S) eps, D = max - x, S = sum exp(-D). Inf for a row with an " +
			"Inf, -Inf for one of -Inf alone or of nothing; NaN propagates. The gradient of those rows is NaN.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			return []TypeShape{{F32, c.In[0].Shape()[:1]}}, rowsOfFloats(c)
		},
		Reference: func(c *RefCall) error {
			eachRow(c.In[0], func(r, from, to int) {
				l := logitsOf(c.In[0].Data[from:to])
				c.Out[0].Data[r] = l.m
				if !math.IsInf(l.m, 0) {
					c.Out[0].Data[r] = l.m + math.Log(l.s)
				}
			})
			return nil
		},
		Bound: boundRows(func(c *RefCall, eps float64, r, from, to int, bound []float64) {
			if l := logitsOf(c.In[0].Data[from:to]); !math.IsInf(l.m, 0) {
				bound[r] = eps * l.logEps()
			}
		}),
		Grad: func(c *GradCall) {
			dy := Reshape(c.OutGrad(0), c.Out(0).Dim(0), N(1))
			c.SetIn(0, Mul(Softmax(c.In(0)), dy))
		}})
}

// likeRows records an op whose inputs and output all have the shape of x.
func likeRows(code Opcode, x Tensor, more ...Tensor) Tensor {
	rows, _ := asRows(code, x)
	ins := []Tensor{rows}
	for _, t := range more {
		if !t.Shape().Equal(x.Shape()) && x.g != nil && t.g != nil {
			return x.g.failf("%s: %v and %v differ in shape", defsByCode[code].Name, x, t)
		}
		r, _ := asRows(code, t)
		ins = append(ins, r)
	}
	return reshapeTo(record(code, rows.g, ins, nil, nil, nil)[0], x.Shape())
}

// Softmax is exp(x) / sum exp(x) along the innermost axis.
func Softmax(x Tensor) Tensor { return likeRows(OpSoftmax, x) }

// SoftmaxGrad is the gradient of the input of Softmax, given its output y and the gradient dy of that.
func SoftmaxGrad(y, dy Tensor) Tensor { return likeRows(OpSoftmaxGrad, y, dy) }

// LogSoftmax is x - log sum exp(x) along the innermost axis.
func LogSoftmax(x Tensor) Tensor { return likeRows(OpLogSoftmax, x) }

// LogSoftmaxGrad is the gradient of the input of LogSoftmax, given its output y and the gradient dy of that.
func LogSoftmaxGrad(y, dy Tensor) Tensor { return likeRows(OpLogSoftmaxGrad, y, dy) }

// LogSumExp is log sum exp(x) along the innermost axis, which is dropped.
func LogSumExp(x Tensor) Tensor { return perRow(OpLogSumExp, x) }

func noColumns(f func(Tensor) Tensor) Case {
	return Case{Name: "nothing in a row", NoGradient: true, Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(3, 0))} }}
}

func softmaxCases(f func(Tensor) Tensor) []Case {
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
		{Name: "longer and longer rows", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			var r []Tensor
			for _, n := range []int64{1, 16, 17, 33, 65, 129, 257, 600, 1024, 1028, 4501} {
				r = append(r, f(c.Normal(3, n)))
			}
			return r
		}},
		{Name: "very long rows", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(c.Normal(2, 65540)), f(Affine(c.Normal(1, 65537), 30, 0)), f(longSpecialLogits(c))}
		}},
		{Name: "wide range", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(Affine(c.Normal(5, 67), 40, 1000))}
		}},
		{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			inf, nan := math.Inf(1), math.NaN()
			return []Tensor{f(c.Values(F32, []float64{1, -inf, 2, -inf, -inf, -inf, inf, 0, 1, nan, 1, 2, -inf, nan, -inf, inf, -inf, inf,
				3e38, -3e38, 3e38, -1e-45, 1e-45, 0, 0, -104, -200}, 9, 3))}
		}},
		{Name: "large", Bench: true, NoGradient: true, Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(1024, 1024))} }},
		{Name: "large, ten classes", Bench: true, NoGradient: true, Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(65536, 10))} }},
		{Name: "large, vocabulary", Bench: true, NoGradient: true, Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(32, 32000))} }},
	}
}

// longSpecialLogits are rows whose halves differ: nothing possible in one, an Inf or a NaN in one.
func longSpecialLogits(c *CaseGraph) Tensor {
	const n = 1 << 16
	v := make([]float64, 4*n)
	for i := range v {
		if v[i] = float64(i % 11); i%n < n/2 {
			v[i] = math.Inf(-1)
		}
	}
	v[n+5], v[2*n+n/2+5] = math.Inf(1), math.NaN()
	for i := 3 * n; i < 4*n; i++ {
		v[i] = math.Inf(-1)
	}
	return c.Values(F32, v, 4, n)
}

// rowPairCases are the cases of a gradient rule along rows; forward makes a fitting first operand.
func rowPairCases(f func(y, dy Tensor) Tensor, forward func(x Tensor) Tensor) []Case {
	sized := func(name string, dims ...int64) Case {
		return Case{Name: name, NoGradient: true, Bench: name == "large", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(forward(c.Normal(dims...)), c.Normal(dims...))}
		}}
	}
	var cases []Case
	for i, dims := range [][]int64{{13, 101}, {7}, {2, 3, 5}, {5, 1}, {0, 5}, {3, 600}, {2, 1028}, {2, 4501}, {1, 65540}, {1024, 1024}} {
		cases = append(cases, sized([]string{"prime sizes", "vector", "three axes", "one column", "no rows", "longer rows", "long rows",
			"long rows, no whole vectors", "a very long row", "large"}[i], dims...))
	}
	return append(cases,
		Case{Name: "repeated gradient", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(forward(c.Normal(5, 17)), BroadcastTo(c.Normal(17), Dims(5, 17)))}
		}},
		Case{Name: "impossible classes", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			x := c.Values(F32, []float64{1, math.Inf(-1), 2, 0, -300, math.NaN()}, 2, 3)
			return []Tensor{f(forward(x), c.Normal(2, 3))}
		}})
}

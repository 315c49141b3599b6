package ops

import "math"

// Elementwise functions of one operand. Scalar attributes are rounded to float32, as a device holds them.

type unaryDef struct {
	code  Opcode
	name  string
	doc   string
	f     func(x float64, p []float64) float64
	bound func(*RefCall, float64) [][]float64
	grad  func(c *GradCall)
	cases func() []Case
}

func defineUnary(u unaryDef) {
	define(Def{Opcode: u.code, Name: u.name, Doc: u.doc, InPlace: true, Bound: u.bound, Grad: u.grad, Cases: u.cases,
		Shape:   sameShape,
		Strided: func(*ShapeCall, int) bool { return true },
		Reference: func(c *RefCall) error {
			p := float32Scalars(c.Floats)
			for i, x := range c.In[0].Data {
				c.Out[0].Data[i] = u.f(x, p)
			}
			return nil
		}})
}

// sameShape is the shape rule of elementwise ops whose inputs all have the output's shape.
func sameShape(c *ShapeCall) ([]TypeShape, error) {
	if err := c.floats32(c.In...); err != nil {
		return nil, err
	}
	return []TypeShape{{F32, c.In[0].Shape()}}, nil
}

func float32Scalars(p []float64) []float64 {
	r := make([]float64, len(p))
	for i, v := range p {
		r[i] = float64(float32(v))
	}
	return r
}

// tiny is the smallest positive float32: the absolute part of bounds of functions that underflow gradually.
const tiny = 1.0 / (1 << 74) / (1 << 75)

func init() {
	defineUnary(unaryDef{OpNeg, "neg", "-x. Exact.", func(x float64, _ []float64) float64 { return -x }, exactBound,
		func(c *GradCall) { c.SetIn(0, Neg(c.OutGrad(0))) },
		func() []Case { return unaryCases(Neg, normalInput) }})

	defineUnary(unaryDef{OpAbs, "abs", "|x|. Exact. The gradient at 0 is 0.",
		func(x float64, _ []float64) float64 { return math.Abs(x) }, exactBound,
		func(c *GradCall) { c.SetIn(0, Mul(c.OutGrad(0), Sign(c.In(0)))) },
		func() []Case { return unaryCases(Abs, awayInput) }})

	defineUnary(unaryDef{OpExp, "exp", "e^x, within 4 eps |y| and the smallest subnormal. NaN stays NaN; overflow is Inf.",
		func(x float64, _ []float64) float64 { return math.Exp(x) }, relativeBound(4, tiny),
		func(c *GradCall) { c.SetIn(0, Mul(c.OutGrad(0), c.Out(0))) },
		func() []Case {
			return unaryCases(Exp, normalInput, 88.7, 88.73, -87.4, -100, -103.9, -104.1, -150, 1000, 1e-30)
		}})

	defineUnary(unaryDef{OpLog, "log", "Natural logarithm, within 2 eps |y|. log 0 is -Inf, negative numbers and NaN give NaN.",
		func(x float64, _ []float64) float64 { return math.Log(x) }, relativeBound(2, tiny),
		func(c *GradCall) { c.SetIn(0, Div(c.OutGrad(0), c.In(0))) },
		func() []Case {
			return unaryCases(Log, positiveInput, 0.99999994, 1.0000001, 1.4142135, 0.70710677, 1.1754944e-38, 1e-40)
		}})

	defineUnary(unaryDef{OpSqrt, "sqrt", "Square root, correctly rounded; NaN below 0. The gradient at 0 is Inf.",
		func(x float64, _ []float64) float64 { return math.Sqrt(x) }, exactBound,
		func(c *GradCall) { c.SetIn(0, Div(Scale(c.OutGrad(0), .5), c.Out(0))) },
		func() []Case { return unaryCases(Sqrt, positiveInput) }})

	defineUnary(unaryDef{OpRsqrt, "rsqrt", "1 / sqrt x, within 4 eps |y|. 0 gives Inf (-0: -Inf), Inf gives 0, negative numbers NaN.",
		func(x float64, _ []float64) float64 { return 1 / math.Sqrt(x) }, relativeBound(4, 0),
		func(c *GradCall) {
			c.SetIn(0, Mul(Scale(c.OutGrad(0), -.5), Div(c.Out(0), c.In(0))))
		},
		func() []Case { return unaryCases(Rsqrt, positiveInput) }})

	defineUnary(unaryDef{OpSquare, "square", "x^2, correctly rounded.", func(x float64, _ []float64) float64 { return x * x }, exactBound,
		func(c *GradCall) { c.SetIn(0, Mul(Scale(c.OutGrad(0), 2), c.In(0))) },
		func() []Case { return unaryCases(Square, normalInput, 1e-22, 1e20) }})

	defineUnary(unaryDef{OpReciprocal, "reciprocal", "1 / x, correctly rounded; 0 gives Inf of its sign.",
		func(x float64, _ []float64) float64 { return 1 / x }, exactBound,
		func(c *GradCall) { c.SetIn(0, Neg(Mul(c.OutGrad(0), Square(c.Out(0))))) },
		func() []Case { return unaryCases(Reciprocal, awayInput) }})

	defineUnary(unaryDef{OpAffine, "affine", "a x + b with constants a and b, within 1 eps |a x| of the correctly rounded result.",
		func(x float64, p []float64) float64 { return p[0]*x + p[1] }, affineBound,
		func(c *GradCall) { c.SetIn(0, ScaleOf(c.OutGrad(0), c.Floats[0])) },
		func() []Case {
			return append(unaryCases(func(x Tensor) Tensor { return Affine(x, 1.7, -.3) }, normalInput),
				Case{Name: "factor is an argument", Record: func(c *CaseGraph) []Tensor {
					return []Tensor{ScaleOf(c.Normal(3, 5), c.Float("weight", .1).Of(2))}
				}})
		}})

	defineUnary(unaryDef{OpClamp, "clamp", "x limited to lo..hi. Exact; NaN stays NaN.",
		func(x float64, p []float64) float64 {
			switch {
			case x < p[0]:
				return p[0]
			case x > p[1]:
				return p[1]
			}
			return x
		}, exactBound,
		func(c *GradCall) { c.SetIn(0, clampGrad(c.In(0), c.OutGrad(0), c.Floats[0], c.Floats[1])) },
		func() []Case {
			return unaryCases(func(x Tensor) Tensor { return Clamp(x, -.75, .5) }, normalInput, -.75, .5)
		}})

	define(Def{Opcode: OpClampGrad, Name: "clamp_grad", Doc: "dy where lo <= x <= hi, else 0 (NaN: 0). Exact.", InPlace: true,
		Bound: exactBound, Shape: sameInputs,
		Strided: func(*ShapeCall, int) bool { return true },
		Reference: func(c *RefCall) error {
			p := float32Scalars(c.Floats)
			for i, x := range c.In[0].Data {
				if p[0] <= x && x <= p[1] {
					c.Out[0].Data[i] = c.In[1].Data[i]
				}
			}
			return nil
		},
		Cases: func() []Case {
			return pairCases(func(x, dy Tensor) Tensor { return ClampGrad(x, dy, -.75, .5) }, -.75, .5)
		}})

	defineUnary(unaryDef{OpSign, "sign", "-1, 0 or 1; NaN stays NaN. Exact; the gradient is 0.",
		func(x float64, _ []float64) float64 {
			switch {
			case x > 0:
				return 1
			case x < 0:
				return -1
			case x == 0:
				return 0
			}
			return x
		}, exactBound, func(c *GradCall) {},
		func() []Case { return unaryCases(Sign, awayInput) }})
}

// sameInputs is sameShape for ops that demand it of the caller: the inputs must have one shape.
func sameInputs(c *ShapeCall) ([]TypeShape, error) {
	if err := sameShapes(c); err != nil {
		return nil, err
	}
	return sameShape(c)
}

func affineBound(c *RefCall, eps float64) [][]float64 {
	a := float64(float32(c.Floats[0]))
	return eachBound(c, func(_ *Dense, i int) float64 { return eps*math.Abs(a*c.In[0].Data[i]) + tiny })
}

func recordUnary(code Opcode, x Tensor, floats ...Float) Tensor {
	return record(code, x.g, []Tensor{x}, nil, nil, floats)[0]
}

// Neg is -x.
func Neg(x Tensor) Tensor { return recordUnary(OpNeg, x) }

// Abs is the absolute value.
func Abs(x Tensor) Tensor { return recordUnary(OpAbs, x) }

// Exp is e^x.
func Exp(x Tensor) Tensor { return recordUnary(OpExp, x) }

// Log is the natural logarithm.
func Log(x Tensor) Tensor { return recordUnary(OpLog, x) }

// Sqrt is the square root.
func Sqrt(x Tensor) Tensor { return recordUnary(OpSqrt, x) }

// Rsqrt is 1 / sqrt x.
func Rsqrt(x Tensor) Tensor { return recordUnary(OpRsqrt, x) }

// Square is x^2.
func Square(x Tensor) Tensor { return recordUnary(OpSquare, x) }

// Reciprocal is 1 / x.
func Reciprocal(x Tensor) Tensor { return recordUnary(OpReciprocal, x) }

// Affine is a x + b.
func Affine(x Tensor, a, b float64) Tensor { return AffineOf(x, V(a), V(b)) }

// AffineOf is a x + b, where a and b may be arguments.
func AffineOf(x Tensor, a, b Float) Tensor { return recordUnary(OpAffine, x, a, b) }

// Scale is a x.
func Scale(x Tensor, a float64) Tensor { return AffineOf(x, V(a), V(0)) }

// ScaleOf is a x, where a may be an argument.
func ScaleOf(x Tensor, a Float) Tensor { return AffineOf(x, a, V(0)) }

// Clamp limits x to lo..hi; lo must not exceed hi.
func Clamp(x Tensor, lo, hi float64) Tensor {
	if x.g != nil && !(lo <= hi) {
		return x.g.failf("clamp: the range %g to %g is empty", lo, hi)
	}
	return recordUnary(OpClamp, x, V(lo), V(hi))
}

// ClampGrad is dy where lo <= x <= hi, else 0.
func ClampGrad(x, dy Tensor, lo, hi float64) Tensor { return clampGrad(x, dy, V(lo), V(hi)) }

func clampGrad(x, dy Tensor, lo, hi Float) Tensor {
	return record(OpClampGrad, graphOf(x, dy), []Tensor{x, dy}, nil, nil, []Float{lo, hi})[0]
}

// Sign is -1, 0 or 1.
func Sign(x Tensor) Tensor { return recordUnary(OpSign, x) }

func normalInput(c *CaseGraph, dims ...int64) Tensor { return c.Normal(dims...) }

func awayInput(c *CaseGraph, dims ...int64) Tensor { return c.Away(.1, dims...) }

func positiveInput(c *CaseGraph, dims ...int64) Tensor { return c.Uniform(.2, 4, dims...) }

// specialValues are the floats on which elementwise functions go wrong.
func specialValues(more ...float64) []float64 {
	return append([]float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), 1, -1, 1e-45, -1e-45, 1.17e-38,
		3.4e38, -3.4e38, 1e-6, -1e-6, 20, -20}, more...)
}

// unaryCases are the cases of a function of one operand; input draws from the domain where its gradient is checked.
func unaryCases(f func(Tensor) Tensor, input func(c *CaseGraph, dims ...int64) Tensor, special ...float64) []Case {
	return []Case{
		{Name: "prime sizes", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(input(c, 7, 37))} }},
		{Name: "one element", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(input(c, 1)), f(input(c))} }},
		{Name: "empty", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(input(c, 3, 0))} }},
		{Name: "strided", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(Transpose(input(c, 11, 19))), f(Slice(input(c, 5, 23), 1, N(3), N(17)))}
		}},
		{Name: "repeated", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(BroadcastTo(input(c, 5, 1), Dims(3, 5, 7)))} }},
		{Name: "five axes", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(Permute(input(c, 2, 3, 4, 5, 3), 4, 2, 0, 3, 1))}
		}},
		{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 8, 5)
			x := input(c, 8, 3)
			return []Tensor{f(Slice(x, 0, N(0), n.Of(1)))}
		}},
		{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			v := specialValues(special...)
			return []Tensor{f(c.Values(F32, v, int64(len(v))))}
		}},
		{Name: "large", Bench: true, NoGradient: true, Record: func(c *CaseGraph) []Tensor { return []Tensor{f(input(c, 1024, 1024))} }},
	}
}

// pairCases are the cases of a gradient rule that is an op of its own: function of an operand and an incoming gradient.
func pairCases(f func(x, dy Tensor) Tensor, special ...float64) []Case {
	return withoutGradient([]Case{
		{Name: "prime sizes", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(7, 37), c.Normal(7, 37))} }},
		{Name: "one element", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(1), c.Normal(1))} }},
		{Name: "empty", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(0, 3), c.Normal(0, 3))} }},
		{Name: "strided", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(Transpose(c.Normal(11, 6)), Slice(c.Normal(6, 30), 1, N(2), N(11)))}
		}},
		{Name: "repeated gradient", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(c.Normal(5, 17), BroadcastTo(c.Normal(5, 1), Dims(5, 17)))}
		}},
		{Name: "special values", Record: func(c *CaseGraph) []Tensor {
			v := specialValues(special...)
			return []Tensor{f(c.Values(F32, v, int64(len(v))), c.Normal(int64(len(v))))}
		}},
		{Name: "large", Bench: true, Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(1024, 1024), c.Normal(1024, 1024))} }},
	})
}

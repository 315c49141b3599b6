package ops

import (
	"math"
)

// Elementwise arithmetic of two operands, which repeat to their common shape.

func defineBinary(code Opcode, name, doc string, f func(a, b float64) float64, bound func(*RefCall, float64) [][]float64,
	grad func(c *GradCall), cases func() []Case) {
	define(Def{Opcode: code, Name: name, Doc: doc, InPlace: true, Bound: bound, Grad: grad, Cases: cases,
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			if err := c.floats32(c.In...); err != nil {
				return nil, err
			}
			return []TypeShape{{F32, c.In[0].Shape()}}, nil
		},
		Strided: func(*ShapeCall, int) bool { return true },
		Reference: func(c *RefCall) error {
			a, b, y := c.In[0].Data, c.In[1].Data, c.Out[0].Data
			for i := range y {
				y[i] = f(a[i], b[i])
			}
			return nil
		}})
}

// binaryOp repeats both operands to their common shape and records the op.
func binaryOp(code Opcode, a, b Tensor) Tensor {
	g := graphOf(a, b)
	if g == nil || g.err != nil {
		return Tensor{}
	}
	shape, err := g.broadcastShape(a.Shape(), b.Shape())
	if err != nil {
		return g.failf("%s: %w", defsByCode[code].Name, err)
	}
	return record(code, g, []Tensor{BroadcastTo(a, shape), BroadcastTo(b, shape)}, nil, nil, nil)[0]
}

func init() {
	defineBinary(OpAdd, "add", "a + b, correctly rounded.", func(a, b float64) float64 { return a + b }, exactBound,
		func(c *GradCall) {
			c.SetIn(0, c.OutGrad(0))
			c.SetIn(1, c.OutGrad(0))
		}, func() []Case { return binaryCases(Add) })

	defineBinary(OpSub, "sub", "a - b, correctly rounded.", func(a, b float64) float64 { return a - b }, exactBound,
		func(c *GradCall) {
			c.SetIn(0, c.OutGrad(0))
			if c.NeedsGrad(1) {
				c.SetIn(1, Neg(c.OutGrad(0)))
			}
		}, func() []Case { return binaryCases(Sub) })

	defineBinary(OpMul, "mul", "a b, correctly rounded.", func(a, b float64) float64 { return a * b }, exactBound,
		func(c *GradCall) {
			if c.NeedsGrad(0) {
				c.SetIn(0, Mul(c.OutGrad(0), c.In(1)))
			}
			if c.NeedsGrad(1) {
				c.SetIn(1, Mul(c.OutGrad(0), c.In(0)))
			}
		}, func() []Case { return binaryCases(Mul) })

	defineBinary(OpDiv, "div", "a / b, correctly rounded; x/0 is Inf or NaN as IEEE 754 has it.",
		func(a, b float64) float64 { return a / b }, exactBound,
		func(c *GradCall) {
			if c.NeedsGrad(0) {
				c.SetIn(0, Div(c.OutGrad(0), c.In(1)))
			}
			if c.NeedsGrad(1) {
				c.SetIn(1, Neg(Mul(c.OutGrad(0), Div(c.Out(0), c.In(1)))))
			}
		}, func() []Case { return binaryCases(Div) })

	defineBinary(OpMaximum, "maximum", "The larger; NaN if either is NaN. Exact. Where equal, a gets the gradient.",
		larger, exactBound, chooseGrad(func(a, b Tensor) Tensor { return GreaterEqual(a, b) }),
		func() []Case { return append(binaryCases(Maximum), tiesCase(Maximum)) })

	defineBinary(OpMinimum, "minimum", "The smaller; NaN if either is NaN. Exact. Where equal, a gets the gradient.",
		smaller, exactBound, chooseGrad(func(a, b Tensor) Tensor { return GreaterEqual(b, a) }),
		func() []Case { return append(binaryCases(Minimum), tiesCase(Minimum)) })

	defineBinary(OpGreaterEqual, "greater_equal", "1 where a >= b, else 0; NaN gives 0. Exact, no gradient.",
		func(a, b float64) float64 { return indicator(a >= b) }, exactBound, func(c *GradCall) {},
		func() []Case { return append(binaryCases(GreaterEqual), tiesCase(GreaterEqual)) })

	defineBinary(OpEqual, "equal", "1 where a == b, else 0; NaN gives 0. Exact, no gradient.",
		func(a, b float64) float64 { return indicator(a == b) }, exactBound, func(c *GradCall) {},
		func() []Case { return append(binaryCases(Equal), tiesCase(Equal)) })
}

// chooseGrad sends the gradient to a where mask is 1 and to b elsewhere.
func chooseGrad(mask func(a, b Tensor) Tensor) func(c *GradCall) {
	return func(c *GradCall) {
		toA := Mul(c.OutGrad(0), mask(c.In(0), c.In(1)))
		c.SetIn(0, toA)
		if c.NeedsGrad(1) {
			c.SetIn(1, Sub(c.OutGrad(0), toA))
		}
	}
}

func indicator(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Add is a + b.
func Add(a, b Tensor) Tensor { return binaryOp(OpAdd, a, b) }

// Sub is a - b.
func Sub(a, b Tensor) Tensor { return binaryOp(OpSub, a, b) }

// Mul is the elementwise product.
func Mul(a, b Tensor) Tensor { return binaryOp(OpMul, a, b) }

// Div is a / b.
func Div(a, b Tensor) Tensor { return binaryOp(OpDiv, a, b) }

// Maximum is the larger of a and b.
func Maximum(a, b Tensor) Tensor { return binaryOp(OpMaximum, a, b) }

// Minimum is the smaller of a and b.
func Minimum(a, b Tensor) Tensor { return binaryOp(OpMinimum, a, b) }

// GreaterEqual is 1 where a >= b, else 0.
func GreaterEqual(a, b Tensor) Tensor { return binaryOp(OpGreaterEqual, a, b) }

// Equal is 1 where a == b, else 0.
func Equal(a, b Tensor) Tensor { return binaryOp(OpEqual, a, b) }

func binaryCases(f func(a, b Tensor) Tensor) []Case {
	inf, nan := math.Inf(1), math.NaN()
	return []Case{
		{Name: "prime sizes", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(7, 13), c.Away(.5, 7, 13))} }},
		{Name: "row repeats", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(5, 17), c.Away(.5, 17))} }},
		{Name: "column repeats", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(5, 17), c.Away(.5, 5, 1))} }},
		{Name: "both repeat", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(3, 1, 5), c.Away(.5, 4, 1))} }},
		{Name: "scalar", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(3, 5), c.Away(.5))} }},
		{Name: "strided", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(Transpose(c.Normal(11, 6)), Slice(c.Away(.5, 6, 30), 1, N(2), N(11)))}
		}},
		{Name: "transposed, wider than tiles", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(c.Normal(2, 45, 83), Permute(c.Away(.5, 83, 45), 1, 0)), f(Transpose(c.Normal(70, 33)), c.Away(.5, 33, 1)),
				f(Transpose(c.Normal(70, 33)), Transpose(c.Away(.5, 70, 33)))}
		}},
		{Name: "rows and columns repeat, in whole vectors", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(c.Normal(6, 32), c.Away(.5, 32)), f(c.Normal(6, 32), c.Away(.5, 6, 1)),
				f(Slice(c.Normal(6, 40), 1, N(4), N(32)), Slice(c.Away(.5, 6, 48), 1, N(8), N(32)))}
		}},
		{Name: "rows repeat over two axes", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(c.Normal(5, 7, 3), c.Away(.5, 7, 3)), f(c.Away(.5, 3, 1, 70), c.Away(.5, 5, 70))}
		}},
		{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 8, 5)
			return []Tensor{f(c.NormalOf(F32, Shape{n.Of(2), N(3)}), c.Away(.5, 3))}
		}},
		{Name: "one element", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(1), c.Away(.5, 1))} }},
		{Name: "empty", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(0, 3), c.Away(.5, 3))} }},
		{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			a := c.Values(F32, []float64{inf, -inf, nan, 0, 1, inf, 3e38, 0, 1e-45, inf, nan}, 11)
			b := c.Values(F32, []float64{1, inf, 1, 0, nan, inf, 3e38, math.Copysign(0, -1), 2, nan, inf}, 11)
			return []Tensor{f(a, b)}
		}},
		{Name: "large", Bench: true, NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(c.Normal(1024, 1024), c.Away(.5, 1024, 1024))}
		}},
		{Name: "large, transposed", Bench: true, NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(c.Normal(1000, 1024), Transpose(c.Away(.5, 1024, 1000)))}
		}},
		{Name: "large, row repeats", Bench: true, NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(c.Normal(4096, 256), c.Away(.5, 256))}
		}},
	}
}

func tiesCase(f func(a, b Tensor) Tensor) Case {
	return Case{Name: "ties", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
		return []Tensor{f(c.Values(F32, []float64{1, 2, 3, 0}, 4), c.Values(F32, []float64{1, 5, 3, math.Copysign(0, -1)}, 4))}
	}}
}

func withoutGradient(cases []Case) []Case {
	for i := range cases {
		cases[i].NoGradient = true
	}
	return cases
}

package ops

import (
	"fmt"
	"math"
)

// sameShapes reports inputs that differ in shape.
func sameShapes(c *ShapeCall) error {
	for _, t := range c.In[1:] {
		if !t.Shape().Equal(c.In[0].Shape()) {
			return fmt.Errorf("shapes %s and %s differ", c.S(c.In[0]), c.S(t))
		}
	}
	return nil
}

func activationShape(inputs int, fromOutput bool) func(c *ShapeCall) ([]TypeShape, error) {
	return func(c *ShapeCall) ([]TypeShape, error) {
		a, err := activationAttributes(c.Ints[0], c.Floats[0])
		if err != nil {
			return nil, err
		}
		if fromOutput && !a.GradFromOutput() {
			return nil, fmt.Errorf("the derivative of %v cannot be had from its output", a)
		}
		if len(c.In) != inputs {
			return nil, fmt.Errorf("%d inputs given, %d needed", len(c.In), inputs)
		}
		return sameInputs(c)
	}
}

func activationOf(c *RefCall) Activation {
	return Activation{ActivationKind(c.Ints[0]), c.Floats[0]}
}

func init() {
	define(Def{Opcode: OpActivation, Name: "activation", InPlace: true,
		Doc:     "An activation function of every element, within 8 eps |y| + (1 + min(|x|, 128)) times the smallest subnormal. NaN gives NaN, infinities the limits.",
		Shape:   activationShape(1, false),
		Strided: func(*ShapeCall, int) bool { return true },
		Reference: func(c *RefCall) error {
			a := activationOf(c)
			for i, x := range c.In[0].Data {
				c.Out[0].Data[i] = a.Apply(x)
			}
			return nil
		},
		Bound: boundOfActivation,
		Grad: func(c *GradCall) {
			a := Activation{ActivationKind(c.Ints[0].N), c.Floats[0].V}
			if a.GradFromOutput() {
				c.SetIn(0, ActivationGradFromOutput(c.Out(0), c.OutGrad(0), a))
			} else {
				c.SetIn(0, ActivationGrad(c.In(0), c.OutGrad(0), a))
			}
		},
		Cases: activationCases})

	define(Def{Opcode: OpActivationGrad, Name: "activation_grad", InPlace: true,
		Doc: "dy f'(x), within 8 eps |dy| (the magnitudes of the terms of f') + 128 (1 + |dy|) times the smallest subnormal. Where a ReLU is flat the result is 0 whatever dy is; " +
			"its NaN counts as flat, elsewhere NaN gives NaN.",
		Shape:   activationShape(2, false),
		Strided: func(*ShapeCall, int) bool { return true },
		Reference: func(c *RefCall) error {
			a := activationOf(c)
			for i, x := range c.In[0].Data {
				c.Out[0].Data[i] = a.chain(a.Derivative(x), c.In[1].Data[i])
			}
			return nil
		},
		Bound: activationGradBound,
		Cases: func() []Case {
			return activationGradCases(ActivationGrad, func(Activation) bool { return true }, func(x Tensor, _ Activation) Tensor { return x })
		}})

	define(Def{Opcode: OpActivationGradFromOutput, Name: "activation_grad_from_output", InPlace: true,
		Doc: "dy f'(x) given y = f(x), within 8 eps |dy f'|; not for gelu, silu and leaky_relu with a negative slope. Where a ReLU is flat " +
			"the result is 0 whatever dy is; its NaN counts as flat, elsewhere NaN gives NaN.",
		Shape:   activationShape(2, true),
		Strided: func(*ShapeCall, int) bool { return true },
		Reference: func(c *RefCall) error {
			a := activationOf(c)
			for i, y := range c.In[0].Data {
				c.Out[0].Data[i] = a.chain(a.derivativeFromOutput(y), c.In[1].Data[i])
			}
			return nil
		},
		Bound: relativeBound(8, tiny),
		Cases: func() []Case {
			return activationGradCases(ActivationGradFromOutput, Activation.GradFromOutput, Activate)
		}})
}

// boundOfActivation: gelu and silu multiply x by a factor that underflows.
func boundOfActivation(c *RefCall, eps float64) [][]float64 {
	return eachBound(c, func(d *Dense, i int) float64 {
		return 8*eps*math.Abs(d.Data[i]) + tiny*(1+math.Min(math.Abs(c.In[0].Data[i]), 128))
	})
}

// activationGradBound measures the error by the derivative's terms, since gelu' and silu' pass through 0.
func activationGradBound(c *RefCall, eps float64) [][]float64 {
	a := activationOf(c)
	return eachBound(c, func(d *Dense, i int) float64 {
		x, scale := c.In[0].Data[i], math.Abs(d.Data[i])
		if math.IsInf(x, 0) {
			return tiny
		}
		switch a.Kind {
		case ActGELU:
			scale = math.Abs(c.In[1].Data[i]) * (normalCDF(x) + math.Abs(x)*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi))
		case ActSiLU:
			scale = math.Abs(c.In[1].Data[i]) * sigmoid(x) * (1 + math.Abs(x)*sigmoid(-x))
		}
		return 8*eps*scale + 128*tiny*(1+math.Abs(c.In[1].Data[i]))
	})
}

// testedActivations are one of each kind, with parameters that matter.
func testedActivations() []Activation {
	return []Activation{{Kind: ActReLU}, {ActFATReLU, .25}, {ActShiftedReLU, .3}, {ActShiftedReLU, -.2}, {ActLeakyReLU, .1},
		{ActLeakyReLU, -.5}, {Kind: ActGELU}, {Kind: ActSiLU}, {Kind: ActTanh}, {Kind: ActSigmoid}, {Kind: ActSoftplus},
		{Kind: ActReLUSquared}}
}

// activationEdges are where the pieces of the functions and of their implementations meet.
func activationEdges() []float64 {
	return []float64{.25, .3, -.2, .1, .5, .625, -.625, .55, 5, -5, 8, 9.1, -9.1, 12, -12, 14, -14, -16, 40, -40, 87, -87, 88.5, -88.5, -95, -103, -105, 1e10, -1e10}
}

func activationCases() []Case {
	var cases []Case
	for _, a := range testedActivations() {
		cases = append(cases,
			Case{Name: a.String(), Record: func(c *CaseGraph) []Tensor { return []Tensor{Activate(c.Away(.4, 7, 37), a)} }},
			Case{Name: a.String() + ", special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
				v := specialValues(activationEdges()...)
				return []Tensor{Activate(c.Values(F32, v, int64(len(v))), a)}
			}},
			Case{Name: a.String() + ", large", NoGradient: true, Bench: true, Record: func(c *CaseGraph) []Tensor {
				return []Tensor{Activate(c.Normal(1024, 1024), a)}
			}})
	}
	for _, k := range unaryCases(func(x Tensor) Tensor { return Activate(x, Activation{Kind: ActSiLU}) }, normalInput) {
		if !k.Bench && k.Name != "special values" {
			cases = append(cases, k)
		}
	}
	return cases
}

// activationGradCases: operand makes the op's first input from x.
func activationGradCases(f func(x, dy Tensor, a Activation) Tensor, serves func(Activation) bool,
	operand func(x Tensor, a Activation) Tensor) []Case {
	var cases []Case
	for _, a := range testedActivations() {
		if !serves(a) {
			continue
		}
		for _, k := range pairCases(func(x, dy Tensor) Tensor { return f(operand(x, a), dy, a) }, activationEdges()...) {
			k.Name = a.String() + ", " + k.Name
			cases = append(cases, k)
		}
	}
	return cases
}

package ops

import (
	"fmt"
	"math"
)

// What changes state in place: optimiser steps, running averages, and the gradient norm they are scaled by. All work on
// flat float32 vectors, usually whole segments.

func init() {
	define(Def{
		Opcode: OpAdam, Name: "adam",
		Doc: "One Adam step (Kingma and Ba, 2015, algorithm 1) with g = scale grad: m = b1 m + (1-b1) g, v = b2 v + (1-b2) g^2, param -= " +
			"lr mhat / (sqrt(vhat) + eps). Weight decay: g += decay param, or, decoupled (AdamW, Loshchilov and Hutter, 2019), param -= lr decay " +
			"param. scale = 0: no step, nothing changes whatever grad holds. Error: 3 ulps (of 2^-24) of each term of m and of v, of the " +
			"update 8 ulps and what m and v pass on, of lr decay param 4. NaN and Inf in grad go through; where v overflows the update is 0.",
		Shape: adamShape, Reference: adamReference, Bound: adamBound,
		Cases: func() []Case { return withoutGradient(adamCases()) },
	})

	define(Def{
		Opcode: OpLerp, Name: "lerp",
		Doc: "state += weight (value - state), a running average; weight 1 copies value exactly. Error up to 3 ulps (of 2^-24) of " +
			"weight (value - state).",
		Shape: sameAsInOut,
		Reference: func(c *RefCall) error {
			value, state, w := c.In[0].Data, c.InOut[0].Data, c.Floats[0]
			for i := range state {
				if w == 1 {
					state[i] = value[i]
				} else {
					state[i] += w * (value[i] - state[i])
				}
			}
			return nil
		},
		Bound: func(c *RefCall, eps float64) [][]float64 {
			w := c.Floats[0]
			return eachBound(c, func(d *Dense, i int) float64 {
				if w == 1 {
					return 0
				}
				// value - state before the step is (value - state after it) / (1 - weight)
				return 3 * eps * math.Abs(w*(c.In[0].Data[i]-d.Data[i])/(1-w))
			})
		},
		Cases: func() []Case {
			return updateCases(func(x, y Tensor, c *CaseGraph) { Lerp(y, x, V(0.1)) },
				func(x, y Tensor, c *CaseGraph) { Lerp(y, x, c.Float("w", 0.5).Of(2)) })
		},
	})

	define(Def{
		Opcode: OpClipScale, Name: "clip_scale",
		Doc: "The Euclidean norm of a gradient, summed in float64, and the factor that brings it down to max_norm: min(1, max_norm / norm), 1 " +
			"where max_norm <= 0 (Pascanu, Mikolov and Bengio, 2013). A norm that is NaN or beyond float32 gives 0, which tells adam to " +
			"skip the step. Error of both up to 2 ulps (of 2^-24).",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			return []TypeShape{{F32, Dims(1)}, {F32, Dims(1)}}, c.floats32(c.In...)
		},
		Reference: func(c *RefCall) error {
			sum := 0.0
			for _, v := range c.In[0].Data {
				sum += v * v
			}
			norm, scale := math.Sqrt(sum), 1.0
			if bound := c.Floats[0]; math.IsNaN(norm) || norm > math.MaxFloat32 {
				scale = 0
			} else if bound > 0 && norm > bound {
				scale = bound / norm
			}
			c.Out[0].Data[0], c.Out[1].Data[0] = norm, scale
			return nil
		},
		Bound: relativeBound(2, 0),
		Cases: func() []Case { return withoutGradient(clipCases()) },
	})

	define(Def{
		Opcode: OpAxpy, Name: "axpy",
		Doc:   "y += a x. Error up to 2 ulps (of 2^-24) of a x.",
		Shape: sameAsInOut,
		Reference: func(c *RefCall) error {
			for i, x := range c.In[0].Data {
				c.InOut[0].Data[i] += c.Floats[0] * x
			}
			return nil
		},
		Bound: func(c *RefCall, eps float64) [][]float64 {
			return eachBound(c, func(_ *Dense, i int) float64 { return 2 * eps * math.Abs(c.Floats[0]*c.In[0].Data[i]) })
		},
		Cases: func() []Case {
			return updateCases(func(x, y Tensor, c *CaseGraph) { Axpy(y, x, V(-0.3)) },
				func(x, y Tensor, c *CaseGraph) { Axpy(y, x, c.Float("a", 3).Of(.5)) })
		},
	})
}

// AdamOptions are the numbers of an Adam step; each may be an argument of the submission.
type AdamOptions struct {
	LearningRate Float
	Beta1, Beta2 Float // decay rates of the moments, in [0, 1)
	Epsilon      Float // > 0
	WeightDecay  Float
	Decoupled    bool // AdamW: the decay does not pass through the moments
	Step         Int  // counts from 1
}

// Adam updates param and its moments m and v in place from the gradient times scale, a tensor of one element such as
// ClipScale makes; the zero Tensor stands for 1. All four vectors have one shape; usually each is a whole segment.
func Adam(param, m, v, grad, scale Tensor, o AdamOptions) {
	g := graphOf(param, m, v, grad)
	if g == nil || g.err != nil {
		return
	}
	if !scale.Valid() {
		scale = Full(g, F32, 1, Dims(1))
	}
	record(OpAdam, g, []Tensor{flat(grad), flat(scale)}, []Tensor{flat(param), flat(m), flat(v)},
		[]Int{o.Step, N(int64(indicator(o.Decoupled)))}, []Float{o.LearningRate, o.Beta1, o.Beta2, o.Epsilon, o.WeightDecay})
}

// Lerp moves state towards value: state += weight (value - state).
func Lerp(state, value Tensor, weight Float) {
	record(OpLerp, graphOf(state, value), []Tensor{flat(value)}, []Tensor{flat(state)}, nil, []Float{weight})
}

// ClipScale is the norm [1] of grad and the factor [1] by which Adam should scale it to keep the norm within maxNorm.
func ClipScale(grad Tensor, maxNorm Float) (norm, scale Tensor) {
	r := record(OpClipScale, grad.g, []Tensor{flat(grad)}, nil, nil, []Float{maxNorm})
	return r[0], r[1]
}

// Axpy adds a x to y in place.
func Axpy(y, x Tensor, a Float) {
	record(OpAxpy, graphOf(y, x), []Tensor{flat(x)}, []Tensor{flat(y)}, nil, []Float{a})
}

// flat views x as a vector.
func flat(x Tensor) Tensor {
	if !x.Valid() || len(x.Shape()) == 1 {
		return x
	}
	return Reshape(x, N(-1))
}

func sameAsInOut(c *ShapeCall) ([]TypeShape, error) {
	if err := c.floats32(append(c.In, c.InOut...)...); err != nil {
		return nil, err
	}
	if !c.In[0].Shape().Equal(c.InOut[0].Shape()) {
		return nil, fmt.Errorf("%s does not fit what is updated, %s", c.S(c.In[0]), c.S(c.InOut[0]))
	}
	return nil, nil
}

func adamShape(c *ShapeCall) ([]TypeShape, error) {
	if err := c.floats32(append(append([]Tensor(nil), c.In...), c.InOut...)...); err != nil {
		return nil, err
	}
	for i, what := range []string{"parameters", "first moments", "second moments"} {
		if !c.InOut[i].Shape().Equal(c.In[0].Shape()) {
			return nil, fmt.Errorf("the gradient is %s, the %s are %s", c.S(c.In[0]), what, c.S(c.InOut[i]))
		}
	}
	if !c.In[1].Shape().Equal(Dims(1)) {
		return nil, fmt.Errorf("the scale is %s; one element is needed", c.S(c.In[1]))
	}
	if c.Max(c.Ints[0]) < 1 {
		return nil, fmt.Errorf("step %d; steps count from 1", c.Max(c.Ints[0]))
	}
	var f [5]float64
	for i, v := range c.Floats {
		if f[i] = v.V; v.Arg != 0 { // known at submission only
			f[i] = [5]float64{0, 0, 0, 1, 0}[i]
		}
	}
	return nil, adamNumbers(1, f[:])
}

// adamNumbers checks what an Adam step is given: the step, then lr, beta1, beta2, eps, weight decay.
func adamNumbers(step int64, f []float64) error {
	switch {
	case step < 1:
		return fmt.Errorf("step %d; steps count from 1", step)
	case !(f[1] >= 0 && f[1] < 1 && f[2] >= 0 && f[2] < 1):
		return fmt.Errorf("beta1 = %v and beta2 = %v; both must lie in [0, 1)", f[1], f[2])
	case !(f[3] > 0):
		return fmt.Errorf("epsilon = %v; it must be positive", f[3])
	}
	return nil
}

func adamReference(c *RefCall) error {
	if err := adamNumbers(c.Ints[0], c.Floats); err != nil {
		return err
	}
	lr, b1, b2, eps, decay := c.Floats[0], c.Floats[1], c.Floats[2], c.Floats[3], c.Floats[4]
	grad, scale := c.In[0].Data, c.In[1].Data[0]
	param, m, v := c.InOut[0].Data, c.InOut[1].Data, c.InOut[2].Data
	if scale == 0 {
		return nil
	}
	c1, c2 := 1-math.Pow(b1, float64(c.Ints[0])), 1-math.Pow(b2, float64(c.Ints[0]))
	for i := range param {
		g := scale * grad[i]
		if c.Ints[1] == 0 {
			g += decay * param[i]
		}
		m[i] = b1*m[i] + (1-b1)*g
		if v[i] = b2*v[i] + (1-b2)*g*g; v[i] > math.MaxFloat32 {
			v[i] = math.Inf(1) // as a device holds it
		}
		update := lr * (m[i] / c1) / (math.Sqrt(v[i]/c2) + eps)
		if c.Ints[1] != 0 {
			update += lr * decay * param[i]
		}
		param[i] -= update
	}
	return nil
}

// adamBound works back from the state after the step to the terms that were rounded.
func adamBound(c *RefCall, eps float64) [][]float64 {
	lr, b1, b2, epsilon, decay := c.Floats[0], c.Floats[1], c.Floats[2], c.Floats[3], c.Floats[4]
	grad, scale := c.In[0].Data, c.In[1].Data[0]
	param, m, v := c.InOut[0].Data, c.InOut[1].Data, c.InOut[2].Data
	r := [][]float64{make([]float64, len(param)), make([]float64, len(param)), make([]float64, len(param))}
	if scale == 0 {
		return r
	}
	c1, c2 := 1-math.Pow(b1, float64(c.Ints[0])), 1-math.Pow(b2, float64(c.Ints[0]))
	for i := range param {
		step := func(m, v float64) float64 { return lr * (m / c1) / (math.Sqrt(max(v, 0)/c2) + epsilon) }
		update := step(m[i], v[i])
		before, decayed := param[i]+update, 0.0
		if c.Ints[1] != 0 {
			before /= 1 - lr*decay
			decayed = lr * decay * before
		}
		g := scale * grad[i]
		gErr := eps * math.Abs(g)
		if c.Ints[1] == 0 {
			g += decay * before
			gErr = eps * (math.Abs(scale*grad[i]) + 2*math.Abs(decay*before))
		}
		old := m[i] - (1-b1)*g
		r[1][i] = 3*eps*(math.Abs(old)+math.Abs((1-b1)*g)) + (1-b1)*gErr + tiny
		r[2][i] = 3*eps*v[i] + (1-b2)*2*math.Abs(g)*gErr + tiny
		// what the errors of both moments, rounded once more, make of the update
		worst := 0.0
		for _, sign := range []float64{-1, 1} {
			dv := sign * (r[2][i] + eps*v[i])
			for _, s := range []float64{-1, 1} {
				worst = max(worst, math.Abs(step(m[i]+s*(r[1][i]+eps*math.Abs(m[i])), v[i]+dv)-update))
			}
		}
		r[0][i] = 8*eps*math.Abs(update) + worst + 4*eps*math.Abs(decayed) + tiny
	}
	return r
}

func adamCases() []Case {
	options := func(decoupled bool) AdamOptions {
		return AdamOptions{LearningRate: V(1e-3), Beta1: V(.9), Beta2: V(.999), Epsilon: V(1e-8), WeightDecay: V(.01), Decoupled: decoupled, Step: N(3)}
	}
	at := func(n int64, o func(c *CaseGraph) AdamOptions) func(c *CaseGraph) []Tensor {
		return func(c *CaseGraph) []Tensor {
			p, m, v := c.Normal(n), c.Normal(n), c.Uniform(0, 2, n)
			Adam(p, m, v, c.Normal(n), c.Values(F32, []float64{.7}, 1), o(c))
			return []Tensor{p, m, v}
		}
	}
	plain := func(*CaseGraph) AdamOptions { return options(false) }
	return []Case{
		{Name: "weight decay in the gradient", Record: at(101, plain)},
		{Name: "decoupled", Record: at(101, func(*CaseGraph) AdamOptions { return options(true) })},
		{Name: "one element", Record: at(1, plain)},
		{Name: "empty", Record: at(0, plain)},
		{Name: "everything an argument", Record: at(61, func(c *CaseGraph) AdamOptions {
			return AdamOptions{LearningRate: c.Float("lr", 2).Of(.01), Beta1: c.Float("b1", .9).Of(1), Beta2: c.Float("b2", .99).Of(1),
				Epsilon: c.Float("eps", 1e-7).Of(1), WeightDecay: c.Float("decay", 1).Of(.1), Decoupled: true, Step: c.Int("step", 1<<40, 70000).Of(1)}
		})},
		{Name: "first step from zero moments, no scale", Record: func(c *CaseGraph) []Tensor {
			p, m, v := c.Normal(37), c.Values(F32, make([]float64, 37), 37), c.Values(F32, make([]float64, 37), 37)
			o := options(true)
			o.Step = N(1)
			Adam(p, m, v, c.Normal(37), Tensor{}, o)
			return []Tensor{p, m, v}
		}},
		{Name: "two axes", Record: func(c *CaseGraph) []Tensor {
			p, m, v := c.Normal(3, 5), c.Normal(3, 5), c.Uniform(0, 1, 3, 5)
			Adam(p, m, v, c.Normal(3, 5), Tensor{}, options(false))
			return []Tensor{p, m, v}
		}},
		{Name: "scale 0 skips the step, even over NaN", Record: func(c *CaseGraph) []Tensor {
			p, m, v := c.Normal(4), c.Normal(4), c.Uniform(0, 1, 4)
			Adam(p, m, v, c.Values(F32, []float64{1, math.NaN(), math.Inf(1), 0}, 4), c.Values(F32, []float64{0}, 1), options(false))
			return []Tensor{p, m, v}
		}},
		{Name: "special values", Record: func(c *CaseGraph) []Tensor {
			grad := c.Values(F32, []float64{math.NaN(), 0, math.Copysign(0, -1), 1e-30, 1e-45, 1e15, -1e15, 1e25}, 8)
			p, m, v := c.Normal(8), c.Values(F32, []float64{0, 0, 0, 0, 0, 0, 1, 1e-45}, 8), c.Values(F32, []float64{0, 0, 1e-45, 0, 0, 0, 1, 1e-30}, 8)
			o := options(true)
			o.Step = N(2)
			Adam(p, m, v, grad, Tensor{}, o)
			return []Tensor{p, m, v}
		}},
		{Name: "large", Bench: true, Record: at(1<<20, plain)},
	}
}

func updateCases(fixed, withArgument func(x, y Tensor, c *CaseGraph)) []Case {
	at := func(f func(x, y Tensor, c *CaseGraph), dims ...int64) func(c *CaseGraph) []Tensor {
		return func(c *CaseGraph) []Tensor {
			x, y := c.Normal(dims...), c.Normal(dims...)
			f(x, y, c)
			return []Tensor{y}
		}
	}
	return withoutGradient([]Case{
		{Name: "prime sizes", Record: at(fixed, 7, 13)},
		{Name: "one element", Record: at(fixed, 1)},
		{Name: "empty", Record: at(fixed, 0)},
		{Name: "factor given by an argument", Record: at(withArgument, 29)},
		{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("n", 90, 53)
			x, y := c.NormalOf(F32, Shape{n.Of(1)}), c.NormalOf(F32, Shape{n.Of(1)})
			fixed(x, y, c)
			return []Tensor{y}
		}},
		{Name: "strided value", Record: func(c *CaseGraph) []Tensor {
			x, y := Transpose(c.Normal(5, 9)), c.Normal(9, 5)
			fixed(x, y, c)
			return []Tensor{y}
		}},
		{Name: "special values", Record: func(c *CaseGraph) []Tensor {
			x := c.Values(F32, []float64{math.Inf(1), math.NaN(), 0, math.Copysign(0, -1), 1e-45, 1e30}, 6)
			y := c.Values(F32, []float64{1, 2, math.Inf(-1), math.Copysign(0, -1), 1e-45, 1}, 6)
			fixed(x, y, c)
			return []Tensor{y}
		}},
		{Name: "large", Bench: true, Record: at(fixed, 1<<20)},
	})
}

func clipCases() []Case {
	of := func(maxNorm float64, values ...float64) func(c *CaseGraph) []Tensor {
		return func(c *CaseGraph) []Tensor {
			norm, scale := ClipScale(c.Values(F32, values, int64(len(values))), V(maxNorm))
			return []Tensor{norm, scale}
		}
	}
	normal := func(maxNorm float64, dims ...int64) func(c *CaseGraph) []Tensor {
		return func(c *CaseGraph) []Tensor {
			norm, scale := ClipScale(c.Normal(dims...), V(maxNorm))
			return []Tensor{norm, scale}
		}
	}
	return []Case{
		{Name: "clipped", Record: of(1, 3, -4)},
		{Name: "within the bound", Record: of(5, 3, -4)},
		{Name: "exactly zero", Record: of(1, 0, 0, 0)},
		{Name: "no clipping", Record: of(0, 3e20, -4e20)},
		{Name: "squares beyond float32", Record: of(1, 3e30, 4e30)},
		{Name: "squares below float32", Record: of(1e-42, 3e-40, 4e-40)},
		{Name: "norm beyond float32", Record: of(1, 3e38, 3e38)},
		{Name: "NaN", Record: of(1, 1, math.NaN())},
		{Name: "Inf, no clipping", Record: of(0, 1, math.Inf(-1))},
		{Name: "prime sizes", Record: normal(2, 7, 4001)},
		{Name: "long", Record: normal(2, 50000)},
		{Name: "one element", Record: normal(.5, 1)},
		{Name: "empty", Record: normal(1, 0)},
		{Name: "arguments", Record: func(c *CaseGraph) []Tensor {
			n, bound := c.Int("n", 5000, 3001), c.Float("max", 4)
			norm, scale := ClipScale(c.NormalOf(F32, Shape{n.Of(1)}), bound.Of(.25))
			return []Tensor{norm, scale}
		}},
		{Name: "large", Bench: true, Record: normal(1, 1<<20)},
	}
}

package ops

import (
	"fmt"
	"math"
)

// Rotary position embedding (Su et al., arXiv 2104.09864).

// RotaryLayout says which elements of a head are turned together.
type RotaryLayout int64

// The layouts; numbers are those of credence_ops.h.
const (
	RotaryHalves RotaryLayout = 0 // element i with i + R/2: checkpoints in the layout of Hugging Face
	RotaryPairs  RotaryLayout = 1 // element 2i with 2i + 1: llama GGUF files
)

// RotaryOptions refine Rotary. Theta must be given.
type RotaryOptions struct {
	Layout   RotaryLayout
	Theta    float64 // base of the frequencies, 10000 in the paper
	Scale    float64 // factor of the position; 0 means 1. "Linear scaling" by n is 1/n
	Rotated  int64   // elements of each head that are turned, the first ones; 0: all
	Position Int     // of the first row; row t is at Position + t
	Factors  Tensor  // optional [Rotated / 2]: frequency i is divided by its element i
}

func init() {
	define(Def{
		Opcode: OpRotary, Name: "rotary",
		Doc: "Turns each pair of elements of the rows x [T,H,D] by the angle (position + t) scale theta^(-2i/R) / factor_i (rotary position " +
			"embedding, arXiv 2104.09864), angles in double precision; elements from R on are copied. Within 4 eps of the pair's " +
			"magnitudes. NaN and Inf pass to both elements of their pair.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			x, layout, rotated := c.In[0], c.Ints[1], c.Ints[2]
			if err := c.floats32(c.In...); err != nil {
				return nil, err
			}
			if len(x.Shape()) != 3 || !x.Dim(2).Const() {
				return nil, fmt.Errorf("x is %s; [positions x heads x elements] is needed", c.S(x))
			}
			if d := x.Dim(2).N; !rotated.Const() || rotated.N < 0 || rotated.N > d || rotated.N%2 != 0 {
				return nil, fmt.Errorf("%d elements of a head of %d are to be turned; an even number up to it is needed", rotated.N, d)
			}
			if !layout.Const() || layout.N < 0 || layout.N > int64(RotaryPairs) {
				return nil, fmt.Errorf("unknown layout %d", layout.N)
			}
			if theta := c.Floats[0]; theta.Arg != 0 || !(theta.V > 0) || math.IsInf(theta.V, 1) {
				return nil, fmt.Errorf("theta is %g; a positive constant is needed", theta.V)
			}
			if len(c.In) > 1 && !c.In[1].Shape().Equal(Dims(rotated.N/2)) {
				return nil, fmt.Errorf("the factors are %s; [%d] is needed", c.S(c.In[1]), rotated.N/2)
			}
			return []TypeShape{{F32, x.Shape()}}, nil
		},
		Reference: func(c *RefCall) error {
			if c.Ints[0] < 0 {
				return fmt.Errorf("position %d is negative", c.Ints[0])
			}
			copy(c.Out[0].Data, c.In[0].Data)
			eachRotation(c, func(a, b int, angle float64) {
				x, y := c.In[0].Data, c.Out[0].Data
				y[a] = x[a]*math.Cos(angle) - x[b]*math.Sin(angle)
				y[b] = x[a]*math.Sin(angle) + x[b]*math.Cos(angle)
			})
			return nil
		},
		Bound: func(c *RefCall, eps float64) [][]float64 {
			bound := make([]float64, len(c.Out[0].Data))
			eachRotation(c, func(a, b int, angle float64) {
				// the angle's own error: its frequency is a power in double precision
				e := (4*eps+math.Abs(angle)*0x1p-46)*(math.Abs(c.In[0].Data[a])+math.Abs(c.In[0].Data[b])) + tiny
				bound[a], bound[b] = e, e
			})
			return [][]float64{bound}
		},
		Cases: rotaryCases,
	})
}

// eachRotation visits the pairs of elements with their angles.
func eachRotation(c *RefCall, visit func(a, b int, angle float64)) {
	x, rotated := c.In[0], int(c.Ints[2])
	heads, d := x.Dim(1), x.Dim(2)
	for t := range x.Dim(0) {
		for i := range rotated / 2 {
			angle := float64(int(c.Ints[0])+t) * c.Floats[1] * math.Pow(c.Floats[0], -2*float64(i)/float64(rotated))
			if c.HasIn(1) {
				angle /= c.In[1].Data[i]
			}
			a, b := i, i+rotated/2
			if RotaryLayout(c.Ints[1]) == RotaryPairs {
				a, b = 2*i, 2*i+1
			}
			for h := range heads {
				at := (t*heads + h) * d
				visit(at+a, at+b, angle)
			}
		}
	}
}

// Rotary turns the heads of x [T, H, D], whose row t is at position o.Position + t.
func Rotary(x Tensor, o RotaryOptions) Tensor {
	if o.Scale == 0 {
		o.Scale = 1
	}
	if o.Rotated == 0 {
		o.Rotated = x.Dim(-1).N
	}
	return record(OpRotary, x.g, []Tensor{x, o.Factors}, nil, []Int{o.Position, N(int64(o.Layout)), N(o.Rotated)},
		[]Float{V(o.Theta), V(o.Scale)})[0]
}

func rotaryCases() []Case {
	at := func(t, h, d int64, o RotaryOptions) func(c *CaseGraph) []Tensor {
		return func(c *CaseGraph) []Tensor { return []Tensor{Rotary(c.Normal(t, h, d), o)} }
	}
	var cases []Case
	for _, layout := range []RotaryLayout{RotaryHalves, RotaryPairs} {
		o := RotaryOptions{Layout: layout, Theta: 10000}
		far := RotaryOptions{Layout: layout, Theta: 5e5, Scale: .25, Position: N(131000), Rotated: 10}
		name := map[RotaryLayout]string{RotaryHalves: "halves", RotaryPairs: "pairs"}[layout]
		cases = append(cases,
			Case{Name: name + ", prime sizes", Record: at(5, 3, 38, o)},
			Case{Name: name + ", whole vectors", Record: at(3, 2, 64, o)},
			Case{Name: name + ", many heads, many pairs", Record: at(2, 9, 518, o)},
			Case{Name: name + ", one pair", Record: at(4, 1, 2, o)},
			Case{Name: name + ", part of a head, far and scaled", Record: at(3, 2, 17, far)},
			Case{Name: name + ", factors", Record: func(c *CaseGraph) []Tensor {
				f := o
				f.Factors = c.Uniform(1, 8, 9)
				return []Tensor{Rotary(c.Normal(3, 2, 18), f)}
			}},
			Case{Name: name + ", arguments", Record: func(c *CaseGraph) []Tensor {
				n, position := c.Int("rows", 9, 4), c.Int("position", 1000, 77)
				f := o
				f.Position = position.Of(1)
				return []Tensor{Rotary(c.NormalOf(F32, Shape{n.Of(1), N(3), N(8)}), f)}
			}},
			Case{Name: name + ", empty", Record: at(0, 2, 8, o)},
			Case{Name: name + ", special values", Record: func(c *CaseGraph) []Tensor {
				return []Tensor{Rotary(c.Values(F32, []float64{1, math.NaN(), math.Inf(1), 2, 0, math.Copysign(0, -1), 3e38, 1e-45}, 2, 1, 4), o)}
			}},
			Case{Name: name + ", large", Bench: true, Record: at(512, 32, 128, o)})
	}
	return withoutGradient(cases)
}

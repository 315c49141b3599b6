// Package optim holds what every trained model shares: the flat segments of parameters, gradients and moments, and the
// update as a plan of its own, which is never cancelled half-way.
package optim

import (
	"errors"

	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime"
)

// AdamConfig are the constants of Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019).
type AdamConfig struct {
	Beta1, Beta2, Epsilon float64 // 0: 0.9, 0.999, 1e-8
	WeightDecay           float64
	Decoupled             bool    // AdamW
	MaxNorm               float64 // clip the global gradient norm; 0: do not

	// Also records more updates into the same plan, such as running statistics; AlsoMemory is what they touch. It may
	// declare scalar arguments, see SetFloat.
	Also       func(g *ops.Graph)
	AlsoMemory []*runtime.Memory
}

// An Adam steps over all parameters at once.
type Adam struct {
	Params, Grads *ops.Segment
	Moments       [2]*ops.Segment
	Memory        []*runtime.Memory // parameters, gradients, first and second moments
	Steps         int64             // taken so far
	plan          *runtime.Plan
	binding       *runtime.Binding
	step          ops.IntArg
	rate          ops.FloatArg
	norm          ops.Tensor
}

// MaxSteps bounds the step count, an argument of the update plan.
const MaxSteps = 1 << 40

// NewAdam makes gradients and moments beside the parameters, which already have memory, and compiles the update.
func NewAdam(rt *runtime.Runtime, s *runtime.Session, params *runtime.Memory, c AdamConfig) (*Adam, error) {
	if c.Beta1 == 0 {
		c.Beta1 = 0.9
	}
	if c.Beta2 == 0 {
		c.Beta2 = 0.999
	}
	if c.Epsilon == 0 {
		c.Epsilon = 1e-8
	}
	p := params.Segment
	a := &Adam{Params: p, Grads: p.Like("gradients"), Moments: [2]*ops.Segment{p.Like("moments1"), p.Like("moments2")},
		Memory: []*runtime.Memory{params}}
	g := ops.NewGraph()
	a.step, a.rate = g.IntArg("step", 1, MaxSteps), g.FloatArg("learning_rate")
	grad := g.Flat(a.Grads)
	norm, scale := ops.ClipScale(grad, ops.V(c.MaxNorm))
	ops.Adam(g.Flat(p), g.Flat(a.Moments[0]), g.Flat(a.Moments[1]), grad, scale, ops.AdamOptions{LearningRate: a.rate.Of(1),
		Beta1: ops.V(c.Beta1), Beta2: ops.V(c.Beta2), Epsilon: ops.V(c.Epsilon), WeightDecay: ops.V(c.WeightDecay),
		Decoupled: c.Decoupled, Step: a.step.Of(1)})
	if c.Also != nil {
		c.Also(g)
	}
	g.Output(norm)
	a.norm = norm
	var err error
	if a.plan, err = rt.Compile(g, "adam"); err != nil {
		return nil, err
	}
	for _, s := range []*ops.Segment{a.Grads, a.Moments[0], a.Moments[1]} {
		m, err := rt.Allocate(s)
		if err != nil {
			a.Close()
			return nil, err
		}
		a.Memory = append(a.Memory, m)
	}
	if a.binding, err = s.Bind(a.plan, append(c.AlsoMemory, a.Memory...)...); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// GradMemory is where the training plan leaves the gradients.
func (a *Adam) GradMemory() *runtime.Memory { return a.Memory[1] }

// Step updates the parameters from the gradients. It runs to its end whatever happens to contexts.
func (a *Adam) Step(learningRate float64) error {
	a.binding.SetInt(a.step, a.Steps+1)
	a.binding.SetFloat(a.rate, learningRate)
	if err := a.binding.RunUncancelled(); err != nil {
		return err
	}
	a.Steps++
	return nil
}

// Reset forgets the moments and the step count.
func (a *Adam) Reset() error {
	zero := make([]byte, a.Params.Bytes())
	a.Steps = 0
	return errors.Join(a.Memory[2].WriteAll(zero), a.Memory[3].WriteAll(zero))
}

// SetFloat gives an argument that Also declared its value for the next steps.
func (a *Adam) SetFloat(arg ops.FloatArg, v float64) { a.binding.SetFloat(arg, v) }

// GradientNorm is the global norm of the last step's gradient, before clipping.
func (a *Adam) GradientNorm() (float64, error) {
	var v [1]float32
	err := a.binding.Read(a.norm, v[:])
	return float64(v[0]), err
}

// Close frees gradients, moments and the plan; the parameters are the model's.
func (a *Adam) Close() {
	if a.plan != nil {
		a.plan.Close()
	}
	for _, m := range a.Memory[1:] {
		m.Close()
	}
}

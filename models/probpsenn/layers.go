package probpsenn

import (
	"math"
	"math/rand/v2"

	"github.com/credence-ml/credence/ops"
)

// Constants of the networks (section 1.7 of the specification).
const (
	batchNormEps      = 1e-3
	batchNormMomentum = 0.99
	leakySlope        = 0.2
)

// declaration collects a network's variables with their initial laws. Nothing in it grows with the variables' sizes, so
// that a configuration from a file can be compared with the tensors there before memory is taken for them.
type declaration struct {
	params, stats *ops.Segment
	initial       map[*ops.Var]func(i int) float64
	random        *rand.Rand
	law           string // of weights, Config.Initial
}

func newDeclaration(c *Config) *declaration {
	return &declaration{params: ops.NewSegment("parameters"), stats: ops.NewSegment("statistics"),
		initial: map[*ops.Var]func(i int) float64{}, random: rand.New(rand.NewPCG(c.Seed, 0x1217)), law: c.Initial}
}

// param adds a parameter with its initial law.
func (d *declaration) param(name string, initial func(i int) float64, dims ...int64) *ops.Var {
	return d.add(d.params, name, initial, dims...)
}

func (d *declaration) add(s *ops.Segment, name string, initial func(i int) float64, dims ...int64) *ops.Var {
	v := s.Add(name, ops.F32, dims...)
	d.initial[v] = initial
	return v
}

// values draws the initial values of v. Laws share one source of random numbers: the order of calls matters.
func (d *declaration) values(v *ops.Var) []float32 {
	values := make([]float32, v.Count())
	for i := range values {
		values[i] = float32(d.initial[v](i))
	}
	return values
}

func zero(int) float64 { return 0 }
func one(int) float64  { return 1 }

// uniform is the law of weights between so many inputs and outputs.
func (d *declaration) uniform(fanIn, fanOut int64) func(int) float64 {
	limit := math.Sqrt(6 / float64(fanIn+fanOut))
	if d.law == FanIn {
		limit = math.Sqrt(1 / float64(fanIn))
	}
	return func(int) float64 { return limit * (2*d.random.Float64() - 1) }
}

// normal draws N(mean, deviation^2).
func (d *declaration) normal(mean, deviation float64) func(int) float64 {
	return func(int) float64 { return mean + deviation*d.random.NormFloat64() }
}

// A block is a convolution (or transposed convolution) with bias, then batch normalisation and leaky ReLU, or a bare
// activation on the last layer of a network.
type block struct {
	weight, bias, gamma, beta *ops.Var
	mean, variance            *ops.Var // running statistics
	transposed                bool
	stride, pad               int64
	in, out                   int64 // height and width
	last                      ops.Activation
}

// declareBlock adds the variables of a kernel x kernel layer with inner channels; norm is false on the last layer.
func (d *declaration) block(name string, b block, kernel, from, to int64, norm bool) *block {
	// weights are [R,S,C,F] with C the channels of the larger side of a convolution: input, or output if transposed
	c, f := from, to
	if b.transposed {
		c, f = to, from
	}
	area := kernel * kernel
	b.weight = d.param(name+".weight", d.uniform(area*from, area*to), kernel, kernel, c, f)
	b.bias = d.param(name+".bias", zero, to)
	if norm {
		b.gamma, b.beta = d.param(name+".gamma", one, to), d.param(name+".beta", zero, to)
		b.mean = d.add(d.stats, name+".mean", zero, to)
		b.variance = d.add(d.stats, name+".variance", one, to)
	}
	return &b
}

// A builder records networks into one graph: training records batch statistics, evaluation uses the running ones.
type builder struct {
	g        *ops.Graph
	training bool
	batch    *ops.Segment            // training: where the batch's statistics go, laid out like the running ones; nil: nowhere
	given    map[*ops.Var]ops.Tensor // tensors that stand in for variables, in graphs that have no memory
}

func (b *builder) use(v *ops.Var) ops.Tensor {
	if x, ok := b.given[v]; ok {
		return x
	}
	return b.g.Use(v)
}

func (b *builder) apply(l *block, x ops.Tensor) ops.Tensor {
	w, bias := b.use(l.weight), b.use(l.bias)
	act := ops.Activation{}
	if l.gamma == nil {
		act = l.last
	}
	if l.transposed {
		x = ops.ConvTranspose2D(x, w, ops.ConvTransposeOptions{StrideH: l.stride, StrideW: l.stride, PadTop: l.pad, PadBottom: l.pad,
			PadLeft: l.pad, PadRight: l.pad, Bias: bias, Activation: act})
	} else {
		x = ops.Conv2D(x, w, ops.ConvOptions{StrideH: l.stride, StrideW: l.stride, PadTop: l.pad, PadBottom: l.pad, PadLeft: l.pad,
			PadRight: l.pad, Bias: bias, Activation: act})
	}
	if l.gamma == nil {
		return x
	}
	leaky := ops.Activation{Kind: ops.ActLeakyReLU, P: leakySlope}
	gamma, beta := b.use(l.gamma), b.use(l.beta)
	if !b.training {
		return ops.BatchNormEval(x, gamma, beta, b.use(l.mean), b.use(l.variance), batchNormEps, leaky)
	}
	y, mean, variance := ops.BatchNormTrain(x, gamma, beta, batchNormEps, leaky)
	if b.batch != nil {
		ops.StoreInto(l.mean.Twin(b.batch), mean)
		ops.StoreInto(l.variance.Twin(b.batch), variance)
	}
	return y
}

package probpsenn

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/internal/optim"
	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime"
)

// adamEpsilon is Keras' default, which the original training used.
const adamEpsilon = 1e-7

// A phase of training has a plan of its own.
type phase struct {
	name    string
	plan    *runtime.Plan
	binding *runtime.Binding
	batch   ops.IntArg
	step    ops.IntArg
	input   ops.Tensor
	label   ops.Tensor // [B*S] i32, joint only
	own     ops.Tensor // [B, C], joint only
	terms   terms
}

// A trainer holds what training needs beyond the model: gradients, moments, the plans of both phases.
type trainer struct {
	m        *Model
	session  *runtime.Session
	adam     *optim.Adam
	batch    *runtime.Memory // statistics of the current batch
	blend    ops.FloatArg    // their share of the running statistics
	pretrain *phase
	joint    *phase
	step     int64 // over both phases: the base of random numbers

	pixels []float32
	labels []int32
	own    []float32
}

func (m *Model) newTrainer() (t *trainer, err error) {
	t = &trainer{m: m}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if t.session, err = m.rt.NewSession(); err != nil {
		return t, err
	}
	segment := m.declared.stats.Like("batch statistics")
	if t.batch, err = m.rt.Allocate(segment); err != nil {
		return t, err
	}
	config := optim.AdamConfig{Epsilon: adamEpsilon}
	if m.hasDecoder() {
		config.AlsoMemory = []*runtime.Memory{m.stats, t.batch}
		config.Also = func(g *ops.Graph) {
			t.blend = g.FloatArg("share of the batch statistics")
			ops.Lerp(g.Flat(m.declared.stats), g.Flat(segment), t.blend.Of(1))
		}
	}
	if t.adam, err = optim.NewAdam(m.rt, t.session, m.params, config); err != nil {
		return t, err
	}
	if m.hasDecoder() {
		if t.pretrain, err = t.newPhase("pretrain", segment); err != nil {
			return t, err
		}
	}
	if t.joint, err = t.newPhase("joint", segment); err != nil {
		return t, err
	}
	c := &m.Config
	t.pixels = make([]float32, c.Batch*m.inputSize())
	t.labels = make([]int32, c.Batch*t.samples())
	t.own = make([]float32, c.Batch*c.Classes)
	return t, nil
}

// samples is S in training; point prototypes have nothing to sample.
func (t *trainer) samples() int {
	if t.m.Config.Prototypes == Point {
		return 1
	}
	return t.m.Config.Samples
}

// newPhase records the forward and backward pass of a phase and compiles it.
func (t *trainer) newPhase(name string, batchStats *ops.Segment) (*phase, error) {
	m, c := t.m, &t.m.Config
	g := ops.NewGraph()
	p := &phase{name: name, batch: g.IntArg("batch", 2, int64(c.Batch)), step: g.IntArg("step", 0, 1<<40)}
	b := &builder{g: g, training: true, batch: batchStats}
	var sized ops.Tensor
	p.input, sized = m.input(g, p.batch.Of(1))
	z, logVariance := m.encoder.encode(b, sized)
	mean := z
	if logVariance.Valid() { // the sampled vector everywhere, also under the densities (trap T1)
		z = sampleLatent(g, mean, logVariance, c.Seed, streamLatent, p.step.Of(int64(c.Batch)))
	}
	weights := LossWeights{Reconstruction: c.Loss.PretrainReconstruction, KL: c.Loss.PretrainKL}
	vars := m.declared.params.Vars()
	if name == "joint" {
		weights = c.Loss
		s := int64(t.samples())
		r := m.prototypes.record(g)
		p.label = g.Input("labels", ops.I32, ops.Shape{p.batch.Of(s)})
		p.own = g.Input("own class", ops.F32, ops.Shape{p.batch.Of(1), ops.N(int64(c.Classes))})
		samples := r.samples(s, ops.N(int64(c.Seed)), p.step.Of(s*r.k*r.m))
		p.terms = jointTerms(c, r, g.Use(m.head), z, samples, p.label, p.own)
	}
	if m.hasDecoder() && weights.Reconstruction > 0 {
		p.terms.reconstruction = reconstructionTerm(sized, m.encoder.decode(b, z))
	}
	if logVariance.Valid() {
		p.terms.kl = encoderKL(mean, logVariance, int64(c.Latent))
	}
	p.terms.sum(g, weights)
	for _, x := range p.terms.all() {
		if x.Valid() {
			g.Output(x)
		}
	}
	t.storeGradients(g, p.terms.total, vars)
	plan, err := m.rt.Compile(g, "prob-psenn "+name)
	if err != nil {
		return nil, err
	}
	p.plan = plan
	p.binding, err = t.session.Bind(plan, m.params, m.stats, t.adam.GradMemory(), t.batch)
	return p, err
}

// all lists the terms in the order of EpochStats: total first.
func (t *terms) all() []ops.Tensor {
	return []ops.Tensor{t.total, t.nll, t.reconstruction, t.interpretation, t.kl}
}

// storeGradients puts the gradients of the variables into the gradient segment: zeros for those not trained.
func (t *trainer) storeGradients(g *ops.Graph, loss ops.Tensor, vars []*ops.Var) {
	m := t.m
	var wrt []ops.Tensor
	var trained []*ops.Var
	for _, v := range vars {
		if v == m.head && m.Config.FreezeHead {
			ops.StoreInto(v.Twin(t.adam.Grads), ops.Full(g, ops.F32, 0, ops.Dims(v.Dims...)))
			continue
		}
		trained = append(trained, v)
		wrt = append(wrt, g.Use(v))
	}
	for i, d := range ops.Gradients(loss, wrt...) {
		ops.StoreInto(trained[i].Twin(t.adam.Grads), d)
	}
}

func (t *trainer) close() {
	if t.session != nil {
		t.session.Close()
	}
	if t.adam != nil {
		t.adam.Close()
	}
	for _, p := range []*phase{t.pretrain, t.joint} {
		if p != nil && p.plan != nil {
			p.plan.Close()
		}
	}
	if t.batch != nil {
		t.batch.Close()
	}
}

// runBatch takes one step on the rows given and adds the loss terms to sums.
func (t *trainer) runBatch(ctx context.Context, p *phase, images *data.Images, rows []int, augment *augmenter, rate float64, sums *[5]float64) error {
	size, c := t.m.inputSize(), &t.m.Config
	n := len(rows)
	for i, row := range rows {
		copy(t.pixels[i*size:(i+1)*size], images.Pixels[row*size:(row+1)*size])
	}
	augment.apply(t.pixels[:n*size], t.step)
	b := p.binding
	b.SetInt(p.batch, int64(n))
	b.SetInt(p.step, t.step)
	err := b.Write(p.input, t.pixels[:n*size])
	if p.label.Valid() {
		s := t.samples()
		clear(t.own)
		for i, row := range rows {
			for k := range s {
				t.labels[i*s+k] = images.Labels[row]
			}
			t.own[i*c.Classes+int(images.Labels[row])] = 1
		}
		err = errors.Join(err, b.WriteInt32(p.label, t.labels[:n*s]), b.Write(p.own, t.own[:n*c.Classes]))
	}
	if err == nil {
		err = b.Run(ctx)
	}
	if err != nil {
		return err
	}
	var v [1]float32
	for i, x := range p.terms.all() {
		if !x.Valid() {
			continue
		}
		if err := b.Read(x, v[:]); err != nil {
			return err
		}
		if i == 0 && (math.IsNaN(float64(v[0])) || math.IsInf(float64(v[0]), 0)) {
			return fmt.Errorf("prob-psenn: the loss is %v at step %d of %s; a smaller learning rate or cleaner data are needed", v[0], t.step, p.name)
		}
		sums[i] += float64(v[0])
	}
	if t.blend != 0 {
		// a plain mean at first: with the momentum alone, half of the initial values (0, 1) would still be there after 68
		// steps, and the prototypes would be fitted to latent vectors that training never sees
		t.adam.SetFloat(t.blend, max(1-batchNormMomentum, 1/float64(t.step+1)))
	}
	if err := t.adam.Step(rate); err != nil {
		return err
	}
	t.step++
	return nil
}

// order is the order of the training rows in an epoch: a function of seed, phase and epoch alone, so that training can
// resume anywhere.
func order(c *Config, phase string, epoch, rows int) []int {
	stream := uint64(epoch) << 1
	if phase == "joint" {
		stream |= 1
	}
	return rand.New(rand.NewPCG(c.Seed^0x0bde5, stream)).Perm(rows)
}

// rate is the learning rate of a joint step.
func (c *Config) rate(step, steps int) float64 {
	if c.Schedule != "cosine" || steps <= 1 {
		return c.LearningRate
	}
	const floor = .01
	return c.LearningRate * (floor + (1-floor)*.5*(1+math.Cos(math.Pi*float64(step)/float64(steps-1))))
}

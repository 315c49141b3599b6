package probpsenn

import (
	"context"

	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime"
)

// evaluationRow is the base of the random numbers of prediction, far from those of training.
const evaluationRow = 1 << 41

// PredictorOptions steer NewPredictor.
type PredictorOptions struct {
	MaxBatch int // inputs per submission; 0: 64
	Samples  int // S; 0: that of the configuration
	// LabelsOnly leaves out the densities, the decoder and with them percentiles and verdict.
	LabelsOnly bool
	Overlap    bool             // also compute Scores.ExplanationOverlap, a tenth of a millisecond or so per input
	Session    *runtime.Session // nil: one of its own
	// Encoder makes feature vectors of what Predict and PredictInto are given; nil: they are given the model's inputs.
	Encoder Encoder
}

// A Predictor runs a model. It draws its prototype samples once, so the same input always gives the same answer. It is
// for one goroutine at a time; after the first call PredictInto allocates nothing.
type Predictor struct {
	m       *Model
	o       PredictorOptions
	samples int
	own     *runtime.Session
	plan    *runtime.Plan
	derived *runtime.Memory
	binding *runtime.Binding

	batch                                                ops.IntArg
	input                                                ops.Tensor
	latent, probability, distance, mahalanobis, residual ops.Tensor

	z, p, d, q, e []float32 // one submission's outputs
	scratch       scratch
}

// NewPredictor compiles the model for prediction and draws the prototype samples.
func (m *Model) NewPredictor(o PredictorOptions) (p *Predictor, err error) {
	if o.MaxBatch == 0 {
		o.MaxBatch = 64
	}
	if o.MaxBatch < 1 || o.MaxBatch > 1<<16 {
		return nil, invalidf("a batch of %d; 1 to 65536", o.MaxBatch)
	}
	if o.Samples < 0 || o.Samples > 10000 {
		return nil, invalidf("%d prototype samples; 1 to 10000, or 0 for the configuration's", o.Samples)
	}
	p = &Predictor{m: m, o: o, samples: o.Samples}
	if p.samples == 0 {
		p.samples = m.Config.EvalSamples
	}
	if m.Config.Prototypes == Point {
		p.samples = 1
	}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	session := o.Session
	if session == nil {
		if p.own, err = m.rt.NewSession(); err != nil {
			return p, err
		}
		session = p.own
	}
	segment := ops.NewSegment("derived")
	derived := m.prototypes.declareDerived(segment, int64(p.samples))
	if p.derived, err = m.rt.Allocate(segment); err != nil {
		return p, err
	}
	if err = p.derive(session, derived); err != nil {
		return p, err
	}
	return p, p.open(session, derived)
}

// derive computes what depends on the parameters alone.
func (p *Predictor) derive(session *runtime.Session, d *derived) error {
	m := p.m
	g := ops.NewGraph()
	r := m.prototypes.record(g)
	q := r.density()
	ops.StoreInto(d.samples, r.samples(int64(p.samples), ops.N(int64(m.Config.Seed)), ops.N(evaluationRow)))
	ops.StoreInto(d.a, q.a)
	ops.StoreInto(d.b, q.b)
	ops.StoreInto(d.normalizer, q.normalizer)
	if d.weights != nil {
		ops.StoreInto(d.weights, q.weights)
	}
	plan, err := m.rt.Compile(g, "prob-psenn derive")
	if err != nil {
		return err
	}
	defer plan.Close()
	b, err := session.Bind(plan, m.params, p.derived)
	if err != nil {
		return err
	}
	defer b.Close()
	return b.RunUncancelled()
}

// open compiles the forward pass.
func (p *Predictor) open(session *runtime.Session, d *derived) error {
	m, c := p.m, &p.m.Config
	g := ops.NewGraph()
	p.batch = g.IntArg("batch", 0, int64(p.o.MaxBatch))
	var sized ops.Tensor
	p.input, sized = m.input(g, p.batch.Of(1))
	b := &builder{g: g}
	p.latent, _ = m.encoder.encode(b, sized)
	p.latent = ops.Affine(p.latent, 1, 0) // also where the latent vector is the input itself
	p.distance = distances(p.latent, g.Use(d.samples))
	p.probability = ops.Softmax(logits(p.distance, g.Use(m.head)))
	g.Output(p.latent, p.distance, p.probability)
	if !p.o.LabelsOnly {
		p.mahalanobis = m.prototypes.mahalanobis(p.latent, d.density(g))
		g.Output(p.mahalanobis)
		if m.hasDecoder() {
			difference := ops.Reshape(ops.Sub(sized, m.encoder.decode(b, p.latent)), p.batch.Of(1), ops.N(-1))
			p.residual = ops.Mean(ops.Square(difference), 1)
			g.Output(p.residual)
		}
	}
	var err error
	if p.plan, err = m.rt.Compile(g, "prob-psenn predict"); err != nil {
		return err
	}
	if p.binding, err = session.Bind(p.plan, p.m.params, p.m.stats, p.derived); err != nil {
		return err
	}
	n, s := p.o.MaxBatch, p.samples
	p.z, p.d, p.p = make([]float32, n*c.Latent), make([]float32, n*s*c.prototypes()), make([]float32, n*s*c.Classes)
	p.q, p.e = make([]float32, n*c.prototypes()*c.components()), make([]float32, n)
	p.scratch.grow(c, s, p.o.Overlap)
	return nil
}

// Close frees what the predictor holds; the model stays.
func (p *Predictor) Close() {
	if p.own != nil {
		p.own.Close()
	} else if p.binding != nil {
		p.binding.Close()
	}
	if p.plan != nil {
		p.plan.Close()
	}
	if p.derived != nil {
		p.derived.Close()
	}
}

// Predict classifies inputs, NHWC pictures in [-1, 1] or feature vectors, or what the options' Encoder takes, one after
// the other.
func (p *Predictor) Predict(ctx context.Context, x []float32) ([]Prediction, error) {
	out := make([]Prediction, len(x)/p.inputSize())
	return out, p.PredictInto(ctx, out, x)
}

// PredictInto is Predict into the caller's memory: len(out) inputs. Slices in out that have the capacity are used again.
func (p *Predictor) PredictInto(ctx context.Context, out []Prediction, x []float32) error {
	if size := p.inputSize(); len(x) != len(out)*size {
		return invalidf("%d values are not %d inputs of %d", len(x), len(out), size)
	}
	x, err := p.encode(ctx, x)
	if err != nil {
		return err
	}
	size := p.m.inputSize()
	if len(x) != len(out)*size {
		return invalidf("the encoder made %d values of %d inputs; the model takes vectors of %d", len(x), len(out), size)
	}
	if err := checkFinite(x, size); err != nil {
		return err
	}
	for at := 0; at < len(out); at += p.o.MaxBatch {
		n := min(p.o.MaxBatch, len(out)-at)
		if err := p.forward(ctx, x[at*size:(at+n)*size], n); err != nil {
			return err
		}
		for i := range n {
			p.fill(&out[at+i], i)
		}
	}
	return nil
}

// forward runs one submission and reads its outputs.
func (p *Predictor) forward(ctx context.Context, x []float32, n int) error {
	c, s := &p.m.Config, p.samples
	b := p.binding
	b.SetInt(p.batch, int64(n))
	if err := b.Write(p.input, x); err != nil {
		return err
	}
	if err := b.Run(ctx); err != nil {
		return err
	}
	if err := b.Read(p.latent, p.z[:n*c.Latent]); err != nil {
		return err
	}
	if err := b.Read(p.distance, p.d[:n*s*c.prototypes()]); err != nil {
		return err
	}
	if err := b.Read(p.probability, p.p[:n*s*c.Classes]); err != nil {
		return err
	}
	if p.mahalanobis.Valid() {
		if err := b.Read(p.mahalanobis, p.q[:n*c.prototypes()*c.components()]); err != nil {
			return err
		}
	}
	if p.residual.Valid() {
		return b.Read(p.residual, p.e[:n])
	}
	return nil
}

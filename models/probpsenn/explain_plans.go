package probpsenn

import (
	"context"
	"math"

	"github.com/credence-ml/credence/models/report"
	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime"
)

// A step is a plan with one input and one output, both of so many rows.
type step struct {
	plan            *runtime.Plan
	binding         *runtime.Binding
	batch           ops.IntArg
	in, out         ops.Tensor
	inSize, outSize int
}

// stepBatch is the number of rows that go through a step at once.
const stepBatch = 64

// newStep compiles what record makes of n rows.
func (m *Model) newStep(s *runtime.Session, name string, inSize, outSize int, record func(g *ops.Graph, n ops.Int) (in, out ops.Tensor)) (*step, error) {
	g := ops.NewGraph()
	p := &step{batch: g.IntArg("batch", 0, stepBatch), inSize: inSize, outSize: outSize}
	p.in, p.out = record(g, p.batch.Of(1))
	g.Output(p.out)
	var err error
	if p.plan, err = m.rt.Compile(g, "prob-psenn "+name); err != nil {
		return nil, err
	}
	if p.binding, err = s.Bind(p.plan, m.params, m.stats); err != nil {
		p.plan.Close()
		return nil, err
	}
	return p, nil
}

func (p *step) run(ctx context.Context, x []float32) ([]float32, error) {
	rows := len(x) / p.inSize
	out := make([]float32, rows*p.outSize)
	for at := 0; at < rows; at += stepBatch {
		n := min(stepBatch, rows-at)
		p.binding.SetInt(p.batch, int64(n))
		if err := p.binding.Write(p.in, x[at*p.inSize:(at+n)*p.inSize]); err != nil {
			return nil, err
		}
		if err := p.binding.Run(ctx); err != nil {
			return nil, err
		}
		if err := p.binding.Read(p.out, out[at*p.outSize:(at+n)*p.outSize]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// An explainer holds what explanations need of a model besides its predictions.
type explainer struct {
	m         *Model
	session   *runtime.Session
	predictor *Predictor
	decoder   *step // nil without pictures
	sizer     *step // nil if inputs have the network's size
	gaussians *gaussians
	samples   []float32 // the prototype samples that the predictor drew, [S, K, D]
	head      []float32 // W [K, C]
}

func (m *Model) newExplainer(o PredictorOptions) (e *explainer, err error) {
	e = &explainer{m: m}
	defer func() {
		if err != nil {
			e.Close()
		}
	}()
	if e.session, err = m.rt.NewSession(); err != nil {
		return e, err
	}
	o.Session = e.session
	if e.predictor, err = m.NewPredictor(o); err != nil {
		e.predictor = nil
		return e, err
	}
	for _, v := range e.predictor.derived.Segment.Vars() {
		if v.Name == "samples" {
			e.samples = make([]float32, v.Count())
			if err = e.predictor.derived.Read(v, e.samples); err != nil {
				return e, err
			}
		}
	}
	e.head = make([]float32, m.head.Count())
	if err = m.params.Read(m.head, e.head); err != nil {
		return e, err
	}
	if e.gaussians, err = m.gaussians(); err != nil || !m.hasDecoder() {
		return e, err
	}
	return e, e.compile()
}

// compile makes the plans for pictures: decoded with the running statistics, as in prediction.
func (e *explainer) compile() (err error) {
	m, c := e.m, &e.m.Config
	network := side * side * c.Channels
	e.decoder, err = m.newStep(e.session, "decode", c.Latent, network, func(g *ops.Graph, n ops.Int) (in, out ops.Tensor) {
		in = g.Input("latents", ops.F32, ops.Shape{n, ops.N(int64(c.Latent))})
		return in, m.encoder.decode(&builder{g: g}, in)
	})
	if err != nil || c.Height == side && c.Width == side {
		return err
	}
	e.sizer, err = m.newStep(e.session, "resize", m.inputSize(), network, func(g *ops.Graph, n ops.Int) (in, out ops.Tensor) {
		return m.input(g, n)
	})
	return err
}

// Close frees what the explainer holds.
func (e *explainer) Close() {
	if e.predictor != nil {
		e.predictor.Close()
	}
	if e.session != nil {
		e.session.Close()
	}
	for _, p := range []*step{e.decoder, e.sizer} {
		if p != nil {
			p.plan.Close()
		}
	}
}

// sample is prototype sample s of distribution k.
func (e *explainer) sample(s, k int) []float32 {
	c := &e.m.Config
	at := (s*c.prototypes() + k) * c.Latent
	return e.samples[at : at+c.Latent]
}

// decode shows latent vectors, one after the other, as pictures; none if the model has no decoder.
func (e *explainer) decode(ctx context.Context, z []float32) ([]*report.Picture, error) {
	pictures := make([]*report.Picture, len(z)/e.m.Config.Latent)
	if e.decoder == nil {
		return pictures, nil
	}
	pixels, err := e.decoder.run(ctx, z)
	if err != nil {
		return nil, err
	}
	size := e.decoder.outSize
	for i := range pictures {
		pictures[i] = &report.Picture{Height: side, Width: side, Channels: e.m.Config.Channels, Pixels: pixels[i*size : (i+1)*size]}
	}
	return pictures, nil
}

// picture is an input as it was given; nil for feature vectors.
func (m *Model) picture(x []float32) *report.Picture {
	if !m.hasDecoder() {
		return nil
	}
	c := &m.Config
	return &report.Picture{Height: c.Height, Width: c.Width, Channels: c.Channels, Pixels: x}
}

// difference shows where an input differs from its reconstruction, at the network's size: black nowhere, white where
// one is black and the other white.
func (e *explainer) difference(ctx context.Context, x []float32, reconstruction *report.Picture) (*report.Picture, error) {
	if e.sizer != nil {
		var err error
		if x, err = e.sizer.run(ctx, x); err != nil {
			return nil, err
		}
	}
	d := *reconstruction
	d.Pixels = make([]float32, len(x))
	for i, v := range x {
		d.Pixels[i] = float32(math.Abs(float64(v-reconstruction.Pixels[i]))) - 1
	}
	return &d, nil
}

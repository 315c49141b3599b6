// Package mlp is the smallest whole model: a multilayer perceptron classifier, trained and served through plans. It
// shows how a model is written on ops and runtime.
package mlp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/credence-ml/credence/models/internal/optim"
	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime"
)

// Config describes a network.
type Config struct {
	Inputs   int   // features per row
	Hidden   []int // widths of the hidden layers, ReLU
	Classes  int
	MaxBatch int    // rows per submission; 0: 128
	Seed     uint64 // of the initial weights and the order of training rows
}

func (c *Config) check() error {
	if c.MaxBatch == 0 {
		c.MaxBatch = 128
	}
	bad := c.Inputs < 1 || c.Classes < 2 || c.MaxBatch < 1
	for _, h := range c.Hidden {
		bad = bad || h < 1
	}
	if bad {
		return fmt.Errorf("mlp: inputs %d, hidden %v, classes %d, batch %d: every size must be at least 1, classes at least 2",
			c.Inputs, c.Hidden, c.Classes, c.MaxBatch)
	}
	return nil
}

// A Model is a network with its parameters on a device. Any number of goroutines may use it; they take turns, batch by
// batch.
type Model struct {
	Config  Config
	turn    chan struct{} // holds one token while a batch is under way
	rt      *runtime.Runtime
	session *runtime.Session
	weights []*ops.Var
	params  *runtime.Memory

	predict     *runtime.Plan
	binding     *runtime.Binding
	batch       ops.IntArg
	input       ops.Tensor
	probability ops.Tensor
}

// New makes a network with Glorot-uniform weights (Glorot and Bengio 2010) and zero biases.
func New(rt *runtime.Runtime, c Config) (*Model, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	rt, err := rt.Place("mlp", func(rt *runtime.Runtime) error {
		m, err := build(rt, c)
		if err != nil {
			return err
		}
		defer m.Close()
		t, err := m.newTrainer()
		t.close()
		return err
	})
	if err != nil {
		return nil, err
	}
	m, err := build(rt, c)
	if err != nil {
		return nil, err
	}
	if err := m.initialise(); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// build makes a network whose parameters are zero.
func build(rt *runtime.Runtime, c Config) (*Model, error) {
	m := &Model{Config: c, rt: rt, turn: make(chan struct{}, 1)}
	segment := ops.NewSegment("parameters")
	widths := append(append([]int{c.Inputs}, c.Hidden...), c.Classes)
	for i := range widths[1:] {
		m.weights = append(m.weights,
			segment.Add(fmt.Sprintf("layer%d.weight", i), ops.F32, int64(widths[i]), int64(widths[i+1])),
			segment.Add(fmt.Sprintf("layer%d.bias", i), ops.F32, int64(widths[i+1])))
	}
	if err := m.open(segment); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Model) open(segment *ops.Segment) (err error) {
	if m.params, err = m.rt.Allocate(segment); err != nil {
		return err
	}
	if m.session, err = m.rt.NewSession(); err != nil {
		return err
	}
	g := ops.NewGraph()
	m.batch = g.IntArg("batch", 0, int64(m.Config.MaxBatch))
	m.input = g.Input("x", ops.F32, ops.Shape{m.batch.Of(1), ops.N(int64(m.Config.Inputs))})
	m.probability = ops.Softmax(m.logits(g, m.input))
	g.Output(m.probability)
	if m.predict, err = m.rt.Compile(g, "mlp predict"); err != nil {
		return err
	}
	m.binding, err = m.session.Bind(m.predict, m.params)
	return err
}

// logits records the network.
func (m *Model) logits(g *ops.Graph, x ops.Tensor) ops.Tensor {
	for i := 0; i < len(m.weights); i += 2 {
		o := ops.MatMulOptions{Bias: g.Use(m.weights[i+1])}
		if i+2 < len(m.weights) {
			o.Activation = ops.Activation{Kind: ops.ActReLU}
		}
		x = ops.MatMul(x, g.Use(m.weights[i]), o)
	}
	return x
}

func (m *Model) initialise() error {
	r := rand.New(rand.NewPCG(m.Config.Seed, 1))
	for i := 0; i < len(m.weights); i += 2 {
		w := m.weights[i]
		limit := math.Sqrt(6 / float64(w.Dims[0]+w.Dims[1]))
		values := make([]float32, w.Count())
		for k := range values {
			values[k] = float32(limit * (2*r.Float64() - 1))
		}
		if err := m.params.Write(w, values); err != nil {
			return err
		}
	}
	return nil
}

// Close waits for the batch under way and frees the model.
func (m *Model) Close() {
	m.turn <- struct{}{}
	defer m.next()
	if m.session != nil {
		m.session.Close()
	}
	if m.predict != nil {
		m.predict.Close()
	}
	if m.params != nil {
		m.params.Close()
	}
}

// PredictInto fills probabilities [rows x Classes] for features x [rows x Inputs], both row-major. After the first
// call it allocates nothing.
func (m *Model) PredictInto(ctx context.Context, probabilities, x []float32) error {
	in, out := m.Config.Inputs, m.Config.Classes
	rows := len(x) / in
	if len(x) != rows*in || len(probabilities) != rows*out {
		return fmt.Errorf("mlp: %d features are not rows of %d, or do not match %d probabilities of %d classes", len(x), in, len(probabilities), out)
	}
	for at := 0; at < rows; at += m.Config.MaxBatch {
		n := min(m.Config.MaxBatch, rows-at)
		if err := m.predictBatch(ctx, probabilities[at*out:(at+n)*out], x[at*in:(at+n)*in]); err != nil {
			return err
		}
	}
	return nil
}

func (m *Model) predictBatch(ctx context.Context, probabilities, x []float32) error {
	if err := m.wait(ctx); err != nil {
		return err
	}
	defer m.next()
	m.binding.SetInt(m.batch, int64(len(x)/m.Config.Inputs))
	if err := m.binding.Write(m.input, x); err != nil {
		return err
	}
	if err := m.binding.Run(ctx); err != nil {
		return err
	}
	return m.binding.Read(m.probability, probabilities)
}

// wait takes the caller's turn, unless ctx ends before.
func (m *Model) wait(ctx context.Context) error {
	select {
	case m.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return &runtime.Error{Op: "mlp", Kind: runtime.ErrCancelled, Detail: "while others used the model", Cause: ctx.Err()}
	}
}

func (m *Model) next() { <-m.turn }

// Accuracy is the share of rows whose most probable class is the label.
func (m *Model) Accuracy(ctx context.Context, x []float32, labels []int32) (float64, error) {
	p := make([]float32, len(labels)*m.Config.Classes)
	if err := m.PredictInto(ctx, p, x); err != nil {
		return 0, err
	}
	right := 0
	for i, label := range labels {
		row := p[i*m.Config.Classes : (i+1)*m.Config.Classes]
		best := 0
		for c := range row {
			if row[c] > row[best] {
				best = c
			}
		}
		if int32(best) == label {
			right++
		}
	}
	return float64(right) / float64(len(labels)), nil
}

// TrainOptions steer Train.
type TrainOptions struct {
	Epochs       int
	LearningRate float64                             // of Adam; 0: 1e-3
	Progress     func(step, steps int, loss float64) // called after every step; may be nil
}

// Train minimises the mean cross-entropy with Adam over shuffled mini-batches. labels are 0 .. Classes-1.
func (m *Model) Train(ctx context.Context, x []float32, labels []int32, o TrainOptions) (err error) {
	rows, in := len(labels), m.Config.Inputs
	if rows == 0 || len(x) != rows*in {
		return fmt.Errorf("mlp: %d features for %d rows of %d", len(x), rows, in)
	}
	for i, label := range labels {
		if label < 0 || int(label) >= m.Config.Classes {
			return fmt.Errorf("mlp: label %d of row %d is outside 0 to %d", label, i, m.Config.Classes-1)
		}
	}
	if o.LearningRate == 0 {
		o.LearningRate = 1e-3
	}
	t, err := m.newTrainer()
	if err != nil {
		return err
	}
	defer t.close()
	r := rand.New(rand.NewPCG(m.Config.Seed, 2))
	batch := min(m.Config.MaxBatch, rows)
	steps := o.Epochs * ((rows + batch - 1) / batch)
	bx, by := make([]float32, batch*in), make([]int32, batch)
	step := 0
	for range o.Epochs {
		order := r.Perm(rows)
		for at := 0; at < rows; at += batch {
			n := min(batch, rows-at)
			for i, row := range order[at : at+n] {
				copy(bx[i*in:], x[row*in:(row+1)*in])
				by[i] = labels[row]
			}
			if err := m.wait(ctx); err != nil {
				return err
			}
			loss, err := t.step(ctx, bx[:n*in], by[:n], o.LearningRate)
			m.next()
			if err != nil {
				return err
			}
			if step++; o.Progress != nil {
				o.Progress(step, steps, loss)
			}
		}
	}
	return nil
}

// trainer is a model's training plan with its optimiser, in a session of its own.
type trainer struct {
	session *runtime.Session
	adam    *optim.Adam
	plan    *runtime.Plan
	binding *runtime.Binding
	batch   ops.IntArg
	inverse ops.FloatArg
	x, y    ops.Tensor
	loss    ops.Tensor
}

func (m *Model) newTrainer() (t *trainer, err error) {
	t = &trainer{}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if t.session, err = m.rt.NewSession(); err != nil {
		return t, err
	}
	if t.adam, err = optim.NewAdam(m.rt, t.session, m.params, optim.AdamConfig{}); err != nil {
		return t, err
	}
	g := ops.NewGraph()
	t.batch = g.IntArg("batch", 1, int64(m.Config.MaxBatch))
	t.inverse = g.FloatArg("1/batch")
	t.x = g.Input("x", ops.F32, ops.Shape{t.batch.Of(1), ops.N(int64(m.Config.Inputs))})
	t.y = g.Input("label", ops.I32, ops.Shape{t.batch.Of(1)})
	sum := ops.Sum(ops.CrossEntropy(m.logits(g, t.x), t.y))
	t.loss = ops.Mul(sum, ops.FullOf(g, ops.F32, t.inverse.Of(1), sum.Shape()))
	g.Output(t.loss)
	var weights []ops.Tensor
	for _, w := range m.weights {
		weights = append(weights, g.Use(w))
	}
	for i, d := range ops.Gradients(t.loss, weights...) {
		ops.StoreInto(m.weights[i].Twin(t.adam.Grads), d)
	}
	if t.plan, err = m.rt.Compile(g, "mlp train"); err != nil {
		return t, err
	}
	t.binding, err = t.session.Bind(t.plan, m.params, t.adam.GradMemory())
	return t, err
}

func (t *trainer) step(ctx context.Context, x []float32, y []int32, rate float64) (float64, error) {
	t.binding.SetInt(t.batch, int64(len(y)))
	t.binding.SetFloat(t.inverse, 1/float64(len(y)))
	if err := errors.Join(t.binding.Write(t.x, x), t.binding.WriteInt32(t.y, y)); err != nil {
		return 0, err
	}
	if err := t.binding.Run(ctx); err != nil {
		return 0, err
	}
	var loss [1]float32
	if err := t.binding.Read(t.loss, loss[:]); err != nil {
		return 0, err
	}
	if v := float64(loss[0]); math.IsNaN(v) || math.IsInf(v, 0) {
		return v, fmt.Errorf("mlp: the loss is %v; a smaller learning rate or cleaner features are needed", v)
	}
	return float64(loss[0]), t.adam.Step(rate)
}

func (t *trainer) close() {
	if t.session != nil {
		t.session.Close()
	}
	if t.adam != nil {
		t.adam.Close()
	}
	if t.plan != nil {
		t.plan.Close()
	}
}

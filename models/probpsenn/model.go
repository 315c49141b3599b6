package probpsenn

import (
	"fmt"
	"math/rand/v2"

	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime"
)

// side is the height and width that pictures are resized to.
const side = 32

// A Model is a classifier with its parameters on a device. Load or Train make one. Prediction is safe for concurrent
// use; see Predictor.
type Model struct {
	Config      Config
	Calibration *Calibration // nil before Calibrate: no percentiles and no verdicts then
	History     []EpochStats
	Examples    *Examples // nearest training examples of the prototypes; nil if none were looked for

	rt         *runtime.Runtime
	declared   *declaration
	encoder    network
	prototypes *prototypes
	head       *ops.Var // W [K, C]
	params     *runtime.Memory
	stats      *runtime.Memory
}

// EpochStats are the mean loss terms of one epoch of training.
type EpochStats struct {
	Phase          string  `json:"phase"` // "pretrain", "joint"
	Epoch          int     `json:"epoch"` // from 1, within the phase
	Loss           float64 `json:"loss"`
	NLL            float64 `json:"nll"`
	Reconstruction float64 `json:"reconstruction"`
	Interpretation float64 `json:"interpretation"`
	KL             float64 `json:"kl"`
}

// newModel declares the network of a configuration, allocates it and gives every variable its initial value.
func newModel(rt *runtime.Runtime, c Config) (*Model, error) {
	m, err := declareModel(rt, c)
	if err != nil {
		return nil, err
	}
	if err := m.place(true); err != nil {
		return nil, err
	}
	if err := m.allocate(); err != nil {
		return nil, err
	}
	for _, memory := range []*runtime.Memory{m.params, m.stats} {
		for _, v := range memory.Segment.Vars() {
			if err := memory.Write(v, m.declared.values(v)); err != nil {
				m.Close()
				return nil, err
			}
		}
	}
	return m, nil
}

// declareModel is a model without memory.
func declareModel(rt *runtime.Runtime, c Config) (*Model, error) {
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("prob-psenn: %w", err)
	}
	m := &Model{Config: c, rt: rt, declared: newDeclaration(&c), encoder: networks[c.Network](), prototypes: &prototypes{}}
	m.encoder.declare(m.declared, &c)
	m.prototypes.declare(m.declared, &c)
	noise := rand.New(rand.NewPCG(c.Seed, 0x4ead))
	m.head = m.declared.param("head.weight", headInitial(&c, noise.Float64), int64(c.prototypes()), int64(c.Classes))
	return m, nil
}

// place chooses the device of a declared model, by what prediction needs and, where asked for, training.
func (m *Model) place(training bool) (err error) {
	m.rt, err = m.rt.Place("prob-psenn", func(rt *runtime.Runtime) error {
		r := &Model{Config: m.Config, rt: rt, declared: m.declared, encoder: m.encoder, prototypes: m.prototypes, head: m.head}
		if err := r.allocate(); err != nil {
			return err
		}
		defer r.Close()
		if training {
			t, err := r.newTrainer()
			if err != nil {
				return err
			}
			t.close()
		}
		p, err := r.NewPredictor(PredictorOptions{})
		if err != nil {
			return err
		}
		p.Close()
		return nil
	})
	return err
}

// Runtime is what the model runs on: see runtime.Place. Sessions for its predictors are made there.
func (m *Model) Runtime() *runtime.Runtime { return m.rt }

// allocate gives a declared model its memory, zeros.
func (m *Model) allocate() (err error) {
	if m.params, err = m.rt.Allocate(m.declared.params); err == nil {
		m.stats, err = m.rt.Allocate(m.declared.stats)
	}
	if err != nil {
		m.Close()
	}
	return err
}

// Close frees the model's memory. Predictors made from it get runtime.ErrClosed from then on.
func (m *Model) Close() {
	for _, memory := range []*runtime.Memory{m.params, m.stats} {
		if memory != nil {
			memory.Close()
		}
	}
}

// InputSize is the number of values of one input.
func (m *Model) inputSize() int { return m.Config.InputSize() }

// hasDecoder reports whether latent vectors can be shown as pictures.
func (m *Model) hasDecoder() bool { return m.Config.Network != "features" }

// input declares the input of n pictures or vectors, and records the pictures at the network's size.
func (m *Model) input(g *ops.Graph, n ops.Int) (input, sized ops.Tensor) {
	c := &m.Config
	if !m.hasDecoder() {
		input = g.Input("features", ops.F32, ops.Shape{n, ops.N(int64(c.Latent))})
		return input, input
	}
	input = g.Input("pictures", ops.F32, ops.Shape{n, ops.N(int64(c.Height)), ops.N(int64(c.Width)), ops.N(int64(c.Channels))})
	if c.Height == side && c.Width == side {
		return input, input
	}
	return input, ops.ResizeBilinear(input, side, side)
}

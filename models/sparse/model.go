package sparse

import (
	"errors"
	"fmt"
	"sync"

	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime"
)

// Options choose how a model runs.
type Options struct {
	// Dense computes every neuron of the feed-forward layers, active or not, with the same operations as for activations
	// that are never zero. It is for comparison: the results are the same.
	Dense bool
}

// A Model is a checkpoint ready to run on a device. Its weights are shared by all its sessions. Its methods may be
// called concurrently.
type Model struct {
	Config Config

	rt         *runtime.Runtime
	checkpoint *Checkpoint
	options    Options
	memories   []*runtime.Memory
	weights    map[string]*ops.Var // by role

	mu       sync.Mutex
	caches   map[cacheShape]*cache
	sessions map[*Session]struct{}
	closed   bool
}

// Load makes a checkpoint ready to run. Matrices stay where they are mapped; vectors are copied as float32, and the
// down matrices of sparse layers are stored transposed once, unless the file has them so. The checkpoint belongs to the
// model from then on, also if loading fails.
func Load(rt *runtime.Runtime, c *Checkpoint, o Options) (*Model, error) {
	m := &Model{Config: c.Config, rt: rt, checkpoint: c, options: o, weights: map[string]*ops.Var{},
		caches: map[cacheShape]*cache{}, sessions: map[*Session]struct{}{}}
	if err := m.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", c.Path, err), m.Close())
	}
	return m, nil
}

// Runtime is what the model runs on.
func (m *Model) Runtime() *runtime.Runtime { return m.rt }

// Checkpoint is the model's files.
func (m *Model) Checkpoint() *Checkpoint { return m.checkpoint }

// Close closes the model's sessions and frees it with its files. Closing twice does nothing.
func (m *Model) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	var sessions []*Session
	for s := range m.sessions {
		sessions = append(sessions, s)
	}
	m.mu.Unlock()
	for _, s := range sessions {
		s.Close()
	}
	for _, c := range m.caches {
		c.close()
	}
	for _, memory := range m.memories {
		memory.Close()
	}
	return m.checkpoint.Close()
}

// load places every tensor.
func (m *Model) load() error {
	p := newPlacement(m.checkpoint)
	for _, w := range m.Config.wants() {
		v, err := p.place(w)
		if err != nil {
			return err
		}
		if v != nil {
			m.weights[w.role] = v
		}
	}
	memories, err := p.bind(m.rt)
	m.memories = append(m.memories, memories...)
	if err != nil {
		return err
	}
	return m.transposeDown(p)
}

// transposeDown gives every sparse layer its down matrix with a row per neuron, so that only active rows are read.
// Quantised matrices become f16 in this: quantising again along the other axis would round a second time.
func (m *Model) transposeDown(p *placement) error {
	if !m.sparse() {
		return nil
	}
	segment, g := ops.NewSegment("transposed"), ops.NewGraph()
	for n := range m.Config.Layers {
		role := block(n, "ffn_down_t.weight")
		if v := p.transposed[n]; v != nil {
			m.weights[role] = v
			continue
		}
		down := m.weights[block(n, "ffn_down.weight")]
		t, x := down.DType, g.Use(down)
		if t.Block() > 1 {
			t, x = ops.F16, ops.Cast(x, ops.F32)
		}
		m.weights[role] = segment.Add(role, t, down.Dims[1], down.Dims[0])
		ops.Assign(g.Use(m.weights[role]), ops.Transpose(x))
	}
	if segment.Bytes() == 0 {
		return nil
	}
	memory, err := m.rt.Allocate(segment)
	if err != nil {
		return err
	}
	m.memories = append(m.memories, memory)
	plan, err := m.rt.Compile(g, "transpose")
	if err != nil {
		return err
	}
	defer plan.Close()
	session, err := m.rt.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	binding, err := session.Bind(plan, m.memories...)
	if err != nil {
		return err
	}
	return binding.RunUncancelled()
}

// sparse reports whether feed-forward layers skip inactive neurons.
func (m *Model) sparse() bool {
	return !m.options.Dense && zeroes(m.Config.Activation) && !(m.Config.Gated() && m.Config.FFNBias)
}

// zeroes reports whether an activation is exactly zero for many inputs.
func zeroes(a ops.Activation) bool {
	switch a.Kind {
	case ops.ActReLU, ops.ActFATReLU, ops.ActShiftedReLU, ops.ActReLUSquared:
		return true
	}
	return false
}

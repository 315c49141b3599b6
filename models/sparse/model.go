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
	// Dense reads every neuron of the feed-forward layers, active or not. It is for comparison: the results are the same,
	// to the bit.
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
// down matrices are stored once more if the file has them the other way round than they are read: a row per neuron where
// neurons may be inactive. The checkpoint belongs to the model from then on, also if loading fails.
func Load(rt *runtime.Runtime, c *Checkpoint, o Options) (*Model, error) {
	m := newModel(rt, c, o)
	var err error
	if m.rt, err = rt.Place("lm", func(rt *runtime.Runtime) error { return newModel(rt, c, o).rehearse() }); err == nil {
		err = m.load()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", c.Path, err), m.Close())
	}
	return m, nil
}

func newModel(rt *runtime.Runtime, c *Checkpoint, o Options) *Model {
	return &Model{Config: c.Config, rt: rt, checkpoint: c, options: o, weights: map[string]*ops.Var{},
		caches: map[cacheShape]*cache{}, sessions: map[*Session]struct{}{}}
}

// rehearse makes what generating a text needs, and lets go of it again.
func (m *Model) rehearse() error {
	defer m.free()
	if err := m.load(); err != nil {
		return err
	}
	s, err := m.NewSession(SessionOptions{})
	if err != nil {
		return err
	}
	_, err = s.bind(passNext)
	return err
}

// Runtime is what the model runs on: see runtime.Place.
func (m *Model) Runtime() *runtime.Runtime { return m.rt }

// Checkpoint is the model's files.
func (m *Model) Checkpoint() *Checkpoint { return m.checkpoint }

// Close closes the model's sessions and frees it with its files. Closing twice does nothing.
func (m *Model) Close() error {
	if !m.free() {
		return nil
	}
	return m.checkpoint.Close()
}

// free closes all but the files; false where that was done before.
func (m *Model) free() bool {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return false
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
	return true
}

// load places every tensor.
func (m *Model) load() error {
	p := newPlacement(m.checkpoint)
	for _, w := range m.Config.wants() {
		role, v, err := p.place(w)
		if err != nil {
			return err
		}
		m.weights[role] = v
	}
	memories, err := p.bind(m.rt)
	m.memories = append(m.memories, memories...)
	if err != nil {
		return err
	}
	return m.turnDown()
}

// turnDown gives every layer its down matrix in the way it is read: with a row per neuron where neurons may be inactive,
// so that only active rows are read. Quantised matrices become f16 in this: quantising again along the other axis would
// round a second time.
func (m *Model) turnDown() error {
	segment, g := ops.NewSegment("transposed"), ops.NewGraph()
	for n := range m.Config.Layers {
		role, other := block(n, "ffn_down.weight"), block(n, "ffn_down_t.weight")
		if zeroes(m.Config.Activation) {
			role, other = other, role
		}
		if m.weights[role] != nil {
			continue
		}
		from := m.weights[other]
		t, x := from.DType, g.Use(from)
		if t.Block() > 1 {
			t, x = ops.F16, ops.Cast(x, ops.F32)
		}
		m.weights[role] = segment.Add(role, t, from.Dims[1], from.Dims[0])
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

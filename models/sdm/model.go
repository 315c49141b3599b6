package sdm

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/credence-ml/credence/models/internal/strictjson"
	"github.com/credence-ml/credence/runtime"
)

// A Model scores features, and its support can be edited while it does. It is for any number of goroutines at once.
type Model struct {
	config    Config
	training  *Training         // nil of a model that was loaded
	metadata  strictjson.Object // of the file that it was loaded from
	loaded    string            // its id
	rt        *runtime.Runtime
	n         *network
	scheduler *runtime.Scheduler
	batcher   *runtime.Batcher[[]float32, scored]
	state     atomic.Pointer[state]

	edit sync.Mutex // held by whoever makes a new state
}

// open takes over network, support and engine of a round, and publishes the first state.
func (m *Model) open(r *round, st *state) error {
	rt := r.n.rt
	weights, err := r.n.weights()
	if err != nil {
		return err
	}
	if err := st.identify(m.config, r.n.mean, r.n.deviation, weights, st.records, st.calibration, st.regions); err != nil {
		return err
	}
	n, rows, e := r.keep()
	return m.start(rt, n, rows, e, st)
}

// start publishes the first state. It takes over the last use of rows and engine, also where it fails.
func (m *Model) start(rt *runtime.Runtime, n *network, rows *part, e *engine, st *state) (err error) {
	rows.release() // the engine is its user
	m.rt, m.n = rt, n
	st.engine = e
	st.count()
	m.state.Store(st)
	if m.scheduler, err = rt.NewScheduler(0); err != nil {
		m.Close()
		return err
	}
	m.batcher = runtime.NewBatcher(m.scheduler, maxBatch, m.scoreTogether)
	return nil
}

// assemble makes a model of what a file holds: vectors are those of st's records, which have no classes yet.
func assemble(rt *runtime.Runtime, c Config, mean, deviation float32, weights, vectors []float32, st *state) (*Model, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	rt, err := rt.Place("sdm", func(rt *runtime.Runtime) error { return rehearse(rt, &c, len(st.records)) })
	if err != nil {
		return nil, err
	}
	n, err := newNetwork(rt, &c, mean, deviation)
	if err != nil {
		return nil, err
	}
	m := &Model{config: c, rt: rt, n: n}
	classes := make([]int32, len(st.records))
	for i := range st.records {
		classes[i] = supportClass(st.records[i].Label, st.records[i].Predicted)
	}
	st.classes = [][]int32{classes}
	if err := n.setWeights(weights); err != nil {
		m.Close()
		return nil, err
	}
	rows, err := newPartOf(rt, vectors, c.ExemplarDimension)
	if err != nil {
		m.Close()
		return nil, err
	}
	e, err := newEngine(n, c.MaxNeighbors, rows)
	if err != nil {
		rows.release()
		m.Close()
		return nil, err
	}
	if err := m.start(rt, n, rows, e, st); err != nil {
		return nil, err
	}
	return m, nil
}

// rehearse makes what scoring needs, with so many support rows.
func rehearse(rt *runtime.Runtime, c *Config, support int) error {
	n, err := newNetwork(rt, c, 0, 1)
	if err != nil {
		return err
	}
	defer n.close()
	rows, err := newPart(rt, support, c.ExemplarDimension)
	if err != nil {
		return err
	}
	defer rows.release()
	e, err := newEngine(n, c.MaxNeighbors, rows)
	if err != nil {
		return err
	}
	defer e.release()
	s, err := rt.NewSession()
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = e.bind(s, e.plan)
	return err
}

// Close waits for the rows under way and frees the model.
func (m *Model) Close() {
	m.edit.Lock()
	defer m.edit.Unlock()
	if m.scheduler != nil {
		m.scheduler.Close()
	}
	if st := m.state.Swap(nil); st != nil {
		st.engine.release()
	}
	if m.n != nil {
		m.n.close()
	}
}

// take is the current state with a use of its engine, which the caller releases.
func (m *Model) take() (*state, error) {
	for {
		st := m.state.Load()
		if st == nil {
			return nil, fmt.Errorf("sdm: the model is closed")
		}
		if st.engine.acquire() {
			return st, nil
		}
	}
}

// publish makes st what is scored with from now on.
func (m *Model) publish(st *state) {
	if old := m.state.Swap(st); old.engine != st.engine {
		old.engine.release()
	}
}

// Config describes the model.
func (m *Model) Config() Config {
	c := m.config
	c.AlphaResolution = m.peek().resolution
	return c
}

// Training tells how the model came about; nil where it was loaded.
func (m *Model) Training() *Training { return m.training }

// Runtime is what the model runs on: see runtime.Place.
func (m *Model) Runtime() *runtime.Runtime { return m.rt }

// ID names the model with its support and its regions as they are now.
func (m *Model) ID() string { return m.peek().id }

// peek is the current state for what needs no engine; an empty one after Close.
func (m *Model) peek() *state {
	if st := m.state.Load(); st != nil {
		return st
	}
	return &state{}
}

// Regions are where predictions are accepted, by descending alpha. The slice is not to be written to.
func (m *Model) Regions() []Region { return m.peek().regions }

// CalibrationStale reports whether the support was edited after the calibration: what the regions promise was estimated
// with another support. Recalibrate ends it.
func (m *Model) CalibrationStale() bool { return m.peek().stale }

// CalibrationRows are the stored calibration rows. The slice is not to be written to.
func (m *Model) CalibrationRows() []CalibrationRow { return m.peek().calibration }

// Support lists the support rows in their order.
func (m *Model) Support() []Record { return m.peek().present() }

// bind is the session's binding of the engine; that of an engine from before an edit is closed.
func (m *Model) bind(s *runtime.Session, e *engine) (*bound, error) {
	v, err := s.Cached(m, func() (any, error) { return &bound{}, nil })
	if err != nil {
		return nil, err
	}
	b := v.(*bound)
	if b.engine == e {
		return b, nil
	}
	binding, err := e.bind(s, e.plan)
	if err != nil {
		return nil, err
	}
	if b.binding != nil {
		b.binding.Close()
	}
	*b = bound{engine: e, binding: binding}
	return b, nil
}

// match runs rows x past the support of st, in a session of the scheduler for each submission.
func (m *Model) match(ctx context.Context, st *state, x []float32, exclude []int32) (*matches, error) {
	c := &m.config
	all := newMatches(len(exclude), c.Classes)
	for at := 0; at < len(exclude); at += maxBatch {
		end := min(at+maxBatch, len(exclude))
		err := m.scheduler.Do(ctx, func(ctx context.Context, s *runtime.Session) error {
			b, err := m.bind(s, st.engine)
			if err != nil {
				return err
			}
			return st.engine.run(ctx, b, all.slice(at, end, c.Classes), x[at*c.Dimension:end*c.Dimension], exclude[at:end], st.classes)
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

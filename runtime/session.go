package runtime

import (
	"context"
	"fmt"
	"sync"
	"unsafe"

	"github.com/credence-ml/credence/ops"
)

// A Session runs plans one after the other in one arena. It is not for concurrent use: a second caller gets ErrBusy. A
// Scheduler shares sessions among goroutines.
type Session struct {
	rt      *Runtime
	stream  stream
	mu      sync.Mutex // held while a run or a copy is under way
	arena   buffer
	owner   *Binding // whose inputs and outputs the arena holds
	bound   []*Binding
	cached  map[any]any
	tag     uint64
	watcher *watcher
	closed  bool
}

// NewSession opens a session. Its arena grows to the largest plan bound.
func (rt *Runtime) NewSession() (*Session, error) {
	if err := rt.enter(); err != nil {
		return nil, err
	}
	defer rt.leave()
	s, err := rt.dev.openStream()
	if err != nil {
		return nil, err
	}
	session := &Session{rt: rt, stream: s, cached: map[any]any{}}
	live.streams.Add(1)
	live.sessions.Add(1)
	rt.adopt(session)
	return session, nil
}

// Close waits for the current run and frees the session with all that was bound in it. Closing twice does nothing.
func (s *Session) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	if s.watcher != nil {
		s.watcher.close()
	}
	s.stream.close()
	for _, b := range s.bound {
		b.releaseAll()
	}
	s.bound = nil // a binding closed later must not let go a second time
	if s.arena != nil {
		s.rt.release(s.arena)
	}
	live.streams.Add(-1)
	live.sessions.Add(-1)
	s.rt.disown(s)
}

// Cached is the value made for key in this session, made on the first call: where a model keeps its bindings.
func (s *Session) Cached(key any, make func() (any, error)) (any, error) {
	if v, ok := s.cached[key]; ok {
		return v, nil
	}
	v, err := make()
	if err == nil {
		s.cached[key] = v
	}
	return v, err
}

// moved owns an arena that took the place of another.
var moved = &Binding{}

// A Binding is a plan with the memory of its segments and the values of its arguments, in one session.
type Binding struct {
	s        *Session
	plan     *Plan
	memories []*Memory
	slots    []slot
	ints     []int64
	floats   []float64
	closed   bool
}

// Bind joins a plan with memory for each of its segments, in any order. Integer arguments start at their maximum.
func (s *Session) Bind(p *Plan, memories ...*Memory) (*Binding, error) {
	if !s.mu.TryLock() {
		return nil, newError("bind "+p.name, ErrBusy, "the session is running")
	}
	defer s.mu.Unlock()
	if s.closed {
		return nil, newError("bind "+p.name, ErrClosed, "session")
	}
	if p.rt != s.rt {
		return nil, newError("bind "+p.name, ErrInvalidArgument, "the plan belongs to another runtime")
	}
	b := &Binding{s: s, plan: p, slots: make([]slot, len(p.program.SlotBytes)), floats: make([]float64, len(p.program.FloatNames))}
	for _, r := range p.program.IntRange {
		b.ints = append(b.ints, r[1])
	}
	if !p.refs.acquire() {
		return nil, newError("bind "+p.name, ErrClosed, "plan")
	}
	if p.constant != nil {
		b.slots[p.program.ConstSlot].b = p.constant
	}
	for i, seg := range p.program.Segments {
		for _, m := range memories {
			if m.Segment == seg && m.rt == s.rt {
				if !m.refs.acquire() {
					b.releaseAll()
					return nil, newError("bind "+p.name, ErrClosed, "segment "+seg.Name)
				}
				b.memories = append(b.memories, m)
				b.slots[p.program.FirstSegment+i].b = m.buffer
				break
			}
		}
		if b.slots[p.program.FirstSegment+i].b == nil {
			b.releaseAll()
			return nil, newError("bind "+p.name, ErrInvalidArgument, "no memory was given for segment "+seg.Name)
		}
	}
	if s.arena == nil || s.arena.size() < p.Peak() {
		// a little room even for plans without temporaries: a slot is never empty
		arena, err := s.rt.alloc(max(p.Peak(), ops.Align))
		if err != nil {
			b.releaseAll()
			return nil, fmt.Errorf("bind %s: arena of %d bytes: %w", p.name, p.Peak(), err)
		}
		if s.arena != nil {
			if err := s.stream.wait(); err != nil { // inputs may still be on their way to it
				s.rt.release(arena)
				b.releaseAll()
				return nil, fmt.Errorf("bind %s: %w", p.name, err)
			}
			s.rt.release(s.arena)
			if s.owner != nil {
				s.owner = moved // what was written or computed is gone
			}
		}
		s.arena = arena
		for _, other := range s.bound {
			other.slots[0].b = arena
		}
	}
	b.slots[0].b = s.arena
	s.bound = append(s.bound, b)
	return b, nil
}

// Close takes the binding out of its session. Closing twice does nothing; closing the session closes its bindings too.
func (b *Binding) Close() {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	for i, other := range b.s.bound {
		if other == b {
			b.s.bound = append(b.s.bound[:i], b.s.bound[i+1:]...)
			if b.s.owner == b {
				b.s.owner = nil
			}
			b.closed = true
			b.releaseAll()
			return
		}
	}
}

func (b *Binding) releaseAll() {
	for _, m := range b.memories {
		m.refs.release()
	}
	b.memories = nil
	b.plan.refs.release()
}

// SetInt gives an integer argument its value for the next runs; its range is checked then.
func (b *Binding) SetInt(a ops.IntArg, v int64) { b.ints[a-1] = v }

// SetFloat gives a scalar argument its value for the next runs.
func (b *Binding) SetFloat(a ops.FloatArg, v float64) { b.floats[a-1] = v }

// Write fills a float32 input. len(values) must be the input's size under the current arguments.
func (b *Binding) Write(t ops.Tensor, values []float32) error {
	return b.move(t, ops.F32, bytesOf(values), len(values), true)
}

// WriteInt32 fills an int32 input.
func (b *Binding) WriteInt32(t ops.Tensor, values []int32) error {
	return b.move(t, ops.I32, bytesOf(values), len(values), true)
}

// Read loads a float32 output of the last run.
func (b *Binding) Read(t ops.Tensor, values []float32) error {
	return b.move(t, ops.F32, bytesOf(values), len(values), false)
}

// ReadInt32 loads an int32 output of the last run.
func (b *Binding) ReadInt32(t ops.Tensor, values []int32) error {
	return b.move(t, ops.I32, bytesOf(values), len(values), false)
}

func bytesOf[T float32 | int32](v []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}

func (b *Binding) move(t ops.Tensor, want ops.DType, data []byte, n int, write bool) error {
	s := b.s
	if !s.mu.TryLock() {
		return newError(b.plan.name, ErrBusy, "the session is running")
	}
	defer s.mu.Unlock()
	if err := b.usable(); err != nil {
		return err
	}
	at, ok := b.plan.program.Places[t]
	if !ok {
		return newError(b.plan.name, ErrInvalidArgument, t.String()+" is not an input or output of the plan")
	}
	if at.DType != want {
		return newError(b.plan.name, ErrInvalidArgument, fmt.Sprintf("%v holds %v, not %v", t, at.DType, want))
	}
	size := int64(1)
	for k := range at.Shape {
		d := at.Shape[k].At(b.ints)
		size *= d
	}
	if size != int64(n) {
		return newError(b.plan.name, ErrInvalidArgument, fmt.Sprintf("%v has %d elements under the current arguments %v, %d were given", t, size, b.ints, n))
	}
	if !at.Dense(b.ints) {
		return newError(b.plan.name, ErrInvalidArgument, t.String()+" is a strided view; make it Contiguous in the graph")
	}
	offset := at.Base + at.Offset.At(b.ints)
	if write {
		s.owner = b
		return s.stream.write(b.slots[at.Slot].b, offset, data)
	}
	if s.owner != b {
		return newError(b.plan.name, ErrInvalidArgument, "another plan has run in the session since; read outputs before")
	}
	return s.stream.read(data, b.slots[at.Slot].b, offset)
}

func (b *Binding) usable() error {
	if b.s.closed || b.closed {
		return newError(b.plan.name, ErrClosed, "session")
	}
	if b.plan.refs.closed.Load() {
		return newError(b.plan.name, ErrClosed, "plan")
	}
	for _, m := range b.memories {
		if m.refs.closed.Load() {
			return newError(b.plan.name, ErrClosed, "segment "+m.Segment.Name)
		}
	}
	return nil
}

// Kept reports whether the inputs written so far are still there: no other plan has used the session since.
func (b *Binding) Kept() bool {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	return b.s.owner == b
}

// Run executes the plan and waits for it. When ctx ends first the run stops at the next operation or row tile and
// ctx.Err() is returned; what the plan wrote so far is then undefined, so a plan that updates lasting memory should be
// run with RunUncancelled.
func (b *Binding) Run(ctx context.Context) error { return b.run(ctx) }

// RunUncancelled executes the plan to its end whatever happens to contexts: updates of weights, moments and statistics
// happen together or not at all.
func (b *Binding) RunUncancelled() error { return b.run(nil) }

func (b *Binding) run(ctx context.Context) error {
	s := b.s
	if !s.mu.TryLock() {
		return newError(b.plan.name, ErrBusy, "the session is running")
	}
	defer s.mu.Unlock()
	if err := b.usable(); err != nil {
		return err
	}
	if s.owner != b {
		if s.owner != nil && b.plan.program.HasInputs {
			return newError(b.plan.name, ErrInvalidArgument, "another plan has used the session since the inputs were written; write them again")
		}
		s.owner = b
	}
	if ctx != nil {
		if err := ctx.Err(); err != nil {
			return cancelled(b.plan.name, ctx)
		}
	}
	s.tag++
	watched := ctx != nil && ctx.Done() != nil
	if watched {
		if s.watcher == nil {
			s.watcher = newWatcher(s.stream)
		}
		s.watcher.begin(ctx.Done(), s.tag)
	}
	var err error
	if b.plan.singles != nil {
		err = b.runValidated(ctx)
	} else {
		err = s.stream.run(b.plan.native, s.tag, b.slots, b.ints, b.floats)
	}
	if watched {
		s.watcher.end()
		if err != nil && ctx.Err() != nil {
			return cancelled(b.plan.name, ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", b.plan.name, err)
	}
	return nil
}

// watcher is the one goroutine of a session that turns the end of a context into a cancelled submission. begin and end
// are handshakes: after end it can no longer cancel anything.
type watcher struct {
	start chan watch
	stop  chan struct{}
}

type watch struct {
	done <-chan struct{}
	tag  uint64
}

func newWatcher(s stream) *watcher {
	w := &watcher{start: make(chan watch), stop: make(chan struct{})}
	go func() {
		for job := range w.start {
			select {
			case <-job.done:
				s.cancel(job.tag)
				<-w.stop
			case <-w.stop:
			}
		}
		close(w.stop)
	}()
	return w
}

func (w *watcher) begin(done <-chan struct{}, tag uint64) { w.start <- watch{done, tag} }
func (w *watcher) end()                                   { w.stop <- struct{}{} }

// close ends the goroutine and waits for it.
func (w *watcher) close() {
	close(w.start)
	<-w.stop
}

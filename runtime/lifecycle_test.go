package runtime

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/ops"
)

// doubler is a small plan: y = 2 x for a batch of rows, with a variable added.
type doubler struct {
	batch ops.IntArg
	x, y  ops.Tensor
	v     *ops.Var
	g     *ops.Graph
}

func newDoubler() *doubler {
	d := &doubler{g: ops.NewGraph()}
	d.v = ops.NewSegment("weights").Add("v", ops.F32, 3)
	d.batch = d.g.IntArg("batch", 0, 64)
	d.x = d.g.Input("x", ops.F32, ops.Shape{d.batch.Of(1), ops.N(3)})
	d.y = ops.Add(ops.Add(d.x, d.x), d.g.Use(d.v))
	d.g.Output(d.y)
	return d
}

func (d *doubler) bind(t *testing.T, rt *Runtime) (*Plan, *Memory, *Session, *Binding) {
	p, err := rt.Compile(d.g, "doubler")
	require.NoError(t, err)
	m, err := rt.Allocate(d.v.Segment)
	require.NoError(t, err)
	require.NoError(t, m.Write(d.v, []float32{1, 2, 3}))
	s, err := rt.NewSession()
	require.NoError(t, err)
	b, err := s.Bind(p, m)
	require.NoError(t, err)
	return p, m, s, b
}

func (d *doubler) run(b *Binding, x []float32) ([]float32, error) {
	b.SetInt(d.batch, int64(len(x)/3))
	if err := b.Write(d.x, x); err != nil {
		return nil, err
	}
	if err := b.Run(context.Background()); err != nil {
		return nil, err
	}
	y := make([]float32, len(x))
	return y, b.Read(d.y, y)
}

func eachDevice(t *testing.T, f func(t *testing.T, device string)) {
	for _, d := range testDevices(t) {
		t.Run(d, func(t *testing.T) { f(t, d) })
	}
}

func TestRunAndBatchArgument(t *testing.T) {
	eachDevice(t, func(t *testing.T, device string) {
		rt := openTest(t, on(device))
		d := newDoubler()
		_, _, _, b := d.bind(t, rt)
		for _, x := range [][]float32{{1, 2, 3}, {1, 2, 3, 4, 5, 6}, {}} {
			y, err := d.run(b, x)
			require.NoError(t, err)
			for i := range x {
				assert.Equal(t, 2*x[i]+float32(i%3+1), y[i])
			}
		}
		b.SetInt(d.batch, 65)
		assert.ErrorIs(t, b.Run(context.Background()), ErrInvalidArgument)
		b.SetInt(d.batch, 2)
		assert.ErrorIs(t, b.Write(d.x, make([]float32, 5)), ErrInvalidArgument)
		assert.ErrorIs(t, b.WriteInt32(d.x, make([]int32, 6)), ErrInvalidArgument)
	})
}

func TestUseAfterCloseAndDoubleClose(t *testing.T) {
	eachDevice(t, func(t *testing.T, device string) {
		closers := map[string]func(rt *Runtime, p *Plan, m *Memory, s *Session){
			"plan":    func(_ *Runtime, p *Plan, _ *Memory, _ *Session) { p.Close(); p.Close() },
			"memory":  func(_ *Runtime, _ *Plan, m *Memory, _ *Session) { m.Close(); m.Close() },
			"session": func(_ *Runtime, _ *Plan, _ *Memory, s *Session) { s.Close(); s.Close() },
			"runtime": func(rt *Runtime, _ *Plan, _ *Memory, _ *Session) { rt.Close(); rt.Close() },
		}
		for name, close := range closers {
			t.Run(name, func(t *testing.T) {
				rt := openTest(t, on(device))
				d := newDoubler()
				p, m, s, b := d.bind(t, rt)
				close(rt, p, m, s)
				_, err := d.run(b, []float32{1, 2, 3})
				assert.ErrorIs(t, err, ErrClosed)
				if name == "runtime" {
					_, err = rt.Compile(newDoubler().g, "late")
					assert.ErrorIs(t, err, ErrClosed)
					_, err = rt.NewSession()
					assert.ErrorIs(t, err, ErrClosed)
				} else if name != "session" {
					_, err = s.Bind(p, m)
					assert.ErrorIs(t, err, ErrClosed)
				}
			})
		}
	})
}

// heavy is a plan long enough to be cancelled on the way.
func heavy(t *testing.T, rt *Runtime, n int64) (*Session, *Binding, ops.Tensor) {
	g := ops.NewGraph()
	x := g.Input("x", ops.F32, ops.Dims(n, n))
	y := x
	for range 50 {
		y = ops.Mul(ops.MatMul(y, x, ops.MatMulOptions{}), ops.Full(g, ops.F32, 0.5, ops.Dims(1)))
	}
	g.Output(y)
	p, err := rt.Compile(g, "heavy")
	require.NoError(t, err)
	s, err := rt.NewSession()
	require.NoError(t, err)
	b, err := s.Bind(p)
	require.NoError(t, err)
	require.NoError(t, b.Write(x, make([]float32, n*n)))
	return s, b, y
}

func TestCancellation(t *testing.T) {
	eachDevice(t, func(t *testing.T, device string) {
		rt := openTest(t, on(device))
		n := int64(1024)
		if device != "cpu" {
			n = 128
		}
		_, b, _ := heavy(t, rt, n)
		ctx, cancel := context.WithCancelCause(context.Background())
		why := errors.New("the caller went home")
		if device == "cuda" { // what is enqueued there runs to its end, soon
			cancel(why)
			assert.ErrorIs(t, b.Run(ctx), context.Canceled, "a context that has ended never starts")
			return
		}
		go func() {
			time.Sleep(5 * time.Millisecond)
			cancel(why)
		}()
		start := time.Now()
		err := b.Run(ctx)
		assert.ErrorIs(t, err, ErrCancelled)
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorIs(t, err, why)
		t.Logf("returned %v after the start", time.Since(start))
		assert.ErrorIs(t, b.Run(ctx), context.Canceled, "a context that has ended never starts")

		deadline, stop := context.WithTimeout(context.Background(), time.Millisecond)
		defer stop()
		assert.ErrorIs(t, b.Run(deadline), context.DeadlineExceeded)
	})
}

// A cancel that comes late must not hit the next submission.
func TestStaleCancelHitsNothing(t *testing.T) {
	eachDevice(t, func(t *testing.T, device string) {
		rt := openTest(t, on(device))
		d := newDoubler()
		_, _, s, b := d.bind(t, rt)
		for range 200 {
			ctx, cancel := context.WithCancel(context.Background())
			b.SetInt(d.batch, 1)
			require.NoError(t, b.Write(d.x, []float32{1, 2, 3}))
			go cancel()
			if err := b.Run(ctx); err != nil {
				require.ErrorIs(t, err, context.Canceled)
			}
			s.stream.cancel(s.tag)
			_, err := d.run(b, []float32{1, 2, 3})
			require.NoError(t, err)
		}
	})
}

func TestASecondCallerOfASessionIsTold(t *testing.T) {
	eachDevice(t, func(t *testing.T, device string) {
		rt := openTest(t, on(device))
		d := newDoubler()
		_, _, _, b := d.bind(t, rt)
		var busy, right atomic.Int64
		var wg sync.WaitGroup
		for range 1000 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				err := b.Run(context.Background())
				switch {
				case err == nil:
					right.Add(1)
				case errors.Is(err, ErrBusy):
					busy.Add(1)
				default:
					t.Error(err)
				}
			}()
		}
		wg.Wait()
		assert.Equal(t, int64(1000), busy.Load()+right.Load())
		assert.Positive(t, right.Load())
	})
}

// 1,000 goroutines share four sessions, some with a nested call and some that give up; closing happens in the middle.
func TestSchedulerUnderLoad(t *testing.T) {
	eachDevice(t, func(t *testing.T, device string) {
		rt := openTest(t, on(device), WithThreads(2))
		d := newDoubler()
		p, err := rt.Compile(d.g, "doubler")
		require.NoError(t, err)
		m, err := rt.Allocate(d.v.Segment)
		require.NoError(t, err)
		sched, err := rt.NewScheduler(4)
		require.NoError(t, err)
		var wg sync.WaitGroup
		var done atomic.Int64
		for i := range 1000 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				if i%7 == 0 {
					time.AfterFunc(time.Duration(i)*time.Microsecond, cancel)
				}
				err := sched.Do(ctx, func(ctx context.Context, s *Session) error {
					return sched.Do(ctx, func(ctx context.Context, nested *Session) error { // must not wait for a second session
						assert.Same(t, s, nested)
						v, err := nested.Cached(p, func() (any, error) { return nested.Bind(p, m) })
						if err != nil {
							return err
						}
						y, err := d.run(v.(*Binding), []float32{float32(i), 0, 0})
						if err == nil {
							assert.Equal(t, 2*float32(i), y[0])
							done.Add(1)
						}
						return err
					})
				})
				if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
			}()
		}
		wg.Wait()
		assert.Greater(t, done.Load(), int64(500))
		sched.Close()
		sched.Close()
		assert.ErrorIs(t, sched.Do(context.Background(), func(context.Context, *Session) error { return nil }), ErrClosed)
	})
}

func TestBatcherJoinsAndCancelsOnlyWhenAllGo(t *testing.T) {
	rt := openTest(t, WithDevice("go"))
	sched, err := rt.NewScheduler(1)
	require.NoError(t, err)
	defer sched.Close()
	var largest atomic.Int64
	gate := make(chan struct{})
	var once sync.Once
	b := NewBatcher(sched, 16, func(ctx context.Context, _ *Session, in []int, out []int) error {
		once.Do(func() { <-gate }) // the first batch holds the session while the others gather
		if n := int64(len(in)); n > largest.Load() {
			largest.Store(n)
		}
		for i, v := range in {
			out[i] = v * v
		}
		return ctx.Err()
	})
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			v, err := b.Do(context.Background(), i)
			assert.NoError(t, err)
			assert.Equal(t, i*i, v)
		}()
	}
	time.Sleep(50 * time.Millisecond)
	close(gate)
	wg.Wait()
	assert.Equal(t, int64(16), largest.Load())

	// two callers in one batch: the batch lives while one of them waits
	started, outcome := make(chan context.Context, 1), make(chan error, 1)
	waiting := NewBatcher(sched, 2, func(ctx context.Context, _ *Session, in []int, _ []int) error {
		if len(in) == 1 {
			return nil
		}
		started <- ctx
		<-ctx.Done()
		outcome <- ctx.Err()
		return ctx.Err()
	})
	first, leave1 := context.WithCancel(context.Background())
	second, leave2 := context.WithCancel(context.Background())
	hold := make(chan struct{})
	go sched.Do(context.Background(), func(context.Context, *Session) error { <-hold; return nil })
	time.Sleep(10 * time.Millisecond)
	for _, ctx := range []context.Context{first, second} {
		go waiting.Do(ctx, 1)
	}
	time.Sleep(10 * time.Millisecond)
	close(hold)
	ctx := <-started
	leave1()
	select {
	case <-ctx.Done():
		t.Fatal("the batch was cancelled though one caller still waits")
	case <-time.After(20 * time.Millisecond):
	}
	leave2()
	assert.ErrorIs(t, <-outcome, context.Canceled)
}

func TestMemoryLimit(t *testing.T) {
	eachDevice(t, func(t *testing.T, device string) {
		rt := openTest(t, on(device), WithMemoryLimit(1<<20))
		s := ops.NewSegment("big")
		s.Add("v", ops.F32, 1<<20)
		_, err := rt.Allocate(s)
		assert.ErrorIs(t, err, ErrOutOfMemory)
		assert.ErrorContains(t, err, "CREDENCE_MEMORY_LIMIT")
		assert.Zero(t, rt.Allocated())
	})
}

func TestEveryAllocationMayFail(t *testing.T) {
	eachDevice(t, func(t *testing.T, device string) {
		for n := int64(1); ; n++ {
			before := Live()
			f := &Faults{FailAlloc: n}
			err := func() error {
				rt, err := Open(on(device), WithFaults(f))
				if err != nil {
					return err
				}
				defer rt.Close()
				d := newDoubler()
				p, err := rt.Compile(d.g, "doubler")
				if err != nil {
					return err
				}
				m, err := rt.Allocate(d.v.Segment)
				if err != nil {
					return err
				}
				s, err := rt.NewSession()
				if err != nil {
					return err
				}
				b, err := s.Bind(p, m)
				if err != nil {
					return err
				}
				_, err = d.run(b, []float32{1, 2, 3})
				return err
			}()
			assert.Equal(t, before, Live(), "leak when allocation %d fails", n)
			if n > f.Allocations() {
				assert.NoError(t, err)
				assert.Greater(t, n, int64(4))
				return
			}
			require.ErrorIs(t, err, ErrOutOfMemory)
		}
	})
}

func TestDeviceLostIsTyped(t *testing.T) {
	rt := openTest(t, WithDevice("go"), WithFaults(&Faults{FailSubmit: 2}))
	d := newDoubler()
	_, _, _, b := d.bind(t, rt)
	_, err := d.run(b, []float32{1, 2, 3})
	require.NoError(t, err)
	for range 2 {
		_, err = d.run(b, []float32{1, 2, 3})
		assert.ErrorIs(t, err, ErrDeviceLost)
	}
}

// Validation finds what it is meant to find: a device that computes something else.
func TestValidationCatchesAWrongDevice(t *testing.T) {
	d := newDoubler()
	rt := openTest(t, WithDevice("go"), WithValidate(true))
	rt.dev = wrongDevice{rt.dev}
	p, err := rt.Compile(d.g, "doubler")
	require.NoError(t, err)
	m, err := rt.Allocate(d.v.Segment)
	require.NoError(t, err)
	s, err := rt.NewSession()
	require.NoError(t, err)
	b, err := s.Bind(p, m)
	require.NoError(t, err)
	_, err = d.run(b, []float32{1, 2, 3})
	assert.ErrorContains(t, err, "operation 0, add, on go: result 0: element 0")
}

type wrongDevice struct{ device }

func (w wrongDevice) openStream() (stream, error) {
	s, err := w.device.openStream()
	return wrongStream{s}, err
}

type wrongStream struct{ stream }

func (w wrongStream) run(p devicePlan, tag uint64, slots []slot, ints []int64, floats []float64) error {
	if err := w.stream.run(p, tag, slots, ints, floats); err != nil {
		return err
	}
	out := p.(goPlan).p.Ops[0].Out[0]
	memory := slots[out.Slot].b.host()
	d, err := out.Read(ops.Memory{memory}, ints)
	if err != nil || len(d.Data) == 0 {
		return err
	}
	d.Data[0] = float64(math.Nextafter32(float32(d.Data[0]), 100))
	return out.Write(d, ops.Memory{memory}, ints)
}

// A larger plan that is bound moves the arena: inputs written before are gone, and nobody computes with what lies there.
func TestInputsDoNotSurviveALargerPlan(t *testing.T) {
	eachDevice(t, func(t *testing.T, device string) {
		rt := openTest(t, on(device))
		d := newDoubler()
		_, _, s, b := d.bind(t, rt)
		b.SetInt(d.batch, 1)
		require.NoError(t, b.Write(d.x, []float32{1, 2, 3}))
		assert.True(t, b.Kept())
		g := ops.NewGraph()
		x := g.Input("x", ops.F32, ops.Dims(1<<16))
		g.Output(ops.Sum(x))
		p, err := rt.Compile(g, "large")
		require.NoError(t, err)
		large, err := s.Bind(p)
		require.NoError(t, err)
		assert.False(t, b.Kept())
		assert.ErrorContains(t, b.Run(context.Background()), "write them again")
		assert.Error(t, b.Read(d.y, make([]float32, 3)))
		require.NoError(t, large.Write(x, make([]float32, 1<<16)))
		require.NoError(t, large.Run(context.Background()))
		y, err := d.run(b, []float32{1, 2, 3})
		require.NoError(t, err)
		assert.Equal(t, []float32{3, 6, 9}, y)
		assert.True(t, b.Kept())
	})
}

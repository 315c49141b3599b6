package runtime

import (
	"context"
	"slices"
	"time"

	"github.com/credence-ml/credence/ops"
)

// A Speed is what was measured of a device through this package: enough to say roughly how long a plan takes there.
type Speed struct {
	Submission time.Duration `json:"submission_ns"`           // of a plan of one tiny operation, input written and output read
	Operation  time.Duration `json:"operation_ns"`            // each further tiny operation
	Copy       float64       `json:"copy_bytes_per_second"`   // to the device and back
	Memory     float64       `json:"memory_bytes_per_second"` // read and written by an operation on large tensors
	Cache      float64       `json:"cache_bytes_per_second"`  // the same on tensors that stay in a cache
	Product    float64       `json:"product_flop_per_second"` // float32 matrix products
}

// predictAll is the time of running every program once.
func (s *Speed) predictAll(programs []*ops.Program) time.Duration {
	var t time.Duration
	for _, p := range programs {
		t += s.predict(p)
	}
	return t
}

// predict is the time of one run at the largest arguments, inputs written and outputs read: every operation costs its
// launch and either its memory traffic or its arithmetic, whichever takes longer (Williams et al. 2009, "Roofline").
func (s *Speed) predict(p *ops.Program) time.Duration {
	ints := make([]int64, len(p.IntRange))
	for i, r := range p.IntRange {
		ints[i] = r[1]
	}
	seconds := 0.0
	for k := range p.Ops {
		bytes, flops := work(&p.Ops[k], ints)
		seconds += s.operation(float64(bytes), float64(flops))
	}
	for _, at := range p.Places {
		seconds += float64(touched(&at, ints)) / s.Copy
	}
	return s.Submission + time.Duration(max(len(p.Ops)-1, 0))*s.Operation + time.Duration(seconds*1e9)
}

// cachedBytes is the traffic up to which an operation is taken to find its tensors in a cache.
const cachedBytes = 3 << 18

func (s *Speed) operation(bytes, flops float64) float64 {
	rate := s.Memory
	if bytes <= cachedBytes {
		rate = s.Cache
	}
	return max(bytes/rate, flops/s.Product)
}

// layer predicts one n x n layer on a batch of n rows that come from the host and go back.
func (s *Speed) layer(n float64) time.Duration {
	seconds := s.operation(12*n*n, 2*n*n*n) + 8*n*n/s.Copy
	return s.Submission + time.Duration(seconds*1e9)
}

// Crossover is the least n, in steps of 16, from which a plan of one n x n layer on n rows, which come from the host and
// go back there, is predicted to run faster on a than on b; 0: not up to 4096.
func Crossover(a, b Speed) int {
	from := 0
	for n := 4096; n >= 16 && a.layer(float64(n)) < b.layer(float64(n)); n -= 16 {
		from = n
	}
	return from
}

// trials are the sizes of a measurement.
type trials struct {
	chain    int           // operations in the plans that tell launches and caches
	cached   int64         // elements of a tensor that stays in a cache
	large    int64         // and of one that does not
	products []int64       // n of the n x n products, until one takes as long as enough
	enough   time.Duration // each timing is repeated as long, but three times at least
}

var defaultTrials = trials{chain: 32, cached: cachedBytes / 12, large: 8 << 20, products: []int64{256, 512, 1024, 2048}, enough: 3 * time.Millisecond}

// MeasureSpeed measures the device, which takes a few hundred milliseconds, and keeps the result in the user's cache
// directory for Place.
func (rt *Runtime) MeasureSpeed(ctx context.Context) (Speed, error) {
	s, err := rt.measure(ctx, &defaultTrials)
	if err == nil {
		rt.speedKey().save(s, rt.config.Logger)
	}
	return s, err
}

func (rt *Runtime) measure(ctx context.Context, o *trials) (Speed, error) {
	m := &stopwatch{ctx: ctx, rt: rt, o: o}
	var s Speed
	one := m.chain(1, 16)
	s.Submission = one
	s.Operation = max(0, m.chain(o.chain, 16)-one) / time.Duration(o.chain-1)
	s.Copy, s.Memory = m.large(one)
	// of the chain on cached tensors the launches are known
	each := max(1, (m.chain(o.chain, o.cached)-m.chain(1, o.cached))/time.Duration(o.chain-1)-s.Operation)
	s.Cache = max(s.Memory, float64(8*o.cached)/each.Seconds())
	s.Product = m.product(one)
	return s, m.err
}

// A stopwatch times plans, each in a session of its own, until something fails.
type stopwatch struct {
	ctx context.Context
	rt  *Runtime
	o   *trials
	err error
}

// bind compiles a graph and calls f with it, bound.
func (m *stopwatch) bind(g *ops.Graph, f func(b *Binding) error) {
	if m.err != nil {
		return
	}
	p, err := m.rt.Compile(g, "measure")
	if err != nil {
		m.err = err
		return
	}
	defer p.Close()
	s, err := m.rt.NewSession()
	if err != nil {
		m.err = err
		return
	}
	defer s.Close()
	b, err := s.Bind(p)
	if err == nil {
		err = f(b)
	}
	m.err = err
}

// median times f, after one call that does not count.
func (m *stopwatch) median(f func() error) (time.Duration, error) {
	if err := f(); err != nil {
		return 0, err
	}
	var times []time.Duration
	for start := time.Now(); len(times) < 3 || time.Since(start) < m.o.enough; {
		begin := time.Now()
		if err := f(); err != nil {
			return 0, err
		}
		times = append(times, time.Since(begin))
	}
	slices.Sort(times)
	return max(1, times[len(times)/2]), nil
}

// chain is the time of k operations one after the other on n elements, and of the copies in and out.
func (m *stopwatch) chain(k int, n int64) (t time.Duration) {
	g := ops.NewGraph()
	x := g.Input("x", ops.F32, ops.Dims(n))
	y := x
	for range k {
		y = ops.Affine(y, 1, 1)
	}
	g.Output(y)
	values := make([]float32, n)
	m.bind(g, func(b *Binding) (err error) {
		t, err = m.median(func() error {
			if err := b.Write(x, values); err != nil {
				return err
			}
			if err := b.Run(m.ctx); err != nil {
				return err
			}
			return b.Read(y, values)
		})
		return err
	})
	return t
}

// large is the rate of copies, and of memory in an addition of tensors that no cache holds.
func (m *stopwatch) large(submission time.Duration) (copied, memory float64) {
	g := ops.NewGraph()
	a, b := g.Input("a", ops.F32, ops.Dims(m.o.large)), g.Input("b", ops.F32, ops.Dims(m.o.large))
	y := ops.Add(a, b)
	g.Output(y)
	values := make([]float32, m.o.large)
	for i := range values { // pages that were never written to may all be one
		values[i] = 1
	}
	bytes := float64(4 * m.o.large)
	m.bind(g, func(p *Binding) error {
		run := func() error { return p.Run(m.ctx) }
		there, err := m.median(func() error {
			if err := p.Write(a, values); err != nil {
				return err
			}
			return p.Write(b, values)
		})
		if err != nil {
			return err
		}
		t, err := m.median(run)
		if err != nil {
			return err
		}
		back, err := m.median(func() error { return p.Read(y, values) })
		copied = 3 * bytes / (there + back).Seconds()
		memory = 3 * bytes / max(1, t-submission).Seconds()
		return err
	})
	return copied, memory
}

// product is the best rate of square matrix products.
func (m *stopwatch) product(submission time.Duration) (rate float64) {
	for _, n := range m.o.products {
		g := ops.NewGraph()
		a, b := g.Input("a", ops.F32, ops.Dims(n, n)), g.Input("b", ops.F32, ops.Dims(n, n))
		g.Output(ops.MatMul(a, b, ops.MatMulOptions{}))
		var t time.Duration
		m.bind(g, func(p *Binding) (err error) {
			t, err = m.median(func() error { return p.Run(m.ctx) })
			return err
		})
		if m.err != nil {
			return 0
		}
		rate = max(rate, 2*float64(n*n*n)/max(1, t-submission).Seconds())
		if t >= m.o.enough {
			break
		}
	}
	return rate
}

package sdm

import (
	"context"
	"errors"
	"sync/atomic"
	"unsafe"

	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime"
)

// maxBatch rows go through the adaptor and past the support in one submission.
const maxBatch = 256

// shared frees something when its last user has gone. A snapshot is one user, every submission over it another, so that
// an edit never takes the support away from under a row that is being scored.
type shared struct {
	users atomic.Int64
	free  func()
}

func newShared(free func()) *shared {
	s := &shared{free: free}
	s.users.Store(1)
	return s
}

// acquire fails where the last user has already gone.
func (s *shared) acquire() bool {
	for {
		n := s.users.Load()
		if n == 0 {
			return false
		}
		if s.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (s *shared) release() {
	if s.users.Add(-1) == 0 {
		s.free()
	}
}

// A part is a piece of the support on the device. Its vectors never change.
type part struct {
	*shared
	rows   *ops.Var // [S, M]
	memory *runtime.Memory
}

// newPart takes memory for so many vectors.
func newPart(rt *runtime.Runtime, rows, dimension int) (*part, error) {
	segment := ops.NewSegment("support")
	p := &part{rows: segment.Add("rows", ops.F32, int64(rows), int64(dimension))}
	var err error
	if p.memory, err = rt.Allocate(segment); err != nil {
		return nil, err
	}
	p.shared = newShared(p.memory.Close)
	return p, nil
}

// newPartOf is a part with the given vectors.
func newPartOf(rt *runtime.Runtime, vectors []float32, dimension int) (*part, error) {
	p, err := newPart(rt, len(vectors)/dimension, dimension)
	if err != nil {
		return nil, err
	}
	if err := p.memory.Write(p.rows, vectors); err != nil {
		p.release()
		return nil, err
	}
	return p, nil
}

// read is a copy of the vectors.
func (p *part) read() ([]float32, error) {
	v := make([]float32, p.rows.Count())
	return v, p.memory.Read(p.rows, v)
}

// An engine is the plan that holds features against the support: in one submission the adaptor, and the match of its
// exemplars with all vectors of the parts.
type engine struct {
	*shared
	n     *network
	k     int
	parts []*part
	plan  *runtime.Plan

	batch                        ops.IntArg
	features, exclude            ops.Tensor
	class                        []ops.Tensor // [S] i32 for each part
	logits, q, distance, nearest ops.Tensor

	near nearestPlan
}

// newEngine compiles; it becomes a user of the parts.
func newEngine(n *network, k int, parts ...*part) (*engine, error) {
	e := &engine{n: n, k: k, parts: parts}
	g := ops.NewGraph()
	e.batch = g.IntArg("batch", 0, maxBatch)
	rows := e.batch.Of(1)
	e.features = g.Input("features", ops.F32, ops.Shape{rows, ops.N(n.g.Dims[1])})
	e.exclude = g.Input("excluded row", ops.I32, ops.Shape{rows})
	var support []ops.Support
	for _, p := range parts {
		class := g.Input("class", ops.I32, ops.Dims(p.rows.Dims[0]))
		e.class = append(e.class, class)
		support = append(support, ops.Support{Rows: g.Use(p.rows), Class: class})
	}
	var exemplar ops.Tensor
	exemplar, e.logits = n.forward(g, e.features)
	e.q, e.distance, e.nearest = ops.Match(exemplar, ops.ArgMax(e.logits), e.exclude, ops.N(int64(k)), support...)
	g.Output(e.logits, e.q, e.distance, e.nearest)
	var err error
	if e.plan, err = n.rt.Compile(g, "sdm match"); err != nil {
		return nil, err
	}
	for _, p := range parts {
		p.acquire()
	}
	e.shared = newShared(func() {
		e.plan.Close()
		e.near.close()
		for _, p := range parts {
			p.release()
		}
	})
	return e, nil
}

// bind joins the plan with its memory in a session.
func (e *engine) bind(s *runtime.Session, plan *runtime.Plan) (*runtime.Binding, error) {
	memories := []*runtime.Memory{e.n.params}
	for _, p := range e.parts {
		memories = append(memories, p.memory)
	}
	return s.Bind(plan, memories...)
}

// matches are what a submission finds for its rows.
type matches struct {
	logits   []float32 // [N x C]
	q        []int32
	distance []float32
	nearest  []int32 // number of the row, over all parts
}

func newMatches(rows, classes int) *matches {
	return &matches{make([]float32, rows*classes), make([]int32, rows), make([]float32, rows), make([]int32, rows)}
}

// slice is the rows from at to end.
func (m *matches) slice(at, end, classes int) *matches {
	return &matches{m.logits[at*classes : end*classes], m.q[at:end], m.distance[at:end], m.nearest[at:end]}
}

// A bound is the binding of an engine in a session, with the classes that were written there last: they are as many as
// the support has rows, and mostly stay the same.
type bound struct {
	engine  *engine
	binding *runtime.Binding
	classes [][]int32
}

// write fills in the classes, which are never changed in place, unless they are still there.
func (b *bound) write(classes [][]int32) (err error) {
	kept := b.binding.Kept()
	for i, c := range classes {
		if kept && i < len(b.classes) && unsafe.SliceData(b.classes[i]) == unsafe.SliceData(c) {
			continue
		}
		err = errors.Join(err, b.binding.WriteInt32(b.engine.class[i], c))
	}
	if b.classes = classes; err != nil {
		b.classes = nil
	}
	return err
}

// run fills out for at most maxBatch rows x. classes are those of the rows of every part; exclude names for each
// row of x a row of the support that does not count, or -1.
func (e *engine) run(ctx context.Context, in *bound, out *matches, x []float32, exclude []int32, classes [][]int32) error {
	b := in.binding
	b.SetInt(e.batch, int64(len(exclude)))
	if err := errors.Join(in.write(classes), b.Write(e.features, x), b.WriteInt32(e.exclude, exclude)); err != nil {
		return err
	}
	if err := b.Run(ctx); err != nil {
		return err
	}
	if err := errors.Join(b.Read(e.logits, out.logits), b.ReadInt32(e.q, out.q), b.Read(e.distance, out.distance),
		b.ReadInt32(e.nearest, out.nearest)); err != nil {
		return err
	}
	for i := range out.q {
		out.distance[i] = max(out.distance[i], 0)
		if exclude[i] >= 0 { // the excluded row was one of the K that are looked at
			out.q[i] = min(out.q[i], int32(e.k-1))
		}
	}
	return nil
}

// A projector is the plan that writes exemplars into a part.
type projector struct {
	plan     *runtime.Plan
	binding  *runtime.Binding
	chunk    int
	start    ops.IntArg
	features ops.Tensor
	logits   ops.Tensor
}

func newProjector(n *network, s *runtime.Session, p *part) (*projector, error) {
	// chunks of one size, the last of which begins earlier: a slice must lie within the part at every value of start
	j := &projector{chunk: min(maxBatch, int(p.rows.Dims[0]))}
	size := ops.N(int64(j.chunk))
	g := ops.NewGraph()
	j.start = g.IntArg("start", 0, p.rows.Dims[0]-size.N)
	j.features = g.Input("features", ops.F32, ops.Shape{size, ops.N(n.g.Dims[1])})
	var exemplar ops.Tensor
	exemplar, j.logits = n.forward(g, j.features)
	ops.Assign(ops.Slice(g.Use(p.rows), 0, j.start.Of(1), size), exemplar)
	g.Output(j.logits)
	var err error
	if j.plan, err = n.rt.Compile(g, "sdm project"); err != nil {
		return nil, err
	}
	j.binding, err = s.Bind(j.plan, n.params, p.memory)
	if err != nil {
		j.plan.Close()
		return nil, err
	}
	return j, nil
}

// project fills the part with the exemplars of x, as many rows as it has, and returns their predictions.
func (j *projector) project(ctx context.Context, x []float32, rows, classes int) ([]int32, error) {
	predictions := make([]int32, rows)
	d := len(x) / rows
	z := make([]float32, j.chunk*classes)
	for from := 0; from < rows; from += j.chunk {
		at := min(from, rows-j.chunk)
		j.binding.SetInt(j.start, int64(at))
		if err := j.binding.Write(j.features, x[at*d:(at+j.chunk)*d]); err != nil {
			return nil, err
		}
		if err := j.binding.Run(ctx); err != nil {
			return nil, err
		}
		if err := j.binding.Read(j.logits, z); err != nil {
			return nil, err
		}
		for i := range j.chunk {
			predictions[at+i] = int32(argMax(z[i*classes : (i+1)*classes]))
		}
	}
	return predictions, nil
}

func (j *projector) close() {
	j.binding.Close()
	j.plan.Close()
}

package runtime

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/credence-ml/credence/ops"
)

// An OpTiming is the time of one case of an operation, measured through a session from submission to the end.
type OpTiming struct {
	Op      string        `json:"op"`
	Case    string        `json:"case"`
	Runs    int           `json:"runs"`
	Median  time.Duration `json:"median_ns"`
	Fastest time.Duration `json:"fastest_ns"`
	Bytes   int64         `json:"bytes"`             // read or written, each element of each tensor once
	Flops   int64         `json:"flops,omitempty"`   // of matrix products, convolutions, distances, triangular solves; else 0
	Skipped string        `json:"skipped,omitempty"` // why it was not timed: the device cannot run it
}

// Name is "op/case".
func (t *OpTiming) Name() string { return t.Op + "/" + t.Case }

// GBPerSecond is the rate of memory traffic at the median time, in 10^9 bytes per second.
func (t *OpTiming) GBPerSecond() float64 { return float64(t.Bytes) / float64(t.Median) }

// GFLOPPerSecond is the rate of floating-point operations at the median time, in 10^9 per second.
func (t *OpTiming) GFLOPPerSecond() float64 { return float64(t.Flops) / float64(t.Median) }

// TimeOps times the cases of operations that are large enough, those whose Name match accepts, each for about the time
// given and at least three runs, and reports them one by one. The cases are those that the compliance suite checks.
func (rt *Runtime) TimeOps(ctx context.Context, match func(name string) bool, each time.Duration, report func(OpTiming)) error {
	for _, d := range ops.Defs() {
		for _, c := range d.Cases() {
			t := OpTiming{Op: d.Name, Case: c.Name}
			if !c.Bench || !match(t.Name()) {
				continue
			}
			err := rt.timeCase(ctx, c, each, &t)
			if errors.Is(err, ErrUnsupported) || errors.Is(err, ErrOutOfMemory) {
				t.Skipped, err = reasonOf(err), nil
			}
			if err != nil {
				return err
			}
			report(t)
		}
	}
	return nil
}

func (rt *Runtime) timeCase(ctx context.Context, c ops.Case, each time.Duration, t *OpTiming) error {
	g := ops.NewCaseGraph(1)
	g.Output(c.Record(g)...)
	where, err := g.SimpleLowering() // every tensor has memory of its own, so that the inputs survive a run
	if err != nil {
		return newError(t.Name(), ErrInternal, err.Error())
	}
	p, err := rt.compile(g.Graph, t.Name(), where)
	if err != nil {
		return err
	}
	defer p.Close()
	p.program.Outputs = nil // nobody reads them, so no run need bring them along
	s, err := rt.NewSession()
	if err != nil {
		return err
	}
	defer s.Close()
	b, err := s.Bind(p)
	if err != nil {
		return err
	}
	if err := b.load(g); err != nil {
		return err
	}
	for _, op := range p.program.Ops {
		bytes, flops := work(&op, b.ints)
		t.Bytes += bytes
		t.Flops += flops
	}
	if err := b.Run(ctx); err != nil { // not timed: caches, pages and kernels warm up
		return err
	}
	var times []time.Duration
	for start := time.Now(); len(times) < 3 || time.Since(start) < each; {
		begin := time.Now()
		if err := b.Run(ctx); err != nil {
			return err
		}
		times = append(times, time.Since(begin))
	}
	slices.Sort(times)
	t.Runs, t.Median, t.Fastest = len(times), times[len(times)/2], times[0]
	return nil
}

// load writes a case's inputs and arguments.
func (b *Binding) load(g *ops.CaseGraph) error {
	ints, floats := g.Arguments()
	copy(b.ints, ints)
	copy(b.floats, floats)
	image := make(ops.Memory, len(b.slots))
	image[0] = make([]byte, b.s.arena.size())
	for _, in := range g.Inputs() {
		at := b.plan.program.Places[in.Tensor]
		if err := at.Write(&in.Data, image, ints); err != nil {
			return newError(b.plan.name, ErrInternal, err.Error())
		}
	}
	b.s.owner = b
	return b.s.stream.write(b.s.arena, 0, image[0])
}

// work is the memory that an operation touches and, where its sums of products dominate, the floating-point operations
// of the textbook algorithm: one multiplication and one addition per product.
func work(op *ops.ProgramOp, ints []int64) (bytes, flops int64) {
	for _, list := range [][]ops.Place{op.In, op.Out, op.InOut} {
		for k := range list {
			bytes += touched(&list[k], ints)
		}
	}
	for k := range op.InOut { // read and written
		bytes += touched(&op.InOut[k], ints)
	}
	dims := func(list []ops.Place, k int) []int64 { return list[k].Shape.At(ints) }
	switch op.Def.Opcode {
	case ops.OpMatmul:
		a, y := dims(op.In, 0), dims(op.Out, 0)
		m := max(y[len(y)-2], 1)
		inner := a[len(a)-1] * a[len(a)-2] / m // a is m x inner or, transposed, inner x m
		flops = 2 * product(y) * inner
	case ops.OpLinear:
		flops = 2 * product(dims(op.In, 0)) * dims(op.In, 1)[0]
	case ops.OpConv2d:
		y := dims(op.Out, 0)
		flops = 2 * product(dims(op.In, 1)) * y[0] * y[1] * y[2]
	case ops.OpConv2dGradInput:
		y := dims(op.In, 0)
		flops = 2 * product(dims(op.In, 1)) * y[0] * y[1] * y[2]
	case ops.OpConv2dGradWeight:
		y := dims(op.In, 1)
		flops = 2 * product(dims(op.Out, 0)) * y[0] * y[1] * y[2]
	case ops.OpPairwiseSqdist, ops.OpPairwiseArgMin, ops.OpPairwiseCount:
		x, y := dims(op.In, 0), dims(op.In, 1)
		flops = 3 * product(x) * y[0] // subtract, multiply, add
	case ops.OpMatch:
		for k := 3; k < len(op.In); k += 2 { // a matrix product of the queries and the rows
			flops += 2 * product(dims(op.In, k)) * dims(op.In, 0)[0]
		}
	case ops.OpTriMatmul, ops.OpTriSolve:
		flops = product(dims(op.In, 1)) * dims(op.In, 0)[1] // half of 2 d per element
	}
	return bytes, flops
}

// touched is the memory of a tensor's elements, those that a broadcast repeats counted once.
func touched(p *ops.Place, ints []int64) int64 {
	n := int64(1)
	for k, d := range p.Shape.At(ints) {
		if p.Strides[k] != 0 || d == 0 {
			n *= d
		}
	}
	return p.DType.RowBytes(n)
}

func product(dims []int64) int64 {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	return n
}

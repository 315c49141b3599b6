package runtime

import (
	"context"
	"flag"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/ops"
)

var long = flag.Bool("credence.long", false, "also run the cases that are large enough to time")

// The compliance suite: every case of every operation, forward and gradient, on every device, each operation checked
// element by element against its float64 reference on the device's own inputs; with guard bytes around every tensor and
// outputs poisoned beforehand.
func TestCompliance(t *testing.T) {
	for _, name := range complianceDevices(t) {
		t.Run(name, func(t *testing.T) {
			device, isa, _ := strings.Cut(name, " ")
			if device == "cuda" && testing.Short() {
				t.Skip("the race detector sees nothing of it")
			}
			options := []Option{on(device), WithValidate(true)}
			if isa != "" {
				options = append(options, WithCPUISA(isa))
			}
			rt := openTest(t, options...)
			for _, d := range ops.Defs() {
				for _, c := range d.Cases() {
					if c.Bench && (!*long || name == "go") {
						continue
					}
					t.Run(d.Name+"/"+c.Name, func(t *testing.T) {
						g := ops.NewCaseGraph(11)
						runCase(t, rt, g, withGradients(t, g, c))
					})
				}
			}
		})
	}
}

// complianceDevices are the devices to test on, the CPU with every instruction set that it has.
func complianceDevices(t *testing.T) []string {
	var names []string
	for _, name := range testDevices(t) {
		if name != "cpu" {
			names = append(names, name)
			continue
		}
		for _, isa := range []string{"avx512", "avx2", "generic"} {
			rt, err := Open(WithBackendDir(buildLib()), WithDevice("cpu"), WithCPUISA(isa))
			if err != nil {
				t.Logf("not tested here: %v", err)
				continue
			}
			rt.Close()
			names = append(names, "cpu "+isa)
		}
	}
	return names
}

// withGradients records a case and, unless it is excluded, the gradients of its real outputs; it returns all outputs.
func withGradients(t *testing.T, g *ops.CaseGraph, c ops.Case) []ops.Tensor {
	outs := c.Record(g)
	require.NoError(t, g.Err())
	if c.NoGradient {
		return outs
	}
	var wrt, ys, seeds []ops.Tensor
	for _, in := range g.Inputs() {
		if in.Differentiable {
			wrt = append(wrt, in.Tensor)
		}
	}
	for _, y := range outs {
		if y.DType() == ops.F32 {
			ys, seeds = append(ys, y), append(seeds, g.Frozen(g.NormalOf(ops.F32, y.Shape())))
		}
	}
	if len(ys) == 0 || len(wrt) == 0 {
		return outs
	}
	for _, d := range ops.VectorJacobian(ys, seeds, wrt...) {
		outs = append(outs, ops.Contiguous(d))
	}
	require.NoError(t, g.Err())
	return outs
}

// runCase compiles with gaps between tensors, poisons the arena, runs, and checks that the gaps are untouched.
func runCase(t *testing.T, rt *Runtime, g *ops.CaseGraph, outs []ops.Tensor) []*ops.Dense {
	return runCaseAgain(t, rt, g, outs, 1)[0]
}

// runCaseAgain does so several times with one binding, and returns the outputs of each.
func runCaseAgain(t *testing.T, rt *Runtime, g *ops.CaseGraph, outs []ops.Tensor, times int) (values [][]*ops.Dense) {
	g.Output(outs...)
	roots, err := g.Roots()
	require.NoError(t, err)
	where, used := guardedLowering(roots)
	p, err := rt.compile(g.Graph, "case", where)
	require.NoError(t, err)
	defer p.Close()
	s, err := rt.NewSession()
	require.NoError(t, err)
	defer s.Close()
	b, err := s.Bind(p)
	require.NoError(t, err)
	ints, floats := g.Arguments()
	copy(b.ints, ints)
	copy(b.floats, floats)
	for range times {
		values = append(values, b.runCase(t, g, outs, used))
	}
	return values
}

func (b *Binding) runCase(t *testing.T, g *ops.CaseGraph, outs []ops.Tensor, used func(int64) bool) (values []*ops.Dense) {
	s, places := b.s, b.plan.program.Places
	image := make(ops.Memory, len(b.slots))
	image[0] = make([]byte, s.arena.size())
	for i := range image[0] {
		image[0][i] = 0xff // NaN, and -1 as an index
	}
	for _, in := range g.Inputs() {
		at := places[in.Tensor]
		require.NoError(t, at.Write(&in.Data, image, b.ints))
	}
	require.NoError(t, s.stream.write(s.arena, 0, image[0]))
	s.owner = b
	require.NoError(t, b.Run(context.Background()))
	require.NoError(t, s.stream.read(image[0], s.arena, 0))
	for i, byte := range image[0] {
		if byte != 0xff && !used(int64(i)) {
			t.Fatalf("guard byte %d of the arena was overwritten with %#x", i, byte)
		}
	}
	for _, o := range outs {
		at := places[o]
		if at.Slot != 0 {
			continue // a constant or a variable
		}
		d, err := at.Read(image, b.ints)
		require.NoError(t, err)
		values = append(values, d)
	}
	return values
}

// guardedLowering gives each root its own place with a gap on both sides.
func guardedLowering(roots []ops.Root) (ops.Lowering, func(int64) bool) {
	l := ops.Lowering{Offsets: map[int]int64{}, Arena: ops.Align}
	type extent struct{ from, to int64 }
	var extents []extent
	for _, r := range roots {
		l.Offsets[r.Index] = l.Arena
		extents = append(extents, extent{l.Arena, l.Arena + r.Bytes})
		l.Arena = align(l.Arena+r.Bytes) + ops.Align
	}
	return l, func(at int64) bool {
		for _, e := range extents {
			if at >= e.from && at < e.to {
				return true
			}
		}
		return false
	}
}

// In strict mode the bits do not depend on the number of threads, on memory planning, or on the run.
func TestSameBitsAtAnyThreadCount(t *testing.T) {
	if !nativeAvailable() {
		t.Skip("needs a native device; the pure-Go one has one thread")
	}
	type key struct{ op, name string }
	first := map[key][]*ops.Dense{}
	for _, threads := range []int{1, 2, 5, 2} {
		rt := openTest(t, WithDevice("cpu"), WithThreads(threads))
		for _, d := range ops.Defs() {
			for _, c := range d.Cases() {
				if c.Bench && testing.Short() {
					continue
				}
				g := ops.NewCaseGraph(11)
				got := runCase(t, rt, g, withGradients(t, g, c))
				if want, ok := first[key{d.Name, c.Name}]; ok {
					for i := range want {
						if !assert.True(t, sameBits(want[i].Data, got[i].Data), "%s/%s, output %d with %d threads", d.Name, c.Name, i, threads) {
							break
						}
					}
				} else {
					first[key{d.Name, c.Name}] = got
				}
			}
		}
	}
}

// sameBits compares values; any NaN equals any other.
func sameBits(a, b []float64) bool {
	for i := range a {
		if a[i] != b[i] && !(a[i] != a[i] && b[i] != b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}

// Memory planning: tensors alive at the same time never overlap, and the peak is what was said.
func TestMemoryPlanNeverOverlaps(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		var roots []ops.Root
		n := 1 + r.IntN(60)
		inherited := map[int]bool{} // an operation has one first output, so a tensor has one heir at most
		for i := range n {
			first := r.IntN(40)
			root := ops.Root{Index: i, Bytes: r.Int64N(5000), First: first, Last: first + r.IntN(20), InPlaceOf: -1}
			if i > 0 && r.IntN(3) == 0 {
				if from := roots[r.IntN(i)]; from.Last == first && !inherited[from.Index] {
					root.InPlaceOf, root.Bytes = from.Index, from.Bytes
					inherited[from.Index] = true
				}
			}
			roots = append(roots, root)
		}
		l := planMemory(roots)
		for i, a := range roots {
			require.Zero(t, l.Offsets[a.Index]%ops.Align)
			require.LessOrEqual(t, l.Offsets[a.Index]+a.Bytes, l.Arena)
			for _, b := range roots[:i] {
				if a.Last < b.First || b.Last < a.First || a.InPlaceOf == b.Index && b.Last == a.First {
					continue
				}
				x, y := l.Offsets[a.Index], l.Offsets[b.Index]
				require.True(t, x+a.Bytes <= y || y+b.Bytes <= x || a.Bytes == 0 || b.Bytes == 0, "%v and %v at %d and %d", a, b, x, y)
			}
		}
	}
}

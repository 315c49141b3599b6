package runtime

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/ops"
)

var bench = flag.Bool("credence.bench", false, "print benchmark tables (ci/bench)")

// BenchmarkSubmit is the cost of one submission through Go, cgo and the backend, of plans of tiny operations.
func BenchmarkSubmit(b *testing.B) {
	for _, n := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("%d ops of 16 elements", n), func(b *testing.B) {
			_, binding := tinyPlan(b, n)
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				if err := binding.Run(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestBenchSubmit prints what BenchmarkSubmit measures as the median of batches too short to be interrupted often, so
// that a busy machine shows less in it.
func TestBenchSubmit(t *testing.T) {
	if !*bench {
		t.Skip("with -credence.bench")
	}
	const batches, size = 4001, 256
	fmt.Printf("\nsubmission of a plan of additions of 16 elements through Go, one thread, %d batches of %d\n%6s %12s %12s %14s\n",
		batches, size, "ops", "median ns", "fastest ns", "allocations")
	ctx := context.Background()
	for _, n := range []int{1, 16, 64} {
		_, b := tinyPlan(t, n)
		run := func() {
			if err := b.Run(ctx); err != nil {
				t.Fatal(err)
			}
		}
		ns := make([]float64, batches)
		for i := range ns {
			start := time.Now()
			for range size {
				run()
			}
			ns[i] = float64(time.Since(start).Nanoseconds()) / size
		}
		slices.Sort(ns)
		fmt.Printf("%6d %12.1f %12.1f %14g\n", n, ns[batches/2], ns[0], testing.AllocsPerRun(1000, run))
	}
}

func tinyPlan(t testing.TB, n int) (*Runtime, *Binding) {
	rt, err := Open(WithBackendDir(buildLib()), WithDevice("cpu"), WithThreads(1))
	require.NoError(t, err)
	t.Cleanup(rt.Close)
	return rt, bindTiny(t, rt, n)
}

// bindTiny binds n additions of 16 elements, one after the other.
func bindTiny(t testing.TB, rt *Runtime, n int) *Binding {
	g := ops.NewGraph()
	x := g.Input("x", ops.F32, ops.Dims(16))
	y := x
	for range n {
		y = ops.Add(y, x)
	}
	g.Output(y)
	return bindPlan(t, rt, g)
}

func bindPlan(t testing.TB, rt *Runtime, g *ops.Graph) *Binding {
	p, err := rt.Compile(g, "bench")
	require.NoError(t, err)
	s, err := rt.NewSession()
	require.NoError(t, err)
	b, err := s.Bind(p)
	require.NoError(t, err)
	return b
}

// Steady-state runs allocate nothing: not a goal of speed alone, but a promise (PredictInto).
func TestRunAllocatesNothing(t *testing.T) {
	if !nativeAvailable() {
		t.Skip("the pure-Go device allocates")
	}
	_, b := tinyPlan(t, 16)
	ctx := context.Background()
	x := make([]float32, 16)
	input := ops.Tensor{}
	for at := range b.plan.program.Places {
		if at.String() == "x f32 [16]" {
			input = at
		}
	}
	require.True(t, input.Valid())
	require.NoError(t, b.Run(ctx))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if b.Write(input, x) != nil || b.Run(ctx) != nil {
			t.Fatal("run failed")
		}
	}))
}

func normals(n int) []float32 {
	r := rand.New(rand.NewPCG(1, 2))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

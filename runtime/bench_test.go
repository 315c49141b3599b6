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
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"github.com/credence-ml/credence/ops"
)

var bench = flag.Bool("credence.bench", false, "print the foundation's benchmark tables (ci/bench/foundation)")

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
	g := ops.NewGraph()
	x := g.Input("x", ops.F32, ops.Dims(16))
	y := x
	for range n {
		y = ops.Add(y, x)
	}
	g.Output(y)
	return rt, bindPlan(t, rt, g)
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

// interleaved times a and b in turn and returns the median seconds of each and of the ratios b/a.
func interleaved(rounds int, a, b func()) (medianA, medianB, ratio float64) {
	var as, bs, rs []float64
	a()
	b()
	for range rounds {
		start := time.Now()
		a()
		middle := time.Now()
		b()
		end := time.Now()
		x, y := middle.Sub(start).Seconds(), end.Sub(middle).Seconds()
		as, bs, rs = append(as, x), append(bs, y), append(rs, y/x)
	}
	for _, s := range [][]float64{as, bs, rs} {
		slices.Sort(s)
	}
	return as[rounds/2], bs[rounds/2], rs[rounds/2]
}

// TestBenchGEMM compares a product through a plan with OpenBLAS called directly, one thread each.
func TestBenchGEMM(t *testing.T) {
	if !*bench {
		t.Skip("with -credence.bench")
	}
	rt, err := Open(WithBackendDir(buildLib()), WithDevice("cpu"), WithThreads(1))
	require.NoError(t, err)
	defer rt.Close()
	fmt.Printf("\nfloat32 GEMM, one thread: plan against OpenBLAS sgemm, in turn, medians\n%s\n%6s %14s %14s %8s\n",
		rt.Device().Detail, "n", "plan GFLOP/s", "direct GFLOP/s", "ratio")
	for _, n := range []int{256, 384, 512, 768, 1024, 1536, 2048} {
		g := ops.NewGraph()
		x, y := g.Input("x", ops.F32, ops.Dims(int64(n), int64(n))), g.Input("y", ops.F32, ops.Dims(int64(n), int64(n)))
		z := ops.MatMul(x, y, ops.MatMulOptions{})
		g.Output(z)
		b := bindPlan(t, rt, g)
		xs, ys, zs := normals(n*n), normals(n*n), make([]float32, n*n)
		require.NoError(t, b.Write(x, xs))
		require.NoError(t, b.Write(y, ys))
		repeat := max(1, 2*512*512*512/(n*n*n))
		direct := func() {
			for range repeat {
				blas32.Implementation().Sgemm(blas.NoTrans, blas.NoTrans, n, n, n, 1, xs, n, ys, n, 0, zs, n)
			}
		}
		plan := func() {
			for range repeat {
				if err := b.Run(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
		}
		d, p, _ := interleaved(21, direct, plan)
		flop := 2e-9 * float64(n) * float64(n) * float64(n) * float64(repeat)
		fmt.Printf("%6d %14.1f %14.1f %8.3f\n", n, flop/p, flop/d, d/p)
		b.s.Close()
	}
}

func normals(n int) []float32 {
	r := rand.New(rand.NewPCG(1, 2))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

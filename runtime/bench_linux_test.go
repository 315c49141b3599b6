package runtime

import (
	"context"
	"fmt"
	goruntime "runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"github.com/credence-ml/credence/ops"
)

// threadSeconds is the processor time of the calling thread: on a busy machine, time alone measures the neighbours.
func threadSeconds() float64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return float64(t.Nano()) * 1e-9
}

// interleaved times a and b in turn, on one thread, and returns the median seconds of each and of the ratios b/a.
func interleaved(rounds int, a, b func()) (medianA, medianB, ratio float64) {
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	var as, bs, rs []float64
	a()
	b()
	for range rounds {
		start := threadSeconds()
		a()
		middle := threadSeconds()
		b()
		end := threadSeconds()
		x, y := middle-start, end-middle
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
	fmt.Printf("\nfloat32 GEMM, one thread: plan against OpenBLAS sgemm, in turn, medians of processor time\n%s\n%6s %14s %14s %8s\n",
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

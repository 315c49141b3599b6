package runtime

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime/testenv"
)

// What is promised of a GPU beyond the compliance suite.

// openGPU opens the CUDA backend that is to be tested (testenv.CUDADir), or skips the test where there is none.
func openGPU(t *testing.T, options ...Option) *Runtime {
	t.Helper()
	testenv.NeedCUDA(t)
	return openTest(t, append([]Option{WithBackendDir(testenv.CUDADir()), WithDevice("cuda")}, options...)...)
}

// emulated reports whether that backend runs on the emulator, which is slow.
func emulated() bool { return os.Getenv("CREDENCE_TEST_CUDA") == "" }

// A plan runs operation by operation the first time, is recorded as a graph the second, and replayed from the third on.
// All give the same bits, and so do another session and a device that makes no graphs.
func TestGraphsGiveTheSameBits(t *testing.T) {
	graphs, plain := openGPU(t), openGPU(t, WithoutGraphs())
	for _, d := range ops.Defs() {
		for i, c := range d.Cases() {
			if c.Bench && !*long || emulated() && i%3 != 0 {
				continue
			}
			t.Run(d.Name+"/"+c.Name, func(t *testing.T) {
				g := ops.NewCaseGraph(11)
				outs := withGradients(t, g, c)
				runs := runCaseAgain(t, graphs, g, outs, 3)
				g = ops.NewCaseGraph(11)
				outs = withGradients(t, g, c)
				runs = append(runs, runCaseAgain(t, plain, g, outs, 1)...)
				for k, run := range runs[1:] {
					for i := range run {
						require.True(t, sameBits(runs[0][i].Data, run[i].Data), "output %d of %s", i,
							[]string{"the second run", "the replayed graph", "a run without graphs"}[k])
					}
				}
			})
		}
	}
}

// The order in which threads and blocks run changes no bit: a kernel in which they race for a value would.
func TestOrdersOfThreadsGiveTheSameBits(t *testing.T) {
	if !emulated() || testing.Short() {
		t.Skip("a GPU takes no orders")
	}
	rt := openGPU(t)
	for _, d := range ops.Defs() {
		for i, c := range d.Cases() {
			if c.Bench || i%3 != 1 { // ops_test shuffles the threads of every operation, too
				continue
			}
			t.Run(d.Name+"/"+c.Name, func(t *testing.T) {
				var first []*ops.Dense
				for k, order := range []string{"forward", "reverse", "shuffle:2"} {
					t.Setenv("CREDENCE_EMULATOR_ORDER", order) // read when a stream is made
					g := ops.NewCaseGraph(11)
					got := runCase(t, rt, g, withGradients(t, g, c))
					if k == 0 {
						first = got
						continue
					}
					for i := range got {
						require.True(t, sameBits(first[i].Data, got[i].Data), "output %d, %s", i, order)
					}
				}
			})
		}
	}
}

// Many runtimes, each with memory, a plan, a session and runs, leave nothing behind: neither here nor on the device.
func TestOpeningAndClosingLeavesNothingOnAGPU(t *testing.T) {
	watch := openGPU(t)
	d := newDoubler()
	before := Live()
	var free int64
	rounds := 1000
	if emulated() {
		rounds = 60
	}
	for round := range rounds {
		rt := openGPU(t)
		p, err := rt.Compile(d.g, "doubler")
		require.NoError(t, err)
		m, err := rt.Allocate(d.v.Segment)
		require.NoError(t, err)
		s, err := rt.NewSession()
		require.NoError(t, err)
		b, err := s.Bind(p, m)
		require.NoError(t, err)
		for range 3 {
			_, err = d.run(b, []float32{1, 2, 3})
			require.NoError(t, err)
		}
		if round%2 == 0 { // in any order
			s.Close()
			p.Close()
			m.Close()
		}
		rt.Close()
		require.Equal(t, before, Live())
		if round == 20 { // what is kept for ever is there by now
			free = watch.dev.info().MemoryFree
		}
	}
	assert.InDelta(t, free, watch.dev.info().MemoryFree, 32<<20, "device memory that is free")
}

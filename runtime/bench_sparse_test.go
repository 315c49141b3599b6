package runtime

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/ops"
)

// TestBenchSparseInputs asks whether small networks gain from skipping zero inputs: a dense product of matrices against
// the one that reads the rows of the inputs that are not 0. A convolution is the last kind: its rows are the windows.
func TestBenchSparseInputs(t *testing.T) {
	if !*bench {
		t.Skip("with -credence.bench")
	}
	rt, err := Open(WithBackendDir(buildLib()), WithDevice("cpu"), WithThreads(1))
	require.NoError(t, err)
	defer rt.Close()
	fmt.Printf("\nfloat32 products whose inputs are mostly 0, one thread: dense, skipping, in turn, medians; rows read of all\n%s\n%-24s %5s %6s %12s %12s %8s %6s\n",
		rt.Device().Detail, "inputs to outputs", "rows", "zeros", "dense, µs", "skipping, µs", "speed-up", "read")
	for _, layer := range []struct {
		name       string
		from, to   int64
		rowCounts  []int64
		zeroShares []float64
	}{
		{"784 to 512", 784, 512, []int64{1, 8, 128}, []float64{.5, .9}},
		{"3136 to 256", 3136, 256, []int64{1, 8, 128}, []float64{.5, .9}},
		{"3 x 3 x 32 to 64, 14 x 14", 288, 64, []int64{196}, []float64{.5, .9}},
	} {
		for _, rows := range layer.rowCounts {
			for _, zeros := range layer.zeroShares {
				g := ops.NewGraph()
				x, w := g.Input("x", ops.F32, ops.Dims(rows, layer.from)), g.Input("w", ops.F32, ops.Dims(layer.from, layer.to))
				g.Output(ops.MatMul(x, w, ops.MatMulOptions{}))
				dense := bindPlan(t, rt, g)
				h := ops.NewGraph()
				xs, ws := h.Input("x", ops.F32, ops.Dims(rows, layer.from)), h.Input("w", ops.F32, ops.Dims(layer.from, layer.to))
				y, read := ops.SparseLinear(xs, ws, ops.Tensor{}, 1)
				h.Output(y, read)
				skipping := bindPlan(t, rt, h)
				values, weights := normals(int(rows*layer.from)), normals(int(layer.from*layer.to))
				for i := range values {
					if uint32(i)*2654435761>>8 < uint32(zeros*(1<<24)) {
						values[i] = 0
					}
				}
				require.NoError(t, dense.Write(x, values))
				require.NoError(t, dense.Write(w, weights))
				require.NoError(t, skipping.Write(xs, values))
				require.NoError(t, skipping.Write(ws, weights))
				repeat := int(max(1, 4<<20/(rows*layer.from*layer.to)))
				run := func(b *Binding) func() {
					return func() {
						for range repeat {
							if err := b.Run(context.Background()); err != nil {
								t.Fatal(err)
							}
						}
					}
				}
				s, d, ratio := interleaved(31, run(skipping), run(dense))
				count := make([]int32, 1)
				require.NoError(t, skipping.ReadInt32(read, count))
				fmt.Printf("%-24s %5d %6.2f %12.1f %12.1f %8.2f %6.2f\n", layer.name, rows, zeros, 1e6*d/float64(repeat), 1e6*s/float64(repeat), ratio,
					float64(count[0])/float64(layer.from))
				dense.s.Close()
				skipping.s.Close()
			}
		}
	}
}

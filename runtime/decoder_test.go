package runtime

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/ops"
)

// A decoder's operations promise more than bounds: that decoding row by row gives the bits of the whole prompt.

// onEachCPU runs f with every instruction set that this machine has.
func onEachCPU(t *testing.T, f func(t *testing.T, rt *Runtime)) {
	for _, name := range complianceDevices(t) {
		var isa string
		if _, err := fmt.Sscanf(name, "cpu %s", &isa); err != nil {
			continue
		}
		t.Run(isa, func(t *testing.T) { f(t, openTest(t, WithDevice("cpu"), WithCPUISA(isa), WithThreads(2))) })
	}
}

func TestLinearRowsHaveTheirOwnBits(t *testing.T) {
	onEachCPU(t, func(t *testing.T, rt *Runtime) {
		for _, dtype := range []ops.DType{ops.F32, ops.F16, ops.BF16, ops.Q8_0, ops.Q4_0} {
			for _, k := range []int64{96, 2080} {
				const rows, n = 7, 51
				g := ops.NewCaseGraph(5)
				x, bias := g.Normal(rows, k), g.Normal(n)
				w := g.NormalOf(dtype, ops.Dims(n, k))
				exact := g.Values(ops.F32, g.Inputs()[2].Data.Data, n, k) // the same numbers, stored otherwise
				outs := []ops.Tensor{ops.Linear(x, w, bias), ops.Linear(x, exact, bias)}
				for i := range int64(rows) {
					outs = append(outs, ops.Linear(ops.Slice(x, 0, ops.N(i), ops.N(1)), w, bias))
				}
				require.NoError(t, g.Err())
				got := runCase(t, rt, g, outs)
				assert.True(t, sameBits(got[0].Data, got[1].Data), "%v and f32 with the same numbers", dtype)
				for i, row := range got[2:] {
					assert.True(t, sameBits(got[0].Data[i*n:i*n+n], row.Data), "%v, row %d of 7 and alone", dtype, i)
				}
			}
		}
	})
}

func TestAttentionRowsHaveTheirOwnBits(t *testing.T) {
	onEachCPU(t, func(t *testing.T, rt *Runtime) {
		for _, dtype := range []ops.DType{ops.F32, ops.F16} {
			const rows, heads, groups, d, capacity, position = 37, 6, 2, 24, 560, 500
			g := ops.NewCaseGraph(5)
			q, k, v := g.Normal(rows, heads, d), g.NormalOf(dtype, ops.Dims(capacity, groups, d)), g.NormalOf(dtype, ops.Dims(capacity, groups, d))
			outs := []ops.Tensor{ops.Attention(q, k, v, ops.N(position), .2)}
			for i := range int64(rows) {
				outs = append(outs, ops.Attention(ops.Slice(q, 0, ops.N(i), ops.N(1)), k, v, ops.N(position+i), .2))
			}
			require.NoError(t, g.Err())
			got := runCase(t, rt, g, outs)
			for i, row := range got[1:] {
				at := i * heads * d
				assert.True(t, sameBits(got[0].Data[at:at+heads*d], row.Data), "row %d of 37 and alone", i)
			}
		}
	})
}

func TestRowsBeyondTheCacheAreRefused(t *testing.T) {
	for _, name := range testDevices(t) {
		rt := openTest(t, WithDevice(name))
		g := ops.NewGraph()
		position := g.IntArg("position", 0, 100)
		rows := g.Input("rows", ops.F32, ops.Dims(3, 2, 4))
		cache := g.Input("cache", ops.F32, ops.Dims(10, 2, 4))
		ops.WriteRows(cache, rows, position.Of(1))
		y := ops.Attention(rows, cache, cache, position.Of(1), 1)
		g.Output(y)
		b := bindPlan(t, rt, g)
		b.SetInt(position, 8)
		assert.ErrorContains(t, b.RunUncancelled(), "rows 8 to 10 are written to a table of 10")
		b.SetInt(position, 7)
		assert.NoError(t, b.RunUncancelled())
		b.s.Close()
		b.plan.Close()
	}
}

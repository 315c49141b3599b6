package runtime

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/ops"
)

// A decoder's operations promise more than bounds: that decoding row by row gives the bits of the whole prompt.

// onEachNative runs f with every instruction set that this machine has, and on CUDA where there is a GPU or the emulator.
func onEachNative(t *testing.T, f func(t *testing.T, rt *Runtime)) {
	for _, name := range complianceDevices(t) {
		var isa string
		if _, err := fmt.Sscanf(name, "cpu %s", &isa); err != nil {
			continue
		}
		t.Run(isa, func(t *testing.T) { f(t, openTest(t, WithDevice("cpu"), WithCPUISA(isa), WithThreads(2))) })
	}
	t.Run("cuda", func(t *testing.T) { f(t, openGPU(t)) })
}

func TestLinearRowsHaveTheirOwnBits(t *testing.T) {
	onEachNative(t, func(t *testing.T, rt *Runtime) {
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
	onEachNative(t, func(t *testing.T, rt *Runtime) {
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
		rt := openTest(t, on(name))
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

// What is skipped does not show: the list and all neurons give the same bits, and so do a row alone and in a batch.
func TestSparseFFNIsExact(t *testing.T) {
	relu := ops.Activation{Kind: ops.ActReLU}
	variants := map[string]ops.FFNOptions{
		"relu":         {Activation: relu},
		"fatrelu":      {Activation: ops.Activation{Kind: ops.ActFATReLU, P: 9}},
		"none active":  {Activation: ops.Activation{Kind: ops.ActFATReLU, P: 1e9}},
		"all active":   {Activation: ops.Activation{Kind: ops.ActSiLU}},
		"relu squared": {Activation: ops.Activation{Kind: ops.ActReLUSquared}},
		"dReLU":        {Activation: relu, Both: true},
		"top k":        {Activation: relu, Select: ops.FFNSelectTopK, K: 31},
		"cutoff":       {Activation: ops.Activation{Kind: ops.ActGELU}, Select: ops.FFNSelectCutoff, Z: 1.6},
	}
	onEachNative(t, func(t *testing.T, rt *Runtime) {
		for name, o := range variants {
			dtypes, step := []ops.DType{ops.F32, ops.BF16, ops.Q8_0, ops.Q4_0}, int64(1)
			if rt.Device().Backend == "cuda" && emulated() { // slow: one type, every fifth row
				dtypes, step = dtypes[1:2], 5
			}
			for _, dtype := range dtypes {
				const rows, d, f = 11, 64, 2309
				g := ops.NewCaseGraph(5)
				x := g.Normal(rows, d)
				w := ops.FFNWeights{Gate: g.NormalOf(dtype, ops.Dims(f, d)), Up: g.NormalOf(dtype, ops.Dims(f, d)), Down: g.NormalOf(dtype, ops.Dims(f, d))}
				all, skip := o, o
				all.Limit, skip.Limit = -1, 1
				dense, sparse := ops.SparseFFN(x, w, all), ops.SparseFFN(x, w, skip)
				outs := []ops.Tensor{dense.Y, dense.Hidden, dense.Count, sparse.Y, sparse.Hidden, sparse.Count, dense.Read, sparse.Read}
				for i := int64(0); i < rows; i += step {
					alone := ops.Slice(x, 0, ops.N(i), ops.N(1))
					outs = append(outs, ops.SparseFFN(alone, w, skip).Y, ops.SparseFFN(alone, w, all).Y)
				}
				got := runCase(t, rt, g, outs)
				for i := range 3 {
					assert.True(t, sameBits(got[i].Data, got[i+3].Data), "%s, %v: output %d, all rows read and few", name, dtype, i)
				}
				for i, alone := range got[8:] {
					row := i / 2 * int(step)
					assert.True(t, sameBits(got[0].Data[row*d:row*d+d], alone.Data), "%s, %v: row %d in a batch and alone", name, dtype, row)
				}
				most := 0.0
				for _, n := range got[2].Data {
					most = max(most, n)
				}
				read := got[7].Data
				assert.GreaterOrEqual(t, read[1], most, name)
				assert.GreaterOrEqual(t, read[0], read[1], name)
				if most > 0 && name != "dReLU" {
					assert.Equal(t, []float64{f, f}, got[6].Data, name)
				}
			}
		}
	})
}

// Of equal values the first stay, and a value equal to the threshold is active.
func TestSparseFFNTiesAndThresholds(t *testing.T) {
	for _, name := range testDevices(t) {
		rt := openTest(t, on(name))
		const f = 9
		g := ops.NewCaseGraph(5)
		x := g.Values(ops.F32, []float64{1}, 1, 1)
		gate := g.Values(ops.F32, []float64{1, 3, 2, 2, -1, 2, 3, 0, 2}, f, 1)
		one := g.Values(ops.F32, []float64{1, 1, 1, 1, 1, 1, 1, 1, 1}, f, 1)
		w := ops.FFNWeights{Gate: gate, Up: one, Down: one}
		relu := ops.Activation{Kind: ops.ActReLU}
		top := ops.SparseFFN(x, w, ops.FFNOptions{Activation: relu, Select: ops.FFNSelectTopK, K: 4})
		kept := ops.SparseFFN(x, w, ops.FFNOptions{Activation: ops.Activation{Kind: ops.ActFATReLU, P: 2}})
		got := runCase(t, rt, g, []ops.Tensor{top.Hidden, top.Y, top.Count, kept.Hidden, kept.Count})
		assert.Equal(t, []float64{0, 3, 2, 2, 0, 0, 3, 0, 0}, got[0].Data)
		assert.Equal(t, []float64{10}, got[1].Data)
		assert.Equal(t, []float64{4}, got[2].Data)
		assert.Equal(t, []float64{0, 3, 2, 2, 0, 2, 3, 0, 2}, got[3].Data)
		assert.Equal(t, []float64{6}, got[4].Data)
	}
}

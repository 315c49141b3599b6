package runtime

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/ops"
)

func TestTimeOps(t *testing.T) {
	eachDevice(t, func(t *testing.T, device string) {
		rt := openTest(t, on(device))
		var got []OpTiming
		match := func(name string) bool { return name == "fill/large" || name == "log_sum_exp/large, ten classes" }
		require.NoError(t, rt.TimeOps(context.Background(), match, time.Millisecond, func(o OpTiming) { got = append(got, o) }))
		require.Len(t, got, 2)
		for _, o := range got {
			require.Empty(t, o.Skipped)
			assert.GreaterOrEqual(t, o.Runs, 3)
			assert.Positive(t, o.Fastest)
			assert.LessOrEqual(t, o.Fastest, o.Median)
			assert.Zero(t, o.Flops)
			assert.Positive(t, o.GBPerSecond())
		}
		assert.Equal(t, int64(4*1024*1024), got[0].Bytes)
		assert.Equal(t, int64(4*65536*11), got[1].Bytes)

		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		assert.ErrorIs(t, rt.TimeOps(ctx, match, time.Millisecond, func(OpTiming) {}), ErrCancelled)
	})
}

func TestWorkOfOperations(t *testing.T) {
	f32 := func(dims ...int64) ops.Place {
		p := ops.Place{DType: ops.F32, Shape: ops.Dims(dims...), Strides: make([]int64, len(dims))}
		stride := int64(4)
		for k := len(dims) - 1; k >= 0; k-- {
			p.Strides[k] = stride
			stride *= dims[k]
		}
		return p
	}
	repeated := f32(7, 5)
	repeated.Strides[0] = 0
	for _, c := range []struct {
		code         ops.Opcode
		in, out, io  []ops.Place
		bytes, flops int64
	}{
		{ops.OpAdd, []ops.Place{f32(7, 5), repeated}, []ops.Place{f32(7, 5)}, nil, 4 * (35 + 5 + 35), 0},
		{ops.OpAxpy, []ops.Place{f32(7)}, nil, []ops.Place{f32(7)}, 4 * 21, 0},
		{ops.OpMatmul, []ops.Place{f32(2, 3, 4), f32(2, 4, 5)}, []ops.Place{f32(2, 3, 5)}, nil, 4 * (24 + 40 + 30), 2 * 2 * 3 * 4 * 5},
		{ops.OpMatmul, []ops.Place{f32(4, 3), f32(5, 4)}, []ops.Place{f32(3, 5)}, nil, 4 * (12 + 20 + 15), 2 * 3 * 4 * 5},
		{ops.OpMatmul, []ops.Place{f32(0, 4), f32(4, 5)}, []ops.Place{f32(0, 5)}, nil, 4 * 20, 0},
		{ops.OpConv2d, []ops.Place{f32(2, 8, 8, 3), f32(3, 3, 3, 16)}, []ops.Place{f32(2, 6, 6, 16)}, nil,
			4 * (384 + 432 + 1152), 2 * 2 * 6 * 6 * 16 * 27},
		{ops.OpConv2dGradInput, []ops.Place{f32(2, 6, 6, 16), f32(3, 3, 3, 16)}, []ops.Place{f32(2, 8, 8, 3)}, nil,
			4 * (384 + 432 + 1152), 2 * 2 * 6 * 6 * 16 * 27},
		{ops.OpConv2dGradWeight, []ops.Place{f32(2, 8, 8, 3), f32(2, 6, 6, 16)}, []ops.Place{f32(3, 3, 3, 16)}, nil,
			4 * (384 + 432 + 1152), 2 * 2 * 6 * 6 * 16 * 27},
		{ops.OpPairwiseSqdist, []ops.Place{f32(3, 5), f32(7, 5)}, []ops.Place{f32(3, 7)}, nil, 4 * (15 + 35 + 21), 3 * 3 * 5 * 7},
		{ops.OpTriSolve, []ops.Place{f32(2, 4, 4), f32(2, 3, 4)}, []ops.Place{f32(2, 3, 4)}, nil, 4 * (32 + 24 + 24), 2 * 3 * 4 * 4},
	} {
		op := ops.ProgramOp{Def: &ops.Def{Opcode: c.code}, In: c.in, Out: c.out, InOut: c.io}
		bytes, flops := work(&op, nil)
		assert.Equal(t, c.bytes, bytes, "bytes of op %d", c.code)
		assert.Equal(t, c.flops, flops, "flops of op %d", c.code)
	}
}

func TestHealthFindsTheHelper(t *testing.T) {
	dir := t.TempDir()
	h, attempts, err := Health(context.Background(), WithBackendDir(dir))
	require.NoError(t, err)
	assert.False(t, h.Known)
	assert.Equal(t, "the helper program credence-probe was not found", h.Reason)
	require.NotEmpty(t, attempts)
	assert.Equal(t, filepath.Join(dir, "credence-probe"), attempts[0].Path)
	assert.Equal(t, "no such file or directory", attempts[0].Reason)

	script := "#!/bin/sh\necho '{\"schema\":1,\"driver\":\"1\",\"gpus\":[]}'\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "credence-probe"), []byte(script), 0o755))
	h, attempts, err = Health(context.Background(), WithBackendDir(dir))
	require.NoError(t, err)
	assert.True(t, h.Known, h.Reason)
	require.Len(t, attempts, 1)
	assert.Equal(t, "started", attempts[0].Reason)

	_, _, err = Health(context.Background(), WithThreads(0))
	assert.ErrorIs(t, err, ErrInvalidArgument)
}

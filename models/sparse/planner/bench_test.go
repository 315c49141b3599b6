package planner

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/runtime"
	"github.com/credence-ml/credence/runtime/testenv"
)

func TestBenchMeasuresWhatItSays(t *testing.T) {
	rt, err := runtime.Open(runtime.WithBackendDir(testenv.BackendDir()))
	require.NoError(t, err)
	defer rt.Close()
	began := time.Now()
	o := BenchOptions{D: 64, DFF: 96, DType: "q8_0", Layers: 2, Calls: 3, Predictor: .06, Clock: func() time.Duration { return time.Since(began) }}
	require.NoError(t, o.Check())
	b, err := NewBench(rt, &o)
	require.NoError(t, err)
	defer b.Close()
	r, err := b.Measure(context.Background(), RandomMasks(.75))
	require.NoError(t, err)
	assert.Equal(t, .75, r.Sparsity)
	assert.InDelta(t, 2, r.Bounds.GateFirst, 1e-12)
	for _, c := range []Comparison{r.FFN, r.Up, r.Down} {
		assert.Positive(t, c.Ratio)
		assert.LessOrEqual(t, c.Dense, c.Transposed)
	}

	path := filepath.Join(t.TempDir(), "masks.npy")
	f, err := os.Create(path)
	require.NoError(t, err)
	rows := make([]float32, 2*96)
	rows[3], rows[96], rows[97] = 1, -1, .5
	require.NoError(t, data.WriteNPY(f, []int{2, 96}, rows))
	require.NoError(t, f.Close())
	draw, err := FileMasks(path, 96)
	require.NoError(t, err)
	r, err = b.Measure(context.Background(), draw)
	require.NoError(t, err)
	assert.InDelta(t, 1-1.5/96, r.Sparsity, .006)
	_, err = FileMasks(path, 97)
	assert.ErrorContains(t, err, "rows of 96 neurons, the block has 97")
	_, err = b.Measure(context.Background(), RandomMasks(1))
	assert.ErrorContains(t, err, "no neuron is active")
}

func TestBenchRefuses(t *testing.T) {
	good := BenchOptions{D: 64, DFF: 96, DType: "q8_0", Layers: 2, Calls: 3}
	for _, spoil := range []func(*BenchOptions){
		func(o *BenchOptions) { o.D = 33 }, func(o *BenchOptions) { o.DFF = 0 }, func(o *BenchOptions) { o.DType = "q3" },
		func(o *BenchOptions) { o.Layers = 0 }, func(o *BenchOptions) { o.Calls = 0 },
	} {
		o := good
		spoil(&o)
		assert.Error(t, o.Check(), "%+v", o)
	}
}

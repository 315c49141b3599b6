package mlp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/runtime"
	"github.com/credence-ml/credence/runtime/testenv"
)

// devices lists the devices to test on: the pure-Go one, and the native one where it was built. Where it must have been,
// its absence fails the test.
func devices(t testing.TB) []string {
	if !runtime.Build().Cgo {
		return []string{"go"}
	}
	if _, err := os.Stat(filepath.Join(testenv.BackendDir(), "libcredence_cpu.so")); err != nil {
		if os.Getenv("CREDENCE_TEST_REQUIRE_NATIVE") != "" {
			testenv.NeedBackend(t, "cpu")
		}
		return []string{"go"}
	}
	return []string{"go", "cpu"}
}

func needCPU(t testing.TB) {
	if len(devices(t)) < 2 {
		t.Skip("needs the CPU backend")
	}
}

func eachDevice(t *testing.T, f func(t *testing.T, device string)) {
	for _, device := range devices(t) {
		t.Run(device, func(t *testing.T) { f(t, device) })
	}
}

// open opens a runtime; at the end of the test nothing may be left.
func open(t testing.TB, device string, options ...runtime.Option) *runtime.Runtime {
	t.Helper()
	before := runtime.Live()
	rt, err := runtime.Open(append([]runtime.Option{runtime.WithBackendDir(testenv.BackendDir()), runtime.WithDevice(device), runtime.WithThreads(2)}, options...)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		rt.Close()
		assert.Equal(t, before, runtime.Live(), "leak")
	})
	return rt
}

// rings are points in two dimensions in two noisy rings, which no linear classifier tells apart.
func rings(n int, seed uint64) (x []float32, labels []int32) {
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range n {
		label := i % 2
		angle, radius := 2*math.Pi*r.Float64(), float64(1+label)+.15*r.NormFloat64()
		x = append(x, float32(radius*math.Cos(angle)), float32(radius*math.Sin(angle)))
		labels = append(labels, int32(label))
	}
	return x, labels
}

var ringsConfig = Config{Inputs: 2, Hidden: []int{24, 16}, Classes: 2, MaxBatch: 32, Seed: 3}

func newModel(t testing.TB, rt *runtime.Runtime, c Config) *Model {
	t.Helper()
	m, err := New(rt, c)
	require.NoError(t, err)
	t.Cleanup(m.Close)
	return m
}

func TestLearns(t *testing.T) {
	eachDevice(t, func(t *testing.T, device string) {
		m := newModel(t, open(t, device), ringsConfig)
		x, labels := rings(400, 1)
		var losses []float64
		require.NoError(t, m.Train(context.Background(), x, labels, TrainOptions{Epochs: 12, LearningRate: 1e-2,
			Progress: func(step, steps int, loss float64) {
				losses = append(losses, loss)
				require.Equal(t, 12*13, steps) // 400 rows are twelve batches of 32 and one of 16
				require.Len(t, losses, step)
			}}))
		require.Len(t, losses, 12*13)
		assert.Less(t, losses[len(losses)-1], losses[0]/2)
		x, labels = rings(200, 2)
		accuracy, err := m.Accuracy(context.Background(), x, labels)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, accuracy, .97)

		p := make([]float32, 400)
		require.NoError(t, m.PredictInto(context.Background(), p, x))
		for i := 0; i < len(p); i += 2 {
			require.InDelta(t, 1, float64(p[i])+float64(p[i+1]), 1e-6)
		}
	})
}

// tenSteps are the losses of ten training steps and the parameters after them.
func tenSteps(t *testing.T, device string, threads int) (losses []float64, params []float32) {
	dir := testenv.BackendDir()
	if device == "cuda" {
		dir = testenv.CUDADir()
	}
	rt := open(t, device, runtime.WithThreads(threads), runtime.WithBackendDir(dir))
	m, err := New(rt, Config{Inputs: 17, Hidden: []int{64, 33}, Classes: 5, MaxBatch: 48, Seed: 11})
	require.NoError(t, err)
	defer m.Close()
	r := rand.New(rand.NewPCG(4, 4))
	x, labels := make([]float32, 480*17), make([]int32, 480)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	for i := range labels {
		labels[i] = int32(r.IntN(5))
	}
	require.NoError(t, m.Train(context.Background(), x, labels, TrainOptions{Epochs: 1, LearningRate: 1e-2,
		Progress: func(_, _ int, loss float64) { losses = append(losses, loss) }}))
	require.Len(t, losses, 10)
	for _, v := range m.params.Segment.Vars() {
		values := make([]float32, v.Count())
		require.NoError(t, m.params.Read(v, values))
		params = append(params, values...)
	}
	return losses, params
}

// The state after ten steps must be the same on two devices but for rounding: the losses to 1e-5, the parameters to a
// thousandth of one step of Adam (1e-2), which divides by the gradient's own size and so enlarges what rounding does to
// small gradients. Measured: 1e-7.
func compareTenSteps(t *testing.T, one, other string) {
	wantLosses, want := tenSteps(t, one, 1)
	gotLosses, got := tenSteps(t, other, 2)
	assert.InDeltaSlice(t, wantLosses, gotLosses, 1e-5)
	worst := 0.0
	for i := range want {
		worst = max(worst, math.Abs(float64(want[i])-float64(got[i])))
	}
	t.Logf("largest difference of a parameter: %.2g", worst)
	assert.Less(t, worst, 1e-5)
}

func TestTenStepsOnBothDevices(t *testing.T) {
	needCPU(t)
	compareTenSteps(t, "go", "cpu")
}

func TestTenStepsOnAGPU(t *testing.T) {
	testenv.NeedCUDA(t)
	compareTenSteps(t, "cpu", "cuda")
}

func TestSameSeedSameBits(t *testing.T) {
	eachDevice(t, func(t *testing.T, device string) {
		wantLosses, want := tenSteps(t, device, 1)
		for _, threads := range []int{1, 2, 5} {
			losses, params := tenSteps(t, device, threads)
			assert.Equal(t, wantLosses, losses, "%d threads", threads)
			assert.Equal(t, want, params, "%d threads", threads)
		}
	})
}

// Whichever allocation fails, creating and training a network ends with the typed error and leaves nothing behind.
func TestEveryAllocationCanFail(t *testing.T) {
	eachDevice(t, func(t *testing.T, device string) {
		x, labels := rings(40, 1)
		before := runtime.Live()
		run := func(f *runtime.Faults) error {
			rt, err := runtime.Open(runtime.WithBackendDir(testenv.BackendDir()), runtime.WithDevice(device), runtime.WithFaults(f))
			if err != nil {
				return err
			}
			defer rt.Close()
			open := runtime.Live()
			defer func() { assert.Equal(t, open, runtime.Live(), "left open beside the runtime") }()
			m, err := New(rt, ringsConfig)
			if err != nil {
				return err
			}
			defer m.Close()
			return m.Train(context.Background(), x, labels, TrainOptions{Epochs: 1})
		}
		count := &runtime.Faults{}
		require.NoError(t, run(count))
		require.Greater(t, count.Allocations(), int64(8))
		for n := range count.Allocations() {
			err := run(&runtime.Faults{FailAlloc: n + 1})
			require.ErrorIs(t, err, runtime.ErrOutOfMemory, "allocation %d", n+1)
			require.ErrorContains(t, err, fmt.Sprintf("injected at allocation %d", n+1))
			require.Equal(t, before, runtime.Live(), "leak after allocation %d", n+1)
		}
		require.NoError(t, run(&runtime.Faults{FailAlloc: count.Allocations() + 1}))
		require.Equal(t, before, runtime.Live())
	})
}

func TestLostDevice(t *testing.T) {
	eachDevice(t, func(t *testing.T, device string) {
		x, labels := rings(64, 1)
		m := newModel(t, open(t, device, runtime.WithFaults(&runtime.Faults{FailSubmit: 3})), ringsConfig)
		steps := 0
		err := m.Train(context.Background(), x, labels, TrainOptions{Epochs: 2, Progress: func(int, int, float64) { steps++ }})
		assert.ErrorIs(t, err, runtime.ErrDeviceLost)
		assert.Equal(t, 1, steps) // a step is two submissions
	})
}

func TestCancelledTraining(t *testing.T) {
	eachDevice(t, func(t *testing.T, device string) {
		x, labels := rings(200, 1)
		m := newModel(t, open(t, device), ringsConfig)
		ctx, cancel := context.WithCancel(context.Background())
		steps := 0
		err := m.Train(ctx, x, labels, TrainOptions{Epochs: 100, Progress: func(step, _ int, _ float64) {
			if steps = step; step == 5 {
				cancel()
			}
		}})
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorIs(t, err, runtime.ErrCancelled)
		assert.Equal(t, 5, steps)
		// the model is as good as after those steps, and can be used and trained on
		p := make([]float32, 2)
		assert.ErrorIs(t, m.PredictInto(ctx, p, x[:2]), context.Canceled)
		assert.NoError(t, m.PredictInto(context.Background(), p, x[:2]))
		assert.NoError(t, m.Train(context.Background(), x, labels, TrainOptions{Epochs: 1}))
	})
}

func TestPredictIntoAllocatesNothing(t *testing.T) {
	needCPU(t)
	m := newModel(t, open(t, "cpu"), ringsConfig)
	x, _ := rings(70, 1) // three submissions, the last not full
	p := make([]float32, 140)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	require.NoError(t, m.PredictInto(ctx, p, x))
	assert.Zero(t, testing.AllocsPerRun(50, func() {
		if m.PredictInto(ctx, p, x) != nil {
			panic("prediction failed")
		}
	}))
}

// Rows are predicted alike whatever they are submitted with.
func TestPredictionDoesNotDependOnTheBatch(t *testing.T) {
	needCPU(t)
	rt := open(t, "cpu")
	x, _ := rings(70, 1)
	want := make([]float32, 140)
	require.NoError(t, newModel(t, rt, ringsConfig).PredictInto(context.Background(), want, x))
	for _, batch := range []int{1, 3, 64, 128} {
		c := ringsConfig
		c.MaxBatch = batch
		got := make([]float32, 140)
		require.NoError(t, newModel(t, rt, c).PredictInto(context.Background(), got, x))
		assert.Equal(t, want, got, "batch %d", batch)
	}
}

// A thousand goroutines call one model while it is trained and at last closed: each gets the probabilities of its own
// rows or an error that says why not.
func TestAThousandGoroutines(t *testing.T) {
	eachDevice(t, func(t *testing.T, device string) {
		m := newModel(t, open(t, device), ringsConfig)
		x, labels := rings(60, 1)
		want := make([]float32, 120)
		require.NoError(t, m.PredictInto(context.Background(), want, x))
		var group sync.WaitGroup
		var right atomic.Int64
		for i := range 1000 {
			group.Go(func() {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				if i%9 == 0 {
					time.AfterFunc(time.Duration(i)*time.Microsecond, cancel)
				}
				first, rows := i%50, 1+i%10
				p := make([]float32, 2*rows)
				switch err := m.PredictInto(ctx, p, x[2*first:2*(first+rows)]); {
				case err == nil:
					right.Add(1)
					assert.Equal(t, want[2*first:2*(first+rows)], p)
				default:
					assert.ErrorIs(t, err, runtime.ErrCancelled)
				}
			})
		}
		group.Wait()
		assert.GreaterOrEqual(t, right.Load(), int64(800))

		for range 1000 {
			group.Go(func() {
				p := make([]float32, 40)
				switch err := m.PredictInto(context.Background(), p, x[:40]); {
				case err == nil:
					for k := 0; k < len(p); k += 2 {
						assert.InDelta(t, 1, p[k]+p[k+1], 1e-6)
					}
				default:
					assert.ErrorIs(t, err, runtime.ErrClosed)
				}
			})
		}
		group.Go(func() {
			err := m.Train(context.Background(), x, labels, TrainOptions{Epochs: 1e6})
			assert.ErrorIs(t, err, runtime.ErrClosed)
		})
		time.Sleep(20 * time.Millisecond)
		m.Close()
		group.Wait()
	})
}

func TestUseAfterClose(t *testing.T) {
	eachDevice(t, func(t *testing.T, device string) {
		x, labels := rings(20, 1)
		p := make([]float32, 40)
		rt := open(t, device)
		m, err := New(rt, ringsConfig)
		require.NoError(t, err)
		m.Close()
		m.Close()
		assert.ErrorIs(t, m.PredictInto(context.Background(), p, x), runtime.ErrClosed)
		assert.ErrorIs(t, m.Train(context.Background(), x, labels, TrainOptions{Epochs: 1}), runtime.ErrClosed)

		m, err = New(rt, ringsConfig)
		require.NoError(t, err)
		rt.Close()
		assert.ErrorIs(t, m.PredictInto(context.Background(), p, x), runtime.ErrClosed)
		m.Close()
		_, err = New(rt, ringsConfig)
		assert.ErrorIs(t, err, runtime.ErrClosed)
	})
}

func TestMistakes(t *testing.T) {
	rt := open(t, "go")
	for _, c := range []Config{{}, {Inputs: 2, Classes: 1}, {Inputs: 0, Classes: 2}, {Inputs: 2, Classes: 2, Hidden: []int{3, 0}}, {Inputs: 2, Classes: 2, MaxBatch: -1}} {
		_, err := New(rt, c)
		assert.ErrorContains(t, err, "every size must be at least 1")
	}
	m := newModel(t, rt, ringsConfig)
	ctx := context.Background()
	assert.EqualError(t, m.PredictInto(ctx, make([]float32, 2), make([]float32, 3)),
		"mlp: 3 features are not rows of 2, or do not match 2 probabilities of 2 classes")
	assert.ErrorContains(t, m.PredictInto(ctx, make([]float32, 3), make([]float32, 2)), "do not match 3 probabilities")
	assert.EqualError(t, m.Train(ctx, make([]float32, 3), []int32{0}, TrainOptions{Epochs: 1}), "mlp: 3 features for 1 rows of 2")
	assert.Error(t, m.Train(ctx, nil, nil, TrainOptions{Epochs: 1}))
	for _, label := range []int32{-1, 2} {
		assert.EqualError(t, m.Train(ctx, make([]float32, 4), []int32{0, label}, TrainOptions{Epochs: 1}),
			fmt.Sprintf("mlp: label %d of row 1 is outside 0 to 1", label))
	}
	for _, v := range []float64{math.NaN(), math.Inf(1)} {
		err := m.Train(ctx, []float32{1, float32(v)}, []int32{0}, TrainOptions{Epochs: 1})
		assert.ErrorContains(t, err, "mlp: the loss is ")
		assert.False(t, errors.Is(err, runtime.ErrInternal))
	}
}

// auto places the model, trains and answers wherever that was.
func TestAutoPlaces(t *testing.T) {
	if _, err := os.Stat(filepath.Join(testenv.CUDADir(), "libcredence_cuda.so")); err != nil {
		t.Skip("neither a GPU nor the emulated CUDA backend")
	}
	testenv.NeedBackend(t, "cpu")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	rt, err := runtime.Open(runtime.WithBackendDir(testenv.CUDADir(), testenv.BackendDir()), runtime.WithDevice("auto"))
	require.NoError(t, err)
	defer rt.Close()
	require.Equal(t, "cuda", rt.Device().Backend)
	m, err := New(rt, Config{Inputs: 2, Hidden: []int{4}, Classes: 2})
	require.NoError(t, err)
	defer m.Close()
	p := rt.Report().Placements
	require.Len(t, p, 1)
	assert.Equal(t, "mlp", p[0].Name)
	assert.Len(t, p[0].Predicted, 2, p[0].Reason)
	require.NoError(t, m.Train(context.Background(), []float32{0, 1, 1, 0}, []int32{0, 1}, TrainOptions{Epochs: 2}))
	require.NoError(t, m.PredictInto(context.Background(), make([]float32, 4), []float32{0, 1, 1, 0}))
}

package sdm

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/runtime"
	"github.com/credence-ml/credence/runtime/testenv"
)

// hasCPU reports whether the native backend was built. Where it must be, its absence fails the test.
func hasCPU(t testing.TB) bool {
	if !runtime.Build().Cgo {
		return false
	}
	_, err := os.Stat(filepath.Join(testenv.BackendDir(), "libcredence_cpu.so"))
	if err != nil && os.Getenv("CREDENCE_TEST_REQUIRE_NATIVE") != "" {
		testenv.NeedBackend(t, "cpu")
	}
	return err == nil
}

func needCPU(t testing.TB) {
	if !hasCPU(t) {
		t.Skip("needs the CPU backend")
	}
}

// openTest opens a runtime on the faster of the devices there are; at the end of the test nothing that was made on it
// may be left.
func openTest(t testing.TB, options ...runtime.Option) *runtime.Runtime {
	t.Helper()
	device := "go"
	if hasCPU(t) {
		device = "cpu"
	}
	before := runtime.Live()
	defaults := []runtime.Option{runtime.WithBackendDir(testenv.BackendDir()), runtime.WithDevice(device), runtime.WithThreads(2)}
	rt, err := runtime.Open(append(defaults, options...)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		left := runtime.Live()
		left.Devices, left.Streams = left.Devices-1, left.Streams-1 // its own
		assert.Equal(t, before, left, "left open before the runtime was closed")
		rt.Close()
		assert.Equal(t, before, runtime.Live(), "leak")
	})
	return rt
}

// mixture draws n rows of d features from classes whose centres lie 2 s from the origin, in turn, with unit noise;
// shift moves all of them.
func mixture(n, d, classes int, s, shift float64, seed uint64) Data {
	r := rand.New(rand.NewPCG(seed, 17))
	var data Data
	for i := range n {
		class := i % classes
		data.Labels = append(data.Labels, int32(class))
		data.IDs = append(data.IDs, fmt.Sprintf("%d-%d", seed, i))
		for k := range d {
			centre := shift
			if k < 2 {
				angle := 2 * math.Pi * float64(class) / float64(classes)
				centre += 2 * s * []float64{math.Cos(angle), math.Sin(angle)}[k]
			}
			data.Features = append(data.Features, float32(centre+r.NormFloat64()))
		}
	}
	return data
}

// toy trains on a mixture of three classes in a fraction of a second.
func toy(t testing.TB, rt *runtime.Runtime, change func(c *Config, o *TrainOptions)) *Model {
	t.Helper()
	c := Config{Dimension: 5, Classes: 3, ClassNames: []string{"a", "b", "c"}, ExemplarDimension: 6, MaxNeighbors: 50}
	o := TrainOptions{Epochs: 4, Batch: 16, LearningRate: 5e-3, KeepSplit: true, Seed: 3}
	if change != nil {
		change(&c, &o)
	}
	train := mixture(240, c.Dimension, c.Classes, 1.5, 0, 1)
	m, err := Train(context.Background(), rt, c, train, mixture(200, c.Dimension, c.Classes, 1.5, 0, 2), o)
	require.NoError(t, err)
	t.Cleanup(m.Close)
	return m
}

// identityModel has exemplars that are the features themselves, in two dimensions, and predicts 1 where the first is
// above 1.5.
func identityModel(t testing.TB, rt *runtime.Runtime, vectors [][]float32, labels, predictions []int32) *Model {
	t.Helper()
	st := &state{resolution: .1}
	for i := range vectors {
		st.records = append(st.records, Record{ID: fmt.Sprint(i), Label: labels[i], Predicted: predictions[i]})
	}
	weights := []float32{1, 0, 0, 1, 0, 0, 0, 0, 2, 0, 3, 0}
	m, err := assemble(rt, Config{Dimension: 2, Classes: 2, ExemplarDimension: 2}, 0, 1, weights, flat(vectors...), st)
	require.NoError(t, err)
	t.Cleanup(m.Close)
	return m
}

// scoreWith scores one row, whose prediction must be the one given.
func scoreWith(t testing.TB, m *Model, x []float32, prediction int32, exclude, nearest int) Score {
	t.Helper()
	s, err := m.Score(context.Background(), x, ScoreOptions{Exclude: []int{exclude}, Nearest: nearest})
	require.NoError(t, err)
	require.EqualValues(t, prediction, s[0].Prediction)
	return s[0]
}

// scoreAll scores rows without more.
func scoreAll(t testing.TB, m *Model, data Data) []Score {
	t.Helper()
	s, err := m.Score(context.Background(), data.Features, ScoreOptions{IDs: data.IDs, Labels: data.Labels})
	require.NoError(t, err)
	return s
}

package probpsenn

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/runtime"
	"github.com/credence-ml/credence/runtime/testenv"
)

// The networks of the paper with a few channels per layer, for tests that train many models.
func init() {
	networks["tiny"] = func() network { return &picture{widths: []int64{4, 6, 8, 16}, n: 1} }
	networks["tiny colour"] = func() network { return &picture{widths: []int64{4, 6, 8, 16}, n: 3} }
}

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

// toyDevice is the faster of the devices there are.
func toyDevice(t testing.TB) string {
	if hasCPU(t) {
		return "cpu"
	}
	return "go"
}

// openToy opens a runtime; at the end of the test nothing that was made on it may be left.
func openToy(t testing.TB, options ...runtime.Option) *runtime.Runtime {
	t.Helper()
	before := runtime.Live()
	defaults := []runtime.Option{runtime.WithBackendDir(testenv.BackendDir()), runtime.WithDevice(toyDevice(t)), runtime.WithThreads(2)}
	rt, err := runtime.Open(append(defaults, options...)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		if left := runtime.Live(); left.Devices > before.Devices { // the test has not closed the runtime
			left.Devices, left.Streams = left.Devices-1, left.Streams-1 // its own
			assert.Equal(t, before, left, "left open before the runtime was closed")
		}
		rt.Close()
		assert.Equal(t, before, runtime.Live(), "leak")
	})
	return rt
}

// toyConfig is a configuration for toyImages that trains in a fraction of a second.
func toyConfig() Config {
	c := DefaultConfig()
	c.Classes, c.Network, c.Height, c.Width, c.Latent, c.Samples, c.EvalSamples = 3, "tiny", 12, 12, 8, 10, 20
	c.PretrainEpochs, c.Epochs, c.Batch, c.LearningRate, c.HoldOut, c.Seed = 2, 2, 8, 1e-2, .25, 7
	return c
}

// vectorConfig is one for toyVectors.
func vectorConfig(d, classes int) Config {
	c := toyConfig()
	c.Network, c.Latent, c.Classes, c.Batch, c.LearningRate = "features", d, classes, 16, 5e-3
	return c
}

// fewer is n, or less under -short.
func fewer(n, less int) int {
	if testing.Short() {
		return less
	}
	return n
}

// toyImages are n noisy pictures of 12 x 12 in turn of three classes: a horizontal bar, a vertical bar, a cross.
func toyImages(n int, seed uint64) *data.Images {
	r := rand.New(rand.NewPCG(seed, 9))
	im := &data.Images{N: n, Height: 12, Width: 12, Channels: 1}
	for i := range n {
		class := i % 3
		im.Labels = append(im.Labels, int32(class))
		row, column := 5+r.IntN(2), 5+r.IntN(2)
		for y := range 12 {
			for x := range 12 {
				v := -.8
				if class != 1 && y == row || class != 0 && x == column {
					v = .7
				}
				im.Pixels = append(im.Pixels, float32(max(-1, min(1, v+.15*r.NormFloat64()))))
			}
		}
	}
	return im
}

// toyNoise are pictures of no class at all.
func toyNoise(n int, seed uint64) *data.Images {
	im := toyImages(n, seed)
	r := rand.New(rand.NewPCG(seed, 10))
	for i := range im.Pixels {
		im.Pixels[i] = float32(2*r.Float64() - 1)
	}
	return im
}

// toyVectors are n vectors of d values in turn of so many classes, Gaussian around corners of a cube.
func toyVectors(n, d, classes int, seed uint64) *data.Images {
	r := rand.New(rand.NewPCG(seed, 11))
	im := &data.Images{N: n, Height: 1, Width: d, Channels: 1}
	for i := range n {
		class := i % classes
		im.Labels = append(im.Labels, int32(class))
		for j := range d {
			centre := -2.0
			if class>>(j%8)&1 == 1 {
				centre = 2
			}
			im.Pixels = append(im.Pixels, float32(centre+r.NormFloat64()))
		}
	}
	return im
}

// trainToy makes a model that is closed at the end of the test.
func trainToy(t testing.TB, rt *runtime.Runtime, c Config, images *data.Images) *Model {
	t.Helper()
	m, err := Train(context.Background(), rt, c, images, TrainOptions{})
	require.NoError(t, err)
	t.Cleanup(m.Close)
	return m
}

// predictAll runs a new predictor over images.
func predictAll(t testing.TB, m *Model, o PredictorOptions, x []float32) []Prediction {
	t.Helper()
	p, err := m.NewPredictor(o)
	require.NoError(t, err)
	defer p.Close()
	out, err := p.Predict(context.Background(), x)
	require.NoError(t, err)
	return out
}

func accuracyOf(predictions []Prediction, labels []int32) float64 {
	right := 0
	for i, p := range predictions {
		if int32(p.Label) == labels[i] {
			right++
		}
	}
	return float64(right) / float64(len(labels))
}

// savedBytes are the bytes of a model's file.
func savedBytes(t testing.TB, m *Model) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.safetensors")
	require.NoError(t, m.Save(path))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return text
}

// withFaults are the options of a runtime that fails as told.
func withFaults(t testing.TB, f *runtime.Faults) []runtime.Option {
	return []runtime.Option{runtime.WithBackendDir(testenv.BackendDir()), runtime.WithDevice(toyDevice(t)), runtime.WithThreads(2), runtime.WithFaults(f)}
}

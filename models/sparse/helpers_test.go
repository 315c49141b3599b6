package sparse

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/data"
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

// openRuntime opens the fastest device there is; at the end of the test nothing that was made on it may be left.
func openRuntime(t testing.TB, options ...runtime.Option) *runtime.Runtime {
	t.Helper()
	device := "go"
	if hasCPU(t) {
		device = "cpu"
	}
	before := runtime.Live()
	rt, err := runtime.Open(append([]runtime.Option{runtime.WithBackendDir(testenv.BackendDir()), runtime.WithDevice(device), runtime.WithThreads(2)}, options...)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		left := runtime.Live()
		left.Devices, left.Streams = left.Devices-1, left.Streams-1 // the runtime's own
		assert.Equal(t, before, left, "left open before the runtime was closed")
		rt.Close()
	})
	return rt
}

// load opens a model for the time of the test.
func load(t testing.TB, rt *runtime.Runtime, path string, o Options) *Model {
	t.Helper()
	c, err := Open(path, OpenOptions{})
	require.NoError(t, err)
	m, err := Load(rt, c, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func session(t testing.TB, m *Model, o SessionOptions) *Session {
	t.Helper()
	s, err := m.NewSession(o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// tokens are those of testdata/reference.py.
func tokens(t testing.TB) []int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "tokens.json"))
	require.NoError(t, err)
	var list []int
	require.NoError(t, json.Unmarshal(text, &list))
	return list
}

func reference(t testing.TB, path string) []float32 {
	t.Helper()
	a, err := data.ReadNPY(path)
	require.NoError(t, err)
	values, err := a.Float32s()
	require.NoError(t, err)
	return values
}

func logits(t testing.TB, m *Model, tokens []int) []float32 {
	t.Helper()
	got := make([]float32, len(tokens)*m.Config.Vocab)
	require.NoError(t, session(t, m, SessionOptions{Capacity: len(tokens)}).Logits(context.Background(), tokens, got))
	return got
}

func maxDifference(t testing.TB, a, b []float32) float64 {
	t.Helper()
	require.Len(t, b, len(a))
	most := 0.0
	for i := range a {
		d := math.Abs(float64(a[i]) - float64(b[i]))
		require.False(t, math.IsNaN(d), "element %d", i)
		most = max(most, d)
	}
	return most
}

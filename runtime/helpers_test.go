package runtime

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/runtime/testenv"
)

// buildLib is where ci/test puts the backends.
func buildLib() string { return testenv.BackendDir() }

// nativeAvailable reports whether the CPU backend was built. CREDENCE_TEST_REQUIRE_NATIVE, set by ci/test, makes its
// absence an error, so that no test is skipped by accident.
func nativeAvailable() bool {
	r, err := Survey(WithBackendDir(buildLib()))
	if err == nil {
		for _, b := range r.Backends {
			if b.Name == "cpu" && b.Refused == "" {
				return true
			}
		}
	}
	if os.Getenv("CREDENCE_TEST_REQUIRE_NATIVE") != "" {
		panic("the CPU backend is required and cannot be used")
	}
	return false
}

// testDevices lists the devices to test on.
func testDevices(t *testing.T) []string {
	if nativeAvailable() {
		if !testing.Short() && testenv.HasCUDA(t) { // the race detector, for which -short is, does not see into C
			return []string{"cpu", "cuda", "go"}
		}
		return []string{"cpu", "go"}
	}
	t.Log("the CPU backend is not built (cmake -S . -B build -G Ninja && cmake --build build); testing the pure-Go device only")
	return []string{"go"}
}

// on is WithDevice and, with it, where the device's backend is.
func on(device string) Option {
	return func(c *Config) {
		WithDevice(device)(c)
		WithBackendDir(testenv.Dir(device))(c)
	}
}

// openTest opens a runtime that must have freed everything at the end of the test.
func openTest(t *testing.T, options ...Option) *Runtime {
	before := Live()
	rt, err := Open(append([]Option{WithBackendDir(buildLib())}, options...)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		rt.Close()
		assert.Equal(t, before, Live(), "leak")
	})
	return rt
}

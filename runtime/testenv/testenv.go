// Package testenv tells the module's own tests where the native backends were built. It imports nothing of the module,
// so that tests inside any package may use it:
//
//	rt, err := runtime.Open(runtime.WithBackendDir(testenv.BackendDir()))
package testenv

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Root is the directory of the module, found from where this file was compiled, never from the working directory. A test
// binary that runs on another machine (ci/gpu) is told by CREDENCE_TEST_ROOT.
func Root() string {
	if root := os.Getenv("CREDENCE_TEST_ROOT"); root != "" {
		return root
	}
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) { // -trimpath leaves no directory in it
		panic("testenv: the tests of this module cannot run when built with -trimpath")
	}
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// BackendDir is where the build leaves the backends: <module>/build/lib.
func BackendDir() string { return filepath.Join(Root(), "build", "lib") }

// FaultyDir is where the build leaves a CPU backend whose set_option takes fault.*: <module>/build/faulty.
func FaultyDir() string { return filepath.Join(Root(), "build", "faulty") }

// CUDADir is where the CUDA backend that tests run on is: CREDENCE_TEST_CUDA, a directory, where there is a GPU (ci/gpu);
// else <module>/build/emulated, the one for the emulator.
func CUDADir() string {
	if dir := os.Getenv("CREDENCE_TEST_CUDA"); dir != "" {
		return dir
	}
	return filepath.Join(Root(), "build", "emulated")
}

// Dir is where the backend of a device is, for example "cpu" or "cuda".
func Dir(device string) string {
	if device == "cuda" {
		return CUDADir()
	}
	return BackendDir()
}

// HasCUDA reports whether there is a CUDA backend to test on. Where CREDENCE_TEST_REQUIRE_NATIVE is set its absence fails
// the test.
func HasCUDA(t testing.TB) bool {
	t.Helper()
	if !cgo {
		return false
	}
	path := filepath.Join(CUDADir(), "libcredence_cuda.so")
	_, err := os.Stat(path)
	if err != nil && os.Getenv("CREDENCE_TEST_REQUIRE_NATIVE") != "" {
		t.Fatalf("the CUDA backend for tests is required and was not built: %s is missing", path)
	}
	return err == nil
}

// NeedBackend skips a test if the backend, for example "cpu", was not built. Where CREDENCE_TEST_REQUIRE_NATIVE is set,
// as in CI, it fails the test instead, so that none is skipped by accident.
func NeedBackend(t testing.TB, name string) {
	t.Helper()
	if !cgo {
		t.Skipf("built without cgo: the %s backend cannot be loaded", name)
	}
	path := filepath.Join(BackendDir(), "libcredence_"+name+".so")
	if _, err := os.Stat(path); err == nil {
		return
	}
	if os.Getenv("CREDENCE_TEST_REQUIRE_NATIVE") != "" {
		t.Fatalf("the %s backend is required and was not built: %s is missing", name, path)
	}
	t.Skipf("the %s backend was not built (cmake -S . -B build -G Ninja && cmake --build build)", name)
}

// NeedCUDA skips a test where there is no CUDA backend in CUDADir, and fails it where CREDENCE_TEST_CUDA promised one.
func NeedCUDA(t testing.TB) {
	t.Helper()
	path := filepath.Join(CUDADir(), "libcredence_cuda.so")
	_, err := os.Stat(path)
	switch {
	case cgo && err == nil:
	case os.Getenv("CREDENCE_TEST_CUDA") != "":
		t.Fatalf("the CUDA backend cannot be tested: built with cgo: %v; %s: %v", cgo, path, err)
	default:
		t.Skipf("the CUDA backend was not built for tests: %s is missing", path)
	}
}

// RelativeDistance is the Euclidean distance of two vectors over the length of the first.
func RelativeDistance(t testing.TB, a, b []float32) float64 {
	t.Helper()
	if len(a) != len(b) || len(a) == 0 {
		t.Fatalf("vectors of %d and %d elements", len(a), len(b))
	}
	var distance, length float64
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		distance += d * d
		length += float64(a[i]) * float64(a[i])
	}
	return math.Sqrt(distance / length)
}

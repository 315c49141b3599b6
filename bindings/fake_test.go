//go:build cgo && unix

package bindings

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// build compiles testdata/fake.c into a library of its own.
func build(t testing.TB, flags ...string) string {
	t.Helper()
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	if _, err := exec.LookPath(cc); err != nil {
		t.Skipf("no C compiler to build a fake backend with: %v", err)
	}
	path := filepath.Join(t.TempDir(), "libcredence_fake.so")
	args := append([]string{"-std=c11", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-Wno-unused",
		"-I../native/include", "-o", path, "testdata/fake.c"}, flags...)
	out, err := exec.Command(cc, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// open loads the right fake and opens its device.
func open(t testing.TB) (*Library, *Device) {
	t.Helper()
	lib, err := Load(build(t))
	require.NoError(t, err)
	d, err := lib.OpenDevice(0, 3)
	require.NoError(t, err)
	t.Cleanup(d.Close)
	return lib, d
}

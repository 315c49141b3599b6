package runtime

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/bindings"
)

// openLogged opens a runtime on a directory of backends and returns what it logged.
func openLogged(t *testing.T, dir, device string) (Report, string, error) {
	var log bytes.Buffer
	rt, err := Open(WithBackendDir(dir), WithDevice(device), WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	if err != nil {
		return Report{}, log.String(), err
	}
	defer rt.Close()
	return rt.Report(), log.String(), nil
}

// A program that asked for nothing and got the slow reference is told, with the reasons; one that asked for it is not.
func TestFallingToPureGoIsWarnedOf(t *testing.T) {
	r, log, err := openLogged(t, t.TempDir(), "auto")
	require.NoError(t, err)
	require.Equal(t, "go", r.Chosen.Backend)
	assert.Equal(t, 1, strings.Count(log, "level=WARN"), log)
	assert.Contains(t, log, "the pure-Go reference is slow")
	for _, name := range []string{"cuda: ", "cpu: "} {
		assert.Contains(t, log, name)
		assert.Contains(t, r.Reason, name)
	}
	_, log, err = openLogged(t, t.TempDir(), "go")
	require.NoError(t, err)
	assert.NotContains(t, log, "WARN")
}

// Files that are no CPU backend are refused with the reason, each, and the search goes on behind them.
func TestForeignLibraries(t *testing.T) {
	if !bindings.Native || !nativeAvailable() {
		t.Skip("needs the CPU backend")
	}
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(buildLib(), name))
		require.NoError(t, err)
		return data
	}
	cpu, cuda := read("libcredence_cpu.so"), read("libcredence_cuda.so")
	for _, c := range []struct {
		name, reason string
		data         []byte
	}{
		{"truncated", "truncated: ", cpu[:len(cpu)/2]},
		{"almost whole", "truncated: ", cpu[:len(cpu)-1]},
		{"text", "not a shared library: no ELF header", []byte(strings.Repeat("no library\n", 100))},
		{"empty", "the file is empty", nil},
		{"another backend", `it is the backend "cuda", whatever the file is called`, cuda},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "libcredence_cpu.so")
			require.NoError(t, os.WriteFile(path, c.data, 0o700))

			_, _, err := openLogged(t, dir, "cpu")
			require.ErrorIs(t, err, ErrNoDevice)
			assert.ErrorContains(t, err, "open device cpu: no device: cpu: "+path+": "+c.reason)
			assert.ErrorContains(t, err, "; available: go")
			assert.NotContains(t, err.Error(), "\n")

			r, _, err := openLogged(t, dir+string(filepath.ListSeparator)+buildLib(), "cpu")
			require.NoError(t, err)
			require.Equal(t, "cpu", r.Chosen.Backend)
			require.Len(t, r.Backends[0].Attempts, 2)
			assert.Contains(t, r.Backends[0].Attempts[0].Reason, c.reason)
			assert.Equal(t, filepath.Join(buildLib(), "libcredence_cpu.so"), r.Backends[0].Path)
		})
	}
}

// Where there is no GPU the error is one line: the reason, and what there is instead.
func TestNoGPU(t *testing.T) {
	r, err := Survey(WithBackendDir(buildLib()))
	require.NoError(t, err)
	require.Equal(t, "cuda", r.Backends[0].Name)
	if r.Backends[0].Refused == "" {
		t.Skip("there is a GPU")
	}
	for _, device := range []string{"cuda", "cuda:1", "cuda:GPU-0123"} {
		_, _, err := openLogged(t, buildLib(), device)
		require.ErrorIs(t, err, ErrNoDevice)
		assert.ErrorContains(t, err, "open device "+device+": no device: "+device+": "+r.Backends[0].Refused+"; available: ")
		assert.True(t, strings.HasSuffix(err.Error(), "go"), err)
		assert.NotContains(t, err.Error(), "\n")
	}
}

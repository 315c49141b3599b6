package probe

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	goruntime "runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// helper writes a shell script that plays credence-probe.
func helper(t *testing.T, script string) string {
	t.Helper()
	if goruntime.GOOS == "windows" {
		t.Skip("the fake helpers are shell scripts")
	}
	path := filepath.Join(t.TempDir(), "credence-probe")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	return path
}

const good = `{"schema":1,"driver":"550.54","cuda":"12.4","gpus":[{"index":0,"name":"H","uuid":"GPU-1","memory_total":5,
"memory_used":0,"temperature":40,"ecc":true,"ecc_errors":{"corrected":1,"uncorrected":0},"mig":false,
"utilisation":{"gpu":7,"memory":3}},{"index":1,"unknown":{"gpu":"lost"}}]}`

func TestRun(t *testing.T) {
	h := Run(context.Background(), helper(t, "echo '"+good+"'"))
	require.True(t, h.Known, h.Reason)
	assert.Empty(t, h.Reason)
	assert.Equal(t, "550.54", h.Driver)
	require.Len(t, h.GPUs, 2)
	g := h.GPUs[0]
	assert.Equal(t, "GPU-1", g.UUID)
	assert.Equal(t, uint64(5), *g.MemoryTotal)
	assert.Equal(t, uint64(0), *g.MemoryUsed, "0 is known, not missing")
	assert.Equal(t, uint32(40), *g.Temperature)
	assert.True(t, *g.ECC)
	assert.False(t, *g.MIG)
	assert.Equal(t, ECCErrors{Corrected: 1}, *g.ECCErrors)
	assert.Equal(t, Utilisation{7, 3}, *g.Utilisation)
	assert.Nil(t, h.GPUs[1].Temperature)

	var again Report
	text, err := json.Marshal(h.Report)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &again))
	assert.Equal(t, h.Report, again)
}

func TestNoDriver(t *testing.T) {
	h := Run(context.Background(), helper(t, `echo '{"schema":1,"error":"no NVIDIA driver","gpus":[]}'`))
	assert.False(t, h.Known)
	assert.Equal(t, "no NVIDIA driver", h.Reason)
}

func TestWhateverGoesWrongMeansUnknown(t *testing.T) {
	notExecutable := helper(t, "exit 0")
	require.NoError(t, os.Chmod(notExecutable, 0o600))
	dir := t.TempDir()
	for _, c := range []struct{ name, path, want string }{
		{"absent", filepath.Join(dir, "none"), "credence-probe is not at " + filepath.Join(dir, "none")},
		{"relative", "credence-probe", `the path of credence-probe must be absolute, "credence-probe" is not`},
		{"not executable", notExecutable, "credence-probe could not be started: "},
		{"a directory", dir, "credence-probe could not be started: "},
		{"crash", helper(t, "kill -SEGV $$"), "credence-probe failed (signal: segmentation fault"},
		{"missing symbol", helper(t, "echo one >&2; echo symbol lookup error: nvmlInit >&2; exit 127"),
			"credence-probe failed (exit status 127): symbol lookup error: nvmlInit"},
		{"silent failure", helper(t, "exit 3"), "credence-probe failed (exit status 3)"},
		{"nothing", helper(t, "exit 0"), "credence-probe wrote no JSON: EOF"},
		{"garbage", helper(t, "echo hello"), "credence-probe wrote no JSON: invalid character 'h'"},
		{"half a document", helper(t, `echo '{"schema":1,"gpus":['`), "credence-probe wrote no JSON: unexpected EOF"},
		{"wrong types", helper(t, `echo '{"schema":1,"gpus":[{"temperature":-4}]}'`), "credence-probe wrote no JSON: "},
		{"two documents", helper(t, `echo '{"schema":1}{"schema":1}'`), "credence-probe wrote more than one document"},
		{"another schema", helper(t, `echo '{"schema":2}'`), "credence-probe speaks schema 2, this program 1"},
		{"far too much", helper(t, "head -c 3000000 /dev/zero"), "credence-probe wrote more than 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := Run(context.Background(), c.path)
			assert.False(t, h.Known)
			assert.Contains(t, h.Reason, c.want)
			assert.Empty(t, h.GPUs)
		})
	}
}

func TestTimeout(t *testing.T) {
	for name, script := range map[string]string{
		"asleep":                       "exec sleep 60",
		"a child that keeps the pipes": "sleep 60 & wait",
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			start := time.Now()
			h := Run(ctx, helper(t, script))
			assert.False(t, h.Known)
			assert.Equal(t, "credence-probe did not answer in time", h.Reason)
			assert.Less(t, time.Since(start), 3*time.Second)
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	assert.Equal(t, "credence-probe was cancelled", Run(ctx, helper(t, "exec sleep 60")).Reason)
}

func TestCleanEnvironment(t *testing.T) {
	t.Setenv("CREDENCE_TEST_SECRET", "s3cret")
	t.Setenv("LD_LIBRARY_PATH", "/usr/local/nvidia/lib64")
	h := Run(context.Background(), helper(t,
		`echo '{"schema":1,"driver":"'"$CREDENCE_TEST_SECRET|$HOME|$LD_LIBRARY_PATH|$(pwd)"'","gpus":[]}'`))
	require.True(t, h.Known, h.Reason)
	assert.Equal(t, "||/usr/local/nvidia/lib64|/", h.Driver)
}

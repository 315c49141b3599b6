package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/runtime"
	"github.com/credence-ml/credence/runtime/testenv"
)

// credence runs a command line.
func credence(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(context.Background(), args, &out, &errs)
	return out.String(), errs.String(), status
}

// oneLine checks that an error is one clear line and nothing else.
func oneLine(t *testing.T, stderr string, status int, want string) {
	t.Helper()
	assert.Equal(t, 1, status)
	assert.True(t, strings.HasPrefix(stderr, "credence: "), stderr)
	assert.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
	assert.Contains(t, stderr, want)
	assert.NotContains(t, stderr, "Usage")
}

// without is why a backend cannot be used: in a build without cgo it is not even looked for.
func without(reason string) string {
	if runtime.Build().Cgo {
		return reason
	}
	return "built without cgo"
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"devces", `credence has no command "devces"; did you mean devices? (see credence --help)`},
		{"frobnicate", `credence has no command "frobnicate" (see credence --help)`},
		{"bench opps", `credence bench has no command "opps"; did you mean ops? (see credence bench --help)`},
		{"devices now", `credence devices takes no arguments, "now" was given`},
		{"devices --jsn", "unknown flag: --jsn (see credence devices --help)"},
		{"env --threads", "flag needs an argument: --threads (see credence env --help)"},
		{"env --threads 0", "CREDENCE_THREADS=0 (option): want an integer from 1 to 1024"},
		{"devices --device bogus", `no backend is called "bogus"; want auto, go, cpu, cuda`},
		{"bench ops --device go --filter (", "--filter: error parsing regexp: missing closing )"},
		{"bench ops --device go --filter nothing/at_all", `no case's name matches "nothing/at_all"`},
		{"bench ops --device go --time 0s", "--time 0s: want more than 0"},
	} {
		stdout, stderr, status := credence(t, strings.Fields(c.args)...)
		oneLine(t, stderr, status, c.want)
		assert.Empty(t, stdout, c.args)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{nil, {"help"}, {"--help"}, {"bench"}, {"bench", "ops", "--help"}, {"devices", "--help"}} {
		stdout, stderr, status := credence(t, args...)
		assert.Zero(t, status)
		assert.Empty(t, stderr)
		assert.Contains(t, stdout, "Usage:")
	}
}

func TestVersion(t *testing.T) {
	stdout, _, status := credence(t, "version")
	assert.Zero(t, status)
	assert.Contains(t, stdout, "credence     "+runtime.Version+"\n")
	stdout, _, _ = credence(t, "version", "--json")
	var b runtime.BuildInfo
	require.NoError(t, json.Unmarshal([]byte(stdout), &b))
	assert.Equal(t, runtime.Build(), b)
}

func TestEnv(t *testing.T) {
	t.Setenv("CREDENCE_MATH", "tf32")
	stdout, stderr, status := credence(t, "env", "--threads", "3")
	assert.Zero(t, status, stderr)
	assert.Contains(t, stdout, "CREDENCE_MATH=tf32  (environment)\n")
	assert.Contains(t, stdout, "CREDENCE_THREADS=3  (option)\n")
	assert.Contains(t, stdout, "CREDENCE_VALIDATE=off  (default)\n")
	for _, v := range runtime.Variables() {
		assert.Contains(t, stdout, v.Name)
	}
	for line := range strings.Lines(stdout) {
		assert.LessOrEqual(t, len(line), 101)
	}

	stdout, _, _ = credence(t, "env", "--json")
	var settings []runtime.Setting
	require.NoError(t, json.Unmarshal([]byte(stdout), &settings))
	assert.Len(t, settings, len(runtime.Variables()))

	t.Setenv("CREDENCE_THREADS", "none")
	_, stderr, status = credence(t, "env")
	oneLine(t, stderr, status, "CREDENCE_THREADS=none (environment): want an integer from 1 to 1024")
}

// Without a GPU the table comes first, so that the user sees what there is, and then the reason.
func TestDevicesWithoutTheOneAskedFor(t *testing.T) {
	dir := t.TempDir()
	stdout, stderr, status := credence(t, "devices", "--device", "cuda", "--backend-dir", dir)
	oneLine(t, stderr, status, "open device cuda: no device: cuda: "+without("libcredence_cuda.so is in none of the "))
	assert.Contains(t, stderr, "available: ")
	assert.Contains(t, stdout, "BACKEND")
	if runtime.Build().Cgo {
		assert.Contains(t, stdout, filepath.Join(dir, "libcredence_cuda.so"))
	}
	assert.Contains(t, stdout, "usable, not asked for")
	assert.Contains(t, stdout, "GPU health: unknown: the helper program credence-probe was not found")

	stdout, stderr, status = credence(t, "devices", "--json", "--device", "cuda", "--backend-dir", dir)
	oneLine(t, stderr, status, "no device")
	var doc devicesDocument
	require.NoError(t, json.Unmarshal([]byte(stdout), &doc))
	assert.Nil(t, doc.Chosen)
	assert.Equal(t, "cuda", doc.Requested)
	assert.Equal(t, "option", doc.Origin)
	assert.False(t, doc.Health.Known)
	require.Len(t, doc.Backends, 3)
	assert.Equal(t, "cuda", doc.Backends[0].Name)
	assert.NotEmpty(t, doc.Backends[0].Refused)
	assert.Equal(t, runtime.Build().Cgo, len(doc.Backends[0].Attempts) > 0)
}

func TestDevices(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "libcredence_cpu.so"), []byte("this is no library, whatever its name says, and it is long enough\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "credence-probe"), []byte(`#!/bin/sh
echo '{"schema":1,"driver":"550.54","cuda":"12.4","gpus":[{"index":0,"name":"NVIDIA H200","uuid":"GPU-5","compute_capability":"9.0",
"memory_total":150754820096,"memory_used":0,"temperature":41,"ecc":true,"ecc_errors":{"corrected":2,"uncorrected":0},"mig":false,
"utilisation":{"gpu":7,"memory":1},"throttled":["power cap"],"processes":[{"pid":5,"memory":1073741824},{"pid":6}]},
{"index":1,"ecc":false,"throttled":[],"processes":[],"unknown":{"temperature":"lost","mig":"lost"}}]}'
`), 0o755))
	stdout, stderr, status := credence(t, "devices", "--device", "cpu,go", "--backend-dir", dir)
	require.Zero(t, status, stderr)
	assert.Regexp(t, `(?m)^go +0 .*chosen$`, stdout)
	assert.Regexp(t, `(?m)^cpu +- .*refused: .*`+without("libcredence_cpu.so: not a shared library: no ELF header"), stdout)
	assert.Contains(t, stdout, "Requested: cpu,go (option)")
	assert.Contains(t, stdout, "passed over cpu: ")
	assert.Contains(t, stdout, "GPU health: driver 550.54, CUDA up to 12.4")
	assert.Regexp(t, `(?m)^0 +NVIDIA H200 +GPU-5 +9\.0 +0 B +140\.4 GiB +41 °C +7 % +power cap +2 with 1\.0 GiB +2 corrected, 0 not +off +-$`, stdout)
	assert.Regexp(t, `(?m)^1 +- .* nothing +0 +not counted: off +- +mig \(lost\), temperature \(lost\)$`, stdout)
}

func TestBenchOps(t *testing.T) {
	args := []string{"bench", "ops", "--device", "go", "--time", "1ms", "--filter", "^fill/large$"}
	stdout, stderr, status := credence(t, args...)
	require.Zero(t, status, stderr)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	require.Len(t, lines, 4)
	assert.Contains(t, lines[0], "go pure Go reference (go), ")
	assert.Equal(t, strings.Index(lines[2], "RUNS")+4, len([]rune(lines[3])), "aligned")

	stdout, stderr, status = credence(t, append(args, "--json")...)
	require.Zero(t, status, stderr)
	var doc benchDocument
	require.NoError(t, json.Unmarshal([]byte(stdout), &doc))
	require.Len(t, doc.Timings, 1)
	b := doc.Timings[0]
	assert.Equal(t, "fill/large", b.Name())
	assert.Equal(t, int64(4<<20), b.Bytes)
	assert.InDelta(t, float64(b.Bytes)/float64(b.Median), b.GBPerSecond, 1e-9)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var errs bytes.Buffer
	status = run(ctx, args, &bytes.Buffer{}, &errs)
	oneLine(t, errs.String(), status, "cancelled")
}

func TestOutput(t *testing.T) {
	for bytes, want := range map[uint64]string{0: "", 1: "1 B", 1023: "1023 B", 1536: "1.5 KiB", 5 << 30: "5.0 GiB", 1 << 62: "4194304.0 TiB"} {
		assert.Equal(t, want, size(bytes))
	}
	assert.Equal(t, []string{"aa bb", "cc", "a-very-long-word", "d"}, wrap("aa bb cc a-very-long-word d", 6))
	assert.Equal(t, "1.500 µs", duration(1500))
	assert.Equal(t, "150.0 µs", duration(150_000))
	assert.Equal(t, "150.0 ms", duration(150_000_000))
	assert.Equal(t, "15.0 s", duration(15_000_000_000))
}

func TestDevicesMeasure(t *testing.T) {
	testenv.NeedBackend(t, "cpu")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := testenv.BackendDir()
	stdout, stderr, status := credence(t, "devices", "--measure", "--device", "cpu", "--backend-dir", dir)
	require.Zero(t, status, stderr)
	assert.Regexp(t, `(?m)^cpu +[0-9.]+ µs +[0-9.]+ µs +[0-9.]+ +[0-9.]+ +[0-9.]+ +[0-9.]+$`, stdout)
	assert.NotRegexp(t, `(?m)^go +[0-9.]+ µs`, stdout, "nobody places a model on the reference")

	rt, err := runtime.Open(runtime.WithDevice("cpu"), runtime.WithBackendDir(dir))
	require.NoError(t, err)
	defer rt.Close()
	_, known := rt.KnownSpeed()
	assert.True(t, known, "what was measured is kept")

	stdout, stderr, status = credence(t, "devices", "--device", "cpu", "--backend-dir", dir)
	require.Zero(t, status, stderr)
	assert.NotContains(t, stdout, "MEASURED", "nothing is placed by speeds without a GPU")
}

func TestSpeedsOfTwoGPUsAndACPU(t *testing.T) {
	gpu := runtime.Speed{Submission: 20e3, Operation: 2e3, Copy: 2e10, Memory: 2e12, Cache: 4e12, Product: 1e13}
	cpu := runtime.Speed{Submission: 1e3, Operation: 100, Copy: 1e10, Memory: 1e10, Cache: 1e11, Product: 1e11}
	var out bytes.Buffer
	d := devicesDocument{Speeds: []deviceSpeed{{"cuda", gpu}, {"cuda:1", cpu}, {"cpu", cpu}}}
	require.NoError(t, d.writeSpeeds(&out))
	assert.Regexp(t, `(?m)^cuda +20\.0 µs +2\.000 µs +20\.0 +2000\.0 +4000\.0 +10000\.0$`, out.String())
	assert.Regexp(t, `(?m)^cuda pays from about \d+ x \d+: `, out.String())
	assert.Contains(t, out.String(), "cuda:1 does not pay: ")
	assert.NotContains(t, out.String(), "cpu pays")
}

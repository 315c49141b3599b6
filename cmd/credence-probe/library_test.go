//go:build cgo && linux

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/runtime/probe"
)

// The test binary plays credence-probe when it is told to.
func TestMain(m *testing.M) {
	if os.Getenv("CREDENCE_TEST_PROBE") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// examineWith runs the program against a compiled stand-in for the driver's library.
func examineWith(t *testing.T, flags ...string) probe.Report {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler to build a stand-in for the driver's library with")
	}
	dir := t.TempDir()
	args := append([]string{"-shared", "-fPIC", "-o", filepath.Join(dir, "libnvidia-ml.so.1"), "testdata/nvml.c"}, flags...)
	out, err := exec.Command(cc, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return examineIn(t, dir)
}

func examineIn(t *testing.T, dir string) probe.Report {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	c := exec.Command(self)
	c.Env = []string{"CREDENCE_TEST_PROBE=1", "LD_LIBRARY_PATH=" + dir}
	text, err := c.Output()
	require.NoError(t, err)
	var r probe.Report
	require.NoError(t, json.Unmarshal(text, &r))
	assert.Equal(t, probe.Schema, r.Schema)
	return r
}

func TestLibraryOfAnOldDriver(t *testing.T) {
	r := examineWith(t)
	assert.Empty(t, r.Error)
	assert.Equal(t, "390.157", r.Driver)
	assert.Empty(t, r.CUDA, "the old driver does not say")
	require.Len(t, r.GPUs, 2)
	total, used := uint64(1000), uint64(600)
	assert.Equal(t, probe.GPU{Name: "Old GPU", UUID: "GPU-old", ComputeCapability: "3.5", MemoryTotal: &total,
		MemoryUsed: &used, Unknown: map[string]string{
			"temperature": "Not Supported",
			"ecc":         "the driver has no nvmlDeviceGetEccMode",
			"mig":         "the driver has no nvmlDeviceGetMigMode",
			"utilisation": "the driver has no nvmlDeviceGetUtilizationRates",
			"throttled":   "the driver has no nvmlDeviceGetCurrentClocksThrottleReasons",
			"processes":   "the driver has no nvmlDeviceGetComputeRunningProcesses",
		}}, r.GPUs[0])
	assert.Equal(t, probe.GPU{Index: 1, Unknown: map[string]string{"gpu": "some error"}}, r.GPUs[1])
}

func TestLibraryThatCannotBeInitialised(t *testing.T) {
	r := examineWith(t, "-DINIT=18")
	assert.Contains(t, r.Error, "different versions")
	assert.NotNil(t, r.GPUs)
	r = examineWith(t, "-DINIT=77")
	assert.Equal(t, "NVML cannot be initialised: error 77", r.Error)
}

func TestNoLibrary(t *testing.T) {
	if _, err := os.Stat("/dev/nvidiactl"); err == nil {
		t.Skip("this machine has a driver")
	}
	assert.Equal(t, "no NVIDIA driver: libnvidia-ml.so.1 was not found", examineIn(t, t.TempDir()).Error)
}

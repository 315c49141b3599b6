//go:build cgo && linux

package main

import (
	"errors"
	"math"
	"testing"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxh200"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/runtime/probe"
)

// machine is go-nvml's simulated DGX with eight H200, completed by what its simulation leaves out.
func machine() *server.Server {
	s := dgxh200.New()
	for i := range s.Devices {
		d := device(s, i)
		d.MemoryInfo.Used = 1 << 30
		d.GetTemperatureFunc = func(sensor nvml.TemperatureSensors) (uint32, nvml.Return) {
			if sensor != nvml.TEMPERATURE_GPU {
				return 0, nvml.ERROR_INVALID_ARGUMENT
			}
			return 40 + uint32(i), nvml.SUCCESS
		}
		d.GetEccModeFunc = func() (nvml.EnableState, nvml.EnableState, nvml.Return) {
			return nvml.FEATURE_ENABLED, nvml.FEATURE_DISABLED, nvml.SUCCESS
		}
		d.GetTotalEccErrorsFunc = func(kind nvml.MemoryErrorType, since nvml.EccCounterType) (uint64, nvml.Return) {
			if since != nvml.VOLATILE_ECC {
				return 0, nvml.ERROR_INVALID_ARGUMENT
			}
			return map[nvml.MemoryErrorType]uint64{nvml.MEMORY_ERROR_TYPE_CORRECTED: 9, nvml.MEMORY_ERROR_TYPE_UNCORRECTED: 2}[kind],
				nvml.SUCCESS
		}
		d.GetCurrentClocksThrottleReasonsFunc = func() (uint64, nvml.Return) {
			return nvml.ClocksThrottleReasonGpuIdle | nvml.ClocksThrottleReasonApplicationsClocksSetting, nvml.SUCCESS
		}
		d.GetComputeRunningProcessesFunc = func() ([]nvml.ProcessInfo, nvml.Return) { return nil, nvml.SUCCESS }
		d.GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) {
			return nvml.Utilization{Gpu: 75, Memory: 30}, nvml.SUCCESS
		}
	}
	return s
}

func device(s *server.Server, i int) *server.Device { return s.Devices[i].(*server.Device) }

func TestGather(t *testing.T) {
	s := machine()
	device(s, 1).MigMode = nvml.DEVICE_MIG_ENABLE
	device(s, 2).GetCurrentClocksThrottleReasonsFunc = func() (uint64, nvml.Return) {
		return nvml.ClocksThrottleReasonSwPowerCap | nvml.ClocksThrottleReasonHwThermalSlowdown, nvml.SUCCESS
	}
	device(s, 3).GetComputeRunningProcessesFunc = func() ([]nvml.ProcessInfo, nvml.Return) {
		return []nvml.ProcessInfo{{Pid: 7, UsedGpuMemory: 5}, {Pid: 8, UsedGpuMemory: math.MaxUint64}}, nvml.SUCCESS
	}
	r := gather(s)
	assert.Empty(t, r.Error)
	assert.Equal(t, s.DriverVersion, r.Driver)
	assert.Regexp(t, `^1[0-9]\.[0-9]$`, r.CUDA)
	require.Len(t, r.GPUs, 8)
	for i, g := range r.GPUs {
		assert.Equal(t, i, g.Index)
		assert.Equal(t, "NVIDIA H200 141GB HBM3e", g.Name)
		assert.Equal(t, device(s, i).UUID, g.UUID)
		assert.Equal(t, "9.0", g.ComputeCapability)
		assert.Equal(t, uint64(144384)<<20, *g.MemoryTotal)
		assert.Equal(t, uint64(1)<<30, *g.MemoryUsed)
		assert.Equal(t, 40+uint32(i), *g.Temperature)
		assert.True(t, *g.ECC)
		assert.Equal(t, uint64(9), g.ECCErrors.Corrected)
		assert.Equal(t, uint64(2), g.ECCErrors.Uncorrected)
		assert.Equal(t, i == 1, *g.MIG)
		assert.Equal(t, uint32(75), g.Utilisation.GPU)
		assert.Equal(t, uint32(30), g.Utilisation.Memory)
		if i == 2 {
			assert.Equal(t, []string{"power cap", "temperature, by hardware"}, g.Throttled)
		} else {
			assert.Equal(t, []string{}, g.Throttled)
		}
		if i == 3 {
			five := uint64(5)
			assert.Equal(t, []probe.Process{{PID: 7, Memory: &five}, {PID: 8}}, g.Processes)
		} else {
			assert.Equal(t, []probe.Process{}, g.Processes)
		}
		assert.Empty(t, g.Unknown)
	}
	assert.Len(t, s.ShutdownCalls(), 1)
}

// After a failed Init any further call may end the process: this interface panics at every one.
func TestNothingIsCalledAfterAFailedInit(t *testing.T) {
	for ret, want := range map[nvml.Return]string{
		nvml.ERROR_LIBRARY_NOT_FOUND:       "no NVIDIA driver: libnvidia-ml.so.1 was not found",
		nvml.ERROR_DRIVER_NOT_LOADED:       "the NVIDIA driver is installed and not loaded",
		nvml.ERROR_LIB_RM_VERSION_MISMATCH: "different versions",
		nvml.ERROR_UNKNOWN:                 "NVML cannot be initialised: error 999",
	} {
		r := gather(&mock.Interface{InitFunc: func() nvml.Return { return ret }})
		assert.Contains(t, r.Error, want)
		assert.Empty(t, r.GPUs)
	}
}

func TestWhatCannotBeReadIsUnknown(t *testing.T) {
	s := machine()
	lost := device(s, 0)
	s.DeviceGetHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) {
		if i == 0 {
			return nil, nvml.ERROR_GPU_IS_LOST
		}
		return s.Devices[i], nvml.SUCCESS
	}
	device(s, 1).GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 0, nvml.ERROR_NO_PERMISSION }
	device(s, 2).GetEccModeFunc = func() (nvml.EnableState, nvml.EnableState, nvml.Return) {
		return 0, 0, nvml.ERROR_NOT_SUPPORTED
	}
	device(s, 3).GetTotalEccErrorsFunc = func(k nvml.MemoryErrorType, _ nvml.EccCounterType) (uint64, nvml.Return) {
		if k == nvml.MEMORY_ERROR_TYPE_UNCORRECTED {
			return 0, nvml.ERROR_NOT_SUPPORTED
		}
		return 1, nvml.SUCCESS
	}
	device(s, 4).GetMigModeFunc = func() (int, int, nvml.Return) { return 0, 0, nvml.ERROR_NOT_SUPPORTED }
	device(s, 5).GetMemoryInfoFunc = func() (nvml.Memory, nvml.Return) { return nvml.Memory{}, nvml.ERROR_NO_PERMISSION }
	device(s, 6).GetEccModeFunc = func() (nvml.EnableState, nvml.EnableState, nvml.Return) {
		return 0, 0, nvml.ERROR_NO_PERMISSION
	}
	device(s, 7).GetCurrentClocksThrottleReasonsFunc = func() (uint64, nvml.Return) { return 0, nvml.ERROR_NOT_SUPPORTED }
	device(s, 7).GetComputeRunningProcessesFunc = func() ([]nvml.ProcessInfo, nvml.Return) {
		return nil, nvml.ERROR_NO_PERMISSION
	}
	g := gather(s).GPUs
	require.Len(t, g, 8)
	assert.Equal(t, map[string]string{"gpu": "ERROR_GPU_IS_LOST"}, g[0].Unknown)
	assert.Empty(t, g[0].UUID)
	assert.Empty(t, lost.GetUUIDCalls())
	assert.Equal(t, map[string]string{"temperature": "ERROR_NO_PERMISSION"}, g[1].Unknown)
	assert.Nil(t, g[1].Temperature)
	assert.NotNil(t, g[1].Utilisation, "one unanswered question does not spoil the others")
	assert.False(t, *g[2].ECC, "not supported is off")
	assert.Nil(t, g[2].ECCErrors)
	assert.Empty(t, g[2].Unknown)
	assert.Equal(t, map[string]string{"ecc_errors": "ERROR_NOT_SUPPORTED"}, g[3].Unknown)
	assert.Nil(t, g[3].ECCErrors, "half a count is none")
	assert.False(t, *g[4].MIG)
	assert.Equal(t, map[string]string{"memory_total": "ERROR_NO_PERMISSION"}, g[5].Unknown)
	assert.Nil(t, g[5].MemoryUsed)
	assert.Equal(t, map[string]string{"ecc": "ERROR_NO_PERMISSION"}, g[6].Unknown)
	assert.Nil(t, g[6].ECC)
	assert.Equal(t, map[string]string{"throttled": "ERROR_NOT_SUPPORTED", "processes": "ERROR_NO_PERMISSION"}, g[7].Unknown)
	assert.Nil(t, g[7].Throttled)
	assert.Nil(t, g[7].Processes)
}

// A function that an old driver does not have is never called.
func TestOldDriver(t *testing.T) {
	s := machine()
	s.LookupSymbolFunc = func(symbol string) error {
		if symbol == "nvmlDeviceGetMigMode" {
			return errors.New("undefined symbol")
		}
		return nil
	}
	for i := range s.Devices {
		device(s, i).GetMigModeFunc = nil // panics
	}
	for _, g := range gather(s).GPUs {
		assert.Nil(t, g.MIG)
		assert.Equal(t, map[string]string{"mig": "the driver has no nvmlDeviceGetMigMode"}, g.Unknown)
	}
}

func TestUncountableGPUs(t *testing.T) {
	s := machine()
	s.DeviceGetCountFunc = func() (int, nvml.Return) { return 0, nvml.ERROR_UNKNOWN }
	r := gather(s)
	assert.Equal(t, "the GPUs cannot be counted: ERROR_UNKNOWN", r.Error)
	assert.NotEmpty(t, r.Driver)
	assert.Len(t, s.ShutdownCalls(), 1)
}

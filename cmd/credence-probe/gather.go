//go:build cgo && linux

package main

import (
	"fmt"
	"math"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/credence-ml/credence/runtime/probe"
)

func examine() probe.Report { return gather(nvml.New()) }

// initErrors names the failures of Init in our own words. NVML's are out of reach: after a failed Init no function of
// the library may be called, not even the one that explains the error.
var initErrors = map[nvml.Return]string{
	nvml.ERROR_LIBRARY_NOT_FOUND:       "no NVIDIA driver: libnvidia-ml.so.1 was not found",
	nvml.ERROR_DRIVER_NOT_LOADED:       "the NVIDIA driver is installed and not loaded",
	nvml.ERROR_LIB_RM_VERSION_MISMATCH: "the NVIDIA driver and its library are of different versions: the machine was not restarted after an update",
	nvml.ERROR_NO_PERMISSION:           "no permission to talk to the NVIDIA driver",
	nvml.ERROR_GPU_NOT_FOUND:           "the NVIDIA driver finds no GPU",
	nvml.ERROR_OPERATING_SYSTEM:        "the operating system refuses the NVIDIA driver (a container without devices?)",
}

// gather asks NVML for everything a report holds.
func gather(lib nvml.Interface) probe.Report {
	if ret := lib.Init(); ret != nvml.SUCCESS {
		reason, ok := initErrors[ret]
		if !ok {
			reason = fmt.Sprintf("NVML cannot be initialised: error %d", int(ret))
		}
		return probe.Report{Error: reason}
	}
	defer lib.Shutdown()
	var r probe.Report
	if v, ret := lib.SystemGetDriverVersion(); ret == nvml.SUCCESS {
		r.Driver = v
	}
	if lib.Extensions().LookupSymbol("nvmlSystemGetCudaDriverVersion") == nil {
		if v, ret := lib.SystemGetCudaDriverVersion(); ret == nvml.SUCCESS {
			r.CUDA = fmt.Sprintf("%d.%d", v/1000, v%1000/10)
		}
	}
	n, ret := lib.DeviceGetCount()
	if ret != nvml.SUCCESS {
		r.Error = "the GPUs cannot be counted: " + ret.Error()
		return r
	}
	for i := range n {
		r.GPUs = append(r.GPUs, gpu(lib, i))
	}
	return r
}

// reader fills a GPU field by field, noting what cannot be read.
type reader struct {
	lib nvml.Interface
	gpu probe.GPU
}

// ask notes the outcome of one question; true if it was answered. Older drivers lack some functions, and calling one
// that the library does not have ends the process, so the symbol is looked up first.
func (r *reader) ask(field, symbol string, question func() nvml.Return) bool {
	reason := ""
	if r.lib.Extensions().LookupSymbol(symbol) != nil {
		reason = "the driver has no " + symbol
	} else if ret := question(); ret != nvml.SUCCESS {
		reason = ret.Error()
	}
	if reason == "" {
		return true
	}
	if r.gpu.Unknown == nil {
		r.gpu.Unknown = map[string]string{}
	}
	r.gpu.Unknown[field] = reason
	return false
}

func gpu(lib nvml.Interface, index int) probe.GPU {
	r := &reader{lib: lib, gpu: probe.GPU{Index: index}}
	var d nvml.Device
	if !r.ask("gpu", "nvmlDeviceGetHandleByIndex", func() (ret nvml.Return) {
		d, ret = lib.DeviceGetHandleByIndex(index)
		return ret
	}) {
		return r.gpu // fallen off the bus, or not ours to see
	}
	g := &r.gpu
	r.ask("name", "nvmlDeviceGetName", func() (ret nvml.Return) { g.Name, ret = d.GetName(); return ret })
	r.ask("uuid", "nvmlDeviceGetUUID", func() (ret nvml.Return) { g.UUID, ret = d.GetUUID(); return ret })
	r.ask("compute_capability", "nvmlDeviceGetCudaComputeCapability", func() nvml.Return {
		major, minor, ret := d.GetCudaComputeCapability()
		if ret == nvml.SUCCESS {
			g.ComputeCapability = fmt.Sprintf("%d.%d", major, minor)
		}
		return ret
	})
	var memory nvml.Memory
	if r.ask("memory_total", "nvmlDeviceGetMemoryInfo", func() (ret nvml.Return) {
		memory, ret = d.GetMemoryInfo()
		return ret
	}) {
		g.MemoryTotal, g.MemoryUsed = &memory.Total, &memory.Used
	}
	var celsius uint32
	if r.ask("temperature", "nvmlDeviceGetTemperature", func() (ret nvml.Return) {
		celsius, ret = d.GetTemperature(nvml.TEMPERATURE_GPU)
		return ret
	}) {
		g.Temperature = &celsius
	}
	r.readECC(d)
	r.ask("mig", "nvmlDeviceGetMigMode", func() nvml.Return {
		mode, _, ret := d.GetMigMode()
		if ret == nvml.ERROR_NOT_SUPPORTED { // a GPU that cannot be split is not split
			mode, ret = nvml.DEVICE_MIG_DISABLE, nvml.SUCCESS
		}
		if ret == nvml.SUCCESS {
			on := mode == nvml.DEVICE_MIG_ENABLE
			g.MIG = &on
		}
		return ret
	})
	r.ask("utilisation", "nvmlDeviceGetUtilizationRates", func() nvml.Return {
		u, ret := d.GetUtilizationRates()
		if ret == nvml.SUCCESS {
			g.Utilisation = &probe.Utilisation{GPU: u.Gpu, Memory: u.Memory}
		}
		return ret
	})
	r.ask("throttled", "nvmlDeviceGetCurrentClocksThrottleReasons", func() nvml.Return {
		reasons, ret := d.GetCurrentClocksThrottleReasons()
		if ret == nvml.SUCCESS {
			g.Throttled = throttled(reasons)
		}
		return ret
	})
	r.ask("processes", "nvmlDeviceGetComputeRunningProcesses", func() nvml.Return {
		list, ret := d.GetComputeRunningProcesses()
		if ret == nvml.SUCCESS {
			g.Processes = processes(list)
		}
		return ret
	})
	return r.gpu
}

// throttled names what holds the clocks down. Being idle, and clocks that somebody has set, do not count.
func throttled(reasons uint64) []string {
	names := []string{}
	for _, r := range []struct {
		bit  uint64
		name string
	}{
		{nvml.ClocksThrottleReasonSwPowerCap, "power cap"},
		{nvml.ClocksThrottleReasonHwSlowdown, "hardware slowdown"},
		{nvml.ClocksThrottleReasonSyncBoost, "slower GPU in its group"},
		{nvml.ClocksThrottleReasonSwThermalSlowdown, "temperature"},
		{nvml.ClocksThrottleReasonHwThermalSlowdown, "temperature, by hardware"},
		{nvml.ClocksThrottleReasonHwPowerBrakeSlowdown, "power brake"},
	} {
		if reasons&r.bit != 0 {
			names = append(names, r.name)
		}
	}
	return names
}

func processes(list []nvml.ProcessInfo) []probe.Process {
	all := []probe.Process{}
	for _, p := range list {
		q := probe.Process{PID: p.Pid}
		if p.UsedGpuMemory != math.MaxUint64 { // NVML_VALUE_NOT_AVAILABLE
			q.Memory = &p.UsedGpuMemory
		}
		all = append(all, q)
	}
	return all
}

func (r *reader) readECC(d nvml.Device) {
	on := false
	if !r.ask("ecc", "nvmlDeviceGetEccMode", func() nvml.Return {
		mode, _, ret := d.GetEccMode()
		if ret == nvml.ERROR_NOT_SUPPORTED { // a GPU without error correction has it off
			mode, ret = nvml.FEATURE_DISABLED, nvml.SUCCESS
		}
		on = mode == nvml.FEATURE_ENABLED
		return ret
	}) {
		return
	}
	r.gpu.ECC = &on
	if !on {
		return
	}
	var e probe.ECCErrors
	if r.ask("ecc_errors", "nvmlDeviceGetTotalEccErrors", func() (ret nvml.Return) {
		if e.Corrected, ret = d.GetTotalEccErrors(nvml.MEMORY_ERROR_TYPE_CORRECTED, nvml.VOLATILE_ECC); ret == nvml.SUCCESS {
			e.Uncorrected, ret = d.GetTotalEccErrors(nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.VOLATILE_ECC)
		}
		return ret
	}) {
		r.gpu.ECCErrors = &e
	}
}

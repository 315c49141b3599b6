// Package probe asks about the health of NVIDIA GPUs without risk to the process that asks.
//
// NVML, the driver's management library, is loaded by a helper program, credence-probe, that lives for one question: a
// call into a missing or mismatched driver ends the process that makes it, past any recovery, and a hung driver hangs
// it. Whatever happens to the helper means that the health is unknown, with the reason, and nothing worse.
package probe

// Schema is the version of the JSON document. A helper with another is not understood.
const Schema = 1

// Report is the JSON document that credence-probe prints.
type Report struct {
	Schema int    `json:"schema"`
	Error  string `json:"error,omitempty"`  // why nothing is known: no driver, no permission
	Driver string `json:"driver,omitempty"` // version of the driver
	CUDA   string `json:"cuda,omitempty"`   // the newest CUDA version that the driver serves
	GPUs   []GPU  `json:"gpus"`
}

// GPU is the state of one GPU. What could not be read is nil, with a reason in Unknown.
type GPU struct {
	Index             int          `json:"index"` // as NVML counts; CUDA may count differently, so compare UUIDs
	Name              string       `json:"name,omitempty"`
	UUID              string       `json:"uuid,omitempty"`
	ComputeCapability string       `json:"compute_capability,omitempty"` // "9.0"
	MemoryTotal       *uint64      `json:"memory_total,omitempty"`       // bytes
	MemoryUsed        *uint64      `json:"memory_used,omitempty"`        // bytes, by all processes
	Temperature       *uint32      `json:"temperature,omitempty"`        // degrees Celsius
	ECC               *bool        `json:"ecc,omitempty"`                // error correction is on
	ECCErrors         *ECCErrors   `json:"ecc_errors,omitempty"`
	MIG               *bool        `json:"mig,omitempty"` // the GPU is split into instances
	Utilisation       *Utilisation `json:"utilisation,omitempty"`
	Throttled         []string     `json:"throttled"` // why its clocks are held down; empty: they are not
	Processes         []Process    `json:"processes"` // that compute on it, as far as this machine may see them

	// Unknown says why a field above is missing, by its JSON name; under "gpu" why all of them are.
	Unknown map[string]string `json:"unknown,omitempty"`
}

// ECCErrors counts memory errors since the driver was loaded. Uncorrected ones mean results that may be wrong.
type ECCErrors struct {
	Corrected   uint64 `json:"corrected"`
	Uncorrected uint64 `json:"uncorrected"`
}

// A Process computes on a GPU.
type Process struct {
	PID    uint32  `json:"pid"`
	Memory *uint64 `json:"memory,omitempty"` // bytes of the GPU's; nil: the driver does not say
}

// Utilisation is the share of the last sampling period, in percent, in which the GPU computed and its memory was used.
type Utilisation struct {
	GPU    uint32 `json:"gpu"`
	Memory uint32 `json:"memory"`
}

// Health is the answer. Known is false whenever the helper did not give one, and Reason says why.
type Health struct {
	Known  bool   `json:"known"`
	Reason string `json:"reason,omitempty"`
	Report
}

// Unknown is a Health of which nothing is known.
func Unknown(reason string) Health { return Health{Reason: reason, Report: Report{Schema: Schema}} }

package runtime

import (
	"github.com/credence-ml/credence/ops"
)

// A device executes plans. There are three: native (one C backend library each for CPU and CUDA), the pure-Go device
// (the operations' float64 references) and the faulty one, which wraps another and fails on request.
type device interface {
	info() DeviceInfo
	// alloc gives zero-filled memory, aligned to ops.Align.
	alloc(bytes int64) (buffer, error)
	// wrap gives the device a read-only view of host memory, which must stay mapped until the buffer is freed.
	wrap(data []byte) (buffer, error)
	openPlan(p *ops.Program) (devicePlan, error)
	openStream() (stream, error)
	close()
}

// A buffer is device memory.
type buffer interface {
	size() int64
	// host is the memory as the host sees it, or nil where it cannot.
	host() []byte
	free()
}

// A devicePlan is a program made ready by a device.
type devicePlan interface{ close() }

// A stream runs submissions one after the other. All but cancel are called by one goroutine at a time.
type stream interface {
	// run submits a plan and waits for it.
	run(p devicePlan, tag uint64, slots []slot, ints []int64, floats []float64) error
	// cancel stops the submission with that tag and no other; any goroutine may call it.
	cancel(tag uint64)
	// write may leave before the memory is written, with src read: the work of this stream comes after it, others' after
	// wait.
	write(dst buffer, offset int64, src []byte) error
	read(dst []byte, src buffer, offset int64) error
	wait() error
	close()
}

// slot is memory bound to a slot of a program: all of b.
type slot struct{ b buffer }

// DeviceInfo describes a device.
type DeviceInfo struct {
	Backend      string `json:"backend"` // "cpu", "cuda", "go"
	Index        int    `json:"index"`
	Name         string `json:"name"`
	UUID         string `json:"uuid,omitempty"`
	Arch         string `json:"arch"`   // kernels in use: "avx512", "avx2", "generic", "sm_90", "go"
	Detail       string `json:"detail"` // libraries and self-tests, one line
	MemoryTotal  int64  `json:"memory_total"`
	MemoryFree   int64  `json:"memory_free"`
	ComputeUnits int    `json:"compute_units"` // CPU: threads in use
}

package runtime

import (
	"fmt"
	"sync/atomic"

	"github.com/credence-ml/credence/ops"
)

// Faults makes a runtime's device fail on request: for tests of what happens then. Counters run over the life of the
// runtime; 0 means never.
type Faults struct {
	// FailAlloc makes the n-th allocation of memory fail with ErrOutOfMemory (1 is the first).
	FailAlloc int64
	// FailSubmit makes the n-th submission fail with ErrDeviceLost, and all that follow.
	FailSubmit int64

	allocs, submits atomic.Int64
}

// Allocations is how many allocations were asked for so far.
func (f *Faults) Allocations() int64 { return f.allocs.Load() }

// Reset starts the counters again.
func (f *Faults) Reset() {
	f.allocs.Store(0)
	f.submits.Store(0)
}

// WithFaults wraps the chosen device in one that fails as told.
func WithFaults(f *Faults) Option { return func(c *Config) { c.faults = f } }

type faultyDevice struct {
	device
	f *Faults
}

func (d *faultyDevice) failed() error {
	n := d.f.allocs.Add(1)
	if n == d.f.FailAlloc {
		return newError("allocate", ErrOutOfMemory, fmt.Sprintf("injected at allocation %d", n))
	}
	return nil
}

func (d *faultyDevice) alloc(bytes int64) (buffer, error) {
	if err := d.failed(); err != nil {
		return nil, err
	}
	return d.device.alloc(bytes)
}

func (d *faultyDevice) wrap(data []byte) (buffer, error) {
	if err := d.failed(); err != nil {
		return nil, err
	}
	return d.device.wrap(data)
}

func (d *faultyDevice) openPlan(p *ops.Program) (devicePlan, error) {
	if err := d.failed(); err != nil {
		return nil, err
	}
	return d.device.openPlan(p)
}

func (d *faultyDevice) openStream() (stream, error) {
	if err := d.failed(); err != nil {
		return nil, err
	}
	s, err := d.device.openStream()
	return &faultyStream{s, d.f}, err
}

type faultyStream struct {
	stream
	f *Faults
}

func (s *faultyStream) run(p devicePlan, tag uint64, slots []slot, ints []int64, floats []float64) error {
	n := s.f.submits.Add(1)
	if s.f.FailSubmit > 0 && n >= s.f.FailSubmit {
		return newError("run", ErrDeviceLost, fmt.Sprintf("injected at submission %d", n))
	}
	return s.stream.run(p, tag, slots, ints, floats)
}

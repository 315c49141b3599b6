// Package runtime executes recorded graphs (package ops) on the devices of the machine: it chooses a device and says
// why, plans memory, runs plans with cancellation, and shares sessions among goroutines.
//
//	rt, err := runtime.Open()
//	defer rt.Close()
//
// The environment steers it (CREDENCE_DEVICE, CREDENCE_THREADS ...; see Variables), options given to Open come first.
package runtime

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// A Runtime is one open device with all that was made on it. It is safe for concurrent use.
type Runtime struct {
	config    Config
	dev       device
	report    Report
	allocated atomic.Int64

	uploads sync.Mutex // guards the stream used for copies outside sessions
	copies  stream

	mu      sync.Mutex
	closing bool
	calls   sync.WaitGroup
	owned   map[closer]struct{}

	// placement, see Place
	parent  *Runtime   // of a runtime that was made by Place, or for a rehearsal
	placing sync.Mutex // one model at a time; guards what follows
	second  *Runtime   // on the CPU, for models that are better off there; nil: not opened yet
	placed  []Placement
}

type closer interface{ Close() }

// Open reads the configuration (option, then environment, then default), looks for devices and opens the first that
// the request admits. Every refusal is kept in Report. A device named alone is strict: if it cannot be had the error
// says why.
func Open(options ...Option) (*Runtime, error) {
	config, err := NewConfig(options...)
	if err != nil {
		return nil, err
	}
	dev, report, err := choose(&config)
	if err != nil {
		return nil, err
	}
	if config.faults != nil {
		dev = &faultyDevice{dev, config.faults}
	}
	return newRuntime(config, dev, report)
}

// newRuntime takes over the device, also where it fails.
func newRuntime(config Config, dev device, report Report) (*Runtime, error) {
	rt := &Runtime{config: config, dev: dev, report: report, owned: map[closer]struct{}{}}
	var err error
	if rt.copies, err = dev.openStream(); err != nil {
		dev.close()
		return nil, err
	}
	live.devices.Add(1)
	live.streams.Add(1)
	return rt, nil
}

// Report tells what devices were looked for, which was chosen and why, why the others were not, and where models were
// placed since.
func (rt *Runtime) Report() Report {
	r := rt.report
	rt.placing.Lock()
	defer rt.placing.Unlock()
	r.Placements = slices.Clone(rt.placed)
	return r
}

// Device describes the device in use. A model may have been placed on another: see Place.
func (rt *Runtime) Device() DeviceInfo { return rt.report.Chosen }

// Config is the configuration in force.
func (rt *Runtime) Config() Config { return rt.config }

// Close waits for calls under way, closes everything made on the runtime that is still open, and the device. Closing
// twice does nothing.
func (rt *Runtime) Close() {
	rt.mu.Lock()
	if rt.closing {
		rt.mu.Unlock()
		return
	}
	rt.closing = true
	rt.mu.Unlock()
	rt.calls.Wait() // what they make is owned by now, and nothing is added any more
	var sessions, others []closer
	rt.mu.Lock()
	for c := range rt.owned {
		if s, ok := c.(*Session); ok {
			sessions = append(sessions, s)
		} else {
			others = append(others, c)
		}
	}
	rt.mu.Unlock()
	for _, c := range append(sessions, others...) {
		c.Close()
	}
	rt.uploads.Lock()
	defer rt.uploads.Unlock()
	rt.copies.close()
	rt.dev.close()
	live.streams.Add(-1)
	live.devices.Add(-1)
}

// enter marks a call that uses the device; Close waits for it.
func (rt *Runtime) enter() error {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if rt.closing {
		return newError("runtime", ErrClosed, "")
	}
	rt.calls.Add(1)
	return nil
}

func (rt *Runtime) leave() { rt.calls.Done() }

func (rt *Runtime) adopt(c closer) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	rt.owned[c] = struct{}{}
}

func (rt *Runtime) disown(c closer) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	delete(rt.owned, c)
}

// alloc is the one place where device memory comes from, within CREDENCE_MEMORY_LIMIT.
func (rt *Runtime) alloc(bytes int64) (buffer, error) {
	if err := rt.charge(bytes); err != nil {
		return nil, err
	}
	b, err := rt.dev.alloc(bytes)
	if err != nil {
		rt.allocated.Add(-bytes)
		return nil, rt.explainMemory(err)
	}
	live.buffers.Add(1)
	return b, nil
}

// charge counts bytes against CREDENCE_MEMORY_LIMIT.
func (rt *Runtime) charge(bytes int64) error {
	total := rt.allocated.Add(bytes)
	if limit := rt.config.MemoryLimit; limit > 0 && total > limit {
		rt.allocated.Add(-bytes)
		return newError("allocate", ErrOutOfMemory, fmt.Sprintf("%d bytes more would make %d in all; CREDENCE_MEMORY_LIMIT is %d", bytes, total, limit))
	}
	return nil
}

// release frees what alloc gave.
func (rt *Runtime) release(b buffer) {
	rt.allocated.Add(-b.size())
	rt.unwrap(b)
}

// unwrap frees a buffer that is a view of host memory.
func (rt *Runtime) unwrap(b buffer) {
	b.free()
	live.buffers.Add(-1)
}

// upload and download copy outside sessions, one at a time.
func (rt *Runtime) upload(dst buffer, offset int64, src []byte) error {
	rt.uploads.Lock()
	defer rt.uploads.Unlock()
	if err := rt.copies.write(dst, offset, src); err != nil {
		return err
	}
	return rt.copies.wait()
}

func (rt *Runtime) download(dst []byte, src buffer, offset int64) error {
	rt.uploads.Lock()
	defer rt.uploads.Unlock()
	return rt.copies.read(dst, src, offset)
}

// Allocated is the device memory in use, in bytes, mapped files not counted unless the device holds a copy of them.
func (rt *Runtime) Allocated() int64 { return rt.allocated.Load() }

package runtime

import (
	"sync"

	"github.com/credence-ml/credence/ops"
)

// A rehearsal is a device that computes nothing and holds nothing. A model that is made on it shows what memory it takes
// and which plans it compiles.
type rehearsal struct {
	like DeviceInfo

	mu          sync.Mutex
	bytes, peak int64
	programs    []*ops.Program
}

// rehearse makes a model on a runtime without a device.
func (rt *Runtime) rehearse(makeModel func(*Runtime) error) (*rehearsal, error) {
	r := &rehearsal{like: rt.report.Chosen}
	config := rt.config
	config.Validate, config.MemoryLimit = false, 0
	stage, err := newRuntime(config, r, rt.report)
	if err != nil {
		return nil, err
	}
	defer stage.Close()
	stage.parent = rt
	return r, makeModel(stage)
}

func (r *rehearsal) info() DeviceInfo { return r.like }

func (r *rehearsal) alloc(bytes int64) (buffer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes += bytes
	r.peak = max(r.peak, r.bytes)
	return &imagined{r, bytes}, nil
}

// wrap counts what is mapped: a device with memory of its own copies it.
func (r *rehearsal) wrap(data []byte) (buffer, error) { return r.alloc(int64(len(data))) }

func (r *rehearsal) openPlan(p *ops.Program) (devicePlan, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.programs = append(r.programs, p)
	return goPlan{p}, nil
}

func (r *rehearsal) openStream() (stream, error) { return silence{}, nil }
func (r *rehearsal) close()                      {}

// imagined is a buffer without memory.
type imagined struct {
	r     *rehearsal
	bytes int64
}

func (b *imagined) size() int64  { return b.bytes }
func (b *imagined) host() []byte { return nil }

func (b *imagined) free() {
	b.r.mu.Lock()
	defer b.r.mu.Unlock()
	b.r.bytes -= b.bytes
}

// silence is a stream on which nothing happens: what is read are zeros.
type silence struct{}

func (silence) run(devicePlan, uint64, []slot, []int64, []float64) error { return nil }
func (silence) cancel(uint64)                                            {}
func (silence) write(buffer, int64, []byte) error                        { return nil }
func (silence) wait() error                                              { return nil }
func (silence) close()                                                   {}

func (silence) read(dst []byte, _ buffer, _ int64) error {
	clear(dst)
	return nil
}

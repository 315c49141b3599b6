package runtime

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"sync/atomic"

	"github.com/credence-ml/credence/ops"
)

// goDevice runs the operations' float64 references. It needs no cgo and no library, serves as the oracle for the others,
// and is slow.
type goDevice struct{}

func (goDevice) info() DeviceInfo {
	return DeviceInfo{Backend: "go", Name: "pure Go reference", Arch: "go", ComputeUnits: 1,
		Detail: "float64 references, " + goruntime.Version()}
}

func (goDevice) alloc(bytes int64) (buffer, error) {
	if bytes < 0 || bytes > 1<<46 {
		return nil, newError("allocate", ErrOutOfMemory, fmt.Sprintf("%d bytes", bytes))
	}
	return &goBuffer{data: make([]byte, bytes)}, nil
}

func (goDevice) wrap(data []byte) (buffer, error) { return &goBuffer{data: data}, nil }

func (goDevice) openPlan(p *ops.Program) (devicePlan, error) { return goPlan{p}, nil }

func (goDevice) openStream() (stream, error) { return &goStream{}, nil }

func (goDevice) close() {}

type goBuffer struct{ data []byte }

func (b *goBuffer) size() int64  { return int64(len(b.data)) }
func (b *goBuffer) host() []byte { return b.data }
func (b *goBuffer) free()        { b.data = nil }

type goPlan struct{ p *ops.Program }

func (goPlan) close() {}

type goStream struct {
	cancelled atomic.Uint64
	memory    ops.Memory
}

var errStop = errors.New("cancelled")

func (s *goStream) run(p devicePlan, tag uint64, slots []slot, ints []int64, floats []float64) error {
	s.memory = s.memory[:0]
	for _, x := range slots {
		s.memory = append(s.memory, x.b.host())
	}
	err := p.(goPlan).p.RunReference(s.memory, ints, floats, func() error {
		if s.cancelled.Load() == tag {
			return errStop
		}
		return nil
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errStop):
		return newError("run", ErrCancelled, "")
	default:
		return newError("run", ErrInvalidArgument, err.Error())
	}
}

func (s *goStream) cancel(tag uint64) { s.cancelled.Store(tag) }
func (s *goStream) wait() error       { return nil }
func (s *goStream) close()            {}

func (s *goStream) write(dst buffer, offset int64, src []byte) error {
	return copyHost(dst.host(), offset, src, true)
}

func (s *goStream) read(dst []byte, src buffer, offset int64) error {
	return copyHost(src.host(), offset, dst, false)
}

// copyHost moves bytes between a buffer that the host sees and a slice.
func copyHost(memory []byte, offset int64, b []byte, into bool) error {
	if offset < 0 || offset+int64(len(b)) > int64(len(memory)) {
		return newError("copy", ErrInvalidArgument, fmt.Sprintf("bytes %d to %d of a buffer of %d", offset, offset+int64(len(b)), len(memory)))
	}
	if into {
		copy(memory[offset:], b)
	} else {
		copy(b, memory[offset:])
	}
	return nil
}

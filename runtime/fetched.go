package runtime

import (
	"unsafe"

	"github.com/credence-ml/credence/bindings"
	"github.com/credence-ml/credence/ops"
)

// What a plan outputs is mostly read at once, tensor by tensor, and each copy from a GPU that somebody waits for takes
// microseconds, however small it is. So a run on a device whose memory the host does not see brings its outputs along, if they are small.
const (
	fetchBytes = 1 << 20 // of one run at most; what is larger is copied when it is read
	fetchGap   = 4096    // outputs no farther apart are one copy
)

// fetched is what the last run of a stream brought along.
type fetched struct {
	pinned *bindings.Buffer
	memory []byte
	arena  *nativeBuffer // where it lies; nil: nothing was brought
	spans  []span
}

// A span is bytes [from, to) of the arena; they are at `at` in the memory.
type span struct{ from, to, at int64 }

// prepare chooses what the next run brings along, and has memory for it.
func (f *fetched) prepare(d *bindings.Device, p *ops.Program, ints []int64) (err error) {
	f.drop()
	f.plan(p, ints)
	if len(f.spans) == 0 || f.pinned != nil {
		return nil
	}
	if f.pinned, err = d.Alloc(fetchBytes, true); err == nil {
		f.memory = unsafe.Slice((*byte)(f.pinned.Host()), fetchBytes)
	}
	return err
}

// queue queues the copies behind the plan that was submitted.
func (f *fetched) queue(s *bindings.Stream, arena *nativeBuffer) error {
	for _, x := range f.spans {
		if err := s.ReadAsync(unsafe.Pointer(&f.memory[x.at]), arena.b, uint64(x.from), uint64(x.to-x.from)); err != nil {
			return err
		}
	}
	f.arena = arena
	return nil
}

// plan chooses the spans for the current arguments.
func (f *fetched) plan(p *ops.Program, ints []int64) {
	at := int64(0)
	for i := range p.Outputs {
		out := &p.Outputs[i]
		if out.Slot != 0 || !out.Dense(ints) {
			continue
		}
		from := out.Base + out.Offset.At(ints)
		to := from + touched(out, ints)
		if n := len(f.spans); n > 0 {
			last := &f.spans[n-1]
			if grown := max(0, to-last.to); from >= last.from && from-last.to <= fetchGap && at+grown <= fetchBytes {
				last.to, at = last.to+grown, at+grown
				continue
			}
		}
		if to > from && at+to-from <= fetchBytes {
			f.spans = append(f.spans, span{from, to, at})
			at += to - from
		}
	}
}

// copyTo fills dst if all of it was brought along.
func (f *fetched) copyTo(dst []byte, b *nativeBuffer, offset int64) bool {
	if f.arena != b || b == nil {
		return false
	}
	for _, x := range f.spans {
		if offset >= x.from && offset+int64(len(dst)) <= x.to {
			copy(dst, f.memory[x.at+offset-x.from:])
			return true
		}
	}
	return false
}

// drop forgets what was brought: it may no longer be what the arena holds.
func (f *fetched) drop() { f.arena, f.spans = nil, f.spans[:0] }

func (f *fetched) close() {
	if f.pinned != nil {
		f.pinned.Free()
		f.pinned, f.memory = nil, nil
	}
}

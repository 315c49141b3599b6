package runtime

import "sync/atomic"

// refs counts the users of a native object: its owner and every binding. The object is freed when the last one lets go,
// so that closing in any order, or twice, or during a run, is safe.
type refs struct {
	n      atomic.Int64
	closed atomic.Bool
	free   func()
}

func newRefs(free func()) *refs {
	r := &refs{free: free}
	r.n.Store(1)
	return r
}

// acquire adds a user; false if the owner has closed it.
func (r *refs) acquire() bool {
	if r.closed.Load() {
		return false
	}
	for {
		n := r.n.Load()
		if n <= 0 {
			return false
		}
		if r.n.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (r *refs) release() {
	if r.n.Add(-1) == 0 {
		r.free()
	}
}

// close is the owner's release; false if it was closed before.
func (r *refs) close() bool {
	if r.closed.Swap(true) {
		return false
	}
	r.release()
	return true
}

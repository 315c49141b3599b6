//go:build unix

package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// processorTime is what the calling thread has used so far, which must be locked to its goroutine. The process's other
// threads are Go's own and look for work while this one is in native code: more than a tenth of a short call's time.
func processorTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return elapsed()
	}
	return time.Duration(t.Nano())
}

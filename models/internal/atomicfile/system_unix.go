//go:build unix

package atomicfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// lock takes the file's advisory lock, which the system releases when the process ends. It waits for a writer that
// looks whether the file is stale. Some network file systems have no locks: there nothing counts as stale either.
func lock(f *os.File) {
	for unix.Flock(int(f.Fd()), unix.LOCK_EX) == unix.EINTR {
	}
}

// lockStale takes the lock and reports true only if no living process holds it.
func lockStale(f *os.File) bool { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil }

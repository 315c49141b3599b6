package atomicfile

import (
	"errors"

	"golang.org/x/sys/unix"
)

// exchange gives each of two directories the other's name in one step.
func exchange(temp, target string) error {
	err := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, target, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return exchangeByRename(temp, target)
	}
	return err
}

//go:build unix

package safetensors

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// mapFile maps a file read-only, or reads it where that cannot be done.
func mapFile(path string) (data []byte, unmap func() error, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	size, err := regularSize(f)
	if err != nil {
		return nil, nil, err
	}
	if size > 0 && int64(int(size)) == size {
		if data, err = unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_PRIVATE); err == nil {
			return data, sync.OnceValue(func() error { return unix.Munmap(data) }), nil
		}
	}
	data, err = readWhole(f)
	return data, func() error { return nil }, err
}

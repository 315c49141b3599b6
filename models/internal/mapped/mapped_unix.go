//go:build unix

package mapped

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapPages reports whether the file could be mapped. Pages are multiples of Pad, and what a file leaves of its last one
// reads as zeros.
func (f *File) mapPages(file *os.File, size int) bool {
	data, err := unix.Mmap(int(file.Fd()), 0, size, unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return false
	}
	f.Data = data
	f.Padded = unsafe.Slice(unsafe.SliceData(data), (size+Pad-1)/Pad*Pad)
	f.unmap = func() error { return unix.Munmap(data) }
	return true
}

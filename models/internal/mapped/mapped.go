// Package mapped gives a file's content as read-only memory, so that only what is used is read, and that processes and
// sessions share it.
package mapped

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
)

// Pad is what the length of Padded is a multiple of, in bytes: the alignment of tensors.
const Pad = 64

// File is the content of an open file. As with every mapping the process is at the mercy of whoever truncates the file
// meanwhile; replacing it by rename is harmless.
type File struct {
	Path   string
	Data   []byte // must not be touched after Close, and is never writable where it is mapped
	Padded []byte // Data with zeros up to a multiple of Pad, in the mapping's last page; nil if the file could not be mapped
	unmap  func() error
}

// Open maps a file, or reads it where that cannot be done. It must be a regular file.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := RegularSize(f)
	if err != nil {
		return nil, err
	}
	file := &File{Path: path}
	if size > 0 && int64(int(size)) == size && file.mapPages(f, int(size)) {
		return file, nil
	}
	data, err := io.ReadAll(f)
	file.Data = slices.Clip(data)
	return file, err
}

// Close gives the memory back. A second call does nothing.
func (f *File) Close() error {
	unmap := f.unmap
	f.Data, f.Padded, f.unmap = nil, nil, nil
	if unmap == nil {
		return nil
	}
	return unmap()
}

// RegularSize is the size of an open file, which must be a regular one.
func RegularSize(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, &fs.PathError{Op: "open", Path: f.Name(), Err: errors.New("not a regular file")}
	}
	return info.Size(), nil
}

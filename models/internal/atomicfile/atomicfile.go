// Package atomicfile publishes files and directories by rename.
//
// Whoever opens the path sees the old content or the new, never a part of it, whatever moment the writing process is
// killed at; after a successful return the new content is on the disk. A killed writer leaves a temporary sibling
// behind, which the next writer of the same path removes.
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// File is a file in the making. Commit publishes it under its path; Close without Commit leaves the path as it was.
type File struct {
	*os.File
	temp, target string
	done         bool
}

// Create opens a temporary sibling of path for writing. A path that is a symbolic link stays one: the file it points
// to is replaced. The permissions of a file that is replaced are kept.
func Create(path string) (*File, error) {
	target, old, err := resolve(path)
	if err != nil {
		return nil, err
	}
	if old != nil && !old.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is a %s and cannot be replaced by a file", path, kind(old))
	}
	removeStale(target)
	var f *os.File
	temp, err := reserve(target, func(temp string) (*os.File, error) {
		f, err = os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		return f, err
	})
	if err != nil {
		return nil, err
	}
	file := &File{File: f, temp: temp, target: target}
	if old != nil {
		if err := f.Chmod(old.Mode().Perm()); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	return file, nil
}

// Commit brings the content to the disk and publishes it under the path.
func (f *File) Commit() error {
	if f.done {
		return fmt.Errorf("%s: already committed or closed", f.target)
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := os.Rename(f.temp, f.target); err != nil {
		return errors.Join(err, f.Close())
	}
	f.done = true
	return errors.Join(f.File.Close(), syncDir(filepath.Dir(f.target)))
}

// Close discards a file that was not committed, and does nothing after Commit.
func (f *File) Close() error {
	if f.done {
		return nil
	}
	f.done = true
	return errors.Join(f.File.Close(), os.Remove(f.temp))
}

// Write replaces the file at path by what fill writes (through a buffer). If fill fails, the path stays as it was.
func Write(path string, fill func(w io.Writer) error) (err error) {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<18)
	if err := fill(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Commit()
}

// WriteFile replaces the file at path by data.
func WriteFile(path string, data []byte) error {
	return Write(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// resolve follows symbolic links of an existing path. The file info is nil where nothing is there yet.
func resolve(path string) (target string, old fs.FileInfo, err error) {
	if target, err = filepath.Abs(path); err != nil {
		return "", nil, err
	}
	old, err = os.Stat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return target, nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	target, err = filepath.EvalSymlinks(target)
	return target, old, err
}

func kind(info fs.FileInfo) string {
	switch m := info.Mode(); {
	case m.IsDir():
		return "directory"
	case m&fs.ModeDevice != 0:
		return "device"
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	case m.IsRegular():
		return "file"
	}
	return "special file"
}

// Temporary siblings are hidden, named after the target, and locked by their writer for as long as it lives.
// The name is cut so that a target of 255 bytes still has one.
func tempPrefix(target string) string {
	base := filepath.Base(target)
	return "." + base[:min(len(base), 200)] + ".tmp-"
}

// reserve makes a temporary sibling and locks it. Between the two another writer may take it for a stale one and
// remove it; then the next name is tried.
func reserve(target string, open func(temp string) (*os.File, error)) (temp string, err error) {
	for range 100 {
		temp = filepath.Join(filepath.Dir(target), fmt.Sprintf("%s%016x", tempPrefix(target), rand.Uint64()))
		f, err := open(temp)
		if errors.Is(err, fs.ErrExist) || errors.Is(err, errRaced) {
			continue
		}
		if err != nil {
			return "", err
		}
		lock(f)
		mine, err := f.Stat()
		if err != nil {
			return "", errors.Join(err, f.Close())
		}
		if there, err := os.Lstat(temp); err == nil && os.SameFile(mine, there) {
			return temp, nil
		}
		f.Close()
	}
	return "", fmt.Errorf("no temporary file beside %s could be kept: another program removes them", target)
}

var errRaced = errors.New("removed by another writer")

// removeStale removes what killed writers of target left behind. It is a courtesy: what cannot be removed stays.
func removeStale(target string) {
	entries, err := os.ReadDir(filepath.Dir(target))
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix(target)) {
			continue
		}
		path := filepath.Join(filepath.Dir(target), e.Name())
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if lockStale(f) {
			os.RemoveAll(path)
		}
		f.Close()
	}
}

// syncDir brings a rename to the disk. Some file systems cannot sync a directory and say EINVAL or ENOTSUP.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

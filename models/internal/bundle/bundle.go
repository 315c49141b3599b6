// Package bundle reads directories of files that belong together and that strangers may have made: only regular files
// inside the directory are opened, never through a symbolic link, and their sizes, checksums and texts are proved.
package bundle

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/credence-ml/credence/models/internal/strictjson"
)

// FormatError says what is wrong with a file of a directory, or with a file by itself.
type FormatError struct {
	Path   string
	Line   int // from 1; 0 where no line is meant
	Reason error
}

// Error names the file, the line and what is wrong.
func (e *FormatError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s, line %d: %v", e.Path, e.Line, e.Reason)
	}
	return e.Path + ": " + e.Reason.Error()
}

// Unwrap is the reason.
func (e *FormatError) Unwrap() error { return e.Reason }

// Dir is an open directory.
type Dir struct {
	root *os.Root
	path string
}

// Open opens a directory. It may be named through a symbolic link; nothing in it may be one.
func Open(path string) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &Dir{root, path}, nil
}

// Close gives the directory back. Its open files stay open.
func (d *Dir) Close() error { return d.root.Close() }

// Path is where a file of the directory lies, for messages.
func (d *Dir) Path(name string) string { return filepath.Join(d.path, name) }

// Problem is a FormatError about a file of the directory.
func (d *Dir) Problem(name, format string, args ...any) error {
	return &FormatError{Path: d.Path(name), Reason: fmt.Errorf(format, args...)}
}

// Has reports whether there is anything of that name.
func (d *Dir) Has(name string) (bool, error) {
	_, err := d.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// File opens a regular file and gives its size.
func (d *Dir) File(name string) (*os.File, int64, error) {
	before, err := d.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, &FormatError{Path: d.Path(name), Reason: fs.ErrNotExist}
	}
	if err != nil {
		return nil, 0, err
	}
	if !before.Mode().IsRegular() {
		return nil, 0, d.Problem(name, "not a regular file but %s", kind(before.Mode()))
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !os.SameFile(before, info) {
		err = d.Problem(name, "changed while it was opened")
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

func kind(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m.IsDir():
		return "a directory"
	}
	return "a device or a pipe"
}

// Object reads a file that holds one JSON object of at most limit bytes.
func (d *Dir) Object(name string, limit int64) (strictjson.Object, error) {
	f, size, err := d.File(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > limit {
		return nil, d.Problem(name, "%d bytes; at most %d are allowed", size, limit)
	}
	text, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, err
	}
	object, err := strictjson.Parse(text)
	if err != nil {
		return nil, &FormatError{Path: d.Path(name), Reason: err}
	}
	return object, nil
}

// CheckSum proves the text of a checksum: SHA-256 in lowercase hexadecimal.
func CheckSum(sum string) error {
	if len(sum) != 2*sha256.Size || strings.Trim(sum, "0123456789abcdef") != "" {
		return fmt.Errorf("%q is not a SHA-256 in lowercase hexadecimal", sum)
	}
	return nil
}

// Verify reads an open file of the directory from its beginning, compares its SHA-256, and goes back to the beginning.
func (d *Dir) Verify(f *os.File, name, want string) error {
	got, err := Sum(f)
	if err != nil {
		return err
	}
	if got != want {
		return d.Problem(name, "its SHA-256 is %s; %s was expected: the file is damaged or was changed", got, want)
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}

// Sum is the SHA-256 of what r holds, in lowercase hexadecimal.
func Sum(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// SumFile is the SHA-256 of a file, in lowercase hexadecimal.
func SumFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return Sum(f)
}

// MaxLine is the longest line that Lines reads, in bytes.
const MaxLine = 64 << 20

// Lines gives the lines of r with their numbers from 1, empty ones too, without their ends. A line is valid until the
// next.
func Lines(r io.Reader, path string) iter.Seq2[int, Line] {
	return func(yield func(int, Line) bool) {
		b := bufio.NewReaderSize(r, 1<<18)
		var long []byte // of a line that the buffer does not hold
		for n := 1; ; n++ {
			line, err := b.ReadSlice('\n')
			if err == bufio.ErrBufferFull {
				long = append(long[:0], line...)
				for err == bufio.ErrBufferFull && len(long) <= MaxLine {
					line, err = b.ReadSlice('\n')
					long = append(long, line...)
				}
				line = long
			}
			switch {
			case len(line) > MaxLine:
				err = &FormatError{path, n, fmt.Errorf("more than %d bytes on one line", MaxLine)}
			case err == io.EOF:
				if len(line) > 0 {
					yield(n, Line{Text: line})
				}
				return
			}
			if err != nil {
				yield(n, Line{Err: err})
				return
			}
			if !yield(n, Line{Text: bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'})}) {
				return
			}
		}
	}
}

// Line is a line, or why there is none.
type Line struct {
	Text []byte
	Err  error
}

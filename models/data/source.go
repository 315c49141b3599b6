package data

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
)

// source is a file that is read once from front to back, unpacked on the way if it is gzipped.
type source struct {
	*bufio.Reader
	name string
	file *os.File
}

// openSource looks at the first bytes, not at the name, to know what is gzipped.
func openSource(path string) (*source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s := &source{Reader: bufio.NewReaderSize(f, 1<<16), name: path, file: f}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if info.IsDir() {
		return nil, errors.Join(s.expected("a file", "a directory"), f.Close())
	}
	if head, _ := s.Peek(2); len(head) == 2 && head[0] == 0x1f && head[1] == 0x8b {
		unpacked, err := gzip.NewReader(s.Reader)
		if err != nil {
			return nil, errors.Join(s.expected("a gzip stream", "%v", err), f.Close())
		}
		s.Reader = bufio.NewReaderSize(unpacked, 1<<16)
	}
	return s, nil
}

func (s *source) Close() error { return s.file.Close() }

func (s *source) expected(what, found string, args ...any) error {
	return &FormatError{s.name, what, fmt.Sprintf(found, args...)}
}

// exactly reads n bytes. Memory grows with what arrives, so that a lying header costs nothing.
func (s *source) exactly(n int64, what string) ([]byte, error) {
	buffer := make([]byte, 0, min(n, 1<<20))
	for int64(len(buffer)) < n {
		if len(buffer) == cap(buffer) {
			grown := make([]byte, len(buffer), min(n, 2*int64(cap(buffer))))
			copy(grown, buffer)
			buffer = grown
		}
		got, err := s.Read(buffer[len(buffer):cap(buffer)])
		buffer = buffer[:len(buffer)+got]
		if err != nil && int64(len(buffer)) < n {
			return nil, s.expected(fmt.Sprintf("%d bytes of %s", n, what), "%d (%s)", len(buffer), readProblem(err))
		}
	}
	return buffer, nil
}

// end makes sure that nothing follows, and that a gzip stream is whole to its checksum.
func (s *source) end(what string) error {
	if _, err := s.ReadByte(); err == nil {
		return s.expected("the end of the file after the "+what, "more bytes")
	} else if err != io.EOF {
		return s.expected("the end of the file after the "+what, "%s", readProblem(err))
	}
	return nil
}

func readProblem(err error) string {
	switch {
	case errors.Is(err, io.EOF):
		return "the file ends there"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the gzip stream is truncated"
	case errors.Is(err, gzip.ErrChecksum):
		return "the gzip stream's checksum is wrong"
	}
	return err.Error()
}

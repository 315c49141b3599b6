package data

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// NPYMatrix reads a matrix of float32 row by row, so that memory need not hold it. What it accepts is narrower than what
// ReadNPY does: type <f4, C order, two positive dimensions, finite values, never gzipped.
type NPYMatrix struct {
	Rows, Columns int
	Size          int64 // that the file must have, in bytes
	s             *source
	row           []byte
	read          int
}

// maxMatrix bounds the elements of a matrix that is streamed.
const maxMatrix = 1 << 40

// NewNPYMatrix reads the header. Name is for errors.
func NewNPYMatrix(r io.Reader, name string) (*NPYMatrix, error) {
	s := &source{Reader: bufio.NewReaderSize(r, 1<<18), name: name}
	l, err := s.npyHeader(maxMatrix)
	if err != nil {
		return nil, err
	}
	if l.kind != NPYFloat32 || len(l.shape) != 2 || l.shape[0] < 1 || l.shape[1] < 1 {
		return nil, s.expected("a matrix <f4 with at least one row and one column", "%s of shape %v", l.kind, l.shape)
	}
	return &NPYMatrix{Rows: l.shape[0], Columns: l.shape[1], Size: l.offset + 4*l.count, s: s}, nil
}

// Append reads the next row and appends its Columns values to dst.
func (m *NPYMatrix) Append(dst []float32) ([]float32, error) {
	if m.read == m.Rows {
		return dst, m.s.expected("no more rows to be asked for", "all %d read", m.Rows)
	}
	if m.row == nil {
		row, err := m.s.exactly(4*int64(m.Columns), "elements") // grows as bytes arrive, whatever the header says
		if err != nil {
			return dst, err
		}
		m.row = row
	} else if n, err := io.ReadFull(m.s, m.row); err != nil {
		return dst, m.s.expected(fmt.Sprintf("%d bytes of row %d", len(m.row), m.read), "%d (%s)", n, readProblem(err))
	}
	for i := range m.Columns {
		v := math.Float32frombits(binary.LittleEndian.Uint32(m.row[4*i:]))
		if !finite(v) {
			return dst, m.s.expected("finite values", "%v in row %d, column %d", v, m.read, i)
		}
		dst = append(dst, v)
	}
	m.read++
	return dst, nil
}

// End makes sure that all rows were read and that nothing follows them.
func (m *NPYMatrix) End() error {
	if m.read < m.Rows {
		return m.s.expected(fmt.Sprintf("%d rows", m.Rows), "%d that belong to somebody", m.read)
	}
	return m.s.end("elements")
}

// Read is the number of rows read so far.
func (m *NPYMatrix) Read() int { return m.read }

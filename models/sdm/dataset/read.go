package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"slices"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/internal/bundle"
	"github.com/credence-ml/credence/models/internal/strictjson"
)

const (
	manifestFile = "manifest.json"
	rowsFile     = "rows.jsonl"
	maxManifest  = 8 << 20
	formatName   = "reexpress-dataset"
)

// Reader gives rows one after another.
type Reader struct {
	path     string // of the rows
	header   Header
	files    []*os.File
	next     func() (int, bundle.Line, bool)
	stop     func()
	checker  *checker
	bundled  bool
	count    int // rows that a manifest announces
	rows     int // read so far
	matrices [len(features)]*data.NPYMatrix
	arena    [len(features)][]float32 // where Read wants the features
}

// Open opens a bundle (a directory), whose checksums it verifies at once, or JSON Lines (a file).
func Open(path string) (*Reader, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	r := &Reader{path: path}
	if info.IsDir() {
		err = r.openBundle(path)
	} else {
		err = r.openLines(path, info)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	r.checker = newChecker(&r.header)
	return r, nil
}

func (r *Reader) openLines(path string, info os.FileInfo) error {
	if !info.Mode().IsRegular() {
		return &bundle.FormatError{Path: path, Reason: fmt.Errorf("not a regular file")}
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	r.files = append(r.files, f)
	r.next, r.stop = iter.Pull2(bundle.Lines(f, path))
	return nil
}

func (r *Reader) openBundle(path string) error {
	dir, err := bundle.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	manifest, err := dir.Object(manifestFile, maxManifest)
	if err != nil {
		return err
	}
	problem := func(err error) error {
		return &bundle.FormatError{Path: dir.Path(manifestFile), Reason: err}
	}
	m, err := parseManifest(manifest)
	if err != nil {
		return problem(err)
	}
	r.header, r.count, r.bundled, r.path = m.Header, m.rows, true, dir.Path(rowsFile)
	f, _, err := r.member(dir, rowsFile, m.sum)
	if err != nil {
		return err
	}
	r.next, r.stop = iter.Pull2(bundle.Lines(f, r.path))
	for i, x := range m.matrices {
		if x.sum == "" {
			continue
		}
		name := features[i].file
		f, size, err := r.member(dir, name, x.sum)
		if err != nil {
			return err
		}
		if r.matrices[i], err = data.NewNPYMatrix(f, dir.Path(name)); err != nil {
			return err
		}
		if got := [2]int{r.matrices[i].Rows, r.matrices[i].Columns}; got != x.shape {
			return dir.Problem(name, "its shape is %v, but %v in the manifest", got, x.shape)
		}
		// Memory is taken for what is there; a header's word alone would not do.
		if want := r.matrices[i].Size; size != want {
			return dir.Problem(name, "%d bytes; with shape %v it must have %d", size, x.shape, want)
		}
	}
	return nil
}

// member opens a file of the bundle and verifies its checksum.
func (r *Reader) member(dir *bundle.Dir, name, sum string) (f *os.File, size int64, err error) {
	if f, size, err = dir.File(name); err != nil {
		return nil, 0, err
	}
	r.files = append(r.files, f)
	return f, size, dir.Verify(f, name, sum)
}

// Header is what is known of all rows. With JSON Lines the fingerprint comes from the rows read so far.
func (r *Reader) Header() *Header {
	h := r.header
	if h.Representation == nil && r.checker.fingerprint != "" {
		h.Representation = &Representation{Fingerprint: r.checker.fingerprint}
	}
	return &h
}

// Next is the next row, which the caller may keep; io.EOF after the last, when everything has been proved.
func (r *Reader) Next() (*Row, error) {
	for {
		n, line, more := r.next()
		if !more {
			return nil, r.end()
		}
		if line.Err != nil {
			return nil, line.Err
		}
		if len(bytes.TrimSpace(line.Text)) == 0 {
			continue
		}
		row, err := r.row(line.Text)
		if err == nil {
			return row, nil
		}
		if wrong := (*data.FormatError)(nil); errors.As(err, &wrong) { // of a matrix, not of this line
			return nil, err
		}
		return nil, &bundle.FormatError{Path: r.path, Line: n, Reason: err}
	}
}

func (r *Reader) row(text []byte) (*Row, error) {
	row, err := parseRow(slices.Clone(text)) // the line's memory is used again
	if err != nil {
		return nil, err
	}
	if r.bundled {
		err = r.attach(row)
	} else {
		err = row.inline(func(i int) []float32 { return make([]float32, 0, r.checker.columns[i]) })
	}
	if err != nil {
		return nil, err
	}
	r.rows++
	if r.bundled && r.rows > r.count {
		return nil, fmt.Errorf("the manifest announces %d rows; here is one more", r.count)
	}
	return row, r.checker.check(row)
}

// attach reads the features that a row refers to. References count from 0 in the order of the rows.
func (r *Reader) attach(row *Row) error {
	for i, f := range features {
		if row.Fields.Get(f.name) != nil {
			return fmt.Errorf("row %q holds its %s, which belongs into %s", row.ID, f.name, f.file)
		}
		value := row.Fields.Take(f.reference)
		if value == nil {
			continue
		}
		m := r.matrices[i]
		if m == nil {
			return fmt.Errorf("row %q has %s, but the bundle has no %s", row.ID, f.reference, f.file)
		}
		at, err := strictjson.Int(value, 0, math.MaxInt64)
		if err != nil {
			return fmt.Errorf("%s of row %q: %w", f.reference, row.ID, err)
		}
		if at != int64(m.Read()) || m.Read() >= m.Rows {
			return fmt.Errorf("%s of row %q is %d: want %d, counting from 0 in order, below %d", f.reference, row.ID, at, m.Read(), m.Rows)
		}
		if cap(r.arena[i])-len(r.arena[i]) < m.Columns {
			r.arena[i] = make([]float32, 0, m.Columns)
		}
		begin := len(r.arena[i])
		if r.arena[i], err = m.Append(r.arena[i]); err != nil {
			return err
		}
		*row.of(i) = slices.Clip(r.arena[i][begin:])
	}
	return nil
}

// reserve makes room for all features of a bundle in one piece each.
func (r *Reader) reserve() {
	for i, m := range r.matrices {
		if m != nil {
			r.arena[i] = make([]float32, 0, m.Rows*m.Columns)
		}
	}
}

// end proves what only shows after the last row.
func (r *Reader) end() error {
	if r.rows == 0 {
		return &bundle.FormatError{Path: r.path, Reason: fmt.Errorf("no rows")}
	}
	if r.bundled && r.rows != r.count {
		return &bundle.FormatError{Path: r.path, Reason: fmt.Errorf("%d rows; the manifest announces %d", r.rows, r.count)}
	}
	for _, m := range r.matrices {
		if m != nil {
			if err := m.End(); err != nil {
				return err
			}
		}
	}
	return io.EOF
}

// All gives the rows that are left; an error ends them.
func (r *Reader) All() iter.Seq2[*Row, error] {
	return func(yield func(*Row, error) bool) {
		for {
			row, err := r.Next()
			if err == io.EOF || !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// Close gives the files back.
func (r *Reader) Close() error {
	if r.stop != nil {
		r.stop()
	}
	var err error
	for _, f := range r.files {
		err = errors.Join(err, f.Close())
	}
	r.files = nil
	return err
}

package dataset

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/internal/atomicfile"
	"github.com/credence-ml/credence/models/internal/bundle"
	"github.com/credence-ml/credence/models/internal/strictjson"
)

// IsBundle reports whether a path names a bundle, by its ending.
func IsBundle(path string) bool {
	return strings.EqualFold(filepath.Ext(filepath.Clean(path)), ".sdmdataset")
}

// IsLines reports whether a path names JSON Lines, by its ending.
func IsLines(path string) bool {
	ext := strings.ToLower(filepath.Ext(path))
	return ext == ".jsonl" || ext == ".ndjson"
}

// All gives the rows in order.
func (d *Dataset) All() iter.Seq2[*Row, error] {
	return func(yield func(*Row, error) bool) {
		for i := range d.Rows {
			if !yield(&d.Rows[i], nil) {
				return
			}
		}
	}
}

// Write writes the whole data set, see the function Write.
func (d *Dataset) Write(path string) error { return Write(path, &d.Header, d.All()) }

// Write writes rows as a bundle (path ends in .sdmdataset) or as JSON Lines (.jsonl, .ndjson), one in memory at a time,
// and publishes by rename: if anything fails, the path stays as it was. A bundle that is there is replaced; another
// directory is not. JSON Lines have no place for class names and metadata of the whole; the fingerprint goes into every
// row that does not state it.
func Write(path string, h *Header, rows iter.Seq2[*Row, error]) error {
	if err := h.check(); err != nil {
		return err
	}
	switch {
	case IsBundle(path):
		if err := replaceable(path); err != nil {
			return err
		}
		return atomicfile.WriteDir(path, func(dir string) error { return writeBundle(dir, h, rows) })
	case IsLines(path):
		return atomicfile.Write(path, func(w io.Writer) error { return writeLines(w, h, rows) })
	}
	return fmt.Errorf("%s: want a name that ends in .sdmdataset, .jsonl or .ndjson", path)
}

// replaceable refuses directories that are no bundles: somebody mistyped a path.
func replaceable(path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	dir, err := bundle.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	manifest, err := dir.Object(manifestFile, maxManifest)
	if err != nil {
		return fmt.Errorf("%s exists and is no bundle, so it is not replaced: %w", path, err)
	}
	if format, err := strictjson.String(manifest.Take("format")); err != nil || format != formatName {
		return fmt.Errorf("%s exists and is no bundle of format %q, so it is not replaced", path, formatName)
	}
	return nil
}

func writeLines(w io.Writer, h *Header, rows iter.Seq2[*Row, error]) error {
	c := newChecker(h)
	var line []byte
	for row, err := range rows {
		if err == nil {
			err = c.check(row)
		}
		if err != nil {
			return err
		}
		if f := h.Fingerprint(); f != "" && row.Fields.Get(fieldFingerprint) == nil {
			quoted, err := strictjson.Quote(f)
			if err != nil {
				return err
			}
			with := *row
			with.Fields = append(row.Fields[:len(row.Fields):len(row.Fields)], strictjson.Field{Key: fieldFingerprint, Value: quoted})
			row = &with
		}
		if line, err = appendRow(line[:0], row, nil); err != nil {
			return err
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	if len(c.seen) == 0 {
		return fmt.Errorf("no rows to write")
	}
	return nil
}

func writeBundle(dir string, h *Header, rows iter.Seq2[*Row, error]) (err error) {
	w := &bundleWriter{dir: dir, checker: newChecker(h)}
	defer func() { err = errors.Join(err, w.close()) }()
	if w.rows, err = w.create(rowsFile); err != nil {
		return err
	}
	for row, err := range rows {
		if err == nil {
			err = w.add(row)
		}
		if err != nil {
			return err
		}
	}
	if w.count == 0 {
		return fmt.Errorf("no rows to write")
	}
	return w.finish(h)
}

// bundleWriter writes a bundle's files side by side.
type bundleWriter struct {
	dir      string
	checker  *checker
	rows     *part
	matrices [len(features)]*part
	counts   [len(features)]int
	count    int
	line     []byte
	open     []*part
}

// part is a file in the making.
type part struct {
	*bufio.Writer
	file *os.File
}

func (w *bundleWriter) create(name string) (*part, error) {
	f, err := os.OpenFile(filepath.Join(w.dir, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	p := &part{bufio.NewWriterSize(f, 1<<18), f}
	w.open = append(w.open, p)
	return p, nil
}

// sum is the checksum of a part that is whole.
func (p *part) sum() (string, error) {
	if err := p.Flush(); err != nil {
		return "", err
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	return bundle.Sum(p.file)
}

func (w *bundleWriter) close() (err error) {
	for _, p := range w.open {
		err = errors.Join(err, p.file.Close())
	}
	return err
}

// blank stands for a matrix's header until the number of its rows is known.
var blank = make([]byte, 128)

func (w *bundleWriter) add(row *Row) error {
	if err := w.checker.check(row); err != nil {
		return err
	}
	line, err := appendRow(w.line[:0], row, &w.counts)
	if err != nil {
		return err
	}
	w.line = line
	if _, err := w.rows.Write(line); err != nil {
		return err
	}
	w.count++
	for i := range features {
		values := *row.of(i)
		if values == nil {
			continue
		}
		if w.matrices[i] == nil {
			if w.matrices[i], err = w.create(features[i].file); err != nil {
				return err
			}
			if _, err := w.matrices[i].Write(blank); err != nil {
				return err
			}
		}
		w.counts[i]++
		if err := binary.Write(w.matrices[i], binary.LittleEndian, values); err != nil {
			return err
		}
	}
	return nil
}

func (w *bundleWriter) finish(h *Header) (err error) {
	m := &manifest{Header: *h, rows: w.count}
	if f := w.checker.fingerprint; m.Representation == nil && f != "" { // rows stated it
		m.Representation = &Representation{Fingerprint: f}
	}
	if m.sum, err = w.rows.sum(); err != nil {
		return err
	}
	for i, p := range w.matrices {
		if p == nil {
			continue
		}
		x := &m.matrices[i]
		x.shape = [2]int{w.counts[i], w.checker.columns[i]}
		header, err := data.NPYHeader(data.NPYFloat32, x.shape[:])
		if err != nil {
			return err
		}
		if len(header) != len(blank) {
			return fmt.Errorf("the header of %s has %d bytes, %d were left for it", features[i].file, len(header), len(blank))
		}
		if err := p.Flush(); err != nil {
			return err
		}
		if _, err := p.file.WriteAt(header, 0); err != nil {
			return err
		}
		if x.sum, err = p.sum(); err != nil {
			return err
		}
	}
	text, err := m.encode()
	if err != nil {
		return err
	}
	if len(text) > maxManifest {
		return fmt.Errorf("the manifest has %d bytes, at most %d are allowed", len(text), maxManifest)
	}
	return os.WriteFile(filepath.Join(w.dir, manifestFile), text, 0o666)
}

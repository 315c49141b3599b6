package artifact

import (
	"encoding/binary"
	"io"
	"math"

	"github.com/credence-ml/credence/models/internal/bundle"
	"github.com/credence-ml/credence/models/internal/strictjson"
)

// Read reads a model and holds it to every rule of the form. The directory may be named through a symbolic link;
// nothing in it may be one.
func Read(path string) (*Artifact, error) {
	dir, err := bundle.Open(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	r := &reader{dir: dir, a: &Artifact{}}
	if err := r.manifest(); err != nil {
		return nil, err
	}
	if err := r.files(); err != nil {
		return nil, err
	}
	if err := r.a.Validate(); err != nil {
		return nil, &bundle.FormatError{Path: path, Reason: err}
	}
	return r.a, nil
}

type reader struct {
	dir       *bundle.Dir
	a         *Artifact
	count     int               // of support rows, by the manifest
	checksums map[string]string // nil: the manifest has none
}

func (r *reader) manifest() error {
	m, err := r.dir.Object(manifestFile, maxManifest)
	if err != nil {
		return err
	}
	if err := r.parse(m); err != nil {
		return &bundle.FormatError{Path: r.dir.Path(manifestFile), Reason: err}
	}
	return nil
}

// files reads what the manifest announces.
func (r *reader) files() error {
	names := []string{weightsFile, vectorsFile, recordsFile}
	calibrated, err := r.dir.Has(calibrationFile)
	if err != nil {
		return err
	}
	if calibrated {
		names = append(names, calibrationFile)
	}
	if r.checksums != nil {
		for _, name := range names {
			if r.checksums[name] == "" {
				return r.dir.Problem(manifestFile, "the checksums leave out %s", name)
			}
		}
		if len(r.checksums) != len(names) {
			return r.dir.Problem(manifestFile, "checksums of %d files; there are %v", len(r.checksums), names)
		}
	}
	c := &r.a.Config
	sizes := c.weightSizes()
	flat, err := r.floats(weightsFile, sizes[0]+sizes[1]+sizes[2]+sizes[3])
	if err != nil {
		return err
	}
	for i, w := range r.a.weights() {
		*w, flat = flat[:sizes[i]:sizes[i]], flat[sizes[i]:]
	}
	if r.a.Support, err = r.floats(vectorsFile, r.count*c.ExemplarDimension); err != nil {
		return err
	}
	r.a.Records = make([]Record, 0, min(r.count, 1<<16)) // grows with what arrives
	err = r.lines(recordsFile, func(o strictjson.Object) error {
		record, err := parseRecord(o)
		r.a.Records = append(r.a.Records, record)
		return err
	})
	if err != nil {
		return err
	}
	if len(r.a.Records) != r.count {
		return r.dir.Problem(recordsFile, "%d rows; the manifest announces %d", len(r.a.Records), r.count)
	}
	if !calibrated {
		return nil
	}
	r.a.Calibration = []Calibrated{}
	return r.lines(calibrationFile, func(o strictjson.Object) error {
		row, err := parseCalibrated(o)
		r.a.Calibration = append(r.a.Calibration, row)
		return err
	})
}

// floats reads a file of exactly n finite values.
func (r *reader) floats(name string, n int) ([]float32, error) {
	f, size, err := r.dir.File(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size != 4*int64(n) {
		return nil, r.dir.Problem(name, "%d bytes; %d values take %d", size, n, 4*int64(n))
	}
	if sum, ok := r.checksums[name]; ok {
		if err := r.dir.Verify(f, name, sum); err != nil {
			return nil, err
		}
	}
	values := make([]float32, n)
	buffer := make([]byte, 1<<18)
	for at := 0; at < n; {
		part := buffer[:min(len(buffer), 4*(n-at))]
		if _, err := io.ReadFull(f, part); err != nil {
			return nil, r.dir.Problem(name, "%w", err)
		}
		for i := 0; i < len(part); i += 4 {
			v := math.Float32frombits(binary.LittleEndian.Uint32(part[i:]))
			if isNaN(v) || isInf(v) {
				return nil, r.dir.Problem(name, "value %d is %v", at, v)
			}
			values[at] = v
			at++
		}
	}
	return values, nil
}

// lines gives a file's rows. Empty lines are no rows and have no place there.
func (r *reader) lines(name string, row func(o strictjson.Object) error) error {
	f, _, err := r.dir.File(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if sum, ok := r.checksums[name]; ok {
		if err := r.dir.Verify(f, name, sum); err != nil {
			return err
		}
	}
	for n, line := range bundle.Lines(f, r.dir.Path(name)) {
		if line.Err != nil {
			return line.Err
		}
		o, err := strictjson.Parse(line.Text) // of the line's memory nothing is kept
		if err == nil {
			err = row(o)
		}
		if err != nil {
			return &bundle.FormatError{Path: r.dir.Path(name), Line: n, Reason: err}
		}
	}
	return nil
}

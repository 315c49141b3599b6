package dataset

import (
	"fmt"
	"math"
	"strings"

	"github.com/credence-ml/credence/models/internal/bundle"
	"github.com/credence-ml/credence/models/internal/strictjson"
)

// manifest is a bundle's manifest.json.
type manifest struct {
	Header
	rows     int
	sum      string // of the rows' file
	matrices [len(features)]matrix
}

// matrix is what the manifest says of a feature's file; no sum, no file.
type matrix struct {
	shape [2]int
	sum   string
}

func parseManifest(o strictjson.Object) (m manifest, err error) {
	if format, err := strictjson.String(o.Take("format")); err != nil || format != formatName {
		return m, fmt.Errorf("format %q: want %q", format, formatName)
	}
	if _, err := strictjson.Int(o.Take("schemaVersion"), 1, 1); err != nil {
		return m, fmt.Errorf("schemaVersion: %w", err)
	}
	rows, err := strictjson.Int(o.Take("rowCount"), 1, math.MaxInt)
	if err != nil {
		return m, fmt.Errorf("rowCount: %w", err)
	}
	m.rows = int(rows)
	if m.sum, err = member(o.Take("rows"), rowsFile, nil); err != nil {
		return m, fmt.Errorf("rows: %w", err)
	}
	matrices, err := strictjson.Parse(o.Take("matrices"))
	if err != nil {
		return m, fmt.Errorf("matrices: %w", err)
	}
	for i, f := range features {
		if value := matrices.Take(f.name); value != nil {
			if m.matrices[i].sum, err = member(value, f.file, &m.matrices[i].shape); err != nil {
				return m, fmt.Errorf("matrices: %s: %w", f.name, err)
			}
			if n := m.matrices[i].shape[0]; n > m.rows {
				return m, fmt.Errorf("matrices: %s has %d rows, the data %d", f.name, n, m.rows)
			}
		}
	}
	if len(matrices) > 0 {
		return m, fmt.Errorf("matrices: %q: want embedding and attributes only", matrices[0].Key)
	}
	if value := o.Take("classNames"); value != nil {
		if m.ClassNames, err = classNames(value); err != nil {
			return m, fmt.Errorf("classNames: %w", err)
		}
	}
	if value := o.Take("representation"); value != nil {
		fields, err := strictjson.Parse(value)
		if err != nil {
			return m, fmt.Errorf("representation: %w", err)
		}
		fingerprint, err := strictjson.String(fields.Take("fingerprint"))
		if err != nil {
			return m, fmt.Errorf("representation: fingerprint: %w", err)
		}
		m.Representation = &Representation{fingerprint, fields}
	}
	if value := o.Take("metadata"); value != nil {
		m.Metadata = value
	}
	m.Fields = o
	return m, m.Header.check()
}

// member reads what a manifest says of a file and returns its checksum. The name is fixed, so no path can lead out.
func member(value []byte, name string, shape *[2]int) (sum string, err error) {
	o, err := strictjson.Parse(value)
	if err != nil {
		return "", err
	}
	path, err := strictjson.String(o.Take("path"))
	if err != nil || path != name {
		return "", fmt.Errorf("path %q: want %q", path, name)
	}
	if sum, err = strictjson.String(o.Take("sha256")); err == nil {
		err = bundle.CheckSum(sum)
	}
	if err != nil {
		return "", fmt.Errorf("sha256: %w", err)
	}
	if shape == nil {
		return sum, nil
	}
	if kind, err := strictjson.String(o.Take("dtype")); err != nil || kind != "<f4" {
		return "", fmt.Errorf("dtype %q: want \"<f4\"", kind)
	}
	sizes, err := strictjson.Elements(o.Take("shape"))
	if err != nil || len(sizes) != 2 {
		return "", fmt.Errorf("shape: want two sizes")
	}
	for i, s := range sizes {
		n, err := strictjson.Int(s, 1, math.MaxInt32)
		if err != nil {
			return "", fmt.Errorf("shape: %w", err)
		}
		shape[i] = int(n)
	}
	return sum, nil
}

func classNames(value []byte) ([]string, error) {
	elements, err := strictjson.Elements(value)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(elements))
	for i, e := range elements {
		if names[i], err = strictjson.String(e); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// check proves a header that was read or is to be written.
func (h *Header) check() error {
	if h.ClassNames != nil && len(h.ClassNames) < 2 {
		return fmt.Errorf("classNames: %d; want at least two, or none", len(h.ClassNames))
	}
	seen := map[string]bool{}
	for _, name := range h.ClassNames {
		if name == "" || strings.TrimSpace(name) != name {
			return fmt.Errorf("classNames: %q is empty or has space around it", name)
		}
		if seen[name] {
			return fmt.Errorf("classNames: %q appears twice", name)
		}
		seen[name] = true
	}
	if h.Representation != nil && strings.TrimSpace(h.Representation.Fingerprint) == "" {
		return fmt.Errorf("representation: the fingerprint is empty")
	}
	if h.Metadata != nil {
		if _, err := strictjson.Parse(h.Metadata); err != nil {
			return fmt.Errorf("metadata: %w", err)
		}
	}
	return nil
}

// encode writes the manifest as JSON.
func (m *manifest) encode() ([]byte, error) {
	type file struct {
		Path   string `json:"path"`
		DType  string `json:"dtype,omitempty"`
		Shape  []int  `json:"shape,omitempty"`
		SHA256 string `json:"sha256"`
	}
	matrices := map[string]file{}
	for i, f := range features {
		if x := &m.matrices[i]; x.sum != "" {
			matrices[f.name] = file{f.file, "<f4", x.shape[:], x.sum}
		}
	}
	w := strictjson.NewObjectWriter()
	w.Add("format", formatName)
	w.Add("schemaVersion", 1)
	w.Add("rowCount", m.rows)
	w.Add("rows", file{Path: rowsFile, SHA256: m.sum})
	w.Add("matrices", matrices)
	if m.ClassNames != nil {
		w.Add("classNames", m.ClassNames)
	}
	if r := m.Representation; r != nil {
		inner := strictjson.NewObjectWriter()
		inner.Add("fingerprint", r.Fingerprint)
		inner.Keep(r.Fields)
		w.Object("representation", inner)
	}
	if m.Metadata != nil {
		w.Raw("metadata", m.Metadata)
	}
	w.Keep(m.Fields)
	text, err := w.Document()
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return text, nil
}

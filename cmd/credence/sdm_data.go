package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/credence-ml/credence/models/sdm"
	"github.com/credence-ml/credence/models/sdm/dataset"
	"github.com/credence-ml/credence/runtime"
)

// sdmRows are rows with their features, for a model to take in at once.
type sdmRows struct {
	sdm.Data
	header    dataset.Header
	dimension int
	path      string
}

// loadSDMRows reads data with its features. With like it must be made by the encoder of a model, and have its classes
// and its number of features.
func loadSDMRows(path string, composition dataset.Composition, like *sdm.Config) (*sdmRows, error) {
	d, err := dataset.Read(path)
	if err != nil {
		return nil, err
	}
	r := &sdmRows{header: d.Header, path: path}
	r.IDs, r.Labels = d.IDs(), d.Labels()
	if r.Features, r.dimension, err = d.Features(composition); err != nil {
		return nil, err
	}
	for i := range d.Rows {
		if d.Rows[i].Document != nil && r.Documents == nil {
			r.Documents = make([]*string, len(d.Rows))
		}
		if r.Documents != nil {
			r.Documents[i] = d.Rows[i].Document
		}
	}
	if like == nil {
		return r, nil
	}
	return r, agrees(path, &r.header, r.dimension, like)
}

// agrees holds what data state against a model.
func agrees(path string, h *dataset.Header, dimension int, c *sdm.Config) error {
	if f := h.Fingerprint(); f != "" && f != c.Representation.Fingerprint {
		return fmt.Errorf("%s: its features are of the representation %q, the model's of %q", path, f, c.Representation.Fingerprint)
	}
	if h.ClassNames != nil && !slices.Equal(h.ClassNames, c.ClassNames) {
		return fmt.Errorf("%s: its classes are %q, the model's %q", path, h.ClassNames, c.ClassNames)
	}
	if dimension != c.Dimension {
		return fmt.Errorf("%s: rows of %d features, the model has %d", path, dimension, c.Dimension)
	}
	return nil
}

// checkModelDestination proves, before the work, that a model can be put at the path that a flag names: nothing is there
// yet, or a model, which is replaced as a whole.
func checkModelDestination(flag, path string) error {
	if _, err := os.Lstat(path); err == nil && !isSDMModel(path) {
		return fmt.Errorf("%s %s: there is something that is no model", flag, path)
	}
	dir, err := os.MkdirTemp(filepath.Dir(filepath.Clean(path)), ".credence-*")
	if err != nil {
		return fmt.Errorf("%s %s: %w", flag, path, err)
	}
	return os.Remove(dir)
}

// withSDM opens a runtime and loads a model for the time of f.
func withSDM(s *settings, path string, f func(m *sdm.Model) error) error {
	rt, err := runtime.Open(s.options()...)
	if err != nil {
		return err
	}
	defer rt.Close()
	m, err := sdm.Load(rt, path)
	if err != nil {
		return err
	}
	defer m.Close()
	return f(m)
}

// compositionFlag is the text of --composition for commands that take features in.
const compositionFlag = "what of a row is its features: embedding, attributes, embedding+attributes, or auto, which is what there is"

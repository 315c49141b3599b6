package probpsenn

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"slices"

	"github.com/credence-ml/credence/models/data"
)

// examplesKept is how many nearest training examples a model keeps of each prototype.
const examplesKept = 8

// Examples are the training examples nearest to each prototype distribution. They travel with the model, so that an
// explanation can point at real data; the pictures stay with whoever has the data.
type Examples struct {
	Data       string      `json:"data"`       // SHA-256 of the training inputs and labels
	N          int         `json:"n"`          // how many there are, with those held out for calibration
	Prototypes [][]Example `json:"prototypes"` // of each prototype, nearest first
}

// Example is one training example.
type Example struct {
	Index    int       `json:"index"` // in the training data, from 0
	Label    int       `json:"label"`
	Distance float64   `json:"distance"` // expected squared distance from the prototype's samples
	Latent   []float32 `json:"latent"`
}

// NearestExamples finds the examples nearest to each prototype in the data that the model was trained on and keeps them
// in m.Examples. What Train held out for calibration does not count. Train calls it; progress may be nil.
func (m *Model) NearestExamples(ctx context.Context, images *data.Images, progress func(rows int)) error {
	if err := checkData(&m.Config, images); err != nil {
		return err
	}
	rows, _, err := data.StratifiedSplit(images.Labels, m.Config.HoldOut, m.Config.Seed)
	if err != nil {
		return fmt.Errorf("prob-psenn: %w", err)
	}
	g, err := m.gaussians()
	if err != nil {
		return err
	}
	p, err := m.NewPredictor(PredictorOptions{MaxBatch: encodeBatch, Samples: 1, LabelsOnly: true})
	if err != nil {
		return err
	}
	defer p.Close()
	found := &Examples{Data: digestOf(images), N: images.N, Prototypes: make([][]Example, g.k)}
	size, d := m.inputSize(), m.Config.Latent
	x := make([]float32, encodeBatch*size)
	for at := 0; at < len(rows); at += encodeBatch {
		batch := rows[at:min(at+encodeBatch, len(rows))]
		for i, row := range batch {
			copy(x[i*size:(i+1)*size], images.Pixels[row*size:(row+1)*size])
		}
		if err := p.forward(ctx, x[:len(batch)*size], len(batch)); err != nil {
			return err
		}
		for i, row := range batch {
			z := p.z[i*d : (i+1)*d]
			wide := widen(z)
			for k := range found.Prototypes {
				found.Prototypes[k] = keepNearest(found.Prototypes[k], Example{row, int(images.Labels[row]), g.expected(wide, k), z})
			}
		}
		if progress != nil {
			progress(at + len(batch))
		}
	}
	m.Examples = found
	return nil
}

// keepNearest puts e into a list of the nearest, of equal distances the lower index first. Only what is kept is copied.
func keepNearest(list []Example, e Example) []Example {
	at, _ := slices.BinarySearchFunc(list, e, func(a, b Example) int {
		return cmp.Or(cmp.Compare(a.Distance, b.Distance), cmp.Compare(a.Index, b.Index))
	})
	if at >= examplesKept || math.IsNaN(e.Distance) {
		return list
	}
	e.Latent = slices.Clone(e.Latent)
	list = slices.Insert(list, at, e)
	return list[:min(len(list), examplesKept)]
}

// of reports whether images are the data in which the examples were found.
func (e *Examples) of(images *data.Images) bool {
	return images.N == e.N && len(images.Labels) == images.N && digestOf(images) == e.Data
}

// check proves that examples read from a file fit the configuration.
func (e *Examples) check(c *Config) error {
	if sum, err := hex.DecodeString(e.Data); err != nil || len(sum) != 32 {
		return fmt.Errorf("examples: %q is not a SHA-256 in hexadecimal", e.Data)
	}
	if len(e.Prototypes) != c.prototypes() {
		return fmt.Errorf("examples of %d prototypes; the configuration has %d", len(e.Prototypes), c.prototypes())
	}
	for k, list := range e.Prototypes {
		if len(list) > examplesKept {
			return fmt.Errorf("%d examples of prototype %d; at most %d", len(list), k, examplesKept)
		}
		for i, x := range list {
			switch {
			case x.Index < 0 || x.Index >= e.N || x.Label < 0 || x.Label >= c.Classes:
				return fmt.Errorf("example %d of prototype %d has index %d and label %d; there are %d and %d", i, k, x.Index, x.Label, e.N, c.Classes)
			case !(x.Distance >= 0 && x.Distance <= math.MaxFloat64) || i > 0 && x.Distance < list[i-1].Distance:
				return fmt.Errorf("example %d of prototype %d has distance %v; they ascend from 0", i, k, x.Distance)
			case len(x.Latent) != c.Latent:
				return fmt.Errorf("example %d of prototype %d has %d latent values; the configuration has %d", i, k, len(x.Latent), c.Latent)
			}
		}
	}
	return nil
}

package sdm

import (
	"fmt"
	"math"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Config describes a model.
type Config struct {
	Dimension         int      // D, features per row
	Classes           int      // C
	ClassNames        []string // of every class; nil: Class0, Class1, ..
	ExemplarDimension int      // M; 0: 1000
	MaxNeighbors      int      // K, where q is capped; 0: 2048
	AlphaResolution   float64  // step between the levels of acceptance; 0: 0.05
	QOffset           float64  // added to q in the base of the activation; 0: 2, so that the base is above 1 also at q = 0
	OODLimit          int      // rows are accepted only where q' rounded down is above it

	// Representation says what the features are; "" of provider and fingerprint: "precomputed" and "embedding_v1", which
	// other programs take for features of which nothing is stated.
	Representation Representation
}

// DefaultFingerprint is that of features of which nothing is stated.
const DefaultFingerprint = "embedding_v1"

// maxElements bounds each matrix of a model: 2^40 values are more than any machine holds.
const maxElements = 1 << 40

func (c *Config) check() error {
	if c.ExemplarDimension == 0 {
		c.ExemplarDimension = 1000
	}
	if c.MaxNeighbors == 0 {
		c.MaxNeighbors = 2048
	}
	if c.AlphaResolution == 0 {
		c.AlphaResolution = .05
	}
	if c.Dimension < 1 || c.Classes < 2 || c.ExemplarDimension < 1 || c.Dimension > maxElements/c.ExemplarDimension || c.Classes > maxElements/c.ExemplarDimension {
		return fmt.Errorf("sdm: %d features, %d classes, exemplars of %d: at least 1, 2 and 1 are needed", c.Dimension, c.Classes, c.ExemplarDimension)
	}
	if c.MaxNeighbors < 1 || c.MaxNeighbors > math.MaxInt32 {
		return fmt.Errorf("sdm: at most %d neighbours; 1 to %d are possible", c.MaxNeighbors, math.MaxInt32)
	}
	if _, err := Alphas(c.AlphaResolution); err != nil {
		return err
	}
	if c.Representation.Provider == "" {
		c.Representation.Provider = "precomputed"
	}
	if c.Representation.Fingerprint == "" {
		c.Representation.Fingerprint = DefaultFingerprint
	}
	if c.QOffset == 0 {
		c.QOffset = 2
	}
	if !(c.QOffset > 1) || math.IsInf(c.QOffset, 0) || c.OODLimit < 0 {
		return fmt.Errorf("sdm: q offset %v and limit %d; above 1 and at least 0 are needed", c.QOffset, c.OODLimit)
	}
	if c.ClassNames == nil {
		for i := range c.Classes {
			c.ClassNames = append(c.ClassNames, fmt.Sprint("Class", i))
		}
	}
	if len(c.ClassNames) != c.Classes {
		return fmt.Errorf("sdm: %d names for %d classes", len(c.ClassNames), c.Classes)
	}
	return names{}.add("classes", c.ClassNames)
}

// OutOfDistribution is the label of a support row that is known to be like no class: it matches no prediction, and so
// cuts the similarity of whatever comes to lie near it.
const OutOfDistribution = -99

// Unlabeled is the label of a row of which nothing is known.
const Unlabeled = -1

// Data are feature vectors with what is known of them. A Data is read only while a call lasts.
type Data struct {
	Features  []float32 // [N x D] row-major
	Labels    []int32   // class, Unlabeled, or OutOfDistribution
	IDs       []string  // unique; nil: the row's number
	Documents []*string // nil, or what rows were made from, for the reader of exemplars
}

// id is the name of row i.
func (d *Data) id(i int) string {
	if d.IDs == nil {
		return fmt.Sprint(i)
	}
	return d.IDs[i]
}

func (d *Data) document(i int) *string {
	if d.Documents == nil {
		return nil
	}
	return d.Documents[i]
}

// check demands rows of n features that are numbers; name is what the rows are for.
func (d *Data) check(name string, n int) error {
	rows := len(d.Labels)
	if len(d.Features) != rows*n {
		return fmt.Errorf("sdm: %s: %d features are not %d rows of %d", name, len(d.Features), rows, n)
	}
	if d.IDs != nil && len(d.IDs) != rows || d.Documents != nil && len(d.Documents) != rows {
		return fmt.Errorf("sdm: %s: %d rows, %d ids, %d documents; one for each row or none are needed", name, rows, len(d.IDs), len(d.Documents))
	}
	for i, text := range d.Documents {
		if text != nil && !utf8.ValidString(*text) {
			return fmt.Errorf("sdm: %s: the document of row %d is not UTF-8", name, i)
		}
	}
	return checkFinite(name, d.Features, n)
}

// names are those seen so far, up to canonical equivalence of Unicode, as the form of the file compares them.
type names map[string]bool

func (n names) has(name string) bool { return n[norm.NFC.String(name)] }

// add demands that every name is text and not there yet.
func (n names) add(of string, list []string) error {
	for i, name := range list {
		if name == "" || !utf8.ValidString(name) || n.has(name) {
			return fmt.Errorf("sdm: %s: the name %q of number %d is empty, not UTF-8, or occurs twice", of, name, i)
		}
		n[norm.NFC.String(name)] = true
	}
	return nil
}

// checkLabels demands that every label is a class, or also one of others.
func checkLabels(name string, labels []int32, classes int, others ...int32) error {
rows:
	for i, label := range labels {
		if label >= 0 && int(label) < classes {
			continue
		}
		for _, o := range others {
			if label == o {
				continue rows
			}
		}
		return fmt.Errorf("sdm: %s: label %d of row %d is outside 0 to %d", name, label, i, classes-1)
	}
	return nil
}

func checkFinite(name string, x []float32, n int) error {
	for i, v := range x {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("sdm: %s: feature %d of row %d is %v", name, i%n, i/n, v)
		}
	}
	return nil
}

// Package dataset reads and writes the labelled feature vectors that SDM models are trained on and score, in the two
// forms that other SDM software keeps too: bundles, which are directories NAME.sdmdataset with a manifest, rows in JSON
// Lines and features as NPY matrices; and plain JSON Lines with the features inline.
//
// Rows stream: Open and Write hold one at a time, and Read is for what fits into memory. Nothing in a file is taken on
// trust, and fields that nobody here knows travel along as they are.
package dataset

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/credence-ml/credence/models/internal/strictjson"
)

// Labels that are no class.
const (
	Unlabeled         = -1
	OutOfDistribution = -99 // known to be unlike every class; of use in a support only
)

// Dataset is rows in memory.
type Dataset struct {
	Header
	Rows   []Row
	Source string // where it was read from, for messages
	arena  [len(features)][]float32
}

// Header is what a bundle says of all its rows. JSON Lines say nothing but the fingerprint, row by row.
type Header struct {
	ClassNames     []string // nil where not stated
	Representation *Representation
	Metadata       json.RawMessage // an object; nil if there is none
	Fields         Fields          // what else the manifest holds
}

// Representation says which encoder made the features. Features of another fingerprint mean something else.
type Representation struct {
	Fingerprint string
	Fields      Fields // provider, model, revision, inputTemplate and whatever else
}

// Fields are JSON fields in their order, as they are.
type Fields = strictjson.Object

// Row is one example.
type Row struct {
	ID                    string
	Label                 int32     // a class, Unlabeled or OutOfDistribution
	Document              *string   // what the features were made from
	Embedding, Attributes []float32 // nil where the row has none
	Fields                Fields    // every other field: metadata, logits, prompt and whatever else
}

// Fingerprint is the representation's, "" where none is stated.
func (h *Header) Fingerprint() string {
	if h.Representation == nil {
		return ""
	}
	return h.Representation.Fingerprint
}

// Len is the number of rows.
func (d *Dataset) Len() int { return len(d.Rows) }

// IDs are the rows' names, no two of them equal.
func (d *Dataset) IDs() []string {
	ids := make([]string, len(d.Rows))
	for i := range ids {
		ids[i] = d.Rows[i].ID
	}
	return ids
}

// Labels are the rows' labels.
func (d *Dataset) Labels() []int32 {
	labels := make([]int32, len(d.Rows))
	for i := range labels {
		labels[i] = d.Rows[i].Label
	}
	return labels
}

// Composition chooses what of a row is its feature vector.
type Composition string

// The compositions. Auto is the embedding, the attributes, or both in this order, whichever the rows have.
const (
	Auto                    Composition = "auto"
	EmbeddingOnly           Composition = "embedding"
	AttributesOnly          Composition = "attributes"
	EmbeddingThenAttributes Composition = "embedding+attributes"
)

// parts says which of embedding and attributes the composition takes of a row; Auto takes what there is.
func (c Composition) parts(row *Row) (embedding, attributes bool, err error) {
	switch c {
	case Auto, "":
		return row.Embedding != nil, row.Attributes != nil, nil
	case EmbeddingOnly:
		return true, false, nil
	case AttributesOnly:
		return false, true, nil
	case EmbeddingThenAttributes:
		return true, true, nil
	}
	return false, false, fmt.Errorf("composition %q: want %s, %s, %s or %s", c, Auto, EmbeddingOnly, AttributesOnly, EmbeddingThenAttributes)
}

// Composer makes feature vectors of rows, all of the same parts and so of the same size.
type Composer struct {
	composition           Composition
	embedding, attributes bool
	size, rows            int
}

// NewComposer is for rows one after another; the first decides what Auto means.
func NewComposer(c Composition) *Composer { return &Composer{composition: c} }

// Size is the number of features of a row, 0 before the first.
func (c *Composer) Size() int { return c.size }

// Append appends the feature vector of a row to dst.
func (c *Composer) Append(dst []float32, row *Row) ([]float32, error) {
	embedding, attributes, err := c.composition.parts(row)
	if err != nil {
		return dst, err
	}
	if c.rows == 0 {
		c.embedding, c.attributes = embedding, attributes
	}
	c.rows++
	switch {
	case !embedding && !attributes:
		return dst, fmt.Errorf("row %q has neither embedding nor attributes", row.ID)
	case embedding != c.embedding || attributes != c.attributes:
		return dst, fmt.Errorf("row %q does not have the same features as the first row; choose a composition that all have", row.ID)
	case embedding && row.Embedding == nil:
		return dst, fmt.Errorf("row %q has no embedding", row.ID)
	case attributes && row.Attributes == nil:
		return dst, fmt.Errorf("row %q has no attributes", row.ID)
	}
	before := len(dst)
	if embedding {
		dst = append(dst, row.Embedding...)
	}
	if attributes {
		dst = append(dst, row.Attributes...)
	}
	size := len(dst) - before
	if c.size == 0 {
		c.size = size
	}
	if size != c.size {
		return dst, fmt.Errorf("row %q has %d features, the rows before it %d", row.ID, size, c.size)
	}
	return dst, nil
}

// Features are the feature vectors [Len, size], row-major. They share the rows' memory where that holds them already in
// this form, so neither must be changed.
func (d *Dataset) Features(c Composition) (x []float32, size int, err error) {
	if len(d.Rows) == 0 {
		return nil, 0, fmt.Errorf("%s has no rows", d.Source)
	}
	composer := NewComposer(c)
	if x = d.contiguous(c); x != nil {
		return x, len(x) / len(d.Rows), nil
	}
	for i := range d.Rows {
		if x, err = composer.Append(x, &d.Rows[i]); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", d.Source, err)
		}
		if i == 0 && composer.size > 0 {
			x = append(make([]float32, 0, len(d.Rows)*composer.size), x...)
		}
	}
	return x, composer.size, nil
}

// contiguous is the memory in which Read put the features, if the composition is one kind of them and all rows still
// have them there in order; otherwise nil.
func (d *Dataset) contiguous(c Composition) []float32 {
	kind := -1
	for i := range d.Rows {
		embedding, attributes, err := c.parts(&d.Rows[i])
		if err != nil || embedding == attributes {
			return nil
		}
		if kind = 0; attributes {
			kind = 1
		}
		values, all := *d.Rows[i].of(kind), d.arena[kind]
		if n := len(values); n == 0 || len(all) != n*len(d.Rows) || &all[i*n] != &values[0] {
			return nil
		}
	}
	return d.arena[kind]
}

// Read reads a bundle (a directory) or JSON Lines (a file) into memory.
func Read(path string) (*Dataset, error) {
	r, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	d := &Dataset{Source: path}
	r.reserve()
	for {
		row, err := r.Next()
		if err == io.EOF {
			d.Header, d.arena = *r.Header(), r.arena
			return d, nil
		}
		if err != nil {
			return nil, err
		}
		d.Rows = append(d.Rows, *row)
	}
}

// Set puts a string field besides the fingerprint, in place of one of the same key.
func (r *Representation) Set(key, value string) error {
	quoted, err := strictjson.Quote(value)
	if err != nil {
		return fmt.Errorf("representation: %s: %w", key, err)
	}
	r.Fields.Take(key)
	r.Fields = append(r.Fields, strictjson.Field{Key: key, Value: quoted})
	return nil
}

// Text is a field that is a string, "" where there is none or it is something else.
func (r *Representation) Text(key string) string {
	if text, err := strictjson.String(r.Fields.Get(key)); err == nil {
		return text
	}
	return ""
}

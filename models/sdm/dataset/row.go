package dataset

import (
	"fmt"
	"math"
	"slices"

	"github.com/credence-ml/credence/models/internal/strictjson"
)

// The names of fields with a meaning here.
const (
	fieldID          = "id"
	fieldLabel       = "label"
	fieldDocument    = "document"
	fieldFingerprint = "representationFingerprint"
)

// feature is one of the two kinds of features: how rows name it, inline and by reference, and its file in a bundle.
type feature struct{ name, reference, file string }

var features = [2]feature{{"embedding", "embeddingRow", "embeddings.npy"}, {"attributes", "attributesRow", "attributes.npy"}}

// of is where a row keeps the values of feature i.
func (r *Row) of(i int) *[]float32 {
	if i == 0 {
		return &r.Embedding
	}
	return &r.Attributes
}

// parseRow takes a row apart; the features and references to them stay in Fields.
func parseRow(text []byte) (*Row, error) {
	fields, err := strictjson.Parse(text)
	if err != nil {
		return nil, err
	}
	r := &Row{}
	value := fields.Take(fieldID)
	if value == nil {
		return nil, fmt.Errorf("no id")
	}
	if r.ID, err = strictjson.String(value); err != nil {
		return nil, fmt.Errorf("id: %w", err)
	}
	value = fields.Take(fieldLabel)
	if value == nil {
		return nil, fmt.Errorf("row %q has no label; %d is for rows whose class is not known", r.ID, Unlabeled)
	}
	label, err := strictjson.Int(value, OutOfDistribution, math.MaxInt32)
	if err != nil {
		return nil, fmt.Errorf("label of row %q: %w", r.ID, err)
	}
	r.Label = int32(label)
	if value := fields.Get(fieldDocument); !strictjson.IsNull(value) {
		text, err := strictjson.String(fields.Take(fieldDocument))
		if err != nil {
			return nil, fmt.Errorf("document of row %q: %w", r.ID, err)
		}
		r.Document = &text
	}
	r.Fields = fields
	return r, nil
}

// inline moves features that are written into the row from its fields to their places. Where is for the values: Append
// of a slice with room for them.
func (r *Row) inline(where func(i int) []float32) error {
	for i, f := range features {
		if r.Fields.Get(f.reference) != nil {
			return fmt.Errorf("row %q: %s is for bundles; JSON Lines have %s itself", r.ID, f.reference, f.name)
		}
		value := r.Fields.Take(f.name)
		if value == nil {
			continue
		}
		values, err := strictjson.Float32s(where(i), value)
		if err != nil {
			return fmt.Errorf("%s of row %q: %w", f.name, r.ID, err)
		}
		*r.of(i) = slices.Clip(values)
	}
	return nil
}

// checker proves rows one after another, those that are read and those that are written.
type checker struct {
	classes     int // 0: not known
	fingerprint string
	seen        map[string]struct{}
	columns     [len(features)]int // of each feature, 0 before the first
}

func newChecker(h *Header) *checker {
	return &checker{classes: len(h.ClassNames), fingerprint: h.Fingerprint(), seen: map[string]struct{}{}}
}

func (c *checker) check(r *Row) error {
	if r.ID == "" {
		return fmt.Errorf("the id is empty")
	}
	if _, again := c.seen[r.ID]; again {
		return fmt.Errorf("id %q appears twice", r.ID)
	}
	c.seen[r.ID] = struct{}{}
	switch {
	case r.Label < 0 && r.Label != Unlabeled && r.Label != OutOfDistribution:
		return fmt.Errorf("label %d of row %q: want a class from 0, %d for unlabelled or %d for out of distribution", r.Label, r.ID, Unlabeled, OutOfDistribution)
	case c.classes > 0 && int(r.Label) >= c.classes:
		return fmt.Errorf("label %d of row %q is outside 0..%d", r.Label, r.ID, c.classes-1)
	}
	if err := c.fields(r); err != nil {
		return fmt.Errorf("row %q: %w", r.ID, err)
	}
	for i, f := range features {
		values := *r.of(i)
		if values == nil {
			continue
		}
		if c.columns[i] == 0 {
			c.columns[i] = len(values)
		}
		if len(values) == 0 || len(values) != c.columns[i] {
			return fmt.Errorf("%s of row %q has %d values; want %d as in the rows before it, and at least one", f.name, r.ID, len(values), c.columns[i])
		}
		for j, v := range values {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return fmt.Errorf("%s of row %q: value %d is %v", f.name, r.ID, j, v)
			}
		}
	}
	return nil
}

// fields proves the fields that have a meaning for other programs.
func (c *checker) fields(r *Row) error {
	for _, f := range r.Fields {
		var err error
		switch f.Key {
		case fieldID, fieldLabel, features[0].name, features[1].name, features[0].reference, features[1].reference:
			err = fmt.Errorf("is no field to keep: it has a place of its own")
		case fieldDocument, "prompt":
			if r.Document != nil && f.Key == fieldDocument {
				err = fmt.Errorf("is there twice")
			} else if !strictjson.IsNull(f.Value) {
				_, err = strictjson.String(f.Value)
			}
		case "metadata":
			err = wantObject(f.Value)
			if nested := parsed(f.Value).Get(fieldFingerprint); err == nil && nested != nil && r.Fields.Get(fieldFingerprint) == nil {
				err = c.sameFingerprint(nested)
			}
		case "logits", "sourceLogits":
			var values []float32
			if values, err = strictjson.Float32s(nil, f.Value); err == nil && len(values) < 2 {
				err = fmt.Errorf("want at least two numbers")
			}
		case fieldFingerprint:
			err = c.sameFingerprint(f.Value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Key, err)
		}
	}
	return nil
}

func parsed(value []byte) Fields {
	fields, _ := strictjson.Parse(value)
	return fields
}

func wantObject(value []byte) error {
	if len(value) == 0 || value[0] != '{' {
		return fmt.Errorf("want an object")
	}
	return nil
}

func (c *checker) sameFingerprint(value []byte) error {
	f, err := strictjson.String(value)
	if err != nil {
		return err
	}
	if f == "" {
		return fmt.Errorf("empty")
	}
	if c.fingerprint != "" && c.fingerprint != f {
		return fmt.Errorf("%q, but the data before it have %q: features of different encoders", f, c.fingerprint)
	}
	c.fingerprint = f
	return nil
}

// appendRow writes a row as one line of JSON. References, where not negative, stand for the features.
func appendRow(dst []byte, r *Row, references *[len(features)]int) ([]byte, error) {
	id, err := strictjson.Quote(r.ID)
	if err != nil {
		return dst, fmt.Errorf("id: %w", err)
	}
	dst = append(append(dst, `{"id":`...), id...)
	dst = fmt.Appendf(dst, `,"label":%d`, r.Label)
	if r.Document != nil {
		text, err := strictjson.Quote(*r.Document)
		if err != nil {
			return dst, fmt.Errorf("document of row %q: %w", r.ID, err)
		}
		dst = append(append(dst, `,"document":`...), text...)
	}
	for _, f := range r.Fields {
		if dst, err = f.Append(append(dst, ',')); err != nil {
			return dst, fmt.Errorf("row %q: %w", r.ID, err)
		}
	}
	for i, f := range features {
		switch values := *r.of(i); {
		case values == nil:
		case references != nil:
			dst = fmt.Appendf(dst, `,"%s":%d`, f.reference, references[i])
		default:
			dst = strictjson.AppendFloat32s(fmt.Appendf(dst, `,"%s":`, f.name), values)
		}
	}
	return append(dst, '}', '\n'), nil
}

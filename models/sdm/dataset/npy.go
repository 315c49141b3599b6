package dataset

import (
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/internal/atomicfile"
)

// FromNPY makes a data set of an NPY matrix of features [n, d] (<f4 or <f8) and, unless labels is empty, an NPY vector of
// n integer labels. The features become the embedding; the ids are the file's name and the row's number from 0,
// x/0 of x.npy, so that those of several files can come together. Without labels the rows are Unlabeled.
func FromNPY(features, labels string) (*Dataset, error) {
	a, err := data.ReadNPY(features)
	if err != nil {
		return nil, err
	}
	if len(a.Shape) != 2 || a.Shape[0] < 1 || a.Shape[1] < 1 {
		return nil, &data.FormatError{File: features, Expected: "feature vectors [n, d]", Found: fmt.Sprintf("shape %v", a.Shape)}
	}
	values, err := a.Float32s()
	if err != nil {
		return nil, err
	}
	n, d := a.Shape[0], a.Shape[1]
	classes := make([]int64, n)
	for i := range classes {
		classes[i] = Unlabeled
	}
	if labels != "" {
		y, err := data.ReadNPY(labels)
		if err != nil {
			return nil, err
		}
		if classes, err = y.Int64s(); err != nil {
			return nil, err
		}
		if len(y.Shape) != 1 || len(classes) != n {
			return nil, &data.FormatError{File: labels, Expected: fmt.Sprintf("%d labels, one for each row of %s", n, features), Found: fmt.Sprintf("shape %v", y.Shape)}
		}
	}
	s := &Dataset{Rows: make([]Row, n), Source: features}
	s.arena[0] = values
	c, name := newChecker(&s.Header), strings.TrimSuffix(filepath.Base(features), filepath.Ext(features))
	for i := range s.Rows {
		if classes[i] < math.MinInt32 || classes[i] > math.MaxInt32 {
			return nil, &data.FormatError{File: labels, Expected: "labels that are classes", Found: fmt.Sprintf("%d at %d", classes[i], i)}
		}
		s.Rows[i] = Row{ID: name + "/" + strconv.Itoa(i), Label: int32(classes[i]), Embedding: values[i*d : (i+1)*d : (i+1)*d]}
		if err := c.check(&s.Rows[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", features, err)
		}
	}
	return s, nil
}

// WriteNPY writes the feature vectors as an NPY matrix and, unless labels is empty, the labels as a vector of int64. Each
// file is published by rename.
func (d *Dataset) WriteNPY(features, labels string, c Composition) error {
	x, size, err := d.Features(c)
	if err != nil {
		return err
	}
	err = atomicfile.Write(features, func(w io.Writer) error { return data.WriteNPY(w, []int{d.Len(), size}, x) })
	if err != nil || labels == "" {
		return err
	}
	wide := make([]int64, d.Len())
	for i, label := range d.Labels() {
		wide[i] = int64(label)
	}
	return atomicfile.Write(labels, func(w io.Writer) error { return data.WriteNPY(w, []int{len(wide)}, wide) })
}

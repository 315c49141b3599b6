package sdm

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/credence-ml/credence/models/sdm/artifact"
)

// What a model keeps has the types of its file.
type (
	Record         = artifact.Record     // a support row besides its vector
	Region         = artifact.Region     // where predictions are accepted
	CalibrationRow = artifact.Calibrated // what the estimator made of a calibration row
	Representation = artifact.Representation
)

// A state is everything of a model that edits can change. It is never written to once it is published: whoever scores
// takes one and keeps it to the end.
type state struct {
	id      string
	engine  *engine
	records []Record  // of all rows of all parts, also of removed ones
	classes [][]int32 // of the rows of each part; removed where a row was
	rank    []int32   // number of each row among those that are there; nil: nothing was removed

	distances    [][]float32 // calibration distances of each class, ascending
	similarities [][]float32 // calibration q' of each class, ascending
	regions      []Region
	resolution   float64
	calibration  []CalibrationRow
	stale        bool // the support has changed since the calibration
}

// classAt is the class of a row that is numbered over all parts.
func (s *state) classAt(row int) *int32 {
	for _, c := range s.classes {
		if row < len(c) {
			return &c[row]
		}
		row -= len(c)
	}
	return nil
}

// present are the records of the rows that are there.
func (s *state) present() []Record {
	out := make([]Record, 0, len(s.records))
	at := 0
	for _, part := range s.classes {
		for _, class := range part {
			if class != removed {
				out = append(out, s.records[at])
			}
			at++
		}
	}
	return out
}

// copy is a state to edit: what an edit may change is its own.
func (s *state) copy() *state {
	c := *s
	c.records = slices.Clone(s.records)
	c.classes = nil
	for _, part := range s.classes {
		c.classes = append(c.classes, slices.Clone(part))
	}
	return &c
}

// count numbers the rows that are there, and returns how many there are.
func (s *state) count() int {
	n := 0
	s.rank = nil
	rank := make([]int32, 0, len(s.records))
	for _, part := range s.classes {
		for _, class := range part {
			rank = append(rank, int32(n))
			if class != removed {
				n++
			}
		}
	}
	if n < len(s.records) {
		s.rank = rank
	}
	return n
}

// limit takes away what says more of q and q' than n support rows allow, which the form of the file forbids and scores
// cannot reach: after a removal a region beyond them accepts nothing, a count beyond them stands for all, and stored
// calibration rows that were matched with more are of no more use.
func (s *state) limit(n float32) {
	s.regions = slices.DeleteFunc(slices.Clone(s.regions), func(r Region) bool { return r.MinimumSimilarity > n })
	similarities := make([][]float32, len(s.similarities))
	for c, values := range s.similarities {
		similarities[c] = slices.Clone(values)
		for i := range values {
			similarities[c][i] = min(values[i], n)
		}
	}
	s.similarities = similarities
	for i := range s.calibration {
		if q := s.calibration[i].Q; s.calibration[i].QPrime > n || q != nil && float32(*q) > n {
			s.calibration = nil
			break
		}
	}
}

// number is the place of a row among those that are there.
func (s *state) number(row int) int {
	if s.rank != nil {
		return int(s.rank[row])
	}
	return row
}

// row is the inverse of number.
func (s *state) row(number int) int {
	if s.rank == nil {
		return number
	}
	// the last row of this rank is the one that is there: removed rows before it have the same
	i, _ := slices.BinarySearchFunc(s.rank, int32(number), func(rank, want int32) int {
		if rank <= want {
			return -1
		}
		return 1
	})
	return i - 1
}

// calibrate takes over a measurement of calibration rows: distributions, stored rows, regions.
func (s *state) calibrate(c *Config, data *Data, m *measurement) error {
	s.distances = m.distributions
	s.calibration = make([]CalibrationRow, len(data.Labels))
	qPrime := make([]float32, len(data.Labels))
	for i, label := range data.Labels {
		z := m.logits[i*c.Classes : (i+1)*c.Classes]
		row := CalibrationRow{ID: data.id(i), Label: label, Prediction: int32(argMax(z)), SDM: make([]float32, c.Classes), Q: &m.q[i], D0: &m.distance[i], D: &m.d[i], ZPrime: z}
		Activation(row.SDM, z, float32(m.q[i]), m.d[i], c.QOffset)
		row.QPrime = RescaledSimilarity(float32(m.q[i]), row.SDM[row.Prediction], c.QOffset)
		s.calibration[i], qPrime[i] = row, row.QPrime
	}
	s.similarities = distributions(c.Classes, data.Labels, qPrime, func(int) bool { return true })
	s.stale = false
	return s.setRegions(c, c.AlphaResolution)
}

// setRegions finds the regions anew among the stored calibration rows.
func (s *state) setRegions(c *Config, resolution float64) (err error) {
	rows := make([]calibrated, len(s.calibration))
	for i := range s.calibration {
		r := &s.calibration[i]
		rows[i] = calibrated{r.QPrime, r.SDM, int(r.Label), int(r.Prediction)}
	}
	s.resolution = resolution
	s.regions, err = findRegions(c.Classes, c.OODLimit, resolution, rows)
	return err
}

// identify names the state after its content: the same training gives the same name. what are the things that tell it
// from others, an id that it comes from among them.
func (s *state) identify(what ...any) error {
	h := sha256.New()
	e := json.NewEncoder(h)
	for _, v := range what {
		if err := e.Encode(v); err != nil {
			return fmt.Errorf("sdm: naming the model: %w", err)
		}
	}
	s.id = uuid.NewSHA1(uuid.NameSpaceURL, h.Sum(nil)).String()
	return nil
}

// supportClasses are the classes that labelled rows have as support.
func supportClasses(labels, predictions []int32) []int32 {
	classes := make([]int32, len(labels))
	for i := range labels {
		classes[i] = supportClass(labels[i], predictions[i])
	}
	return classes
}

package sdm

import (
	"context"
	"fmt"
	"math"

	"github.com/credence-ml/credence/runtime"
)

// A Score is what the model says of one row. Its JSON form is a score row of version 1.
type Score struct {
	ID         string    `json:"id"`
	Label      int       `json:"label"`
	Prediction int       `json:"prediction"` // the largest logit
	Q          int       `json:"q"`          // how many of the nearest support rows agree
	D0         float32   `json:"d0"`         // squared distance to the nearest
	D          float32   `json:"d"`          // share of calibration distances that are no smaller, 0 to 1
	QPrime     float32   `json:"qPrime"`     // similarity rescaled by the output
	ZPrime     []float32 `json:"zPrime"`     // logits
	SDM        []float32 `json:"sdm"`        // probabilities

	// The band around d, of the region that accepts the row by the lower rule; without one, all is possible.
	EffectiveSampleSizes []int     `json:"cumulativeEffectiveSampleSizes"`
	Errors               []float32 `json:"effectiveSampleSizeErrors"`
	DLower               float32   `json:"dLower"`
	DUpper               float32   `json:"dUpper"`
	SDMLower             []float32 `json:"sdmLower"`
	SDMUpper             []float32 `json:"sdmUpper"`
	QPrimeLower          float32   `json:"qPrimeLower"`

	CentroidAlpha float64 `json:"centroidRegionAlpha"` // of the region that accepts the row; 0: rejected
	LowerAlpha    float64 `json:"lowerRegionAlpha"`    // the same with the lower ends of the bands

	MostConservative      bool `json:"isInMostConservativeRegion"` // in the region of the highest alpha there is
	MostConservativeLower bool `json:"isInMostConservativeRegionLower"`

	NearestIndex int     `json:"nearestSupportIndex"`
	NearestID    string  `json:"nearestSupportID"`
	Nearest      []Match `json:"nearestSupportMatches,omitempty"`

	ModelID                   string  `json:"modelID"`
	RepresentationFingerprint string  `json:"representationFingerprint"`
	ScoreSchemaVersion        int     `json:"scoreSchemaVersion"`
	MatchingSemanticsVersion  int     `json:"matchingSemanticsVersion"`
	ExcludedIndex             *int    `json:"excludedSupportIndex,omitempty"`
	ExcludedID                *string `json:"excludedSupportID,omitempty"`
}

// A Match is a support row near a scored one.
type Match struct {
	Index           int     `json:"supportIndex"`
	ID              string  `json:"id"`
	Label           int     `json:"label"`
	PredictedLabel  int     `json:"predictedLabel"`
	SquaredDistance float32 `json:"squaredDistance"`
	Document        *string `json:"document,omitempty"`
}

// ScoreOptions refine Score.
type ScoreOptions struct {
	IDs     []string // of the rows; nil: their numbers
	Labels  []int32  // carried into the scores; nil: Unlabeled
	Exclude []int    // for each row the support row that it is itself, or -1; nil: none
	Nearest int      // so many nearest support rows with each score
}

// Score scores rows of features, in batches. All rows see the same support, whatever edits happen meanwhile.
func (m *Model) Score(ctx context.Context, features []float32, o ScoreOptions) ([]Score, error) {
	rows := len(features) / m.config.Dimension
	if len(features) != rows*m.config.Dimension {
		return nil, fmt.Errorf("sdm: %d features are not rows of %d", len(features), m.config.Dimension)
	}
	for _, n := range []struct {
		name string
		n    int
		have bool
	}{{"ids", len(o.IDs), o.IDs != nil}, {"labels", len(o.Labels), o.Labels != nil}, {"excluded rows", len(o.Exclude), o.Exclude != nil}} {
		if n.have && n.n != rows {
			return nil, fmt.Errorf("sdm: %d %s for %d rows", n.n, n.name, rows)
		}
	}
	if o.Nearest < 0 {
		return nil, fmt.Errorf("sdm: %d nearest rows", o.Nearest)
	}
	if err := checkFinite("rows to score", features, m.config.Dimension); err != nil {
		return nil, err
	}
	st, err := m.take()
	if err != nil {
		return nil, err
	}
	defer st.engine.release()
	exclude := make([]int32, rows)
	for i := range exclude {
		exclude[i] = -1
		if o.Exclude == nil || o.Exclude[i] == -1 {
			continue
		}
		if n := st.live(); o.Exclude[i] < 0 || o.Exclude[i] >= n || n < 2 {
			return nil, fmt.Errorf("sdm: row %d excludes support row %d; the support has rows 0 to %d, and one must be left", i, o.Exclude[i], n-1)
		}
		exclude[i] = int32(st.row(o.Exclude[i]))
	}
	found, err := m.match(ctx, st, features, exclude)
	if err != nil {
		return nil, err
	}
	scores := make([]Score, rows)
	for i := range scores {
		s := &scores[i]
		if err := m.fill(s, st, found, i); err != nil {
			return nil, fmt.Errorf("sdm: row %d: %w", i, err)
		}
		if s.ID = fmt.Sprint(i); o.IDs != nil {
			s.ID = o.IDs[i]
		}
		if o.Labels != nil {
			s.Label = int(o.Labels[i])
		}
		if exclude[i] >= 0 {
			at := o.Exclude[i]
			s.ExcludedIndex, s.ExcludedID = &at, &st.records[exclude[i]].ID
		}
	}
	if o.Nearest > 0 {
		err = m.nearest(ctx, st, features, exclude, o.Nearest, scores)
	}
	return scores, err
}

// ScoreOne scores one row together with those that other goroutines have waiting, so that they read the support once. The
// score has no id.
func (m *Model) ScoreOne(ctx context.Context, features []float32) (Score, error) {
	if len(features) != m.config.Dimension {
		return Score{}, fmt.Errorf("sdm: %d features; the model has %d", len(features), m.config.Dimension)
	}
	if err := checkFinite("row to score", features, len(features)); err != nil {
		return Score{}, err
	}
	r, err := m.batcher.Do(ctx, features)
	if err == nil {
		err = r.err
	}
	return r.score, err
}

// scored is what a batch has for one of its rows.
type scored struct {
	score Score
	err   error
}

// scoreTogether is the batcher's run.
func (m *Model) scoreTogether(ctx context.Context, s *runtime.Session, batch [][]float32, results []scored) error {
	st, err := m.take()
	if err != nil {
		return err
	}
	defer st.engine.release()
	b, err := m.bind(s, st.engine)
	if err != nil {
		return err
	}
	var x []float32
	exclude := make([]int32, len(batch))
	for i := range batch {
		x = append(x, batch[i]...)
		exclude[i] = -1
	}
	found := newMatches(len(batch), m.config.Classes)
	if err := st.engine.run(ctx, b, found, x, exclude, st.classes); err != nil {
		return err
	}
	for i := range results {
		if err := m.fill(&results[i].score, st, found, i); err != nil {
			results[i].err = fmt.Errorf("sdm: %w", err)
		}
	}
	return nil
}

// live is how many support rows there are.
func (s *state) live() int {
	n := len(s.records)
	if s.rank == nil {
		return n
	}
	n = int(s.rank[n-1])
	if *s.classAt(len(s.records) - 1) != removed {
		n++
	}
	return n
}

// fill computes all that follows from the match of row i.
func (m *Model) fill(s *Score, st *state, found *matches, i int) error {
	c, offset := m.config.Classes, m.config.QOffset
	z := found.logits[i*c : (i+1)*c : (i+1)*c]
	for _, v := range append(z, found.distance[i]) {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("its features are too large: logits %v, distance to the support %v", z, found.distance[i])
		}
	}
	at := int(found.nearest[i])
	*s = Score{Label: Unlabeled, Prediction: argMax(z), Q: int(found.q[i]), D0: found.distance[i], ZPrime: z,
		NearestIndex: st.number(at), NearestID: st.records[at].ID, ModelID: st.id,
		RepresentationFingerprint: m.config.Representation.Fingerprint, ScoreSchemaVersion: 1, MatchingSemanticsVersion: 2}
	q := float32(s.Q)
	s.D = DistanceQuantile(s.D0, st.distances)
	s.SDM = make([]float32, c)
	Activation(s.SDM, z, q, s.D, offset)
	s.QPrime = RescaledSimilarity(q, s.SDM[s.Prediction], offset)
	s.CentroidAlpha = regionAlpha(st.regions, m.config.OODLimit, s.QPrime, s.SDM, s.Prediction)
	s.EffectiveSampleSizes = EffectiveSampleSizes(s.QPrime, st.similarities)

	s.Errors = make([]float32, c)
	for k := range s.Errors {
		s.Errors[k] = 1
	}
	s.SDMLower, s.SDMUpper = make([]float32, c), make([]float32, c)
	for k := range st.regions {
		r := &st.regions[k]
		errors := DKW(r.Alpha, s.EffectiveSampleSizes)
		s.setLower(z, errors, offset)
		if accepts(r, m.config.OODLimit, s.QPrimeLower, s.SDMLower, s.Prediction) {
			s.LowerAlpha, s.Errors = r.Alpha, errors
			break
		}
	}
	if s.LowerAlpha == 0 {
		s.setLower(z, s.Errors, offset)
	}
	Activation(s.SDMUpper, z, q, s.DUpper, offset)
	if len(st.regions) > 0 {
		most := st.regions[0].Alpha
		s.MostConservative, s.MostConservativeLower = s.CentroidAlpha == most, s.LowerAlpha == most
	}
	return nil
}

// setLower computes the lower end of the band of the errors.
func (s *Score) setLower(z, errors []float32, offset float64) {
	s.DLower, s.DUpper = DistanceBand(s.D, errors)
	Activation(s.SDMLower, z, float32(s.Q), s.DLower, offset)
	s.QPrimeLower = RescaledSimilarity(float32(s.Q), s.SDMLower[s.Prediction], offset)
}

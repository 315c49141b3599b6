package sdm

import (
	"errors"
	"fmt"

	"github.com/credence-ml/credence/models/metrics"
)

// An Evaluation is what scores of labelled rows came to. Rows without a class are counted apart.
type Evaluation struct {
	ModelID string `json:"modelID"`
	Rows    int    `json:"rows"` // with a class

	Accuracy     *float64 `json:"accuracy"` // without rejection; null where no row has a class
	ByTrueClass  []Cell   `json:"byTrueClass"`
	ByPrediction []Cell   `json:"byPrediction"`
	AURC         *float64 `json:"aurc"` // with the output of the predicted class as confidence

	Centroid RuleEvaluation `json:"centroid"`
	Lower    RuleEvaluation `json:"lower"`

	Unlabeled         Excluded `json:"unlabeled"`
	OutOfDistribution Excluded `json:"outOfDistribution"` // what is accepted of them should not be
}

// A RuleEvaluation is what one rule accepts.
type RuleEvaluation struct {
	Alphas   []AlphaEvaluation `json:"perAlphaCumulative"` // of the regions, descending
	Rejected Share             `json:"rejected"`           // by all of them
}

// An AlphaEvaluation is of the rows that any region of at least Alpha accepts.
type AlphaEvaluation struct {
	Alpha        float64        `json:"alpha"`
	Count        int            `json:"admissionCount"`
	Share        float64        `json:"admission"`
	Accuracy     *float64       `json:"accuracy"` // null: nothing is accepted, and nothing claimed
	ByTrueClass  []Cell         `json:"byTrueClass"`
	ByPrediction []Cell         `json:"byPrediction"`
	Reasons      map[Reason]int `json:"rejectedBecause"`
}

// A Cell is of the rows of one class.
type Cell struct {
	Count    int      `json:"count"`
	Accuracy *float64 `json:"accuracy"` // null where there are none
	right    int
}

// A Share is of all rows with a class.
type Share struct {
	Count      int     `json:"count"`
	Proportion float64 `json:"proportion"`
}

// Excluded are rows without a class, and how many of them each alpha accepts by the centroid rule and the lower one.
type Excluded struct {
	Rows     int   `json:"rows"`
	Centroid []int `json:"centroidAdmissionCounts"`
	Lower    []int `json:"lowerAdmissionCounts"`
}

func (c *Cell) add(right bool) {
	if c.Count++; right {
		c.right++
	}
}

func (c *Cell) finish() {
	if c.Count > 0 {
		a := float64(c.right) / float64(c.Count)
		c.Accuracy = &a
	}
}

// cells count by true class and by prediction.
type cells struct{ all, class, prediction []Cell }

func newCells(classes int) *cells {
	return &cells{make([]Cell, 1), make([]Cell, classes), make([]Cell, classes)}
}

func (c *cells) add(s *Score) {
	right := s.Prediction == s.Label
	c.all[0].add(right)
	c.class[s.Label].add(right)
	c.prediction[s.Prediction].add(right)
}

func (c *cells) finish() {
	for _, list := range [][]Cell{c.all, c.class, c.prediction} {
		for i := range list {
			list[i].finish()
		}
	}
}

// Evaluate sums up scores that the model gave.
func (m *Model) Evaluate(scores []Score) (*Evaluation, error) {
	e := &Evaluation{ModelID: m.ID()}
	c := &m.config
	whole := newCells(c.Classes)
	var labelled, unlabeled, foreign []*Score
	var probabilities []float32
	var labels []int32
	for i := range scores {
		s := &scores[i]
		switch {
		case s.Label == Unlabeled:
			unlabeled = append(unlabeled, s)
		case s.Label == OutOfDistribution:
			foreign = append(foreign, s)
		case s.Label < 0 || s.Label >= c.Classes:
			return nil, fmt.Errorf("sdm: label %d of row %q is outside 0 to %d", s.Label, s.ID, c.Classes-1)
		default:
			labelled = append(labelled, s)
			whole.add(s)
			probabilities = append(probabilities, s.SDM...)
			labels = append(labels, int32(s.Label))
		}
	}
	if len(scores) == 0 {
		return nil, errors.New("sdm: no rows to evaluate")
	}
	whole.finish()
	e.Rows, e.Accuracy, e.ByTrueClass, e.ByPrediction = len(labelled), whole.all[0].Accuracy, whole.class, whole.prediction
	if len(labelled) > 0 {
		k, err := metrics.NewClassification(probabilities, c.Classes, labels)
		if err != nil {
			return nil, err
		}
		aurc := k.AURC()
		e.AURC = &aurc
	}
	regions := m.Regions()
	e.Centroid = evaluateRule(regions, c, labelled, Centroid)
	e.Lower = evaluateRule(regions, c, labelled, Lower)
	e.Unlabeled, e.OutOfDistribution = exclude(regions, unlabeled), exclude(regions, foreign)
	return e, nil
}

func evaluateRule(regions []Region, c *Config, scores []*Score, rule Rule) RuleEvaluation {
	r := RuleEvaluation{Alphas: []AlphaEvaluation{}}
	for _, region := range regions {
		a := AlphaEvaluation{Alpha: region.Alpha, Reasons: map[Reason]int{}}
		in := newCells(c.Classes)
		for _, s := range scores {
			if d := decide(regions, c.OODLimit, s, a.Alpha, rule); d.Accepted {
				in.add(s)
			} else {
				a.Reasons[d.Reason]++
			}
		}
		in.finish()
		a.Count, a.Accuracy, a.ByTrueClass, a.ByPrediction = in.all[0].Count, in.all[0].Accuracy, in.class, in.prediction
		a.Share = share(a.Count, len(scores))
		r.Alphas = append(r.Alphas, a)
	}
	for _, s := range scores {
		if s.alpha(rule) == 0 {
			r.Rejected.Count++
		}
	}
	r.Rejected.Proportion = share(r.Rejected.Count, len(scores))
	return r
}

// share is n of all, 0 of none.
func share(n, all int) float64 { return float64(n) / float64(max(all, 1)) }

func exclude(regions []Region, scores []*Score) Excluded {
	e := Excluded{len(scores), []int{}, []int{}}
	for _, r := range regions {
		n, lower := 0, 0
		for _, s := range scores {
			if s.CentroidAlpha >= r.Alpha {
				n++
			}
			if s.LowerAlpha >= r.Alpha {
				lower++
			}
		}
		e.Centroid, e.Lower = append(e.Centroid, n), append(e.Lower, lower)
	}
	return e
}

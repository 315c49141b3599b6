// Package sdmreport measures what an SDM model accepts and shows it on a page: accuracy by class at every alpha, why rows
// are rejected, calibration, risk against coverage, data unlike that of training, and the simple alternatives beside it.
package sdmreport

import (
	"fmt"
	"math"
	"slices"

	"github.com/credence-ml/credence/models/metrics"
	"github.com/credence-ml/credence/models/sdm"
	"github.com/credence-ml/credence/models/sdm/alternatives"
)

// Options are what New measures.
type Options struct {
	Model   *sdm.Model
	Scores  []sdm.Score // of the rows; rows without a class are counted apart
	Foreign []Foreign   // rows unlike those of training
	// Alternatives, if not nil, are compared on the same rows, whose features are needed for it.
	Alternatives *alternatives.Fitted
	Features     []float32 // [len(Scores), D]
	// Alphas are those at which methods are compared; nil: 0.99, 0.95 and 0.9, as far as the model's ladder reaches.
	Alphas []float64
}

// Foreign is a set of rows of which nothing should be accepted.
type Foreign struct {
	Name     string
	Scores   []sdm.Score
	Features []float32
}

// Report is what was measured.
type Report struct {
	*sdm.Evaluation
	Model        ModelFacts      `json:"model"`
	Foreign      []ForeignReport `json:"foreign"`
	Reliability  []Bin           `json:"reliability"` // of the output for the predicted class
	ECE15        float64         `json:"ece15"`
	RiskCoverage []Curve         `json:"riskCoverage"`
	Comparison   []Comparison    `json:"comparison"` // by descending alpha
}

// ModelFacts are the model's figures.
type ModelFacts struct {
	ID                string       `json:"id"`
	Classes           []string     `json:"classes"`
	Features          int          `json:"features"`
	ExemplarDimension int          `json:"exemplarDimension"`
	Support           int          `json:"support"`
	AlphaResolution   float64      `json:"alphaResolution"`
	Regions           []sdm.Region `json:"regions"`
	CalibrationStale  bool         `json:"calibrationStale"`
}

// ForeignReport is what is accepted of foreign rows.
type ForeignReport struct {
	Name string `json:"name"`
	Rows int    `json:"rows"`
}

// Bin is a bin of the reliability diagram.
type Bin struct {
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	N          int     `json:"n"`
	Confidence float64 `json:"confidence"`
	Accuracy   float64 `json:"accuracy"`
}

// Curve is the risk-coverage curve of one method, thinned.
type Curve struct {
	Method string  `json:"method"`
	AURC   float64 `json:"aurc"`
	Points []Point `json:"points"`
}

// Point is a point of the curve.
type Point struct {
	Coverage float64 `json:"coverage"`
	Risk     float64 `json:"risk"`
}

// Comparison is what each method accepts at one alpha.
type Comparison struct {
	Alpha   float64     `json:"alpha"`
	Methods []Selection `json:"methods"` // SDM's two rules first
}

// Selection is what one method accepts.
type Selection struct {
	Method    string   `json:"method"`
	Why       string   `json:"why"`
	Reached   bool     `json:"reached"`             // the calibration rows allow this alpha
	Threshold *float64 `json:"threshold,omitempty"` // of the method's score
	Admitted  int      `json:"admitted"`
	Share     float64  `json:"share"`
	Accuracy  *float64 `json:"accuracy"` // null: nothing is admitted, and nothing claimed
	ByTrue    []Cell   `json:"byTrueClass"`
	ByPred    []Cell   `json:"byPrediction"`
	// Kept: no class is right at a rate below alpha by more than chance explains: 95 % intervals (Clopper and Pearson), one
	// for each class, reach it.
	Kept    bool      `json:"kept"`
	Foreign []float64 `json:"foreign"` // shares admitted of each foreign set
	AURC    *float64  `json:"aurc,omitempty"`
}

// Cell is the admitted rows of one class.
type Cell struct {
	Count   int `json:"count"`
	Correct int `json:"correct"`
}

// Accuracy is the share of correct ones; NaN of none.
func (c Cell) Accuracy() float64 { return float64(c.Correct) / float64(c.Count) }

// alphasOf are the usual alphas up to the highest of a ladder, which is taken where that is below them all.
func alphasOf(resolution float64) (list []float64) {
	for _, alpha := range []float64{.99, .95, .9} {
		if alpha <= 1-resolution+1e-9 {
			list = append(list, alpha)
		}
	}
	if list == nil {
		list = []float64{1 - resolution}
	}
	return list
}

// The names of SDM's rules among the methods.
const (
	methodCentroid = "SDM"
	methodLower    = "SDM, lower rule"
)

// New measures.
func New(o Options) (*Report, error) {
	if o.Alphas == nil {
		o.Alphas = alphasOf(o.Model.Config().AlphaResolution)
	}
	e, err := o.Model.Evaluate(o.Scores)
	if err != nil {
		return nil, err
	}
	if e.Rows == 0 {
		return nil, fmt.Errorf("sdmreport: no row has a class, so there is nothing to measure")
	}
	c := o.Model.Config()
	r := &Report{Evaluation: e, Foreign: []ForeignReport{}, Model: ModelFacts{ID: o.Model.ID(), Classes: c.ClassNames, Features: c.Dimension,
		ExemplarDimension: c.ExemplarDimension, Support: len(o.Model.Support()), AlphaResolution: c.AlphaResolution,
		Regions: append([]sdm.Region{}, o.Model.Regions()...), CalibrationStale: o.Model.CalibrationStale()}}
	for _, f := range o.Foreign {
		if len(f.Scores) == 0 {
			return nil, fmt.Errorf("sdmreport: %s has no rows", f.Name)
		}
		r.Foreign = append(r.Foreign, ForeignReport{f.Name, len(f.Scores)})
	}
	m := &measured{classes: c.Classes}
	var kept []int // rows with a class
	for i := range o.Scores {
		if l := o.Scores[i].Label; l >= 0 {
			kept = append(kept, i)
			m.labels = append(m.labels, l)
		}
	}
	scores := make([]*sdm.Score, len(kept))
	for i, row := range kept {
		scores[i] = &o.Scores[row]
	}
	if err := r.probabilities(scores, m.labels); err != nil {
		return nil, err
	}
	methods := o.rules(scores)
	if o.Alternatives != nil {
		others, err := o.others(kept)
		if err != nil {
			return nil, err
		}
		methods = append(methods, others...)
	}
	return r, r.compare(methods, m, o.Alphas)
}

// probabilities fills what is said of the output for the predicted class.
func (r *Report) probabilities(scores []*sdm.Score, labels []int) error {
	var p []float32
	wide := make([]int32, len(labels))
	for i, s := range scores {
		p = append(p, s.SDM...)
		wide[i] = int32(labels[i])
	}
	c, err := metrics.NewClassification(p, len(r.Model.Classes), wide)
	if err != nil {
		return err
	}
	// The prediction is the largest logit, which the output does not always tell: at d = 0 all classes are equal.
	for i, s := range scores {
		c.Predicted[i], c.Confidence[i], c.Correct[i] = s.Prediction, float64(s.SDM[s.Prediction]), s.Prediction == labels[i]
	}
	for _, b := range c.Reliability(15) {
		r.Reliability = append(r.Reliability, Bin{b.Low, b.High, b.Count, b.Confidence, b.Accuracy})
	}
	r.ECE15 = c.ECE(15)
	return nil
}

// method is a way to decide, with what it says of the rows and of the foreign ones.
type method struct {
	name, why   string
	predictions []int
	scores      []float64 // nil: no single one
	accept      func(alpha float64) decided
}

// decided is what is accepted at an alpha.
type decided struct {
	rows      []bool
	foreign   [][]bool
	threshold *float64
	reached   bool
}

// rules are SDM's two.
func (o *Options) rules(scores []*sdm.Score) []method {
	predictions, outputs := make([]int, len(scores)), make([]float64, len(scores))
	for i, s := range scores {
		predictions[i], outputs[i] = s.Prediction, float64(s.SDM[s.Prediction])
	}
	rule := func(name, why string, of func(s *sdm.Score) float64) method {
		return method{name, why, predictions, outputs, func(alpha float64) decided {
			d := decided{reached: slices.ContainsFunc(o.Model.Regions(), func(r sdm.Region) bool { return r.Alpha >= alpha-1e-9 })}
			in := func(s *sdm.Score) bool { return of(s) >= alpha-1e-9 && of(s) > 0 }
			for _, s := range scores {
				d.rows = append(d.rows, in(s))
			}
			for _, f := range o.Foreign {
				accepted := make([]bool, len(f.Scores))
				for i := range f.Scores {
					accepted[i] = in(&f.Scores[i])
				}
				d.foreign = append(d.foreign, accepted)
			}
			return d
		}}
	}
	return []method{
		rule(methodCentroid, "in a region of at least alpha", func(s *sdm.Score) float64 { return s.CentroidAlpha }),
		rule(methodLower, "in such a region also at the end of its band that speaks against it", func(s *sdm.Score) float64 { return s.LowerAlpha }),
	}
}

// others are the alternatives, of the rows of these numbers.
func (o *Options) others(kept []int) ([]method, error) {
	d := o.Model.Config().Dimension
	if len(o.Features) != d*len(o.Scores) {
		return nil, fmt.Errorf("sdmreport: %d features for %d rows of %d", len(o.Features), len(o.Scores), d)
	}
	rows := alternatives.Data{}
	for _, i := range kept {
		rows.X = append(rows.X, o.Features[i*d:(i+1)*d]...)
		rows.Logits = append(rows.Logits, o.Scores[i].ZPrime...)
	}
	own, err := o.Alternatives.Score(rows)
	if err != nil {
		return nil, err
	}
	var foreign [][]*alternatives.Scored
	for _, f := range o.Foreign {
		rows := alternatives.Data{X: f.Features}
		for i := range f.Scores {
			rows.Logits = append(rows.Logits, f.Scores[i].ZPrime...)
		}
		scored, err := o.Alternatives.Score(rows)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		foreign = append(foreign, scored)
	}
	var methods []method
	for i, s := range own {
		methods = append(methods, method{s.Name, s.Why, s.Predictions, s.Scores, func(alpha float64) decided {
			accepted, threshold, reached := o.Alternatives.Accept(i, s, alpha)
			d := decided{rows: accepted, reached: reached}
			if reached {
				d.threshold = &threshold
			}
			for _, f := range foreign {
				accepted, _, _ := o.Alternatives.Accept(i, f[i], alpha)
				d.foreign = append(d.foreign, accepted)
			}
			return d
		}})
	}
	return methods, nil
}

// measured is what selections are measured against.
type measured struct {
	classes int
	labels  []int
}

func (r *Report) compare(methods []method, m *measured, alphas []float64) error {
	areas := make([]*float64, len(methods))
	for i := range methods {
		if methods[i].scores == nil || methods[i].name == methodLower { // the same order as the centroid's
			continue
		}
		correct := make([]bool, len(m.labels))
		for row, label := range m.labels {
			correct[row] = methods[i].predictions[row] == label
		}
		area, err := metrics.AURC(methods[i].scores, correct)
		if err != nil {
			return fmt.Errorf("%s: %w", methods[i].name, err)
		}
		points, err := metrics.RiskCoverage(methods[i].scores, correct)
		if err != nil {
			return err
		}
		areas[i] = &area
		r.RiskCoverage = append(r.RiskCoverage, Curve{methods[i].name, area, thin(points)})
	}
	for _, alpha := range alphas {
		c := Comparison{Alpha: alpha}
		for i := range methods {
			s, err := m.selection(&methods[i], alpha)
			if err != nil {
				return err
			}
			s.AURC = areas[i]
			c.Methods = append(c.Methods, s)
		}
		r.Comparison = append(r.Comparison, c)
	}
	return nil
}

// curvePoints is how many points of a curve are kept.
const curvePoints = 400

func thin(curve []metrics.CoveragePoint) []Point {
	n := min(len(curve), curvePoints)
	points := make([]Point, n)
	for i := range points {
		at := 0
		if n > 1 {
			at = i * (len(curve) - 1) / (n - 1)
		}
		points[i] = Point{curve[at].Coverage, curve[at].Risk}
	}
	return points
}

func (m *measured) selection(k *method, alpha float64) (Selection, error) {
	d := k.accept(alpha)
	s := Selection{Method: k.name, Why: k.why, Reached: d.reached, Threshold: d.threshold, Kept: true, Foreign: []float64{},
		ByTrue: make([]Cell, m.classes), ByPred: make([]Cell, m.classes)}
	right := 0
	for i, accepted := range d.rows {
		if !accepted {
			continue
		}
		s.Admitted++
		is, taken := &s.ByTrue[m.labels[i]], &s.ByPred[k.predictions[i]]
		is.Count++
		taken.Count++
		if m.labels[i] == k.predictions[i] {
			right++
			is.Correct++
			taken.Correct++
		}
	}
	s.Share = float64(s.Admitted) / float64(len(m.labels))
	if s.Admitted > 0 {
		accuracy := float64(right) / float64(s.Admitted)
		s.Accuracy = &accuracy
	}
	for _, c := range s.ByTrue {
		if c.Count == 0 {
			continue
		}
		i, err := metrics.ClopperPearson(c.Correct, c.Count, .95)
		if err != nil {
			return s, err
		}
		s.Kept = s.Kept && i.High >= alpha
	}
	for _, accepted := range d.foreign {
		n := 0
		for _, a := range accepted {
			if a {
				n++
			}
		}
		s.Foreign = append(s.Foreign, float64(n)/float64(len(accepted)))
	}
	return s, nil
}

// least is the class with the least accuracy; -1 if all are empty.
func least(cells []Cell) int {
	worst := -1
	for c := range cells {
		if cells[c].Count > 0 && (worst < 0 || cells[c].Accuracy() < cells[worst].Accuracy()) {
			worst = c
		}
	}
	return worst
}

// LeastByTrueClass is the least accuracy of the admitted rows of a class; nil where nothing is admitted.
func (s *Selection) LeastByTrueClass() *float64 { return leastOf(s.ByTrue) }

// LeastByPrediction is the least accuracy of the admitted rows that were taken for a class.
func (s *Selection) LeastByPrediction() *float64 { return leastOf(s.ByPred) }

func leastOf(cells []Cell) *float64 {
	worst := least(cells)
	if worst < 0 {
		return nil
	}
	a := cells[worst].Accuracy()
	return &a
}

// Better are the methods that admit more than SDM at this alpha and keep it as well.
func (c *Comparison) Better() []Selection {
	var list []Selection
	own := c.Methods[0]
	for _, s := range c.Methods[2:] {
		if s.Kept && s.Share > own.Share && s.Admitted > 0 {
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b Selection) int { return int(math.Copysign(1, b.Share-a.Share)) })
	return list
}

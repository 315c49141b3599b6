// Package alternatives holds the simple ways to decide which predictions to accept, on the same features as an SDM model:
// the probability of a linear classifier, that probability after temperature scaling, split-conformal sets, and the
// distances that out-of-distribution detection goes by. They are what an SDM model has to be better than.
//
// All take the predictions of one linear classifier and differ in the score by which they trust it. A score's threshold is
// the lowest with which the calibration rows above it are right at a rate of at least alpha in every class: the aim of
// SDM's regions, on the same rows.
package alternatives

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/credence-ml/credence/models/data"
)

// Data are rows with their features.
type Data struct {
	X      []float32 // [N, D]
	Labels []int32   // [N]; nil for rows that are only to be scored
	// Logits are those of an SDM model's own adaptor [N, classes], whose softmax is then an alternative too; nil without.
	Logits []float32
}

// Fitted are all methods, fitted to training and calibration rows.
type Fitted struct {
	features, classes int
	scaling           *scaling
	head              *linear
	temperature       float64
	neighbours        *neighbours
	gaussian          *gaussian
	methods           []method
	calibration       []*Scored // [methods]
	labels            []int32
}

// method is one way to decide.
type method struct {
	name, why string
	score     func(b *batch) *Scored
}

// Method tells what a method is.
type Method struct{ Name, Why string }

// Scored is what a method says of rows.
type Scored struct {
	Method
	Predictions []int
	Scores      []float64 // the higher, the more to be trusted; nil where a method has no single score
	sets        *conformal
}

// batch is rows with what several methods need of them.
type batch struct {
	n             int
	x             []float64 // scaled features
	logits        []float64 // of the linear classifier
	probabilities []float64
	predictions   []int
	nearest       *nearest
	adaptor       []float32
}

// Fit fits the linear classifier, the distances and the covariance to the training rows, and the temperature and the
// thresholds to the calibration rows. Rows whose label is no class are left out.
func Fit(training, calibration Data, features, classes int) (*Fitted, error) {
	if classes < 2 || features < 1 {
		return nil, fmt.Errorf("alternatives: %d classes and %d features", classes, features)
	}
	train, err := labelled(training, features, classes)
	if err != nil {
		return nil, fmt.Errorf("alternatives: training rows: %w", err)
	}
	held, err := labelled(calibration, features, classes)
	if err != nil {
		return nil, fmt.Errorf("alternatives: calibration rows: %w", err)
	}
	f := &Fitted{features: features, classes: classes, labels: held.Labels, temperature: 1}
	f.scaling = newScaling(train.X, features)
	x := f.scaling.apply(train.X)
	if f.head, err = fitLinear(x, train.Labels, features, classes); err != nil {
		return nil, fmt.Errorf("alternatives: %w", err)
	}
	f.neighbours = newNeighbours(x, train.Labels, features, classes)
	if f.gaussian, err = fitGaussian(x, train.Labels, features, classes); err != nil {
		return nil, fmt.Errorf("alternatives: %w", err)
	}
	b, err := f.batch(held)
	if err != nil {
		return nil, err
	}
	if f.temperature, err = fitTemperature(b.logits, held.Labels, classes); err != nil {
		return nil, fmt.Errorf("alternatives: %w", err)
	}
	f.declare(b, calibration.Logits != nil)
	for _, m := range f.methods {
		f.calibration = append(f.calibration, m.score(b))
	}
	return f, nil
}

// labelled leaves the rows whose label is a class, each class with at least one.
func labelled(d Data, features, classes int) (Data, error) {
	n := len(d.Labels)
	if n == 0 || len(d.X) != n*features || d.Logits != nil && len(d.Logits) != n*classes {
		return d, fmt.Errorf("%d feature values and %d logits for %d labels, %d features and %d classes", len(d.X), len(d.Logits), n, features, classes)
	}
	var kept Data
	for i, label := range d.Labels {
		if label < 0 {
			continue
		}
		kept.Labels = append(kept.Labels, label)
		kept.X = append(kept.X, d.X[i*features:(i+1)*features]...)
		if d.Logits != nil {
			kept.Logits = append(kept.Logits, d.Logits[i*classes:(i+1)*classes]...)
		}
	}
	counts, err := data.ClassCounts(kept.Labels, classes)
	if err != nil {
		return d, err
	}
	if empty := slices.Index(counts, 0); empty >= 0 {
		return d, fmt.Errorf("class %d has none", empty)
	}
	return kept, nil
}

// declare lists the methods; b are the calibration rows.
func (f *Fitted) declare(b *batch, adaptor bool) {
	sets := newConformal(b, f.labels, f.classes)
	head := func(score func(b *batch) []float64) func(b *batch) *Scored {
		return func(b *batch) *Scored { return &Scored{Predictions: b.predictions, Scores: score(b)} }
	}
	f.methods = []method{
		{"softmax", "probability of a linear classifier", head(func(b *batch) []float64 { return largest(b.probabilities, f.classes) })},
		{"temperature scaling", "the same with its logits divided by a number fitted to the calibration rows",
			head(func(b *batch) []float64 { return largest(softmax(b.logits, f.classes, f.temperature), f.classes) })},
		{"conformal sets (APS)", "accepts where the split-conformal set of labels has one element",
			func(b *batch) *Scored { return &Scored{Predictions: b.predictions, sets: sets.of(b)} }},
		{"k-NN distance", fmt.Sprintf("distance to the %dth nearest training row, both of length one", neighbourRank), head(func(b *batch) []float64 { return negated(b.nearest.kth) })},
		{"Mahalanobis", "distance to the nearest class mean under the covariance that the classes share", head(func(b *batch) []float64 { return negated(f.gaussian.distances(b)) })},
		{"trust score", "distance to the nearest row of another class, over that to the predicted class", head(func(b *batch) []float64 { return b.nearest.trust(b.predictions) })},
	}
	if adaptor {
		f.methods = append(f.methods, method{"adaptor softmax", "probability by the SDM model's own logits, without similarity and distance", func(b *batch) *Scored {
			p := softmax(b.adaptor, f.classes, 1)
			return &Scored{Predictions: argMax(p, f.classes), Scores: largest(p, f.classes)}
		}})
	}
	for i := range f.methods {
		score := f.methods[i].score
		f.methods[i].score = func(b *batch) *Scored {
			s := score(b)
			s.Method = Method{f.methods[i].name, f.methods[i].why}
			return s
		}
	}
}

// batch computes what the methods share.
func (f *Fitted) batch(d Data) (*batch, error) {
	n := len(d.X) / f.features
	if len(d.X) != n*f.features || d.Logits != nil && len(d.Logits) != n*f.classes {
		return nil, fmt.Errorf("alternatives: %d feature values and %d logits are not rows of %d and %d", len(d.X), len(d.Logits), f.features, f.classes)
	}
	b := &batch{n: n, x: f.scaling.apply(d.X), adaptor: d.Logits}
	b.logits = f.head.logits(b.x)
	b.probabilities = softmax(b.logits, f.classes, 1)
	b.predictions = argMax(b.probabilities, f.classes)
	b.nearest = f.neighbours.of(b.x)
	return b, nil
}

// Score is what every method says of rows, in a fixed order. Labels are not used.
func (f *Fitted) Score(d Data) ([]*Scored, error) {
	b, err := f.batch(d)
	if err != nil {
		return nil, err
	}
	var all []*Scored
	for i := range f.methods {
		if f.methods[i].name == "adaptor softmax" && d.Logits == nil {
			return nil, fmt.Errorf("alternatives: the calibration rows had logits of an adaptor, these rows have none")
		}
		all = append(all, f.methods[i].score(b))
	}
	return all, nil
}

// Accept decides on rows that Score has scored, the i-th in its order, for an accuracy of at least alpha in every class.
// threshold is what the score must reach (of conformal sets: what the sum of probabilities must not exceed). Where no
// threshold keeps alpha on the calibration rows, reached is false and nothing is accepted.
func (f *Fitted) Accept(i int, s *Scored, alpha float64) (accepted []bool, threshold float64, reached bool) {
	accepted = make([]bool, len(s.Predictions))
	if s.sets != nil {
		limit, ok := s.sets.limit(alpha)
		for row := range accepted {
			accepted[row] = ok && s.sets.single(row, limit)
		}
		return accepted, limit, ok
	}
	c := f.calibration[i]
	threshold, reached = lowestThreshold(c.Scores, c.Predictions, f.labels, f.classes, alpha)
	for row := range accepted {
		accepted[row] = reached && s.Scores[row] >= threshold
	}
	return accepted, threshold, reached
}

// lowestThreshold is the lowest score such that of the rows that reach it, every class is there and right at a rate of at
// least alpha.
func lowestThreshold(scores []float64, predictions []int, labels []int32, classes int, alpha float64) (threshold float64, found bool) {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(scores[j], scores[i]) })
	n, right := make([]int, classes), make([]int, classes)
	kept := func(c int) bool { return n[c] > 0 && float64(right[c]) >= alpha*float64(n[c])-1e-9 } // the slack is for products such as 0.95 x 20
	keeping := 0                                                                                  // classes that keep alpha
	for at, row := range order {
		label := labels[row]
		if kept(int(label)) {
			keeping--
		}
		n[label]++
		if predictions[row] == int(label) {
			right[label]++
		}
		if kept(int(label)) {
			keeping++
		}
		last := at+1 == len(order) || scores[order[at+1]] < scores[row] // equal scores come together
		if last && keeping == classes {
			threshold, found = scores[row], true
		}
	}
	return threshold, found
}

func negated(values []float64) []float64 {
	list := make([]float64, len(values))
	for i, v := range values {
		list[i] = -v
	}
	return list
}

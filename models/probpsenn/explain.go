package probpsenn

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/metrics"
	"github.com/credence-ml/credence/models/report"
)

// ExplainOptions steer Explain; the zero value is the usual.
type ExplainOptions struct {
	Samples  int // prototype samples S; 0: that of the configuration
	Pictures int // decoded samples of each prototype; 0: 8
	Examples int // nearest training examples of each prototype, at most 8; 0: 4
	// Training gives the nearest training examples their pictures. Data other than the model's own is not used.
	Training *data.Images
	Input    InputOrigin // kept in the explanation
}

// InputOrigin says where an input came from.
type InputOrigin struct {
	Source string `json:"source,omitempty"` // a file or data set
	Index  int    `json:"index"`            // in the source
	Label  *int   `json:"label,omitempty"`  // the true class, where it is known
}

// Explanation is one prediction with its reasons. Distances are squared Euclidean distances in latent space between the
// input and samples of prototype distributions; S joint samples of all prototypes are drawn once for a model. Pictures
// are missing for models of feature vectors.
type Explanation struct {
	Model      ModelSummary       `json:"model"`
	Input      InputOrigin        `json:"input"`
	Class      string             `json:"class"` // the name of Prediction.Label
	Prediction Prediction         `json:"prediction"`
	Reasons    []string           `json:"reasons"` // of the verdict, as sentences
	Ranks      []ScoreRank        `json:"ranks"`   // of the scores that unfamiliarity joins; none without calibration
	Logits     []float64          `json:"logits"`  // per class, mean over samples
	Classes    []ClassExplanation `json:"classes"` // most probable first
	// Weights is the last layer, [prototype][class]; Contributions are what each prototype adds to each class's mean
	// logit: its mean distance times the weight.
	Weights       [][]float64 `json:"weights"`
	Contributions [][]float64 `json:"contributions"`

	Picture        *report.Picture `json:"picture,omitempty"`
	Reconstruction *report.Picture `json:"reconstruction,omitempty"`
	// Difference is black where input and reconstruction agree and white where they are opposite.
	Difference *report.Picture `json:"difference,omitempty"`
	// Notes say what is missing from this explanation and why.
	Notes []string `json:"notes,omitempty"`
}

// ModelSummary says in short what model an explanation or report is of.
type ModelSummary struct {
	Prototypes  PrototypeKind `json:"prototypes"`
	PerClass    int           `json:"per_class"`
	Latent      int           `json:"latent"`
	Samples     int           `json:"samples"`
	Network     string        `json:"network"`
	VAE         bool          `json:"vae"`
	ClassNames  []string      `json:"class_names"`
	Calibration int           `json:"calibration"` // held-out inputs it was calibrated on; 0: none
}

// ScoreRank is one score among those of held-out inputs of the predicted class.
type ScoreRank struct {
	Score      string  `json:"score"` // "distance", "mahalanobis", "predictive_entropy", "reconstruction"
	Value      float64 `json:"value"`
	Percentile float64 `json:"percentile"` // share of held-out inputs below
	Surprise   float64 `json:"surprise"`   // -log of its tail probability; Scores.Combined is the sum of these
}

// The roles of classes in an explanation.
const (
	RolePredicted = "predicted"
	RoleCompeting = "competing" // explains the input too
	RoleContrast  = "contrast"  // the next best, for comparison
)

// ClassExplanation is what one class has to do with the input.
type ClassExplanation struct {
	Class       int     `json:"class"`
	Name        string  `json:"name"`
	Role        string  `json:"role,omitempty"` // pictures and examples are given for classes with a role
	Probability float64 `json:"probability"`
	Logit       float64 `json:"logit"`
	Distance    float64 `json:"distance"` // mean over samples, of the nearest of its prototypes
	// Percentile is the share of held-out inputs predicted to be of this class that are nearer to it; null without
	// calibration.
	Percentile *float64 `json:"percentile"`
	// Overlap is that of the class's distances with those of the predicted class, from 0 (apart) to 1 (equal); null
	// for points, which have one distance.
	Overlap    *float64               `json:"overlap"`
	Prototypes []PrototypeExplanation `json:"prototypes"`
}

// PrototypeExplanation is what one prototype distribution has to do with the input.
type PrototypeExplanation struct {
	Prototype int       `json:"prototype"` // row of Weights
	Distances []float64 `json:"distances"` // one per sample
	Mean      float64   `json:"mean"`
	Deviation float64   `json:"deviation"` // standard deviation of Distances (n-1)
	// The same in closed form, see DistanceMoments.
	ExpectedMean      float64            `json:"expected_mean"`
	ExpectedDeviation float64            `json:"expected_deviation"`
	Means             []*report.Picture  `json:"means,omitempty"`   // of the distribution's components, decoded
	Samples           []PrototypeSample  `json:"samples,omitempty"` // nearest to the input first
	Examples          []PrototypeExample `json:"examples,omitempty"`
}

// PrototypeSample is one draw from a prototype distribution.
type PrototypeSample struct {
	Sample   int             `json:"sample"` // 0 to S-1
	Distance float64         `json:"distance"`
	Picture  *report.Picture `json:"picture,omitempty"` // decoded
}

// PrototypeExample is a training example near a prototype.
type PrototypeExample struct {
	Index         int             `json:"index"` // in the training data, from 0
	Label         int             `json:"label"`
	Distance      float64         `json:"distance"`       // expected squared distance from the prototype's samples
	InputDistance float64         `json:"input_distance"` // squared distance from the input
	Picture       *report.Picture `json:"picture,omitempty"`
}

// Explain predicts one input, a picture [height, width, channels] in [-1, 1] or a feature vector, and gives the reasons.
func (m *Model) Explain(ctx context.Context, o ExplainOptions, input []float32) (*Explanation, error) {
	if len(input) != m.inputSize() {
		return nil, invalidf("an input of %d values; the model takes %d", len(input), m.inputSize())
	}
	if o.Examples < 0 || o.Pictures < 0 {
		return nil, invalidf("%d pictures and %d examples; neither may be negative", o.Pictures, o.Examples)
	}
	o.Pictures, o.Examples = cmp.Or(o.Pictures, 8), cmp.Or(o.Examples, 4)
	e, err := m.newExplainer(PredictorOptions{MaxBatch: 1, Samples: o.Samples, Overlap: true})
	if err != nil {
		return nil, err
	}
	defer e.Close()
	return e.explain(ctx, &o, input)
}

func (e *explainer) explain(ctx context.Context, o *ExplainOptions, input []float32) (*Explanation, error) {
	m := e.m
	all, err := e.predictor.Predict(ctx, input)
	if err != nil {
		return nil, err
	}
	x := &Explanation{Model: m.summary(e.predictor.samples), Input: o.Input, Class: m.Config.className(all[0].Label),
		Prediction: all[0]}
	x.weigh(&m.Config, e.head)
	e.addClasses(x)
	x.rank(m.Calibration)
	x.Reasons = x.reasons(&m.Config)
	training := o.Training
	switch {
	case m.Examples == nil:
		x.Notes = append(x.Notes, "The model keeps no nearest training examples.")
	case training == nil && m.hasDecoder():
		x.Notes = append(x.Notes, "The nearest training examples are given by their number: their pictures are in the training data, which was not at hand.")
	case training != nil && !m.Examples.of(training):
		x.Notes = append(x.Notes, "The nearest training examples are given by their number: the data at hand is not what the model was trained on.")
		training = nil
	}
	for i := range x.Classes {
		for j := range x.Classes[i].Prototypes {
			if x.Classes[i].Role != "" {
				if err := e.illustrate(ctx, o, training, x, &x.Classes[i].Prototypes[j]); err != nil {
					return nil, err
				}
			}
		}
	}
	if !m.hasDecoder() {
		return x, nil
	}
	decoded, err := e.decode(ctx, x.Prediction.Latent)
	if err != nil {
		return nil, err
	}
	x.Picture, x.Reconstruction = m.picture(slices.Clone(input)), decoded[0]
	x.Difference, err = e.difference(ctx, input, decoded[0])
	return x, err
}

func (m *Model) summary(samples int) ModelSummary {
	c := &m.Config
	s := ModelSummary{Prototypes: c.Prototypes, PerClass: c.PerClass, Latent: c.Latent, Samples: samples, Network: c.Network, VAE: c.VAE}
	for class := range c.Classes {
		s.ClassNames = append(s.ClassNames, c.className(class))
	}
	if m.Calibration != nil {
		s.Calibration = m.Calibration.N
	}
	return s
}

// className is the name of a class, its number if it has none.
func (c *Config) className(class int) string {
	if len(c.ClassNames) > 0 {
		return c.ClassNames[class]
	}
	return fmt.Sprint(class)
}

// weigh fills weights, contributions and logits.
func (x *Explanation) weigh(c *Config, head []float32) {
	x.Logits = make([]float64, c.Classes)
	for k, d := range x.Prediction.Distances {
		weights := widen(head[k*c.Classes : (k+1)*c.Classes])
		row := make([]float64, c.Classes)
		for class, w := range weights {
			row[class] = d * w
			x.Logits[class] += row[class]
		}
		x.Weights, x.Contributions = append(x.Weights, weights), append(x.Contributions, row)
	}
}

// addClasses fills Classes with the distances of the predictor's last submission, which was of the input alone.
func (e *explainer) addClasses(x *Explanation) {
	c, p := &e.m.Config, &x.Prediction
	s, k := e.predictor.samples, c.prototypes()
	z := widen(p.Latent)
	joined := make([][]float64, c.Classes) // distances of all of a class's prototypes
	for class := range c.Classes {
		y := ClassExplanation{Class: class, Name: c.className(class), Probability: p.Probabilities[class], Logit: x.Logits[class],
			Distance: math.Inf(1)}
		for j := class * c.PerClass; j < (class+1)*c.PerClass; j++ {
			q := PrototypeExplanation{Prototype: j, Mean: p.Distances[j]}
			for i := range s {
				q.Distances = append(q.Distances, float64(e.predictor.d[i*k+j]))
			}
			q.Deviation = deviation(q.Distances)
			mean, variance := e.gaussians.moments(z, j)
			q.ExpectedMean, q.ExpectedDeviation = mean, math.Sqrt(variance)
			joined[class] = append(joined[class], q.Distances...)
			y.Distance = math.Min(y.Distance, q.Mean)
			y.Prototypes = append(y.Prototypes, q)
		}
		if e.m.Calibration != nil {
			v := percentile(e.m.Calibration.Classes[class].Distance, y.Distance)
			y.Percentile = &v
		}
		x.Classes = append(x.Classes, y)
	}
	if s > 1 {
		addOverlaps(x.Classes, joined, p.Label)
	}
	slices.SortStableFunc(x.Classes, func(a, b ClassExplanation) int { return cmp.Compare(b.Probability, a.Probability) })
	x.cast()
}

func addOverlaps(classes []ClassExplanation, distances [][]float64, label int) {
	o := metrics.NewOverlapper(overlapPoints)
	own, err := metrics.NewKDE(distances[label])
	for class := range classes {
		other, otherErr := metrics.NewKDE(distances[class])
		if err != nil || otherErr != nil {
			continue // distances that are not finite: no overlap is given
		}
		v := 1.0
		if class != label {
			v = o.Overlap(own, other)
		}
		classes[class].Overlap = &v
	}
}

// contrastOverlap is the overlap from which a class is worth showing.
const contrastOverlap = .05

// cast gives the classes their roles: the predicted one, those that compete, and for contrast the next best and the one
// whose distances overlap most.
func (x *Explanation) cast() {
	x.Classes[0].Role = RolePredicted
	best := -1
	for i := range x.Classes[1:] {
		y := &x.Classes[i+1]
		if slices.Contains(x.Prediction.Competing, y.Class) {
			y.Role = RoleCompeting
		}
		if y.Overlap != nil && *y.Overlap > contrastOverlap && (best < 0 || *y.Overlap > *x.Classes[best].Overlap) {
			best = i + 1
		}
	}
	for _, i := range []int{1, best} {
		if i > 0 && x.Classes[i].Role == "" {
			x.Classes[i].Role = RoleContrast
		}
	}
}

func deviation(values []float64) float64 {
	n := float64(len(values))
	if n < 2 {
		return 0
	}
	mean, sum := 0.0, 0.0
	for _, v := range values {
		mean += v / n
	}
	for _, v := range values {
		sum += (v - mean) * (v - mean)
	}
	return math.Sqrt(sum / (n - 1))
}

// illustrate adds decoded samples, spread evenly over their distances from the input, and the nearest training examples.
func (e *explainer) illustrate(ctx context.Context, o *ExplainOptions, training *data.Images, x *Explanation, q *PrototypeExplanation) error {
	order := make([]int, len(q.Distances))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(q.Distances[a], q.Distances[b]) })
	n := min(o.Pictures, len(order))
	var latents []float32
	for i := range n {
		at := order[0]
		if n > 1 {
			at = order[i*(len(order)-1)/(n-1)]
		}
		q.Samples = append(q.Samples, PrototypeSample{Sample: at, Distance: q.Distances[at]})
		latents = append(latents, e.sample(at, q.Prototype)...)
	}
	pictures, err := e.decode(ctx, latents)
	if err != nil {
		return err
	}
	for i := range q.Samples {
		q.Samples[i].Picture = pictures[i]
	}
	if q.Means, err = e.means(ctx, q.Prototype); err != nil {
		return err
	}
	q.Examples = e.examples(q.Prototype, o.Examples, training, widen(x.Prediction.Latent))
	return nil
}

// means are the decoded means of a distribution's components; none without a decoder.
func (e *explainer) means(ctx context.Context, k int) ([]*report.Picture, error) {
	if e.decoder == nil {
		return nil, nil
	}
	var latents []float32
	for c := k * e.gaussians.m; c < (k+1)*e.gaussians.m; c++ {
		for _, v := range e.gaussians.mean[c] {
			latents = append(latents, float32(v))
		}
	}
	return e.decode(ctx, latents)
}

// examples are the n nearest training examples of prototype k; z is the input's latent vector, nil for none.
func (e *explainer) examples(k, n int, training *data.Images, z []float64) []PrototypeExample {
	if e.m.Examples == nil {
		return nil
	}
	var list []PrototypeExample
	for _, x := range e.m.Examples.Prototypes[k] {
		if len(list) == n {
			break
		}
		y := PrototypeExample{Index: x.Index, Label: x.Label, Distance: x.Distance}
		if z != nil {
			y.InputDistance = squared(z, widen(x.Latent))
		}
		if training != nil {
			y.Picture = e.m.picture(training.Image(x.Index))
		}
		list = append(list, y)
	}
	return list
}

// rank places the scores among those of held-out inputs.
func (x *Explanation) rank(r *Calibration) {
	if r == nil {
		return
	}
	k, s := &r.Classes[x.Prediction.Label], &x.Prediction.Scores
	add := func(name string, held []float64, v float64) {
		x.Ranks = append(x.Ranks, ScoreRank{name, v, percentile(held, v), surprise(held, v)})
	}
	add("distance", k.Distance, s.Distance)
	add("mahalanobis", k.Mahalanobis, s.Mahalanobis)
	add("predictive_entropy", k.Entropy, x.Prediction.PredictiveEntropy)
	if len(k.Reconstruction) > 0 {
		add("reconstruction", k.Reconstruction, s.Reconstruction)
	}
}

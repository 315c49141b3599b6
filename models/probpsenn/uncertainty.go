package probpsenn

import (
	"math"
	"slices"

	"github.com/credence-ml/credence/models/metrics"
)

// logFloor is inside every logarithm of the uncertainty measures, as in the original (section 2).
const logFloor = 1e-8

// A Prediction is the answer for one input. Its slices belong to the caller.
type Prediction struct {
	Label         int       `json:"label"`
	Probability   float64   `json:"probability"`   // of the label, mean over prototype samples
	Probabilities []float64 `json:"probabilities"` // per class

	PredictiveEntropy float64 `json:"predictive_entropy"` // natural logarithm
	AleatoricEntropy  float64 `json:"aleatoric_entropy"`
	MutualInformation float64 `json:"mutual_information"` // epistemic: what the choice of prototype samples changes

	Distances []float64 `json:"distances"` // mean squared distance from the samples of each prototype
	Latent    []float32 `json:"latent"`

	Scores  Scores  `json:"scores"`
	Verdict Verdict `json:"verdict"`
	// Competing are the classes that explain the input about as well, most probable first; for an ambiguous verdict.
	Competing []int `json:"competing,omitempty"`
	// Reason is one of a few fixed sentences.
	Reason string `json:"reason"`
}

// Scores tell how unlike the training data an input is. Higher is stranger. The percentiles and the combination need a
// calibrated model; they are NaN without.
type Scores struct {
	// Distance is the mean distance from the nearest prototype of the predicted class, and ExplanationPercentile its
	// percentile among held-out inputs of that predicted class (section 2, "epistemic").
	Distance              float64 `json:"distance"`
	ExplanationPercentile float64 `json:"explanation_percentile"`
	// ExplanationOverlap is the largest overlap of the distances from the predicted class's prototype samples with those
	// from another class's (section 2, "aleatoric"): near 1, two classes explain the input equally well. NaN unless asked for.
	ExplanationOverlap float64 `json:"explanation_overlap"`
	// Mahalanobis is |L^-1 (z - mu)|^2 under the predicted class, ChiSquare the probability that a draw of the class
	// exceeds it if latent vectors were Gaussian.
	Mahalanobis float64 `json:"mahalanobis"`
	ChiSquare   float64 `json:"chi_square"`
	// Reconstruction is the mean squared error per pixel between the input and its decoded latent vector.
	Reconstruction float64 `json:"reconstruction"`
	// Combined is the evidence of all scores together, and Unfamiliarity its percentile among held-out inputs of the
	// predicted class: 0.95 is exceeded by 5 % of fresh inputs like those of training.
	Combined      float64 `json:"combined"`
	Unfamiliarity float64 `json:"unfamiliarity"`
	// Ambiguity is the percentile of the predictive entropy among held-out inputs of the predicted class.
	Ambiguity float64 `json:"ambiguity"`
}

// A Verdict says what to do with a prediction.
type Verdict string

// The verdicts. None is given by an uncalibrated model.
const (
	Trusted    Verdict = "trusted"
	Ambiguous  Verdict = "ambiguous"  // two or more classes explain the input
	Unfamiliar Verdict = "unfamiliar" // unlike anything seen in training
	Uncertain  Verdict = ""           // the model is not calibrated
)

// scratch is a predictor's working memory.
type scratch struct {
	order   []int
	samples [][]float64 // distances by class
	overlap *metrics.Overlapper
}

// overlapPoints is the grid of the overlap integral.
const overlapPoints = 512

func (s *scratch) grow(c *Config, samples int, overlap bool) {
	s.order = make([]int, c.Classes)
	if overlap {
		s.overlap = metrics.NewOverlapper(overlapPoints)
		s.samples = make([][]float64, c.Classes)
		for i := range s.samples {
			s.samples[i] = make([]float64, 0, samples*c.PerClass)
		}
	}
}

// fill computes the prediction of row i of the last submission.
func (p *Predictor) fill(out *Prediction, i int) {
	c, s := &p.m.Config, p.samples
	classes, k := c.Classes, c.prototypes()
	out.Probabilities = resize(out.Probabilities, classes)
	out.Distances = resize(out.Distances, k)
	out.Latent = append(out.Latent[:0], p.z[i*c.Latent:(i+1)*c.Latent]...)
	if cap(out.Competing) < classes { // whatever the verdicts of the next inputs, there is room
		out.Competing = make([]int, 0, classes)
	}
	clear(out.Distances)
	for j := range s {
		for l, v := range p.d[(i*s+j)*k : (i*s+j+1)*k] {
			out.Distances[l] += float64(v) / float64(s)
		}
	}
	out.PredictiveEntropy, out.AleatoricEntropy = summarize(out.Probabilities, p.p[i*s*classes:(i+1)*s*classes])
	out.MutualInformation = math.Max(0, out.PredictiveEntropy-out.AleatoricEntropy)
	out.Label = 0
	for class, v := range out.Probabilities {
		if v > out.Probabilities[out.Label] {
			out.Label = class
		}
	}
	out.Probability = out.Probabilities[out.Label]
	out.Scores = Scores{Distance: math.Inf(1), Mahalanobis: math.NaN(), Reconstruction: math.NaN(), ChiSquare: math.NaN(),
		ExplanationPercentile: math.NaN(), ExplanationOverlap: math.NaN(), Combined: math.NaN(), Unfamiliarity: math.NaN(), Ambiguity: math.NaN()}
	first := out.Label * c.PerClass
	for _, d := range out.Distances[first : first+c.PerClass] {
		out.Scores.Distance = math.Min(out.Scores.Distance, d)
	}
	if p.mahalanobis.Valid() {
		m := c.components()
		q := p.q[i*k*m : (i+1)*k*m]
		out.Scores.Mahalanobis = float64(slices.Min(q[first*m : (first+c.PerClass)*m]))
		out.Scores.ChiSquare = metrics.ChiSquareSurvival(out.Scores.Mahalanobis, float64(c.Latent))
	}
	if p.residual.Valid() {
		out.Scores.Reconstruction = float64(p.e[i])
	}
	if p.scratch.overlap != nil && s > 1 {
		out.Scores.ExplanationOverlap = p.overlap(i, out.Label)
	}
	out.Verdict, out.Reason, out.Competing = Uncertain, "the model is not calibrated", out.Competing[:0]
	if p.m.Calibration != nil && !p.o.LabelsOnly {
		p.m.Calibration.judge(out, &p.scratch)
	}
}

// overlap is the explanation overlap of row i, whose predicted class is given.
func (p *Predictor) overlap(i, label int) float64 {
	c, s := &p.m.Config, p.samples
	k := c.prototypes()
	for class := range p.scratch.samples {
		p.scratch.samples[class] = p.scratch.samples[class][:0]
	}
	for j := range s {
		for l, v := range p.d[(i*s+j)*k : (i*s+j+1)*k] {
			class := l / c.PerClass
			p.scratch.samples[class] = append(p.scratch.samples[class], float64(v))
		}
	}
	v, _, err := p.scratch.overlap.Max(p.scratch.samples, label)
	if err != nil {
		return math.NaN() // distances that are not numbers
	}
	return v
}

// summarize averages the class probabilities of all prototype samples [S x C] into mean, and gives the entropy of that
// average (predictive) and the average of the samples' entropies (aleatoric); their difference is the mutual
// information between label and prototypes (section 2).
func summarize(mean []float64, samples []float32) (predictive, aleatoric float64) {
	classes := len(mean)
	weight := float64(classes) / float64(len(samples))
	clear(mean)
	for i, v := range samples {
		mean[i%classes] += weight * float64(v)
		aleatoric -= weight * float64(v) * math.Log(float64(v)+logFloor)
	}
	for _, v := range mean {
		predictive -= v * math.Log(v+logFloor)
	}
	return math.Max(predictive, 0), math.Max(aleatoric, 0) // of a certain answer they are -logFloor
}

func resize(s []float64, n int) []float64 {
	if cap(s) < n {
		return make([]float64, n)
	}
	return s[:n]
}

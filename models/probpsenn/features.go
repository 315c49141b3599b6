package probpsenn

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/internal/safetensors"
)

// FeatureScores are the scores that an Extractor can add to the latent vector. None needs a label.
var FeatureScores = []string{"reconstruction", "mahalanobis", "entropy", "distance"}

// scoreFloor is the least score whose logarithm is taken.
const scoreFloor = 1e-12

// An Extractor turns inputs into features for another model: latent vectors, and scores that tell how strange an input is.
// It is for one goroutine at a time.
type Extractor struct {
	m         *Model
	predictor *Predictor
	scores    []featureScore
	names     []string
	out       []Prediction
}

// featureScore brings the logarithm of a score to mean 0 over the held-out inputs and to the deviation that latent
// dimensions have on average there: what is as wide as the latent vector counts like a dimension of it.
type featureScore struct {
	of             func(p *Prediction) float64
	mean, inverted float64
}

// NewExtractor makes an extractor with these of FeatureScores. Their scale comes from the model's calibration.
func (m *Model) NewExtractor(scores []string) (*Extractor, error) {
	e := &Extractor{m: m, names: slices.Clone(scores)}
	for i, name := range scores {
		if slices.Contains(scores[:i], name) {
			return nil, fmt.Errorf("prob-psenn: score %q twice", name)
		}
		s, err := m.featureScore(name)
		if err != nil {
			return nil, fmt.Errorf("prob-psenn: %w", err)
		}
		e.scores = append(e.scores, s)
	}
	var err error
	e.predictor, err = m.NewPredictor(PredictorOptions{MaxBatch: encodeBatch})
	return e, err
}

// Close frees what the extractor holds; the model stays.
func (e *Extractor) Close() { e.predictor.Close() }

func (m *Model) featureScore(name string) (s featureScore, err error) {
	if m.Calibration == nil {
		return s, fmt.Errorf("score %q gets its scale from the calibration, which this model does not have", name)
	}
	var held func(k *ClassCalibration) []float64
	switch name {
	case "reconstruction":
		if !m.hasDecoder() {
			return s, fmt.Errorf("this model does not reconstruct its inputs")
		}
		held = func(k *ClassCalibration) []float64 { return k.Reconstruction }
		s.of = func(p *Prediction) float64 { return p.Scores.Reconstruction }
	case "mahalanobis":
		held = func(k *ClassCalibration) []float64 { return k.Mahalanobis }
		s.of = func(p *Prediction) float64 { return p.Scores.Mahalanobis }
	case "entropy":
		held = func(k *ClassCalibration) []float64 { return k.Entropy }
		s.of = func(p *Prediction) float64 { return p.PredictiveEntropy }
	case "distance":
		held = func(k *ClassCalibration) []float64 { return k.Distance }
		s.of = func(p *Prediction) float64 { return p.Scores.Distance }
	default:
		return s, fmt.Errorf("score %q: there are %s", name, strings.Join(FeatureScores, ", "))
	}
	var logs []float64
	for i := range m.Calibration.Classes {
		k := &m.Calibration.Classes[i]
		if k.N < minPerClass { // it borrowed the scores of all inputs, which must not count twice
			logs = logs[:0]
		}
		for _, v := range held(k) {
			logs = append(logs, math.Log(math.Max(v, scoreFloor)))
		}
		if k.N < minPerClass {
			break
		}
	}
	width, err := m.latentDeviation()
	if err != nil {
		return s, err
	}
	mean, deviation := stat.MeanStdDev(logs, nil)
	s.mean, s.inverted = mean, width/math.Max(deviation, 1e-6)
	return s, nil
}

// latentDeviation is the root of the mean variance of a latent dimension, by the prototypes: within classes and between.
func (m *Model) latentDeviation() (float64, error) {
	g, err := m.gaussians()
	if err != nil {
		return 0, err
	}
	within, n := 0., float64(len(g.mean))
	centre := make([]float64, g.d)
	for i, mean := range g.mean {
		within += g.trace[i] / n
		for j, v := range mean {
			centre[j] += v / n
		}
	}
	between := 0.
	for _, mean := range g.mean {
		between += squared(mean, centre) / n
	}
	return math.Sqrt((within + between) / float64(g.d)), nil
}

// Extract appends the latent vectors [n, D] and the scores [n, len(scores)] of n inputs.
func (e *Extractor) Extract(ctx context.Context, latents, scores, x []float32) (_, _ []float32, err error) {
	n := len(x) / e.m.inputSize()
	if n > len(e.out) {
		e.out = append(e.out, make([]Prediction, n-len(e.out))...)
	}
	if err := e.predictor.PredictInto(ctx, e.out[:n], x); err != nil {
		return latents, scores, err
	}
	for i := range e.out[:n] {
		p := &e.out[i]
		latents = append(latents, p.Latent...)
		for _, s := range e.scores {
			scores = append(scores, float32((math.Log(math.Max(s.of(p), scoreFloor))-s.mean)*s.inverted))
		}
	}
	return latents, scores, nil
}

// Fingerprint names the features: equal for models that make the same latent vectors and scores, of the same kinds.
func (e *Extractor) Fingerprint() (string, error) {
	head, err := json.Marshal(struct {
		Config      Config
		Scores      []string
		Calibration *Calibration
	}{e.m.Config, e.names, e.m.Calibration})
	if err != nil {
		return "", err
	}
	tensors, err := collect("", e.m.params, e.m.stats)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	if err := safetensors.Encode(h, tensors, map[string]string{"head": string(head)}); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// HeldOut divides training data as Train does: the rows the weights were fitted to, and those held out for calibration.
func (m *Model) HeldOut(labels []int32) (trained, held []int, err error) {
	return data.StratifiedSplit(labels, m.Config.HoldOut, m.Config.Seed)
}

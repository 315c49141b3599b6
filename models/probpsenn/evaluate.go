package probpsenn

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/internal/atomicfile"
	"github.com/credence-ml/credence/models/metrics"
)

// Evaluation is how well a model does on labelled data, and how well its scores tell other data from it.
type Evaluation struct {
	N        int                      `json:"n"`
	Accuracy float64                  `json:"accuracy"` // 0 to 1
	NLL      float64                  `json:"nll"`
	Brier    float64                  `json:"brier"` // summed over classes
	ECE15    float64                  `json:"ece15"` // 15 bins of equal width
	AURC     float64                  `json:"aurc"`  // by top probability
	Verdicts VerdictShares            `json:"verdicts"`
	OOD      map[string]OODEvaluation `json:"ood,omitempty"`
}

// Save writes the evaluation as JSON, published by rename.
func (e *Evaluation) Save(path string) error {
	text, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, append(text, '\n'))
}

// VerdictShares are the fractions of inputs that got each verdict.
type VerdictShares struct {
	Trusted    float64 `json:"trusted"`
	Ambiguous  float64 `json:"ambiguous"`
	Unfamiliar float64 `json:"unfamiliar"`
}

// OODEvaluation is how well each score tells one foreign data set from the evaluated one: the area under the ROC curve.
type OODEvaluation struct {
	N        int           `json:"n"`
	AUROC    AUROC         `json:"auroc"`
	Verdicts VerdictShares `json:"verdicts"`
}

// AUROC holds the area of each score.
type AUROC struct {
	PredictiveEntropy     float64 `json:"predictive_entropy"`
	MutualInformation     float64 `json:"mutual_information"`
	ExplanationPercentile float64 `json:"explanation_percentile"`
	ExplanationOverlap    float64 `json:"explanation_overlap"`
	Reconstruction        float64 `json:"reconstruction"`
	ChiSquare             float64 `json:"chi_square"`
	Combined              float64 `json:"combined"`
}

// Foreign is a data set unlike that of training.
type Foreign struct {
	Name   string
	Images *data.Images
}

// Evaluate predicts everything and measures it. progress may be nil.
func (m *Model) Evaluate(ctx context.Context, images *data.Images, foreign []Foreign, progress func(done, total int)) (*Evaluation, error) {
	if err := checkData(&m.Config, images); err != nil {
		return nil, err
	}
	total := images.N
	for _, f := range foreign {
		if f.Images.ImageSize() != images.ImageSize() {
			return nil, fmt.Errorf("prob-psenn: %s has inputs of %d values, the model takes %d", f.Name, f.Images.ImageSize(), m.inputSize())
		}
		total += f.Images.N
	}
	p, err := m.NewPredictor(PredictorOptions{MaxBatch: encodeBatch, Overlap: true})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	done := 0
	report := func(n int) {
		if done += n; progress != nil {
			progress(done, total)
		}
	}
	own, err := p.all(ctx, images, report)
	if err != nil {
		return nil, err
	}
	probabilities := make([]float64, 0, len(own)*m.Config.Classes)
	for i := range own {
		probabilities = append(probabilities, own[i].Probabilities...)
	}
	c, err := metrics.NewClassification(probabilities, m.Config.Classes, images.Labels)
	if err != nil {
		return nil, fmt.Errorf("prob-psenn: %w", err)
	}
	e := &Evaluation{N: images.N, Accuracy: c.Accuracy(), NLL: c.NLL(), Brier: c.Brier(), ECE15: c.ECE(15), AURC: c.AURC(), Verdicts: sharesOf(own)}
	for _, f := range foreign {
		other, err := p.all(ctx, f.Images, report)
		if err != nil {
			return nil, err
		}
		if e.OOD == nil {
			e.OOD = map[string]OODEvaluation{}
		}
		a, err := m.compareScores(own, other)
		if err != nil {
			return nil, fmt.Errorf("prob-psenn: %s: %w", f.Name, err)
		}
		e.OOD[f.Name] = OODEvaluation{N: f.Images.N, AUROC: a, Verdicts: sharesOf(other)}
	}
	return e, nil
}

// all predicts a whole set in pieces.
func (p *Predictor) all(ctx context.Context, images *data.Images, report func(n int)) ([]Prediction, error) {
	size := p.m.inputSize()
	out := make([]Prediction, images.N)
	for at := 0; at < images.N; at += p.o.MaxBatch {
		n := min(p.o.MaxBatch, images.N-at)
		if err := p.PredictInto(ctx, out[at:at+n], images.Pixels[at*size:(at+n)*size]); err != nil {
			return nil, err
		}
		if report != nil {
			report(n)
		}
	}
	return out, nil
}

func sharesOf(all []Prediction) VerdictShares {
	var s VerdictShares
	for i := range all {
		switch all[i].Verdict {
		case Trusted:
			s.Trusted++
		case Ambiguous:
			s.Ambiguous++
		case Unfamiliar:
			s.Unfamiliar++
		}
	}
	if n := float64(len(all)); n > 0 {
		s.Trusted, s.Ambiguous, s.Unfamiliar = s.Trusted/n, s.Ambiguous/n, s.Unfamiliar/n
	}
	return s
}

// compareScores measures each score by itself and the combination. A score that the model does not have counts as
// chance, 1/2.
func (m *Model) compareScores(own, other []Prediction) (AUROC, error) {
	var a AUROC
	calibrated := m.Calibration != nil
	for _, s := range []struct {
		to     *float64
		exists bool
		score  func(p *Prediction) float64
	}{
		{&a.PredictiveEntropy, true, func(p *Prediction) float64 { return p.PredictiveEntropy }},
		{&a.MutualInformation, true, func(p *Prediction) float64 { return p.MutualInformation }},
		{&a.ExplanationPercentile, calibrated, func(p *Prediction) float64 { return p.Scores.ExplanationPercentile }},
		{&a.ExplanationOverlap, m.Config.Prototypes != Point, func(p *Prediction) float64 { return p.Scores.ExplanationOverlap }},
		{&a.Reconstruction, m.hasDecoder(), func(p *Prediction) float64 { return p.Scores.Reconstruction }},
		// the statistic orders inputs as its tail probability does, without underflow
		{&a.ChiSquare, true, func(p *Prediction) float64 { return p.Scores.Mahalanobis }},
		{&a.Combined, calibrated, func(p *Prediction) float64 { return p.Scores.Combined }},
	} {
		*s.to = .5
		if !s.exists {
			continue
		}
		x, y := make([]float64, len(own)), make([]float64, len(other))
		for i := range own {
			x[i] = s.score(&own[i])
		}
		for i := range other {
			y[i] = s.score(&other[i])
		}
		v, err := metrics.AUROC(x, y)
		if err != nil {
			return a, err
		}
		*s.to = v
	}
	return a, nil
}

package probpsenn

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/metrics"
	"github.com/credence-ml/credence/models/report"
)

// ReportOptions steer Report.
type ReportOptions struct {
	Data     *data.Images // labelled inputs that the model was not trained on
	Source   string       // what they are called
	Training *data.Images // see ExplainOptions
	Pictures int          // decoded samples of each prototype; 0: 10
	Examples int          // nearest training examples of each prototype, at most 8; 0: 4
	Inputs   int          // inputs shown for each verdict; 0: 10
	Progress func(done, total int)
}

// ModelReport is what a model has learned as a whole, and how it does on data it has not seen.
type ModelReport struct {
	Model      ModelSummary `json:"model"`
	Source     string       `json:"source,omitempty"`
	Evaluation Evaluation   `json:"evaluation"`

	Prototypes []PrototypeReport `json:"prototypes"`
	Weights    [][]float64       `json:"weights"` // of the last layer, [prototype][class]
	Spread     SpreadReport      `json:"spread"`
	Scatter    LatentScatter     `json:"scatter"`
	// Findings are signs of collapse, as sentences; none is good.
	Findings []string `json:"findings"`

	Reliability  []ReliabilityBin `json:"reliability"`   // 15 bins of the top probability
	RiskCoverage []RiskPoint      `json:"risk_coverage"` // by top probability
	Confusion    [][]int          `json:"confusion"`     // [true class][predicted class]
	Verdicts     []VerdictReport  `json:"verdicts"`
	History      []EpochStats     `json:"history"`
	Notes        []string         `json:"notes,omitempty"`
}

// PrototypeReport is one prototype distribution by itself.
type PrototypeReport struct {
	Prototype int    `json:"prototype"`
	Class     int    `json:"class"`
	Name      string `json:"name"`
	// Trace and LogDet are of the covariance, and EffectiveDimension is (sum of its eigenvalues)^2 / sum of their squares:
	// in how many directions the distribution really spreads. All are null for points.
	Trace              *float64 `json:"trace"`
	LogDet             *float64 `json:"log_det"`
	EffectiveDimension *float64 `json:"effective_dimension"`
	// Fill is the mean squared Mahalanobis distance of the inputs taken for the class over that expected of draws, the
	// latent dimension: 1 if inputs fill the distribution, less if it is wider than they are. Null without such inputs.
	Fill *float64 `json:"fill"`
	// TakenFor is the share of its samples that the model takes for each class, on expected distances.
	TakenFor []float64          `json:"taken_for"`
	Means    []*report.Picture  `json:"means,omitempty"`
	Samples  []*report.Picture  `json:"samples,omitempty"`
	Examples []PrototypeExample `json:"examples,omitempty"`
}

// ReliabilityBin compares probability and accuracy.
type ReliabilityBin struct {
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	N          int     `json:"n"`
	Confidence float64 `json:"confidence"`
	Accuracy   float64 `json:"accuracy"`
}

// RiskPoint is how many are wrong if only the most certain are answered.
type RiskPoint struct {
	Threshold float64 `json:"threshold"`
	Coverage  float64 `json:"coverage"`
	Risk      float64 `json:"risk"`
}

// VerdictReport is what a verdict is worth.
type VerdictReport struct {
	Verdict     Verdict  `json:"verdict"`
	N           int      `json:"n"`
	Share       float64  `json:"share"`
	Wrong       int      `json:"wrong"`
	Probability *float64 `json:"probability"` // mean of the label's; null if there are none
	// Inputs are the clearest cases: of trusted ones each class in turn, otherwise those that the verdict fits best.
	Inputs   []ShownInput `json:"inputs,omitempty"`
	Mistakes []ShownInput `json:"mistakes,omitempty"` // the most probable of its wrong answers
}

// ShownInput is one input with its prediction.
type ShownInput struct {
	Index       int             `json:"index"`
	Label       int             `json:"label"` // the true class
	Predicted   int             `json:"predicted"`
	Probability float64         `json:"probability"`
	Competing   []int           `json:"competing,omitempty"`
	Percentile  float64         `json:"percentile"` // Unfamiliarity, for an ambiguous verdict Ambiguity
	Picture     *report.Picture `json:"picture,omitempty"`
}

// Report looks at the whole model, and at its answers to labelled data that it was not trained on.
func (m *Model) Report(ctx context.Context, o ReportOptions) (*ModelReport, error) {
	if err := checkData(&m.Config, o.Data); err != nil {
		return nil, err
	}
	if o.Pictures < 0 || o.Examples < 0 || o.Inputs < 0 {
		return nil, fmt.Errorf("prob-psenn: %d pictures, %d examples and %d inputs; none may be negative", o.Pictures, o.Examples, o.Inputs)
	}
	o.Pictures, o.Examples, o.Inputs = cmp.Or(o.Pictures, 10), cmp.Or(o.Examples, 4), cmp.Or(o.Inputs, 10)
	e, err := m.newExplainer(PredictorOptions{MaxBatch: encodeBatch})
	if err != nil {
		return nil, err
	}
	defer e.Close()
	done := 0
	all, err := e.predictor.all(ctx, o.Data, func(n int) {
		if done += n; o.Progress != nil {
			o.Progress(done, o.Data.N)
		}
	})
	if err != nil {
		return nil, err
	}
	r := &ModelReport{Model: m.summary(e.predictor.samples), Source: o.Source, History: m.History}
	for k := range e.gaussians.k {
		row := e.head[k*m.Config.Classes : (k+1)*m.Config.Classes]
		r.Weights = append(r.Weights, widen(row))
	}
	if err := r.evaluate(&m.Config, all, o.Data.Labels); err != nil {
		return nil, err
	}
	if m.Calibration != nil {
		r.judge(m, &o, all)
	} else {
		r.Notes = append(r.Notes, "The model was not calibrated on held-out data, so it gives no verdicts.")
	}
	if err := e.describePrototypes(ctx, r, &o); err != nil {
		return nil, err
	}
	r.fill(all)
	if r.Scatter, err = newLatentScatter(e.gaussians, m.Config.PerClass, all, o.Data.Labels); err != nil {
		return nil, err
	}
	r.Spread = newSpreadReport(&m.Config, e.gaussians, all)
	r.Findings = r.collapse()
	return r, nil
}

// evaluate measures the answers.
func (r *ModelReport) evaluate(c *Config, all []Prediction, labels []int32) error {
	probabilities := make([]float64, 0, len(all)*c.Classes)
	r.Confusion = make([][]int, c.Classes)
	for class := range r.Confusion {
		r.Confusion[class] = make([]int, c.Classes)
	}
	for i := range all {
		probabilities = append(probabilities, all[i].Probabilities...)
		r.Confusion[labels[i]][all[i].Label]++
	}
	m, err := metrics.NewClassification(probabilities, c.Classes, labels)
	if err != nil {
		return fmt.Errorf("prob-psenn: %w", err)
	}
	r.Evaluation = Evaluation{N: len(all), Accuracy: m.Accuracy(), NLL: m.NLL(), Brier: m.Brier(), ECE15: m.ECE(15), AURC: m.AURC(), Verdicts: sharesOf(all)}
	for _, b := range m.Reliability(15) {
		r.Reliability = append(r.Reliability, ReliabilityBin{b.Low, b.High, b.Count, b.Confidence, b.Accuracy})
	}
	const points = 400
	curve := m.RiskCoverage()
	n := min(points, len(curve))
	for i := range n {
		p := curve[len(curve)-1]
		if n > 1 {
			p = curve[i*(len(curve)-1)/(n-1)]
		}
		r.RiskCoverage = append(r.RiskCoverage, RiskPoint{p.Threshold, p.Coverage, p.Risk})
	}
	return nil
}

// judge counts the verdicts and picks inputs to show for each.
func (r *ModelReport) judge(m *Model, o *ReportOptions, all []Prediction) {
	for _, verdict := range []Verdict{Trusted, Ambiguous, Unfamiliar} {
		v := VerdictReport{Verdict: verdict}
		var members, wrong []int
		sum := 0.0
		for i := range all {
			if all[i].Verdict != verdict {
				continue
			}
			members = append(members, i)
			sum += all[i].Probability
			if all[i].Label != int(o.Data.Labels[i]) {
				wrong = append(wrong, i)
			}
		}
		v.N, v.Wrong, v.Share = len(members), len(wrong), float64(len(members))/float64(len(all))
		if v.N > 0 {
			mean := sum / float64(v.N)
			v.Probability = &mean
		}
		order := func(list []int, score func(p *Prediction) float64) {
			slices.SortStableFunc(list, func(a, b int) int { return cmp.Compare(score(&all[b]), score(&all[a])) })
		}
		switch verdict {
		case Ambiguous:
			order(members, func(p *Prediction) float64 { return p.PredictiveEntropy })
		case Unfamiliar:
			order(members, func(p *Prediction) float64 { return p.Scores.Combined })
		default:
			members = takeTurns(members, all, m.Config.Classes)
		}
		order(wrong, func(p *Prediction) float64 { return p.Probability })
		show := func(list []int) (shown []ShownInput) {
			for _, i := range list[:min(o.Inputs, len(list))] {
				p := &all[i]
				x := ShownInput{Index: i, Label: int(o.Data.Labels[i]), Predicted: p.Label, Probability: p.Probability,
					Competing: p.Competing, Percentile: p.Scores.Unfamiliarity, Picture: m.picture(o.Data.Image(i))}
				if verdict == Ambiguous {
					x.Percentile = p.Scores.Ambiguity
				}
				shown = append(shown, x)
			}
			return shown
		}
		v.Inputs, v.Mistakes = show(members), show(wrong)
		r.Verdicts = append(r.Verdicts, v)
	}
}

// takeTurns lists inputs so that the predicted classes follow one another.
func takeTurns(members []int, all []Prediction, classes int) []int {
	byClass := make([][]int, classes)
	for _, i := range members {
		byClass[all[i].Label] = append(byClass[all[i].Label], i)
	}
	turns := make([]int, 0, len(members))
	for turn := 0; len(turns) < len(members); turn++ {
		for _, list := range byClass {
			if turn < len(list) {
				turns = append(turns, list[turn])
			}
		}
	}
	return turns
}

// fill compares the prototypes with the inputs taken for their classes.
func (r *ModelReport) fill(all []Prediction) {
	var fills []float64
	for i := range r.Prototypes {
		p := &r.Prototypes[i]
		sum, n := 0.0, 0
		for j := range all {
			if all[j].Label == p.Class {
				sum += all[j].Scores.Mahalanobis
				n++
			}
		}
		if n > 0 && p.Trace != nil {
			v := sum / float64(n*r.Model.Latent)
			p.Fill = &v
			fills = append(fills, v)
		}
	}
	slices.Sort(fills)
	if n := len(fills); n > 0 && fills[n/2] < looseFill {
		r.Notes = append(r.Notes, fmt.Sprintf("The prototypes are wider than the inputs: in the median an input has %s of the squared Mahalanobis distance of a draw. So inputs sit in the middle of their class's prototype, and draws from its rim look like no input.", percent(fills[n/2])))
	}
}

// looseFill is the fill below which prototypes count as wider than their inputs.
const looseFill = .5

// describePrototypes fills Prototypes.
func (e *explainer) describePrototypes(ctx context.Context, r *ModelReport, o *ReportOptions) error {
	m, c := e.m, &e.m.Config
	training := o.Training
	switch {
	case m.Examples == nil:
		r.Notes = append(r.Notes, "The model keeps no nearest training examples.")
	case training != nil && !m.Examples.of(training):
		r.Notes = append(r.Notes, "The nearest training examples are given by their number: the data at hand is not what the model was trained on.")
		training = nil
	}
	for k := range e.gaussians.k {
		class := k / c.PerClass
		p := PrototypeReport{Prototype: k, Class: class, Name: c.className(class), TakenFor: e.takenFor(k)}
		p.Trace, p.LogDet, p.EffectiveDimension = e.gaussians.spread(k)
		var err error
		if p.Means, err = e.means(ctx, k); err != nil {
			return err
		}
		if c.Prototypes != Point && e.decoder != nil {
			var latents []float32
			for s := range min(o.Pictures, e.predictor.samples) {
				latents = append(latents, e.sample(s, k)...)
			}
			if p.Samples, err = e.decode(ctx, latents); err != nil {
				return err
			}
		}
		p.Examples = e.examples(k, o.Examples, training, nil)
		r.Prototypes = append(r.Prototypes, p)
	}
	return nil
}

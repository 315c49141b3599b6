package sdm

import (
	"context"
	"fmt"
)

// A Verifier puts a model behind whatever makes its features: an encoder, an embedding service, the hidden state of a
// language model. B is a batch of its inputs.
type Verifier[B any] struct {
	features func(ctx context.Context, batch B) ([]float32, error)
	models   Ensemble
	o        VerifierOptions
}

// VerifierOptions refine NewVerifier; the zero value gives the defaults.
type VerifierOptions struct {
	Alpha   float64  // least alpha of acceptance; 0: 0.9
	Rule    Rule     // "": Lower
	Others  Ensemble // models that must accept the same prediction
	Nearest int      // so many nearest support rows with every verdict
}

// A Verdict is a score with the decision made on it.
type Verdict struct {
	Score
	Decision
}

// NewVerifier wraps a function that gives one row of the model's features for each input of a batch.
func NewVerifier[B any](m *Model, features func(ctx context.Context, batch B) ([]float32, error), o VerifierOptions) (*Verifier[B], error) {
	if o.Alpha == 0 {
		o.Alpha = .9
	}
	if o.Rule == "" {
		o.Rule = Lower
	}
	if _, err := m.Decide(&Score{}, o.Alpha, o.Rule); err != nil {
		return nil, err
	}
	return &Verifier[B]{features, append(Ensemble{m}, o.Others...), o}, nil
}

// Verify runs a batch through the wrapped function and judges every row of its features.
func (v *Verifier[B]) Verify(ctx context.Context, batch B) ([]Verdict, error) {
	x, err := v.features(ctx, batch)
	if err != nil {
		return nil, fmt.Errorf("sdm: the wrapped function: %w", err)
	}
	scores, err := v.models.Score(ctx, x, ScoreOptions{Nearest: v.o.Nearest})
	if err != nil {
		return nil, err
	}
	verdicts := make([]Verdict, len(scores[0]))
	for i := range verdicts {
		s := scores[0][i]
		d, err := v.models[0].Decide(&s, v.o.Alpha, v.o.Rule)
		if err != nil {
			return nil, err
		}
		if d.Accepted && Agreement(scores, i, v.o.Rule) < v.o.Alpha {
			d.Accepted, d.Reason = false, ReasonDisagreement
		}
		verdicts[i] = Verdict{s, d}
	}
	return verdicts, nil
}

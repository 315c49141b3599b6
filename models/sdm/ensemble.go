package sdm

import (
	"context"
	"errors"
	"fmt"
)

// An Ensemble accepts a row only where all of its models accept the same prediction (appendix A.7 of arXiv 2509.12760):
// what hangs on one split or one start falls away.
type Ensemble []*Model

// Score scores rows with every model, [models][rows].
func (e Ensemble) Score(ctx context.Context, features []float32, o ScoreOptions) ([][]Score, error) {
	if len(e) == 0 {
		return nil, errors.New("sdm: an ensemble without models")
	}
	for _, m := range e[1:] {
		if a, b := e[0].config, m.config; a.Dimension != b.Dimension || a.Classes != b.Classes {
			return nil, fmt.Errorf("sdm: models of %d and %d features, %d and %d classes cannot vote on the same rows", a.Dimension, b.Dimension, a.Classes, b.Classes)
		}
	}
	var all [][]Score
	for _, m := range e {
		s, err := m.Score(ctx, features, o)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
		o.Exclude = nil // numbers of the first model's support
	}
	return all, nil
}

// Agreement is the least of the alphas with which the models accept a row, where all of them predict the same; 0 where
// they do not, or one of them rejects it.
func Agreement(scores [][]Score, row int, rule Rule) float64 {
	least := 1.0
	for _, s := range scores {
		if s[row].Prediction != scores[0][row].Prediction {
			return 0
		}
		least = min(least, s[row].alpha(rule))
	}
	return least
}

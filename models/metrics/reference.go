package metrics

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// Reference is a sample of scores that new scores are compared with; a larger score is stranger. Scores of examples
// that the model was not trained on make its ranks calibrated (split conformal prediction: Vovk, Gammerman and Shafer,
// 2005; Lei et al., JASA 113, 2018). NaN counts as stranger than everything.
type Reference struct{ sorted []float64 }

// NewReference copies the scores, of which none may be NaN.
func NewReference(scores []float64) (*Reference, error) {
	if len(scores) == 0 {
		return nil, fmt.Errorf("a reference needs at least one score")
	}
	if err := checkNumbers("reference score", scores); err != nil {
		return nil, err
	}
	return &Reference{slices.Sorted(slices.Values(scores))}, nil
}

// Scores are the scores in ascending order; they must not be changed.
func (r *Reference) Scores() []float64 { return r.sorted }

func (r *Reference) smaller(score float64) int {
	if math.IsNaN(score) {
		return len(r.sorted)
	}
	return sort.SearchFloat64s(r.sorted, score)
}

// Percentile is the fraction of the reference that is strictly smaller, from 0 to 1.
func (r *Reference) Percentile(score float64) float64 {
	return float64(r.smaller(score)) / float64(len(r.sorted))
}

// PValue is (1 + the number of reference scores that are not smaller) / (n + 1). If the score is exchangeable with the
// reference, it is at most alpha with a probability of at most alpha, whatever their distribution.
func (r *Reference) PValue(score float64) float64 {
	n := len(r.sorted)
	return float64(1+n-r.smaller(score)) / float64(n+1)
}

// Rank is 1 - PValue: the number of strictly smaller reference scores / (n + 1).
func (r *Reference) Rank(score float64) float64 {
	return float64(r.smaller(score)) / float64(len(r.sorted)+1)
}

// Threshold is the ceil((1-alpha)(n+1))-th smallest reference score, +Inf if there are fewer: exactly the scores above
// it have a PValue of at most alpha, so that at most the fraction alpha of exchangeable scores is flagged, and no less
// than alpha - 1/(n+1) where no two scores are equal.
func (r *Reference) Threshold(alpha float64) float64 {
	n := len(r.sorted)
	// the slack keeps products such as 100 x 0.95 from rounding up to the next integer
	k := int(math.Ceil((1-alpha)*float64(n+1) - 1e-9))
	switch {
	case k > n:
		return math.Inf(1)
	case k < 1:
		return math.Inf(-1)
	}
	return r.sorted[k-1]
}

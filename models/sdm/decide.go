package sdm

import (
	"fmt"
	"math"
)

// A Rule says which of a row's two estimates decides.
type Rule string

// The rules.
const (
	Centroid Rule = "centroid" // the estimates as they are
	Lower    Rule = "lower"    // the ends of their bands that speak against acceptance
)

// A Reason says why a row is not accepted.
type Reason string

// The reasons, in the order in which they are looked for.
const (
	ReasonNone         Reason = ""
	ReasonUnlike       Reason = "unlike"       // q = 0: the nearest support row is of another class, or was wrong itself
	ReasonFar          Reason = "far"          // d = 0: farther from the support than any calibration row of some class
	ReasonNoRegion     Reason = "no-region"    // the model has no region of this alpha
	ReasonSimilarity   Reason = "similarity"   // q' is below every region
	ReasonOutput       Reason = "output"       // the output is below the threshold of its class
	ReasonFewRows      Reason = "few-rows"     // accepted but for the width of the band: few calibration rows are this similar
	ReasonDisagreement Reason = "disagreement" // another model of the ensemble says otherwise
)

// A Decision is whether a prediction can be relied on at a level.
type Decision struct {
	Accepted bool    `json:"accepted"`
	Alpha    float64 `json:"alpha"` // of the region that accepts the row, 0 if none does
	Reason   Reason  `json:"reason,omitempty"`
}

// Decide accepts a score where a region of at least alpha does. What alpha promises: of the rows so accepted, a share of
// at least alpha of every class is right, as estimated on calibration rows.
func (m *Model) Decide(s *Score, alpha float64, rule Rule) (Decision, error) {
	if !(alpha > 0 && alpha < 1) {
		return Decision{}, fmt.Errorf("sdm: alpha %v; above 0 and below 1 is needed", alpha)
	}
	if rule != Centroid && rule != Lower {
		return Decision{}, fmt.Errorf("sdm: rule %q; %s or %s is needed", rule, Centroid, Lower)
	}
	return decide(m.Regions(), m.config.OODLimit, s, alpha, rule), nil
}

// alpha is that of the region that accepts the row.
func (s *Score) alpha(rule Rule) float64 {
	if rule == Lower {
		return s.LowerAlpha
	}
	return s.CentroidAlpha
}

func decide(regions []Region, limit int, s *Score, alpha float64, rule Rule) Decision {
	d := Decision{Alpha: s.alpha(rule)}
	if d.Accepted = d.Alpha >= alpha; d.Accepted {
		return d
	}
	least, any := float32(math.Inf(1)), false
	for i := range regions {
		if regions[i].Alpha >= alpha {
			least, any = min(least, regions[i].MinimumSimilarity), true
		}
	}
	switch {
	case math.Floor(float64(s.QPrime)) <= float64(limit):
		d.Reason = ReasonUnlike
	case s.D == 0:
		d.Reason = ReasonFar
	case !any:
		d.Reason = ReasonNoRegion
	case rule == Lower && s.CentroidAlpha >= alpha:
		d.Reason = ReasonFewRows
	case s.QPrime < least:
		d.Reason = ReasonSimilarity
	default:
		d.Reason = ReasonOutput
	}
	return d
}

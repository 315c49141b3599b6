package probpsenn

import (
	"encoding/json"
	"math"
)

// scoresJSON has a null where Scores has a NaN: a score that the model cannot give.
type scoresJSON struct {
	Distance              *float64 `json:"distance"`
	ExplanationPercentile *float64 `json:"explanation_percentile"`
	ExplanationOverlap    *float64 `json:"explanation_overlap"`
	Mahalanobis           *float64 `json:"mahalanobis"`
	ChiSquare             *float64 `json:"chi_square"`
	Reconstruction        *float64 `json:"reconstruction"`
	Combined              *float64 `json:"combined"`
	Unfamiliarity         *float64 `json:"unfamiliarity"`
	Ambiguity             *float64 `json:"ambiguity"`
}

// pairs joins the fields of the two forms.
func (s *Scores) pairs(j *scoresJSON) map[*float64]**float64 {
	return map[*float64]**float64{&s.Distance: &j.Distance, &s.ExplanationPercentile: &j.ExplanationPercentile,
		&s.ExplanationOverlap: &j.ExplanationOverlap, &s.Mahalanobis: &j.Mahalanobis, &s.ChiSquare: &j.ChiSquare,
		&s.Reconstruction: &j.Reconstruction, &s.Combined: &j.Combined, &s.Unfamiliarity: &j.Unfamiliarity,
		&s.Ambiguity: &j.Ambiguity}
}

// MarshalJSON writes null for a score that is not a finite number.
func (s Scores) MarshalJSON() ([]byte, error) {
	var j scoresJSON
	for v, to := range s.pairs(&j) {
		if !math.IsNaN(*v) && !math.IsInf(*v, 0) {
			*to = v
		}
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads null as NaN.
func (s *Scores) UnmarshalJSON(data []byte) error {
	var j scoresJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	for to, v := range s.pairs(&j) {
		*to = math.NaN()
		if *v != nil {
			*to = **v
		}
	}
	return nil
}

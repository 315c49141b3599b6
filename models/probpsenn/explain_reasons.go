package probpsenn

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// scoreNames name the scores of a ScoreRank for people.
var scoreNames = map[string]string{
	"distance":           "distance from the prototype's samples",
	"mahalanobis":        "Mahalanobis distance from the prototype",
	"predictive_entropy": "uncertainty of the class",
	"reconstruction":     "error of the reconstruction",
}

// reasons says in sentences why the verdict is what it is.
func (x *Explanation) reasons(c *Config) []string {
	p := &x.Prediction
	if p.Verdict == Uncertain {
		return []string{"The model was not calibrated on held-out data, so it can say how probable its answer is, but not whether the input is like anything it has seen."}
	}
	held := fmt.Sprintf("held-out inputs that the model took for %s", x.Class)
	familiar := fmt.Sprintf("All scores together, it is stranger than %s of the %s; beyond %s it would be unfamiliar.",
		percent(p.Scores.Unfamiliarity), held, percent(1-unfamiliarShare))
	clear := fmt.Sprintf("The class is less certain than for %s of them; beyond %s, with another class close behind, it would be ambiguous.",
		percent(p.Scores.Ambiguity), percent(1-ambiguousShare))
	switch p.Verdict {
	case Unfamiliar:
		r := []string{fmt.Sprintf("All scores together, it is stranger than %s of the %s; the limit is %s.", percent(p.Scores.Unfamiliarity), held, percent(1-unfamiliarShare))}
		if telling := x.telling(); len(telling) > 0 {
			r = append(r, "What gives it away: "+strings.Join(telling, "; ")+".")
		}
		return append(r, fmt.Sprintf("The probability of %s for %s compares the known classes with each other; it is no evidence that the input belongs to any of them.", percent(p.Probability), x.Class))
	case Ambiguous:
		return append([]string{fmt.Sprintf("The class is less certain than for %s of the %s; the limit is %s.", percent(p.Scores.Ambiguity), held, percent(1-ambiguousShare))},
			append(x.rivals(c), fmt.Sprintf("It is no stranger than %s of those inputs, so it is of a known kind.", percent(p.Scores.Unfamiliarity)))...)
	}
	r := append([]string{familiar, clear}, x.rivals(c)...)
	if p.Probability < lowProbability {
		r = append(r, fmt.Sprintf("The probability is low all the same: of inputs that it takes for %s, this model is often unsure.", x.Class))
	}
	return r
}

// lowProbability is what deserves a remark even where it is usual.
const lowProbability = .8

// telling lists the scores that add most to the surprise, most first.
func (x *Explanation) telling() []string {
	ranks := slices.Clone(x.Ranks)
	slices.SortStableFunc(ranks, func(a, b ScoreRank) int { return cmp.Compare(b.Surprise, a.Surprise) })
	var list []string
	for _, r := range ranks {
		const notable = 3 // a tail of 5 %
		if r.Surprise < notable || len(list) == 2 {
			break
		}
		list = append(list, fmt.Sprintf("its %s is larger than for %s of them", scoreNames[r.Score], percent(r.Percentile)))
	}
	return list
}

// rivals compares the prediction with the classes that compete, or with the next best.
func (x *Explanation) rivals(c *Config) []string {
	var list []string
	for _, y := range x.Classes[1:] {
		if y.Role != RoleCompeting {
			continue
		}
		text := fmt.Sprintf("%s explains it too, with a probability of %s against %s", y.Name, percent(y.Probability), percent(x.Prediction.Probability))
		if y.Overlap != nil {
			text += fmt.Sprintf("; the distances from the two overlap by %s", percent(*y.Overlap))
		}
		list = append(list, text+".")
	}
	if list == nil && c.Classes > 1 {
		next := &x.Classes[1]
		list = append(list, fmt.Sprintf("The next best class, %s, has a probability of %s.", next.Name, percent(next.Probability)))
	}
	return list
}

// percent writes a share, and never rounds to all or nothing what is neither.
func percent(v float64) string {
	switch {
	case math.IsNaN(v):
		return "an unknown share"
	case v > .9995 && v < 1:
		return "over 99.9 %"
	case v < .0005 && v > 0:
		return "under 0.1 %"
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", 100*v), ".0") + " %"
}

package probpsenn

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/credence-ml/credence/models/data"
)

// The verdict's thresholds: the share of fresh inputs like those of training that is flagged.
const (
	unfamiliarShare  = .05
	ambiguousShare   = .05
	leastProbability = .5 // below it other classes together are likelier, whatever is usual for the class
	competingShare   = .1 // a class competes if it has at least this share of the winner's probability
)

// Calibration holds the scores of held-out inputs, per predicted class, against which new inputs are ranked. Nothing
// here was used to train.
type Calibration struct {
	N        int                `json:"n"`
	Accuracy float64            `json:"accuracy"` // of the held-out inputs, 0 to 1: what to choose a configuration by
	Classes  []ClassCalibration `json:"classes"`
}

// ClassCalibration are the ascending scores of the held-out inputs predicted to be of one class. A class with fewer than
// minPerClass of them borrows those of all classes.
type ClassCalibration struct {
	N              int       `json:"n"`
	Distance       []float64 `json:"distance"`
	Mahalanobis    []float64 `json:"mahalanobis"`
	Reconstruction []float64 `json:"reconstruction,omitempty"`
	Entropy        []float64 `json:"entropy"`
	Combined       []float64 `json:"combined"`
}

const minPerClass = 20

// Calibrate ranks the scores of labelled inputs that training has not seen.
func (m *Model) Calibrate(ctx context.Context, held *data.Images, progress func(rows int)) error {
	m.Calibration = nil
	if len(held.Labels) != held.N {
		return fmt.Errorf("prob-psenn: calibration on %d inputs with %d labels", held.N, len(held.Labels))
	}
	p, err := m.NewPredictor(PredictorOptions{MaxBatch: encodeBatch})
	if err != nil {
		return err
	}
	defer p.Close()
	done := 0
	all, err := p.all(ctx, held, func(n int) {
		if done += n; progress != nil {
			progress(done)
		}
	})
	if err != nil {
		return err
	}
	calibration, err := newCalibration(&m.Config, all)
	if err != nil {
		return err
	}
	right := 0
	for i := range all {
		if all[i].Label == int(held.Labels[i]) {
			right++
		}
	}
	calibration.Accuracy = float64(right) / float64(held.N)
	m.Calibration = calibration
	return nil
}

func newCalibration(c *Config, all []Prediction) (*Calibration, error) {
	if len(all) < minPerClass {
		return nil, fmt.Errorf("prob-psenn: %d held-out inputs; calibration needs at least %d", len(all), minPerClass)
	}
	r := &Calibration{N: len(all), Classes: make([]ClassCalibration, c.Classes)}
	for class := range r.Classes {
		var members []*Prediction
		for i := range all {
			if all[i].Label == class {
				members = append(members, &all[i])
			}
		}
		k := &r.Classes[class]
		k.N = len(members)
		if len(members) < minPerClass {
			members = members[:0]
			for i := range all {
				members = append(members, &all[i])
			}
		}
		for _, p := range members {
			k.Distance = append(k.Distance, p.Scores.Distance)
			k.Mahalanobis = append(k.Mahalanobis, p.Scores.Mahalanobis)
			k.Entropy = append(k.Entropy, p.PredictiveEntropy)
			if !math.IsNaN(p.Scores.Reconstruction) {
				k.Reconstruction = append(k.Reconstruction, p.Scores.Reconstruction)
			}
		}
		for _, list := range [][]float64{k.Distance, k.Mahalanobis, k.Entropy, k.Reconstruction} {
			sort.Float64s(list)
		}
		for _, p := range members {
			k.Combined = append(k.Combined, k.combine(&p.Scores, p.PredictiveEntropy, true))
		}
		sort.Float64s(k.Combined)
	}
	return r, nil
}

// combine adds up the surprise of every score, -log of its tail probability among held-out inputs: Fisher's statistic
// for independent tests. The scores are not independent, which is why the sum is itself ranked on held-out data. member
// tells that the input is one of them: it is compared with the others, as a fresh one is, or else fresh inputs would
// look stranger than they are (by half at 20 held-out inputs of a class).
func (k *ClassCalibration) combine(s *Scores, entropy float64, member bool) float64 {
	sum := surpriseAmong(k.Distance, s.Distance, member) + surpriseAmong(k.Mahalanobis, s.Mahalanobis, member) +
		surpriseAmong(k.Entropy, entropy, member)
	if len(k.Reconstruction) > 0 {
		sum += surpriseAmong(k.Reconstruction, s.Reconstruction, member)
	}
	return sum
}

// tailShare of the held-out scores fit the exponential tail beyond which ranks say no more.
const tailShare = .1

// surprise is -log of the share of sorted that is at least x. Beyond the tail's start the share falls off exponentially,
// at the rate of the mean excess there (Hill's estimate on the logarithm of the scores), so that very strange inputs
// keep their order. What is not a number is stranger than any number.
func surprise(sorted []float64, x float64) float64 { return surpriseAmong(sorted, x, false) }

// surpriseAmong is surprise; a member of sorted is compared with the others alone.
func surpriseAmong(sorted []float64, x float64, member bool) float64 {
	if math.IsNaN(x) {
		x = math.Inf(1)
	}
	at, _ := slices.BinarySearch(sorted, x) // those strictly smaller, which a member is not
	n, skip := len(sorted), len(sorted)
	if member {
		n, skip = n-1, at
	}
	score := func(i int) float64 {
		if i >= skip {
			i++
		}
		return sorted[i]
	}
	start := n - max(2, int(tailShare*float64(n)))
	if start < 1 || x <= score(start) {
		return -math.Log(float64(n-at+1) / float64(n+1))
	}
	const tiny = 1e-12 // scores are not negative but for rounding
	first := math.Log(math.Max(score(start), 0) + tiny)
	mean := 0.0
	for i := start + 1; i < n; i++ {
		mean += math.Log(math.Max(score(i), 0)+tiny) - first
	}
	mean = math.Max(mean/float64(n-start-1), 1e-6)
	excess := math.Log(math.Max(x, 0)+tiny) - first
	return -math.Log(float64(n-start+1)/float64(n+1)) + math.Min(excess/mean, 1e6)
}

// flagged reports a percentile that at most the given share of fresh inputs reaches. The slack is for the rounding of
// shares that are not binary fractions.
func flagged(percentile, share float64) bool { return percentile >= 1-share-1e-12 }

// percentile is the split-conformal rank of x: with n held-out scores, a fresh input of the same kind reaches 1-alpha
// with probability at most alpha. What is not a number is beyond all.
func percentile(sorted []float64, x float64) float64 {
	if math.IsNaN(x) {
		x = math.Inf(1)
	}
	at, _ := slices.BinarySearch(sorted, x) // those strictly smaller
	return float64(at) / float64(len(sorted)+1)
}

// judge ranks the scores of a prediction and gives the verdict.
func (r *Calibration) judge(p *Prediction, s *scratch) {
	k := &r.Classes[p.Label]
	p.Scores.ExplanationPercentile = percentile(k.Distance, p.Scores.Distance)
	p.Scores.Combined = k.combine(&p.Scores, p.PredictiveEntropy, false)
	p.Scores.Unfamiliarity = percentile(k.Combined, p.Scores.Combined)
	p.Scores.Ambiguity = percentile(k.Entropy, p.PredictiveEntropy)
	switch {
	case flagged(p.Scores.Unfamiliarity, unfamiliarShare):
		p.Verdict, p.Reason = Unfamiliar, reasonUnfamiliar
	case (flagged(p.Scores.Ambiguity, ambiguousShare) || p.Probability < leastProbability) && p.compete(s):
		p.Verdict, p.Reason = Ambiguous, reasonAmbiguous
	default:
		p.Verdict, p.Reason = Trusted, reasonTrusted
	}
}

const (
	reasonTrusted    = "like held-out inputs of its class, and one class explains it"
	reasonAmbiguous  = "less certain than 95 % of held-out inputs of its class, or than even odds, and other classes explain it too"
	reasonUnfamiliar = "stranger than 95 % of held-out inputs of its class"
)

// compete lists the classes whose probability comes near the winner's.
func (p *Prediction) compete(s *scratch) bool {
	for i := range s.order {
		s.order[i] = i
	}
	slices.SortStableFunc(s.order, func(a, b int) int { return cmp.Compare(p.Probabilities[b], p.Probabilities[a]) })
	for _, class := range s.order[1:] {
		if p.Probabilities[class] < competingShare*p.Probability {
			break
		}
		p.Competing = append(p.Competing, class)
	}
	return len(p.Competing) > 0
}

// check proves that a calibration read from a file fits the configuration.
func (r *Calibration) check(c *Config) error {
	if len(r.Classes) != c.Classes {
		return fmt.Errorf("calibration of %d classes; the configuration has %d", len(r.Classes), c.Classes)
	}
	if !(r.Accuracy >= 0 && r.Accuracy <= 1) {
		return fmt.Errorf("calibration: accuracy is %v; 0 to 1", r.Accuracy)
	}
	for class, k := range r.Classes {
		n := len(k.Distance)
		for _, list := range []struct {
			name   string
			scores []float64
		}{{"distance", k.Distance}, {"mahalanobis", k.Mahalanobis}, {"entropy", k.Entropy}, {"combined", k.Combined}, {"reconstruction", k.Reconstruction}} {
			sorted := slices.IsSorted(list.scores)
			switch {
			case list.name == "reconstruction" && len(list.scores) == 0: // of a model without a decoder
			case n < minPerClass || len(list.scores) != n || !sorted:
				return fmt.Errorf("calibration of class %d: %s has %d scores, sorted is %v; %d ascending ones are needed", class, list.name,
					len(list.scores), sorted, max(n, minPerClass))
			case list.scores[0] < -1e-6: // rounding aside
				return fmt.Errorf("calibration of class %d: %s begins with %v; no score is negative", class, list.name, list.scores[0])
			}
		}
	}
	return nil
}

package metrics

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mathext"
)

// Interval is a confidence interval.
type Interval struct{ Low, High float64 }

// Wilson is the score interval of a proportion (Wilson, JASA 22, 1927). Its coverage is close to the confidence on
// average over proportions.
func Wilson(successes, trials int, confidence float64) (Interval, error) {
	if err := checkProportion(successes, trials, confidence); err != nil {
		return Interval{}, err
	}
	n, p, z := float64(trials), float64(successes)/float64(trials), math.Sqrt2*math.Erfinv(confidence)
	centre := (p + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	i := Interval{max(0, centre-half), min(1, centre+half)}
	if successes == 0 { // exactly, where rounding would leave a trace
		i.Low = 0
	}
	if successes == trials {
		i.High = 1
	}
	return i, nil
}

// ClopperPearson is the exact interval of a proportion (Clopper and Pearson, Biometrika 26, 1934). Its coverage is
// never below the confidence.
func ClopperPearson(successes, trials int, confidence float64) (Interval, error) {
	if err := checkProportion(successes, trials, confidence); err != nil {
		return Interval{}, err
	}
	k, n, tail, i := float64(successes), float64(trials), (1-confidence)/2, Interval{0, 1}
	if successes > 0 {
		i.Low = mathext.InvRegIncBeta(k, n-k+1, tail)
	}
	if successes < trials {
		i.High = mathext.InvRegIncBeta(k+1, n-k, 1-tail)
	}
	return i, nil
}

func checkProportion(successes, trials int, confidence float64) error {
	if trials < 1 || successes < 0 || successes > trials {
		return fmt.Errorf("%d successes in %d trials: want 0..trials of at least one", successes, trials)
	}
	return checkConfidenceLevel(confidence)
}

func checkConfidenceLevel(confidence float64) error {
	if !(confidence > 0 && confidence < 1) {
		return fmt.Errorf("confidence level %v: want a number between 0 and 1", confidence)
	}
	return nil
}

// Bootstrap is the percentile interval of a statistic of n examples (Efron, 1979): the statistic is computed for
// resamples index lists of n examples drawn with replacement, and the interval holds the middle of its values. The
// draws are IntN of math/rand/v2 over PCG(seed, 0), so the interval can be had again. The statistic must not keep the
// list.
func Bootstrap(n, resamples int, seed uint64, confidence float64, statistic func(indices []int) float64) (Interval, error) {
	if n < 1 || resamples < 1 {
		return Interval{}, fmt.Errorf("bootstrap with %d resamples of %d examples: want at least one of each", resamples, n)
	}
	if err := checkConfidenceLevel(confidence); err != nil {
		return Interval{}, err
	}
	random := rand.New(rand.NewPCG(seed, 0))
	indices, values := make([]int, n), make([]float64, resamples)
	for r := range values {
		for i := range indices {
			indices[i] = random.IntN(n)
		}
		values[r] = statistic(indices)
	}
	if err := checkNumbers("the statistic of resample", values); err != nil {
		return Interval{}, err
	}
	slices.Sort(values)
	return Interval{quantile(values, (1-confidence)/2), quantile(values, (1+confidence)/2)}, nil
}

// quantile interpolates linearly between the order statistics around (n-1) q.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := min(int(at), len(sorted)-1)
	low, high := sorted[i], sorted[min(i+1, len(sorted)-1)]
	if low == high { // also where both are infinite
		return low
	}
	return low + (at-float64(i))*(high-low)
}

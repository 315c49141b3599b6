package sdm

import (
	"context"
	"flag"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var long = flag.Bool("credence.long", false, "also run the studies over 50 seeds")

// seeds is how many models a study trains.
func seeds(t *testing.T) uint64 {
	switch {
	case *long:
		return 50
	case !hasCPU(t) || testing.Short():
		return 2
	}
	return 4
}

// tally counts accepted rows and the right ones among them, by class, and adds up how probable the predictions were.
type tally struct {
	rows, accepted, right []int
	posterior             float64
}

func newTally(classes int) *tally {
	return &tally{rows: make([]int, classes), accepted: make([]int, classes), right: make([]int, classes)}
}

func (c *tally) add(class int, accepted, right bool, posterior float64) {
	c.rows[class]++
	if accepted {
		c.accepted[class]++
		c.posterior += posterior
		if right {
			c.right[class]++
		}
	}
}

// posterior is the probability of a prediction, known because the mixture is: classes at 1.5 and -1.5 of feature 0, with
// unit noise.
func posterior(x []float32, prediction int) float64 {
	p := 1 / (1 + math.Exp(-3*float64(x[0])))
	if prediction == 1 {
		return 1 - p
	}
	return p
}

// sum is over all classes.
func (c *tally) sum() (rows, accepted, right int) {
	for i := range c.rows {
		rows, accepted, right = rows+c.rows[i], accepted+c.accepted[i], right+c.right[i]
	}
	return rows, accepted, right
}

// holds demands that the accuracy of the accepted rows of every class reaches alpha, but for three standard errors.
func (c *tally) holds(t *testing.T, alpha float64, what string) {
	for class, n := range c.accepted {
		if n == 0 {
			continue // nothing is claimed
		}
		slack := 3 * math.Sqrt(alpha*(1-alpha)/float64(n))
		assert.GreaterOrEqual(t, float64(c.right[class])/float64(n), alpha-slack, "%s, class %d: %d of %d right", what, class, c.right[class], n)
	}
}

func (c *tally) String() string {
	var cells []string
	for class, n := range c.accepted {
		if n == 0 {
			cells = append(cells, "none")
			continue
		}
		cells = append(cells, fmt.Sprintf("%.4f of %d", float64(c.right[class])/float64(n), n))
	}
	rows, accepted, _ := c.sum()
	if accepted == 0 {
		return "nothing is accepted"
	}
	return fmt.Sprintf("accepted %.4f; right by class: %s; mean posterior %.4f", float64(accepted)/float64(rows), strings.Join(cells, ", "), c.posterior/float64(accepted))
}

// studyModel is trained on the mixture of the studies. Its classes overlap: the best classifier there is errs in 7 %.
func studyModel(t *testing.T, seed uint64) *Model {
	t.Helper()
	rt := openTest(t)
	const n = 600
	train, calibration := mixture(n, 6, 2, .75, 0, 1000+seed), mixture(n, 6, 2, .75, 0, 2000+seed)
	o := TrainOptions{Epochs: 5, Batch: 32, LearningRate: 3e-3, Seed: seed}
	m, err := Train(context.Background(), rt, Config{Dimension: 6, Classes: 2, ExemplarDimension: 8, MaxNeighbors: 300, AlphaResolution: .05}, train, calibration, o)
	require.NoError(t, err)
	return m
}

// Of the rows that any region of at least alpha accepts, a share of at least alpha is right, for every true class. What
// is claimed by predicted class is only reported.
func TestStudyAcceptedRowsAreRight(t *testing.T) {
	alphas := []float64{.95, .9, .85}
	centroid, lower, predicted := map[float64]*tally{}, map[float64]*tally{}, map[float64]*tally{}
	for _, a := range alphas {
		centroid[a], lower[a], predicted[a] = newTally(2), newTally(2), newTally(2)
	}
	right, rows := 0, 0
	for seed := range seeds(t) {
		m := studyModel(t, seed)
		data := mixture(2000, 6, 2, .75, 0, 3000+seed)
		for i, s := range scoreAll(t, m, data) {
			ok, p := s.Prediction == s.Label, posterior(data.Features[i*6:], s.Prediction)
			if rows++; ok {
				right++
			}
			for _, a := range alphas {
				centroid[a].add(s.Label, s.CentroidAlpha >= a, ok, p)
				lower[a].add(s.Label, s.LowerAlpha >= a, ok, p)
				predicted[a].add(s.Prediction, s.CentroidAlpha >= a, ok, p)
			}
		}
		m.Close()
	}
	t.Logf("%d models, accuracy without rejection %.4f of %d", seeds(t), float64(right)/float64(rows), rows)
	for _, a := range alphas {
		t.Logf("alpha %.2f, centroid by true class: %v", a, centroid[a])
		t.Logf("alpha %.2f, centroid by prediction: %v", a, predicted[a])
		t.Logf("alpha %.2f, lower by true class:    %v", a, lower[a])
		centroid[a].holds(t, a, fmt.Sprintf("alpha %v, centroid", a))
		lower[a].holds(t, a, fmt.Sprintf("alpha %v, lower", a))
	}
	_, accepted, _ := centroid[.9].sum()
	assert.Positive(t, accepted, "the study accepts nothing and so proves nothing")
}

// Under covariate shift (all features but the one by which the classes differ move, so that the posterior does not) less is accepted, and what is accepted is right as often as promised.
func TestStudyCovariateShift(t *testing.T) {
	shifts := []float64{0, 1, 2, 4, 8}
	at := map[float64]*tally{}
	for _, s := range shifts {
		at[s] = newTally(2)
	}
	for seed := range seeds(t) {
		m := studyModel(t, seed)
		for _, shift := range shifts {
			data := mixture(1000, 6, 2, .75, 0, 4000+seed)
			for i := range data.Features {
				if i%6 != 0 { // the classes differ along feature 0
					data.Features[i] += float32(shift / math.Sqrt(5))
				}
			}
			for i, s := range scoreAll(t, m, data) {
				at[shift].add(s.Label, s.CentroidAlpha >= .9, s.Prediction == s.Label, posterior(data.Features[i*6:], s.Prediction))
			}
		}
		m.Close()
	}
	last := math.Inf(1)
	for _, shift := range shifts {
		t.Logf("alpha 0.90, shift by %v standard deviations: %v", shift, at[shift])
		at[shift].holds(t, .9, fmt.Sprintf("shift %v", shift))
		rows, accepted, _ := at[shift].sum()
		share := float64(accepted) / float64(rows)
		assert.LessOrEqual(t, share, last+.01, "shift %v", shift)
		last = share
	}
	assert.Less(t, last, .01)
}

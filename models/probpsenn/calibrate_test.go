package probpsenn

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shareFlagged is the share of predictions that a calibration calls unfamiliar.
func shareFlagged(out []Prediction) float64 { return sharesOf(out).Unfamiliar }

// Of fresh inputs like those of training 5 % are called unfamiliar. With n held-out inputs of a class the share itself
// varies with them, by the beta law of the rank: standard deviation sqrt(.05 .95 / n).
func TestFreshInputsAreFlaggedAtTheStatedRate(t *testing.T) {
	const held, fresh = 3000, 9000
	c := vectorConfig(4, 4)
	c.HoldOut, c.Epochs = .75, 1
	m := trainToy(t, openToy(t), c, toyVectors(4*held/3, 4, 4, 1))
	require.Equal(t, held, m.Calibration.N)
	out := predictAll(t, m, PredictorOptions{MaxBatch: 512}, toyVectors(fresh, 4, 4, 2).Pixels)
	deviation := math.Sqrt(.05 * .95 * (1./held + 1./fresh))
	t.Logf("%.4f +- %.4f", shareFlagged(out), deviation)
	assert.InDelta(t, unfamiliarShare, shareFlagged(out), 4*deviation)
}

// drawn are predictions with correlated, skewed scores, the same law for every call.
func drawn(r *rand.Rand, n, classes int, out []Prediction) []Prediction {
	for range n {
		base := r.NormFloat64()
		score := func(scale float64) float64 { return scale * math.Exp(.5*base+.5*r.NormFloat64()) }
		p := Prediction{Label: r.IntN(classes), PredictiveEntropy: score(.01)}
		p.Scores = Scores{Distance: score(3), Mahalanobis: score(40), Reconstruction: score(.01)}
		out = append(out, p)
	}
	return out
}

// The rate holds on average over calibrations however small. A rank among few held-out inputs is coarse, so the rate may
// be lower; and the combination is ranked on the very inputs that it was made of, which must not be seen in the rate.
func TestRateOfSmallCalibrations(t *testing.T) {
	c := Config{Classes: 3}
	r := rand.New(rand.NewPCG(5, 6))
	s := &scratch{order: make([]int, 3)}
	for _, held := range []int{60, 240, 1200} {
		repeats, fresh := fewer(400, 100), 200
		var shares []float64
		mean := 0.0
		for range repeats {
			calibration, err := newCalibration(&c, drawn(r, held, 3, nil))
			require.NoError(t, err)
			require.NoError(t, calibration.check(&c))
			out := drawn(r, fresh, 3, nil)
			for i := range out {
				out[i].Probabilities = []float64{1, 0, 0}
				calibration.judge(&out[i], s)
			}
			shares = append(shares, shareFlagged(out))
			mean += shareFlagged(out) / float64(repeats)
		}
		variance := 0.0
		for _, v := range shares {
			variance += (v - mean) * (v - mean) / float64(repeats-1)
		}
		sigma := math.Sqrt(variance / float64(repeats))
		t.Logf("%d held out: %.4f +- %.4f flagged", held, mean, sigma)
		assert.Less(t, mean, unfamiliarShare+4*sigma)
		assert.Greater(t, mean, .02)
	}
}

// Where every answer is certain the entropies are all but zero; scores are numbers all the same.
func TestCertainAnswers(t *testing.T) {
	mean := make([]float64, 3)
	for _, samples := range [][]float32{{1, 0, 0}, {1, 0, 0, 1, 0, 0}, {.999999, 5e-7, 5e-7}} {
		predictive, aleatoric := summarize(mean, samples)
		assert.GreaterOrEqual(t, predictive, 0.)
		assert.GreaterOrEqual(t, aleatoric, 0.)
	}
	var out []Prediction
	r := rand.New(rand.NewPCG(1, 1))
	for i, p := range drawn(r, 100, 1, nil) {
		p.PredictiveEntropy = 0
		if i%30 == 0 {
			p.PredictiveEntropy = 1e-5
		}
		p.Scores.Reconstruction = 0 // a set of equal scores, too
		out = append(out, p)
	}
	c := Config{Classes: 2}
	calibration, err := newCalibration(&c, out)
	require.NoError(t, err)
	require.NoError(t, calibration.check(&c))
	s := &scratch{order: make([]int, 2)}
	for _, p := range append(out, Prediction{PredictiveEntropy: .7, Scores: Scores{Distance: 1e30, Mahalanobis: 1e30, Reconstruction: 4}}) {
		p.Probabilities = []float64{1, 0}
		calibration.judge(&p, s)
		for _, v := range []float64{p.Scores.Combined, p.Scores.Unfamiliarity, p.Scores.Ambiguity, p.Scores.ExplanationPercentile} {
			require.False(t, math.IsNaN(v) || math.IsInf(v, 0), "%+v", p.Scores)
		}
	}
}

func TestSurprise(t *testing.T) {
	var sorted []float64
	for i := range 200 {
		sorted = append(sorted, float64(i+1))
	}
	last := -1.0
	for _, x := range []float64{0, 1, 1.5, 100, 180, 181, 190, 200, 250, 1e3, 1e6, 1e30} { // rises from 0, without end
		v := surprise(sorted, x)
		assert.Greater(t, v, last-1e-12, "%v", x)
		last = v
	}
	assert.Zero(t, surprise(sorted, 0))
	assert.Greater(t, surprise(sorted, 1e6), 2*surprise(sorted, 250))
	assert.GreaterOrEqual(t, surprise(sorted, math.NaN()), surprise(sorted, 1e300))
	for i, x := range sorted { // a member is compared with the others, as if it had come later
		others := slices.Delete(slices.Clone(sorted), i, i+1)
		assert.InDelta(t, surprise(others, x), surpriseAmong(sorted, x, true), 1e-12)
	}
	assert.InDelta(t, 0, percentile(sorted, 1), 0)
	assert.InDelta(t, 200./201, percentile(sorted, 201), 1e-15)
	assert.InDelta(t, 200./201, percentile(sorted, math.NaN()), 1e-15)
	assert.True(t, flagged(.95, .05))
	assert.False(t, flagged(.9499, .05))
}

func TestCalibrationNeedsInputs(t *testing.T) {
	m := trainToy(t, openToy(t), vectorConfig(2, 2), toyVectors(100, 2, 2, 1))
	old := m.Calibration
	require.NotNil(t, old)
	few := toyVectors(19, 2, 2, 2)
	assert.EqualError(t, m.Calibrate(context.Background(), few, nil), "prob-psenn: 19 held-out inputs; calibration needs at least 20")
	assert.NoError(t, m.Calibrate(context.Background(), toyVectors(20, 2, 2, 2), nil))
	assert.Equal(t, 20, m.Calibration.N)
}

package metrics

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReference(t *testing.T) {
	r, err := NewReference([]float64{3, 1, 2, 2})
	require.NoError(t, err)
	assert.Equal(t, []float64{1, 2, 2, 3}, r.Scores())
	assert.Equal(t, .25, r.Percentile(2), "golden value G4: strictly smaller")
	for score, smaller := range map[float64]float64{math.Inf(-1): 0, 1: 0, 1.5: 1, 2: 1, 2.5: 3, 3: 3, 4: 4, math.Inf(1): 4} {
		assert.Equal(t, smaller/4, r.Percentile(score))
		assert.Equal(t, smaller/5, r.Rank(score))
		assert.InDelta(t, 1-smaller/5, r.PValue(score), 1e-15)
	}
	assert.Equal(t, 1., r.Percentile(math.NaN()))
	assert.Equal(t, .2, r.PValue(math.NaN()))
	for alpha, want := range map[float64]float64{1: math.Inf(-1), .8: 1, .6: 2, .4: 2, .2: 3, .19: math.Inf(1), 0: math.Inf(1)} {
		assert.Equal(t, want, r.Threshold(alpha), "alpha %v", alpha)
	}
	_, err = NewReference(nil)
	assert.Error(t, err)
	_, err = NewReference([]float64{1, math.NaN()})
	assert.ErrorContains(t, err, "reference score 1 is NaN")
}

// Above the threshold and a small p-value are the same thing, for every size, alpha and tie.
func TestThresholdAgreesWithPValue(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for n := 1; n <= 120; n++ {
		scores := make([]float64, n)
		for i := range scores {
			scores[i] = float64(random.IntN(2 * n))
		}
		r, err := NewReference(scores)
		require.NoError(t, err)
		for _, alpha := range []float64{.01, .05, .1, .2, .25, .5, 1. / 3} {
			for score := -.5; score < float64(2*n)+1; score += .5 {
				require.Equal(t, r.PValue(score) <= alpha+1e-12, score > r.Threshold(alpha), "n %d alpha %v score %v", n, alpha, score)
			}
		}
	}
}

// Of exchangeable scores at most alpha is flagged, and nearly alpha.
func TestThresholdKeepsItsPromise(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{19, 50, 999} {
		flagged, trials := 0, 40_000
		scores := make([]float64, n)
		for range trials * 20 / (20 + n) {
			for i := range scores {
				scores[i] = random.ExpFloat64()
			}
			r, err := NewReference(scores)
			require.NoError(t, err)
			if random.ExpFloat64() > r.Threshold(.05) {
				flagged++
			}
		}
		trials = trials * 20 / (20 + n)
		interval, err := ClopperPearson(flagged, trials, .9999)
		require.NoError(t, err)
		exact := math.Floor(.05*float64(n+1)+1e-9) / float64(n+1)
		assert.True(t, interval.Low <= exact && exact <= interval.High, "n %d: %v, want %v", n, interval, exact)
	}
}

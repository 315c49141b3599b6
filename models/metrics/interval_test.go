package metrics

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Golden values from scipy 1.17.1, binomtest(k, n).proportion_ci with the methods wilson and exact.
func TestProportionsAgainstSciPy(t *testing.T) {
	for _, c := range []struct {
		k, n                   int
		confidence             float64
		wilson, clopperPearson Interval
	}{
		{0, 10, .95, Interval{0, .27753279986288926}, Interval{0, .30849710781876294}},
		{10, 10, .95, Interval{.7224672001371109, 1}, Interval{.6915028921812371, 1}},
		{1, 10, .95, Interval{.017876213095072896, .4041500267952385}, Interval{.0025285785444625728, .44501611702819543}},
		{95, 2000, .95, Interval{.03901402059617837, .05772090719335554}, Interval{.038597546324422825, .05775700265037038}},
		{9750, 10000, .99, Interval{.9706525546452427, .9787175481079706}, Interval{.970695984140819, .9788445656360388}},
		{37, 50, .9, Interval{.6275387029219314, .8278213679006591}, Interval{.6187364440267683, .8388254034692193}},
	} {
		got, err := Wilson(c.k, c.n, c.confidence)
		require.NoError(t, err)
		assert.InDelta(t, c.wilson.Low, got.Low, 1e-12)
		assert.InDelta(t, c.wilson.High, got.High, 1e-12)
		got, err = ClopperPearson(c.k, c.n, c.confidence)
		require.NoError(t, err)
		assert.InDelta(t, c.clopperPearson.Low, got.Low, 1e-10)
		assert.InDelta(t, c.clopperPearson.High, got.High, 1e-10)
	}
	for _, f := range []func(k, n int, confidence float64) (Interval, error){Wilson, ClopperPearson} {
		for _, bad := range [][2]int{{-1, 5}, {6, 5}, {0, 0}} {
			_, err := f(bad[0], bad[1], .95)
			assert.ErrorContains(t, err, "want 0..trials")
		}
		for _, bad := range []float64{0, 1, 95, math.NaN()} {
			_, err := f(1, 2, bad)
			assert.ErrorContains(t, err, "confidence level")
		}
	}
}

func TestBootstrap(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	values := make([]float64, 400)
	for i := range values {
		values[i] = random.NormFloat64()
	}
	average := func(indices []int) float64 {
		sum := 0.
		for _, i := range indices {
			sum += values[i]
		}
		return sum / float64(len(indices))
	}
	a, err := Bootstrap(len(values), 2000, 7, .95, average)
	require.NoError(t, err)
	b, err := Bootstrap(len(values), 2000, 7, .95, average)
	require.NoError(t, err)
	assert.Equal(t, a, b)
	// the mean of normal values has a known interval; 2000 resamples know its ends to about 4 % of its width
	m, variance := mean(values), 0.
	for _, v := range values {
		variance += (v - m) * (v - m) / 400
	}
	half := 1.96 * math.Sqrt(variance/400)
	assert.InDelta(t, m-half, a.Low, .16*half)
	assert.InDelta(t, m+half, a.High, .16*half)

	constant, err := Bootstrap(3, 10, 1, .9, func([]int) float64 { return math.Inf(1) })
	require.NoError(t, err)
	assert.Equal(t, Interval{math.Inf(1), math.Inf(1)}, constant)
	_, err = Bootstrap(3, 10, 1, .9, func([]int) float64 { return math.NaN() })
	assert.ErrorContains(t, err, "resample 0 is NaN")
	_, err = Bootstrap(0, 10, 1, .9, average)
	assert.Error(t, err)
	_, err = Bootstrap(3, 10, 1, 1, average)
	assert.Error(t, err)
}

// numpy.quantile([1, 2, 4, 8], q), its default method.
func TestQuantile(t *testing.T) {
	for q, want := range map[float64]float64{0: 1, .25: 1.75, .5: 3, .9: 6.8, 1: 8} {
		assert.InDelta(t, want, quantile([]float64{1, 2, 4, 8}, q), 1e-15)
	}
	assert.Equal(t, 5., quantile([]float64{5}, .3))
}

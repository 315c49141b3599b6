package metrics

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func kde(t *testing.T, sample ...float64) KDE {
	k, err := NewKDE(sample)
	require.NoError(t, err)
	return k
}

// twoSamples is what follows the 500 examples in the generator's sequence.
func twoSamples() (a, b []float64) {
	g := generator(12345)
	for range 500 * 5 {
		g.next()
	}
	for range 50 {
		a = append(a, float64(g.next()%1000)/10)
	}
	for range 50 {
		b = append(b, float64(g.next()%1000)/10+30)
	}
	return a, b
}

// Golden values from scipy 1.17.1's gaussian_kde.
func TestOverlapAgainstSciPy(t *testing.T) {
	a, b := kde(t, 1, 2, 3, 4), kde(t, 3, 4, 5, 6)
	assert.InDelta(t, .9783908366109096, a.Bandwidth(), 1e-15)
	o := NewOverlapper(10_000)
	assert.InDelta(t, .53396403, o.Overlap(a, b), 5e-9, "golden value G3")
	assert.InDelta(t, .5339640304026547, o.Overlap(a, b), 1e-13)
	assert.Equal(t, o.Overlap(a, b), o.Overlap(b, a))

	x, y := twoSamples()
	require.Equal(t, []float64{21.9, 58.5, 70.4}, x[:3])
	assert.InDelta(t, .6521603015196142, o.Overlap(kde(t, x...), kde(t, y...)), 1e-12)
	assert.InDelta(t, .6521605064359521, NewOverlapper(1000).Overlap(kde(t, x...), kde(t, y...)), 1e-12)
	for at, want := range map[float64]float64{-5: .0033575242393559545, 0: .005368320742719555, 33.3: .010830826883653763,
		99.9: .004281353493838289, 120: .000431322412415066} {
		var got [1]float64
		kde(t, x...).Density(got[:], at, 1)
		assert.InEpsilon(t, want, got[0], 1e-13)
	}
	// a sum with a much finer grid, since the grid of the paper has no point between these values
	assert.InDelta(t, .7254135518790729, o.Overlap(kde(t, 5, 5.0001, 5.0002, 5.00035), kde(t, 5.0001, 5.0002, 5.0004, 5.0005)), 1e-6)
}

// The recurrence against an exponential for every point and kernel, on grids that begin, end and lie anywhere.
func TestDensityAgainstItsDefinition(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 9))
	for range 50 {
		sample := make([]float64, 2+random.IntN(20))
		for i := range sample {
			sample[i] = 10 * random.NormFloat64()
		}
		k := kde(t, sample...)
		low, step := 40*random.NormFloat64(), math.Exp(-6*random.Float64())
		got := make([]float64, 1+random.IntN(3000))
		k.Density(got, low, step)
		for i, v := range got {
			want := 0.
			for _, s := range sample {
				d := (low + float64(i)*step - s) / k.Bandwidth()
				want += math.Exp(-d*d/2) / (float64(len(sample)) * k.Bandwidth() * math.Sqrt(2*math.Pi))
			}
			require.InDelta(t, want, v, 3e-12*want+1e-17, "point %d", i)
		}
	}
}

func TestOverlapAtItsLimits(t *testing.T) {
	o := NewOverlapper(1000)
	assert.Equal(t, 1., o.Overlap(kde(t, 5), kde(t, 5, 5, 5)), "the same point mass")
	assert.Equal(t, 0., o.Overlap(kde(t, 5), kde(t, 6)))
	assert.Equal(t, 0., o.Overlap(kde(t, 5), kde(t, 4, 6)))
	assert.Equal(t, 0., o.Overlap(kde(t, 1, 2, 3), kde(t, 1e6, 1e6+1)))
	same := kde(t, 10, 11, 14)
	assert.InDelta(t, 1, o.Overlap(same, same), 1e-6)
	tiny := kde(t, 1000, 1000+1e-9)
	assert.InDelta(t, 1, o.Overlap(tiny, tiny), 1e-4, "1000 has only 13 digits left for the bandwidth")
	huge := kde(t, 1e16, 1e16+2)
	assert.InDelta(t, .5, o.Overlap(huge, huge), .5, "and here none, but still an overlap")
	assert.InDelta(t, 1, o.Overlap(kde(t, -1000, -999), kde(t, -1000, -999)), 1e-6, "left of the paper's grid")
	assert.InDelta(t, 0, o.Overlap(tiny, kde(t, 900, 1100)), 1e-6)

	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		_, err := NewKDE([]float64{1, bad})
		assert.ErrorContains(t, err, "value 1 of the sample is")
	}
	_, err := NewKDE(nil)
	assert.Error(t, err)
}

func TestMaxOverlap(t *testing.T) {
	o := NewOverlapper(10_000)
	samples := [][]float64{{1, 2, 3, 4}, {30, 31, 33}, {3, 4, 5, 6}, {8, 9, 11}}
	overlap, competitor, err := o.Max(samples, 0)
	require.NoError(t, err)
	assert.InDelta(t, .53396403, overlap, 5e-9)
	assert.Equal(t, 2, competitor)
	overlap, competitor, err = o.Max([][]float64{{1}, {2}, {3}}, 1)
	require.NoError(t, err)
	assert.Equal(t, 0., overlap)
	assert.Equal(t, 0, competitor)
	for _, class := range []int{-1, 4} {
		_, _, err = o.Max(samples, class)
		assert.Error(t, err)
	}
	_, _, err = o.Max(samples[:1], 0)
	assert.Error(t, err)
	_, _, err = o.Max([][]float64{{1}, {math.NaN()}}, 0)
	assert.ErrorContains(t, err, "class 1: value 0")
	_, _, err = o.Max([][]float64{{1}, {math.NaN()}}, 1)
	assert.ErrorContains(t, err, "class 1: value 0")
	assert.Zero(t, testing.AllocsPerRun(10, func() { o.Max(samples, 0) }))
}

func BenchmarkMaxOverlap(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 1))
	samples := make([][]float64, 10)
	for k := range samples {
		for range 50 {
			samples[k] = append(samples[k], float64(40+20*k)+10*random.NormFloat64())
		}
	}
	for name, points := range map[string]int{"10000": 10_000, "1000": 1000} {
		b.Run(name, func(b *testing.B) {
			o := NewOverlapper(points)
			for b.Loop() {
				o.Max(samples, 0)
			}
		})
	}
}

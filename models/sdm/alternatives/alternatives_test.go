package alternatives

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// generator is the one that the reference program used.
type generator uint64

func (g *generator) next() float64 {
	*g = *g*6364136223846793005 + 1442695040888963407
	return float64(*g>>40)/(1<<24)*2 - 1
}

const features, classes = 4, 3

// mixture is n rows in turn of three classes.
func mixture(g *generator, n int) Data {
	var d Data
	for i := range n {
		class := i % classes
		d.Labels = append(d.Labels, int32(class))
		for j := range features {
			v := g.next()
			if (class+j)%classes == 0 {
				v += .8 * float64(j+1)
			}
			d.X = append(d.X, float32(v))
		}
	}
	return d
}

// The values are from scikit-learn 1.9 (LogisticRegression with C = 1, NearestNeighbors, empirical_covariance) and SciPy
// 1.17 (minimize_scalar), on the same rows.
func TestAgainstScikitLearn(t *testing.T) {
	text, err := os.ReadFile("testdata/scikit-learn.json")
	require.NoError(t, err)
	var want struct {
		Probabilities           [][]float64
		Temperature             float64
		Kth, Mahalanobis, Trust []float64
	}
	require.NoError(t, json.Unmarshal(text, &want))
	g := generator(12345)
	training, calibration, test := mixture(&g, 60), mixture(&g, 30), mixture(&g, 12)
	for i := 0; i < 30; i += 7 { // wrong ones, or no temperature would be low enough
		calibration.Labels[i] = (calibration.Labels[i] + 1) % classes
	}
	f, err := Fit(training, calibration, features, classes)
	require.NoError(t, err)
	b, err := f.batch(test)
	require.NoError(t, err)
	assert.InDeltaSlice(t, slices.Concat(want.Probabilities...), b.probabilities, 1e-5)
	assert.InDelta(t, want.Temperature, f.temperature, 1e-4)
	scored, err := f.Score(test)
	require.NoError(t, err)
	require.Equal(t, []string{"softmax", "temperature scaling", "conformal sets (APS)", "k-NN distance", "Mahalanobis", "trust score"}, names(scored))
	for i, values := range map[int][]float64{3: negated(want.Kth), 4: negated(want.Mahalanobis), 5: want.Trust} {
		assert.InDeltaSlice(t, values, scored[i].Scores, 1e-9, scored[i].Name)
	}
	for i, p := range want.Probabilities {
		assert.Equal(t, slices.Index(p, slices.Max(p)), scored[0].Predictions[i])
		assert.InDelta(t, slices.Max(p), scored[0].Scores[i], 1e-5)
	}
}

func names(scored []*Scored) (list []string) {
	for _, s := range scored {
		list = append(list, s.Name)
	}
	return list
}

func TestLowestThreshold(t *testing.T) {
	scores := []float64{.9, .8, .8, .7, .6, .5}
	labels := []int32{0, 1, 0, 1, 0, 1}
	predictions := []int{0, 1, 0, 0, 0, 1}
	for _, c := range []struct {
		alpha, threshold float64
		found            bool
	}{
		{1, .8, true},      // the one wrong row, a 1 with score .7, stays out
		{2. / 3, .5, true}, // with it two of three rows of class 1 are right
		{.67, .8, true},
	} {
		threshold, found := lowestThreshold(scores, predictions, labels, 2, c.alpha)
		assert.Equal(t, c.found, found)
		assert.Equal(t, c.threshold, threshold, "alpha %v", c.alpha)
	}
	_, found := lowestThreshold(scores, []int{1, 0, 1, 0, 1, 0}, labels, 2, .6)
	assert.False(t, found, "nothing is right")
	_, found = lowestThreshold(scores[:1], predictions[:1], labels[:1], 2, .6)
	assert.False(t, found, "class 1 has no rows")
	threshold, found := lowestThreshold([]float64{1, 1}, []int{0, 0}, []int32{0, 1}, 2, .6)
	assert.False(t, found, "equal scores come together: %v", threshold)
}

// Over many draws, conformal sets of all sizes hold the label at the rate they promise.
func TestConformalSetsKeepTheirPromise(t *testing.T) {
	g := generator(7)
	covered, n := 0, 0
	for range 300 {
		draw := func(rows int) (b *batch, labels []int32) {
			b = &batch{n: rows}
			for range rows {
				p := []float64{math.Abs(g.next()), math.Abs(g.next()), math.Abs(g.next())}
				sum := p[0] + p[1] + p[2]
				u, label := math.Abs(g.next())*sum, 0
				for label < 2 && u >= p[label] {
					u -= p[label]
					label++
				}
				for i := range p {
					p[i] /= sum
				}
				b.probabilities, labels = append(b.probabilities, p...), append(labels, int32(label))
			}
			return b, labels
		}
		calibration, labels := draw(99)
		c := newConformal(calibration, labels, 3)
		limit, ok := c.limit(.8)
		require.True(t, ok)
		test, labels := draw(50)
		scores := newConformal(test, labels, 3).calibration // of the labels: covered where they do not exceed the limit
		for _, s := range scores {
			if s <= limit {
				covered++
			}
			n++
		}
	}
	assert.InDelta(t, .8, float64(covered)/float64(n), .012)
}

func TestConformalByHand(t *testing.T) {
	c := &conformal{calibration: []float64{.1, .3, .5, .9}, first: []float64{.2, .6, .2}, second: []float64{.7, .9, .4}}
	limit, ok := c.limit(.6)
	assert.True(t, ok)
	assert.Equal(t, .5, limit, "the third of four: ceil(.6 x 5)")
	assert.True(t, c.single(0, limit))
	assert.False(t, c.single(1, limit), "an empty set")
	assert.False(t, c.single(2, limit), "two labels")
	_, ok = c.limit(.9)
	assert.False(t, ok, "four rows are too few for nine in ten")
}

// On easy data every method accepts most, and what it accepts is right at the rate asked for.
func TestMethodsKeepAlpha(t *testing.T) {
	g := generator(3)
	training, calibration, test := mixture(&g, 600), mixture(&g, 600), mixture(&g, 3000)
	logits := func(d *Data) {
		for _, label := range d.Labels {
			for c := range classes {
				z := g.next()
				if c == int(label) {
					z += 1.5
				}
				d.Logits = append(d.Logits, float32(z))
			}
		}
	}
	logits(&calibration)
	logits(&test)
	f, err := Fit(training, calibration, features, classes)
	require.NoError(t, err)
	scored, err := f.Score(test)
	require.NoError(t, err)
	require.Len(t, scored, 7)
	for i, s := range scored {
		accepted, _, reached := f.Accept(i, s, .95)
		require.True(t, reached, s.Name)
		n, right := make([]int, classes), make([]int, classes)
		for row, ok := range accepted {
			if label := test.Labels[row]; ok {
				n[label]++
				if s.Predictions[row] == int(label) {
					right[label]++
				}
			}
		}
		for c := range classes {
			require.Greater(t, n[c], 100, s.Name)
			assert.Greater(t, float64(right[c])/float64(n[c]), .92, "%s class %d of %d", s.Name, c, n[c])
		}
	}
	test.Logits = nil
	_, err = f.Score(test)
	assert.ErrorContains(t, err, "these rows have none")
}

func TestFitRefuses(t *testing.T) {
	g := generator(1)
	good := mixture(&g, 30)
	_, err := Fit(good, good, features, 4)
	assert.ErrorContains(t, err, "training rows: class 3 has none")
	_, err = Fit(good, Data{X: good.X, Labels: good.Labels[1:]}, features, classes)
	assert.ErrorContains(t, err, "calibration rows: 120 feature values")
	_, err = Fit(good, good, 0, classes)
	assert.Error(t, err)
	odd := mixture(&g, 30)
	odd.Labels[0], odd.Labels[1] = -1, -99
	f, err := Fit(odd, odd, features, classes)
	require.NoError(t, err)
	assert.Len(t, f.labels, 28, "labels that are no class are left out")
	constant := mixture(&g, 30)
	for i := 0; i < len(constant.X); i += features {
		constant.X[i], constant.X[i+1] = 3, constant.X[i+2]
	}
	f, err = Fit(constant, constant, features, classes)
	require.NoError(t, err, "a constant feature and a copied one")
	scored, err := f.Score(constant)
	require.NoError(t, err)
	for _, s := range scored {
		for _, v := range s.Scores {
			require.False(t, math.IsNaN(v), s.Name)
		}
	}
}

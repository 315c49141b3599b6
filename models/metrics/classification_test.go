package metrics

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// generator is the linear congruential generator of the C standard's example, so that the Python scripts that made the
// golden values could make the same data.
type generator uint32

func (g *generator) next() int {
	*g = (*g*1103515245 + 12345) & (1<<31 - 1)
	return int(*g >> 8)
}

// example is 500 answers of an overconfident classifier with 4 classes and many equal confidences.
func example() (probabilities []float64, labels []int32) {
	g := generator(12345)
	for range 500 {
		var row [4]float64
		sum, best := 0., 0
		for k := range row {
			row[k] = float64(g.next()%16 + 1)
			if row[k] > row[best] {
				best = k
			}
		}
		label := g.next() % 5
		if label == 4 {
			label = best
		}
		row[best] *= 4
		for _, v := range row {
			sum += v
		}
		for _, v := range row {
			probabilities = append(probabilities, v/sum)
		}
		labels = append(labels, int32(label))
	}
	return probabilities, labels
}

// Golden values from scikit-learn 1.9.1 (accuracy_score, log_loss, brier_score_loss with scale_by_half=False,
// roc_auc_score) and, for ECE, numpy.digitize on linspace(0, 1, bins+1) closed on the right.
func TestClassificationAgainstScikitLearn(t *testing.T) {
	probabilities, labels := example()
	c, err := NewClassification(probabilities, 4, labels)
	require.NoError(t, err)
	assert.InDelta(t, .402, c.Accuracy(), 1e-15)
	assert.InDelta(t, 1.615910704041076, c.NLL(), 1e-13)
	assert.InDelta(t, .8543397986999253, c.Brier(), 1e-13)
	assert.InDelta(t, .3208613629391869, c.ECE(15), 1e-13)
	assert.InDelta(t, .3208613629391868, c.ECE(10), 1e-13)
	var counts []int
	for _, b := range c.Reliability(15) {
		counts = append(counts, b.Count)
	}
	assert.Equal(t, []int{0, 0, 0, 0, 0, 0, 0, 0, 9, 102, 189, 143, 46, 10, 1}, counts)
	// the mean of 20000 random orders of the equal confidences; its standard error is 3.4e-6
	assert.InDelta(t, .5476119370913567, c.AURC(), 1.4e-5)

	var right, wrong, entropyRight, entropyWrong []float64
	for i, ok := range c.Correct {
		entropy := 0.
		for _, p := range probabilities[4*i : 4*i+4] {
			entropy -= p * math.Log(p)
		}
		if ok {
			right, entropyRight = append(right, c.Confidence[i]), append(entropyRight, entropy)
		} else {
			wrong, entropyWrong = append(wrong, c.Confidence[i]), append(entropyWrong, entropy)
		}
	}
	area, err := AUROC(wrong, right)
	require.NoError(t, err)
	assert.InDelta(t, .5553336993959966, area, 1e-13)
	area, err = AUROC(entropyRight, entropyWrong)
	require.NoError(t, err)
	assert.InDelta(t, .5595434200236277, area, 1e-13)

	narrow := make([]float32, len(probabilities))
	for i, p := range probabilities {
		narrow[i] = float32(p)
	}
	c32, err := NewClassification(narrow, 4, labels)
	require.NoError(t, err)
	assert.Equal(t, c.Predicted, c32.Predicted)
	assert.InDelta(t, c.NLL(), c32.NLL(), 1e-6)
}

func TestClassificationByHand(t *testing.T) {
	c, err := NewClassification([]float64{.5, .5, 0, 0, 0, 1, 1, 0, 0}, 3, []int32{1, 2, 1})
	require.NoError(t, err)
	assert.Equal(t, []int{0, 2, 0}, c.Predicted, "the lowest of equals")
	assert.Equal(t, []bool{false, true, false}, c.Correct)
	assert.InDelta(t, 1./3, c.Accuracy(), 1e-15)
	assert.InDelta(t, (math.Ln2-math.Log(ProbabilityFloor))/3, c.NLL(), 1e-12)
	assert.InDelta(t, (.5+0+2)/3, c.Brier(), 1e-15)
	assert.Equal(t, []Bin{{0, .5, 1, .5, 0}, {.5, 1, 2, 1, .5}}, c.Reliability(2), "0.5 belongs to the lower bin")
	assert.InDelta(t, .5/3+.5*2/3, c.ECE(2), 1e-15)
	assert.Equal(t, []CoveragePoint{{1, 2. / 3, .5}, {.5, 1, 2. / 3}}, c.RiskCoverage())
	assert.InDelta(t, (.5+.5+2./3)/3, c.AURC(), 1e-15)
	assert.Equal(t, 1, reliability([]float64{0}, []bool{true}, 15)[0].Count, "0 belongs to the first bin")
}

func TestClassificationRefuses(t *testing.T) {
	for want, c := range map[string]struct {
		p       []float64
		classes int
		labels  []int32
	}{
		"0 probabilities for 0 labels":                    {nil, 2, nil},
		"3 probabilities for 2 labels of 2 classes":       {[]float64{1, 0, 1}, 2, []int32{0, 1}},
		"label 2 of example 1 is outside 0..1":            {[]float64{1, 0, 1, 0}, 2, []int32{0, 2}},
		"label -1 of example 0":                           {[]float64{1, 0}, 2, []int32{-1}},
		"probability NaN of class 1 for example 0":        {[]float64{1, math.NaN()}, 2, []int32{0}},
		"probability -0.5 of class 0":                     {[]float64{-.5, 1.5}, 2, []int32{0}},
		"the probabilities of example 1 have the sum 0.5": {[]float64{1, 0, .5, 0}, 2, []int32{0, 0}},
	} {
		_, err := NewClassification(c.p, c.classes, c.labels)
		assert.ErrorContains(t, err, want)
	}
}

// The exact mean over the 12 orders of equal confidences, enumerated.
func TestAURCOfTies(t *testing.T) {
	confidence, correct := []float64{.9, .9, .9, .5, .5, .7, .2}, []bool{true, false, true, false, true, false, true}
	for seed := range uint64(5) {
		order := rand.New(rand.NewPCG(seed, 0)).Perm(7)
		c, ok := make([]float64, 7), make([]bool, 7)
		for i, j := range order {
			c[i], ok[i] = confidence[j], correct[j]
		}
		area, err := AURC(c, ok)
		require.NoError(t, err)
		assert.InDelta(t, .4183673469387754, area, 1e-15)
	}
	curve, err := RiskCoverage(confidence, correct)
	require.NoError(t, err)
	assert.Equal(t, []CoveragePoint{{.9, 3. / 7, 1. / 3}, {.7, 4. / 7, .5}, {.5, 6. / 7, .5}, {.2, 1, 3. / 7}}, curve)
	_, err = AURC(confidence[1:], correct)
	assert.ErrorContains(t, err, "6 confidences and 7 verdicts")
	_, err = RiskCoverage([]float64{math.NaN()}, []bool{true})
	assert.ErrorContains(t, err, "confidence 0 is NaN")
	_, err = AURC(nil, nil)
	assert.Error(t, err)
}

func TestAUROC(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		negative, positive []float64
		want               float64
	}{
		{[]float64{1, 2}, []float64{3, 4}, 1}, {[]float64{3, 4}, []float64{1, 2}, 0}, {[]float64{1, 1, 1}, []float64{1, 1}, .5},
		{[]float64{1, 2, 3}, []float64{2}, .5}, {[]float64{0, 2, 2, 5}, []float64{2, 3}, (2 + 3.) / 8}, {[]float64{-inf, inf}, []float64{inf, 0}, (1.5 + 1) / 4},
	} {
		got, err := AUROC(c.negative, c.positive)
		require.NoError(t, err)
		assert.InDelta(t, c.want, got, 1e-15)
	}
	// against the definition, pair by pair
	random := rand.New(rand.NewPCG(1, 2))
	negative, positive := make([]float64, 300), make([]float64, 200)
	for i := range negative {
		negative[i] = float64(random.IntN(50))
	}
	for i := range positive {
		positive[i] = float64(random.IntN(60))
	}
	wins := 0.
	for _, p := range positive {
		for _, n := range negative {
			if p > n {
				wins++
			} else if p == n {
				wins += .5
			}
		}
	}
	got, err := AUROC(negative, positive)
	require.NoError(t, err)
	assert.InDelta(t, wins/300/200, got, 1e-14)
	_, err = AUROC(nil, positive)
	assert.ErrorContains(t, err, "0 negative and 200 positive")
	_, err = AUROC(negative, []float64{1, math.NaN()})
	assert.ErrorContains(t, err, "positive score 1 is NaN")
}

package sdm

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestVerifier(t *testing.T) {
	rt := openTest(t)
	m := toy(t, rt, nil)
	other := toy(t, rt, func(_ *Config, o *TrainOptions) { o.Seed = 8 })
	broken := errors.New("no encoder")
	encode := func(_ context.Context, seeds []uint64) ([]float32, error) {
		var x []float32
		for _, s := range seeds {
			if s == 0 {
				return nil, broken
			}
			x = append(x, mixture(3, 5, 3, 1.5, 0, s).Features...)
		}
		return x, nil
	}
	ctx := context.Background()
	v, err := NewVerifier(m, encode, VerifierOptions{Alpha: .7, Rule: Centroid, Nearest: 2})
	require.NoError(t, err)
	both, err := NewVerifier(m, encode, VerifierOptions{Alpha: .7, Rule: Centroid, Others: Ensemble{other}})
	require.NoError(t, err)
	seeds := []uint64{31, 32, 33, 34, 35, 36, 37, 38, 39, 40}
	one, err := v.Verify(ctx, seeds)
	require.NoError(t, err)
	require.Len(t, one, 30)
	two, err := both.Verify(ctx, seeds)
	require.NoError(t, err)
	accepted, agreed := 0, 0
	for i := range one {
		assert.Len(t, one[i].Nearest, 2)
		assert.Equal(t, one[i].CentroidAlpha >= .7, one[i].Accepted)
		assert.Equal(t, one[i].Accepted, one[i].Reason == ReasonNone)
		if one[i].Accepted {
			accepted++
		}
		if two[i].Accepted {
			agreed++
			assert.True(t, one[i].Accepted)
		} else if one[i].Accepted {
			assert.Equal(t, ReasonDisagreement, two[i].Reason)
		}
	}
	assert.Positive(t, agreed)
	assert.GreaterOrEqual(t, accepted, agreed)

	_, err = v.Verify(ctx, []uint64{31, 0})
	assert.ErrorIs(t, err, broken)
	_, err = NewVerifier(m, encode, VerifierOptions{Alpha: 1.5})
	assert.ErrorContains(t, err, "alpha 1.5")
	_, err = NewVerifier(m, encode, VerifierOptions{Rule: "upper"})
	assert.ErrorContains(t, err, `rule "upper"`)
}

// Every way to be rejected has its reason.
func TestReasons(t *testing.T) {
	regions := []Region{{Alpha: .9, MinimumSimilarity: 10, Thresholds: []float32{.95, .96}}, {Alpha: .8, MinimumSimilarity: 5, Thresholds: []float32{.8, .8}}}
	for _, c := range []struct {
		s    Score
		a    float64
		rule Rule
		want Reason
	}{
		{Score{QPrime: 12, D: 1, CentroidAlpha: .9}, .9, Centroid, ReasonNone},
		{Score{QPrime: 12, D: 1, CentroidAlpha: .9}, .8, Centroid, ReasonNone},
		{Score{QPrime: 12, D: 1, CentroidAlpha: .9}, .8, Lower, ReasonFewRows},
		{Score{QPrime: 12, D: 1, CentroidAlpha: .9, LowerAlpha: .8}, .8, Lower, ReasonNone},
		{Score{QPrime: 12, D: 1, CentroidAlpha: .9, LowerAlpha: .8}, .9, Lower, ReasonFewRows},
		{Score{QPrime: 0, D: 1}, .8, Centroid, ReasonUnlike},
		{Score{QPrime: 2, D: 0}, .8, Centroid, ReasonFar},
		{Score{QPrime: 4, D: .5}, .8, Centroid, ReasonSimilarity},
		{Score{QPrime: 7, D: .5, CentroidAlpha: .8}, .9, Centroid, ReasonSimilarity},
		{Score{QPrime: 7, D: .5}, .8, Lower, ReasonOutput},
		{Score{QPrime: 7, D: .5}, .95, Lower, ReasonNoRegion},
	} {
		d := decide(regions, 0, &c.s, c.a, c.rule)
		assert.Equal(t, c.want, d.Reason, "%+v", c)
		assert.Equal(t, c.want == ReasonNone, d.Accepted, "%+v", c)
	}
}

func TestEvaluate(t *testing.T) {
	rt := openTest(t)
	m := toy(t, rt, nil)
	data := mixture(300, 5, 3, 1.5, 0, 7)
	for i := range 30 {
		data.Labels[i] = []int32{Unlabeled, OutOfDistribution}[i%2]
	}
	scores := scoreAll(t, m, data)
	e, err := m.Evaluate(scores)
	require.NoError(t, err)
	assert.Equal(t, 270, e.Rows)
	assert.Equal(t, []int{15, 15}, []int{e.Unlabeled.Rows, e.OutOfDistribution.Rows})
	require.NotEmpty(t, e.Centroid.Alphas)
	for _, r := range []RuleEvaluation{e.Centroid, e.Lower} {
		before := 0
		for _, a := range r.Alphas {
			n, class, prediction := 0, 0, 0
			for _, reason := range a.Reasons {
				n += reason
			}
			for i := range a.ByTrueClass {
				class, prediction = class+a.ByTrueClass[i].Count, prediction+a.ByPrediction[i].Count
			}
			assert.Equal(t, 270, a.Count+n)
			assert.Equal(t, []int{a.Count, a.Count}, []int{class, prediction})
			assert.GreaterOrEqual(t, a.Count, before, "a lower alpha accepts no fewer")
			assert.Equal(t, a.Count == 0, a.Accuracy == nil)
			before = a.Count
		}
		assert.Equal(t, 270, before+r.Rejected.Count)
	}
	_, err = json.Marshal(e)
	require.NoError(t, err)
	foreign, err := m.Evaluate(scores[:2]) // no row has a class
	require.NoError(t, err)
	assert.Nil(t, foreign.Accuracy)
	_, err = m.Evaluate(nil)
	assert.ErrorContains(t, err, "no rows")
	scores[40].Label = 3
	_, err = m.Evaluate(scores)
	assert.ErrorContains(t, err, "label 3")
}

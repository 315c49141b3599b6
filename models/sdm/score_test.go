package sdm

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The figures of a score hang together as sections 1.3 to 2.4 of the specification say.
func TestScoreIsConsistent(t *testing.T) {
	rt := openTest(t)
	m := toy(t, rt, nil)
	st := m.state.Load()
	require.NotEmpty(t, m.Regions(), "the toy is too hard to accept anything")
	accepted, lower := 0, 0
	for _, s := range append(scoreAll(t, m, mixture(120, 5, 3, 1.5, 0, 7)), scoreAll(t, m, mixture(60, 5, 3, 1.5, 4, 8))...) {
		assert.Equal(t, argMax(s.ZPrime), s.Prediction)
		assert.Equal(t, DistanceQuantile(s.D0, st.distances), s.D)
		sum := 0.0
		for _, p := range s.SDM {
			sum += float64(p)
		}
		assert.InDelta(t, 1, sum, 1e-6)
		assert.Equal(t, min(float32(s.Q), float32(math.Pow(2+float64(s.Q), float64(s.SDM[s.Prediction])))), s.QPrime)
		assert.LessOrEqual(t, s.QPrime, float32(s.Q))
		if s.CentroidAlpha > 0 {
			accepted++
			assert.GreaterOrEqual(t, s.SDM[s.Prediction], float32(s.CentroidAlpha))
		}
		if s.LowerAlpha > 0 {
			lower++
			assert.LessOrEqual(t, s.LowerAlpha, s.CentroidAlpha)
			assert.Equal(t, DKW(s.LowerAlpha, s.EffectiveSampleSizes), s.Errors)
		} else {
			assert.Equal(t, []float32{1, 1, 1}, s.Errors)
			assert.Zero(t, s.DLower)
			assert.Equal(t, float32(1), s.DUpper)
		}
		assert.Equal(t, s.CentroidAlpha == m.Regions()[0].Alpha, s.MostConservative)
	}
	assert.Positive(t, accepted)
	t.Logf("accepted %d, by the lower rule %d", accepted, lower)
}

// A row has the same score whatever it is submitted with: alone, in a batch of any size, by ScoreOne, from 64 goroutines.
func TestScoreDoesNotDependOnCompany(t *testing.T) {
	rt := openTest(t)
	m := toy(t, rt, nil)
	data := mixture(600, 5, 3, 1.5, 0, 7)
	want := scoreAll(t, m, data)
	for _, at := range []int{0, 1, 255, 256, 599} {
		alone := scoreAll(t, m, Data{Features: data.Features[at*5 : at*5+5], IDs: data.IDs[at : at+1], Labels: data.Labels[at : at+1]})
		require.Equal(t, want[at], alone[0])
	}
	var wait sync.WaitGroup
	got := make([]Score, len(want))
	for g := range 64 {
		wait.Go(func() {
			for i := g; i < len(got); i += 64 {
				var err error
				got[i], err = m.ScoreOne(context.Background(), data.Features[i*5:i*5+5])
				assert.NoError(t, err)
			}
		})
	}
	wait.Wait()
	for i := range got {
		got[i].ID, got[i].Label = want[i].ID, want[i].Label
	}
	require.Equal(t, want, got)
}

// Whoever is scoring when the model is closed gets a score or an error.
func TestCloseWhileScoring(t *testing.T) {
	rt := openTest(t)
	m := toy(t, rt, nil)
	data := mixture(300, 5, 3, 1.5, 0, 7)
	var wait sync.WaitGroup
	started := make(chan struct{}, 16)
	for g := range 16 {
		wait.Go(func() {
			for i := 0; ; i++ {
				var err error
				switch g % 3 {
				case 0:
					_, err = m.ScoreOne(context.Background(), data.Features[:5])
				case 1:
					_, err = m.Score(context.Background(), data.Features, ScoreOptions{Nearest: 2})
				default:
					if err = m.RemoveSupport("1-0"); err == nil {
						err = m.AddSupport(context.Background(), Data{Features: data.Features[:5], Labels: []int32{0}, IDs: []string{"1-0"}})
					} else if strings.Contains(err.Error(), "has no row") { // another removed it
						err = nil
					}
				}
				if i == 0 {
					started <- struct{}{}
				}
				if err != nil {
					assert.Regexp(t, "closed|already has", err.Error())
					return
				}
			}
		})
	}
	for range 16 {
		<-started
	}
	m.Close()
	wait.Wait()
}

func TestScoreRefuses(t *testing.T) {
	rt := openTest(t)
	m := toy(t, rt, nil)
	ctx := context.Background()
	for _, c := range []struct {
		x       []float32
		o       ScoreOptions
		message string
	}{
		{make([]float32, 7), ScoreOptions{}, "7 features are not rows of 5"},
		{make([]float32, 10), ScoreOptions{IDs: []string{"a"}}, "1 ids for 2 rows"},
		{make([]float32, 10), ScoreOptions{Labels: []int32{1}}, "1 labels for 2 rows"},
		{make([]float32, 5), ScoreOptions{Exclude: []int{240}}, "excludes support row 240"},
		{make([]float32, 5), ScoreOptions{Exclude: []int{-2}}, "excludes support row -2"},
		{make([]float32, 5), ScoreOptions{Nearest: -1}, "-1 nearest"},
		{[]float32{0, 0, float32(math.Inf(1)), 0, 0}, ScoreOptions{}, "feature 2 of row 0 is +Inf"},
		{[]float32{0, 0, 0, 0, 0, 3e38, 3e38, 3e38, 3e38, 3e38}, ScoreOptions{}, "row 1: its features are too large"},
	} {
		_, err := m.Score(ctx, c.x, c.o)
		assert.ErrorContains(t, err, c.message)
	}
	_, err := m.ScoreOne(ctx, make([]float32, 4))
	assert.ErrorContains(t, err, "4 features")
	_, err = m.ScoreOne(ctx, []float32{3e38, 3e38, 3e38, 3e38, 3e38})
	assert.ErrorContains(t, err, "too large")
	none, err := m.Score(ctx, nil, ScoreOptions{Nearest: 3})
	require.NoError(t, err)
	assert.Empty(t, none)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = m.Score(cancelled, make([]float32, 5), ScoreOptions{})
	assert.ErrorIs(t, err, context.Canceled)
	m.Close()
	_, err = m.Score(ctx, make([]float32, 5), ScoreOptions{})
	assert.ErrorContains(t, err, "closed")
	assert.ErrorContains(t, m.RemoveSupport("1-0"), "closed")
	assert.Empty(t, m.Regions())
}

// The JSON form has the names of the format, and numbers that read back as they were.
func TestScoreRow(t *testing.T) {
	rt := openTest(t)
	m := toy(t, rt, nil)
	x := mixture(1, 5, 3, 1.5, 0, 7)
	s, err := m.Score(context.Background(), x.Features, ScoreOptions{IDs: []string{"x"}, Labels: []int32{0}, Exclude: []int{3}, Nearest: 2})
	require.NoError(t, err)
	line, err := json.Marshal(s[0])
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(line, &fields))
	for _, name := range []string{"id", "label", "prediction", "q", "d0", "d", "qPrime", "zPrime", "sdm", "cumulativeEffectiveSampleSizes", "effectiveSampleSizeErrors",
		"dLower", "dUpper", "sdmLower", "sdmUpper", "qPrimeLower", "centroidRegionAlpha", "lowerRegionAlpha", "isInMostConservativeRegion",
		"isInMostConservativeRegionLower", "nearestSupportIndex", "nearestSupportID", "nearestSupportMatches", "modelID", "representationFingerprint",
		"scoreSchemaVersion", "matchingSemanticsVersion", "excludedSupportIndex", "excludedSupportID"} {
		assert.Contains(t, fields, name)
	}
	assert.Len(t, fields["nearestSupportMatches"], 2)
	assert.Equal(t, "1-3", fields["excludedSupportID"])
	var back Score
	require.NoError(t, json.Unmarshal(line, &back))
	assert.Equal(t, s[0], back)
}

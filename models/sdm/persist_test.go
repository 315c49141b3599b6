package sdm

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/sdm/artifact"
)

// A model that was saved and loaded gives the same scores, to the name of the model, whatever was edited before.
func TestSavedModelScoresAlike(t *testing.T) {
	rt := openTest(t)
	m := toy(t, rt, func(_ *Config, o *TrainOptions) { o.KeepSplit, o.Shuffles, o.CrossEntropyEpochs = false, 2, 2 })
	ctx := context.Background()
	x := mixture(70, 5, 3, 1.5, 0, 7)
	path := filepath.Join(t.TempDir(), "m.sdmkitmodel")
	for _, edit := range []func() error{
		func() error { return nil },
		func() error { return m.AddSupport(ctx, mixture(9, 5, 3, 1.5, 0, 21)) },
		func() error { return m.RemoveSupport("21-3", m.Support()[5].ID, m.Support()[17].ID) },
		func() error { return m.RelabelSupport([]string{"21-4"}, []int32{OutOfDistribution}) },
		func() error { return m.RecalibrateAt(.02) },
		func() error { return m.Recalibrate(ctx, mixture(90, 5, 3, 1.5, 0, 22), 0) },
	} {
		require.NoError(t, edit())
		require.NoError(t, m.Save(path))
		other, err := Load(rt, path)
		require.NoError(t, err)
		defer other.Close()
		o := ScoreOptions{Nearest: 7}
		want, err := m.Score(ctx, x.Features, o)
		require.NoError(t, err)
		got, err := other.Score(ctx, x.Features, o)
		require.NoError(t, err)
		require.Equal(t, want, got)
		assert.Equal(t, m.CalibrationStale(), other.CalibrationStale())
		assert.Equal(t, m.Config(), other.Config())
		assert.Equal(t, m.Regions(), other.Regions())

		// and saved again it is the same, but for the time
		again := filepath.Join(t.TempDir(), "again.sdmkitmodel")
		require.NoError(t, other.Save(again))
		a, err := artifact.Read(path)
		require.NoError(t, err)
		b, err := artifact.Read(again)
		require.NoError(t, err)
		b.Created = a.Created
		assert.True(t, assert.ObjectsAreEqual(a, b))
		var run struct {
			Configuration struct{ Seed string }
			History       []json.RawMessage
			BestEpoch     int
		}
		_, err = b.Meta("trainingRun", &run)
		require.NoError(t, err)
		assert.Equal(t, "3", run.Configuration.Seed)
		assert.Len(t, run.History, 8)
		assert.Positive(t, run.BestEpoch)
	}
}

// What is left of a support after a removal may be less than the counts that its calibration saw.
func TestSmallSupportIsSaved(t *testing.T) {
	rt := openTest(t)
	m := toy(t, rt, nil)
	var gone []string
	for i := range 235 {
		gone = append(gone, fmt.Sprintf("1-%d", i))
	}
	require.NoError(t, m.RemoveSupport(gone...))
	path := filepath.Join(t.TempDir(), "m.sdmkitmodel")
	require.NoError(t, m.Save(path))
	other, err := Load(rt, path)
	require.NoError(t, err)
	defer other.Close()
	assert.Len(t, other.Support(), 5)
	assert.ErrorContains(t, other.RecalibrateAt(.02), "no stored calibration rows")
	require.NoError(t, other.Recalibrate(context.Background(), mixture(200, 5, 3, 1.5, 0, 2), 0))
	require.NoError(t, other.Save(path))
}

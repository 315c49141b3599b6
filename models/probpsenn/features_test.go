package probpsenn

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat"
)

func TestFeatures(t *testing.T) {
	rt := openToy(t)
	images := toyImages(240, 1)
	m := trainToy(t, rt, toyConfig(), images)
	trained, held, err := m.HeldOut(images.Labels)
	require.NoError(t, err)
	assert.Len(t, held, 60)
	assert.Len(t, trained, 180)
	rows := images.Subset(held)

	e, err := m.NewExtractor(FeatureScores)
	require.NoError(t, err)
	defer e.Close()
	latents, scores, err := e.Extract(context.Background(), nil, nil, rows.Pixels)
	require.NoError(t, err)
	want := predictAll(t, m, PredictorOptions{}, rows.Pixels)
	for i := range want {
		require.Equal(t, want[i].Latent, latents[i*m.Config.Latent:(i+1)*m.Config.Latent])
	}
	// Over the rows of the calibration, each score has the mean and the deviation that it was brought to.
	width, err := m.latentDeviation()
	require.NoError(t, err)
	for j := range FeatureScores {
		var column []float64
		for i := range held {
			column = append(column, float64(scores[i*len(FeatureScores)+j]))
		}
		mean, deviation := stat.MeanStdDev(column, nil)
		assert.InDelta(t, 0, mean, .05*width, FeatureScores[j])
		assert.InDelta(t, width, deviation, .1*width, FeatureScores[j])
	}
	_, strange, err := e.Extract(context.Background(), nil, nil, toyNoise(20, 3).Pixels)
	require.NoError(t, err)
	for i := 0; i < len(strange); i += len(FeatureScores) {
		assert.Greater(t, float64(strange[i]), 2*width, "noise is not reconstructed")
	}

	print := func(m *Model, scores ...string) string {
		e, err := m.NewExtractor(scores)
		require.NoError(t, err)
		defer e.Close()
		f, err := e.Fingerprint()
		require.NoError(t, err)
		return f
	}
	path := filepath.Join(t.TempDir(), "m.safetensors")
	require.NoError(t, m.Save(path))
	again, err := Load(rt, path)
	require.NoError(t, err)
	defer again.Close()
	assert.Equal(t, print(m), print(again))
	assert.Equal(t, print(m, "entropy"), print(again, "entropy"))
	prints := []string{print(m), print(m, "entropy"), print(m, "distance"), print(m, "entropy", "distance"), print(m, "distance", "entropy")}
	slices.Sort(prints)
	assert.Len(t, slices.Compact(prints), 5, "other scores, other features")

	for want, scores := range map[string][]string{`score "loss": there are`: {"loss"}, `score "entropy" twice`: {"entropy", "entropy"}} {
		_, err := m.NewExtractor(scores)
		assert.ErrorContains(t, err, want)
	}
	m.Calibration = nil
	_, err = m.NewExtractor([]string{"entropy"})
	assert.ErrorContains(t, err, "from the calibration, which this model does not have")
}

func TestFeaturesOfVectors(t *testing.T) {
	m := trainToy(t, openToy(t), vectorConfig(6, 3), toyVectors(240, 6, 3, 1))
	_, err := m.NewExtractor([]string{"reconstruction"})
	assert.ErrorContains(t, err, "does not reconstruct its inputs")
	e, err := m.NewExtractor(nil)
	require.NoError(t, err)
	defer e.Close()
	x := toyVectors(3, 6, 3, 2).Pixels
	latents, scores, err := e.Extract(context.Background(), nil, nil, x)
	require.NoError(t, err)
	assert.Equal(t, x, latents, "they are their own latent vectors")
	assert.Empty(t, scores)
}

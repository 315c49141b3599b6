package sdm

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/runtime"
	"github.com/credence-ml/credence/runtime/testenv"
)

// A training of sixteen steps on a GPU, matching between them, ends where it does on the CPU, and fresh rows are scored
// alike.
func TestTrainingOnAGPU(t *testing.T) {
	testenv.NeedCUDA(t)
	fresh := mixture(60, 5, 3, 1.5, 0, 9)
	train := func(rt *runtime.Runtime) (weights []float32, scores []Score) {
		m := toy(t, rt, func(_ *Config, o *TrainOptions) { o.Epochs, o.Batch, o.LearningRate = 2, 32, 1e-3 })
		weights, err := m.n.weights()
		require.NoError(t, err)
		scores, err = m.Score(context.Background(), fresh.Features, ScoreOptions{})
		require.NoError(t, err)
		return weights, scores
	}
	want, answers := train(openTest(t, runtime.WithDevice("cpu")))
	got, theirs := train(openTest(t, runtime.WithBackendDir(testenv.CUDADir()), runtime.WithDevice("cuda")))
	d := testenv.RelativeDistance(t, want, got)
	t.Logf("weights: relative distance %.2g", d)
	assert.Less(t, d, 1e-4)
	for i := range answers {
		assert.Equal(t, answers[i].Prediction, theirs[i].Prediction, "row %d", i)
		assert.Less(t, testenv.RelativeDistance(t, answers[i].ZPrime, theirs[i].ZPrime), 1e-3, "row %d", i)
		assert.Equal(t, answers[i].NearestID, theirs[i].NearestID, "row %d", i)
	}
}

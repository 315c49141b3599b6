package probpsenn

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

// Trap T4: the covariance of few rows, or of a dimension that does not vary, has no Cholesky factor as it is.
func TestFitOfFewRows(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{1, 2, 20, 40, 41, 200} {
		const d = 40
		x := mat.NewDense(n, d, nil)
		var rows [][]float64
		for i := range n {
			row := make([]float64, d)
			for j := range d - 1 { // the last is dead
				row[j] = r.NormFloat64()
			}
			x.SetRow(i, row)
			rows = append(rows, row)
		}
		var plain mat.SymDense
		var chol mat.Cholesky
		if n > 1 {
			stat.CovarianceMatrix(&plain, x, nil)
			assert.False(t, chol.Factorize(&plain), "%d rows: a trap no more", n)
		}
		_, cov := moments(rows)
		l, err := factor(cov)
		require.NoError(t, err, "%d rows", n)
		for i := range d {
			assert.Greater(t, l.At(i, i), 0.)
		}
	}
}

// Trap T7: the weights of a mixture's components learn from the classification too.
func TestMixtureWeightsLearnFromTheClassification(t *testing.T) {
	c := vectorConfig(4, 3)
	c.Prototypes, c.Loss = Mixture, LossWeights{NLL: 1}
	images := toyVectors(64, 4, 3, 1)
	m, err := newModel(openToy(t), c)
	require.NoError(t, err)
	defer m.Close()
	tr, err := m.newTrainer()
	require.NoError(t, err)
	defer tr.close()
	weights := func() []float32 {
		values := make([]float32, m.prototypes.logWeights.Count())
		require.NoError(t, m.params.Read(m.prototypes.logWeights, values))
		return values
	}
	before := weights()
	var sums [5]float64
	require.NoError(t, tr.runBatch(context.Background(), tr.joint, images, order(&c, "joint", 0, 64)[:16], newAugmenter(&c), 1e-3, &sums))
	for i, v := range weights() {
		assert.NotEqual(t, before[i], v)
	}
}

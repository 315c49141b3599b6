package ops

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Channel 0 has mean 2 and variance 2/3, channel 1 is constant. eps is 1/3, so that the first deviation is exactly 1.
func TestBatchNormByHand(t *testing.T) {
	out, err := evaluate(t, func(c *CaseGraph) []Tensor {
		x := c.Values(F32, []float64{1, 5, 2, 5, 3, 5}, 3, 2)
		gamma, beta := c.Values(F32, []float64{2, 7}, 2), c.Values(F32, []float64{.5, -1}, 2)
		y, mean, variance := BatchNormTrain(x, gamma, beta, 1./3, Activation{Kind: ActReLU})
		eval := BatchNormEval(x, gamma, beta, c.Values(F32, []float64{1, 1}, 2), c.Values(F32, []float64{2. / 3, 2. / 3}, 2), 1./3, Activation{})
		return []Tensor{y, mean, variance, eval}
	})
	require.NoError(t, err)
	assert.InDeltaSlice(t, []float64{0, 0, .5, 0, 2.5, 0}, out[0].Data, 1e-6)
	assert.InDeltaSlice(t, []float64{2, 5}, out[1].Data, 1e-6)
	assert.InDeltaSlice(t, []float64{2. / 3, 0}, out[2].Data, 1e-6)
	assert.InDeltaSlice(t, []float64{.5, 27, 2.5, 27, 4.5, 27}, out[3].Data, 1e-5)
}

func TestRowNormsByHand(t *testing.T) {
	out, err := evaluate(t, func(c *CaseGraph) []Tensor {
		x, gamma, beta := c.Values(F32, []float64{3, 5}, 1, 2), c.Values(F32, []float64{1, 2}, 2), c.Values(F32, []float64{0, 10}, 2)
		return []Tensor{RMSNorm(x, gamma, 8), LayerNorm(x, gamma, beta, 3)}
	})
	require.NoError(t, err)
	assert.InDeltaSlice(t, []float64{3 / math.Sqrt(25), 10 / math.Sqrt(25)}, out[0].Data, 1e-6)
	assert.InDeltaSlice(t, []float64{-.5, 11}, out[1].Data, 1e-6)
}

func TestNormsRefuseWhatDoesNotFit(t *testing.T) {
	for want, f := range map[string]func(c *CaseGraph){
		"batch_norm_train: x is [4x3], beta is [2]; one number per channel": func(c *CaseGraph) {
			BatchNormTrain(c.Normal(4, 3), c.Normal(3), c.Normal(2), 1e-3, Activation{})
		},
		"batch_norm_eval: x is [4x3], variance is [3x1]": func(c *CaseGraph) {
			BatchNormEval(c.Normal(4, 3), c.Normal(3), c.Normal(3), c.Normal(3), c.Normal(3, 1), 1e-3, Activation{})
		},
		"batch_norm_train: eps is 0; a positive constant": func(c *CaseGraph) {
			BatchNormTrain(c.Normal(4, 3), c.Normal(3), c.Normal(3), 0, Activation{})
		},
		"batch_norm_train: threshold -1 of fatrelu": func(c *CaseGraph) {
			BatchNormTrain(c.Normal(4, 3), c.Normal(3), c.Normal(3), 1e-3, Activation{ActFATReLU, -1})
		},
		"layer_norm: x is [2x5], gamma is [4]; one number per column": func(c *CaseGraph) {
			LayerNorm(c.Normal(2, 5), c.Normal(4), c.Normal(5), 1e-5)
		},
		"rms_norm: x is []": func(c *CaseGraph) { RMSNorm(c.Normal(), c.Normal(1), 1e-5) },
		"the loss depends on the emitted mean or variance": func(c *CaseGraph) {
			x := c.Normal(4, 3)
			_, mean, _ := BatchNormTrain(x, c.Normal(3), c.Normal(3), 1e-3, Activation{})
			Gradients(Sum(mean, 0), x)
		},
	} {
		c := NewCaseGraph(1)
		f(c)
		assert.ErrorContains(t, c.Err(), want)
	}
}

package ops

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The first step from zero moments is lr g / (|g| + eps), whatever the decay rates; AdamW takes lr decay param besides.
func TestFirstAdamStep(t *testing.T) {
	for _, decoupled := range []bool{false, true} {
		out, err := evaluate(t, func(c *CaseGraph) []Tensor {
			param, zeros := c.Values(F32, []float64{1, 1, 1}, 3), make([]float64, 3)
			m, v := c.Values(F32, zeros, 3), c.Values(F32, zeros, 3)
			Adam(param, m, v, c.Values(F32, []float64{2, -4, 0}, 3), c.Values(F32, []float64{.5}, 1), AdamOptions{LearningRate: V(.25),
				Beta1: V(.9), Beta2: V(.75), Epsilon: V(1), WeightDecay: V(.5), Decoupled: decoupled, Step: N(1)})
			return []Tensor{param, m, v}
		})
		require.NoError(t, err)
		g, after := []float64{1, -2, 0}, 1.0
		if decoupled {
			after -= .25 * .5
		} else {
			for i := range g {
				g[i] += .5
			}
		}
		for i := range g {
			assert.InDelta(t, after-.25*g[i]/(math.Abs(g[i])+1), out[0].Data[i], 1e-6)
			assert.InDelta(t, .1*g[i], out[1].Data[i], 1e-6)
			assert.InDelta(t, .25*g[i]*g[i], out[2].Data[i], 1e-6)
		}
	}
}

func TestClipScaleByHand(t *testing.T) {
	inf := math.Inf(1)
	for _, k := range []struct {
		grad              []float64
		most, norm, scale float64
	}{
		{[]float64{3, -4}, 2, 5, .4}, {[]float64{3, -4}, 5, 5, 1}, {[]float64{3, -4}, 0, 5, 1}, {[]float64{0}, 1, 0, 1},
		{[]float64{inf, 1}, 0, inf, 0}, {[]float64{3e38, 3e38}, 1, inf, 0},
	} {
		out, err := evaluate(t, func(c *CaseGraph) []Tensor {
			norm, scale := ClipScale(c.Values(F32, k.grad, int64(len(k.grad))), V(k.most))
			return []Tensor{norm, scale}
		})
		require.NoError(t, err)
		assert.Equal(t, k.norm, out[0].Data[0], "%v", k)
		assert.InDelta(t, k.scale, out[1].Data[0], 1e-7, "%v", k)
	}
}

func TestLerpAndAxpyByHand(t *testing.T) {
	out, err := evaluate(t, func(c *CaseGraph) []Tensor {
		x, a, b, d := c.Values(F32, []float64{4, 8}, 2), c.Values(F32, []float64{0, 4}, 2), c.Values(F32, []float64{9, 9}, 2), c.Values(F32, []float64{1, 2}, 2)
		Lerp(a, x, V(.25))
		Lerp(b, x, V(1))
		Axpy(d, x, V(-.5))
		return []Tensor{a, b, d}
	})
	require.NoError(t, err)
	assert.Equal(t, []float64{1, 5}, out[0].Data)
	assert.Equal(t, []float64{4, 8}, out[1].Data)
	assert.Equal(t, []float64{-1, -2}, out[2].Data)
}

func TestAdamRefusesWhatCannotBe(t *testing.T) {
	good := AdamOptions{LearningRate: V(1e-3), Beta1: V(.9), Beta2: V(.999), Epsilon: V(1e-8), Step: N(1)}
	for want, change := range map[string]func(o *AdamOptions){
		"step 0; steps count from 1":                     func(o *AdamOptions) { o.Step = N(0) },
		"beta1 = 1 and beta2 = 0.999; both must lie in":  func(o *AdamOptions) { o.Beta1 = V(1) },
		"beta1 = 0.9 and beta2 = -0.1; both must lie in": func(o *AdamOptions) { o.Beta2 = V(-.1) },
		"epsilon = 0; it must be positive":               func(o *AdamOptions) { o.Epsilon = V(0) },
	} {
		o, c := good, NewCaseGraph(1)
		change(&o)
		Adam(c.Normal(3), c.Normal(3), c.Uniform(0, 1, 3), c.Normal(3), Tensor{}, o)
		assert.ErrorContains(t, c.Err(), want)
	}
	_, err := evaluate(t, func(c *CaseGraph) []Tensor {
		o, p := good, c.Normal(3)
		o.Step = c.Int("step", 5, 0).Of(1)
		Adam(p, c.Normal(3), c.Uniform(0, 1, 3), c.Normal(3), Tensor{}, o)
		return []Tensor{p}
	})
	assert.ErrorContains(t, err, "step 0; steps count from 1")
	c := NewCaseGraph(1)
	Adam(c.Normal(3), c.Normal(4), c.Uniform(0, 1, 3), c.Normal(3), Tensor{}, good)
	assert.ErrorContains(t, c.Err(), "the gradient is [3], the first moments are [4]")
}

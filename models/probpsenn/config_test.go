package probpsenn

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/data"
)

func TestDefaultConfigIsLegal(t *testing.T) {
	c := DefaultConfig()
	require.NoError(t, c.Check())
	for _, kind := range PrototypeKinds {
		c.Prototypes = kind
		require.NoError(t, c.Check())
	}
}

// Every field outside its range is named, with its value and the range, in one line.
func TestConfigCheck(t *testing.T) {
	nan := math.NaN()
	for _, v := range []struct {
		want string
		set  func(c *Config)
	}{
		{"classes is 1; 2 to 65536", func(c *Config) { c.Classes = 1 }},
		{"classes is 1000000000; 2 to 65536", func(c *Config) { c.Classes = 1e9 }},
		{"2 class names for 10 classes", func(c *Config) { c.ClassNames = []string{"a", "b"} }},
		{`prototypes is "round"; one of [full diag mixture point]`, func(c *Config) { c.Prototypes = "round" }},
		{`network is "grey33"; one of [`, func(c *Config) { c.Network = "grey33" }},
		{"per_class is 0; 1 to 64", func(c *Config) { c.PerClass = 0 }},
		{"per_class is 65; 1 to 64", func(c *Config) { c.PerClass = 65 }},
		{"latent is 0; 1 to 512", func(c *Config) { c.Latent = 0 }},
		{"latent is 513; 1 to 512", func(c *Config) { c.Latent = 513 }},
		{"samples is 0 (1 to 1000), eval_samples 50", func(c *Config) { c.Samples = 0 }},
		{"samples is 1001 (1 to 1000)", func(c *Config) { c.Samples = 1001 }},
		{"samples is 10 (1 to 1000), eval_samples 0 (1 to 10000)", func(c *Config) { c.EvalSamples = 0 }},
		{"samples is 10 (1 to 1000), eval_samples 10001 (1 to 10000)", func(c *Config) { c.EvalSamples = 10001 }},
		{"pretrain_epochs is -1, epochs 8", func(c *Config) { c.PretrainEpochs = -1 }},
		{"pretrain_epochs is 2, epochs -1; neither may be negative", func(c *Config) { c.Epochs = -1 }},
		{"batch is 1; 2 to 65536", func(c *Config) { c.Batch = 1 }},
		{"batch is 65537; 2 to 65536", func(c *Config) { c.Batch = 65537 }},
		{"learning_rate is 0; above 0, at most 1", func(c *Config) { c.LearningRate = 0 }},
		{"learning_rate is NaN", func(c *Config) { c.LearningRate = nan }},
		{"learning_rate is 1.5", func(c *Config) { c.LearningRate = 1.5 }},
		{`schedule is "linear"; constant or cosine`, func(c *Config) { c.Schedule = "linear" }},
		{`initial is "zeros"; fan_in or glorot`, func(c *Config) { c.Initial = "zeros" }},
		{"hold_out is -0.1; 0 to 0.9", func(c *Config) { c.HoldOut = -.1 }},
		{"hold_out is 0.9; 0 to 0.9", func(c *Config) { c.HoldOut = .9 }},
		{"hold_out is NaN", func(c *Config) { c.HoldOut = nan }},
		{"pictures of 3 x 28; sides of 4 to 1024", func(c *Config) { c.Height = 3 }},
		{"pictures of 28 x 1025; sides of 4 to 1024", func(c *Config) { c.Width = 1025 }},
		{"network grey32 takes 1 channels, the pictures have 3", func(c *Config) { c.Channels = 3 }},
		{"network colour32 takes 3 channels, the pictures have 1", func(c *Config) { c.Network = "colour32" }},
		{`a VAE needs an encoder; the network is "features"`, func(c *Config) { c.Network, c.VAE = "features", true }},
		{"loss weight nll is -1; 0 to 1e6", func(c *Config) { c.Loss.NLL = -1 }},
		{"loss weight reconstruction is NaN", func(c *Config) { c.Loss.Reconstruction = nan }},
		{"loss weight nearest is +Inf", func(c *Config) { c.Loss.Nearest = math.Inf(1) }},
		{"loss weight interpretation is -1", func(c *Config) { c.Loss.Interpretation = -1 }},
		{"loss weight kl is 2e+06", func(c *Config) { c.Loss.KL = 2e6 }},
		{"loss weight prior_kl is -1", func(c *Config) { c.Loss.PriorKL = -1 }},
		{"loss weight pretrain_reconstruction is -1", func(c *Config) { c.Loss.PretrainReconstruction = -1 }},
		{"loss weight pretrain_kl is -1", func(c *Config) { c.Loss.PretrainKL = -1 }},
		{"640 Gaussians in 512 latent dimensions would fit", func(c *Config) { c.Latent, c.PerClass = 512, 64 }},
		{"1280 Gaussians in 512 latent dimensions have 335544320 covariances; at most 268435456", func(c *Config) {
			c.Latent, c.PerClass, c.Prototypes = 512, 64, Mixture
		}},
		{"10000 samples of 1000 prototypes in 40 latent dimensions are 400000000 values; at most 268435456", func(c *Config) {
			c.Classes, c.EvalSamples = 1000, 10000
		}},
		{"a batch of 65536 inputs of 1048576 values has 68719476736; at most 268435456", func(c *Config) {
			c.Height, c.Width, c.Batch = 1024, 1024, 65536
		}},
	} {
		c := DefaultConfig()
		v.set(&c)
		err := c.Check()
		if strings.HasSuffix(v.want, "would fit") {
			assert.NoError(t, err, v.want)
			continue
		}
		require.Error(t, err, v.want)
		assert.Contains(t, err.Error(), v.want)
		assert.NotContains(t, err.Error(), "\n")
		_, err = Train(context.Background(), nil, c, &data.Images{}, TrainOptions{}) // refused before anything is touched
		assert.ErrorContains(t, err, "prob-psenn: "+v.want)
	}
}

// Data that cannot be trained on is refused at once, whatever would only be found out hours later.
func TestTrainRefusesBadData(t *testing.T) {
	rt := openToy(t)
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, v := range []struct {
		want string
		set  func(c *Config, x *data.Images)
	}{
		{"label 3 of input 5 is outside 0 to 2", func(_ *Config, x *data.Images) { x.Labels[5] = 3 }},
		{"label -1 of input 0 is outside 0 to 2", func(_ *Config, x *data.Images) { x.Labels[0] = -1 }},
		{"value 7 of input 2 is NaN", func(_ *Config, x *data.Images) { x.Pixels[2*144+7] = nan }},
		{"value 143 of input 99 is -Inf", func(_ *Config, x *data.Images) { x.Pixels[99*144+143] = inf }},
		{"value 0 of input 1 is 2e+30", func(_ *Config, x *data.Images) { x.Pixels[144] = 2e30 }},
		{"100 inputs with 99 labels", func(_ *Config, x *data.Images) { x.Labels = x.Labels[:99] }},
		{"100 inputs with 0 labels", func(_ *Config, x *data.Images) { x.Labels = nil }},
		{"14399 values are not 100 inputs of 144", func(_ *Config, x *data.Images) { x.Pixels = x.Pixels[1:] }},
		{"pictures of 9 x 16 x 1, the model takes 12 x 12 x 1", func(_ *Config, x *data.Images) { x.Height, x.Width = 9, 16 }},
		{"inputs of 144 values, the model takes 8", func(c *Config, _ *data.Images) { c.Network = "features" }},
		{"class 2 has 0 training inputs; its 1 distributions need at least one each", func(_ *Config, x *data.Images) {
			for i := range x.Labels {
				x.Labels[i] = int32(i % 2)
			}
		}},
		{"class 1 has 1 training inputs; its 2 distributions need at least one each", func(c *Config, x *data.Images) {
			c.Prototypes = Mixture
			for i := range x.Labels {
				x.Labels[i] = 2 * int32(i%2)
			}
			x.Labels[3] = 1
		}},
		{"hold_out 0.1 of 100 inputs is 10; calibration needs at least 20", func(c *Config, _ *data.Images) { c.HoldOut = .1 }},
	} {
		c, x := toyConfig(), toyImages(100, 1)
		v.set(&c, x)
		_, err := Train(context.Background(), rt, c, x, TrainOptions{Progress: func(p Progress) { t.Error("training has begun") }})
		require.Error(t, err, v.want)
		assert.Equal(t, "prob-psenn: "+v.want, err.Error())
	}
	_, err := Train(context.Background(), rt, toyConfig(), &data.Images{Height: 12, Width: 12, Channels: 1}, TrainOptions{})
	assert.ErrorContains(t, err, "prob-psenn: class 0 has 0 training inputs")
}

// Nothing is held out on request; then there are no verdicts.
func TestTrainWithoutCalibration(t *testing.T) {
	c := vectorConfig(4, 3)
	c.HoldOut, c.Epochs = 0, 1
	x := toyVectors(61, 4, 3, 1) // the last batch has 13, not enough for itself only under batch normalisation
	m := trainToy(t, openToy(t), c, x)
	assert.Nil(t, m.Calibration)
	for i, p := range predictAll(t, m, PredictorOptions{}, x.Pixels) {
		require.Equal(t, Uncertain, p.Verdict, fmt.Sprint(i))
		require.True(t, math.IsNaN(p.Scores.Unfamiliarity))
	}
}

// The first weights of a layer of 4 x 4 x 32 inputs and 4 x 4 x 64 outputs reach as far as their law says.
func TestFirstWeights(t *testing.T) {
	for law, limit := range map[string]float64{Glorot: math.Sqrt(6. / (16*32 + 16*64)), "": math.Sqrt(6. / (16*32 + 16*64)), FanIn: math.Sqrt(1. / (16 * 32))} {
		c := DefaultConfig()
		c.Initial = law
		m, err := declareModel(nil, c)
		require.NoError(t, err)
		for _, v := range m.declared.params.Vars() {
			if v.Name != "encoder.2.weight" {
				continue
			}
			var low, high float32
			for _, x := range m.declared.values(v) {
				low, high = min(low, x), max(high, x)
			}
			assert.InDelta(t, -limit, low, .01*limit, law)
			assert.InDelta(t, limit, high, .01*limit, law)
		}
	}
}

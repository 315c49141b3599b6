package probpsenn

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/runtime"
)

// A variant of the reference training, with a trap of the original code put back.
type variant struct {
	name string
	set  func(c *Config)
	// refit replaces the fit of the prototypes, if it is not nil.
	refit func(t *testing.T, m *Model, train *data.Images)
}

// TestStudyTraps trains with and without the repairs of the traps that show in a training (T1 to T3).
func TestStudyTraps(t *testing.T) {
	s := studySets(t)
	rt := studyRuntime(t)
	vae := func(c *Config) { c.VAE = true }
	diag := func(c *Config) { c.Prototypes = Diag }
	fmt.Printf("\nThe original code's traps, put back one at a time: one seed of the reference run.\n%-62s %8s %6s %8s %8s\n", "", "accuracy", "nll",
		"INT 1st", "INT last")
	for _, v := range []variant{
		{"VAE", vae, nil},
		{"VAE, T1: covariances fitted on encoder means", vae, fitOnMeans},
		{"VAE, T3: pre-training weighs reconstruction 1", func(c *Config) { c.VAE, c.Loss.PretrainReconstruction = true, 1 }, nil},
		{"diag", diag, nil},
		{"diag, T2: the variance taken for the deviation", diag, fitWithVariances},
	} {
		c := studyConfig(Full, 0)
		v.set(&c)
		m, spread := trainVariant(t, rt, c, s.train, v.refit)
		e, err := m.Evaluate(context.Background(), s.test, nil, nil)
		require.NoError(t, err)
		joint := m.History[c.PretrainEpochs:]
		fmt.Printf("%-62s %8.4f %6.3f %8.1f %8.1f\n", v.name+spread, e.Accuracy, e.NLL, joint[0].Interpretation, joint[len(joint)-1].Interpretation)
		m.Close()
	}
}

// trainVariant is Train, step by step. After pre-training of a VAE it tells the spread of the encoder's means.
func trainVariant(t *testing.T, rt *runtime.Runtime, c Config, train *data.Images, refit func(*testing.T, *Model, *data.Images)) (*Model, string) {
	ctx := context.Background()
	m, err := newModel(rt, c)
	require.NoError(t, err)
	tr, err := m.newTrainer()
	require.NoError(t, err)
	defer tr.close()
	r := &run{t: tr, train: train, at: position{Phase: "pretrain"}}
	require.NoError(t, r.epochs(ctx, tr.pretrain, c.PretrainEpochs, 0, func(int) float64 { return c.LearningRate }))
	spread := ""
	if c.VAE {
		spread = fmt.Sprintf(" (means spread %.3f)", meansSpread(t, m, train))
	}
	z, err := m.encodeAll(ctx, train.Pixels, nil)
	require.NoError(t, err)
	require.NoError(t, m.fit(z, train.Labels))
	if refit != nil {
		refit(t, m, train)
	}
	require.NoError(t, tr.adam.Reset())
	r.at = position{Phase: "joint"}
	require.NoError(t, r.phases(ctx))
	return m, spread
}

// encoderMeans are the latent vectors without sampling.
func encoderMeans(t *testing.T, m *Model, images *data.Images) []float32 {
	p, err := m.NewPredictor(PredictorOptions{MaxBatch: encodeBatch, LabelsOnly: true})
	require.NoError(t, err)
	defer p.Close()
	all, err := p.Predict(context.Background(), images.Pixels)
	require.NoError(t, err)
	var z []float32
	for i := range all {
		z = append(z, all[i].Latent...)
	}
	return z
}

// meansSpread is the standard deviation of the encoder's means, mean over latent dimensions: next to 0 after the
// posterior has collapsed.
func meansSpread(t *testing.T, m *Model, images *data.Images) float64 {
	z, d := encoderMeans(t, m, images), m.Config.Latent
	var sum float64
	for j := range d {
		var column []float64
		for i := j; i < len(z); i += d {
			column = append(column, float64(z[i]))
		}
		sum += deviation(column)
	}
	return sum / float64(d)
}

func fitOnMeans(t *testing.T, m *Model, train *data.Images) {
	require.NoError(t, m.fit(encoderMeans(t, m, train), train.Labels))
}

func fitWithVariances(t *testing.T, m *Model, _ *data.Images) {
	scale := make([]float32, m.prototypes.scale.Count())
	require.NoError(t, m.params.Read(m.prototypes.scale, scale))
	for i, v := range scale {
		s := math.Log1p(math.Exp(float64(v)))
		scale[i] = float32(inverseSoftplus(s * s))
	}
	require.NoError(t, m.params.Write(m.prototypes.scale, scale))
}

package probpsenn

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/runtime"
	"github.com/credence-ml/credence/runtime/testenv"
)

// Every kind of prototypes learns to tell three patterns, where chance is a third, and tells noise from all of them.
func TestEveryKindLearns(t *testing.T) {
	needCPU(t)
	images, test, strange := toyImages(360, 1), toyImages(150, 2), toyNoise(60, 3)
	for _, v := range []struct {
		name string
		set  func(c *Config)
	}{
		{"full", func(*Config) {}},
		{"diag", func(c *Config) { c.Prototypes = Diag }},
		{"mixture", func(c *Config) { c.Prototypes = Mixture }},
		{"point", func(c *Config) { c.Prototypes = Point }},
		{"full VAE", func(c *Config) { c.VAE = true }},
		{"two full per class", func(c *Config) { c.PerClass = 2 }},
		{"three mixtures per class", func(c *Config) { c.PerClass, c.Prototypes = 3, Mixture }},
		{"every term of the loss, cosine", func(c *Config) { c.Loss.Nearest, c.Loss.PriorKL, c.Schedule = .05, .01, "cosine" }},
		{"augmented", func(c *Config) { c.Augment = Augmentation{Elastic: 20, Turn: .1} }},
		{"frozen head", func(c *Config) { c.FreezeHead = true }},
	} {
		t.Run(v.name, func(t *testing.T) {
			rt := openToy(t)
			c := toyConfig()
			c.Epochs = 8
			v.set(&c)
			m := trainToy(t, rt, c, images)
			e, err := m.Evaluate(context.Background(), test, []Foreign{{"noise", strange}}, nil)
			require.NoError(t, err)
			t.Logf("accuracy %.3f, nll %.3f, noise: AUROC %.3f, unfamiliar %.2f; test unfamiliar %.2f", e.Accuracy, e.NLL,
				e.OOD["noise"].AUROC.Combined, e.OOD["noise"].Verdicts.Unfamiliar, e.Verdicts.Unfamiliar)
			assert.Greater(t, e.Accuracy, .6)
			assert.Greater(t, e.OOD["noise"].AUROC.Combined, .9)
			require.Len(t, m.History, c.PretrainEpochs+c.Epochs)
			assert.Less(t, m.History[1].Reconstruction, m.History[0].Reconstruction)
			assert.Less(t, m.History[len(m.History)-1].NLL, math.Log(3), "chance")
			head := make([]float32, m.head.Count())
			require.NoError(t, m.params.Read(m.head, head))
			assert.Equal(t, c.FreezeHead, math.Abs(float64(head[0])+.5) < 1e-6, "%v", head[0])
		})
	}
}

// The networks of the paper as they are, grey and colour, take one epoch and predict.
func TestPaperNetworks(t *testing.T) {
	needCPU(t)
	for _, network := range []string{"grey32", "colour32"} {
		rt := openToy(t)
		images := toyImages(60, 1)
		c := toyConfig()
		c.Network, c.PretrainEpochs, c.Epochs, c.HoldOut, c.LearningRate, c.Latent = network, 1, 1, .4, 1e-3, 40
		if network == "colour32" {
			c.Channels, images.Channels = 3, 3
			var rgb []float32
			for _, v := range images.Pixels {
				rgb = append(rgb, v, -v, v)
			}
			images.Pixels = rgb
		}
		m := trainToy(t, rt, c, images)
		for _, p := range predictAll(t, m, PredictorOptions{Overlap: true}, images.Pixels) {
			require.InDelta(t, 1, p.Probabilities[0]+p.Probabilities[1]+p.Probabilities[2], 1e-5)
			require.NotEqual(t, Uncertain, p.Verdict)
			require.False(t, math.IsNaN(p.Scores.Reconstruction) || math.IsNaN(p.Scores.ExplanationOverlap))
		}
		if network == "grey32" { // the parameters that section 1.7 counts, with those of the normalisations
			count := map[string]int64{}
			for _, v := range m.declared.params.Vars() {
				count[v.Name[:3]] += v.Count()
			}
			assert.Equal(t, map[string]int64{"enc": 323240, "dec": 323201, "pro": 3*40 + 3*40*40, "hea": 9}, count)
		}
	}
}

// Prototypes over vectors of somebody else's encoder, on every device.
func TestFeaturesLearn(t *testing.T) {
	images, test := toyVectors(600, 4, 4, 1), toyVectors(400, 4, 4, 2)
	for _, device := range []string{"go", "cpu"} {
		for _, kind := range PrototypeKinds {
			t.Run(fmt.Sprint(device, " ", kind), func(t *testing.T) {
				if device == "cpu" {
					needCPU(t)
				}
				c := vectorConfig(4, 4)
				c.Prototypes = kind
				m := trainToy(t, openToy(t, runtime.WithDevice(device)), c, images)
				out := predictAll(t, m, PredictorOptions{}, test.Pixels)
				assert.Greater(t, accuracyOf(out, test.Labels), .9) // two coordinates tell the classes, two sigma off: .954
				for _, h := range m.History {
					assert.Equal(t, "joint", h.Phase)
				}
				assert.True(t, math.IsNaN(out[0].Scores.Reconstruction))
			})
		}
	}
}

// The same seed gives the same file to the byte on any number of threads, another seed another.
func TestSameSeedSameBits(t *testing.T) {
	needCPU(t)
	images := toyImages(96, 1)
	for name, set := range map[string]func(c *Config){
		"full":                func(c *Config) { c.Augment.Elastic = 20 },
		"mixture VAE":         func(c *Config) { c.Prototypes, c.VAE = Mixture, true },
		"diag, two per class": func(c *Config) { c.Prototypes, c.PerClass = Diag, 2 },
		"grey32":              func(c *Config) { c.Network, c.Epochs, c.PretrainEpochs = "grey32", 1, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			c := toyConfig()
			set(&c)
			var want []byte
			for _, threads := range []int{1, 2, 5, 1} {
				got := savedBytes(t, trainToy(t, openToy(t, runtime.WithThreads(threads)), c, images))
				if want == nil {
					want = got
				}
				require.True(t, string(want) == string(got), "%d threads", threads)
			}
			c.Seed++
			require.False(t, string(want) == string(savedBytes(t, trainToy(t, openToy(t), c, images))))
		})
	}
}

// tenSteps are the losses of ten joint steps and the parameters after them, by variable.
func tenSteps(t *testing.T, device string, c Config) (losses [][5]float64, params map[string][]float32) {
	dir := testenv.BackendDir()
	if device == "cuda" {
		dir = testenv.CUDADir()
	}
	rt := openToy(t, runtime.WithDevice(device), runtime.WithBackendDir(dir))
	m, err := newModel(rt, c)
	require.NoError(t, err)
	defer m.Close()
	images := toyImages(80, 1)
	if c.Network == "features" {
		images = toyVectors(80, c.Latent, c.Classes, 1)
	}
	tr, err := m.newTrainer()
	require.NoError(t, err)
	defer tr.close()
	rows := order(&c, "joint", 0, 80)
	for i := range 10 {
		var sums [5]float64
		require.NoError(t, tr.runBatch(context.Background(), tr.joint, images, rows[8*i:8*i+8], newAugmenter(&c), c.LearningRate, &sums))
		losses = append(losses, sums)
	}
	params = map[string][]float32{}
	for _, memory := range []*runtime.Memory{m.params, m.stats} {
		for _, v := range memory.Segment.Vars() {
			values := make([]float32, v.Count())
			require.NoError(t, memory.Read(v, values))
			params[v.Name] = values
		}
	}
	return losses, params
}

// The state after ten steps must be the same on two devices but for rounding: the loss terms to 1e-4 of their size, the
// parameters to a hundredth of one step of Adam, 1e-5 (measured: 1.2e-7). Adam divides by the gradient's own size: the biases
// before a batch normalisation, whose gradient is zero but for rounding, walk at random, and with them the means of
// their layers; nothing else sees them.
func compareTenSteps(t *testing.T, one, other string) {
	for name, set := range map[string]func(c *Config){
		"full":     func(*Config) {},
		"VAE":      func(c *Config) { c.VAE = true },
		"diag":     func(c *Config) { c.Prototypes = Diag },
		"mixture":  func(c *Config) { c.Prototypes = Mixture },
		"features": func(c *Config) { *c = vectorConfig(4, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			c := toyConfig()
			c.LearningRate, c.Loss.Nearest, c.Loss.PriorKL = 1e-3, .05, .01
			set(&c)
			wantLosses, want := tenSteps(t, one, c)
			gotLosses, got := tenSteps(t, other, c)
			for i := range wantLosses {
				for k, w := range wantLosses[i] {
					assert.InDelta(t, w, gotLosses[i][k], 1e-4*(1+math.Abs(w)), "step %d, term %d", i, k)
				}
			}
			worst, where := 0.0, ""
			for name, values := range want {
				layer, kind, _ := cut(name)
				if _, normalised := want[layer+".gamma"]; normalised && (kind == "bias" || kind == "mean") {
					continue
				}
				for i, w := range values {
					if d := math.Abs(float64(w) - float64(got[name][i])); d > worst {
						worst, where = d, name
					}
				}
			}
			t.Logf("largest difference %.2g, of %s", worst, where)
			assert.Less(t, worst, 1e-5)
		})
	}
}

func TestTenStepsOnBothDevices(t *testing.T) {
	needCPU(t)
	compareTenSteps(t, "go", "cpu")
}

func TestTenStepsOnAGPU(t *testing.T) {
	testenv.NeedCUDA(t)
	compareTenSteps(t, "cpu", "cuda")
}

// cut splits "encoder.0.bias" before its last dot.
func cut(name string) (layer, kind string, ok bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return name, "", false
	}
	return name[:i], name[i+1:], true
}

// A cancelled training returns promptly, leaves nothing behind, and its last checkpoint is whole.
func TestCancelledTraining(t *testing.T) {
	for _, phase := range []string{"pretrain", "fit", "joint", "calibrate", "examples"} {
		t.Run(phase, func(t *testing.T) {
			c, images := toyConfig(), toyImages(96, 1)
			if !hasCPU(t) { // the pure-Go device takes its time over pictures
				if c, images = vectorConfig(4, 3), toyVectors(96, 4, 3, 1); phase == "pretrain" {
					t.Skip("nothing to pre-train")
				}
			}
			ctx, cancel := context.WithCancelCause(context.Background())
			why := errors.New("enough")
			checkpoint := filepath.Join(t.TempDir(), "c")
			rt := openToy(t)
			m, err := Train(ctx, rt, c, images, TrainOptions{Checkpoint: checkpoint, CheckpointSteps: 1, Progress: func(p Progress) {
				if p.Phase == phase {
					cancel(why)
				}
				require.LessOrEqual(t, p.Done, p.Total)
			}})
			if phase == "examples" && err == nil { // of one batch: the report comes when it is done
				m.Close()
				return
			}
			assert.ErrorIs(t, err, context.Canceled)
			assert.ErrorIs(t, err, why)
			assert.ErrorIs(t, err, runtime.ErrCancelled)
			if phase == "joint" || phase == "calibrate" {
				m, err = Train(context.Background(), rt, c, images, TrainOptions{Resume: checkpoint, Progress: func(p Progress) {
					assert.NotEqual(t, "pretrain", p.Phase)
				}})
				require.NoError(t, err)
				m.Close()
			}
		})
	}
}

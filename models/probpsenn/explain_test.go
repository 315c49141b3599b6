package probpsenn

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/runtime"
	"github.com/credence-ml/credence/runtime/testenv"
)

// strokes are 8x8 pictures of three classes: a horizontal, a vertical and a diagonal stroke, shifted and with noise.
func strokes(n int, seed uint64) *data.Images {
	const size = 8
	r := rand.New(rand.NewPCG(seed, 0))
	im := &data.Images{N: n, Height: size, Width: size, Channels: 1}
	for i := range n {
		class, shift := i%3, r.IntN(3)-1
		for y := range size {
			for x := range size {
				on := []bool{y == 4+shift, x == 4+shift, x == y+shift}[class]
				v := -.9 + .1*r.Float64()
				if on {
					v = .8 + .2*r.Float64()
				}
				im.Pixels = append(im.Pixels, float32(v))
			}
		}
		im.Labels = append(im.Labels, int32(class))
	}
	return im
}

// strokesConfig is a configuration that trains in a second.
func strokesConfig(kind PrototypeKind) Config {
	c := DefaultConfig()
	c.Classes, c.ClassNames, c.Height, c.Width, c.Prototypes, c.Latent = 3, []string{"flat", "upright", "<slanted>"}, 8, 8, kind, 4
	c.Samples, c.EvalSamples, c.PretrainEpochs, c.Epochs, c.Batch, c.HoldOut, c.Seed = 3, 16, 1, 3, 16, .25, 7
	return c
}

func openCPU(t *testing.T) *runtime.Runtime {
	testenv.NeedBackend(t, "cpu")
	rt, err := runtime.Open(runtime.WithBackendDir(testenv.BackendDir()), runtime.WithVariable("CREDENCE_DEVICE", "cpu"))
	require.NoError(t, err)
	t.Cleanup(rt.Close)
	return rt
}

func trained(t *testing.T, c Config, images *data.Images) *Model {
	m, err := Train(context.Background(), openCPU(t), c, images, TrainOptions{})
	require.NoError(t, err)
	t.Cleanup(m.Close)
	return m
}

func TestExplain(t *testing.T) {
	for _, kind := range PrototypeKinds {
		t.Run(string(kind), func(t *testing.T) {
			images := strokes(150, 1)
			c := strokesConfig(kind)
			c.VAE = kind == Diag
			m := trained(t, c, images)
			input := strokes(5, 2).Image(4)
			label := 1
			o := ExplainOptions{Samples: 400, Pictures: 5, Examples: 3, Training: images, Input: InputOrigin{"strokes", 4, &label}}
			x, err := m.Explain(t.Context(), o, input)
			require.NoError(t, err)
			checkExplanation(t, m, x, input)
			checkNearest(t, m, images)
			for _, y := range x.Classes {
				for _, q := range y.Prototypes {
					if y.Role == "" {
						assert.Empty(t, q.Examples)
						continue
					}
					require.Len(t, q.Examples, 3)
					for _, e := range q.Examples {
						assert.Equal(t, images.Image(e.Index), e.Picture.Pixels)
						assert.EqualValues(t, images.Labels[e.Index], e.Label)
					}
				}
			}

			var page, again bytes.Buffer
			require.NoError(t, x.Page().Write(&page))
			assert.True(t, strings.Contains(page.String(), "&lt;slanted&gt;"))
			assert.False(t, strings.Contains(page.String(), "<slanted>"), "names are escaped")
			assert.False(t, strings.Contains(visible(page.String()), "NaN"))
			assert.Less(t, page.Len(), 150_000)
			text, err := json.Marshal(x)
			require.NoError(t, err)
			second, err := m.Explain(t.Context(), o, input)
			require.NoError(t, err)
			require.NoError(t, second.Page().Write(&again))
			assert.Equal(t, page.Bytes(), again.Bytes())
			same, err := json.Marshal(second)
			require.NoError(t, err)
			assert.Equal(t, string(text), string(same))
		})
	}
}

// pictures are base64, in which any letters may follow one another.
var pictures = regexp.MustCompile(`base64,[^"]*`)

// visible is a page without its pictures.
func visible(page string) string { return pictures.ReplaceAllString(page, "") }

// checkExplanation proves that the parts of an explanation agree with each other and with a prediction.
func checkExplanation(t *testing.T, m *Model, x *Explanation, input []float32) {
	p, err := m.NewPredictor(PredictorOptions{Samples: 400, Overlap: true})
	require.NoError(t, err)
	defer p.Close()
	all, err := p.Predict(t.Context(), input)
	require.NoError(t, err)
	want, err := json.Marshal(all[0])
	require.NoError(t, err)
	got, err := json.Marshal(x.Prediction)
	require.NoError(t, err)
	assert.JSONEq(t, string(want), string(got))

	sum := 0.0
	for _, r := range x.Ranks {
		sum += r.Surprise
		assert.True(t, r.Percentile >= 0 && r.Percentile < 1, "%+v", r)
	}
	assert.InDelta(t, x.Prediction.Scores.Combined, sum, 1e-9, "the surprises make up the combined score")
	assert.Equal(t, x.Prediction.Label, x.Classes[0].Class)
	assert.Equal(t, RolePredicted, x.Classes[0].Role)
	assert.NotEmpty(t, x.Classes[1].Role)
	overlap := math.Inf(-1)
	for i, y := range x.Classes {
		logit := 0.0
		for _, row := range x.Contributions {
			logit += row[y.Class]
		}
		assert.InDelta(t, logit, x.Logits[y.Class], 1e-9)
		if i > 0 {
			assert.LessOrEqual(t, y.Probability, x.Classes[i-1].Probability)
			if y.Overlap != nil {
				overlap = math.Max(overlap, *y.Overlap)
			}
		}
		for _, q := range y.Prototypes {
			assert.InDelta(t, x.Prediction.Distances[q.Prototype], q.Mean, 1e-12)
			if m.Config.Prototypes == Point {
				assert.Len(t, q.Distances, 1)
				assert.InEpsilon(t, q.ExpectedMean, q.Mean, 1e-4)
				assert.Zero(t, q.ExpectedDeviation)
				assert.Nil(t, y.Overlap)
				continue
			}
			assert.Len(t, q.Distances, 400)
			assert.InDelta(t, q.ExpectedMean, q.Mean, 5*q.ExpectedDeviation/20, "the closed form, within 5 standard errors")
			assert.InEpsilon(t, q.ExpectedDeviation, q.Deviation, .35)
			for j, s := range q.Samples {
				assert.Equal(t, q.Distances[s.Sample], s.Distance)
				assert.Len(t, s.Picture.Pixels, side*side)
				if j > 0 {
					assert.GreaterOrEqual(t, s.Distance, q.Samples[j-1].Distance)
				}
			}
		}
	}
	if m.Config.Prototypes != Point {
		assert.InDelta(t, x.Prediction.Scores.ExplanationOverlap, overlap, 1e-9)
	}
	// the reconstruction comes from the same decoder as the score, and the difference from the same resized input
	square := 0.0
	for _, v := range x.Difference.Pixels {
		square += (float64(v) + 1) * (float64(v) + 1) / float64(side*side)
	}
	assert.InEpsilon(t, x.Prediction.Scores.Reconstruction, square, 1e-4)
}

// checkNearest looks for the nearest training examples the slow way.
func checkNearest(t *testing.T, m *Model, images *data.Images) {
	_, held, err := data.StratifiedSplit(images.Labels, m.Config.HoldOut, m.Config.Seed)
	require.NoError(t, err)
	isHeld := map[int]bool{}
	for _, i := range held {
		isHeld[i] = true
	}
	g, err := m.gaussians()
	require.NoError(t, err)
	p, err := m.NewPredictor(PredictorOptions{})
	require.NoError(t, err)
	defer p.Close()
	all, err := p.Predict(t.Context(), images.Pixels)
	require.NoError(t, err)
	for k, list := range m.Examples.Prototypes {
		require.Len(t, list, examplesKept)
		kept := map[int]bool{}
		for i, e := range list {
			assert.False(t, isHeld[e.Index], "held out for calibration")
			kept[e.Index] = true
			assert.InEpsilon(t, g.expected(widen(all[e.Index].Latent), k), e.Distance, 1e-4)
			if i > 0 {
				assert.GreaterOrEqual(t, e.Distance, list[i-1].Distance)
			}
		}
		farthest := list[len(list)-1].Distance
		for i := range all {
			if !kept[i] && !isHeld[i] {
				assert.GreaterOrEqual(t, g.expected(widen(all[i].Latent), k), farthest*(1-1e-4))
			}
		}
	}
}

func TestExplainWhatIsMissing(t *testing.T) {
	images := strokes(150, 1)
	c := strokesConfig(Full)
	m := trained(t, c, images)
	input := images.Image(0)
	for _, o := range []ExplainOptions{{}, {Training: strokes(150, 9)}, {Training: strokes(30, 1)}} {
		x, err := m.Explain(t.Context(), o, input)
		require.NoError(t, err)
		require.Len(t, x.Notes, 1)
		assert.Contains(t, x.Notes[0], "by their number")
		require.NotEmpty(t, x.Classes[0].Prototypes[0].Examples)
		assert.Nil(t, x.Classes[0].Prototypes[0].Examples[0].Picture)
		require.NoError(t, x.Page().Write(&bytes.Buffer{}))
	}
	_, err := m.Explain(t.Context(), ExplainOptions{}, input[:5])
	assert.EqualError(t, err, "prob-psenn: an input of 5 values; the model takes 64")
	_, err = m.Explain(t.Context(), ExplainOptions{Examples: -1}, input)
	assert.ErrorContains(t, err, "neither may be negative")
	_, err = m.Explain(t.Context(), ExplainOptions{}, append([]float32{float32(math.NaN())}, input[1:]...))
	assert.ErrorContains(t, err, "value 0 of input 0 is NaN")

	m.Calibration, m.Examples = nil, nil
	x, err := m.Explain(t.Context(), ExplainOptions{}, input)
	require.NoError(t, err)
	assert.Equal(t, Uncertain, x.Prediction.Verdict)
	assert.Empty(t, x.Ranks)
	assert.Equal(t, []string{"The model keeps no nearest training examples."}, x.Notes)
	require.NoError(t, x.Page().Write(&bytes.Buffer{}))
	text, err := json.Marshal(x)
	require.NoError(t, err)
	assert.Contains(t, string(text), `"unfamiliarity":null`)
	assert.Contains(t, string(text), `"percentile":null`)
	var prediction Prediction
	part, err := json.Marshal(x.Prediction)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(part, &prediction))
	assert.True(t, math.IsNaN(prediction.Scores.Unfamiliarity))
	assert.Equal(t, x.Prediction.Scores.Distance, prediction.Scores.Distance)
}

// vectors are a latent-only model's inputs: three clouds.
func vectors(n, d int) *data.Images {
	r := rand.New(rand.NewPCG(3, 3))
	im := &data.Images{N: n, Height: 1, Width: d, Channels: 1}
	for i := range n {
		for j := range d {
			im.Pixels = append(im.Pixels, float32(r.NormFloat64()+4*map[bool]float64{true: 1}[j == i%3]))
		}
		im.Labels = append(im.Labels, int32(i%3))
	}
	return im
}

func TestExplainFeatures(t *testing.T) {
	c := strokesConfig(Full)
	c.Network, c.PerClass, c.Latent = "features", 2, 5
	images := vectors(150, 5)
	m := trained(t, c, images)
	x, err := m.Explain(t.Context(), ExplainOptions{}, images.Image(1))
	require.NoError(t, err)
	assert.Empty(t, x.Notes)
	assert.Nil(t, x.Picture)
	assert.Len(t, x.Contributions, 6)
	assert.Len(t, x.Classes[0].Prototypes, 2)
	assert.NotEmpty(t, x.Classes[0].Prototypes[0].Examples)
	assert.Len(t, x.Classes[0].Prototypes[0].Samples, 8)
	require.NoError(t, x.Page().Write(&bytes.Buffer{}))
	r, err := m.Report(t.Context(), ReportOptions{Data: vectors(60, 5)})
	require.NoError(t, err)
	require.NoError(t, r.Page().Write(&bytes.Buffer{}))
	_, err = json.Marshal(r)
	require.NoError(t, err)
}

func TestExamplesTravelWithTheModel(t *testing.T) {
	c := strokesConfig(Full)
	c.Network, c.Latent = "features", 5
	m := trained(t, c, vectors(150, 5))
	path := t.TempDir() + "/m.safetensors"
	require.NoError(t, m.Save(path))
	again, err := Load(m.rt, path)
	require.NoError(t, err)
	defer again.Close()
	assert.Equal(t, m.Examples, again.Examples)

	for want, spoil := range map[string]func(e *Examples){
		"is not a SHA-256":                     func(e *Examples) { e.Data = "abc" },
		"examples of 2 prototypes":             func(e *Examples) { e.Prototypes = e.Prototypes[1:] },
		"9 examples of prototype 0; at most 8": func(e *Examples) { e.Prototypes[0] = append(e.Prototypes[0], e.Prototypes[0][0]) },
		"has index 150":                        func(e *Examples) { e.Prototypes[0][0].Index = 150 },
		"label -1":                             func(e *Examples) { e.Prototypes[1][0].Label = -1 },
		"they ascend from 0":                   func(e *Examples) { e.Prototypes[2][0].Distance = 1e9 },
		"has 4 latent values":                  func(e *Examples) { e.Prototypes[2][0].Latent = e.Prototypes[2][0].Latent[:4] },
	} {
		fresh, err := Load(m.rt, path)
		require.NoError(t, err)
		spoil(fresh.Examples)
		bad := t.TempDir() + "/bad.safetensors"
		require.NoError(t, fresh.Save(bad))
		fresh.Close()
		_, err = Load(m.rt, bad)
		assert.ErrorContains(t, err, want)
	}
}

// A mixture of two one-dimensional components, by hand: E = sum w (delta^2 + s^2), Var by the law of total variance.
func TestMixtureMoments(t *testing.T) {
	g := &gaussians{k: 1, m: 2, d: 1, mean: [][]float64{{0}, {3}}, weight: []float64{.25, .75}, trace: []float64{4, 1},
		factor: []*mat.TriDense{mat.NewTriDense(1, mat.Lower, []float64{2}), mat.NewTriDense(1, mat.Lower, []float64{1})}}
	mean, variance := g.moments([]float64{1}, 0)
	// component 1: E = 1+4, Var = 2*16+4*4 = 48; component 2: E = 4+1, Var = 2+4*4 = 18
	assert.InDelta(t, 5, mean, 1e-12)
	assert.InDelta(t, .25*48+.75*18, variance, 1e-12)
	assert.InDelta(t, 5, g.expected([]float64{1}, 0), 1e-12)
	joined, cov := g.gaussian(0)
	assert.InDelta(t, 2.25, joined[0], 1e-12)
	assert.InDelta(t, .25*4+.75*1+.25*.75*9, cov.At(0, 0), 1e-12)
}

func TestPercent(t *testing.T) {
	for v, want := range map[float64]string{0: "0 %", 1: "100 %", .5: "50 %", .123: "12.3 %", .99999: "over 99.9 %", 1e-9: "under 0.1 %", .95: "95 %"} {
		assert.Equal(t, want, percent(v))
	}
	assert.Equal(t, "an unknown share", percent(math.NaN()))
	for v, want := range map[float64]string{0: "0", 1234.5: "1234", .012345: "0.0123", 12.345: "12.3"} {
		assert.Equal(t, want, terse(v))
	}
}

// The sentences of each verdict name what decides.
func TestReasons(t *testing.T) {
	c := strokesConfig(Full)
	overlap := .4
	x := &Explanation{Class: "flat", Prediction: Prediction{Probability: .6, Probabilities: []float64{.6, .3, .1}, Competing: []int{1},
		Scores: Scores{Unfamiliarity: .5, Ambiguity: .97}}, Ranks: []ScoreRank{{"distance", 3, .9, 1}, {"reconstruction", 3, .999, 9}},
		Classes: []ClassExplanation{{Name: "flat", Role: RolePredicted, Probability: .6}, {Name: "upright", Class: 1, Role: RoleCompeting, Probability: .3, Overlap: &overlap},
			{Name: "slanted", Class: 2, Probability: .1}}}
	text := func(v Verdict) string {
		x.Prediction.Verdict = v
		return strings.Join(x.reasons(&c), "\n")
	}
	assert.Contains(t, text(Ambiguous), "less certain than for 97 % of the held-out inputs that the model took for flat; the limit is 95 %.")
	assert.Contains(t, text(Ambiguous), "upright explains it too, with a probability of 30 % against 60 %; the distances from the two overlap by 40 %.")
	assert.NotContains(t, text(Ambiguous), "slanted")
	x.Prediction.Scores.Unfamiliarity = .999
	assert.Contains(t, text(Unfamiliar), "What gives it away: its error of the reconstruction is larger than for 99.9 % of them.")
	assert.Contains(t, text(Trusted), "The probability is low all the same")
	assert.Contains(t, text(Uncertain), "not calibrated")
}

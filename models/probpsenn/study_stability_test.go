package probpsenn

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/metrics"
)

// stabilityInputs is how many test inputs the study of stability uses.
const stabilityInputs = 1000

// A measure holds one value per input (or class), already averaged over seeds, for every kind of prototypes.
type measure map[PrototypeKind][]float64

// print writes mean and 95 % bootstrap interval over inputs for every kind, and the paired difference from points.
func (v measure) print(t *testing.T, title string) {
	interval := func(values []float64) string {
		i, err := metrics.Bootstrap(len(values), 2000, 1, .95, func(rows []int) float64 { return meanAt(values, rows) })
		require.NoError(t, err)
		return fmt.Sprintf("%7.4f [%7.4f, %7.4f]", meanOfValues(values), i.Low, i.High)
	}
	fmt.Println(title)
	for _, kind := range PrototypeKinds {
		line := fmt.Sprintf("  %-8s %s", kind, interval(v[kind]))
		if kind != Point {
			difference := make([]float64, len(v[kind]))
			for i := range difference {
				difference[i] = v[kind][i] - v[Point][i]
			}
			line += "   less point " + interval(difference)
		}
		fmt.Println(line)
	}
}

// TestStudyStability measures the paper's claim of "more robust explanations": what of an explanation stays under noise
// in the input, and from one seed of the training to another.
func TestStudyStability(t *testing.T) {
	s := studySets(t)
	rt := studyRuntime(t)
	rows := make([]int, stabilityInputs)
	for i := range rows {
		rows[i] = i
	}
	test := s.test.Subset(rows)
	shown := map[PrototypeKind][]*shownModel{}
	for _, kind := range PrototypeKinds {
		for _, m := range trainStudy(t, rt, kind, s) {
			shown[kind] = append(shown[kind], showModel(t, m, test.Pixels))
		}
	}
	fmt.Printf("\nStability of explanations, %d test images, %d seeds; 95 %% bootstrap intervals over images (over classes and pairs of seeds for\n"+
		"pictures of prototypes), and the paired difference from point prototypes.\n", stabilityInputs, *studySeeds)
	for _, noise := range []float64{.1, .2, .4} {
		ranks, labels, pictures := measure{}, measure{}, measure{}
		x := noisy(test, noise)
		for _, kind := range PrototypeKinds {
			for _, s := range shown[kind] {
				s.compare(t, x, add(ranks, kind, *studySeeds), add(labels, kind, *studySeeds), add(pictures, kind, *studySeeds))
			}
		}
		ranks.print(t, fmt.Sprintf("\nnoise of deviation %.1f (pixels -1 to 1): rank correlation of the ten class distances, before and after", noise))
		labels.print(t, "the same: share whose predicted class, and with it the class whose prototype is shown, stays")
		pictures.print(t, "the same: pixel correlation of the picture shown first, the nearest prototype sample of the predicted class")
	}
	distances, means, samples := measure{}, measure{}, measure{}
	for _, kind := range PrototypeKinds {
		for i, a := range shown[kind] {
			for _, b := range shown[kind][:i] {
				compareSeeds(a, b, add(distances, kind, seedPairs()))
				means[kind] = append(means[kind], correlations(a.means, b.means)...)
				samples[kind] = append(samples[kind], correlations(a.average, b.average)...)
			}
		}
	}
	distances.print(t, "\nbetween two seeds: rank correlation of the ten class distances of an image")
	means.print(t, "between two seeds: pixel correlation of the decoded mean of a class's prototype")
	samples.print(t, "between two seeds: pixel correlation of the average of 50 decoded samples of a class's prototype")
}

func seedPairs() int { return *studySeeds * (*studySeeds - 1) / 2 }

// add gives a function that adds the values of one of n models to a kind's averages.
func add(v measure, kind PrototypeKind, n int) func(i int, x float64) {
	if v[kind] == nil {
		v[kind] = make([]float64, stabilityInputs)
	}
	return func(i int, x float64) { v[kind][i] += x / float64(n) }
}

// noisy adds Gaussian noise to pixels.
func noisy(images *data.Images, deviation float64) []float32 {
	r := rand.New(rand.NewPCG(9, 9))
	x := slices.Clone(images.Pixels)
	for i, v := range x {
		x[i] = float32(math.Max(-1, math.Min(1, float64(v)+deviation*r.NormFloat64())))
	}
	return x
}

// A shownModel is a model with what its explanations of the study's inputs show.
type shownModel struct {
	m        *Model
	explain  *explainer
	clean    []shownInput
	pictures [][]float64 // of prototype samples, [sample * classes + class]
	means    [][]float64 // of prototype means (of a mixture the heavier component), per class
	average  [][]float64 // of the samples' pictures, per class
}

// A shownInput is what matters of the explanation of one input.
type shownInput struct {
	label   int
	ranks   []float64 // of the class distances
	nearest int       // index in pictures of the nearest sample of the predicted class
}

func showModel(t *testing.T, m *Model, x []float32) *shownModel {
	e, err := m.newExplainer(PredictorOptions{MaxBatch: encodeBatch, LabelsOnly: true})
	require.NoError(t, err)
	t.Cleanup(e.Close)
	s := &shownModel{m: m, explain: e}
	s.pictures = s.decode(t, e.samples)
	classes := m.Config.Classes
	for class := range classes {
		average := make([]float64, len(s.pictures[0]))
		for i := class; i < len(s.pictures); i += classes {
			for j, v := range s.pictures[i] {
				average[j] += v
			}
		}
		s.average = append(s.average, average)
		first := class * e.gaussians.m
		heaviest := first
		for c := first; c < first+e.gaussians.m; c++ {
			if e.gaussians.weight[c] > e.gaussians.weight[heaviest] {
				heaviest = c
			}
		}
		mean := make([]float32, m.Config.Latent)
		for j, v := range e.gaussians.mean[heaviest] {
			mean[j] = float32(v)
		}
		s.means = append(s.means, s.decode(t, mean)[0])
	}
	s.clean = s.show(t, x)
	return s
}

func (s *shownModel) decode(t *testing.T, latents []float32) [][]float64 {
	decoded, err := s.explain.decoder.run(context.Background(), latents)
	require.NoError(t, err)
	var pictures [][]float64
	size := s.explain.decoder.outSize
	for at := 0; at < len(decoded); at += size {
		pictures = append(pictures, widen(decoded[at:at+size]))
	}
	return pictures
}

// show explains inputs.
func (s *shownModel) show(t *testing.T, x []float32) []shownInput {
	p, size, classes := s.explain.predictor, s.m.inputSize(), s.m.Config.Classes
	var all []shownInput
	for at := 0; at < len(x); at += encodeBatch * size {
		out, err := p.Predict(context.Background(), x[at:min(at+encodeBatch*size, len(x))])
		require.NoError(t, err)
		for i := range out {
			y := shownInput{label: out[i].Label, ranks: ranks(out[i].Distances)}
			distance := func(sample int) float32 { return p.d[(i*p.samples+sample)*classes+y.label] }
			nearest := 0
			for sample := range p.samples {
				if distance(sample) < distance(nearest) {
					nearest = sample
				}
			}
			y.nearest = nearest*classes + y.label
			all = append(all, y)
		}
	}
	return all
}

// compare tells what of the clean inputs' explanations stays with inputs changed.
func (s *shownModel) compare(t *testing.T, x []float32, ranks, labels, pictures func(i int, x float64)) {
	for i, y := range s.show(t, x) {
		was := s.clean[i]
		ranks(i, pearson(was.ranks, y.ranks))
		if was.label == y.label {
			labels(i, 1)
		}
		pictures(i, pearson(s.pictures[was.nearest], s.pictures[y.nearest]))
	}
}

// compareSeeds compares two models' distances of every input.
func compareSeeds(a, b *shownModel, distances func(i int, x float64)) {
	for i := range a.clean {
		distances(i, pearson(a.clean[i].ranks, b.clean[i].ranks))
	}
}

func correlations(a, b [][]float64) []float64 {
	var r []float64
	for i := range a {
		r = append(r, pearson(a[i], b[i]))
	}
	return r
}

// ranks are the places of values in ascending order, from 0.
func ranks(v []float64) []float64 {
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(v[a], v[b]) })
	r := make([]float64, len(v))
	for place, i := range order {
		r[i] = float64(place)
	}
	return r
}

func pearson(x, y []float64) float64 {
	mx, my := meanOfValues(x), meanOfValues(y)
	var xy, xx, yy float64
	for i := range x {
		xy += (x[i] - mx) * (y[i] - my)
		xx += (x[i] - mx) * (x[i] - mx)
		yy += (y[i] - my) * (y[i] - my)
	}
	return xy / math.Sqrt(xx*yy)
}

func meanAt(v []float64, rows []int) float64 {
	sum := 0.0
	for _, i := range rows {
		sum += v[i]
	}
	return sum / float64(len(rows))
}

func meanOfValues(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

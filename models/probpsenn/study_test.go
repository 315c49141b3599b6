package probpsenn

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/metrics"
	"github.com/credence-ml/credence/runtime"
	"github.com/credence-ml/credence/runtime/testenv"
)

// The studies behind the figures of the README, run by ci/bench/probpsenn_reference.sh; too long for ci/test.
var (
	studyData    = flag.String("credence.mnist", "", "directory of MNIST: run the reference study on its test file")
	studyForeign = flag.String("credence.fashion", "", "directory of Fashion-MNIST, the unfamiliar set of the study")
	studySeeds   = flag.Int("credence.seeds", 3, "seeds of the study")
)

// reference is the data of section 7.2 of the specification: 8,000 and 2,000 images of the MNIST test file.
func referenceData(t *testing.T) (train, test, foreign *data.Images) {
	if *studyData == "" || *studyForeign == "" {
		t.Skip("with -credence.mnist DIR -credence.fashion DIR")
	}
	all, err := data.LoadDirectory(*studyData, "test")
	require.NoError(t, err)
	order := data.NumPyPermutation(1234, all.N)
	foreign, err = data.LoadDirectory(*studyForeign, "test")
	require.NoError(t, err)
	first := make([]int, 2000)
	for i := range first {
		first[i] = i
	}
	return all.Subset(order[:8000]), all.Subset(order[8000:]), foreign.Subset(first)
}

func studyRuntime(t *testing.T) *runtime.Runtime {
	rt, err := runtime.Open(runtime.WithBackendDir(testenv.BackendDir()))
	require.NoError(t, err)
	t.Cleanup(rt.Close)
	return rt
}

// trainStudy trains the models of one kind, one per seed.
func trainStudy(t *testing.T, rt *runtime.Runtime, kind PrototypeKind, train *data.Images) []*Model {
	var models []*Model
	for seed := range *studySeeds {
		c := DefaultConfig()
		c.Prototypes, c.PretrainEpochs, c.Epochs, c.Seed = kind, 5, 10, uint64(seed)
		c.Schedule = "constant" // as in the reference run
		m, err := Train(context.Background(), rt, c, train, TrainOptions{})
		require.NoError(t, err)
		t.Cleanup(m.Close)
		models = append(models, m)
	}
	return models
}

// TestStudyReference repeats the reference run for every kind of prototypes, then compares how stable the explanations
// of probabilistic and of point prototypes are.
func TestStudyReference(t *testing.T) {
	train, test, foreign := referenceData(t)
	rt := studyRuntime(t)
	fmt.Printf("8,000 training inputs (10 %% held out), 2,000 test inputs, 5 + 10 epochs; unfamiliar: 2,000 of Fashion-MNIST\n")
	fmt.Printf("%-8s %4s %8s %7s %7s %7s %7s %7s %7s %7s %9s %9s\n", "kind", "seed", "accuracy", "nll", "A(H)", "A(MI)", "A(EEU)", "A(rec)", "A(chi2)",
		"A(comb)", "unf. own", "unf. other")
	models := map[PrototypeKind][]*Model{}
	for _, kind := range PrototypeKinds {
		models[kind] = trainStudy(t, rt, kind, train)
		var accuracy float64
		for seed, m := range models[kind] {
			e, err := m.Evaluate(context.Background(), test, []Foreign{{"fashion", foreign}}, nil)
			require.NoError(t, err)
			o := e.OOD["fashion"]
			fmt.Printf("%-8s %4d %8.4f %7.4f %7.4f %7.4f %7.4f %7.4f %7.4f %7.4f %9.4f %9.4f\n", kind, seed, e.Accuracy, e.NLL, o.AUROC.PredictiveEntropy,
				o.AUROC.MutualInformation, o.AUROC.ExplanationPercentile, o.AUROC.Reconstruction, o.AUROC.ChiSquare, o.AUROC.Combined,
				e.Verdicts.Unfamiliar, o.Verdicts.Unfamiliar)
			accuracy += e.Accuracy / float64(len(models[kind]))
		}
		fmt.Printf("%-8s mean %8.4f\n", kind, accuracy)
	}
	fmt.Printf("\nstability of the explanation under input noise: Spearman correlation of the ten class distances, clean against noisy,\n" +
		"mean over 1,000 test inputs and seeds with 95 %% bootstrap interval; share whose nearest prototype stays\n")
	for _, kind := range PrototypeKinds {
		for _, noise := range []float64{.05, .1, .2, .4} {
			correlation, kept := noiseStability(t, models[kind], test, noise)
			interval, err := metrics.Bootstrap(len(correlation), 500, 1, .95, func(rows []int) float64 { return meanAt(correlation, rows) })
			require.NoError(t, err)
			fmt.Printf("%-8s noise %.2f: correlation %.4f [%.4f, %.4f], nearest kept %.4f\n", kind, noise, meanAt(correlation, nil), interval.Low, interval.High, kept)
		}
	}
	fmt.Printf("\nstability across seeds: correlation of the decoded prototype means of a class, mean over classes and pairs of seeds\n")
	for _, kind := range PrototypeKinds {
		v := seedStability(t, models[kind])
		interval, err := metrics.Bootstrap(len(v), 500, 1, .95, func(rows []int) float64 { return meanAt(v, rows) })
		require.NoError(t, err)
		fmt.Printf("%-8s %.4f [%.4f, %.4f]\n", kind, meanAt(v, nil), interval.Low, interval.High)
	}
}

func meanAt(v []float64, rows []int) float64 {
	if rows == nil {
		rows = make([]int, len(v))
		for i := range rows {
			rows[i] = i
		}
	}
	sum := 0.0
	for _, i := range rows {
		sum += v[i] / float64(len(rows))
	}
	return sum
}

// noiseStability predicts inputs with and without Gaussian noise in their pixels.
func noiseStability(t *testing.T, models []*Model, test *data.Images, noise float64) (correlation []float64, kept float64) {
	const n = 1000
	size := test.ImageSize()
	clean := test.Pixels[:n*size]
	noisy := make([]float32, len(clean))
	r := rand.New(rand.NewPCG(9, 9))
	for i, v := range clean {
		noisy[i] = float32(math.Max(-1, math.Min(1, float64(v)+noise*r.NormFloat64())))
	}
	for _, m := range models {
		p, err := m.NewPredictor(PredictorOptions{MaxBatch: encodeBatch, LabelsOnly: true})
		require.NoError(t, err)
		a, err := p.Predict(context.Background(), clean)
		require.NoError(t, err)
		b, err := p.Predict(context.Background(), noisy)
		require.NoError(t, err)
		p.Close()
		for i := range a {
			x, y := ranks(a[i].Distances), ranks(b[i].Distances)
			correlation = append(correlation, pearson(x, y))
			if slices.Index(x, 0) == slices.Index(y, 0) {
				kept += 1 / float64(n*len(models))
			}
		}
	}
	return correlation, kept
}

// seedStability correlates the decoded prototype means of each class between every two seeds.
func seedStability(t *testing.T, models []*Model) []float64 {
	var pictures [][][]float64
	for _, m := range models {
		e, err := m.newExplainer(PredictorOptions{})
		require.NoError(t, err)
		means := make([]float32, m.prototypes.mean.Count())
		require.NoError(t, m.params.Read(m.prototypes.mean, means))
		decoded, err := e.decoder.run(context.Background(), means)
		require.NoError(t, err)
		e.Close()
		per := len(decoded) / (m.Config.prototypes() * m.Config.components())
		var all [][]float64
		for class := range m.Config.Classes {
			at := class * m.Config.PerClass * m.Config.components() * per
			all = append(all, widen(decoded[at:at+per]))
		}
		pictures = append(pictures, all)
	}
	var r []float64
	for i := range pictures {
		for j := range i {
			for class := range pictures[i] {
				r = append(r, pearson(pictures[i][class], pictures[j][class]))
			}
		}
	}
	return r
}

// ranks are the places of values in ascending order, from 0.
func ranks(v []float64) []float64 {
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if v[a] < v[b] {
			return -1
		}
		return 1
	})
	r := make([]float64, len(v))
	for place, i := range order {
		r[i] = float64(place)
	}
	return r
}

func pearson(x, y []float64) float64 {
	mx, my := meanAt(x, nil), meanAt(y, nil)
	var xy, xx, yy float64
	for i := range x {
		xy += (x[i] - mx) * (y[i] - my)
		xx += (x[i] - mx) * (x[i] - mx)
		yy += (y[i] - my) * (y[i] - my)
	}
	return xy / math.Sqrt(xx*yy)
}

package probpsenn

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/metrics"
	"github.com/credence-ml/credence/runtime"
	"github.com/credence-ml/credence/runtime/testenv"
)

// The studies behind the figures of the README, run by ci/bench/probpsenn_reference.sh; too long for ci/test.
var (
	studyData    = flag.String("credence.mnist", "", "directory of MNIST: run the studies on its test file")
	studyForeign = flag.String("credence.fashion", "", "directory of Fashion-MNIST, the unfamiliar set of the studies")
	studyModels  = flag.String("credence.models", "", "directory where the studies keep their models, so that they are trained once")
	studyInitial = flag.String("credence.initial", FanIn, "law of the first weights in the studies: fan_in, or glorot as in the original")
	studySeeds   = flag.Int("credence.seeds", 3, "seeds of the studies")
)

// A study has the data of the reference run: 8,000 and 2,000 images of the MNIST test file, in the order of NumPy's
// RandomState(1234).permutation, and the first 2,000 test images of Fashion-MNIST. The reference kept nothing back from
// training; so that nothing is here either, calibration is on 2,000 images of the other file.
type study struct{ train, test, calibration, foreign *data.Images }

func studySets(t *testing.T) study {
	if *studyData == "" || *studyForeign == "" || *studyModels == "" {
		t.Skip("with -credence.mnist DIR -credence.fashion DIR -credence.models DIR")
	}
	load := func(dir, split string) *data.Images {
		images, err := data.LoadDirectory(dir, split)
		require.NoError(t, err)
		return images
	}
	first := make([]int, 2000)
	for i := range first {
		first[i] = i
	}
	all := load(*studyData, "test")
	order := data.NumPyPermutation(1234, all.N)
	return study{train: all.Subset(order[:8000]), test: all.Subset(order[8000:]), calibration: load(*studyData, "train").Subset(first),
		foreign: load(*studyForeign, "test").Subset(first)}
}

func studyRuntime(t *testing.T) *runtime.Runtime {
	rt, err := runtime.Open(runtime.WithBackendDir(testenv.BackendDir()))
	require.NoError(t, err)
	t.Cleanup(rt.Close)
	return rt
}

// studyConfig is that of the reference run, whose learning rate was constant.
func studyConfig(kind PrototypeKind, seed int) Config {
	c := DefaultConfig()
	c.Prototypes, c.PretrainEpochs, c.Epochs, c.Seed, c.Schedule = kind, 5, 10, uint64(seed), "constant"
	c.HoldOut, c.Initial = 0, *studyInitial
	return c
}

// trainStudy gives the models of one kind, one per seed, from the directory of models if they are there.
func trainStudy(t *testing.T, rt *runtime.Runtime, kind PrototypeKind, s study) []*Model {
	require.NoError(t, os.MkdirAll(*studyModels, 0o755))
	var models []*Model
	for seed := range *studySeeds {
		path := filepath.Join(*studyModels, fmt.Sprintf("%s-%s-%d.safetensors", *studyInitial, kind, seed))
		m, err := Load(rt, path)
		if err != nil {
			m, err = Train(context.Background(), rt, studyConfig(kind, seed), s.train, TrainOptions{})
			require.NoError(t, err)
			require.NoError(t, m.Calibrate(context.Background(), s.calibration, nil))
			require.NoError(t, m.Save(path))
		}
		require.Equal(t, studyConfig(kind, seed), m.Config, "%s is of another study; remove it", path)
		t.Cleanup(m.Close)
		models = append(models, m)
	}
	return models
}

// everything predicts a set with all scores.
func everything(t *testing.T, m *Model, images *data.Images) []Prediction {
	p, err := m.NewPredictor(PredictorOptions{MaxBatch: encodeBatch, Overlap: true})
	require.NoError(t, err)
	defer p.Close()
	out, err := p.Predict(context.Background(), images.Pixels)
	require.NoError(t, err)
	return out
}

// misclassified is how well the predictive entropy tells wrong answers from right ones.
func misclassified(t *testing.T, all []Prediction, labels []int32) float64 {
	var right, wrong []float64
	for i := range all {
		if all[i].Label == int(labels[i]) {
			right = append(right, all[i].PredictiveEntropy)
		} else {
			wrong = append(wrong, all[i].PredictiveEntropy)
		}
	}
	v, err := metrics.AUROC(right, wrong)
	require.NoError(t, err)
	return v
}

// TestStudyReference repeats the reference run for every kind of prototypes.
func TestStudyReference(t *testing.T) {
	s := studySets(t)
	rt := studyRuntime(t)
	fmt.Printf(`Reference run: 8,000 training and 2,000 test images of MNIST's t10k file, 5 + 10 epochs at a constant rate, calibrated
on 2,000 further images; first weights by the law %s. H predictive entropy, MI mutual information, EEU explanation
percentile, OVL explanation overlap, REC reconstruction, CHI chi-square, ALL combined: area under the ROC curve against
2,000 images of Fashion-MNIST; H! that of H for wrong answers; unf: share called unfamiliar.

`, *studyInitial)
	fmt.Printf("%-8s %4s %8s %6s  %5s %5s %5s %5s %5s %5s %5s  %5s  %8s %8s\n", "kind", "seed", "accuracy", "nll", "H", "MI", "EEU", "OVL", "REC",
		"CHI", "ALL", "H!", "unf mnist", "fashion")
	for _, kind := range PrototypeKinds {
		var sum, n float64
		for seed, m := range trainStudy(t, rt, kind, s) {
			own, other := everything(t, m, s.test), everything(t, m, s.foreign)
			e, err := m.Evaluate(context.Background(), s.test, nil, nil)
			require.NoError(t, err)
			a, err := m.compareScores(own, other)
			require.NoError(t, err)
			fmt.Printf("%-8s %4d %8.4f %6.3f  %5.3f %5.3f %5.3f %5.3f %5.3f %5.3f %5.3f  %5.3f  %8.4f %8.4f\n", kind, seed, e.Accuracy, e.NLL,
				a.PredictiveEntropy, a.MutualInformation, a.ExplanationPercentile, a.ExplanationOverlap, a.Reconstruction, a.ChiSquare,
				a.Combined, misclassified(t, own, s.test.Labels), e.Verdicts.Unfamiliar, sharesOf(other).Unfamiliar)
			sum, n = sum+e.Accuracy, n+1
		}
		fmt.Printf("%-8s mean %8.4f\n", kind, sum/n)
	}
	fmt.Print(`
The PyTorch reference on the same split, three seeds: accuracy full .9815 .9775 .9740, diag .9825 (one seed), point .9720
.9760 .9760; H! full .955 .962 .969, diag .972, point .953 .964 .946. Against Fashion-MNIST, full: H .93 .92 .77, EEU .84
.79 .76. Its scores against K-MNIST (full: H .956 .954 .951, MI .956 .954 .949, EEU .889 .891 .873) have no counterpart
here, because no package manager carries K-MNIST.
`)
}

package artifact

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func some[T any](v T) *T { return &v }

// sample is a small model that keeps every rule; the seed makes its numbers.
func sample(seed uint64) *Artifact {
	random := rand.New(rand.NewPCG(seed, 0))
	numbers := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = random.Float32() - .5
		}
		return v
	}
	a := &Artifact{ID: fmt.Sprint("model ", seed), Created: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), Producer: Producer{"credence", "test"},
		Config: Config{ClassNames: []string{"no", "yes", "é"}, EmbeddingDimension: 5, ExemplarDimension: 4, MaxNeighbors: 100, QOffset: 2,
			AlphaResolution: .05},
		Normalization:    Normalization{.25, 1.5},
		Representation:   Representation{Provider: "us", Fingerprint: "sha256:1", Model: some("m")},
		ProjectionWeight: numbers(20), ProjectionBias: numbers(4), ClassifierWeight: numbers(12), ClassifierBias: numbers(3),
		Support:      numbers(7 * 4),
		DistanceCDFs: [][]float32{{0, .5, .5, 1e-7}, {}, {3.25}}, SimilarityCDFs: [][]float32{{0, 2.6457512, 7}, {1}, {}},
		Regions: []Region{{.95, 2.5, []float32{.95, 1, .97}}, {.9, 0, []float32{.9, .9, .9}}},
		Calibration: []Calibrated{
			{ID: "x", Label: 0, Prediction: 2, SDM: []float32{.25, .25, .5}, QPrime: 1.5, Q: some[int32](3), D0: some[float32](.1), D: some[float32](1), ZPrime: []float32{-1, 0, 1e-3}},
			{ID: "y", Label: 1, Prediction: 1, SDM: []float32{0, 1, 0}, QPrime: 0},
		},
	}
	a.DistanceCDFs[0] = []float32{0, 1e-7, .5, .5}
	for i := range 7 {
		r := Record{ID: fmt.Sprint("row ", i), Label: int32(i % 3), Predicted: int32(i % 2)}
		if i == 3 {
			r.Label, r.Document, r.Metadata = OutOfDistribution, some("<é>\n"), json.RawMessage(`{"n":[1,2.50]}`)
		}
		a.Records = append(a.Records, r)
	}
	if err := a.SetMeta("trainingRun", map[string]any{"configuration": map[string]any{"seed": fmt.Sprint(seed)}}); err != nil {
		panic(err)
	}
	return a
}

func TestRoundTrip(t *testing.T) {
	for _, calibrated := range []bool{true, false} {
		want := sample(18446744073709551615)
		if !calibrated {
			want.Calibration, want.Metadata = nil, nil
		}
		path := filepath.Join(t.TempDir(), "x.sdmkitmodel")
		require.NoError(t, want.Write(path))
		got, err := Read(path)
		require.NoError(t, err)
		assert.Equal(t, want, got)
		again := filepath.Join(t.TempDir(), "y.sdmkitmodel")
		require.NoError(t, got.Write(again))
		entries, err := os.ReadDir(path)
		require.NoError(t, err)
		assert.Len(t, entries, map[bool]int{true: 5, false: 4}[calibrated])
		for _, e := range entries {
			a, err := os.ReadFile(filepath.Join(path, e.Name()))
			require.NoError(t, err)
			b, err := os.ReadFile(filepath.Join(again, e.Name()))
			require.NoError(t, err)
			assert.Equal(t, string(a), string(b), e.Name())
		}
	}
}

func TestMeta(t *testing.T) {
	a := sample(1)
	require.NoError(t, a.SetMeta("calibrationStale", true))
	require.NoError(t, a.SetMeta("calibrationStale", false))
	var stale bool
	there, err := a.Meta("calibrationStale", &stale)
	require.NoError(t, err)
	assert.True(t, there)
	assert.False(t, stale)
	require.NoError(t, a.SetMeta("calibrationStale", nil))
	there, err = a.Meta("calibrationStale", &stale)
	require.NoError(t, err)
	assert.False(t, there)
	_, err = a.Meta("trainingRun", &stale)
	assert.ErrorContains(t, err, "metadata: trainingRun")
}

func TestAnotherDirectoryIsNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sdmkitmodel")
	require.NoError(t, os.Mkdir(path, 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(path, "thesis.txt"), nil, 0o666))
	assert.ErrorContains(t, sample(1).Write(path), "is no model, so it is not replaced")
	require.NoError(t, os.WriteFile(filepath.Join(path, manifestFile), []byte(`{"format":"reexpress-dataset"}`), 0o666))
	assert.ErrorContains(t, sample(1).Write(path), "is no model, so it is not replaced")
	assert.FileExists(t, filepath.Join(path, "thesis.txt"))
	require.NoError(t, os.RemoveAll(path))
	require.NoError(t, sample(1).Write(path))
	require.NoError(t, sample(2).Write(path))
	got, err := Read(path)
	require.NoError(t, err)
	assert.Equal(t, "model 2", got.ID)
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing is left behind")
}

// A model that breaks a rule is not written.
func TestValidateRefuses(t *testing.T) {
	zero := float32(0)
	nan := zero / zero
	for want, change := range map[string]func(a *Artifact){
		"modelID is empty":                        func(a *Artifact) { a.ID = "" },
		"createdAt is missing":                    func(a *Artifact) { a.Created = time.Time{} },
		"producer needs":                          func(a *Artifact) { a.Producer.Version = "" },
		"representation needs":                    func(a *Artifact) { a.Representation.Fingerprint = "\xff" },
		"1 classes; want at least 2":              func(a *Artifact) { a.Config.ClassNames = []string{"a"} },
		`class name "no" appears twice`:           func(a *Artifact) { a.Config.ClassNames[1] = "no" },
		"class name \"e\u0301\" appears twice":    func(a *Artifact) { a.Config.ClassNames[0], a.Config.ClassNames[1] = "é", "e\u0301" },
		"a class name is empty":                   func(a *Artifact) { a.Config.ClassNames[1] = "" },
		"must be positive":                        func(a *Artifact) { a.Config.MaxNeighbors = 0 },
		"qOffset 1 must be above 1":               func(a *Artifact) { a.Config.QOffset = 1 },
		"oodLimit -1":                             func(a *Artifact) { a.Config.OODLimit = -1 },
		"alphaResolution 0.5":                     func(a *Artifact) { a.Config.AlphaResolution = .5 },
		"alphaResolution 4e-05":                   func(a *Artifact) { a.Config.AlphaResolution = .00004 },
		"standardDeviation 0":                     func(a *Artifact) { a.Normalization.StandardDeviation = 0 },
		"mean NaN":                                func(a *Artifact) { a.Normalization.Mean = nan },
		"no support rows":                         func(a *Artifact) { a.Records = nil },
		"projection weight has 19 values":         func(a *Artifact) { a.ProjectionWeight = a.ProjectionWeight[1:] },
		"classifier bias: value 1 is NaN":         func(a *Artifact) { a.ClassifierBias[1] = nan },
		"support has 27 values":                   func(a *Artifact) { a.Support = a.Support[1:] },
		"support: value 3 is +Inf":                func(a *Artifact) { a.Support[3] = 1 / zero },
		"distanceCDFs of 2 classes; there are 3":  func(a *Artifact) { a.DistanceCDFs = a.DistanceCDFs[1:] },
		"distanceCDFs of class 0 do not ascend":   func(a *Artifact) { a.DistanceCDFs[0][0] = 1 },
		"rescaledSimilarityCDFs of class 0 run":   func(a *Artifact) { a.SimilarityCDFs[0][2] = 8 },
		"distanceCDFs of class 2 run from -1":     func(a *Artifact) { a.DistanceCDFs[2][0] = -1 },
		"alpha 0.96 is not 1 - k x 0.05":          func(a *Artifact) { a.Regions[0].Alpha = .96 },
		"alpha 0.5 is not":                        func(a *Artifact) { a.Regions[0].Alpha = .5 },
		"alpha 0.95 after 0.95":                   func(a *Artifact) { a.Regions[1].Alpha = .95 },
		"minimumRescaledSimilarity 7.5":           func(a *Artifact) { a.Regions[0].MinimumSimilarity = 7.5 },
		"2 output thresholds for 3 classes":       func(a *Artifact) { a.Regions[0].Thresholds = a.Regions[0].Thresholds[1:] },
		"output threshold 0.9 of class 0":         func(a *Artifact) { a.Regions[0].Thresholds[0] = .9 },
		`support id "row 1" appears twice`:        func(a *Artifact) { a.Records[2].ID = "row 1" },
		"label 3 is neither one of 3 classes":     func(a *Artifact) { a.Records[2].Label = 3 },
		"label -1 is neither":                     func(a *Artifact) { a.Records[2].Label = -1 },
		"predictedLabel -99 is none of":           func(a *Artifact) { a.Records[2].Predicted = -99 },
		"support row 2: metadata":                 func(a *Artifact) { a.Records[2].Metadata = json.RawMessage("[]") },
		`calibration id "x" appears twice`:        func(a *Artifact) { a.Calibration[1].ID = "x" },
		"the sum is 0.8, not 1":                   func(a *Artifact) { a.Calibration[0].SDM[2] = .3 },
		"want probabilities":                      func(a *Artifact) { a.Calibration[0].SDM[2] = 1.5 },
		"sdm has 2 values for 3 classes":          func(a *Artifact) { a.Calibration[0].SDM = []float32{.5, .5} },
		"qPrime 7.5; want 0 to 7":                 func(a *Artifact) { a.Calibration[0].QPrime = 7.5 },
		"q 8; want 0 to 7":                        func(a *Artifact) { *a.Calibration[0].Q = 8 },
		"qPrime 1.5 exceeds q 1":                  func(a *Artifact) { *a.Calibration[0].Q = 1 },
		"d0 -1":                                   func(a *Artifact) { *a.Calibration[0].D0 = -1 },
		"d 1.5; want 0 to 1":                      func(a *Artifact) { *a.Calibration[0].D = 1.5 },
		"prediction 2, but the largest of zPrime": func(a *Artifact) { a.Calibration[0].ZPrime[0] = 2 },
		"label 3 and prediction 2":                func(a *Artifact) { a.Calibration[0].Label = 3 },
		"trainingRun: seed": func(a *Artifact) {
			_ = a.SetMeta("trainingRun", map[string]any{"configuration": map[string]any{"seed": 1}})
		},
		"trainingFeatureDigests: 1 digests for 7 rows": func(a *Artifact) {
			_ = a.SetMeta("sourceData", map[string]any{"trainingFeatureDigests": []string{"0"}, "calibrationFeatureDigests": []string{"0", "0"}})
		},
		"more than 2000000000 elements": func(a *Artifact) { a.Config.EmbeddingDimension = 1 << 30 },
	} {
		a := sample(1)
		change(a)
		path := filepath.Join(t.TempDir(), "x.sdmkitmodel")
		assert.ErrorContains(t, a.Write(path), want)
		assert.NoDirExists(t, path)
	}
}

// Every rung of every resolution lies on the ladder; what is between does not.
func TestLadder(t *testing.T) {
	for _, resolution := range []float64{.05, .01, .1, .3, .00005, 1. / 3, .07} {
		for k := 1; 1-float64(k)*resolution > .5; k++ {
			require.True(t, onLadder(1-float64(k)*resolution, resolution), "%v %d", resolution, k)
			require.False(t, onLadder(1-(float64(k)+.3)*resolution, resolution), "%v %d", resolution, k)
		}
	}
}

package sdm

import (
	"context"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// golden are the public cases of version 1 (testdata/golden.json).
type golden struct {
	Tolerances struct{ Absolute, Relative float64 }
	Activation []struct {
		Name          string
		Logits        []float32
		Q             int
		D             float32
		Prediction    int       `json:"expectedPrediction"`
		Probabilities []float64 `json:"expectedProbabilities"`
		QPrime        float64   `json:"expectedQPrime"`
	} `json:"activationCases"`
	Distance []struct {
		Name     string
		Classes  [][]float32 `json:"classCDFs"`
		Queries  []float32
		Expected []float64 `json:"expectedDistanceQuantiles"`
	} `json:"distanceCDFCases"`
	Samples []struct {
		Name     string
		Classes  [][]float32 `json:"classQPrimeCDFs"`
		Queries  []float32
		Expected [][]int `json:"expectedSampleSizes"`
	} `json:"effectiveSampleCases"`
	Neighbours []goldenNeighbours `json:"neighborCases"`
	Adaptor    []struct {
		Name          string
		Normalization struct {
			Mean      float32
			Deviation float32 `json:"standardDeviation"`
		}
		G          [][]float32 `json:"projectionWeight"`
		GB         []float32   `json:"projectionBias"`
		W          [][]float32 `json:"classifierWeight"`
		B          []float32   `json:"classifierBias"`
		Input      []float32
		Exemplar   []float64 `json:"expectedExemplar"`
		Logits     []float64 `json:"expectedLogits"`
		Prediction int       `json:"expectedPrediction"`
	} `json:"adaptorCases"`
	Ladder []struct {
		Name          string
		Classes       int     `json:"numberOfClasses"`
		Resolution    float64 `json:"alphaResolution"`
		Labels        []int
		Probabilities [][]float32
		QPrime        []float32
		Regions       []goldenRegion `json:"expectedRegions"`
		Inference     []struct {
			Probabilities []float32
			QPrime        float32
			Prediction    int
			Alpha         float64 `json:"expectedAlpha"`
		}
	} `json:"nestedCalibrationCases"`
	Membership []struct {
		Name   string
		Region goldenRegion
		Rows   []struct {
			Probabilities []float32
			QPrime        float32
			Prediction    int
			Expected      bool
		}
	} `json:"regionMembershipCases"`
	DKW []struct {
		Name     string
		Alpha    float64
		Sizes    []int     `json:"sampleSizes"`
		Distance float32   `json:"distanceQuantile"`
		Errors   []float64 `json:"expectedErrors"`
		Maximum  float64   `json:"expectedMaximumError"`
		Lower    float64   `json:"expectedLowerDistance"`
		Upper    float64   `json:"expectedUpperDistance"`
	} `json:"dkwCases"`
}

// goldenRegion has the field names of the file.
type goldenRegion struct {
	Alpha             float64
	MinimumSimilarity float32   `json:"minimumRescaledSimilarity"`
	Thresholds        []float32 `json:"outputThresholds"`
}

type goldenNeighbours struct {
	Name        string
	Vectors     [][]float32 `json:"supportVectors"`
	Labels      []int32     `json:"supportLabels"`
	Predictions []int32     `json:"supportPredictions"`
	Queries     []struct {
		Vector     []float32
		Prediction int32
		Order      []int   `json:"expectedOrder"`
		Q          int     `json:"expectedQ"`
		D0         float64 `json:"expectedD0"`
	}
	Training struct {
		Index      int `json:"supportIndex"`
		Vector     []float32
		Prediction int32
		Order      []int   `json:"expectedOrderAfterIdentityExclusion"`
		Q          int     `json:"expectedQ"`
		D0         float64 `json:"expectedD0"`
	} `json:"trainingQuery"`
}

func readGolden(t *testing.T) *golden {
	data, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	g := &golden{}
	require.NoError(t, json.Unmarshal(data, g))
	return g
}

// near holds got to the tolerances of the file.
func (g *golden) near(t *testing.T, want, got float64, name string) {
	t.Helper()
	require.InDelta(t, want, got, g.Tolerances.Absolute+g.Tolerances.Relative*max(want, -want), name)
}

func TestGoldenActivation(t *testing.T) {
	g := readGolden(t)
	require.Len(t, g.Activation, 4)
	for _, c := range g.Activation {
		p := make([]float32, len(c.Logits))
		Activation(p, c.Logits, float32(c.Q), c.D, 2)
		require.Equal(t, c.Prediction, argMax(c.Logits), c.Name)
		for i := range p {
			g.near(t, c.Probabilities[i], float64(p[i]), c.Name)
		}
		g.near(t, c.QPrime, float64(RescaledSimilarity(float32(c.Q), p[c.Prediction], 2)), c.Name)
	}
}

func TestGoldenQuantiles(t *testing.T) {
	g := readGolden(t)
	require.Len(t, g.Distance, 2)
	for _, c := range g.Distance {
		for i, q := range c.Queries {
			g.near(t, c.Expected[i], float64(DistanceQuantile(q, c.Classes)), c.Name)
		}
	}
	require.Len(t, g.Samples, 1)
	for _, c := range g.Samples {
		for i, q := range c.Queries {
			require.Equal(t, c.Expected[i], EffectiveSampleSizes(q, c.Classes), c.Name)
		}
	}
	require.Len(t, g.DKW, 2)
	for _, c := range g.DKW {
		eps := DKW(c.Alpha, c.Sizes)
		for i, want := range c.Errors {
			g.near(t, want, float64(eps[i]), c.Name)
		}
		g.near(t, c.Maximum, float64(max(eps[0], eps[1])), c.Name)
		lower, upper := DistanceBand(c.Distance, eps)
		g.near(t, c.Lower, float64(lower), c.Name)
		g.near(t, c.Upper, float64(upper), c.Name)
	}
}

func TestGoldenRegions(t *testing.T) {
	g := readGolden(t)
	require.Len(t, g.Ladder, 3)
	for _, c := range g.Ladder {
		var rows []calibrated
		for i := range c.Labels {
			rows = append(rows, calibrated{c.QPrime[i], c.Probabilities[i], c.Labels[i], argMax(c.Probabilities[i])})
		}
		regions, err := findRegions(c.Classes, 0, c.Resolution, rows)
		require.NoError(t, err)
		require.Len(t, regions, len(c.Regions), c.Name)
		for i, want := range c.Regions {
			require.Equal(t, Region(want), regions[i], c.Name)
		}
		for _, r := range c.Inference {
			require.Equal(t, r.Alpha, regionAlpha(regions, 0, r.QPrime, r.Probabilities, r.Prediction), "%s: %v", c.Name, r)
		}
	}
	require.Len(t, g.Membership, 2)
	for _, c := range g.Membership {
		region := Region(c.Region)
		for _, r := range c.Rows {
			require.Equal(t, r.Expected, accepts(&region, 0, r.QPrime, r.Probabilities, r.Prediction), "%s: %v", c.Name, r)
		}
	}
}

func TestGoldenNeighbours(t *testing.T) {
	g := readGolden(t)
	require.Len(t, g.Neighbours, 1)
	rt := openTest(t)
	for _, c := range g.Neighbours {
		m := identityModel(t, rt, c.Vectors, c.Labels, c.Predictions)
		for _, q := range c.Queries {
			got := scoreWith(t, m, q.Vector, q.Prediction, -1, len(q.Order))
			require.Equal(t, q.Q, got.Q, c.Name)
			require.Equal(t, q.D0, float64(got.D0), c.Name)
			require.Equal(t, q.Order, order(got), c.Name)
		}
		q := c.Training
		got := scoreWith(t, m, q.Vector, q.Prediction, q.Index, len(c.Vectors))
		require.Equal(t, q.Q, got.Q, c.Name)
		require.Equal(t, q.D0, float64(got.D0), c.Name)
		require.Equal(t, q.Order, order(got), c.Name)
	}
}

func order(s Score) []int {
	var at []int
	for _, n := range s.Nearest {
		at = append(at, n.Index)
	}
	return at
}

func TestGoldenAdaptor(t *testing.T) {
	g := readGolden(t)
	require.Len(t, g.Adaptor, 1)
	rt := openTest(t)
	for _, c := range g.Adaptor {
		config := Config{Dimension: len(c.Input), Classes: len(c.W), ExemplarDimension: len(c.G)}
		require.NoError(t, config.check())
		n, err := newNetwork(rt, &config, c.Normalization.Mean, c.Normalization.Deviation)
		require.NoError(t, err)
		defer n.close()
		require.NoError(t, n.setWeights(flat(flat(c.G...), c.GB, flat(c.W...), c.B)))
		s, err := rt.NewSession()
		require.NoError(t, err)
		defer s.Close()
		f, err := newForward(n, s)
		require.NoError(t, err)
		defer f.close()
		exemplar, logits, err := f.run(context.Background(), c.Input, true)
		require.NoError(t, err)
		for i := range c.Exemplar {
			g.near(t, c.Exemplar[i], float64(exemplar[i]), c.Name)
		}
		for i := range c.Logits {
			g.near(t, c.Logits[i], float64(logits[i]), c.Name)
		}
		require.Equal(t, c.Prediction, argMax(logits), c.Name)
	}
}

func flat(rows ...[]float32) []float32 {
	var all []float32
	for _, r := range rows {
		all = append(all, r...)
	}
	return all
}

package sdmreport

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/sdm"
	"github.com/credence-ml/credence/models/sdm/alternatives"
	"github.com/credence-ml/credence/models/sdm/dataset"
	"github.com/credence-ml/credence/runtime"
	"github.com/credence-ml/credence/runtime/testenv"
)

// small are the model of the interchange tests and its rows, of which the last 6 lie far away.
func small(t *testing.T) Options {
	device := "go"
	if _, err := os.Stat(filepath.Join(testenv.BackendDir(), "libcredence_cpu.so")); err == nil && runtime.Build().Cgo {
		device = "cpu"
	}
	rt, err := runtime.Open(runtime.WithBackendDir(testenv.BackendDir()), runtime.WithDevice(device))
	require.NoError(t, err)
	t.Cleanup(rt.Close)
	m, err := sdm.Load(rt, "../testdata/interchange/model.sdmkitmodel")
	require.NoError(t, err)
	t.Cleanup(m.Close)
	d, err := dataset.Read("../testdata/interchange/test.sdmdataset")
	require.NoError(t, err)
	x, size, err := d.Features(dataset.Auto)
	require.NoError(t, err)
	scores, err := m.Score(t.Context(), x, sdm.ScoreOptions{IDs: d.IDs(), Labels: d.Labels()})
	require.NoError(t, err)
	n := len(scores) - 6
	return Options{Model: m, Scores: scores[:n], Features: x[:n*size], Alphas: []float64{.8, .6},
		Foreign: []Foreign{{"far", scores[n:], x[n*size:]}}}
}

// withAlternatives fits them to the rows themselves, which says nothing of their worth.
func withAlternatives(t *testing.T, o Options) Options {
	d := alternatives.Data{X: o.Features}
	for i := range o.Scores {
		d.Labels, d.Logits = append(d.Labels, int32(o.Scores[i].Label)), append(d.Logits, o.Scores[i].ZPrime...)
	}
	f, err := alternatives.Fit(d, d, 6, 3)
	require.NoError(t, err)
	o.Alternatives = f
	return o
}

func TestReport(t *testing.T) {
	o := withAlternatives(t, small(t))
	r, err := New(o)
	require.NoError(t, err)
	assert.Equal(t, 34, r.Rows, "one of 36 is unlabelled, one known to be foreign")
	require.Len(t, r.Comparison, 2)
	for k, rule := range []func(s *sdm.Score) float64{func(s *sdm.Score) float64 { return s.CentroidAlpha }, func(s *sdm.Score) float64 { return s.LowerAlpha }} {
		for _, c := range r.Comparison {
			admitted, right, byTrue, foreign := 0, 0, make([]Cell, 3), 0.
			for i := range o.Scores {
				if s := &o.Scores[i]; s.Label >= 0 && rule(s) >= c.Alpha {
					admitted++
					byTrue[s.Label].Count++
					if s.Prediction == s.Label {
						right++
						byTrue[s.Label].Correct++
					}
				}
			}
			for i := range o.Foreign[0].Scores {
				if rule(&o.Foreign[0].Scores[i]) >= c.Alpha {
					foreign++
				}
			}
			s := c.Methods[k]
			assert.Equal(t, admitted, s.Admitted)
			assert.Equal(t, byTrue, s.ByTrue)
			assert.Equal(t, []float64{foreign / 6}, s.Foreign)
			assert.InDelta(t, float64(admitted)/34, s.Share, 1e-12)
			if admitted > 0 {
				assert.InDelta(t, float64(right)/float64(admitted), *s.Accuracy, 1e-12)
			}
			sum := Cell{}
			for _, p := range s.ByPred {
				sum.Count, sum.Correct = sum.Count+p.Count, sum.Correct+p.Correct
			}
			assert.Equal(t, Cell{admitted, right}, sum)
		}
	}
	assert.Len(t, r.Comparison[0].Methods, 9)
	assert.Positive(t, r.Comparison[1].Methods[0].Admitted)
	n := 0
	for _, b := range r.Reliability {
		n += b.N
	}
	assert.Equal(t, 34, n)
	assert.Len(t, r.RiskCoverage, 7, "conformal sets have no score, the lower rule that of the centroid")

	text, err := json.Marshal(r)
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(text, &fields))
	for _, key := range []string{"rows", "centroid", "lower", "outOfDistribution", "model", "comparison", "riskCoverage", "reliability"} {
		assert.Contains(t, fields, key)
	}
	var page bytes.Buffer
	require.NoError(t, r.Page().Write(&page))
	for _, words := range []string{"At a glance", "Class by class", "Why the others are rejected", "similarity below the region", "Are the outputs probabilities?", "Mahalanobis", "accepted of far", "least similarity"} {
		assert.Contains(t, page.String(), words)
	}
	assert.NotContains(t, page.String(), "NaN")
}

func TestReportWithoutAlternatives(t *testing.T) {
	o := small(t)
	o.Foreign, o.Alphas = nil, nil
	r, err := New(o)
	require.NoError(t, err)
	require.Len(t, r.Comparison, 2, "0.99 is above the model's ladder")
	assert.Equal(t, .95, r.Comparison[0].Alpha)
	assert.Len(t, r.Comparison[0].Methods, 2)
	assert.False(t, r.Comparison[0].Methods[0].Reached, "no region of 0.95")
	assert.Nil(t, r.Comparison[0].Methods[0].Accuracy)
	var page bytes.Buffer
	require.NoError(t, r.Page().Write(&page))
	assert.Contains(t, page.String(), "nothing is accepted, so nothing is claimed")
	assert.Contains(t, page.String(), "there is nothing to fit alternatives to")
}

func TestReportRefuses(t *testing.T) {
	for want, change := range map[string]func(o *Options){
		"features for 36 rows of 6": func(o *Options) { o.Features = o.Features[1:] },
		"far has no rows":           func(o *Options) { o.Foreign[0].Scores = nil },
		"far: ":                     func(o *Options) { o.Foreign[0].Features = nil },
		"no row has a class":        func(o *Options) { o.Scores, o.Features = o.Scores[1:2], o.Features[6:12] },
		"no rows to evaluate":       func(o *Options) { o.Scores = nil },
	} {
		o := withAlternatives(t, small(t))
		change(&o)
		_, err := New(o)
		assert.ErrorContains(t, err, want)
	}
}

// A method that keeps alpha counts as better where it accepts more; one that does not keep it never.
func TestBetter(t *testing.T) {
	s := func(name string, share float64, kept bool) Selection {
		return Selection{Method: name, Share: share, Kept: kept, Admitted: int(100 * share)}
	}
	c := Comparison{Methods: []Selection{s("SDM", .5, true), s("lower", .9, true), s("a", .6, true), s("b", .9, false), s("c", .7, true), s("d", .4, true)}}
	var list []string
	for _, b := range c.Better() {
		list = append(list, b.Method)
	}
	assert.Equal(t, []string{"c", "a"}, list)
}

// Alpha counts as kept as long as chance explains what is missing, class by class.
func TestKept(t *testing.T) {
	m := &measured{classes: 2}
	var rows []bool
	var predictions []int
	for i := range 200 {
		m.labels = append(m.labels, i%2)
		rows = append(rows, true)
		prediction := i % 2
		if i%2 == 1 && i < 2*12 { // 12 of 100 wrong
			prediction = 0
		}
		predictions = append(predictions, prediction)
	}
	k := &method{predictions: predictions, accept: func(float64) decided { return decided{rows: rows} }}
	for alpha, want := range map[float64]bool{.9: true, .95: false} {
		s, err := m.selection(k, alpha)
		require.NoError(t, err)
		assert.Equal(t, want, s.Kept, alpha)
		assert.InDelta(t, .88, *s.LeastByTrueClass(), 1e-12)
		assert.InDelta(t, 100./112, *s.LeastByPrediction(), 1e-12)
	}
}

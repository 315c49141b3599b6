package sdm

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/sdm/artifact"
	"github.com/credence-ml/credence/models/sdm/dataset"
)

// testdata/interchange is output of reexpress_sdm 0.4.8 (Apache 2.0): a model that it trained, rows, and its scores of
// them. `ci/bench/sdm_interchange.py fixtures DIR` made it; `ci/bench/run sdm_interchange` compares both programs live.
const interchange = "testdata/interchange"

func TestScoresOfAnotherProgram(t *testing.T) {
	rt := openTest(t)
	m, err := Load(rt, filepath.Join(interchange, "model.sdmkitmodel"))
	require.NoError(t, err)
	defer m.Close()
	data, err := dataset.Read(filepath.Join(interchange, "test.sdmdataset"))
	require.NoError(t, err)
	assert.Equal(t, m.Config().ClassNames, data.ClassNames)
	assert.Equal(t, m.Config().Representation.Fingerprint, data.Fingerprint())
	x, size, err := data.Features(dataset.Auto)
	require.NoError(t, err)
	require.Equal(t, m.Config().Dimension, size)
	scores, err := m.Score(t.Context(), x, ScoreOptions{IDs: data.IDs(), Labels: data.Labels(), Nearest: 5})
	require.NoError(t, err)

	text, err := os.ReadFile(filepath.Join(interchange, "scores.jsonl"))
	require.NoError(t, err)
	a, err := artifact.Read(filepath.Join(interchange, "model.sdmkitmodel"))
	require.NoError(t, err)
	slack := distanceSlack(a)
	accepted, n := 0, 0
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); n++ {
		var want, got map[string]any
		require.NoError(t, json.Unmarshal(s.Bytes(), &want))
		line, err := json.Marshal(scores[n])
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(line, &got))
		agree(t, want, got, slack, fmt.Sprintf("row %d", n))
		if scores[n].CentroidAlpha > 0 {
			accepted++
		}
	}
	assert.Equal(t, len(scores), n)
	assert.Positive(t, accepted)
	assert.Less(t, accepted, n)
}

// distanceSlack is what the other program's squared distances may be off by: it computes them in float32 as |a|^2 + |b|^2 -
// 2ab, with the first support row as origin. Ours are sums of squared differences.
func distanceSlack(a *artifact.Artifact) float64 {
	m, largest := a.Config.ExemplarDimension, 0.
	for at := 0; at < len(a.Support); at += m {
		sum := 0.
		for j, v := range a.Support[at : at+m] {
			sum += float64(v-a.Support[j]) * float64(v-a.Support[j])
		}
		largest = max(largest, sum)
	}
	const eps = 1. / (1 << 24)
	return 16 * eps * largest
}

// agree holds numbers to 1e-6 absolute and 1e-5 relative, squared distances to slack besides, and everything else to
// equality; integers differ by at least 1 or not at all.
func agree(t *testing.T, want, got any, slack float64, where string) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		other, _ := got.(map[string]any)
		for key := range want {
			agree(t, want[key], other[key], slack, where+"."+key)
		}
		require.Len(t, other, len(want), "%s: %v for %v", where, got, want)
	case []any:
		other, _ := got.([]any)
		require.Len(t, other, len(want), where)
		for i := range want {
			agree(t, want[i], other[i], slack, fmt.Sprintf("%s[%d]", where, i))
		}
	case float64:
		other, ok := got.(float64)
		require.True(t, ok, "%s: %v for %v", where, got, want)
		tolerance := 1e-6 + 1e-5*math.Abs(want)
		if strings.HasSuffix(where, ".d0") || strings.HasSuffix(where, ".squaredDistance") {
			tolerance += slack
		}
		require.LessOrEqual(t, math.Abs(other-want), tolerance, "%s: %v for %v", where, other, want)
	default:
		require.Equal(t, want, got, where)
	}
}

// What is written after reading says the same, field by field.
func TestModelOfAnotherProgramIsWrittenAgain(t *testing.T) {
	from := filepath.Join(interchange, "model.sdmkitmodel")
	want, err := artifact.Read(from)
	require.NoError(t, err)
	rt := openTest(t)
	m, err := Load(rt, from)
	require.NoError(t, err)
	defer m.Close()
	path := filepath.Join(t.TempDir(), "again.sdmkitmodel")
	require.NoError(t, m.Save(path))
	got, err := artifact.Read(path)
	require.NoError(t, err)
	assert.Equal(t, want.Support, got.Support)
	assert.Equal(t, want.Records, got.Records)
	assert.Equal(t, want.Regions, got.Regions)
	assert.Equal(t, want.DistanceCDFs, got.DistanceCDFs)
	assert.Equal(t, want.SimilarityCDFs, got.SimilarityCDFs)
	assert.Equal(t, want.Calibration, got.Calibration)
	assert.Equal(t, want.ID, got.ID)
	for _, f := range want.Metadata {
		assert.JSONEq(t, string(f.Value), string(got.Metadata.Get(f.Key)), f.Key)
	}
}

// Digests of the rows do not outlive the rows: another program would refuse the model.
func TestEditedModelOfAnotherProgram(t *testing.T) {
	m, err := Load(openTest(t), filepath.Join(interchange, "model.sdmkitmodel"))
	require.NoError(t, err)
	defer m.Close()
	require.NoError(t, m.RemoveSupport(m.Support()[0].ID))
	path := filepath.Join(t.TempDir(), "edited.sdmkitmodel")
	require.NoError(t, m.Save(path))
	a, err := artifact.Read(path)
	require.NoError(t, err)
	assert.Nil(t, a.Metadata.Get("sourceData"))
	assert.NotNil(t, a.Metadata.Get("trainingRun"))
}

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sdmLines writes labelled rows of two classes, apart along the first of three features; a label below 0 is that of all.
func sdmLines(t *testing.T, dir, name string, rows, label int, shift float64) string {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(rows), uint64(name[0])))
	path := filepath.Join(dir, name+".jsonl")
	var b strings.Builder
	for i := range rows {
		class := i % 2
		x := []float64{4*float64(class) - 2 + r.NormFloat64() + shift, r.NormFloat64() + shift, r.NormFloat64()}
		if label < 0 {
			class = label
		}
		line, err := json.Marshal(map[string]any{"id": fmt.Sprint(name, i), "label": class, "embedding": x, "document": fmt.Sprint("text ", i)})
		require.NoError(t, err)
		b.Write(append(line, '\n'))
	}
	require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o600))
	return path
}

// sdmRun runs a command that must succeed and returns what it prints.
func sdmRun(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, status := credence(t, append([]string{"--device", "go", "sdm"}, args...)...)
	require.Zero(t, status, stderr)
	return stdout
}

// From training to scores, edits and a new calibration, as a user would go.
func TestSDMCommands(t *testing.T) {
	dir := t.TempDir()
	train, calibration, x := sdmLines(t, dir, "t", 160, 0, 0), sdmLines(t, dir, "c", 160, 0, 0), sdmLines(t, dir, "x", 60, 0, 0)
	foreign := sdmLines(t, dir, "f", 20, -99, 30)
	model, edited, scores := filepath.Join(dir, "m.sdmkitmodel"), filepath.Join(dir, "m2.sdmkitmodel"), filepath.Join(dir, "s.jsonl")
	quick := []string{"--exemplar-dimension", "4", "--learning-rate", "1e-2", "--epochs", "3", "--batch", "16", "--max-neighbors", "60"}
	out := sdmRun(t, append([]string{"train", "--training", train, "--calibration", calibration, "--out", model, "--shuffles", "2"}, quick...)...)
	assert.Contains(t, out, "trained on 320 rows")
	assert.Contains(t, out, "regions, at alpha")
	assert.Contains(t, sdmRun(t, "validate", model), "a valid model of 2 classes with 160 support rows")

	sdmRun(t, "score", "--model", model, "--in", x, "--out", scores, "--nearest", "2")
	text, err := os.ReadFile(scores)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	require.Len(t, lines, 60)
	var row map[string]any
	require.NoError(t, json.Unmarshal([]byte(lines[7]), &row))
	assert.Equal(t, "x7", row["id"])
	assert.EqualValues(t, 1, row["label"])
	assert.Len(t, row["nearestSupportMatches"], 2)
	compact := sdmRun(t, "score", "--model", model, "--in", x, "--detail", "compact", "--agree", model)
	assert.Len(t, strings.Split(strings.TrimSpace(compact), "\n"), 60)
	assert.NotContains(t, compact, "sdmLower")
	assert.Contains(t, compact, "agreementAlpha")

	self := sdmRun(t, "score", "--model", model, "--in", train, "--exclude-self", "--nearest", "1")
	assert.Greater(t, strings.Count(self, `"excludedSupportID"`), 20, "half of the rows of a split are its support")
	assert.NotContains(t, self, `"d0":0,`)

	assert.Contains(t, sdmRun(t, "evaluate", "--model", model, "--in", x, "--json", filepath.Join(dir, "e.json")), "60 rows, accuracy ")
	assert.FileExists(t, filepath.Join(dir, "e.json"))
	assert.Contains(t, sdmRun(t, "evaluate", "--model", model, "--in", foreign), "0.0000")

	assert.Contains(t, sdmRun(t, "support", "add", "--model", model, "--in", foreign, "--out", edited), "had 160 rows and has 180")
	assert.Contains(t, sdmRun(t, "inspect", edited), `"calibrationStale": true`)
	relabelled := sdmLines(t, dir, "f", 3, -99, 0)
	assert.Contains(t, sdmRun(t, "support", "relabel", "--model", edited, "--in", relabelled, "--out", edited), "has 180")
	assert.Contains(t, sdmRun(t, "support", "remove", "--model", edited, "--ids", "f1,f2", "--out", edited), "has 178")
	assert.Contains(t, sdmRun(t, "support", "remove", "--model", edited, "--in", sdmLines(t, dir, "f", 1, -99, 0), "--out", filepath.Join(dir, "m3.sdmkitmodel")), "had 178 rows and has 177")
	assert.Contains(t, sdmRun(t, "recalibrate", "--model", edited, "--calibration", x, "--alpha-resolution", ".1", "--out", edited), "regions, at alpha 0.9")
	assert.Contains(t, sdmRun(t, "inspect", edited), `"calibrationStale": false`)
	assert.Contains(t, sdmRun(t, append([]string{"train", "--training", train, "--calibration", calibration, "--out", model, "--initial", edited, "--keep-split"}, quick...)...), "regions")
}

// Every mistake is one line that says what is wrong, and leaves nothing behind.
func TestSDMCommandsRefuse(t *testing.T) {
	dir := t.TempDir()
	train, calibration := sdmLines(t, dir, "t", 60, 0, 0), sdmLines(t, dir, "c", 60, 0, 0)
	model := filepath.Join(dir, "m.sdmkitmodel")
	quick := []string{"--exemplar-dimension", "4", "--epochs", "1"}
	sdmRun(t, append([]string{"train", "--training", train, "--calibration", calibration, "--out", model}, quick...)...)
	wide, other := filepath.Join(dir, "wide.jsonl"), filepath.Join(dir, "other.sdmdataset")
	require.NoError(t, os.WriteFile(wide, []byte(`{"id":"a","label":0,"embedding":[1,2]}`+"\n"), 0o600))
	sdmRun(t, "convert", "--in", train, "--out", other, "--fingerprint", "another encoder", "--class-names", "no,yes")
	label := filepath.Join(dir, "label.jsonl")
	require.NoError(t, os.WriteFile(label, []byte(`{"id":"a","label":7,"embedding":[1,2,3]}`+"\n"), 0o600))
	nothing := filepath.Join(dir, "new.sdmkitmodel")
	for _, c := range []struct {
		message string
		args    []string
	}{
		{"--training, --calibration and --out are needed", []string{"train", "--training", train}},
		{"there is something that is no model", []string{"train", "--training", train, "--calibration", calibration, "--out", train}},
		{"no such file", []string{"train", "--training", train, "--calibration", calibration, "--out", filepath.Join(dir, "no", "m")}},
		{"no such file", []string{"train", "--training", filepath.Join(dir, "none.jsonl"), "--calibration", calibration, "--out", nothing}},
		{"rows of 2 features, the model has 3", []string{"train", "--training", train, "--calibration", wide, "--out", nothing}},
		{"occurs twice", []string{"train", "--training", train, "--calibration", train, "--out", nothing}},
		{"-4 epochs", []string{"train", "--training", train, "--calibration", calibration, "--out", nothing, "--epochs", "-4"}},
		{"alpha resolution 0.9", []string{"train", "--training", train, "--calibration", calibration, "--out", nothing, "--alpha-resolution", ".9"}},
		{"the initial model has exemplars of 4, not 5", []string{"train", "--training", train, "--calibration", calibration, "--out", nothing, "--initial", model, "--exemplar-dimension", "5"}},
		{`of the representation "another encoder", the model's of "embedding_v1"`, []string{"score", "--model", model, "--in", other}},
		{"rows of 2 features, the model has 3", []string{"score", "--model", model, "--in", wide}},
		{"label 7 of row 0", []string{"score", "--model", model, "--in", label}},
		{`--detail "some"`, []string{"score", "--model", model, "--in", train, "--detail", "some"}},
		{"--nearest -1", []string{"score", "--model", model, "--in", train, "--nearest", "-1"}},
		{"--model and --in are needed", []string{"evaluate"}},
		{"either --ids or --in", []string{"support", "remove", "--model", model, "--out", nothing}},
		{`has no row "q"`, []string{"support", "remove", "--model", model, "--ids", "q", "--out", nothing}},
		{"label 7 of row 0 is outside 0 to 1", []string{"support", "add", "--model", model, "--in", label, "--out", nothing}},
		{"--calibration, --alpha-resolution or both", []string{"recalibrate", "--model", model, "--out", nothing}},
		{"alpha resolution 0.6", []string{"recalibrate", "--model", model, "--out", nothing, "--alpha-resolution", ".6"}},
	} {
		_, stderr, status := credence(t, append([]string{"--device", "go", "sdm"}, c.args...)...)
		oneLine(t, stderr, status, c.message)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		assert.NotContains(t, e.Name(), "new.")
		assert.False(t, strings.HasPrefix(e.Name(), "."), "%s was left", e.Name())
	}
}

// A prediction carries the verdict of an SDM model of the same network's features, and of no other.
func TestPredictWithSDM(t *testing.T) {
	needCPU(t)
	dir, out := strokesDirectory(t), t.TempDir()
	model, native := strokesModel(t, dir)
	do := func(args ...string) string {
		t.Helper()
		stdout, stderr, status := credence(t, append(args, native...)...)
		require.Zero(t, status, stderr)
		return stdout
	}
	at := func(name string) string { return filepath.Join(out, name) }
	for name, rows := range map[string]string{"t": "0:60", "c": "60:120"} {
		do("features", "--model", model, "--data", dir, "--split", "train", "--part", "trained", "--rows", rows, "--out", at(name+".sdmdataset"))
	}
	do("sdm", "train", "--training", at("t.sdmdataset"), "--calibration", at("c.sdmdataset"), "--out", at("m.sdmkitmodel"), "--exemplar-dimension", "4", "--learning-rate", "1e-2", "--epochs", "4")
	in := filepath.Join(dir, "t10k-images-idx3-ubyte")
	lines := strings.Split(strings.TrimSpace(do("predict", "--model", model, "--in", in, "--sdm", at("m.sdmkitmodel"), "--alpha", ".6", "--sdm-rule", "centroid")), "\n")
	require.Len(t, lines, 60)
	for _, line := range lines {
		var p struct {
			Class string
			SDM   *sdmVerdict
		}
		require.NoError(t, json.Unmarshal([]byte(line), &p))
		require.NotNil(t, p.SDM)
		assert.Len(t, p.SDM.Nearest, 3)
		assert.Equal(t, p.SDM.Accepted, p.SDM.Reason == "")
		assert.False(t, p.SDM.Accepted && p.SDM.Class != p.Class)
	}
	assert.NotContains(t, do("predict", "--model", model, "--in", in), `"sdm"`)
	for want, args := range map[string][]string{
		"are not the 4 of this model": {"--sdm", at("m.sdmkitmodel"), "--sdm-scores", "none"},
		"no such file":                {"--sdm", at("none.sdmkitmodel")},
		"alpha 2":                     {"--sdm", at("m.sdmkitmodel"), "--alpha", "2"},
		`rule "upper"`:                {"--sdm", at("m.sdmkitmodel"), "--sdm-rule", "upper"},
	} {
		_, stderr, status := credence(t, append(append([]string{"predict", "--model", model, "--in", in}, args...), native...)...)
		oneLine(t, stderr, status, want)
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/probpsenn"
)

// writeVectors makes NPY files of n vectors of 3 values in turn of two classes, apart by the distance given.
func writeVectors(t *testing.T, n int, apart float32) string {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(uint64(n), 3))
	var values []float32
	var labels []int32
	for i := range n {
		labels = append(labels, int32(i%2))
		values = append(values, apart*float32(i%2)+r.Float32(), r.Float32(), apart+r.Float32())
	}
	for name, write := range map[string]func(b *bytes.Buffer) error{
		"x.npy": func(b *bytes.Buffer) error { return data.WriteNPY(b, []int{n, 3}, values) },
		"y.npy": func(b *bytes.Buffer) error { return data.WriteNPY(b, []int{n}, labels) },
	} {
		var b bytes.Buffer
		require.NoError(t, write(&b))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600))
	}
	return dir
}

// Somebody else's feature vectors go the whole way: train, evaluate, predict, explain, report.
func TestFeatureVectors(t *testing.T) {
	out := t.TempDir()
	at := func(name string) string { return filepath.Join(out, name) }
	run := func(args ...string) string {
		stdout, stderr, status := credence(t, append(args, "--device", "go")...)
		require.Zero(t, status, "%v: %s", args, stderr)
		return stdout
	}
	train, test, far := writeVectors(t, 300, 4), writeVectors(t, 100, 4), writeVectors(t, 90, 40)
	require.NoError(t, os.WriteFile(at("c.json"), []byte(`{"network":"features","classes":2,"samples":4,"epochs":3,"batch":16,"hold_out":0.3}`), 0o600))
	assert.Contains(t, run("train", "probpsenn", "--data", train, "--config", at("c.json"), "--out", at("m")), "accuracy ")
	run("evaluate", "--model", at("m"), "--data", test, "--ood", "far="+far, "--json", at("e.json"))
	var e probpsenn.Evaluation
	text, err := os.ReadFile(at("e.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &e))
	assert.Equal(t, 1., e.Accuracy)
	assert.Greater(t, e.OOD["far"].AUROC.Combined, .99)
	assert.Equal(t, .5, e.OOD["far"].AUROC.Reconstruction, "there is none")
	assert.Contains(t, run("predict", "--model", at("m"), "--in", filepath.Join(test, "x.npy")), `"label":1`)
	run("explain", "--model", at("m"), "--in", filepath.Join(test, "x.npy"), "--index", "3", "--html", at("x.html"))
	run("report", "--model", at("m"), "--data", test, "--html", at("r.html"))

	for want, dir := range map[string]string{
		"x.npy":                                 strokesDirectory(t), // which has none
		"inputs of 3 values, the model takes 5": train,
	} {
		_, stderr, status := credence(t, "train", "probpsenn", "--data", dir, "--config", at("c.json"), "--out", at("n"), "--latent", "5", "--device", "go")
		oneLine(t, stderr, status, want)
		assert.NoFileExists(t, at("n"))
	}
}

package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/sdm/dataset"
)

func TestFeaturesCommand(t *testing.T) {
	needCPU(t)
	dir := strokesDirectory(t)
	model, native := strokesModel(t, dir)
	out := t.TempDir()
	features := func(name string, args ...string) *dataset.Dataset {
		path := filepath.Join(out, name)
		_, stderr, status := credence(t, append(append([]string{"features", "--model", model, "--data", dir, "--out", path}, args...), native...)...)
		require.Zero(t, status, stderr)
		d, err := dataset.Read(path)
		require.NoError(t, err)
		return d
	}
	all := features("test.sdmdataset")
	require.Equal(t, 60, all.Len())
	assert.Equal(t, []string{"flat", "upright", "slanted"}, all.ClassNames)
	assert.Contains(t, all.Fingerprint(), "sha256:")
	assert.Equal(t, filepath.Base(dir)+"/test/7", all.Rows[7].ID)
	assert.EqualValues(t, 1, all.Rows[7].Label)
	assert.Len(t, all.Rows[7].Embedding, 4)
	assert.Len(t, all.Rows[7].Attributes, 1)
	some := features("some.jsonl", "--rows", "7:9", "--labels", "ood")
	require.Equal(t, 2, some.Len())
	assert.Equal(t, all.Fingerprint(), some.Fingerprint())
	assert.Equal(t, all.Rows[7].Embedding, some.Rows[0].Embedding, "whatever the batch")
	assert.EqualValues(t, dataset.OutOfDistribution, some.Rows[1].Label)

	held, trained := features("held.sdmdataset", "--split", "train", "--part", "held", "--scores", "none"), features("trained.sdmdataset", "--split", "train", "--part", "trained", "--labels", "none")
	assert.Equal(t, []int{30, 120}, []int{held.Len(), trained.Len()})
	assert.NotEqual(t, all.Fingerprint(), held.Fingerprint(), "without scores they are other features")
	assert.Nil(t, held.Rows[0].Attributes)
	assert.EqualValues(t, dataset.Unlabeled, trained.Rows[0].Label)
	seen := map[string]bool{}
	for _, id := range append(held.IDs(), trained.IDs()...) {
		seen[id] = true
	}
	assert.Len(t, seen, 150, "disjoint, and all")

	path := filepath.Join(out, "x.sdmdataset")
	for want, args := range map[string][]string{
		"--model, --data and --out are needed":                    {"--out", ""},
		"want a name that ends in .sdmdataset, .jsonl or .ndjson": {"--out", filepath.Join(out, "x")},
		`--rows "3": want from:to`:                                {"--rows", "3"},
		`--rows "5:2": want from:to with 0 <= from <= to <= 60`:   {"--rows", "5:2"},
		`--rows "0:61"`:                                                  {"--rows", "0:61"},
		`--rows "a:": want from:to`:                                      {"--rows", "a:"},
		"no rows: part all has 60":                                       {"--rows", "60:"},
		`--part "most": want all, trained or held`:                       {"--part", "most"},
		"--part held is a part of the labelled data":                     {"--part", "held"},
		`--labels "some": want data, none or ood`:                        {"--labels", "some"},
		`score "loss": there are reconstruction, mahalanobis, entropy, `: {"--scores", "loss"},
		`split "dev": want train or test`:                                {"--split", "dev"},
	} {
		_, stderr, status := credence(t, append(append([]string{"features", "--model", model, "--data", dir, "--out", path}, args...), native...)...)
		oneLine(t, stderr, status, want)
		assert.NoDirExists(t, path)
	}
}

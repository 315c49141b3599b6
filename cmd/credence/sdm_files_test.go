package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/sdm/dataset"
)

func TestSDMConvert(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	lines := `{"id":"a","label":1,"document":"x","embedding":[1,2],"attributes":[9],"source":{"page":3}}` + "\n" +
		`{"id":"b","label":-99,"embedding":[3,4],"attributes":[8]}` + "\n" + `{"id":"c","label":-1,"embedding":[5,6],"attributes":[7]}` + "\n"
	require.NoError(t, os.WriteFile(at("a.jsonl"), []byte(lines), 0o666))
	run := func(args ...string) string {
		stdout, stderr, status := credence(t, append([]string{"sdm"}, args...)...)
		require.Zero(t, status, stderr)
		return stdout
	}
	assert.Contains(t, run("convert", "--in", at("a.jsonl"), "--out", at("b.sdmdataset"), "--class-names", "no,yes", "--fingerprint", "f"), "3 rows are in")
	run("convert", "--in", at("b.sdmdataset"), "--out", at("c.jsonl"))
	run("convert", "--in", at("c.jsonl"), "--out", at("d.sdmdataset"), "--class-names", "no,yes")
	run("convert", "--in", at("b.sdmdataset"), "--out", at("x.npy"), "--out-labels", at("y.npy"))
	run("convert", "--in", at("x.npy"), "--labels", at("y.npy"), "--out", at("e.sdmdataset"))
	run("convert", "--in", at("x.npy"), "--labels", at("y.npy"), "--out", at("z.npy"))
	b, err := dataset.Read(at("b.sdmdataset"))
	require.NoError(t, err)
	d, err := dataset.Read(at("d.sdmdataset"))
	require.NoError(t, err)
	assert.Equal(t, b.ClassNames, d.ClassNames)
	assert.Equal(t, "f", d.Fingerprint())
	assert.Equal(t, b.Rows[0].Embedding, d.Rows[0].Embedding)
	assert.Equal(t, json.RawMessage(`{"page":3}`), d.Rows[0].Fields.Get("source"))
	e, err := dataset.Read(at("e.sdmdataset"))
	require.NoError(t, err)
	assert.Equal(t, []float32{1, 2, 9}, e.Rows[0].Embedding)
	assert.Equal(t, b.Labels(), e.Labels())

	var s dataSummary
	require.NoError(t, json.Unmarshal([]byte(run("inspect", at("b.sdmdataset"))), &s))
	assert.Equal(t, dataSummary{Kind: "data", Rows: 3, Labels: map[string]int{"1": 1, "-99": 1, "-1": 1}, Embedding: featureSummary{2, 3}, Attributes: featureSummary{1, 3},
		Documents: 1, ClassNames: []string{"no", "yes"}, Fingerprint: s.Fingerprint}, s)
	assert.Equal(t, at("b.sdmdataset")+": valid data, 3 rows\n"+at("c.jsonl")+": valid data, 3 rows\n", run("validate", at("b.sdmdataset"), at("c.jsonl")))

	require.NoError(t, os.WriteFile(at("bad.jsonl"), []byte(lines+lines), 0o666))
	for want, args := range map[string][]string{
		"--in and --out are needed":                      {"convert", "--in", at("a.jsonl")},
		"--in and --out are both":                        {"convert", "--in", at("a.jsonl"), "--out", at("a.jsonl")},
		"no such file":                                   {"convert", "--in", at("none.jsonl"), "--out", at("n.jsonl")},
		"--labels goes with an .npy file as --in":        {"convert", "--in", at("a.jsonl"), "--labels", at("y.npy"), "--out", at("n.jsonl")},
		`--class-names differ from those of`:             {"convert", "--in", at("b.sdmdataset"), "--class-names", "yes,no", "--out", at("n.jsonl")},
		`--fingerprint differs from that of`:             {"convert", "--in", at("b.sdmdataset"), "--fingerprint", "g", "--out", at("n.jsonl")},
		"features of different encoders":                 {"convert", "--in", at("c.jsonl"), "--fingerprint", "g", "--out", at("n.jsonl")},
		`line 4: id "a" appears twice`:                   {"convert", "--in", at("bad.jsonl"), "--out", at("n.sdmdataset")},
		`bad.jsonl, line 4: id "a" appears twice`:        {"validate", at("a.jsonl"), at("bad.jsonl")},
		"want a name that ends in":                       {"convert", "--in", at("a.jsonl"), "--out", at("n")},
		`composition "most"`:                             {"convert", "--in", at("a.jsonl"), "--out", at("n.npy"), "--composition", "most"},
		`credence sdm has no command "inspekt"; did you`: {"inspekt"},
	} {
		_, stderr, status := credence(t, append([]string{"sdm"}, args...)...)
		oneLine(t, stderr, status, want)
	}
	for _, name := range []string{"n.jsonl", "n.sdmdataset", "n.npy", "n"} {
		_, err := os.Lstat(at(name))
		assert.ErrorIs(t, err, os.ErrNotExist, name)
	}
}

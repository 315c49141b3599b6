package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/sdm/dataset"
	"github.com/credence-ml/credence/models/sdm/sdmreport"
)

func TestSDMEvaluateReport(t *testing.T) {
	const fixtures = "../../models/sdm/testdata/interchange/"
	model, rows := fixtures+"model.sdmkitmodel", fixtures+"test.sdmdataset"
	dir := t.TempDir()
	d, err := dataset.Read(rows)
	require.NoError(t, err)
	d.Rows = d.Rows[36:]
	far := filepath.Join(dir, "far.sdmdataset")
	require.NoError(t, d.Write(far))
	page, figures := filepath.Join(dir, "r.html"), filepath.Join(dir, "r.json")
	stdout := sdmRun(t, "evaluate", "--model", model, "--in", rows, "--ood", "far="+far, "--training", rows, "--calibration", rows, "--alphas", "0.8,0.6", "--html", page, "--json", figures)
	for _, words := range []string{"at alpha 0.8", "at alpha 0.6", "of far", "SDM, lower rule", "Mahalanobis", "keeps alpha"} {
		assert.Contains(t, stdout, words)
	}
	text, err := os.ReadFile(figures)
	require.NoError(t, err)
	var r sdmreport.Report
	require.NoError(t, json.Unmarshal(text, &r))
	assert.Equal(t, 40, r.Rows)
	assert.Len(t, r.Comparison[0].Methods, 9)
	html, err := os.ReadFile(page)
	require.NoError(t, err)
	assert.Contains(t, string(html), "What this model answers for")
	assert.Contains(t, string(html), "model.sdmkitmodel")

	nothing := filepath.Join(dir, "none.html")
	for want, args := range map[string][]string{
		"--training and --calibration go together": {"--training", rows},
		`--ood "far": NAME=X is needed`:            {"--ood", "far"},
		"--alphas 0.4: above 0.5":                  {"--alphas", "0.4"},
		"no such file":                             {"--ood", "far=" + filepath.Join(dir, "none.jsonl")},
	} {
		_, stderr, status := credence(t, append([]string{"sdm", "evaluate", "--device", "go", "--model", model, "--in", rows, "--html", nothing}, args...)...)
		oneLine(t, stderr, status, want)
		assert.NoFileExists(t, nothing)
	}
}

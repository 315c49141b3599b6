package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/sdm/dataset"
	"github.com/credence-ml/credence/runtime/testenv"
)

// lmModel is one of the small checkpoints that models/sparse is proved on.
func lmModel(name string) string {
	return filepath.Join(testenv.Root(), "models", "sparse", "testdata", name)
}

// lm runs a command of lm on the device that is always there, and expects success.
func lm(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, status := credence(t, append([]string{"lm", "--device", "go"}, args...)...)
	require.Zero(t, status, stderr)
	assert.Empty(t, stderr)
	return stdout
}

func TestLMLogits(t *testing.T) {
	out := filepath.Join(t.TempDir(), "L.npy")
	text, err := os.ReadFile(filepath.Join(lmModel("."), "tokens.json"))
	require.NoError(t, err)
	assert.Empty(t, lm(t, "logits", "--model", lmModel("minicpm"), "--tokens", strings.Trim(string(text), "[]"), "--out", out))
	got, err := data.ReadNPY(out)
	require.NoError(t, err)
	want, err := data.ReadNPY(filepath.Join(lmModel("minicpm"), "logits.npy"))
	require.NoError(t, err)
	assert.Equal(t, []int{26, 96}, got.Shape)
	a, err := got.Float32s()
	require.NoError(t, err)
	b, err := want.Float32s()
	require.NoError(t, err)
	assert.InDeltaSlice(t, b, a, 1e-4)
}

func TestLMGenerate(t *testing.T) {
	args := []string{"generate", "--model", lmModel("text"), "--prompt", "The harbour", "--ignore-end", "--max-tokens", "12"}
	full := lm(t, args...)
	text := lm(t, append(args, "--quiet")...)
	summary, ok := strings.CutPrefix(full, strings.TrimSuffix(text, "\n")+"\n\n")
	require.True(t, ok, "the same text before the summary: %q, %q", full, text)
	assert.Regexp(t, regexp.MustCompile(`^12 tokens after a prompt of \d+ \(length\), [0-9.]+ tokens/s; the prompt took [0-9.]+ s
[0-9.]+ % of the neurons inactive, [0-9.]+ % not read\n$`), summary)

	hot := append(args, "--quiet", "--temperature", "2", "--top-k", "40", "--top-p", "0.9", "--seed")
	assert.Equal(t, lm(t, append(hot, "1")...), lm(t, append(hot, "1")...))
	assert.NotEqual(t, lm(t, append(hot, "1")...), lm(t, append(hot, "2")...))
	assert.Equal(t, text, lm(t, append(args, "--quiet", "--dense")...))

	lines := filepath.Join(t.TempDir(), "a.jsonl")
	lm(t, append(args, "--activity", lines)...)
	content, err := os.ReadFile(lines)
	require.NoError(t, err)
	rows := strings.Split(strings.TrimSpace(string(content)), "\n")
	assert.Len(t, rows, 12)
	var row tokenActivity
	require.NoError(t, json.Unmarshal([]byte(rows[3]), &row))
	require.Len(t, row.Inactive, 2)
	for _, share := range row.Inactive {
		assert.True(t, share > 0 && share < 1)
	}
}

func TestLMConvertAndInspect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	assert.Regexp(t, `^.*m\.gguf: .* KiB, from .* KiB\n$`, lm(t, "convert", "--model", lmModel("text"), "--dtype", "f32", "--out", path))
	prompt := []string{"--prompt", "It's what we'd seen", "--max-tokens", "8", "--quiet"}
	assert.Equal(t, lm(t, append([]string{"generate", "--model", lmModel("text")}, prompt...)...), lm(t, append([]string{"generate", "--model", path}, prompt...)...),
		"the same model, with its tokenizer")
	text := lm(t, "inspect", "--model", path, "--tensors")
	for _, want := range []string{"GGUF", "relu (key llama.feed_forward.activation)", "481 tokens", "times as fast with 50, 90, 99 %", "blk.1.ffn_down_t.weight"} {
		assert.Contains(t, text, want)
	}
	var summary struct {
		Parameters, Layers int
		Activation         string
	}
	require.NoError(t, json.Unmarshal([]byte(lm(t, "inspect", "--model", lmModel("minicpm"), "--json")), &summary))
	assert.Equal(t, 3, summary.Layers)
	assert.Equal(t, "fatrelu:0.03", summary.Activation)
	assert.Contains(t, lm(t, "inspect", "--model", lmModel("llama3")), "the activation is never zero, so nothing can be skipped")
}

func TestLMPerplexity(t *testing.T) {
	in := filepath.Join(t.TempDir(), "t.txt")
	require.NoError(t, os.WriteFile(in, []byte("The rain had stopped before the ferry left."), 0o600))
	out := lm(t, "perplexity", "--model", lmModel("text"), "--in", in, "--context", "8")
	var value, loss float64
	var n int
	_, err := fmt.Sscanf(out, "perplexity %f over %d tokens (mean loss %f)", &value, &n, &loss)
	require.NoError(t, err, out)
	assert.Greater(t, value, 1.0)
	assert.Greater(t, n, 8)
}

func TestLMFeatures(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "x.sdmdataset")
	require.NoError(t, os.WriteFile(in, []byte(`{"id":"a","label":0,"document":"The rain"}
{"id":"b","label":-1,"document":"two ferries","note":3}
`), 0o600))
	assert.Equal(t, "2 rows of 64 features: "+out+"\n", lm(t, "features", "--model", lmModel("text"), "--in", in, "--out", out))
	d, err := dataset.Read(out)
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "b"}, d.IDs())
	assert.Equal(t, []int32{0, -1}, d.Labels())
	assert.Len(t, d.Rows[1].Embedding, 64)
	assert.Regexp(t, "^sparse-[0-9a-f]{32}$", d.Fingerprint())
	assert.NotEqual(t, d.Rows[0].Embedding, d.Rows[1].Embedding)

	_, stderr, status := credence(t, "lm", "features", "--device", "go", "--model", lmModel("text"), "--in", in, "--out", out, "--context", "2")
	oneLine(t, stderr, status, "tokens; the session has room for 2")
	assert.Contains(t, lm(t, "features", "--model", lmModel("text"), "--in", in, "--out", out, "--context", "2", "--truncate"), "2 rows")
}

// The whole way: documents to features, an SDM model of them, and its verdict on an answer.
func TestLMVerify(t *testing.T) {
	dir := t.TempDir()
	texts := [2][]string{{"The rain had stopped", "the harbour lay flat", "the ferry left"}, {"3.14159 and 1,000", "x[i] = 0x1F;", "return width * height"}}
	files := map[string]string{}
	for _, name := range []string{"train", "calibration"} {
		var rows strings.Builder
		for i := range 40 {
			require.NoError(t, jsonLine(&rows, map[string]any{"id": fmt.Sprintf("%s-%d", name, i), "label": i % 2,
				"document": fmt.Sprintf("%s, %d %s", texts[i%2][i/2%3], i, name)}))
		}
		in := filepath.Join(dir, name+".jsonl")
		require.NoError(t, os.WriteFile(in, []byte(rows.String()), 0o600))
		files[name] = filepath.Join(dir, name+".sdmdataset")
		lm(t, "features", "--model", lmModel("text"), "--in", in, "--out", files[name])
	}
	model := filepath.Join(dir, "m.sdmkitmodel")
	_, stderr, status := credence(t, "sdm", "train", "--device", "go", "--training", files["train"], "--calibration", files["calibration"], "--out", model,
		"--exemplar-dimension", "4", "--epochs", "20", "--shuffles", "1")
	require.Zero(t, status, stderr)

	args := []string{"generate", "--model", lmModel("text"), "--prompt", "The rain had stopped", "--max-tokens", "4", "--quiet", "--verify", model}
	out := lm(t, append(args, "--nearest", "2")...)
	assert.Regexp(t, `(?s)\n\nverdict: Class[01], (accepted at alpha 0\.\d\d|not accepted: [a-z-]+) \(probability [01]\.\d+, \d+ of the nearest agree, distance quantile [01]\.\d+\)
nearest +class +distance +document\n(train|calibration)-\d+ +Class[01] +[0-9.e+-]+ +.*\n(train|calibration)-\d+ .*\n$`, out)
	assert.NotContains(t, lm(t, append(args, "--nearest", "0")...), "document")

	_, stderr, status = credence(t, append(append([]string{"lm", "--device", "go"}, args...), "--activation", "fatrelu:0.5")...)
	oneLine(t, stderr, status, "trained on features of the representation \"sparse-")
	_, stderr, status = credence(t, append(append([]string{"lm", "--device", "go"}, args...), "--alpha", "1.5")...)
	oneLine(t, stderr, status, "alpha 1.5")
}

func TestLMBench(t *testing.T) {
	var rates lmRates
	require.NoError(t, json.Unmarshal([]byte(lm(t, "bench", "--model", lmModel("minicpm"), "--prompt-tokens", "5", "--tokens", "4", "--json")), &rates))
	assert.Positive(t, rates.Prompt)
	assert.Positive(t, rates.Generation)
	assert.True(t, rates.Inactive > 0 && rates.Inactive < 1)
	assert.True(t, rates.Bound > 1 && rates.Bound < 3)
	assert.Contains(t, lm(t, "bench", "--model", lmModel("llama3"), "--tokens", "2"), "generation  2 tokens")
}

func TestLMMistakes(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "m.bin"), []byte("PK\x03\x04"), 0o600))
	model := lmModel("text")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"generate", "--model", model}, "--model and --prompt are needed"},
		{[]string{"inspect"}, "--model is needed"},
		{[]string{"logits", "--model", model, "--tokens", "1,x", "--out", dir + "/L.npy"}, `"x" is not a token`},
		{[]string{"logits", "--model", model, "--tokens", "1,481", "--out", dir + "/L.npy"}, "token 1 is 481, outside 0 to 480"},
		{[]string{"logits", "--model", model, "--tokens", "1", "--out", dir + "/no/L.npy"}, "no such file or directory"},
		{[]string{"logits", "--model", model, "--tokens", "1", "--out", dir + "/L.npy", "--cache", "f8"}, `cache type "f8"; f32, f16 or bf16`},
		{[]string{"generate", "--model", lmModel("opt"), "--prompt", "x"}, "no tokenizer: neither tokenizer.json nor tokenizer.model"},
		{[]string{"generate", "--model", model, "--prompt", "x", "--temperature", "-1"}, "temperature -1"},
		{[]string{"generate", "--model", model, "--prompt", "x", "--max-tokens", "0"}, "--max-tokens 0; at least 1"},
		{[]string{"generate", "--model", dir + "/m.bin", "--prompt", "x"}, "m.bin: a pickle"},
		{[]string{"generate", "--model", dir, "--prompt", "x"}, "config.json: no such file"},
		{[]string{"inspect", "--model", model, "--activation", "swish2"}, `activation "swish2" is not known; relu, fatrelu:T`},
		{[]string{"convert", "--model", model, "--dtype", "q5_K", "--out", dir + "/m.gguf"}, `type "q5_K"; f32, f16, bf16, q8_0 or q4_0`},
		{[]string{"bench", "--model", model, "--tokens", "1"}, "--prompt-tokens 16, --tokens 1: at least 1 and 2"},
		{[]string{"perplexity", "--model", model, "--in", dir + "/none"}, "no such file"},
		{[]string{"features", "--model", model, "--in", dir + "/none.jsonl", "--out", dir + "/x.sdmdataset"}, "no such file"},
	} {
		stdout, stderr, status := credence(t, append([]string{"lm", "--device", "go"}, c.args...)...)
		oneLine(t, stderr, status, c.want)
		assert.Empty(t, stdout)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing was written")
}

// An interrupted generation ends with what there is.
func TestLMInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	out := &cancelling{after: 3, cancel: cancel}
	var errs strings.Builder
	status := run(ctx, []string{"lm", "generate", "--device", "go", "--model", lmModel("text"), "--prompt", "x", "--ignore-end"}, out, &errs)
	assert.Equal(t, 1, status)
	assert.Contains(t, errs.String(), "context canceled")
	assert.Contains(t, out.String(), "(interrupted)")
}

// cancelling ends a context at its n-th write.
type cancelling struct {
	strings.Builder
	after  int
	cancel func()
}

func (c *cancelling) Write(b []byte) (int, error) {
	if c.after--; c.after == 0 {
		c.cancel()
	}
	return c.Builder.Write(b)
}

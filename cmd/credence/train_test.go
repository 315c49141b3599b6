package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/probpsenn"
	"github.com/credence-ml/credence/runtime"
	"github.com/credence-ml/credence/runtime/testenv"
)

// listing is what lies in a directory, to prove that nothing was written.
func listing(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// files writes a directory of files by name.
func files(t *testing.T, contents map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range contents {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	return dir
}

func gzipped(t *testing.T, text []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// idx are the bytes of IDX pictures of 8 x 8 and of labels.
func idx(n int, labels ...byte) (pictures, names []byte) {
	pictures = []byte{0, 0, 8, 3, 0, 0, 0, byte(n), 0, 0, 0, 8, 0, 0, 0, 8}
	pictures = append(pictures, bytes.Repeat([]byte{0, 50, 200, 255}, 16*n)...)
	return pictures, append([]byte{0, 0, 8, 1, 0, 0, 0, byte(len(labels))}, labels...)
}

// Whatever is wrong with the data or the command line, training ends with one clear line and writes nothing.
func TestTrainRefuses(t *testing.T) {
	good := strokesDirectory(t)
	const images, labels = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
	pictures, names := idx(4, 0, 1, 2, 0)
	zipped := gzipped(t, pictures)
	dir := func(p, l []byte) string { return files(t, map[string][]byte{images: p, labels: l}) }
	spoilt := func(b []byte, at int, v byte) []byte {
		b = bytes.Clone(b)
		b[at] = v
		return b
	}
	npy := func(value float32, y string) string {
		d := files(t, map[string][]byte{"y.npy": []byte(y)})
		values := make([]float32, 4*64)
		values[70] = value
		require.NoError(t, writeNPY(filepath.Join(d, "x.npy"), []int{4, 8, 8}, values))
		return d
	}
	config := func(text string) string {
		return filepath.Join(files(t, map[string][]byte{"c.json": []byte(text)}), "c.json")
	}
	const npyHeader = "\x93NUMPY\x01\x00F\x00{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }            \n"
	out := t.TempDir()
	model := filepath.Join(out, "m.safetensors")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"--data and --out are needed", []string{"--data", good}},
		{"--data and --out are needed", []string{"--out", model}},
		{`credence train probpsenn takes no arguments, "x" was given`, []string{"x", "--data", good, "--out", model}},
		{`invalid argument "many" for "--epochs" flag`, []string{"--epochs", "many", "--data", good, "--out", model}},
		{"--out " + filepath.Join(out, "no", "m") + ": ", []string{"--data", good, "--out", filepath.Join(out, "no", "m")}},
		{"--out " + out + ": not a regular file", []string{"--data", good, "--out", out}},
		{"--checkpoint " + out + ": not a regular file", []string{"--data", good, "--out", model, "--checkpoint", out}},
		{"no such file", []string{"--data", filepath.Join(out, "none"), "--out", model}},
		{"found an empty directory", []string{"--data", t.TempDir(), "--out", model}},
		{"has no labels beside its train inputs", []string{"--data", files(t, map[string][]byte{images: pictures}), "--out", model}},
		{"expected", []string{"--data", dir(spoilt(pictures, 3, 7), names), "--out", model}},
		{"expected", []string{"--data", dir(pictures[:len(pictures)-1], names), "--out", model}},
		{"expected 4 labels", []string{"--data", dir(pictures, append(spoilt(names, 7, 3)[:8], 0, 1, 2)), "--out", model}},
		{images + ".gz: ", []string{"--data", files(t, map[string][]byte{images + ".gz": zipped[:len(zipped)-9], labels: names}), "--out", model}},
		{"prob-psenn: class 3 has 0 training inputs", []string{"--data", good, "--out", model}},
		{"prob-psenn: class 1 has 0 training inputs", []string{"--data", dir(pictures, spoilt(names, 9, 200)), "--out", model, "--config", config(`{"classes":4,"hold_out":0}`)}},
		{"expected pixels from -1 to 1", []string{"--data", npy(float32(math.NaN()), npyHeader+"\x00\x01\x02\x00"), "--out", model}},
		{"expected labels from 0 upwards", []string{"--data", npy(0, strings.Replace(npyHeader, "|u1", "<i4", 1)+"\xff\xff\xff\xff"+strings.Repeat("\x00", 12)), "--out", model}},
		{"prob-psenn: hold_out 0.1 of 150 inputs is 15; calibration needs at least 20", []string{"--data", good, "--out", model, "--config", config(`{"classes":3}`)}},
		{`prob-psenn: prototypes is "round"; one of [full diag mixture point]`, []string{"--data", good, "--out", model, "--prototypes", "round"}},
		{"prob-psenn: latent is 0; 1 to 512", []string{"--data", good, "--out", model, "--latent", "0"}},
		{"prob-psenn: batch is 1; 2 to 65536", []string{"--data", good, "--out", model, "--batch", "1"}},
		{`c.json: json: unknown field "latnet"`, []string{"--data", good, "--out", model, "--config", config(`{"latnet":3}`)}},
		{"c.json: ", []string{"--data", good, "--out", model, "--config", config(`[`)}},
		{"no such file", []string{"--data", good, "--out", model, "--config", filepath.Join(out, "none")}},
		{"resume: ", []string{"--data", good, "--out", model, "--config", config(`{"classes":3,"hold_out":0.2}`), "--resume", filepath.Join(out, "none")}},
	} {
		_, stderr, status := credence(t, append([]string{"train", "probpsenn", "--device", "go"}, c.args...)...)
		oneLine(t, stderr, status, c.want)
		require.Empty(t, listing(t, out), c.want)
	}
	_, stderr, status := credence(t, "train", "mlp", "--device", "go")
	oneLine(t, stderr, status, "--data is needed")
	_, stderr, status = credence(t, "train", "mlp", "--device", "go", "--data", good, "--hidden", "20,0")
	oneLine(t, stderr, status, `--hidden "20,0": widths of at least 1`)
	_, stderr, status = credence(t, "train", "probpsen")
	oneLine(t, stderr, status, "did you mean probpsenn?")
}

// needCPU skips where the native backend cannot be used.
func needCPU(t *testing.T) {
	if !runtime.Build().Cgo {
		t.Skip("built without cgo")
	}
	testenv.NeedBackend(t, "cpu")
}

func TestEvaluate(t *testing.T) {
	needCPU(t)
	dir := strokesDirectory(t)
	model, native := strokesModel(t, dir)
	out := t.TempDir()
	figures := filepath.Join(out, "e.json")
	run := func(args ...string) (stdout, stderr string, status int) {
		return credence(t, append(append([]string{"evaluate"}, args...), native...)...)
	}
	stdout, stderr, status := run("--model", model, "--data", dir, "--ood", "again="+dir, "--ood", "more="+dir, "--json", figures)
	require.Zero(t, status, stderr)
	for _, word := range []string{"accuracy", "unfamiliar", "again", "more", "predictive entropy", "combined"} {
		assert.Contains(t, stdout, word)
	}
	text, err := os.ReadFile(figures)
	require.NoError(t, err)
	var e probpsenn.Evaluation
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&e))
	assert.Equal(t, 60, e.N)
	assert.InDelta(t, 1, e.Verdicts.Trusted+e.Verdicts.Ambiguous+e.Verdicts.Unfamiliar, 1e-12)
	require.Len(t, e.OOD, 2)
	// the same data are told apart no better than by chance
	assert.Equal(t, probpsenn.AUROC{PredictiveEntropy: .5, MutualInformation: .5, ExplanationPercentile: .5, ExplanationOverlap: .5,
		Reconstruction: .5, ChiSquare: .5, Combined: .5}, e.OOD["again"].AUROC)
	for _, key := range []string{`"n"`, `"accuracy"`, `"nll"`, `"brier"`, `"ece15"`, `"aurc"`, `"verdicts"`, `"ood"`, `"auroc"`, `"chi_square"`} {
		assert.Contains(t, string(text), key)
	}
	require.NoError(t, os.Remove(figures))

	pictures, names := idx(4, 0, 1, 2, 0)
	larger := bytes.Clone(pictures)
	larger[7], larger[11] = 1, 32
	wide := files(t, map[string][]byte{"t10k-images-idx3-ubyte": larger, "t10k-labels-idx1-ubyte": names[:9:9]})
	names[7] = 4
	require.NoError(t, os.WriteFile(filepath.Join(wide, "t10k-labels-idx1-ubyte"), append([]byte{0, 0, 8, 1, 0, 0, 0, 1}, 0), 0o600))
	unknown := files(t, map[string][]byte{"t10k-images-idx3-ubyte": pictures, "t10k-labels-idx1-ubyte": append(names[:11:11], 3)})
	whole, err := os.ReadFile(model)
	require.NoError(t, err)
	broken := filepath.Join(t.TempDir(), "broken")
	require.NoError(t, os.WriteFile(broken, whole[:len(whole)/2], 0o600))
	for _, c := range []struct {
		want string
		args []string
	}{
		{"--model and --data are needed", []string{"--model", model}},
		{"no such file", []string{"--model", filepath.Join(out, "none"), "--data", dir}},
		{broken, []string{"--model", broken, "--data", dir}},
		{"t10k-images", []string{"--model", filepath.Join(dir, "t10k-images-idx3-ubyte"), "--data", dir}},
		{`split "dev": want train or test`, []string{"--model", model, "--data", dir, "--split", "dev"}},
		{`--ood "x": NAME=DIR is needed`, []string{"--model", model, "--data", dir, "--ood", "x"}},
		{`--ood "=x": NAME=DIR is needed`, []string{"--model", model, "--data", dir, "--ood", "=x"}},
		{`--ood: two sets are called "a"`, []string{"--model", model, "--data", dir, "--ood", "a=" + dir, "--ood", "a=" + dir}},
		{"pictures of 32 x 8 x 1, the model takes 8 x 8 x 1", []string{"--model", model, "--data", wide}},
		{"far has inputs of 256 values, the model takes 64", []string{"--model", model, "--data", dir, "--ood", "far=" + wide}},
		{"label 3 of input 3 is outside 0 to 2", []string{"--model", model, "--data", unknown}},
		{"--json " + out + ": not a regular file", []string{"--model", model, "--data", dir, "--json", out}},
	} {
		stdout, stderr, status := run(append(c.args, "--json", map[bool]string{true: out, false: figures}[strings.HasPrefix(c.want, "--json")])...)
		oneLine(t, stderr, status, c.want)
		assert.Empty(t, stdout, fmt.Sprint(c.args))
		require.Empty(t, listing(t, out), c.want)
	}
}

// A run from a checkpoint on the command line ends with the file of a run without.
func TestTrainResume(t *testing.T) {
	needCPU(t)
	dir, out := strokesDirectory(t), t.TempDir()
	at := func(name string) string { return filepath.Join(out, name) }
	require.NoError(t, os.WriteFile(at("c.json"), []byte(`{"classes":3,"latent":4,"samples":3,"hold_out":0.2,"batch":16,"pretrain_epochs":1,"epochs":2}`), 0o600))
	args := []string{"train", "probpsenn", "--data", dir, "--config", at("c.json"), "--backend-dir", testenv.BackendDir(), "--device", "cpu"}
	stdout, stderr, status := credence(t, append(args, "--out", at("a"), "--checkpoint", at("c"), "--checkpoint-steps", "3")...)
	require.Zero(t, status, stderr)
	assert.Contains(t, stdout, "device: ")
	assert.Contains(t, stdout, "trained on 150 inputs in ")
	_, stderr, status = credence(t, append(args, "--out", at("b"), "--resume", at("c"), "--threads", "1")...)
	require.Zero(t, status, stderr)
	a, err := os.ReadFile(at("a"))
	require.NoError(t, err)
	b, err := os.ReadFile(at("b"))
	require.NoError(t, err)
	assert.True(t, bytes.Equal(a, b))
	_, stderr, status = credence(t, append(args, "--out", at("d"), "--resume", at("c"), "--seed", "5")...)
	oneLine(t, stderr, status, "the checkpoint was made with the configuration")
	_, stderr, status = credence(t, append(args, "--out", at("d"), "--resume", at("a"))...)
	oneLine(t, stderr, status, `holds "credence.prob-psenn", not "credence.prob-psenn.checkpoint"`)
	_, stderr, status = credence(t, "evaluate", "--model", at("c"), "--data", dir, "--device", "go")
	oneLine(t, stderr, status, `holds "credence.prob-psenn.checkpoint", not "credence.prob-psenn"`)
	assert.NoFileExists(t, at("d"))
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/probpsenn"
	"github.com/credence-ml/credence/runtime/testenv"
)

// strokeBytes is an 8x8 picture with a horizontal, vertical or diagonal stroke.
func strokeBytes(class int, r *rand.Rand) []byte {
	shift := r.IntN(3) - 1
	picture := make([]byte, 64)
	for i := range picture {
		y, x := i/8, i%8
		if []bool{y == 4+shift, x == 4+shift, x == y+shift}[class] {
			picture[i] = byte(230 + r.IntN(25))
		}
	}
	return picture
}

// strokesDirectory holds IDX files of strokes.
func strokesDirectory(t *testing.T) string {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, 1))
	for prefix, n := range map[string]int{"train": 150, "t10k": 60} {
		pictures := []byte{0, 0, 8, 3, 0, 0, 0, byte(n), 0, 0, 0, 8, 0, 0, 0, 8}
		labels := []byte{0, 0, 8, 1, 0, 0, 0, byte(n)}
		for i := range n {
			pictures, labels = append(pictures, strokeBytes(i%3, r)...), append(labels, byte(i%3))
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, prefix+"-images-idx3-ubyte"), pictures, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, prefix+"-labels-idx1-ubyte"), labels, 0o600))
	}
	return dir
}

// strokesModel trains a model on the directory through the command line.
func strokesModel(t *testing.T, dir string) (model string, native []string) {
	testenv.NeedBackend(t, "cpu")
	native = []string{"--backend-dir", testenv.BackendDir(), "--device", "cpu"}
	config := probpsenn.DefaultConfig()
	config.Classes, config.ClassNames, config.Height, config.Width, config.Latent = 3, []string{"flat", "upright", "slanted"}, 8, 8, 4
	config.Samples, config.EvalSamples, config.PretrainEpochs, config.Epochs, config.Batch, config.HoldOut = 3, 12, 1, 3, 16, .2
	text, err := json.Marshal(config)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "config.json")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	model = filepath.Join(t.TempDir(), "m.safetensors")
	_, stderr, status := credence(t, append([]string{"train", "probpsenn", "--data", dir, "--out", model, "--config", file}, native...)...)
	require.Zero(t, status, stderr)
	return model, native
}

// writePNG writes a stroke, enlarged, in colour.
func writePNG(t *testing.T, path string, class, scale int) {
	small := strokeBytes(class, rand.New(rand.NewPCG(4, 4)))
	im := image.NewNRGBA(image.Rect(0, 0, 8*scale, 8*scale))
	for y := range 8 * scale {
		for x := range 8 * scale {
			v := small[y/scale*8+x/scale]
			im.SetNRGBA(x, y, color.NRGBA{v, v, v, 255})
		}
	}
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, png.Encode(f, im))
	require.NoError(t, f.Close())
}

func TestPredictExplainReport(t *testing.T) {
	dir := strokesDirectory(t)
	model, native := strokesModel(t, dir)
	run := func(args ...string) (string, string, int) { return credence(t, append(args, native...)...) }
	out := t.TempDir()

	t.Run("predict", func(t *testing.T) {
		idx := filepath.Join(dir, "t10k-images-idx3-ubyte")
		stdout, stderr, status := run("predict", "--model", model, "--in", idx)
		require.Zero(t, status, stderr)
		assert.Empty(t, stderr)
		lines := strings.Split(strings.TrimSpace(stdout), "\n")
		require.Len(t, lines, 60)
		var p prediction
		for i, line := range lines {
			require.NoError(t, json.Unmarshal([]byte(line), &p))
			assert.Equal(t, i, p.Index)
			assert.Equal(t, idx, p.Source)
			assert.Equal(t, []string{"flat", "upright", "slanted"}[p.Label], p.Class)
			assert.Contains(t, []probpsenn.Verdict{probpsenn.Trusted, probpsenn.Ambiguous, probpsenn.Unfamiliar}, p.Verdict)
		}
		file := filepath.Join(out, "p.jsonl")
		_, stderr, status = run("predict", "--model", model, "--in", idx, "--out", file)
		require.Zero(t, status, stderr)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.Equal(t, stdout, string(text), "the same, whether printed or written")
	})

	t.Run("predict NPY", func(t *testing.T) {
		im, err := data.LoadDirectory(dir, "test")
		require.NoError(t, err)
		file := filepath.Join(out, "x.npy")
		require.NoError(t, writeNPY(file, []int{60, 8, 8}, im.Pixels))
		stdout, stderr, status := run("predict", "--model", model, "--in", file)
		require.Zero(t, status, stderr)
		assert.Equal(t, 60, strings.Count(stdout, "\n"))
	})

	t.Run("predict PNG of another size", func(t *testing.T) {
		file := filepath.Join(out, "upright.png")
		writePNG(t, file, 1, 5)
		stdout, stderr, status := run("predict", "--model", model, "--in", file)
		require.Zero(t, status, stderr)
		assert.Equal(t, "credence: warning: "+file+": colour made grey, 40x40 fitted into 8x8\n", stderr)
		var p prediction
		require.NoError(t, json.Unmarshal([]byte(stdout), &p))
		assert.InDelta(t, 1, sum(p.Probabilities), 1e-5)
		turned, _, _ := run("predict", "--model", model, "--in", file, "--invert")
		assert.NotEqual(t, stdout, turned)
	})

	t.Run("explain", func(t *testing.T) {
		page, document := filepath.Join(out, "e.html"), filepath.Join(out, "e.json")
		stdout, stderr, status := run("explain", "--model", model, "--data", dir, "--index", "2", "--html", page, "--json", document)
		require.Zero(t, status, stderr)
		assert.Contains(t, stdout, "the page is "+page)
		html, err := os.ReadFile(page)
		require.NoError(t, err)
		assert.Contains(t, string(html), "true class")
		assert.Contains(t, string(html), "slanted")
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		var x struct {
			Input   probpsenn.InputOrigin
			Picture struct {
				Height int
				PNG    []byte
			}
			Classes []struct {
				Prototypes []struct{ Examples []struct{ Picture any } }
			}
		}
		require.NoError(t, json.Unmarshal(text, &x))
		assert.Equal(t, 2, *x.Input.Label)
		assert.Equal(t, 8, x.Picture.Height)
		assert.Equal(t, "\x89PNG", string(x.Picture.PNG[:4]))
		assert.NotNil(t, x.Classes[0].Prototypes[0].Examples[0].Picture, "from the training split beside it")

		file := filepath.Join(out, "small.png")
		writePNG(t, file, 0, 1)
		_, stderr, status = run("explain", "--model", model, "--in", file, "--html", page)
		require.Zero(t, status, stderr)
		html, err = os.ReadFile(page)
		require.NoError(t, err)
		assert.Contains(t, string(html), "which was not at hand")
	})

	t.Run("report", func(t *testing.T) {
		page, document := filepath.Join(out, "r.html"), filepath.Join(out, "r.json")
		stdout, stderr, status := run("report", "--model", model, "--data", dir, "--html", page, "--json", document)
		require.Zero(t, status, stderr)
		assert.Contains(t, stdout, "on 60 inputs")
		for _, file := range []string{page, document} {
			info, err := os.Stat(file)
			require.NoError(t, err)
			assert.Positive(t, info.Size())
		}
	})

	t.Run("mistakes", func(t *testing.T) {
		empty := t.TempDir()
		target := filepath.Join(empty, "out")
		large := filepath.Join(out, "large.npy")
		require.NoError(t, writeNPY(large, []int{1, 9, 9}, make([]float32, 81)))
		broken := filepath.Join(out, "broken.png")
		require.NoError(t, os.WriteFile(broken, []byte("\x89PNG\r\n\x1a\nnothing"), 0o600))
		idx := filepath.Join(dir, "t10k-images-idx3-ubyte")
		for _, c := range []struct {
			args []string
			want string
		}{
			{[]string{"predict", "--model", model}, "--model and --in are needed"},
			{[]string{"predict", "--model", target, "--in", idx, "--out", target}, "no such file"},
			{[]string{"predict", "--model", idx, "--in", idx, "--out", target}, "prob-psenn: "},
			{[]string{"predict", "--model", model, "--in", large, "--out", target}, "pictures of 9x9 with 1 channels; the model takes 8x8 with 1"},
			{[]string{"predict", "--model", model, "--in", broken, "--out", target}, "expected a PNG picture"},
			{[]string{"predict", "--model", model, "--in", idx, "--out", target, "--samples", "-1"}, "-1 prototype samples; 1 to 10000"},
			{[]string{"predict", "--model", model, "--in", idx, "--out", filepath.Join(empty, "a", "b")}, "no such file"},
			{[]string{"explain", "--model", model, "--html", target}, "--in FILE, or --index I with --data DIR, is needed"},
			{[]string{"explain", "--model", model, "--data", dir, "--html", target}, "--in FILE, or --index I with --data DIR, is needed"},
			{[]string{"explain", "--model", model, "--data", dir, "--index", "60", "--html", target}, "--index 60: " + filepath.Base(dir) + ", test has inputs 0 to 59"},
			{[]string{"explain", "--model", model, "--in", idx, "--index", "-1", "--html", target}, "--index -1"},
			{[]string{"explain", "--model", model, "--data", dir, "--split", "valid", "--index", "1", "--html", target}, `split "valid": want train or test`},
			{[]string{"report", "--model", model, "--html", target}, "--model, --data and --html are needed"},
			{[]string{"report", "--model", model, "--data", out, "--html", target}, "has no labels beside its test inputs"},
			{[]string{"report", "--model", model, "--data", empty, "--html", target}, "found an empty directory"},
		} {
			stdout, stderr, status := run(c.args...)
			oneLine(t, stderr, status, c.want)
			assert.Empty(t, stdout, c.args)
			entries, err := os.ReadDir(empty)
			require.NoError(t, err)
			assert.Empty(t, entries, "%v wrote something", c.args)
		}
	})
}

func writeNPY(path string, shape []int, values []float32) error {
	var b bytes.Buffer
	if err := data.WriteNPY(&b, shape, values); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}

func sum(values []float64) (s float64) {
	for _, v := range values {
		s += v
	}
	return s
}

func TestFitPicture(t *testing.T) {
	config := &probpsenn.Config{Height: 4, Width: 4, Channels: 1}
	same := &data.Images{N: 1, Height: 4, Width: 4, Channels: 1, Pixels: make([]float32, 16)}
	fitted, changes := fitPicture(same, config)
	assert.Same(t, same, fitted)
	assert.Empty(t, changes)

	// a wide bright picture with a dark border: centred between rows of the border's colour
	wide := &data.Images{N: 1, Height: 8, Width: 16, Channels: 3}
	for i := range 8 * 16 {
		y, x := i/16, i%16
		v := float32(-1)
		if y > 0 && y < 7 && x > 0 && x < 15 {
			v = 1
		}
		wide.Pixels = append(wide.Pixels, v, v, v)
	}
	fitted, changes = fitPicture(wide, config)
	assert.Equal(t, "colour made grey, 8x16 fitted into 4x4", changes)
	require.Len(t, fitted.Pixels, 16)
	for _, i := range []int{0, 3, 12, 15} {
		assert.InDelta(t, -1, fitted.Pixels[i], 1e-3)
	}
	assert.Greater(t, fitted.Pixels[5], float32(.3))

	config.Channels = 3
	fitted, changes = fitPicture(same, config)
	assert.Equal(t, "grey taken as colour", changes)
	assert.Len(t, fitted.Pixels, 48)

	// the luma of pure red, green and blue
	for i, want := range []float64{.299, .587, .114} {
		v := []float32{-1, -1, -1}
		v[i] = 1
		assert.InDelta(t, want*0xffff, float64(pixel(v, 1).R), 1, fmt.Sprint(i))
	}
}

package sparse

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/sparse/gguf"
)

func convert(t testing.TB, from, to, kind string) {
	t.Helper()
	c, err := Open(from, OpenOptions{})
	require.NoError(t, err)
	defer c.Close()
	last, total := 0, 0
	require.NoError(t, Convert(context.Background(), c, to, ConvertOptions{Type: kind, Progress: func(d, n int) { last, total = d, n }}))
	require.Equal(t, total, last)
}

// sources are a file's tensors, to be written again.
func sources(f *gguf.File) []gguf.Source {
	var list []gguf.Source
	for _, t := range f.Tensors {
		list = append(list, gguf.Source{Name: t.Name, Type: t.Type, Shape: t.Shape, Write: func(w io.Writer) error { _, err := w.Write(t.Data); return err }})
	}
	return list
}

// A converted model is the same model: in f32 up to the rounding of the epsilon and the scales in the file's keys.
func TestConvert(t *testing.T) {
	rt := openRuntime(t)
	ids := tokens(t)
	for _, name := range references {
		dir := filepath.Join("testdata", name)
		want := logits(t, load(t, rt, dir, Options{}), ids)
		for kind, most := range map[string]float64{"f32": 2e-4, "f16": .2, "bf16": 1.2, "q8_0": 2, "q4_0": 30} {
			path := filepath.Join(t.TempDir(), "m.gguf")
			convert(t, dir, path, kind)
			m := load(t, rt, path, Options{})
			d := maxDifference(t, want, logits(t, m, ids))
			t.Logf("%s %s: %.2g", name, kind, d)
			assert.LessOrEqual(t, d, most)
			original, err := Open(dir, OpenOptions{})
			require.NoError(t, err)
			a, b := m.Config, original.Config
			assert.Equal(t, b.Activation, a.Activation)
			assert.Equal(t, b.wants(), a.wants())
			assert.Equal(t, b.BOS, a.BOS)
			require.NoError(t, original.Close())
		}
	}
}

func TestConvertRefuses(t *testing.T) {
	c, err := Open(filepath.Join("testdata", "llama"), OpenOptions{})
	require.NoError(t, err)
	defer c.Close()
	path := filepath.Join(t.TempDir(), "m.gguf")
	assert.ErrorContains(t, Convert(context.Background(), c, path, ConvertOptions{Type: "q4_K"}), `type "q4_K"; f32, f16, bf16, q8_0 or q4_0`)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	assert.ErrorIs(t, Convert(ctx, c, path, ConvertOptions{Type: "f16"}), context.Canceled)
	assert.NoFileExists(t, path)
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Empty(t, entries)
	convert(t, filepath.Join("testdata", "llama"), path, "f16")
	g, err := Open(path, OpenOptions{})
	require.NoError(t, err)
	defer g.Close()
	assert.ErrorContains(t, Convert(context.Background(), g, path+"2", ConvertOptions{Type: "q8_0"}), "already a GGUF file")
}

// PowerInfer's files differ in their magic and have predictors besides.
func TestPowerInferFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	convert(t, filepath.Join("testdata", "llama"), path, "f32")
	f, err := gguf.Open(path)
	require.NoError(t, err)
	list := append(sources(f), gguf.Source{Name: "blk.0.fc1.weight", Type: gguf.F32, Shape: []int64{4, 32}, Write: func(w io.Writer) error {
		_, err := w.Write(make([]byte, 4*32*4))
		return err
	}})
	power := filepath.Join(t.TempDir(), "p.gguf")
	require.NoError(t, gguf.Write(power, f.Keys, list))
	require.NoError(t, f.Close())
	text, err := os.ReadFile(power)
	require.NoError(t, err)
	copy(text, gguf.MagicPowerInfer)
	require.NoError(t, os.WriteFile(power, text, 0o666))

	rt := openRuntime(t)
	m := load(t, rt, power, Options{})
	assert.Equal(t, "PWRI", m.Checkpoint().Format)
	assert.True(t, m.Checkpoint().GGUF.Tensor("blk.0.fc1.weight").Predictor())
	want := logits(t, load(t, rt, path, Options{}), tokens(t))
	assert.Equal(t, want, logits(t, m, tokens(t)), "predictors take no part")
}

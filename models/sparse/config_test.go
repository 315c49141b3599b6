package sparse

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/sparse/gguf"
)

func TestRopeScalings(t *testing.T) {
	base := `{"model_type":"llama","vocab_size":10,"hidden_size":64,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":2,
		"max_position_embeddings":64,"rms_norm_eps":1e-5,"hidden_act":"relu","rope_theta":10000`
	parse := func(more string) *Config {
		c, err := parseConfig([]byte(base+more+"}"), nil)
		require.NoError(t, err)
		return c
	}
	assert.Equal(t, .25, parse(`,"rope_scaling":{"type":"linear","factor":4}`).RopeScale)
	assert.Nil(t, parse(`,"rope_scaling":null`).RopeFactors)
	assert.Equal(t, 5e5, parse(`,"rope_parameters":{"rope_type":"default","rope_theta":500000}`).RopeTheta)
	f := parse(`,"rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":1024}`).RopeFactors
	require.Len(t, f, 16)
	assert.Equal(t, float32(1), f[0], "fast ones are left")
	assert.Equal(t, float32(8), f[15], "slow ones are stretched")
	turns := 1024 / (2 * math.Pi * math.Pow(10000, 8./16)) // that frequency 8 makes in the original context
	smooth := (turns - 1) / 3
	require.True(t, smooth > 0 && smooth < 1)
	assert.InDelta(t, 1/((1-smooth)/8+smooth), f[8], 1e-5, "between they blend")
}

// Whatever a configuration says, reading it returns, and what is accepted can be listed.
func FuzzConfig(f *testing.F) {
	for _, name := range references {
		text, err := os.ReadFile(filepath.Join("testdata", name, "config.json"))
		require.NoError(f, err)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := parseConfig(text, nil); err == nil && c.Layers < 100 {
			require.NotEmpty(t, c.wants())
		}
	})
}

// The same of GGUF files, up to the proof that every tensor is there.
func FuzzGGUF(f *testing.F) {
	for _, name := range []string{"llama", "minicpm", "opt"} {
		path := filepath.Join(f.TempDir(), "m.gguf")
		convert(f, filepath.Join("testdata", name), path, "q8_0")
		text, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := gguf.Parse(data)
		if err != nil {
			return
		}
		config, err := configFromGGUF(file, nil)
		if err != nil || config.Layers > 100 {
			return
		}
		c := &Checkpoint{Config: *config, GGUF: file, tensors: ggufTensors(file)}
		if c.checkTensors() == nil {
			require.NotEmpty(t, c.Summary().Tensors)
		}
	})
}

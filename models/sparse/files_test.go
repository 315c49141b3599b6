package sparse

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/sparse/gguf"
	"github.com/credence-ml/credence/ops"
)

// copied is a directory with a reference checkpoint's files, one of which the test changes.
func copied(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))))
	return dir
}

// changeConfig changes fields of a directory's config.json; nil deletes one.
func changeConfig(t *testing.T, dir string, fields map[string]any) {
	t.Helper()
	path := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var c map[string]any
	require.NoError(t, json.Unmarshal(text, &c))
	for k, v := range fields {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	text, err = json.Marshal(c)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text, 0o666))
}

func refused(t *testing.T, path, activation, want string) {
	t.Helper()
	c, err := Open(path, OpenOptions{Activation: activation})
	if !assert.ErrorContains(t, err, want) && err == nil {
		require.NoError(t, c.Close())
	}
}

func TestConfigsThatAreRefused(t *testing.T) {
	for want, c := range map[string]struct {
		model  string
		fields map[string]any
	}{
		"hidden_act is missing: the activation is not stated, and is not guessed; say it with --activation relu": {"llama", map[string]any{"hidden_act": nil}},
		`hidden_act "gelu_new" is not known`:                        {"llama", map[string]any{"hidden_act": "gelu_new"}},
		"hidden_act_param, its threshold, is missing":               {"minicpm", map[string]any{"hidden_act_param": nil}},
		"threshold -1 of fatrelu is negative":                       {"minicpm", map[string]any{"hidden_act_param": -1}},
		"activation_function is missing":                            {"opt", map[string]any{"activation_function": nil}},
		`model_type "gpt_neox" is not known; llama`:                 {"llama", map[string]any{"model_type": "gpt_neox"}},
		"model_type is missing":                                     {"llama", map[string]any{"model_type": nil}},
		"rms_norm_eps is missing":                                   {"llama", map[string]any{"rms_norm_eps": nil}},
		"needs scale_emb, scale_depth":                              {"minicpm", map[string]any{"scale_depth": nil}},
		"4 attention heads are not a multiple of 3":                 {"llama", map[string]any{"num_key_value_heads": 3}},
		"vocabulary: 0 is not a size":                               {"llama", map[string]any{"vocab_size": 0}},
		"intermediate size: 1000000000000 is not a size":            {"llama", map[string]any{"intermediate_size": 1e12}},
		"hidden_size 32 is not a multiple of num_attention_heads 5": {"llama", map[string]any{"num_attention_heads": 5, "head_dim": nil}},
		`rope scaling "yarn" is not known`:                          {"llama", map[string]any{"rope_parameters": map[string]any{"rope_type": "yarn"}}},
		"llama3 needs factor":                                       {"llama", map[string]any{"rope_parameters": map[string]any{"rope_type": "llama3"}}},
		"multiplies positions by +Inf":                              {"llama", map[string]any{"rope_parameters": map[string]any{"rope_type": "linear"}}},
		"do_layer_norm_before is false":                             {"opt", map[string]any{"do_layer_norm_before": false}},
		"word_embed_proj_dim 16 differs":                            {"opt", map[string]any{"word_embed_proj_dim": 16}},
		"token 96 ends a text, but there are 96":                    {"llama", map[string]any{"eos_token_id": []int{2, 96}}},
		"cannot unmarshal":                                          {"llama", map[string]any{"hidden_size": "big"}},
		`has shape [96 32], want [95 32]`:                           {"llama", map[string]any{"vocab_size": 95}},
		`no tensor "model.layers.2.input_layernorm.weight"`:         {"llama", map[string]any{"num_hidden_layers": 3}},
	} {
		dir := copied(t, c.model)
		changeConfig(t, dir, c.fields)
		refused(t, dir, "", want)
	}
	refused(t, filepath.Join("testdata", "llama"), "swiglu", `activation "swiglu" is not known; relu, fatrelu:T`)
	refused(t, filepath.Join("testdata", "llama"), "fatrelu", "a threshold goes with fatrelu")
	refused(t, filepath.Join("testdata", "llama"), "relu:1", "a threshold goes with fatrelu")
	refused(t, filepath.Join("testdata", "llama"), "fatrelu:x", `"x" is not a number`)
}

// What settles the activation: the flag first, then the model's own word.
func TestActivations(t *testing.T) {
	open := func(dir, activation string) ops.Activation {
		c, err := Open(dir, OpenOptions{Activation: activation})
		require.NoError(t, err)
		defer c.Close()
		return c.Config.Activation
	}
	dir := copied(t, "llama")
	assert.Equal(t, ops.Activation{Kind: ops.ActReLU}, open(dir, ""))
	assert.Equal(t, ops.Activation{Kind: ops.ActFATReLU, P: .5}, open(dir, "fatrelu:0.5"))
	changeConfig(t, dir, map[string]any{"hidden_act": "shiftrelu", "hidden_act_param": .25, "model_type": "sparsellama"})
	assert.Equal(t, ops.Activation{Kind: ops.ActShiftedReLU, P: .25}, open(dir, ""))
	changeConfig(t, dir, map[string]any{"hidden_act": "silu", "model_type": "llama_sparse_relu"})
	assert.Equal(t, ops.Activation{Kind: ops.ActReLU}, open(dir, ""), "its code has ReLU, whatever its files say")
	changeConfig(t, dir, map[string]any{"model_type": "mistral", "sliding_window": 20})
	c, err := Open(dir, OpenOptions{})
	require.NoError(t, err)
	assert.Equal(t, 20, c.Config.Positions, "within its window")
	require.NoError(t, c.Close())
	for _, text := range []string{"relu", "fatrelu:0.01", "shifted_relu:0.5", "relu_squared", "silu", "gelu"} {
		a, err := ParseActivation(text)
		require.NoError(t, err)
		assert.Equal(t, text, formatActivation(a))
	}
}

func TestPicklesAreRefusedByName(t *testing.T) {
	dir := copied(t, "opt")
	require.NoError(t, os.Rename(filepath.Join(dir, "model.safetensors"), filepath.Join(dir, "pytorch_model.bin")))
	refused(t, dir, "", "pytorch_model.bin: a pickle, which is a program that runs when it is read, and is refused; make it safetensors: python -c")
	for name, content := range map[string]string{"m.pt": "whatever", "model": "PK\x03\x04zip", "weights": "\x80\x02}q"} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o666))
		refused(t, path, "", name+": a pickle")
		var pickle *PickleError
		_, err := Open(path, OpenOptions{})
		assert.ErrorAs(t, err, &pickle)
	}
	refused(t, filepath.Join("testdata", "opt", "model.safetensors"), "", "give the directory")
	refused(t, t.TempDir(), "", "config.json: no such file")
	refused(t, filepath.Join(dir, "missing"), "", "no such file")
}

func TestBrokenFiles(t *testing.T) {
	dir := copied(t, "opt")
	path := filepath.Join(dir, "model.safetensors")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, int64(len(text)-1)))
	refused(t, dir, "", "truncated")
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(text), `"F32"`, `"F64"`, 1)), 0o666))
	refused(t, dir, "", "bytes, but it has")
	dir = copied(t, "llama")
	require.NoError(t, os.Remove(filepath.Join(dir, "model-00002-of-00002.safetensors")))
	refused(t, dir, "", "no such file")
}

// writeGGUF writes the tensors of the LLaMA checkpoint with some keys changed; a nil value leaves one out.
func writeGGUF(t *testing.T, change map[string]any) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.gguf")
	convert(t, filepath.Join("testdata", "llama"), path, "f32")
	f, err := gguf.Open(path)
	require.NoError(t, err)
	defer f.Close()
	var keys []gguf.Key
	for _, k := range f.Keys {
		if v, ok := change[k.Name]; ok {
			k.Value = v
		}
		if k.Value != nil {
			keys = append(keys, k)
		}
	}
	out := filepath.Join(t.TempDir(), "changed.gguf")
	require.NoError(t, gguf.Write(out, keys, sources(f)))
	return out
}

func TestGGUFThatIsRefused(t *testing.T) {
	for want, change := range map[string]map[string]any{
		"the file does not say which activation its feed-forward layers have (key llama.feed_forward.activation), and it is not guessed; say it with --activation relu": {"llama.feed_forward.activation": nil},
		`llama.feed_forward.activation "swish_glu" is not known`:       {"llama.feed_forward.activation": "swish_glu"},
		"llama.feed_forward.activation_threshold is missing":           {"llama.feed_forward.activation": "fatrelu"},
		`architecture "falcon" is not known; llama, minicpm, qwen2`:    {"general.architecture": "falcon"},
		"no such key: llama.block_count":                               {"llama.block_count": nil},
		"llama.block_count is -1":                                      {"llama.block_count": int32(-1)},
		"llama.block_count is two (string), not an integer":            {"llama.block_count": "two"},
		"no such key: llama.attention.layer_norm_rms_epsilon":          {"llama.attention.layer_norm_rms_epsilon": nil},
		"4 of 8 elements of a head are rotated":                        {"llama.rope.dimension_count": uint32(4)},
		`tensor "blk.0.attn_q.weight" has shape [32 32], want [64 32]`: {"llama.attention.head_count": uint32(8)},
	} {
		refused(t, writeGGUF(t, change), "", want)
	}
	path := writeGGUF(t, map[string]any{"llama.feed_forward.activation": nil})
	c, err := Open(path, OpenOptions{Activation: "fatrelu:0.25"})
	require.NoError(t, err)
	assert.Equal(t, "as asked for", c.Config.ActivationSource)
	require.NoError(t, c.Close())
}

// A file of 10 GB that was never read takes no memory when it is opened.
func TestAHugeFileIsNotRead(t *testing.T) {
	dir := copied(t, "opt")
	const rows = int64(10 << 30 / (32 * 4))
	header := fmt.Sprintf(`{"model.decoder.embed_tokens.weight":{"dtype":"F32","shape":[%d,32],"data_offsets":[0,%d]}}`, rows, rows*128)
	header += strings.Repeat(" ", (8-len(header)%8)%8) // so that the tensor lies at a multiple of its elements
	f, err := os.Create(filepath.Join(dir, "huge.safetensors"))
	require.NoError(t, err)
	_, err = f.Write(append([]byte{byte(len(header)), 0, 0, 0, 0, 0, 0, 0}, header...))
	require.NoError(t, err)
	require.NoError(t, f.Truncate(8+int64(len(header))+rows*128)) // no blocks behind it
	require.NoError(t, f.Close())
	weights := map[string]string{"model.decoder.embed_tokens.weight": "huge.safetensors"}
	c, err := Open(filepath.Join("testdata", "opt"), OpenOptions{})
	require.NoError(t, err)
	for name := range c.tensors {
		if name != "model.decoder.embed_tokens.weight" {
			weights[name] = "small.safetensors"
		}
	}
	require.NoError(t, c.Close())
	index, err := json.Marshal(map[string]any{"weight_map": weights})
	require.NoError(t, err)
	require.NoError(t, os.Rename(filepath.Join(dir, "model.safetensors"), filepath.Join(dir, "small.safetensors")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), index, 0o666))
	changeConfig(t, dir, map[string]any{"vocab_size": rows})

	before := resident(t)
	refused(t, dir, "", fmt.Sprintf("vocabulary: %d is not a size", rows)) // found before the weights are opened
	changeConfig(t, dir, map[string]any{"vocab_size": 96})
	refused(t, dir, "", fmt.Sprintf("has shape [%d 32], want [96 32]", rows)) // mapped and checked
	c, err = open(dir, OpenOptions{})
	require.NoError(t, err)
	assert.Equal(t, rows, c.tensors["model.decoder.embed_tokens.weight"].shape[0])
	rt := openRuntime(t)
	placed := newPlacement(c)
	_, err = placed.matrix(c.tensors["model.decoder.embed_tokens.weight"])
	require.NoError(t, err)
	memories, err := placed.bind(rt)
	require.NoError(t, err)
	assert.Less(t, resident(t)-before, int64(64<<20))
	for _, m := range memories {
		m.Close()
	}
	require.NoError(t, c.Close())
}

// resident is this process's memory in use, in bytes.
func resident(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	var size, pages int64
	_, err = fmt.Sscan(string(text), &size, &pages)
	require.NoError(t, err)
	return pages * int64(os.Getpagesize())
}

package sparse

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/credence-ml/credence/models/sparse/gguf"
	"github.com/credence-ml/credence/ops"
)

// The keys that say which activation a GGUF's feed-forward layers have are a convention of this project: the format has
// none, and engines that read it compute SiLU whatever the model was trained with.
const (
	activationKey = ".feed_forward.activation"
	thresholdKey  = ".feed_forward.activation_threshold"
)

// keys reads a GGUF's table; the first error sticks.
type keys struct {
	f    *gguf.File
	arch string
	err  error
}

func (k *keys) fail(err error) {
	if k.err == nil {
		k.err = err
	}
}

func (k *keys) has(name string) bool { return k.f.Has(k.arch + name) }

func (k *keys) int(name string) int {
	v, err := k.f.Int(k.arch + name)
	if err == nil && (v < 0 || v > math.MaxInt32) {
		err = fmt.Errorf("%s is %d", k.arch+name, v)
	}
	if err != nil {
		k.fail(err)
	}
	return int(v)
}

func (k *keys) float(name string) float64 {
	v, err := k.f.Float(k.arch + name)
	if err != nil {
		k.fail(err)
	}
	return v
}

// configFromGGUF reads the table of keys.
func configFromGGUF(f *gguf.File, activation *ops.Activation) (*Config, error) {
	arch, err := f.String("general.architecture")
	if err != nil {
		return nil, err
	}
	k := &keys{f: f, arch: arch}
	var c *Config
	switch arch {
	case "llama", "minicpm", "qwen2":
		c = newConfig(LLaMA)
		c.NormEps = k.float(".attention.layer_norm_rms_epsilon")
		k.rope(c)
		if arch == "minicpm" {
			c.EmbeddingScale, c.ResidualScale, c.LogitDivisor = k.float(".embedding_scale"), k.float(".residual_scale"), k.float(".logit_scale")
		}
	case "opt":
		c = newConfig(OPT)
		c.NormEps = k.float(".attention.layer_norm_epsilon")
	default:
		return nil, fmt.Errorf("architecture %q is not known; llama, minicpm, qwen2 and opt are", arch)
	}
	c.ModelType = arch
	c.Hidden, c.Intermediate, c.Layers = k.int(".embedding_length"), k.int(".feed_forward_length"), k.int(".block_count")
	c.Heads, c.Positions = k.int(".attention.head_count"), k.int(".context_length")
	c.KVHeads = c.Heads
	if k.has(".attention.head_count_kv") {
		c.KVHeads = k.int(".attention.head_count_kv")
	}
	if k.has(".attention.key_length") {
		c.HeadDim = k.int(".attention.key_length")
	} else if c.Heads > 0 {
		c.HeadDim = c.Hidden / c.Heads
	}
	k.tensors(c)
	k.special(c)
	if k.err != nil {
		return nil, k.err
	}
	if c.Family == LLaMA && k.has(".rope.dimension_count") && k.int(".rope.dimension_count") != c.HeadDim {
		return nil, fmt.Errorf("%d of %d elements of a head are rotated; all is what is supported", k.int(".rope.dimension_count"), c.HeadDim)
	}
	if activation != nil {
		c.Activation, c.ActivationSource = *activation, "as asked for"
	} else if err := k.activation(c); err != nil {
		return nil, err
	}
	return c, c.check()
}

// tensors reads what the file says through the tensors it has.
func (k *keys) tensors(c *Config) {
	embedding := k.f.Tensor("token_embd.weight")
	if embedding == nil || len(embedding.Shape) != 2 || embedding.Shape[0] > maxSize {
		k.fail(fmt.Errorf("token_embd.weight is missing or no matrix"))
		return
	}
	c.Vocab = int(embedding.Shape[0])
	has := func(name string) bool { return k.f.Tensor(name) != nil }
	c.TiedEmbeddings = !has("output.weight")
	c.AttentionBias, c.OutputBias, c.FFNBias = has("blk.0.attn_q.bias"), has("blk.0.attn_output.bias"), has("blk.0.ffn_up.bias")
	if c.Family == OPT {
		positions := k.f.Tensor("position_embd.weight")
		if positions == nil || len(positions.Shape) != 2 {
			k.fail(fmt.Errorf("position_embd.weight is missing or no matrix"))
			return
		}
		switch positions.Shape[0] - int64(c.Positions) {
		case 0:
		case 2:
			c.PositionOffset = 2
		default:
			k.fail(fmt.Errorf("position_embd.weight has %d rows for %d positions; as many, or two more, are needed", positions.Shape[0], c.Positions))
		}
	}
}

func (k *keys) rope(c *Config) {
	c.RopeTheta = 10000
	if k.has(".rope.freq_base") {
		c.RopeTheta = k.float(".rope.freq_base")
	}
	if k.arch != "qwen2" { // the rows of q and k lie in the order of the other rotation
		c.RopeLayout = ops.RotaryPairs
	}
	if k.has(".rope.scaling.type") {
		kind, err := k.f.String(k.arch + ".rope.scaling.type")
		switch {
		case err != nil:
			k.fail(err)
		case kind == "linear":
			c.RopeScale = 1 / k.float(".rope.scaling.factor")
		case kind != "none":
			k.fail(fmt.Errorf("rope scaling %q is not known; none and linear are", kind))
		}
	}
	if t := k.f.Tensor("rope_freqs.weight"); t != nil {
		if t.Type != gguf.F32 || len(t.Shape) != 1 || t.Shape[0] > maxSize {
			k.fail(fmt.Errorf("rope_freqs.weight is %v%v, want f32 of one axis", t.Type, t.Shape))
			return
		}
		for i := range t.Shape[0] {
			c.RopeFactors = append(c.RopeFactors, math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:])))
		}
	}
}

// special are the tokens that begin and end a text.
func (k *keys) special(c *Config) {
	if k.f.Has("tokenizer.ggml.bos_token_id") {
		c.BOS = (&keys{f: k.f, arch: "tokenizer.ggml"}).int(".bos_token_id")
	}
	if k.f.Has("tokenizer.ggml.eos_token_id") {
		c.EOS = []int{(&keys{f: k.f, arch: "tokenizer.ggml"}).int(".eos_token_id")}
	}
}

func (k *keys) activation(c *Config) error {
	if !k.has(activationKey) {
		return fmt.Errorf("the file does not say which activation its feed-forward layers have (key %s), and it is not guessed; say it with --activation %s",
			k.arch+activationKey, activationHelp)
	}
	name, err := k.f.String(k.arch + activationKey)
	if err != nil {
		return err
	}
	kind, ok := activationKinds[name]
	if !ok {
		return fmt.Errorf("%s %q is not known; say the activation with --activation %s if it is one of these", k.arch+activationKey, name, activationHelp)
	}
	c.Activation, c.ActivationSource = ops.Activation{Kind: kind}, "key "+k.arch+activationKey
	if kind == ops.ActFATReLU || kind == ops.ActShiftedReLU {
		if !k.has(thresholdKey) {
			return fmt.Errorf("%s is %s, but %s is missing; say it with --activation %s:T", k.arch+activationKey, name, k.arch+thresholdKey, name)
		}
		c.Activation.P = k.float(thresholdKey)
	}
	return k.err
}

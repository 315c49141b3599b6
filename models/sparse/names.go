package sparse

import (
	"fmt"
	"strings"

	"github.com/credence-ml/credence/ops"
)

// Tensors go by their names in GGUF files; checkpoints in the manner of Hugging Face have names of their own.

// want is a tensor that a configuration asks for.
type want struct {
	role  string
	shape []int64
}

// matrix reports whether the tensor is one of the large ones, which stay in the file's type.
func (w want) matrix() bool { return len(w.shape) == 2 }

// part is a tensor's name without its layer and its ending.
func (w want) part() string {
	name := strings.TrimSuffix(strings.TrimSuffix(w.role, ".weight"), ".bias")
	return name[strings.LastIndexByte(name, '.')+1:]
}

// block is the name of a layer's tensor.
func block(layer int, name string) string { return fmt.Sprintf("blk.%d.%s", layer, name) }

// wants lists the tensors of a model.
func (c *Config) wants() []want {
	d, h, kv, dff := int64(c.Hidden), int64(c.Heads*c.HeadDim), int64(c.KVHeads*c.HeadDim), int64(c.Intermediate)
	list := []want{{"token_embd.weight", []int64{int64(c.Vocab), d}}}
	norm := func(name string) {
		list = append(list, want{name + ".weight", []int64{d}})
		if c.Family == OPT {
			list = append(list, want{name + ".bias", []int64{d}})
		}
	}
	linear := func(name string, out, in int64, bias bool) {
		list = append(list, want{name + ".weight", []int64{out, in}})
		if bias {
			list = append(list, want{name + ".bias", []int64{out}})
		}
	}
	if c.Family == OPT {
		list = append(list, want{"position_embd.weight", []int64{int64(c.Positions + c.PositionOffset), d}})
	}
	for n := range c.Layers {
		norm(block(n, "attn_norm"))
		linear(block(n, "attn_q"), h, d, c.AttentionBias)
		linear(block(n, "attn_k"), kv, d, c.AttentionBias)
		linear(block(n, "attn_v"), kv, d, c.AttentionBias)
		linear(block(n, "attn_output"), d, h, c.OutputBias)
		norm(block(n, "ffn_norm"))
		if c.Gated() {
			linear(block(n, "ffn_gate"), dff, d, c.FFNBias)
		}
		linear(block(n, "ffn_up"), dff, d, c.FFNBias)
		linear(block(n, "ffn_down"), d, dff, c.FFNBias)
	}
	norm("output_norm")
	if !c.TiedEmbeddings {
		linear("output", int64(c.Vocab), d, false)
	}
	return list
}

var huggingLLaMA = map[string]string{"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
	"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
	"attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}

var huggingOPT = map[string]string{"token_embd": "model.decoder.embed_tokens", "position_embd": "model.decoder.embed_positions",
	"output_norm": "model.decoder.final_layer_norm", "output": "lm_head",
	"attn_norm": "self_attn_layer_norm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
	"attn_output": "self_attn.out_proj", "ffn_norm": "final_layer_norm", "ffn_up": "fc1", "ffn_down": "fc2"}

// huggingName is a tensor's name in a checkpoint in the manner of Hugging Face.
func (c *Config) huggingName(role string) string {
	names, layers := huggingLLaMA, "model.layers."
	if c.Family == OPT {
		names, layers = huggingOPT, "model.decoder.layers."
	}
	dot := strings.LastIndexByte(role, '.')
	name, suffix := role[:dot], role[dot:]
	if rest, ok := strings.CutPrefix(name, "blk."); ok {
		number, what, _ := strings.Cut(rest, ".")
		return layers + number + "." + names[what] + suffix
	}
	return names[name] + suffix
}

// transposedName is the name of a down matrix that is stored with a row per neuron, as PowerInfer and Convert do.
func transposedName(role string) string {
	return strings.Replace(role, ".ffn_down.", ".ffn_down_t.", 1)
}

// find is the tensor that is wanted, or, of a down matrix, its transpose.
func (c *Checkpoint) find(w want) (t stored, transposed bool, err error) {
	names := []string{w.role}
	if c.GGUF == nil {
		name := c.Config.huggingName(w.role)
		names = []string{name, strings.TrimPrefix(name, "model.")} // saved without the head
	}
	for _, name := range names {
		if t, ok := c.tensors[name]; ok {
			return t, false, t.check(w)
		}
	}
	if name := transposedName(w.role); name != w.role && w.matrix() {
		if t, ok := c.tensors[name]; ok {
			return t, true, t.check(want{name, []int64{w.shape[1], w.shape[0]}})
		}
	}
	return stored{}, false, fmt.Errorf("no tensor %q", names[0])
}

func (t *stored) check(w want) error {
	if len(t.shape) != len(w.shape) {
		return fmt.Errorf("tensor %q has shape %v, want %v", t.name, t.shape, w.shape)
	}
	for k := range w.shape {
		if t.shape[k] != w.shape[k] {
			return fmt.Errorf("tensor %q has shape %v, want %v", t.name, t.shape, w.shape)
		}
	}
	if t.dtype == 0 {
		return fmt.Errorf("tensor %q is %s; f32, f16, bf16, and in GGUF files q8_0 and q4_0 are supported", t.name, t.kind)
	}
	if !w.matrix() && t.dtype.Block() > 1 {
		return fmt.Errorf("tensor %q is %v, which vectors cannot be", t.name, t.dtype)
	}
	return nil
}

// checkTensors proves that everything is there.
func (c *Checkpoint) checkTensors() error {
	for _, w := range c.Config.wants() {
		if _, _, err := c.find(w); err != nil {
			return err
		}
	}
	return nil
}

// float32s are the elements of a vector.
func (t *stored) float32s() ([]float32, error) {
	values := make([]float32, len(t.data)/int(t.dtype.BlockBytes()))
	return values, ops.Unpack(t.dtype, t.data, values)
}

package sparse

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/credence-ml/credence/models/sparse/gguf"
	"github.com/credence-ml/credence/models/sparse/tokenizer"
	"github.com/credence-ml/credence/ops"
)

// ConvertOptions steer Convert.
type ConvertOptions struct {
	Type     string                // of the matrices: "f32", "f16", "bf16", "q8_0" or "q4_0"
	Progress func(done, total int) // called after every tensor; may be nil
}

var fileTypes = map[string]struct {
	kind  gguf.Type
	dtype ops.DType
	file  uint32 // general.file_type
}{"f32": {gguf.F32, ops.F32, 0}, "f16": {gguf.F16, ops.F16, 1}, "q4_0": {gguf.Q4_0, ops.Q4_0, 2}, "q8_0": {gguf.Q8_0, ops.Q8_0, 7}, "bf16": {gguf.BF16, ops.BF16, 32}}

// Convert writes a checkpoint of safetensors as a GGUF file with its activation and its tokenizer. Vectors stay float32.
// Where the activation leaves neurons at zero, down matrices are stored with a row per neuron (ffn_down_t), quantised
// along that row: so only active rows are read, and nothing is rounded twice. Engines that would run such a model with
// SiLU, silently wrong, do not find their tensor.
func Convert(ctx context.Context, c *Checkpoint, path string, o ConvertOptions) error {
	if c.GGUF != nil {
		return fmt.Errorf("%s: already a GGUF file; convert the original, so that nothing is rounded twice", c.Path)
	}
	target, ok := fileTypes[o.Type]
	if !ok {
		return fmt.Errorf("type %q; f32, f16, bf16, q8_0 or q4_0 is needed", o.Type)
	}
	keys, err := c.ggufKeys()
	if err != nil {
		return err
	}
	keys = append(keys, gguf.Key{Name: "general.file_type", Value: target.file}, gguf.Key{Name: "general.quantization_version", Value: uint32(2)})
	var tensors []gguf.Source
	wants := c.Config.wants()
	if f := c.Config.RopeFactors; f != nil {
		tensors = append(tensors, gguf.Source{Name: "rope_freqs.weight", Type: gguf.F32, Shape: []int64{int64(len(f))}, Write: func(w io.Writer) error {
			return writePacked(w, ops.F32, f)
		}})
	}
	for i, want := range wants {
		t, _, err := c.find(want)
		if err != nil {
			return err
		}
		e := &encoder{ctx: ctx, t: t, dtype: ops.F32, rows: c.rowOrder(want), done: func() {
			if o.Progress != nil {
				o.Progress(i+1, len(wants))
			}
		}}
		source := gguf.Source{Name: want.role, Type: gguf.F32, Shape: want.shape, Write: e.write}
		if want.matrix() {
			source.Type, e.dtype = target.kind, target.dtype
			if strings.HasSuffix(want.role, ".ffn_down.weight") && zeroes(c.Config.Activation) {
				source.Name, source.Shape = transposedName(want.role), []int64{want.shape[1], want.shape[0]}
				e.transpose = true
			}
			if row := source.Shape[1]; row%source.Type.Block() != 0 { // too narrow to be quantised
				source.Type, e.dtype = gguf.F16, ops.F16
			}
		}
		tensors = append(tensors, source)
	}
	return gguf.Write(path, keys, tensors)
}

// ggufKeys is the table of keys of a checkpoint.
func (c *Checkpoint) ggufKeys() ([]gguf.Key, error) {
	config := &c.Config
	arch := config.architecture()
	keys := []gguf.Key{{Name: "general.architecture", Value: arch}, {Name: "general.name", Value: config.ModelType}}
	number := func(name string, value int) {
		keys = append(keys, gguf.Key{Name: arch + name, Value: uint32(value)})
	}
	float := func(name string, value float64) {
		keys = append(keys, gguf.Key{Name: arch + name, Value: float32(value)})
	}
	number(".context_length", config.Positions)
	number(".embedding_length", config.Hidden)
	number(".feed_forward_length", config.Intermediate)
	number(".block_count", config.Layers)
	number(".attention.head_count", config.Heads)
	number(".attention.head_count_kv", config.KVHeads)
	number(".attention.key_length", config.HeadDim)
	number(".attention.value_length", config.HeadDim)
	number(".vocab_size", config.Vocab)
	if config.Family == OPT {
		float(".attention.layer_norm_epsilon", config.NormEps)
	} else {
		float(".attention.layer_norm_rms_epsilon", config.NormEps)
		float(".rope.freq_base", config.RopeTheta)
		number(".rope.dimension_count", config.HeadDim)
		if config.RopeScale != 1 {
			keys = append(keys, gguf.Key{Name: arch + ".rope.scaling.type", Value: "linear"})
			float(".rope.scaling.factor", 1/config.RopeScale)
		}
	}
	if arch == "minicpm" {
		float(".embedding_scale", config.EmbeddingScale)
		float(".residual_scale", config.ResidualScale)
		float(".logit_scale", config.LogitDivisor)
	}
	keys = append(keys, gguf.Key{Name: arch + activationKey, Value: config.Activation.Kind.String()})
	if a := config.Activation; a.Kind == ops.ActFATReLU || a.Kind == ops.ActShiftedReLU {
		float(thresholdKey, a.P)
	}
	if config.BOS >= 0 {
		keys = append(keys, gguf.Key{Name: "tokenizer.ggml.bos_token_id", Value: uint32(config.BOS)})
	}
	if len(config.EOS) > 0 {
		keys = append(keys, gguf.Key{Name: "tokenizer.ggml.eos_token_id", Value: uint32(config.EOS[0])})
	}
	vocabulary, err := tokenizer.GGUFKeys(c.Path)
	return append(keys, vocabulary...), err
}

// architecture is the name that a model goes by in GGUF files.
func (c *Config) architecture() string {
	switch {
	case c.Family == OPT:
		return "opt"
	case c.ModelType == "minicpm", c.ModelType == "qwen2":
		return c.ModelType
	}
	return "llama"
}

// rowOrder is where each row of a tensor comes from; nil for as it is. LLaMA files have the rows of q and k in the order
// of pairs: row 2i + j of a head is its row i + j D/2.
func (c *Checkpoint) rowOrder(w want) []int64 {
	if c.Config.Family != LLaMA || c.Config.architecture() == "qwen2" ||
		!strings.Contains(w.role, ".attn_q.") && !strings.Contains(w.role, ".attn_k.") {
		return nil
	}
	d := int64(c.Config.HeadDim)
	order := make([]int64, w.shape[0])
	for row := range order {
		head, at := int64(row)/d, int64(row)%d
		order[row] = head*d + at/2 + at%2*(d/2)
	}
	return order
}

// encoder writes a tensor in another type, some rows at a time.
type encoder struct {
	ctx       context.Context
	t         stored
	dtype     ops.DType
	transpose bool
	rows      []int64
	done      func()
}

func (e *encoder) write(w io.Writer) error {
	rows, cols := int64(1), e.t.shape[len(e.t.shape)-1]
	if len(e.t.shape) == 2 {
		rows = e.t.shape[0]
	} else if e.rows != nil {
		rows, cols = cols, 1 // a bias of which elements move
	}
	var err error
	switch {
	case e.transpose:
		err = e.columns(w, rows, cols)
	default:
		values := make([]float32, cols)
		for row := range rows {
			if err = e.ctx.Err(); err != nil {
				break
			}
			from := row
			if e.rows != nil {
				from = e.rows[row]
			}
			if err = e.read(values, from*cols); err == nil {
				err = writePacked(w, e.dtype, values)
			}
			if err != nil {
				break
			}
		}
	}
	if err != nil {
		return fmt.Errorf("tensor %q: %w", e.t.name, err)
	}
	e.done()
	return nil
}

// columns writes the columns as rows, in strips that are read once each.
func (e *encoder) columns(w io.Writer, rows, cols int64) error {
	const strip = 64
	row, columns := make([]float32, strip), make([]float32, strip*rows)
	for at := int64(0); at < cols; at += strip {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		n := min(strip, cols-at)
		for r := range rows {
			if err := e.read(row[:n], r*cols+at); err != nil {
				return err
			}
			for k, v := range row[:n] {
				columns[int64(k)*rows+r] = v
			}
		}
		for k := range n {
			if err := writePacked(w, e.dtype, columns[k*rows:(k+1)*rows]); err != nil {
				return err
			}
		}
	}
	return nil
}

// read expands elements from the one numbered at on.
func (e *encoder) read(values []float32, at int64) error {
	size := e.t.dtype.BlockBytes()
	return ops.Unpack(e.t.dtype, e.t.data[at*size:(at+int64(len(values)))*size], values)
}

func writePacked(w io.Writer, t ops.DType, values []float32) error {
	packed := make([]byte, t.RowBytes(int64(len(values))))
	if err := ops.Pack(t, values, packed); err != nil {
		return err
	}
	_, err := w.Write(packed)
	return err
}

package sparse

import (
	"maps"
	"slices"

	"github.com/credence-ml/credence/models/sparse/tokenizer"
	"github.com/credence-ml/credence/ops"
)

// A Summary is what can be said of a checkpoint without reading its weights.
type Summary struct {
	Path             string       `json:"path"`
	Format           string       `json:"format"`
	ModelType        string       `json:"model_type"`
	Family           Family       `json:"family"`
	Layers           int          `json:"layers"`
	Hidden           int          `json:"hidden"`
	Intermediate     int          `json:"intermediate"`
	Heads            int          `json:"heads"`
	KVHeads          int          `json:"kv_heads"`
	HeadDim          int          `json:"head_dim"`
	Vocab            int          `json:"vocab"`
	Positions        int          `json:"positions"`
	Activation       string       `json:"activation"`
	ActivationSource string       `json:"activation_source"`
	TiedEmbeddings   bool         `json:"tied_embeddings"`
	Parameters       int64        `json:"parameters"`     // of the tensors in use
	Bytes            int64        `json:"bytes"`          // of the same
	TokenBytes       int64        `json:"token_bytes"`    // of weights that a token needs when every neuron is active
	FFNBytes         int64        `json:"ffn_bytes"`      // of these, in feed-forward layers
	GateBytes        int64        `json:"gate_bytes"`     // of these, what decides which neurons are active
	Types            []TypeCount  `json:"types"`          // of all tensors of the file
	Predictors       int          `json:"predictors"`     // PowerInfer's tensors that guess active neurons; not used
	TransposedDown   bool         `json:"down_by_neuron"` // the file has down matrices with a row per neuron
	Tensors          []TensorInfo `json:"tensors"`
}

// TypeCount says how much of a file is of one type.
type TypeCount struct {
	Type    string `json:"type"`
	Tensors int    `json:"tensors"`
	Bytes   int64  `json:"bytes"`
}

// TensorInfo is a tensor of a file.
type TensorInfo struct {
	Name  string  `json:"name"`
	Type  string  `json:"type"`
	Shape []int64 `json:"shape"`
	Bytes int64   `json:"bytes"`
}

// Summary describes the checkpoint.
func (c *Checkpoint) Summary() *Summary {
	o := &c.Config
	s := &Summary{Path: c.Path, Format: c.Format, ModelType: o.ModelType, Family: o.Family, Layers: o.Layers, Hidden: o.Hidden,
		Intermediate: o.Intermediate, Heads: o.Heads, KVHeads: o.KVHeads, HeadDim: o.HeadDim, Vocab: o.Vocab, Positions: o.Positions,
		Activation: formatActivation(o.Activation), ActivationSource: o.ActivationSource, TiedEmbeddings: o.TiedEmbeddings}
	for _, w := range o.wants() {
		t, transposed, _ := c.find(w) // there, as Open has proved
		s.add(w, t, o)
		s.TransposedDown = s.TransposedDown || transposed
	}
	types := map[string]*TypeCount{}
	for _, name := range slices.Sorted(maps.Keys(c.tensors)) {
		t := c.tensors[name]
		s.Tensors = append(s.Tensors, TensorInfo{name, t.kind, t.shape, int64(len(t.data))})
		n, ok := types[t.kind]
		if !ok {
			n = &TypeCount{Type: t.kind}
			types[t.kind] = n
		}
		n.Tensors++
		n.Bytes += int64(len(t.data))
	}
	for _, kind := range slices.Sorted(maps.Keys(types)) {
		s.Types = append(s.Types, *types[kind])
	}
	if c.GGUF != nil {
		for i := range c.GGUF.Tensors {
			if c.GGUF.Tensors[i].Predictor() {
				s.Predictors++
			}
		}
	}
	return s
}

// add counts a tensor in use.
func (s *Summary) add(w want, t stored, c *Config) {
	n, bytes := int64(1), int64(len(t.data))
	for _, d := range w.shape {
		n *= d
	}
	s.Parameters += n
	s.Bytes += bytes
	switch {
	case w.role == "position_embd.weight", w.role == "token_embd.weight" && !c.TiedEmbeddings: // one row of many
		s.TokenBytes += bytes / max(1, w.shape[0])
		return
	}
	s.TokenBytes += bytes
	switch w.part() {
	case "ffn_gate":
		s.GateBytes += bytes
		s.FFNBytes += bytes
	case "ffn_up":
		if !c.Gated() {
			s.GateBytes += bytes
		}
		s.FFNBytes += bytes
	case "ffn_down":
		s.FFNBytes += bytes
	}
}

// Bound is how many times as fast decoding can be as with every neuron, at most, if time goes with the bytes of weights
// that are read and the given share of neurons is skipped.
func (s *Summary) Bound(sparsity float64) float64 {
	return float64(s.TokenBytes) / (float64(s.TokenBytes) - sparsity*float64(s.FFNBytes-s.GateBytes))
}

// CanSkip reports whether the model's activation leaves neurons at exactly zero.
func (c *Config) CanSkip() bool { return zeroes(c.Activation) }

// zeroes reports whether an activation is exactly zero for many inputs.
func zeroes(a ops.Activation) bool {
	switch a.Kind {
	case ops.ActReLU, ops.ActFATReLU, ops.ActShiftedReLU, ops.ActReLUSquared:
		return true
	}
	return false
}

// Tokenizer is the checkpoint's own: beside config.json, or inside the GGUF file.
func (c *Checkpoint) Tokenizer() (tokenizer.Tokenizer, error) {
	if c.GGUF != nil {
		return tokenizer.FromGGUF(c.GGUF)
	}
	return tokenizer.OpenDirectory(c.Path)
}

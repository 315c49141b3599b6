package sparse

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/credence-ml/credence/ops"
)

// Family is the shape of a network's blocks.
type Family string

// The families: LLaMA has RMSNorm, rotary positions and gated feed-forward layers; OPT has LayerNorm, learned positions
// and feed-forward layers of two matrices with biases.
const (
	LLaMA Family = "llama"
	OPT   Family = "opt"
)

// Config describes a decoder-only transformer. It is read from a model, never guessed.
type Config struct {
	Family    Family
	ModelType string // as the model names itself: "llama", "minicpm", "opt" ...

	Vocab        int
	Hidden       int
	Intermediate int // neurons of a feed-forward layer
	Layers       int
	Heads        int
	KVHeads      int // heads of keys and values; Heads is a multiple
	HeadDim      int
	Positions    int // longest sequence

	Activation       ops.Activation // of the feed-forward layers
	ActivationSource string         // what said so, for reports
	NormEps          float64

	RopeTheta   float64
	RopeScale   float64          // factor of positions; 1 without "linear" scaling
	RopeFactors []float32        // [HeadDim / 2] divisors of the frequencies; nil: none
	RopeLayout  ops.RotaryLayout // how the model's rows of q and k pair up

	// MiniCPM's scalings, 1 elsewhere: embeddings and residual branches are multiplied, logits divided.
	EmbeddingScale, ResidualScale, LogitDivisor float64

	TiedEmbeddings bool // the embedding is the output matrix too
	AttentionBias  bool // of q, k and v
	OutputBias     bool // of attention's output projection
	FFNBias        bool
	PositionOffset int // OPT: row of the position table for position 0

	BOS int   // first token of a text; -1: none is stated
	EOS []int // tokens that end a text; may be empty
}

// newConfig has what is not 0 by default.
func newConfig(f Family) *Config {
	return &Config{Family: f, RopeScale: 1, EmbeddingScale: 1, ResidualScale: 1, LogitDivisor: 1, BOS: -1}
}

// Gated reports whether feed-forward layers multiply a gate and an up projection.
func (c *Config) Gated() bool { return c.Family == LLaMA }

// limit of every size, so that no product of two overflows.
const maxSize = 1 << 24

func (c *Config) check() error {
	for _, s := range []struct {
		name  string
		value int
	}{{"vocabulary", c.Vocab}, {"hidden size", c.Hidden}, {"intermediate size", c.Intermediate}, {"layers", c.Layers}, {"attention heads", c.Heads},
		{"key and value heads", c.KVHeads}, {"head size", c.HeadDim}, {"positions", c.Positions}} {
		if s.value < 1 || s.value > maxSize {
			return fmt.Errorf("%s: %d is not a size from 1 to %d", s.name, s.value, maxSize)
		}
	}
	switch {
	case c.Layers > 4096:
		return fmt.Errorf("%d layers; at most 4096 are possible", c.Layers)
	case c.Heads%c.KVHeads != 0:
		return fmt.Errorf("%d attention heads are not a multiple of %d key and value heads", c.Heads, c.KVHeads)
	case c.HeadDim > 65536 || c.Heads > 65536:
		return fmt.Errorf("%d heads of %d elements; at most 65536 of each are possible", c.Heads, c.HeadDim)
	case c.Family == LLaMA && c.HeadDim%2 != 0:
		return fmt.Errorf("heads of %d elements cannot have rotary positions: the number must be even", c.HeadDim)
	case c.Family == LLaMA && !(c.RopeTheta > 0 && c.RopeTheta < math.MaxFloat32):
		return fmt.Errorf("rope theta %g is not a positive number", c.RopeTheta)
	case c.Family == LLaMA && !(c.RopeScale > 0 && c.RopeScale <= 1):
		return fmt.Errorf("rope scaling multiplies positions by %g; a number in (0, 1] is needed", c.RopeScale)
	case !(c.NormEps > 0 && c.NormEps < 1):
		return fmt.Errorf("epsilon of the norms is %g; a small positive number is needed", c.NormEps)
	case c.BOS < -1 || c.BOS >= c.Vocab:
		return fmt.Errorf("token %d begins a text, but there are %d", c.BOS, c.Vocab)
	}
	if c.RopeFactors != nil && len(c.RopeFactors) != c.HeadDim/2 {
		return fmt.Errorf("%d factors of rotary frequencies for heads of %d elements; half as many are needed", len(c.RopeFactors), c.HeadDim)
	}
	for i, f := range c.RopeFactors {
		if !(f > 0 && f < math.MaxFloat32) {
			return fmt.Errorf("factor %d of the rotary frequencies is %g; a positive number is needed", i, f)
		}
	}
	for _, scale := range []float64{c.EmbeddingScale, c.ResidualScale, c.LogitDivisor} {
		if !(math.Abs(scale) > 1e-30 && math.Abs(scale) < 1e30) {
			return fmt.Errorf("scales of embeddings %g, residuals %g and logits %g must be numbers other than 0", c.EmbeddingScale, c.ResidualScale, c.LogitDivisor)
		}
	}
	for _, e := range c.EOS {
		if e < 0 || e >= c.Vocab {
			return fmt.Errorf("token %d ends a text, but there are %d", e, c.Vocab)
		}
	}
	return c.Activation.Check()
}

// activationHelp lists what ParseActivation takes.
const activationHelp = "relu, fatrelu:T, shifted_relu:T, relu_squared, silu or gelu"

// ParseActivation reads an activation as a person writes it: a name, and for those with a parameter a colon and the
// number, for example "fatrelu:0.01".
func ParseActivation(text string) (ops.Activation, error) {
	name, number, has := strings.Cut(text, ":")
	kind, ok := activationKinds[name]
	if !ok {
		return ops.Activation{}, fmt.Errorf("activation %q is not known; %s is", text, activationHelp)
	}
	a := ops.Activation{Kind: kind}
	if needs := kind == ops.ActFATReLU || kind == ops.ActShiftedReLU; needs != has {
		return a, fmt.Errorf("activation %q: a threshold goes with fatrelu and shifted_relu, and only with them: %s", text, activationHelp)
	}
	if has {
		p, err := strconv.ParseFloat(number, 32)
		if err != nil {
			return a, fmt.Errorf("activation %q: %q is not a number", text, number)
		}
		a.P = p
	}
	return a, a.Check()
}

// formatActivation is the reverse of ParseActivation.
func formatActivation(a ops.Activation) string {
	if a.Kind == ops.ActFATReLU || a.Kind == ops.ActShiftedReLU {
		return fmt.Sprintf("%v:%g", a.Kind, float32(a.P))
	}
	return a.Kind.String()
}

var activationKinds = map[string]ops.ActivationKind{"relu": ops.ActReLU, "fatrelu": ops.ActFATReLU, "shifted_relu": ops.ActShiftedReLU,
	"shiftrelu": ops.ActShiftedReLU, "relu_squared": ops.ActReLUSquared, "relu2": ops.ActReLUSquared, "silu": ops.ActSiLU, "swish": ops.ActSiLU,
	"gelu": ops.ActGELU}

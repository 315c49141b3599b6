package sparse

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/credence-ml/credence/ops"
)

// configJSON is what matters of a config.json in the manner of Hugging Face.
type configJSON struct {
	ModelType     string   `json:"model_type"`
	Architectures []string `json:"architectures"`

	Vocab        int  `json:"vocab_size"`
	Hidden       int  `json:"hidden_size"`
	Intermediate int  `json:"intermediate_size"`
	Layers       int  `json:"num_hidden_layers"`
	Heads        int  `json:"num_attention_heads"`
	KVHeads      *int `json:"num_key_value_heads"`
	HeadDim      *int `json:"head_dim"`
	Positions    int  `json:"max_position_embeddings"`

	HiddenAct      *string  `json:"hidden_act"`
	HiddenActParam *float64 `json:"hidden_act_param"`
	RMSNormEps     *float64 `json:"rms_norm_eps"`

	RopeTheta      *float64  `json:"rope_theta"`
	RopeScaling    *ropeJSON `json:"rope_scaling"`
	RopeParameters *ropeJSON `json:"rope_parameters"` // transformers 5

	TieWordEmbeddings *bool     `json:"tie_word_embeddings"`
	AttentionBias     bool      `json:"attention_bias"`
	MLPBias           bool      `json:"mlp_bias"`
	SlidingWindow     *int      `json:"sliding_window"`
	UseSlidingWindow  *bool     `json:"use_sliding_window"`
	BOS               *tokenIDs `json:"bos_token_id"`
	EOS               *tokenIDs `json:"eos_token_id"`

	// MiniCPM
	ScaleEmb     *float64 `json:"scale_emb"`
	ScaleDepth   *float64 `json:"scale_depth"`
	DimModelBase *float64 `json:"dim_model_base"`

	// OPT
	FFNDim             int     `json:"ffn_dim"`
	ActivationFunction *string `json:"activation_function"`
	NormBefore         *bool   `json:"do_layer_norm_before"`
	RemoveFinalNorm    bool    `json:"_remove_final_layer_norm"`
	ProjectedDim       *int    `json:"word_embed_proj_dim"`
	EnableBias         *bool   `json:"enable_bias"`
	NormAffine         *bool   `json:"layer_norm_elementwise_affine"`
}

// ropeJSON is rope_scaling, or in newer files rope_parameters with the base as well.
type ropeJSON struct {
	Theta    *float64 `json:"rope_theta"`
	Type     string   `json:"rope_type"`
	OldType  string   `json:"type"`
	Factor   float64  `json:"factor"`
	Low      float64  `json:"low_freq_factor"`
	High     float64  `json:"high_freq_factor"`
	Original float64  `json:"original_max_position_embeddings"`
}

// tokenIDs is a token or a list of tokens.
type tokenIDs []int

// UnmarshalJSON takes a number or an array of numbers.
func (t *tokenIDs) UnmarshalJSON(text []byte) error {
	var one int
	if err := json.Unmarshal(text, &one); err == nil {
		*t = tokenIDs{one}
		return nil
	}
	return json.Unmarshal(text, (*[]int)(t))
}

// parseConfig reads a config.json. An activation given by the caller is not looked for in it.
func parseConfig(text []byte, activation *ops.Activation) (*Config, error) {
	var j configJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return nil, err
	}
	c, err := j.family()
	if err != nil {
		return nil, err
	}
	c.ModelType = j.ModelType
	c.Vocab, c.Hidden, c.Layers, c.Heads, c.Positions = j.Vocab, j.Hidden, j.Layers, j.Heads, j.Positions
	c.KVHeads = value(j.KVHeads, j.Heads)
	if c.HeadDim = value(j.HeadDim, 0); c.HeadDim == 0 && j.Heads > 0 {
		if j.Hidden%j.Heads != 0 {
			return nil, fmt.Errorf("hidden_size %d is not a multiple of num_attention_heads %d, and head_dim is not given", j.Hidden, j.Heads)
		}
		c.HeadDim = j.Hidden / j.Heads
	}
	if j.BOS != nil && len(*j.BOS) == 1 {
		c.BOS = (*j.BOS)[0]
	}
	if j.EOS != nil {
		c.EOS = *j.EOS
	}
	if activation != nil {
		c.Activation, c.ActivationSource = *activation, "as asked for"
	} else if err := j.activation(c); err != nil {
		return nil, err
	}
	return c, c.check()
}

// biased are the model types that have biases of q, k and v whatever the configuration says.
var biased = map[string]bool{"qwen2": true}

func (j *configJSON) family() (*Config, error) {
	switch j.ModelType {
	case "llama", "sparsellama", "llama_sparse_relu", "mistral", "minicpm", "qwen2":
		c := newConfig(LLaMA)
		c.Intermediate = j.Intermediate
		c.AttentionBias, c.OutputBias, c.FFNBias = j.AttentionBias || biased[j.ModelType], j.AttentionBias, j.MLPBias
		if j.RMSNormEps == nil {
			return nil, fmt.Errorf("rms_norm_eps is missing")
		}
		c.NormEps = *j.RMSNormEps
		c.TiedEmbeddings = value(j.TieWordEmbeddings, j.ModelType == "minicpm") // the default of MiniCPM's own class
		if j.ModelType == "minicpm" {
			if err := j.minicpm(c); err != nil {
				return nil, err
			}
		}
		if w := value(j.SlidingWindow, 0); w > 0 && value(j.UseSlidingWindow, true) {
			j.Positions = min(j.Positions, w) // attention within the window is attention
		}
		return c, j.rope(c)
	case "opt":
		return j.opt()
	case "":
		return nil, fmt.Errorf("model_type is missing")
	}
	return nil, fmt.Errorf("model_type %q is not known; llama, sparsellama, llama_sparse_relu, mistral, minicpm, qwen2 and opt are", j.ModelType)
}

// minicpm has the scalings of MiniCPM (arXiv 2404.06395, section 4).
func (j *configJSON) minicpm(c *Config) error {
	if j.ScaleEmb == nil || j.ScaleDepth == nil || j.DimModelBase == nil || j.Layers < 1 {
		return fmt.Errorf("a minicpm model needs scale_emb, scale_depth, dim_model_base and num_hidden_layers")
	}
	c.EmbeddingScale = *j.ScaleEmb
	c.ResidualScale = *j.ScaleDepth / math.Sqrt(float64(j.Layers))
	c.LogitDivisor = float64(j.Hidden) / *j.DimModelBase
	return nil
}

func (j *configJSON) rope(c *Config) error {
	r := j.RopeParameters
	if r == nil {
		r = j.RopeScaling
	}
	theta := j.RopeTheta
	if r != nil && r.Theta != nil {
		theta = r.Theta
	}
	c.RopeTheta = value(theta, 10000) // the default of every class that these files name
	if r == nil {
		return nil
	}
	kind := r.Type
	if kind == "" {
		kind = r.OldType
	}
	switch kind {
	case "", "default":
		return nil
	case "linear":
		c.RopeScale = 1 / r.Factor
		return nil
	case "llama3":
		return j.llama3(c, r)
	}
	return fmt.Errorf("rope scaling %q is not known; default, linear and llama3 are", kind)
}

// llama3 stretches slow frequencies by the factor, leaves fast ones and blends between (Llama 3.1's model card).
func (j *configJSON) llama3(c *Config, r *ropeJSON) error {
	if !(r.Factor >= 1 && r.Low > 0 && r.High > r.Low && r.Original > 0) || j.Heads < 1 {
		return fmt.Errorf("rope scaling llama3 needs factor >= 1, 0 < low_freq_factor < high_freq_factor and original_max_position_embeddings")
	}
	d := value(j.HeadDim, j.Hidden/j.Heads)
	if d < 2 || d > 65536 {
		return fmt.Errorf("head size %d", d)
	}
	for i := range d / 2 {
		wave := 2 * math.Pi * math.Pow(c.RopeTheta, 2*float64(i)/float64(d))
		smooth := (r.Original/wave - r.Low) / (r.High - r.Low)
		smooth = max(0, min(1, smooth))
		c.RopeFactors = append(c.RopeFactors, float32(1/((1-smooth)/r.Factor+smooth)))
	}
	return nil
}

func (j *configJSON) opt() (*Config, error) {
	c := newConfig(OPT)
	c.Intermediate, c.NormEps, c.PositionOffset = j.FFNDim, 1e-5, 2
	c.TiedEmbeddings = value(j.TieWordEmbeddings, true)
	bias := value(j.EnableBias, true)
	c.AttentionBias, c.OutputBias, c.FFNBias = bias, bias, bias
	switch {
	case !value(j.NormBefore, true):
		return nil, fmt.Errorf("do_layer_norm_before is false (OPT-350m): norms after the blocks are not supported")
	case j.RemoveFinalNorm:
		return nil, fmt.Errorf("_remove_final_layer_norm is true, which is not supported")
	case value(j.ProjectedDim, j.Hidden) != j.Hidden:
		return nil, fmt.Errorf("word_embed_proj_dim %d differs from hidden_size %d, which is not supported", *j.ProjectedDim, j.Hidden)
	case !value(j.NormAffine, true):
		return nil, fmt.Errorf("layer_norm_elementwise_affine is false, which is not supported")
	}
	return c, nil
}

// activation is what the configuration says of the feed-forward layers' activation.
func (j *configJSON) activation(c *Config) error {
	name, key := j.HiddenAct, "hidden_act"
	if c.Family == OPT {
		name, key = j.ActivationFunction, "activation_function"
	}
	if j.ModelType == "llama_sparse_relu" { // its code has ReLU, while its files say silu
		c.Activation, c.ActivationSource = ops.Activation{Kind: ops.ActReLU}, "model_type llama_sparse_relu, whose hidden_act is not used"
		return nil
	}
	if name == nil {
		return fmt.Errorf("%s is missing: the activation is not stated, and is not guessed; say it with --activation %s", key, activationHelp)
	}
	kind, ok := activationKinds[*name]
	if !ok {
		return fmt.Errorf("%s %q is not known; say the activation with --activation %s if it is one of these", key, *name, activationHelp)
	}
	c.Activation, c.ActivationSource = ops.Activation{Kind: kind}, "config.json: "+key
	if kind == ops.ActFATReLU || kind == ops.ActShiftedReLU {
		if j.HiddenActParam == nil {
			return fmt.Errorf("%s is %s, but hidden_act_param, its threshold, is missing; say it with --activation %s:T", key, *name, *name)
		}
		c.Activation.P = float64(float32(*j.HiddenActParam)) // as it is computed with
	}
	return nil
}

// value is *p, or its default.
func value[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

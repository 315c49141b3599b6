package sparse

import (
	"fmt"
	"math"

	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime"
)

// chunk is how many tokens go through a plan at once: a longer text is fed in several submissions.
const chunk = 64

// pass says what a plan computes for its tokens.
type pass int

const (
	passNext   pass = iota // the logits after one of them
	passAll                // the logits after each
	passLoss               // the cross-entropy of each with its label
	passHidden             // the final hidden state of each, after the last norm
)

var passNames = [...]string{"next", "logits", "loss", "hidden"}

// cacheShape is the layout of the keys and values that a session keeps.
type cacheShape struct {
	capacity int
	dtype    ops.DType
}

// cache is what sessions of one cacheShape share: the segment's layout, and the plans over it.
type cache struct {
	m       *Model
	shape   cacheShape
	segment *ops.Segment
	k, v    []*ops.Var
	plans   map[pass]*plan
}

// plan is a compiled pass with its arguments, inputs and outputs.
type plan struct {
	*runtime.Plan
	tokens   ops.IntArg // how many
	position ops.IntArg // of the first
	last     ops.IntArg // whose logits passNext gives
	ids      ops.Tensor // i32 [tokens]
	rows     ops.Tensor // i32 [tokens]: rows of the table of positions; OPT
	labels   ops.Tensor // i32 [tokens]; passLoss
	out      ops.Tensor
	counts   []ops.Tensor // i32 [tokens] by layer: neurons that were active; none where the activation is never zero
	reads    []ops.Tensor // i32 [2] by layer: neurons whose up and down rows were read
}

func (m *Model) newCache(shape cacheShape) *cache {
	c := &cache{m: m, shape: shape, segment: ops.NewSegment("cache"), plans: map[pass]*plan{}}
	for n := range m.Config.Layers {
		dims := []int64{int64(shape.capacity), int64(m.Config.KVHeads), int64(m.Config.HeadDim)}
		c.k = append(c.k, c.segment.Add(fmt.Sprintf("k%d", n), shape.dtype, dims...))
		c.v = append(c.v, c.segment.Add(fmt.Sprintf("v%d", n), shape.dtype, dims...))
	}
	return c
}

func (c *cache) close() {
	for _, p := range c.plans {
		p.Close()
	}
}

// plan compiles a pass when it is first asked for; the model's lock is held.
func (c *cache) plan(kind pass) (*plan, error) {
	if p, ok := c.plans[kind]; ok {
		return p, nil
	}
	g, p := c.record(kind)
	var err error
	if p.Plan, err = c.m.rt.Compile(g, "lm "+passNames[kind]); err != nil {
		return nil, err
	}
	c.plans[kind] = p
	return p, nil
}

// recorder writes a model's graph.
type recorder struct {
	*Model
	g *ops.Graph
	c *cache
	p *plan
}

func (r *recorder) use(role string) ops.Tensor {
	if v, ok := r.weights[role]; ok {
		return r.g.Use(v)
	}
	return ops.Tensor{}
}

func (r *recorder) linear(x ops.Tensor, role string) ops.Tensor {
	return ops.Linear(x, r.use(role+".weight"), r.use(role+".bias"))
}

func (r *recorder) norm(x ops.Tensor, role string) ops.Tensor {
	if r.Config.Family == OPT {
		return ops.LayerNorm(x, r.use(role+".weight"), r.use(role+".bias"), r.Config.NormEps)
	}
	return ops.RMSNorm(x, r.use(role+".weight"), r.Config.NormEps)
}

// scale multiplies by a constant, if it is not 1.
func scale(x ops.Tensor, by float64) ops.Tensor {
	if by == 1 {
		return x
	}
	return ops.Scale(x, by)
}

func (c *cache) record(kind pass) (*ops.Graph, *plan) {
	r := &recorder{Model: c.m, g: ops.NewGraph(), c: c, p: &plan{}}
	g, p := r.g, r.p
	p.tokens = g.IntArg("tokens", 1, chunk)
	p.position = g.IntArg("position", 0, int64(c.shape.capacity)-1)
	n := ops.Shape{p.tokens.Of(1)}
	p.ids = g.Input("tokens", ops.I32, n)
	x := scale(ops.GatherRows(r.use("token_embd.weight"), p.ids), r.Config.EmbeddingScale)
	if r.Config.Family == OPT {
		p.rows = g.Input("positions", ops.I32, n)
		x = ops.Add(x, ops.GatherRows(r.use("position_embd.weight"), p.rows))
	}
	for layer := range r.Config.Layers {
		x = r.layer(x, layer)
	}
	if kind == passNext {
		p.last = g.IntArg("last", 0, chunk-1)
		x = ops.Slice(x, 0, p.last.Of(1), ops.N(1))
	}
	p.out = r.norm(x, "output_norm")
	if kind != passHidden {
		output := r.use("output.weight")
		if r.Config.TiedEmbeddings {
			output = r.use("token_embd.weight")
		}
		p.out = ops.Linear(scale(p.out, 1/r.Config.LogitDivisor), output, ops.Tensor{})
	}
	if kind == passLoss {
		p.labels = g.Input("labels", ops.I32, n)
		p.out = ops.CrossEntropy(p.out, p.labels)
	}
	g.Output(p.out)
	g.Output(p.counts...)
	g.Output(p.reads...)
	return g, p
}

// layer is one block: attention and feed-forward, each on a normalised input and added to it.
func (r *recorder) layer(x ops.Tensor, n int) ops.Tensor {
	h := r.attention(r.norm(x, block(n, "attn_norm")), n)
	x = ops.Add(x, scale(h, r.Config.ResidualScale))
	h = r.feedForward(r.norm(x, block(n, "ffn_norm")), n)
	return ops.Add(x, scale(h, r.Config.ResidualScale))
}

func (r *recorder) attention(x ops.Tensor, n int) ops.Tensor {
	c := &r.Config
	heads := func(name string, count int) ops.Tensor {
		return ops.Reshape(r.linear(x, block(n, name)), r.p.tokens.Of(1), ops.N(int64(count)), ops.N(int64(c.HeadDim)))
	}
	q, k, v := heads("attn_q", c.Heads), heads("attn_k", c.KVHeads), heads("attn_v", c.KVHeads)
	position := r.p.position.Of(1)
	if c.Family == LLaMA {
		o := ops.RotaryOptions{Layout: c.RopeLayout, Theta: c.RopeTheta, Scale: c.RopeScale, Position: position}
		if c.RopeFactors != nil {
			o.Factors = r.g.Const("rope factors", c.RopeFactors, int64(len(c.RopeFactors)))
		}
		q, k = ops.Rotary(q, o), ops.Rotary(k, o)
	}
	keys, values := r.g.Use(r.c.k[n]), r.g.Use(r.c.v[n])
	ops.WriteRows(keys, k, position)
	ops.WriteRows(values, v, position)
	y := ops.Attention(q, keys, values, position, 1/math.Sqrt(float64(c.HeadDim)))
	return r.linear(ops.Reshape(y, r.p.tokens.Of(1), ops.N(int64(c.Heads*c.HeadDim))), block(n, "attn_output"))
}

// feedForward is a layer's two or three matrices.
func (r *recorder) feedForward(x ops.Tensor, n int) ops.Tensor {
	c := &r.Config
	first := "ffn_up" // what the activation is applied to
	if c.Gated() {
		first = "ffn_gate"
	}
	if !zeroes(c.Activation) {
		h := ops.Activate(r.linear(x, block(n, first)), c.Activation)
		if c.Gated() {
			h = ops.Mul(h, r.linear(x, block(n, "ffn_up")))
		}
		return r.linear(h, block(n, "ffn_down"))
	}
	w := ops.FFNWeights{Gate: r.use(block(n, first+".weight")), GateBias: r.use(block(n, first+".bias")),
		Down: r.use(block(n, "ffn_down_t.weight")), DownBias: r.use(block(n, "ffn_down.bias"))}
	if c.Gated() {
		w.Up, w.UpBias = r.use(block(n, "ffn_up.weight")), r.use(block(n, "ffn_up.bias"))
	}
	o := ops.FFNOptions{Activation: c.Activation}
	if r.options.Dense {
		o.Limit = -1
	}
	f := ops.SparseFFN(x, w, o)
	r.p.counts, r.p.reads = append(r.p.counts, f.Count), append(r.p.reads, f.Read)
	return f.Y
}

package sparse

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/ops"
)

// Skipping inactive neurons changes no bit, in a prompt and in decoding.
func TestSparseEqualsDense(t *testing.T) {
	rt := openRuntime(t)
	ids := tokens(t)
	for _, name := range []string{"llama", "minicpm", "opt", "bf16"} {
		for _, activation := range []string{"", "fatrelu:0.5", "shifted_relu:0.25", "relu_squared"} {
			var want []float32
			for _, dense := range []bool{true, false} {
				c, err := Open(filepath.Join("testdata", name), OpenOptions{Activation: activation})
				require.NoError(t, err)
				m, err := Load(rt, c, Options{Dense: dense})
				require.NoError(t, err)
				s, err := m.NewSession(SessionOptions{Capacity: len(ids)})
				require.NoError(t, err)
				vocab := m.Config.Vocab
				got := make([]float32, len(ids)*vocab)
				require.NoError(t, s.Logits(context.Background(), ids[:20], got[:20*vocab]))
				for i := 20; i < len(ids); i++ {
					require.NoError(t, s.Next(context.Background(), ids[i:i+1], got[i*vocab:(i+1)*vocab]))
				}
				a := s.Activity()
				if want == nil {
					want = got
					assert.Zero(t, a.Mean(a.Skipped), "%s: all are read", name)
				} else {
					assert.Equal(t, want, got, "%s %s", name, activation)
					assert.Positive(t, a.Mean(a.Sparsity))
				}
				assert.EqualValues(t, len(ids), a.Tokens)
				assert.EqualValues(t, len(ids)-20+1, a.Submissions)
				require.NoError(t, m.Close())
			}
		}
	}
}

// The counts are those of the neurons' own values.
func TestActivityCountsActiveNeurons(t *testing.T) {
	rt := openRuntime(t)
	ids := tokens(t)
	m := load(t, rt, filepath.Join("testdata", "opt"), Options{})
	s := session(t, m, SessionOptions{Capacity: len(ids)})
	require.NoError(t, s.Next(context.Background(), ids, make([]float32, m.Config.Vocab)))

	// layer 0 by hand
	g := ops.NewGraph()
	cache := m.newCache(cacheShape{256, ops.F32})
	r := &recorder{Model: m, g: g, c: cache, p: &plan{}}
	r.p.tokens = g.IntArg("tokens", 1, chunk)
	r.p.position = g.IntArg("position", 0, 0)
	r.p.ids, r.p.rows = g.Input("ids", ops.I32, ops.Shape{r.p.tokens.Of(1)}), g.Input("rows", ops.I32, ops.Shape{r.p.tokens.Of(1)})
	x := ops.Add(ops.GatherRows(r.use("token_embd.weight"), r.p.ids), ops.GatherRows(r.use("position_embd.weight"), r.p.rows))
	x = ops.Add(x, r.attention(r.norm(x, "blk.0.attn_norm"), 0))
	h := r.linear(r.norm(x, "blk.0.ffn_norm"), "blk.0.ffn_up")
	g.Output(h)
	p, err := rt.Compile(g, "by hand")
	require.NoError(t, err)
	defer p.Close()
	memory, err := rt.Allocate(cache.segment)
	require.NoError(t, err)
	defer memory.Close()
	run, err := rt.NewSession()
	require.NoError(t, err)
	defer run.Close()
	b, err := run.Bind(p, append(m.memories, memory)...)
	require.NoError(t, err)
	n := len(ids)
	id, row := make([]int32, n), make([]int32, n)
	for i := range ids {
		id[i], row[i] = int32(ids[i]), int32(i+2)
	}
	b.SetInt(r.p.tokens, int64(n))
	require.NoError(t, b.WriteInt32(r.p.ids, id))
	require.NoError(t, b.WriteInt32(r.p.rows, row))
	require.NoError(t, b.Run(context.Background()))
	values := make([]float32, n*m.Config.Intermediate)
	require.NoError(t, b.Read(h, values))
	active, last := 0, 0
	for i, v := range values {
		if v > 0 {
			active++
			if i/m.Config.Intermediate == n-1 {
				last++
			}
		}
	}
	a := s.Activity()
	assert.EqualValues(t, active, a.Active[0])
	assert.EqualValues(t, last, a.Last[0])
	assert.InDelta(t, 1-float64(active)/float64(len(values)), a.Sparsity(0), 1e-12)
}

func TestSummary(t *testing.T) {
	c, err := Open(filepath.Join("testdata", "llama"), OpenOptions{})
	require.NoError(t, err)
	defer c.Close()
	s := c.Summary()
	const embedding, attention, ffn, norms = 96 * 32, 2*32*32 + 2*16*32, 3 * 64 * 32, 5 * 32
	assert.EqualValues(t, 2*embedding+2*(attention+ffn)+norms, s.Parameters)
	assert.EqualValues(t, 4*s.Parameters, s.Bytes)
	assert.EqualValues(t, 4*(32+embedding+2*(attention+ffn)+norms), s.TokenBytes)
	assert.EqualValues(t, 4*2*ffn, s.FFNBytes)
	assert.EqualValues(t, 4*2*ffn/3, s.GateBytes)
	assert.InDelta(t, float64(s.TokenBytes)/(float64(s.TokenBytes)-.5*4*2*ffn*2/3), s.Bound(.5), 1e-12)
	assert.Equal(t, 1.0, s.Bound(0))
	assert.Equal(t, "relu", s.Activation)
	assert.Equal(t, []TypeCount{{"f32", 21, s.Bytes}}, s.Types)
	_, err = c.Tokenizer()
	assert.ErrorContains(t, err, "no tokenizer")
}

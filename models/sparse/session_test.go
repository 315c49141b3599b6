package sparse

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/runtime"
)

// Decoding token by token, or in any pieces, gives the bits of one pass.
func TestDecodingEqualsOnePass(t *testing.T) {
	rt := openRuntime(t)
	ids := tokens(t)
	for _, name := range references {
		m := load(t, rt, filepath.Join("testdata", name), Options{})
		want := logits(t, m, ids)
		vocab := m.Config.Vocab
		for _, pieces := range [][]int{{1}, {3, 1, 7}, {len(ids) - 1, 1}} {
			s := session(t, m, SessionOptions{Capacity: len(ids)})
			got := make([]float32, vocab)
			for k := 0; s.Len() < len(ids); k++ {
				n := min(pieces[k%len(pieces)], len(ids)-s.Len())
				require.NoError(t, s.Next(context.Background(), ids[s.Len():s.Len()+n], got))
				require.Equal(t, want[(s.Len()-1)*vocab:s.Len()*vocab], got, "%s: after token %d", name, s.Len())
			}
		}
	}
}

func TestBitsAreThoseOfAnyNumberOfThreads(t *testing.T) {
	if !hasCPU(t) {
		t.Skip("needs the CPU backend")
	}
	ids := tokens(t)
	for _, name := range references {
		var want []float32
		for _, threads := range []int{1, 2, 5} {
			rt := openRuntime(t, runtime.WithThreads(threads))
			got := logits(t, load(t, rt, filepath.Join("testdata", name), Options{}), ids)
			if want == nil {
				want = got
			}
			assert.Equal(t, want, got, "%s, %d threads", name, threads)
		}
	}
}

// A text longer than a chunk goes through in several submissions.
func TestLongTexts(t *testing.T) {
	rt := openRuntime(t)
	m := load(t, rt, filepath.Join("testdata", "opt"), Options{})
	_, err := m.NewSession(SessionOptions{Capacity: 49})
	assert.ErrorContains(t, err, "a sequence of 49 tokens; the model takes 1 to 48")

	m = load(t, rt, filepath.Join("testdata", "llama"), Options{})
	m.Config.Positions = 200 // rotary positions have no table
	ids := make([]int, 150)
	for i := range ids {
		ids[i] = (i*i + 7*i) % m.Config.Vocab
	}
	all := logits(t, m, ids)
	s := session(t, m, SessionOptions{Capacity: 200})
	last := make([]float32, m.Config.Vocab)
	require.NoError(t, s.Next(context.Background(), ids, last))
	assert.Equal(t, all[149*m.Config.Vocab:], last)

	hidden := make([]float32, 150*m.Config.Hidden)
	require.NoError(t, s.Truncate(0))
	require.NoError(t, s.Hidden(context.Background(), ids, hidden))
	features := make([]float32, 2*m.Config.Hidden)
	require.NoError(t, s.Features(context.Background(), ids, features))
	assert.Equal(t, hidden[149*m.Config.Hidden:], features[:m.Config.Hidden], "the last position")
	mean := 0.0
	for i := range 150 {
		mean += float64(hidden[i*m.Config.Hidden+3]) / 150
	}
	assert.InDelta(t, mean, features[m.Config.Hidden+3], 1e-5)
}

func TestHalfPrecisionCaches(t *testing.T) {
	rt := openRuntime(t)
	m := load(t, rt, filepath.Join("testdata", "minicpm"), Options{})
	ids := tokens(t)
	want := logits(t, m, ids)
	for kind, most := range map[CacheType]float64{CacheF16: 2e-2, CacheBF16: 2e-1} {
		s := session(t, m, SessionOptions{Capacity: 32, Cache: kind})
		got := make([]float32, len(want))
		require.NoError(t, s.Logits(context.Background(), ids, got))
		d := maxDifference(t, want, got)
		t.Logf("%s: %.2g", kind, d)
		assert.Less(t, d, most)
		assert.Greater(t, d, 0.0)
	}
	_, err := m.NewSession(SessionOptions{Cache: "q8_0"})
	assert.ErrorContains(t, err, `cache type "q8_0"; f32, f16 or bf16`)
}

func TestSessionRefuses(t *testing.T) {
	rt := openRuntime(t)
	m := load(t, rt, filepath.Join("testdata", "llama"), Options{})
	s := session(t, m, SessionOptions{Capacity: 4})
	out, ctx := make([]float32, 96), context.Background()
	assert.ErrorContains(t, s.Next(ctx, nil, out), "no tokens")
	assert.ErrorContains(t, s.Next(ctx, []int{1, 96}, out), "token 1 is 96, outside 0 to 95")
	assert.ErrorContains(t, s.Next(ctx, []int{-1}, out), "token 0 is -1")
	assert.ErrorContains(t, s.Next(ctx, []int{1}, out[:95]), "room for 95 logits, 96 are made")
	require.NoError(t, s.Next(ctx, []int{1, 2, 3}, out))
	assert.ErrorContains(t, s.Next(ctx, []int{1, 2}, out), "2 tokens after 3; the session has room for 4 in all")
	assert.ErrorContains(t, s.Truncate(4), "3 tokens cannot be shortened to 4")
	assert.ErrorContains(t, s.Losses(ctx, []int{1}, []int{96}, out[:1]), "label 0 is 96")
	assert.ErrorContains(t, s.Losses(ctx, []int{1}, []int{1, 2}, out[:1]), "2 labels for 1 tokens")
	s.Close()
	s.Close()
	assert.ErrorIs(t, s.Next(ctx, []int{1}, out), runtime.ErrClosed)
	require.NoError(t, m.Close())
	require.NoError(t, m.Close(), "a second Close")
	_, err := m.NewSession(SessionOptions{})
	assert.ErrorContains(t, err, "closed")
}

// Two sessions share the mapped weights: the second takes its cache and arena only.
func TestSessionsShareWeights(t *testing.T) {
	rt := openRuntime(t)
	before := rt.Allocated()
	m := load(t, rt, filepath.Join("testdata", "llama3"), Options{})
	weights := rt.Allocated() - before
	assert.Less(t, weights, int64(8192), "matrices stay in the file")
	ids, out := tokens(t), make([]float32, m.Config.Vocab)
	var took [2]int64
	for i := range took {
		at := rt.Allocated()
		s := session(t, m, SessionOptions{Capacity: 64})
		require.NoError(t, s.Next(context.Background(), ids, out))
		took[i] = rt.Allocated() - at
	}
	assert.InDelta(t, took[0], took[1], 4096) // the first also compiled the plan, with its constants
	t.Logf("copied %d bytes; a session takes %d", weights, took[1])
}

// The loss of each token is -log softmax of the logits before it.
func TestLossesAndPerplexity(t *testing.T) {
	rt := openRuntime(t)
	m := load(t, rt, filepath.Join("testdata", "opt"), Options{})
	ids := tokens(t)
	all, vocab := logits(t, m, ids), m.Config.Vocab
	want := make([]float64, len(ids))
	for i := range ids[1:] {
		sum := 0.0
		for _, l := range all[i*vocab : (i+1)*vocab] {
			sum += math.Exp(float64(l))
		}
		want[i] = math.Log(sum) - float64(all[i*vocab+ids[i+1]])
	}
	s := session(t, m, SessionOptions{Capacity: len(ids)})
	losses := make([]float32, len(ids))
	require.NoError(t, s.Losses(context.Background(), ids, append(append([]int{}, ids[1:]...), -1), losses))
	mean := 0.0
	for i, l := range losses {
		assert.InDelta(t, want[i], l, 1e-4)
		mean += want[i] / float64(len(ids)-1)
	}
	p, err := s.Perplexity(context.Background(), ids, len(ids), nil)
	require.NoError(t, err)
	assert.Equal(t, len(ids)-1, p.Tokens)
	assert.InDelta(t, mean, p.Loss, 1e-5)
	assert.InDelta(t, math.Exp(mean), p.Value(), 1e-3)

	// in windows every token counts once
	short := session(t, m, SessionOptions{Capacity: 10})
	for _, stride := range []int{1, 3, 9, 10} {
		last := 0
		p, err := short.Perplexity(context.Background(), ids, stride, func(done int) { last = done })
		require.NoError(t, err)
		if stride < 10 { // windows that do not overlap cannot tell their first token
			assert.Equal(t, len(ids)-1, p.Tokens, "stride %d", stride)
		}
		assert.Equal(t, len(ids), last)
	}
	_, err = short.Perplexity(context.Background(), ids, 11, nil)
	assert.ErrorContains(t, err, "a stride of 11; 1 to the window's 10")
	_, err = short.Perplexity(context.Background(), ids[:1], 1, nil)
	assert.ErrorContains(t, err, "at least 2")
}

package sparse

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/runtime"
)

func generate(t testing.TB, m *Model, o GenerateOptions) *Generation {
	t.Helper()
	s, err := m.NewSession(SessionOptions{Capacity: 40})
	require.NoError(t, err)
	defer s.Close()
	var emitted []int
	g, err := s.Generate(context.Background(), []int{1, 17, 90}, o, func(token int) error { emitted = append(emitted, token); return nil })
	require.NoError(t, err)
	require.Equal(t, g.Tokens, emitted)
	return g
}

func TestGenerate(t *testing.T) {
	rt := openRuntime(t)
	m := load(t, rt, filepath.Join("testdata", "llama"), Options{})
	m.Config.EOS = nil
	greedy := generate(t, m, GenerateOptions{MaxTokens: 12})
	assert.Equal(t, "length", greedy.Stop)
	assert.Len(t, greedy.Tokens, 12)
	// each token is the most likely after those before it
	ids := append([]int{1, 17, 90}, greedy.Tokens...)
	all, vocab := logits(t, m, ids), m.Config.Vocab
	for i, token := range greedy.Tokens {
		row := all[(i+2)*vocab : (i+3)*vocab]
		for _, l := range row {
			require.LessOrEqual(t, l, row[token])
		}
	}
	full := generate(t, m, GenerateOptions{})
	assert.Equal(t, "capacity", full.Stop)
	assert.Len(t, full.Tokens, 38, "the session's 40 less the prompt's 3, and the last is not fed")

	hot := func(seed uint64) []int {
		return generate(t, m, GenerateOptions{MaxTokens: 20, Sampling: Sampling{Temperature: 3, TopK: 50, TopP: .95, Seed: seed}}).Tokens
	}
	assert.Equal(t, hot(1), hot(1))
	assert.NotEqual(t, hot(1), hot(2))

	m.Config.EOS = []int{greedy.Tokens[5]}
	ended := generate(t, m, GenerateOptions{MaxTokens: 12})
	assert.Equal(t, "end", ended.Stop)
	first := 0
	for greedy.Tokens[first] != greedy.Tokens[5] {
		first++
	}
	assert.Equal(t, greedy.Tokens[:first], append([]int{}, ended.Tokens...))
	assert.Len(t, generate(t, m, GenerateOptions{MaxTokens: 12, IgnoreEnd: true}).Tokens, 12)
}

func TestGenerateStops(t *testing.T) {
	rt := openRuntime(t)
	m := load(t, rt, filepath.Join("testdata", "llama"), Options{})
	m.Config.EOS = nil
	s := session(t, m, SessionOptions{Capacity: 64})
	ctx, cancel := context.WithCancel(context.Background())
	g, err := s.Generate(ctx, []int{1}, GenerateOptions{}, func(token int) error {
		if s.Len() == 5 {
			cancel()
		}
		return nil
	})
	assert.ErrorIs(t, err, context.Canceled)
	assert.Len(t, g.Tokens, 5, "not one token after the end of the context")
	assert.Equal(t, 5, s.Len())
	g, err = s.Generate(context.Background(), g.Tokens[4:], GenerateOptions{MaxTokens: 3}, func(int) error { return nil })
	require.NoError(t, err, "the session goes on")
	assert.Len(t, g.Tokens, 3)

	stop := errors.New("enough")
	_, err = s.Generate(context.Background(), []int{1}, GenerateOptions{}, func(int) error { return stop })
	assert.ErrorIs(t, err, stop)
	for want, o := range map[string]GenerateOptions{
		"temperature -1":  {Sampling: Sampling{Temperature: -1}},
		"temperature NaN": {Sampling: Sampling{Temperature: math.NaN()}},
		"top-k -1":        {Sampling: Sampling{TopK: -1}},
		"top-p 1.5":       {Sampling: Sampling{TopP: 1.5}},
		"-1 tokens":       {MaxTokens: -1},
	} {
		_, err := s.Generate(context.Background(), []int{1}, o, nil)
		assert.ErrorContains(t, err, want)
	}
}

// A thousand generations leave nothing behind.
func TestNothingLeaks(t *testing.T) {
	rt := openRuntime(t)
	m := load(t, rt, filepath.Join("testdata", "opt"), Options{})
	runs := 1000
	if rt.Device().Backend == "go" || testing.Short() {
		runs = 20
	}
	generate(t, m, GenerateOptions{MaxTokens: 2, IgnoreEnd: true})
	live, allocated := runtime.Live(), rt.Allocated()
	for range runs {
		generate(t, m, GenerateOptions{MaxTokens: 2, IgnoreEnd: true})
	}
	assert.Equal(t, live, runtime.Live())
	assert.Equal(t, allocated, rt.Allocated())
}

func TestConcurrentSessions(t *testing.T) {
	rt := openRuntime(t)
	m := load(t, rt, filepath.Join("testdata", "minicpm"), Options{})
	want := generate(t, m, GenerateOptions{MaxTokens: 10, IgnoreEnd: true}).Tokens
	done := make(chan []int)
	for range 4 {
		go func() {
			s, err := m.NewSession(SessionOptions{Capacity: 40})
			if !assert.NoError(t, err) {
				done <- nil
				return
			}
			defer s.Close()
			g, err := s.Generate(context.Background(), []int{1, 17, 90}, GenerateOptions{MaxTokens: 10, IgnoreEnd: true}, func(int) error { return nil })
			assert.NoError(t, err)
			done <- g.Tokens
		}()
	}
	for range 4 {
		select {
		case got := <-done:
			assert.Equal(t, want, got)
		case <-time.After(time.Minute):
			t.Fatal("no answer")
		}
	}
}

func TestSampler(t *testing.T) {
	values := []float32{1, 3, 3, 2, float32(math.Inf(-1)), 0}
	count := func(s Sampling) []float64 {
		sampler, err := newSampler(s)
		require.NoError(t, err)
		share := make([]float64, len(values))
		const n = 40000
		for range n {
			token, err := sampler.next(values)
			require.NoError(t, err)
			share[token] += 1.0 / n
		}
		return share
	}
	softmax := func(temperature float64, tokens ...int) []float64 {
		p, sum := make([]float64, len(values)), 0.0
		for _, k := range tokens {
			p[k] = math.Exp(float64(values[k]) / temperature)
			sum += p[k]
		}
		for k := range p {
			p[k] /= sum
		}
		return p
	}
	for name, c := range map[string]struct {
		s    Sampling
		want []float64
	}{
		"greedy, ties to the lowest": {Sampling{}, []float64{0, 1, 0, 0, 0, 0}},
		"temperature 1":              {Sampling{Temperature: 1}, softmax(1, 0, 1, 2, 3, 5)},
		"temperature 2":              {Sampling{Temperature: 2, Seed: 5}, softmax(2, 0, 1, 2, 3, 5)},
		"top 3":                      {Sampling{Temperature: 1, TopK: 3}, softmax(1, 1, 2, 3)},
		"top 1":                      {Sampling{Temperature: 1, TopK: 1}, softmax(1, 1)},
		"top p":                      {Sampling{Temperature: 1, TopP: .5}, softmax(1, 1, 2)},
		"the smallest p":             {Sampling{Temperature: 1, TopP: 1e-9}, softmax(1, 1)},
		"p among the top k":          {Sampling{Temperature: 1, TopK: 3, TopP: .5}, softmax(1, 1, 2)},
		"k beyond the vocabulary":    {Sampling{Temperature: 1, TopK: 99, TopP: .99999}, softmax(1, 0, 1, 2, 3, 5)},
	} {
		for k, share := range count(c.s) {
			assert.InDelta(t, c.want[k], share, .012, "%s: token %d", name, k)
		}
	}
	sampler, err := newSampler(Sampling{})
	require.NoError(t, err)
	_, err = sampler.next([]float32{0, float32(math.NaN())})
	assert.ErrorContains(t, err, "the logit of token 1 is NaN")
}

package sparse

import (
	"context"
	"fmt"
	"math"
)

// Perplexity tells how well a model predicts a text.
type Perplexity struct {
	Tokens int     // that were predicted
	Loss   float64 // mean of -log of their probabilities, natural units
}

// Value is e to the mean loss: the number of equally likely tokens that it corresponds to.
func (p *Perplexity) Value() float64 { return math.Exp(p.Loss) }

// Perplexity measures the model on tokens, in windows as long as the session can be. Each window begins stride tokens
// after the one before and counts only tokens that none before has counted, so that every token but the first counts
// once, with at least capacity - stride tokens of context behind the first window. The session is emptied. progress, if
// it is not nil, is told how many tokens are done.
func (s *Session) Perplexity(ctx context.Context, tokens []int, stride int, progress func(done int)) (*Perplexity, error) {
	if len(tokens) < 2 {
		return nil, fmt.Errorf("%d tokens; at least 2 are needed", len(tokens))
	}
	if stride < 1 || stride > s.capacity {
		return nil, fmt.Errorf("a stride of %d; 1 to the window's %d is possible", stride, s.capacity)
	}
	p := &Perplexity{}
	sum := 0.0
	labels, losses := make([]int, s.capacity), make([]float32, s.capacity)
	for begin, counted := 0, 1; counted < len(tokens); begin += stride {
		end := min(begin+s.capacity, len(tokens))
		window := tokens[begin:end]
		n := len(window)
		for i := range n {
			labels[i] = -1
			if next := begin + i + 1; next >= counted && next < end {
				labels[i] = tokens[next]
			}
		}
		if err := s.Truncate(0); err != nil {
			return nil, err
		}
		if err := s.Losses(ctx, window, labels[:n], losses[:n]); err != nil {
			return nil, err
		}
		for i, l := range losses[:n] {
			if labels[i] >= 0 {
				sum += float64(l)
				p.Tokens++
			}
		}
		counted = end
		if progress != nil {
			progress(counted)
		}
	}
	p.Loss = sum / float64(p.Tokens)
	return p, nil
}

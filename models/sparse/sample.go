package sparse

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
)

// Sampling chooses tokens from logits. The zero value is greedy.
type Sampling struct {
	Temperature float64 // 0: always the most likely token
	TopK        int     // among that many of the most likely; 0: all
	TopP        float64 // among the fewest most likely that have this probability together; 0 or 1: all
	Seed        uint64
}

func (s *Sampling) check() error {
	switch {
	case !(s.Temperature >= 0 && s.Temperature < 1e6):
		return fmt.Errorf("temperature %g; a number of at least 0 is needed", s.Temperature)
	case s.TopK < 0:
		return fmt.Errorf("top-k %d; a number of at least 0 is needed", s.TopK)
	case !(s.TopP >= 0 && s.TopP <= 1):
		return fmt.Errorf("top-p %g; a number from 0 to 1 is needed", s.TopP)
	}
	return nil
}

// sampler draws tokens, the same ones for the same seed.
type sampler struct {
	Sampling
	random *rand.Rand
	weight []float64 // by token; scratch
	order  tokenHeap
}

func newSampler(s Sampling) (*sampler, error) {
	if s.TopP == 0 {
		s.TopP = 1
	}
	return &sampler{Sampling: s, random: rand.New(rand.NewPCG(s.Seed, 0))}, s.check()
}

// next is a token drawn from softmax(logits / temperature), first cut to the top k, then to the top p.
func (s *sampler) next(logits []float32) (int, error) {
	best := 0
	for i, l := range logits {
		if l != l || l > math.MaxFloat32 {
			return 0, fmt.Errorf("the logit of token %d is %g: the weights, or the activation, are not those of a trained model", i, l)
		}
		if l > logits[best] {
			best = i
		}
	}
	if s.Temperature == 0 {
		return best, nil
	}
	if cap(s.weight) < len(logits) {
		s.weight = make([]float64, len(logits))
	}
	s.weight = s.weight[:len(logits)]
	total := 0.0
	for i, l := range logits {
		s.weight[i] = math.Exp((float64(l) - float64(logits[best])) / s.Temperature)
		total += s.weight[i]
	}
	if s.TopK == 0 && s.TopP == 1 {
		return s.draw(nil, total), nil
	}
	kept, sum := s.cut(total)
	return s.draw(kept, sum), nil
}

// cut is the tokens that top k and top p leave, the most likely first, and their weight.
func (s *sampler) cut(total float64) (kept []int, sum float64) {
	k := s.TopK
	if k == 0 || k > len(s.weight) {
		k = len(s.weight)
	}
	s.order.weight = s.weight
	s.order.tokens = s.order.tokens[:0]
	for i := range s.weight {
		s.order.tokens = append(s.order.tokens, i)
	}
	heap.Init(&s.order)
	if k < len(s.weight) { // p counts among the k that are left
		for range k {
			kept = append(kept, heap.Pop(&s.order).(int))
			sum += s.weight[kept[len(kept)-1]]
		}
		total, sum = sum, 0
		for i, token := range kept {
			if sum += s.weight[token]; sum >= s.TopP*total {
				return kept[:i+1], sum
			}
		}
		return kept, sum
	}
	for len(s.order.tokens) > 0 && (sum < s.TopP*total || kept == nil) {
		kept = append(kept, heap.Pop(&s.order).(int))
		sum += s.weight[kept[len(kept)-1]]
	}
	return kept, sum
}

// draw chooses among the tokens kept, or all, by their weights.
func (s *sampler) draw(kept []int, sum float64) int {
	at, last := s.random.Float64()*sum, 0
	take := func(token int) bool {
		if s.weight[token] > 0 {
			last = token
		}
		at -= s.weight[token]
		return at < 0
	}
	if kept == nil {
		for token := range s.weight {
			if take(token) {
				return token
			}
		}
		return last // rounding
	}
	for _, token := range kept {
		if take(token) {
			return token
		}
	}
	return last
}

// tokenHeap has the heaviest token first; of equal ones the lowest.
type tokenHeap struct {
	tokens []int
	weight []float64
}

// Len, Less, Swap, Push and Pop are heap.Interface.
func (h *tokenHeap) Len() int { return len(h.tokens) }

// Less orders by weight.
func (h *tokenHeap) Less(i, j int) bool {
	a, b := h.tokens[i], h.tokens[j]
	return h.weight[a] > h.weight[b] || h.weight[a] == h.weight[b] && a < b
}

// Swap exchanges two tokens.
func (h *tokenHeap) Swap(i, j int) { h.tokens[i], h.tokens[j] = h.tokens[j], h.tokens[i] }

// Push adds a token.
func (h *tokenHeap) Push(x any) { h.tokens = append(h.tokens, x.(int)) }

// Pop removes the last.
func (h *tokenHeap) Pop() any {
	last := h.tokens[len(h.tokens)-1]
	h.tokens = h.tokens[:len(h.tokens)-1]
	return last
}

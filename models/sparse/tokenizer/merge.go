package tokenizer

import "container/heap"

// pair is two neighbouring tokens.
type pair struct{ left, right int }

// merge is what becomes of a pair, and how early.
type merge struct{ rank, id int }

// symbol is a token of a word on the way; symbols form a list.
type symbol struct {
	id         int
	prev, next int
	gone       bool
}

// candidate is a pair that may be merged, unless one of the two has changed since.
type candidate struct {
	merge
	at   int // of the left symbol
	pair pair
}

// candidates is a heap: the earliest rank first, then the leftmost.
type candidates []candidate

func (c candidates) Len() int { return len(c) }
func (c candidates) Less(i, j int) bool {
	return c[i].rank < c[j].rank || c[i].rank == c[j].rank && c[i].at < c[j].at
}
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }

// Push adds a candidate.
func (c *candidates) Push(x any) { *c = append(*c, x.(candidate)) }

// Pop removes the last.
func (c *candidates) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

// mergeAll is byte-pair encoding (Sennrich et al. 2016): the pair of the earliest merge is joined, over and over.
func mergeAll(ids []int, merges map[pair]merge) []int {
	symbols := make([]symbol, len(ids))
	for i, id := range ids {
		symbols[i] = symbol{id: id, prev: i - 1, next: i + 1}
	}
	var queue candidates
	consider := func(left, right int) {
		if left < 0 || right >= len(symbols) {
			return
		}
		p := pair{symbols[left].id, symbols[right].id}
		if m, ok := merges[p]; ok {
			heap.Push(&queue, candidate{m, left, p})
		}
	}
	for i := range ids {
		consider(i, i+1)
	}
	for len(queue) > 0 {
		c := heap.Pop(&queue).(candidate)
		left := &symbols[c.at]
		if left.gone || left.next >= len(symbols) || left.id != c.pair.left || symbols[left.next].id != c.pair.right {
			continue
		}
		right := &symbols[left.next]
		left.id, left.next, right.gone = c.id, right.next, true
		if right.next < len(symbols) {
			symbols[right.next].prev = c.at
		}
		consider(left.prev, c.at)
		consider(c.at, left.next)
	}
	out := ids[:0]
	for i := 0; i < len(symbols); i = symbols[i].next {
		out = append(out, symbols[i].id)
	}
	return out
}

package runtime

import (
	"sort"

	"github.com/credence-ml/credence/ops"
)

// planMemory places every root of a graph in one arena so that roots alive at the same time never overlap: largest
// first, each at the lowest gap that fits (greedy by size, Pisarchyk and Lee 2020, "Efficient Memory Management for Deep
// Neural Net Inference"). A root whose op may write over its input, where that input dies, takes the input's place.
func planMemory(roots []ops.Root) ops.Lowering {
	type block struct {
		root        ops.Root
		first, last int
		members     []int
	}
	at := map[int]*block{}
	var blocks []*block
	for _, r := range roots { // roots come in order of creation, so an input's block exists before its heir
		if b, ok := at[r.InPlaceOf]; ok && r.InPlaceOf >= 0 && b.last == r.First {
			b.last = r.Last
			b.members = append(b.members, r.Index)
			at[r.Index] = b
			continue
		}
		b := &block{root: r, first: r.First, last: r.Last, members: []int{r.Index}}
		at[r.Index] = b
		blocks = append(blocks, b)
	}
	order := append([]*block(nil), blocks...)
	sort.SliceStable(order, func(i, j int) bool { return order[i].root.Bytes > order[j].root.Bytes })
	l := ops.Lowering{Offsets: map[int]int64{}}
	type placed struct {
		*block
		offset, end int64
	}
	var done []placed // sorted by offset
	for _, b := range order {
		size := align(b.root.Bytes)
		offset := int64(0)
		for _, p := range done {
			if p.last < b.first || b.last < p.first {
				continue
			}
			if p.offset-offset >= size {
				break
			}
			offset = max(offset, p.end)
		}
		n := placed{b, offset, offset + size}
		i := sort.Search(len(done), func(i int) bool { return done[i].offset >= offset })
		done = append(done, placed{})
		copy(done[i+1:], done[i:])
		done[i] = n
		for _, m := range b.members {
			l.Offsets[m] = offset
		}
		l.Arena = max(l.Arena, n.end)
	}
	return l
}

func align(n int64) int64 { return (n + ops.Align - 1) / ops.Align * ops.Align }

package ops

import (
	"cmp"
	"fmt"
	"slices"
)

// A Program is a graph lowered to what a device runs: operations over tensors that lie in numbered slots. It mirrors
// credence_plan_desc. Slot 0 is the arena (inputs, temporaries, outputs), slot 1 the constants if there are any, then
// one slot per segment.
type Program struct {
	Ops          []ProgramOp
	SlotBytes    []int64    // least memory bound to each slot
	IntRange     [][2]int64 // inclusive range of each integer argument
	IntNames     []string
	FloatNames   []string
	Constants    []byte     // contents of slot ConstSlot
	ConstSlot    int        // -1: none
	Segments     []*Segment // Segments[i] is bound to slot FirstSegment + i
	FirstSegment int
	Places       map[Tensor]Place // where inputs and outputs of the graph lie
	Outputs      []Place          // of these the outputs, in the order in which they lie
	HasInputs    bool
}

// ProgramOp is one operation. The tensors are in full, since they are few.
type ProgramOp struct {
	Def            *Def
	In, Out, InOut []Place
	Ints           []Int
	Floats         []Float
}

// A Place is a tensor of a program. Element (i...) lies Base + Offset + sum(i_k Strides_k) bytes into its slot.
type Place struct {
	Name    string
	Slot    int
	DType   DType
	Shape   Shape
	Strides []int64
	Base    int64
	Offset  Int
}

// Dense reports whether the elements lie without gaps in row-major order under the given arguments.
func (t *Place) Dense(ints []int64) bool {
	n := t.DType.BlockBytes()
	for k := len(t.Shape) - 1; k >= 0; k-- {
		d := t.Shape[k].At(ints)
		if d > 1 && t.Strides[k] != n {
			return false
		}
		n *= d
	}
	return t.DType.Block() == 1
}

// Lowering decides where temporaries lie; see Lower.
type Lowering struct {
	// Offsets[i] is the place of root tensor i in the arena, for every root in Roots.
	Offsets map[int]int64
	Arena   int64
}

// A Root is a tensor of the graph that needs memory in the arena, with the nodes between which it is alive.
type Root struct {
	Index       int
	Bytes       int64
	First, Last int // node numbers; -1: before the first, len(nodes): until the end
	Name        string
	// InPlaceOf is a root that dies exactly where this one is made, by an op that may write over it; -1: none.
	InPlaceOf int
}

// Roots lists the memory that the graph needs in its arena, with lifetimes, for a memory planner.
func (g *Graph) Roots() ([]Root, error) {
	if g.err != nil {
		return nil, g.err
	}
	first, last := map[int32]int{}, map[int32]int{}
	touch := func(i int32, at int) {
		r := g.tensors[i].root
		if _, ok := first[r]; !ok {
			first[r], last[r] = at, at
		}
		last[r] = max(last[r], at)
	}
	for i := range g.tensors {
		if g.tensors[i].kind == kindInput && g.tensors[i].root == int32(i) {
			touch(int32(i), -1)
			touch(int32(i), len(g.nodes)) // what the caller wrote stays until he writes again
		}
	}
	for at := range g.nodes {
		n := &g.nodes[at]
		if n.view != nil {
			continue
		}
		for _, list := range [][]int32{n.in, n.out, n.inout} {
			for _, i := range list {
				touch(i, at)
			}
		}
	}
	for _, i := range g.outputs {
		touch(i, len(g.nodes))
	}
	var roots []Root
	for i := range g.tensors {
		t := &g.tensors[i]
		if t.root != int32(i) || (t.kind != kindTemp && t.kind != kindInput) {
			continue
		}
		f, ok := first[int32(i)]
		if !ok {
			if t.kind != kindInput {
				continue // never used
			}
		}
		roots = append(roots, Root{Index: i, Bytes: g.bytes(t), First: f, Last: last[int32(i)], Name: t.name, InPlaceOf: -1})
	}
	at := map[int]int{}
	for k, r := range roots {
		at[r.Index] = k
	}
	for k := range roots {
		r := &roots[k]
		if r.First < 0 || r.First >= len(g.nodes) {
			continue
		}
		n := &g.nodes[r.First]
		if n.def == nil || !n.def.InPlace || len(n.in) == 0 || n.out[0] != int32(r.Index) {
			continue
		}
		x := &g.tensors[n.in[0]]
		if j, ok := at[int(x.root)]; ok && g.tensors[x.root].kind == kindTemp && roots[j].Last == r.First &&
			sameLayout(x, &g.tensors[r.Index]) && x.base == 0 && x.offset.N == 0 && roots[j].Bytes == r.Bytes && usedOnce(n, x.root, g) {
			r.InPlaceOf = int(x.root)
		}
	}
	return roots, nil
}

// usedOnce reports whether node n reads memory of root only through its first input.
func usedOnce(n *node, root int32, g *Graph) bool {
	count := 0
	for _, i := range n.in {
		if g.tensors[i].root == root {
			count++
		}
	}
	return count == 1
}

func sameLayout(a, b *tensor) bool {
	if a.dtype != b.dtype || !a.shape.Equal(b.shape) {
		return false
	}
	for k := range a.strides {
		if a.strides[k] != b.strides[k] {
			return false
		}
	}
	return true
}

// bytes is the memory of a dense root at its arguments' maxima.
func (g *Graph) bytes(t *tensor) int64 {
	n := int64(1)
	for _, d := range t.shape {
		n *= g.MaxOf(d)
	}
	return t.dtype.RowBytes(n)
}

// Lower turns the graph into a program, given where its roots lie in the arena.
func (g *Graph) Lower(where Lowering) (*Program, error) {
	if g.err != nil {
		return nil, g.err
	}
	p := &Program{ConstSlot: -1, SlotBytes: []int64{alignUp(where.Arena)}, Places: map[Tensor]Place{}, Segments: g.segs,
		FloatNames: g.floats}
	for _, a := range g.ints {
		p.IntRange = append(p.IntRange, [2]int64{a.min, a.max})
		p.IntNames = append(p.IntNames, a.name)
	}
	constAt := map[int32]int64{}
	for i := range g.tensors {
		if t := &g.tensors[i]; t.kind == kindConst && t.root == int32(i) {
			at := alignUp(int64(len(p.Constants)))
			p.Constants = append(p.Constants, make([]byte, at-int64(len(p.Constants)))...)
			p.Constants = append(p.Constants, t.data...)
			constAt[int32(i)] = at
		}
	}
	if len(constAt) > 0 {
		p.ConstSlot = len(p.SlotBytes)
		p.SlotBytes = append(p.SlotBytes, alignUp(int64(len(p.Constants))))
	}
	p.FirstSegment = len(p.SlotBytes)
	slot := map[*Segment]int{}
	for _, s := range g.segs {
		slot[s] = len(p.SlotBytes)
		p.SlotBytes = append(p.SlotBytes, s.Bytes())
	}
	place := func(i int32) (Place, error) {
		t := &g.tensors[i]
		root := &g.tensors[t.root]
		r := Place{Name: t.name, DType: t.dtype, Shape: t.shape, Strides: t.strides, Base: t.base, Offset: t.offset}
		switch root.kind {
		case kindConst:
			r.Slot, r.Base = p.ConstSlot, t.base+constAt[t.root]
		case kindVariable:
			r.Slot, r.Base = slot[root.v.Segment], t.base+root.v.Offset
		default:
			at, ok := where.Offsets[int(t.root)]
			if !ok {
				return r, fmt.Errorf("lower: tensor %v has no place in the arena", Tensor{g, i + 1})
			}
			r.Base = t.base + at
		}
		return r, nil
	}
	for i := range g.nodes {
		n := &g.nodes[i]
		if n.def == nil {
			continue
		}
		op := ProgramOp{Def: n.def, Ints: n.ints, Floats: n.floats}
		for k, list := range [][]int32{n.in, n.out, n.inout} {
			for _, t := range list {
				at, err := place(t)
				if err != nil {
					return nil, err
				}
				switch k {
				case 0:
					op.In = append(op.In, at)
				case 1:
					op.Out = append(op.Out, at)
				default:
					op.InOut = append(op.InOut, at)
				}
			}
		}
		p.Ops = append(p.Ops, op)
	}
	for i := range g.tensors {
		t := &g.tensors[i]
		if t.kind == kindInput && t.root == int32(i) {
			at, err := place(int32(i))
			if err != nil {
				return nil, err
			}
			p.Places[Tensor{g, int32(i) + 1}] = at
			p.HasInputs = true
		}
	}
	for _, i := range g.outputs {
		at, err := place(i)
		if err != nil {
			return nil, err
		}
		p.Places[Tensor{g, i + 1}] = at
		p.Outputs = append(p.Outputs, at)
	}
	slices.SortStableFunc(p.Outputs, func(a, b Place) int { return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Base, b.Base)) })
	return p, nil
}

// SimpleLowering gives every root memory of its own: for the reference and for tests.
func (g *Graph) SimpleLowering() (Lowering, error) {
	roots, err := g.Roots()
	if err != nil {
		return Lowering{}, err
	}
	l := Lowering{Offsets: map[int]int64{}}
	for _, r := range roots {
		l.Offsets[r.Index] = l.Arena
		l.Arena = alignUp(l.Arena + r.Bytes)
	}
	return l, nil
}

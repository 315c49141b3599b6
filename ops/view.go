package ops

import (
	"fmt"
)

// Views change how memory is read, not what is in it: they cost nothing, and gradients flow through them.

type viewKind uint8

const (
	viewReshape viewKind = iota
	viewSlice
	viewPermute
	viewBroadcast
	viewDetach
	viewConcat // the joined result of copies into parts of one buffer
)

type viewInfo struct {
	kind  viewKind
	axis  int
	start Int
	perm  []int
}

func (g *Graph) view(x Tensor, info viewInfo, shape Shape, strides []int64, base int64, offset Int) Tensor {
	v := g.t(x)
	root, name := v.root, v.name
	t := tensor{name: name, dtype: v.dtype, shape: shape, strides: strides, kind: v.kind, v: v.v, base: v.base + base,
		offset: v.offset, maker: int32(len(g.nodes))}
	if offset.N != 0 {
		if t.offset.N != 0 && t.offset.Arg != offset.Arg {
			return g.failf("slice of %v: its place would depend on two arguments; one is allowed", x)
		}
		t.offset = Int{N: t.offset.N + offset.N, Arg: offset.Arg}
	}
	r := g.addView(t, root)
	g.nodes = append(g.nodes, node{view: &info, in: []int32{x.id - 1}, out: []int32{r.id - 1}})
	return r
}

// Reshape views x with another shape of the same size; one dimension may be N(-1), "what is left". A strided x is
// copied first.
func Reshape(x Tensor, shape ...Int) Tensor {
	g := x.g
	if g == nil || g.err != nil {
		return Tensor{}
	}
	have, err := x.Shape().Count()
	if err != nil {
		return g.failf("reshape: %w", err)
	}
	s := Shape(shape).clone()
	for k, d := range s {
		if d == N(-1) {
			rest, err := s.With(k, N(1)).Count()
			switch {
			case err != nil:
				return g.failf("reshape: %w", err)
			case rest.N == 0 || have.N%rest.N != 0 || (rest.Arg != 0 && rest.Arg != have.Arg):
				return g.failf("reshape: %v does not divide into %s", x, g.ShapeString(s.With(k, N(1))))
			case rest.Arg != 0:
				s[k] = N(have.N / rest.N)
			default:
				s[k] = Int{N: have.N / rest.N, Arg: have.Arg}
			}
			break
		}
	}
	want, err := s.Count()
	if err != nil || !want.Equal(have) {
		return g.failf("reshape: %v has %s elements, %s has %s", x, g.sizeString(have), g.ShapeString(s), g.sizeString(want))
	}
	x = Contiguous(x)
	if !x.Valid() {
		return x
	}
	strides, err := g.denseStrides(x.DType(), s)
	if err != nil {
		return g.failf("reshape: %w", err)
	}
	probe := tensor{dtype: x.DType(), shape: s, strides: strides}
	if !g.dense(&probe) {
		return g.failf("reshape of %v to %s: a dimension that depends on an argument must be outermost", x, g.ShapeString(s))
	}
	return g.view(x, viewInfo{kind: viewReshape}, s, strides, 0, Int{})
}

// Slice views elements start .. start+length-1 of an axis (negative: from the innermost). start may depend on an
// argument. A block-quantised tensor can be sliced along outer axes only.
func Slice(x Tensor, axis int, start, length Int) Tensor {
	g := x.g
	if g == nil || g.err != nil {
		return Tensor{}
	}
	s := x.Shape()
	if axis < 0 {
		axis += len(s)
	}
	if axis < 0 || axis >= len(s) {
		return g.failf("slice: %v has no axis %d", x, axis)
	}
	if g.MaxOf(start) < 0 || g.MaxOf(length) < 0 || g.MaxOf(start)+g.MaxOf(length) > g.MaxOf(s[axis]) {
		return g.failf("slice: elements %d to %d of axis %d do not lie in %v", g.MaxOf(start),
			g.MaxOf(start)+g.MaxOf(length), axis, x)
	}
	v := g.t(x)
	if v.dtype.Block() > 1 && axis == len(s)-1 {
		return g.failf("slice: %v cannot be cut within its blocks", x)
	}
	var base int64
	var offset Int
	if start.Const() {
		base = start.N * v.strides[axis]
	} else {
		offset = start.Times(v.strides[axis])
	}
	return g.view(x, viewInfo{kind: viewSlice, axis: axis, start: start}, s.With(axis, length), v.strides, base, offset)
}

// Permute views x with its axes in another order: axis k of the result is axis perm[k] of x.
func Permute(x Tensor, perm ...int) Tensor {
	g := x.g
	if g == nil || g.err != nil {
		return Tensor{}
	}
	v := g.t(x)
	seen := map[int]bool{}
	for _, p := range perm {
		if p < 0 || p >= len(v.shape) || seen[p] {
			return g.failf("permute: %v is not an order of the axes of %v", perm, x)
		}
		seen[p] = true
	}
	if len(perm) != len(v.shape) || v.dtype.Block() > 1 {
		return g.failf("permute: cannot order the axes of %v as %v", x, perm)
	}
	shape, strides := make(Shape, len(perm)), make([]int64, len(perm))
	for k, p := range perm {
		shape[k], strides[k] = v.shape[p], v.strides[p]
	}
	return g.view(x, viewInfo{kind: viewPermute, perm: append([]int(nil), perm...)}, shape, strides, 0, Int{})
}

// Detach is x, through which no gradient flows.
func Detach(x Tensor) Tensor {
	g := x.g
	if g == nil || g.err != nil {
		return Tensor{}
	}
	v := g.t(x)
	return g.view(x, viewInfo{kind: viewDetach}, v.shape, v.strides, 0, Int{})
}

// Transpose swaps the two innermost axes.
func Transpose(x Tensor) Tensor {
	n := len(x.Shape())
	if n < 2 {
		if x.g != nil {
			x.g.failf("transpose: %v has fewer than two axes", x)
		}
		return Tensor{}
	}
	perm := make([]int, n)
	for k := range perm {
		perm[k] = k
	}
	perm[n-1], perm[n-2] = n-2, n-1
	return Permute(x, perm...)
}

// BroadcastTo views x repeated to shape, by the usual rule: axes are matched from the innermost; one of size 1, or
// missing, repeats.
func BroadcastTo(x Tensor, shape Shape) Tensor {
	g := x.g
	if g == nil || g.err != nil {
		return Tensor{}
	}
	v := g.t(x)
	if v.shape.Equal(shape) {
		return x
	}
	lead := len(shape) - len(v.shape)
	if lead < 0 || v.dtype.Block() > 1 {
		return g.failf("broadcast: %v does not repeat to %s", x, g.ShapeString(shape))
	}
	strides := make([]int64, len(shape))
	for k := range shape {
		if k < lead {
			continue
		}
		switch d := v.shape[k-lead]; {
		case d.Equal(shape[k]):
			strides[k] = v.strides[k-lead]
		case d == N(1):
		default:
			return g.failf("broadcast: %v does not repeat to %s", x, g.ShapeString(shape))
		}
	}
	return g.view(x, viewInfo{kind: viewBroadcast}, shape.clone(), strides, 0, Int{})
}

// broadcastShape is the common shape of two operands.
func (g *Graph) broadcastShape(a, b Shape) (Shape, error) {
	if len(a) < len(b) {
		a, b = b, a
	}
	r := a.clone()
	lead := len(a) - len(b)
	for k := range b {
		x, y := a[lead+k], b[k]
		switch {
		case x.Equal(y), y == N(1):
		case x == N(1):
			r[lead+k] = y
		default:
			return nil, fmt.Errorf("shapes %s and %s do not match: sizes %s and %s differ and neither is 1",
				g.ShapeString(a), g.ShapeString(b), g.sizeString(x), g.sizeString(y))
		}
	}
	return r, nil
}

// Contiguous is x itself if it lies densely in row-major order, else a dense copy.
func Contiguous(x Tensor) Tensor {
	if x.g == nil || x.g.err != nil || x.g.dense(x.g.t(x)) {
		return x
	}
	return Cast(x, x.DType())
}

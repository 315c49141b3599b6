package ops

import (
	"fmt"
	"strings"
)

// A Graph records operations. Functions such as Add or MatMul append to it and return the tensors they make; nothing is
// computed until a runtime compiles the graph and a session runs it. The first mistake sticks: later calls do nothing
// and return the zero Tensor, and Err tells what and where, so that a model is written without a check on every line.
//
// A graph is recorded by one goroutine.
type Graph struct {
	ints    []intSpec
	floats  []string
	tensors []tensor
	nodes   []node
	segs    []*Segment
	vars    map[*Var]int32
	outputs []int32
	err     error
}

type intSpec struct {
	name     string
	min, max int64
}

// A Tensor is a handle to a value of a graph. The zero Tensor means "none" where an input is optional.
type Tensor struct {
	g  *Graph
	id int32 // index + 1
}

type tensorKind uint8

const (
	kindTemp     tensorKind = iota // made by a node, lives in the arena
	kindInput                      // filled by the caller before a submission, lives in the arena
	kindConst                      // fixed when the graph is recorded
	kindVariable                   // in a segment
)

type tensor struct {
	name    string
	dtype   DType
	shape   Shape
	strides []int64 // bytes; for block types of whole blocks along all but the innermost axis
	kind    tensorKind
	root    int32 // the tensor whose memory this one views; itself if none
	base    int64 // bytes from the start of root's memory
	offset  Int   // more bytes, depending on an argument
	v       *Var  // kindVariable
	data    []byte
	maker   int32 // node that made it, or -1
}

type node struct {
	def            *Def      // nil: a view, which computes nothing
	view           *viewInfo // nil: an operation
	in, out, inout []int32   // tensor indices
	ints           []Int
	floats         []Float
}

// NewGraph makes an empty graph.
func NewGraph() *Graph { return &Graph{vars: map[*Var]int32{}} }

// Err is the first mistake recorded, or nil.
func (g *Graph) Err() error { return g.err }

// Fail records err as the graph's mistake unless there is one already.
func (g *Graph) Fail(err error) {
	if g.err == nil {
		g.err = err
	}
}

func (g *Graph) failf(format string, a ...any) Tensor {
	g.Fail(fmt.Errorf(format, a...))
	return Tensor{}
}

// IntArg declares an integer argument with its inclusive range. Memory is planned for the maximum.
func (g *Graph) IntArg(name string, min, max int64) IntArg {
	if min > max {
		g.failf("argument %s: range %d to %d is empty", name, min, max)
	}
	g.ints = append(g.ints, intSpec{name, min, max})
	return IntArg(len(g.ints))
}

// FloatArg declares a scalar argument.
func (g *Graph) FloatArg(name string) FloatArg {
	g.floats = append(g.floats, name)
	return FloatArg(len(g.floats))
}

// Input declares a tensor that the caller fills before each submission.
func (g *Graph) Input(name string, t DType, shape Shape) Tensor {
	if g.err != nil {
		return Tensor{}
	}
	strides, err := g.denseStrides(t, shape)
	if err != nil {
		return g.failf("input %s: %w", name, err)
	}
	return g.add(tensor{name: name, dtype: t, shape: shape.clone(), strides: strides, kind: kindInput, maker: -1})
}

// Const is a float32 tensor whose values are fixed now. len(values) must be the size of shape.
func (g *Graph) Const(name string, values []float32, dims ...int64) Tensor {
	if g.err != nil {
		return Tensor{}
	}
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	if n != int64(len(values)) {
		return g.failf("constant %s: %d values for shape %v", name, len(values), dims)
	}
	strides, err := g.denseStrides(F32, Dims(dims...))
	if err != nil {
		return g.failf("constant %s: %w", name, err)
	}
	return g.add(tensor{name: name, dtype: F32, shape: Dims(dims...), strides: strides, kind: kindConst,
		data: bytesOfFloat32(values), maker: -1})
}

// ConstInt32 is an int32 tensor whose values are fixed now.
func (g *Graph) ConstInt32(name string, values []int32, dims ...int64) Tensor {
	if g.err != nil {
		return Tensor{}
	}
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	if n != int64(len(values)) {
		return g.failf("constant %s: %d values for shape %v", name, len(values), dims)
	}
	strides, err := g.denseStrides(I32, Dims(dims...))
	if err != nil {
		return g.failf("constant %s: %w", name, err)
	}
	return g.add(tensor{name: name, dtype: I32, shape: Dims(dims...), strides: strides, kind: kindConst,
		data: bytesOfInt32(values), maker: -1})
}

// Use is the tensor of a segment's variable; the same handle each time.
func (g *Graph) Use(v *Var) Tensor {
	if g.err != nil {
		return Tensor{}
	}
	if i, ok := g.vars[v]; ok {
		return Tensor{g, i + 1}
	}
	g.addSegment(v.Segment)
	strides, err := g.denseStrides(v.DType, Dims(v.Dims...))
	if err != nil {
		return g.failf("variable %s.%s: %w", v.Segment.Name, v.Name, err)
	}
	t := g.add(tensor{name: v.Segment.Name + "." + v.Name, dtype: v.DType, shape: Dims(v.Dims...), strides: strides,
		kind: kindVariable, v: v, maker: -1})
	g.vars[v] = t.id - 1
	return t
}

// Flat is a whole segment as one float32 vector, gaps included (they hold zeros): what an optimiser steps over.
func (g *Graph) Flat(s *Segment) Tensor {
	v := &Var{Segment: s, Name: "*", DType: F32, Dims: []int64{s.Bytes() / 4}}
	for w, i := range g.vars {
		if w.Segment == s && w.Name == "*" {
			return Tensor{g, i + 1}
		}
	}
	return g.Use(v)
}

func (g *Graph) addSegment(s *Segment) {
	for _, t := range g.segs {
		if t == s {
			return
		}
	}
	g.segs = append(g.segs, s)
}

// Segments lists the segments that the graph uses, in the order of first use.
func (g *Graph) Segments() []*Segment { return g.segs }

// Output marks tensors whose values the caller reads after a submission.
func (g *Graph) Output(ts ...Tensor) {
	if g.err != nil {
		return
	}
	for _, t := range ts {
		if !g.owns(t) {
			g.failf("Output: tensor is not of this graph")
			return
		}
		g.outputs = append(g.outputs, t.id-1)
	}
}

func (g *Graph) owns(t Tensor) bool { return t.g == g && t.id > 0 && int(t.id) <= len(g.tensors) }

// add appends a tensor with memory of its own; addView one that lies in root's.
func (g *Graph) add(t tensor) Tensor { return g.addView(t, int32(len(g.tensors))) }

func (g *Graph) addView(t tensor, root int32) Tensor {
	t.root = root
	g.tensors = append(g.tensors, t)
	return Tensor{g, int32(len(g.tensors))}
}

func (g *Graph) t(t Tensor) *tensor { return &g.tensors[t.id-1] }

// Valid reports whether t is a tensor (not the zero Tensor).
func (t Tensor) Valid() bool { return t.id > 0 }

// Graph is the graph that t belongs to.
func (t Tensor) Graph() *Graph { return t.g }

// Shape is the shape of t; nil for the zero Tensor.
func (t Tensor) Shape() Shape {
	if !t.Valid() {
		return nil
	}
	return t.g.t(t).shape
}

// Dim is dimension k of t; a negative k counts from the innermost.
func (t Tensor) Dim(k int) Int {
	s := t.Shape()
	if k < 0 {
		k += len(s)
	}
	if k < 0 || k >= len(s) {
		return N(0)
	}
	return s[k]
}

// DType is the element type of t; 0 for the zero Tensor.
func (t Tensor) DType() DType {
	if !t.Valid() {
		return 0
	}
	return t.g.t(t).dtype
}

// Named gives t a name for messages and reports, and returns it.
func (t Tensor) Named(name string) Tensor {
	if t.Valid() {
		t.g.t(t).name = name
	}
	return t
}

// String describes t: its name, type and shape.
func (t Tensor) String() string {
	if !t.Valid() {
		return "no tensor"
	}
	v := t.g.t(t)
	name := v.name
	if name == "" {
		name = fmt.Sprintf("%%%d", t.id-1)
	}
	return fmt.Sprintf("%s %v %s", name, v.dtype, t.g.ShapeString(v.shape))
}

// ShapeString writes a shape with the arguments' names, for example "[batch x 784]".
func (g *Graph) ShapeString(s Shape) string {
	parts := make([]string, len(s))
	for i, d := range s {
		parts[i] = g.sizeString(d)
	}
	return "[" + strings.Join(parts, "x") + "]"
}

// sizeString writes one size with its argument's name, for example "12*batch".
func (g *Graph) sizeString(d Int) string {
	switch {
	case d.Arg == 0:
		return fmt.Sprint(d.N)
	case int(d.Arg) > len(g.ints):
		return "?"
	case d.N == 1:
		return g.ints[d.Arg-1].name
	default:
		return fmt.Sprintf("%d*%s", d.N, g.ints[d.Arg-1].name)
	}
}

// MaxOf is the value of v with its argument at its maximum.
func (g *Graph) MaxOf(v Int) int64 {
	if v.Arg == 0 {
		return v.N
	}
	return v.N * g.ints[v.Arg-1].max
}

// denseStrides are row-major strides. Dimensions other than the outermost count at their maximum, so that strides are
// constants.
func (g *Graph) denseStrides(t DType, s Shape) ([]int64, error) {
	if len(s) > MaxDims {
		return nil, fmt.Errorf("%d dimensions in %s; at most %d", len(s), g.ShapeString(s), MaxDims)
	}
	if !t.Valid() {
		return nil, fmt.Errorf("unknown type %v", t)
	}
	strides := make([]int64, len(s))
	n := int64(1)
	for k := len(s) - 1; k >= 0; k-- {
		d := g.MaxOf(s[k])
		if d < 0 {
			return nil, fmt.Errorf("negative dimension in %s", g.ShapeString(s))
		}
		if t.Block() > 1 {
			if k == len(s)-1 {
				if d%t.Block() != 0 {
					return nil, fmt.Errorf("%d elements of %v are not whole blocks of %d", d, t, t.Block())
				}
				strides[k] = 0 // elements of a block have no address of their own
				n = t.RowBytes(d)
				continue
			}
			strides[k] = n
		} else {
			strides[k] = n * t.BlockBytes()
		}
		if d > 0 {
			if n > (1<<46)/d {
				return nil, fmt.Errorf("%s is larger than any machine's memory", g.ShapeString(s))
			}
			n *= d
		}
	}
	return strides, nil
}

// dense reports whether t's elements lie without gaps in row-major order for all arguments.
func (g *Graph) dense(t *tensor) bool {
	if t.dtype.Block() > 1 {
		return true
	}
	for _, d := range t.shape {
		if g.MaxOf(d) == 0 {
			return true // no elements
		}
	}
	n := t.dtype.BlockBytes()
	for k := len(t.shape) - 1; k >= 0; k-- {
		d := t.shape[k]
		if d.Const() && d.N == 1 {
			continue
		}
		if t.strides[k] != n {
			return false
		}
		if !d.Const() && !outermost(t.shape, k) {
			return false // strided for its capacity
		}
		n *= g.MaxOf(d)
	}
	return true
}

// outermost reports whether every axis before k has size 1.
func outermost(s Shape, k int) bool {
	for _, d := range s[:k] {
		if d != N(1) {
			return false
		}
	}
	return true
}

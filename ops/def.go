package ops

import (
	"fmt"
	"sort"
)

// MaxDims is the largest rank of a tensor.
const MaxDims = 5

// A Def is all the host knows of one operation. Every op has one, in the file of its family.
type Def struct {
	Opcode Opcode
	Name   string // lower case with underscores, as in credence_ops.h

	// Shape proves that the inputs and attributes fit together and returns the outputs' types and shapes. Its errors
	// tell the shapes; the op's name is put in front of them.
	Shape func(c *ShapeCall) ([]TypeShape, error)

	// Strided tells which inputs and in-place tensors may be strided views; the others are made dense on recording.
	// Index: inputs, then inouts. nil: none.
	Strided func(c *ShapeCall, index int) bool

	// InPlace: output 0 may take the memory of input 0 when both have the same layout and the input dies here.
	InPlace bool

	// Grad records the gradient of the inputs, given those of the outputs; nil: no gradient (asking is an error).
	Grad func(c *GradCall)

	// Reference computes the op in float64.
	Reference func(c *RefCall) error

	// Bound gives, for one finished reference call, the largest allowed error of each element of each output and then of
	// each inout, beyond the rounding of the result to its type. eps is that of the arithmetic (2^-24 for float32).
	// Results that must be exact (indices, copies, draws of bits) have the bound 0. The bound must be stated in Doc.
	Bound func(c *RefCall, eps float64) [][]float64

	// Doc is one line: what is computed, its source where it has one, the error bound, NaN and Inf rules.
	Doc string

	// Cases are the op's test cases; an op without any fails the tests.
	Cases func() []Case
}

// TypeShape is the type and shape of an output.
type TypeShape struct {
	DType DType
	Shape Shape
}

// ShapeCall is what a shape rule sees.
type ShapeCall struct {
	g         *Graph
	In, InOut []Tensor
	Ints      []Int
	Floats    []Float
}

// S writes a shape with the arguments' names.
func (c *ShapeCall) S(t Tensor) string { return c.g.ShapeString(t.Shape()) }

// Max is v with its argument at the maximum.
func (c *ShapeCall) Max(v Int) int64 { return c.g.MaxOf(v) }

// floats32 reports an input that is not float32.
func (c *ShapeCall) floats32(ts ...Tensor) error {
	for i, t := range ts {
		if t.DType() != F32 {
			return fmt.Errorf("input %d is %v; float32 is needed", i, t)
		}
	}
	return nil
}

var (
	defsByCode = map[Opcode]*Def{}
	defsByName = map[string]*Def{}
)

// define registers an op; each family's file calls it from init.
func define(d Def) {
	if defsByCode[d.Opcode] != nil || defsByName[d.Name] != nil {
		panic(fmt.Sprintf("ops: %s (%d) is defined twice", d.Name, d.Opcode))
	}
	defsByCode[d.Opcode], defsByName[d.Name] = &d, &d
}

// Defs lists every operation by opcode.
func Defs() []*Def {
	r := make([]*Def, 0, len(defsByCode))
	for _, d := range defsByCode {
		r = append(r, d)
	}
	sort.Slice(r, func(i, j int) bool { return r[i].Opcode < r[j].Opcode })
	return r
}

// DefOf is the definition of an opcode, or nil.
func DefOf(c Opcode) *Def { return defsByCode[c] }

// record appends one operation. ins may end in zero Tensors (absent optional inputs), which are dropped. The caller's
// outputs are the result, in order.
func record(code Opcode, g *Graph, ins, inouts []Tensor, ints []Int, floats []Float) []Tensor {
	return recordNode(code, g, ins, inouts, ints, floats, defsByCode[code].Shape)
}

// recordAs is record for an operation with one output whose shape the caller chooses and has checked.
func recordAs(code Opcode, g *Graph, ins []Tensor, t DType, shape Shape, ints []Int, floats []Float) Tensor {
	return recordNode(code, g, ins, nil, ints, floats, func(*ShapeCall) ([]TypeShape, error) {
		return []TypeShape{{t, shape.clone()}}, nil
	})[0]
}

func recordNode(code Opcode, g *Graph, ins, inouts []Tensor, ints []Int, floats []Float,
	shapes func(*ShapeCall) ([]TypeShape, error)) []Tensor {
	none := make([]Tensor, 4)
	d := defsByCode[code]
	if g == nil {
		return none // an earlier mistake made the inputs zero Tensors; it is kept in their graph
	}
	if g.err != nil {
		return none
	}
	for len(ins) > 0 && !ins[len(ins)-1].Valid() {
		ins = ins[:len(ins)-1]
	}
	for i, t := range append(append([]Tensor(nil), ins...), inouts...) {
		if !g.owns(t) {
			g.failf("%s: tensor %d is missing or of another graph", d.Name, i)
			return none
		}
	}
	call := &ShapeCall{g: g, In: append([]Tensor(nil), ins...), InOut: inouts, Ints: ints, Floats: floats}
	outs, err := shapes(call)
	if err != nil {
		g.Fail(fmt.Errorf("%s: %w", d.Name, err))
		return none
	}
	n := node{def: d, ints: ints, floats: floats}
	for i, t := range call.In {
		if !g.dense(g.t(t)) && (d.Strided == nil || !d.Strided(call, i)) {
			t = Contiguous(t)
		}
		n.in = append(n.in, t.id-1)
	}
	for i, t := range inouts {
		if !g.dense(g.t(t)) && (d.Strided == nil || !d.Strided(call, len(ins)+i)) {
			g.failf("%s: in-place tensor %v is a strided view; it must be dense", d.Name, t)
			return none
		}
		n.inout = append(n.inout, t.id-1)
	}
	var r []Tensor
	for _, o := range outs {
		strides, err := g.denseStrides(o.DType, o.Shape)
		if err != nil {
			g.Fail(fmt.Errorf("%s: %w", d.Name, err))
			return none
		}
		t := g.add(tensor{dtype: o.DType, shape: o.Shape, strides: strides, maker: int32(len(g.nodes))})
		n.out = append(n.out, t.id-1)
		r = append(r, t)
	}
	g.nodes = append(g.nodes, n)
	return r
}

// graphOf is the graph of the first valid tensor.
func graphOf(ts ...Tensor) *Graph {
	for _, t := range ts {
		if t.g != nil {
			return t.g
		}
	}
	return nil
}

package ops

import (
	"fmt"
	"math"
)

// Feed-forward blocks of which few neurons are active: the rows of inactive neurons need not be read, and the result is
// that of reading all, to the bit. The last matrix is stored transposed, a row per neuron, like the others.

// FFNWeights are a block's matrices, of any stored type each, and its biases: all of them or none.
type FFNWeights struct {
	Gate, Up, Down             Tensor // [F, D] each; without Up the block has two matrices
	GateBias, UpBias, DownBias Tensor // [F], [F], [D]
}

// FFNSelection says which neurons stay active besides what the activation itself turns off.
type FFNSelection int64

// The selections; numbers are those of credence_ops.h.
const (
	FFNSelectAll    FFNSelection = 0
	FFNSelectTopK   FFNSelection = 1 // the K largest values of the activation; of equal ones those with the lowest index
	FFNSelectCutoff FFNSelection = 2 // the activation of max(x - mean - Z deviation, 0), mean and deviation of the row
)

// FFNOptions refine SparseFFN. Activation's zero value is the identity.
type FFNOptions struct {
	Activation Activation
	Both       bool // the activation is applied to up as well: dReLU
	Select     FFNSelection
	K          int64
	Z          float64
	// Limit is the share of the neurons, 0 to 1, beyond which all are read. 0 means FFNLimit, a negative number: always
	// all, if any is needed.
	Limit float64
}

// FFNLimit is the share of needed neurons beyond which all are read. One row gains up to nearly 1; a batch loses before
// that, since its dense product is faster per neuron (ci/bench/run sparse, sparse_inputs).
const FFNLimit = .5

// FFNResult is what SparseFFN makes.
type FFNResult struct {
	Y      Tensor // [B, D]
	Hidden Tensor // [B, F]: each neuron's value, 0 where it is inactive: the mask, and with the rows of Down its share of y
	Count  Tensor // i32 [B]: active neurons of each row
	Read   Tensor // i32 [2]: rows of Up and of Down that were read, for all rows of x together; F where all were
}

func init() {
	doc := "A feed-forward block whose inactive neurons are not read. h is exactly 0 where a neuron is inactive; NaN is active, and the largest " +
		"of all. x stays float32, and sums are those of linear and matmul: h within the product's error through activation and selection (either " +
		"side of a threshold is right within it), y within sum |dh down| + 4 sqrt(F) 2^-24 sum |h down|. The bits of y do not depend on which " +
		"rows were read, provided the weights are finite: an infinite weight of an inactive neuron may give NaN."
	define(Def{Opcode: OpSparseFfn, Name: "sparse_ffn", Doc: doc,
		Shape:     func(c *ShapeCall) ([]TypeShape, error) { return ffnShape(c, 2) },
		Reference: ffnReference,
		Bound:     ffnBound,
		Cases:     func() []Case { return withoutGradient(ffnCases(false)) },
	})
	define(Def{Opcode: OpSparseFfnGated, Name: "sparse_ffn_gated", Doc: doc,
		Shape:     func(c *ShapeCall) ([]TypeShape, error) { return ffnShape(c, 3) },
		Reference: ffnReference,
		Bound:     ffnBound,
		Cases:     func() []Case { return withoutGradient(ffnCases(true)) },
	})
}

// ffnShape: x, that many matrices, and none of the biases or all.
func ffnShape(c *ShapeCall, matrices int) ([]TypeShape, error) {
	x, gate := c.In[0], c.In[1]
	if n := len(c.In); n != 1+matrices && n != 1+2*matrices {
		return nil, fmt.Errorf("%d inputs; all biases or none are needed: %d or %d", n, 1+matrices, 1+2*matrices)
	}
	for _, w := range c.In[1 : 1+matrices] {
		if err := checkStored(c, "a weight", w); err != nil {
			return nil, err
		}
		if !w.Shape().Equal(gate.Shape()) {
			return nil, fmt.Errorf("weights are %s and %s; [neurons x width] for all is needed, down transposed", c.S(gate), c.S(w))
		}
	}
	if len(x.Shape()) != 2 || x.DType() != F32 || !x.Dim(1).Equal(gate.Dim(1)) || !gate.Dim(0).Const() {
		return nil, fmt.Errorf("x is %v %s, the weights are %s; float32 [B x D] and [F x D] are needed", x.DType(), c.S(x), c.S(gate))
	}
	for i := 1 + matrices; i < len(c.In); i++ {
		n := gate.Dim(0)
		if i == 2*matrices {
			n = gate.Dim(1)
		}
		if err := checkBias(c, i, n); err != nil {
			return nil, err
		}
	}
	if _, err := activationAttributes(c.Ints[0], c.Floats[0]); err != nil {
		return nil, err
	}
	for _, v := range c.Ints {
		if !v.Const() {
			return nil, fmt.Errorf("an attribute depends on an argument; it must be constant")
		}
	}
	if both, sel, k := c.Ints[1].N, FFNSelection(c.Ints[2].N), c.Ints[3].N; both != 0 && matrices == 2 || sel < FFNSelectAll ||
		sel > FFNSelectCutoff || k < 0 {
		return nil, fmt.Errorf("both %d, selection %d, k %d do not go together in a block of %d matrices", both, sel, k, matrices)
	}
	if z, limit := c.Floats[1].V, c.Floats[2].V; !(math.Abs(z) <= 1e6) || !(limit >= 0 && limit <= 1) {
		return nil, fmt.Errorf("z is %g, the limit %g; a limit from 0 to 1 is needed", z, limit)
	}
	b, f := x.Dim(0), gate.Dim(0)
	return []TypeShape{{F32, x.Shape()}, {F32, Shape{b, f}}, {I32, Shape{b}}, {I32, Dims(2)}}, nil
}

// SparseFFN is a feed-forward block of x [..., D]: with s = select(activation(x Gate' + bias)), either (s (x Up' + bias))
// Down + bias or, without Up, s Down + bias. Count and Read tell what was active and what was read.
func SparseFFN(x Tensor, w FFNWeights, o FFNOptions) FFNResult {
	code, in := OpSparseFfn, []Tensor{w.Gate, w.Down, w.GateBias, w.DownBias}
	if w.Up.Valid() {
		code, in = OpSparseFfnGated, []Tensor{w.Gate, w.Up, w.Down, w.GateBias, w.UpBias, w.DownBias}
	}
	rows, lead := asRows(code, x)
	kind, p := o.Activation.attributes()
	r := record(code, rows.g, append([]Tensor{rows}, in...), nil, []Int{kind, N(int64(indicator(o.Both))), N(int64(o.Select)), N(o.K)},
		[]Float{p, V(o.Z), limitOf(o.Limit)})
	if !r[0].Valid() {
		return FFNResult{}
	}
	return FFNResult{Y: reshapeTo(r[0], x.Shape()), Hidden: reshapeTo(r[1], append(lead.clone(), r[1].Dim(1))), Count: reshapeTo(r[2], lead), Read: r[3]}
}

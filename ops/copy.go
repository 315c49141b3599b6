package ops

import (
	"fmt"
	"math"
)

func init() {
	define(Def{
		Opcode: OpFill, Name: "fill",
		Doc:   "Every element is the value. Exact.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) { panic("ops: fill is recorded by Full") },
		Reference: func(c *RefCall) error {
			for i := range c.Out[0].Data {
				c.Out[0].Data[i] = c.Floats[0]
			}
			return nil
		},
		Grad:  func(c *GradCall) {},
		Bound: exactBound,
		Cases: fillCases,
	})

	define(Def{
		Opcode: OpCopy, Name: "copy",
		Doc: "The same values in another layout or type; to integers: nearest even, saturating, NaN to 0; float overflow to Inf. " +
			"Exact up to the rounding of the new type.",
		Shape:   func(c *ShapeCall) ([]TypeShape, error) { panic("ops: copy is recorded by Cast and Assign") },
		Strided: func(*ShapeCall, int) bool { return true },
		Reference: func(c *RefCall) error {
			copy(c.Out[0].Data, c.In[0].Data)
			return nil
		},
		Grad: func(c *GradCall) {
			if c.In(0).DType() == F32 {
				c.SetIn(0, Cast(c.OutGrad(0), F32))
			}
		},
		Bound: exactBound,
		Cases: copyCases,
	})
}

// Full is a tensor of one value.
func Full(g *Graph, t DType, value float64, shape Shape) Tensor { return FullOf(g, t, V(value), shape) }

// FullOf is a tensor of one value, which may be an argument.
func FullOf(g *Graph, t DType, value Float, shape Shape) Tensor {
	if g == nil || g.err != nil {
		return Tensor{}
	}
	strides, err := g.denseStrides(t, shape)
	if err != nil || t.Block() > 1 {
		return g.failf("fill: cannot make a %v of shape %s (%v)", t, g.ShapeString(shape), err)
	}
	r := g.add(tensor{dtype: t, shape: shape.clone(), strides: strides, maker: int32(len(g.nodes))})
	g.nodes = append(g.nodes, node{def: defsByCode[OpFill], out: []int32{r.id - 1}, floats: []Float{value}})
	return r
}

// empty is memory without contents, to be assigned part by part.
func (g *Graph) empty(t DType, shape Shape) Tensor {
	strides, err := g.denseStrides(t, shape)
	if err != nil {
		return g.failf("%w", err)
	}
	return g.add(tensor{dtype: t, shape: shape.clone(), strides: strides, maker: -1})
}

// Cast is a dense copy of x as another type.
func Cast(x Tensor, t DType) Tensor {
	g := x.g
	if g == nil || g.err != nil {
		return Tensor{}
	}
	if t.Block() > 1 {
		return g.failf("cast: %v cannot be made from %v here; quantise when the model is converted", t, x)
	}
	r := g.empty(t, x.Shape())
	if !r.Valid() {
		return r
	}
	g.t(r).maker = int32(len(g.nodes))
	g.nodes = append(g.nodes, node{def: defsByCode[OpCopy], in: []int32{x.id - 1}, out: []int32{r.id - 1}})
	return r
}

// Assign writes x into dst, a variable or a view, converting its type. x repeats to dst's shape.
func Assign(dst, x Tensor) {
	g := graphOf(dst, x)
	if g == nil || g.err != nil {
		return
	}
	if !g.owns(dst) || !g.owns(x) {
		g.failf("assign: a tensor is missing or of another graph")
		return
	}
	x = BroadcastTo(x, dst.Shape())
	if !x.Valid() {
		return
	}
	if k := g.t(dst).kind; k != kindVariable && k != kindTemp || dst.DType().Block() > 1 {
		g.failf("assign: %v cannot be written", dst)
		return
	}
	g.nodes = append(g.nodes, node{def: defsByCode[OpCopy], in: []int32{x.id - 1}, out: []int32{dst.id - 1}})
}

// Concat joins tensors along an axis (negative: from the innermost); the other dimensions must agree.
func Concat(axis int, xs ...Tensor) Tensor {
	g := graphOf(xs...)
	if g == nil || g.err != nil {
		return Tensor{}
	}
	for _, x := range xs {
		if !g.owns(x) {
			return g.failf("concat: a tensor is missing or of another graph")
		}
	}
	shape := xs[0].Shape().clone()
	if axis < 0 {
		axis += len(shape)
	}
	if axis < 0 || axis >= len(shape) {
		return g.failf("concat: %v has no axis %d", xs[0], axis)
	}
	shape[axis] = N(0)
	for _, x := range xs {
		d := x.Dim(axis)
		if len(x.Shape()) != len(shape) || x.DType() != xs[0].DType() || !x.Shape().With(axis, N(0)).Equal(shape.With(axis, N(0))) {
			return g.failf("concat along axis %d: %v does not fit %v", axis, x, xs[0])
		}
		if !d.Const() {
			return g.failf("concat along axis %d: the size of %v there depends on an argument", axis, x)
		}
		shape[axis].N += d.N
	}
	buf := g.empty(xs[0].DType(), shape)
	if !buf.Valid() {
		return buf
	}
	n := node{view: &viewInfo{kind: viewConcat, axis: axis}}
	at := int64(0)
	for _, x := range xs {
		Assign(Slice(buf, axis, N(at), x.Dim(axis)), x)
		at += x.Dim(axis).N
		n.in = append(n.in, x.id-1)
	}
	if g.err != nil {
		return Tensor{}
	}
	b := *g.t(buf)
	b.maker = int32(len(g.nodes))
	r := g.addView(b, buf.id-1)
	n.out = []int32{r.id - 1}
	g.nodes = append(g.nodes, n)
	return r
}

func fillCases() []Case {
	return []Case{
		{Name: "value", Record: func(c *CaseGraph) []Tensor { return []Tensor{Full(c.Graph, F32, -1.5, Dims(3, 7))} }},
		{Name: "types", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{Full(c.Graph, F16, 0.1, Dims(5)), Full(c.Graph, BF16, 0.1, Dims(5)), Full(c.Graph, I32, 7, Dims(3)),
				Full(c.Graph, F64, 0.1, Dims(2)), Full(c.Graph, I64, -9, Dims(2)), Full(c.Graph, U8, 300, Dims(3))}
		}},
		{Name: "argument", Record: func(c *CaseGraph) []Tensor {
			n, v := c.Int("n", 9, 4), c.Float("v", 2.5)
			return []Tensor{FullOf(c.Graph, F32, v.Of(2), Shape{n.Of(1), N(3)})}
		}},
		{Name: "empty", Record: func(c *CaseGraph) []Tensor { return []Tensor{Full(c.Graph, F32, 1, Dims(0, 4))} }},
		{Name: "large", Bench: true, Record: func(c *CaseGraph) []Tensor { return []Tensor{Full(c.Graph, F32, 1, Dims(1024, 1024))} }},
	}
}

func copyCases() []Case {
	special := []float64{0, math.Copysign(0, -1), 1, -1, math.Inf(1), math.Inf(-1), math.NaN(), 1e-8, 6e-8, 65504, 65520, 1e30, 2.5, 3.5, -2.5, 255.5, 1e10}
	var cases []Case
	for _, to := range []DType{F32, F64, F16, BF16, I32, I64, U8} {
		cases = append(cases, Case{Name: "from f32 to " + to.String(), NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{Cast(c.Values(F32, special, int64(len(special))), to)}
		}})
	}
	for _, from := range []DType{F64, F16, BF16, I32, I64, U8} {
		cases = append(cases, Case{Name: fmt.Sprintf("from %v", from), NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			var r []Tensor
			for _, to := range []DType{F32, F64, F16, BF16, I32, I64, U8} {
				x := c.draw(from, Dims(5, 67), func() float64 { return 40 * c.rand.NormFloat64() })
				r = append(r, Cast(x, to), Cast(Transpose(x), to), Cast(Slice(x, 1, N(3), N(40)), to))
			}
			return r
		}})
	}
	for _, from := range []DType{Q8_0, Q4_0} {
		cases = append(cases, Case{Name: fmt.Sprintf("from %v", from), NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			x := c.NormalOf(from, Dims(3, 5, 320))
			return []Tensor{Cast(x, F32), Cast(x, F16), Cast(x, F64), Cast(Slice(x, 1, N(1), N(3)), F32), Cast(c.NormalOf(from, Dims(64)), BF16),
				Cast(c.NormalOf(from, Dims(3, 0)), F32)}
		}})
	}
	return append(cases,
		Case{Name: "between short types, in whole vectors", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			var r []Tensor
			for _, from := range []DType{F32, F16, BF16} {
				x := c.NormalOf(from, Dims(6, 64))
				for _, to := range []DType{F32, F16, BF16} {
					r = append(r, Cast(x, to), Cast(Slice(x, 1, N(8), N(32)), to))
				}
			}
			return r
		}},
		Case{Name: "dense, with a rest", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			r := []Tensor{Cast(c.Normal(2503), F32)}
			for _, t := range []DType{F16, U8, F64} {
				x := c.NormalOf(t, Dims(2503))
				r = append(r, Cast(x, t), Full(c.Graph, t, 3, Dims(2503)))
			}
			return r
		}},
		Case{Name: "transposed", Record: func(c *CaseGraph) []Tensor { return []Tensor{Contiguous(Transpose(c.Normal(3, 17, 11)))} }},
		Case{Name: "transposed, wider than tiles", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			r := []Tensor{Contiguous(Permute(c.Normal(37, 2, 53), 2, 1, 0)), Contiguous(Transpose(c.Normal(19, 300)))}
			for _, t := range []DType{F16, F64, U8} {
				r = append(r, Contiguous(Transpose(c.NormalOf(t, Dims(21, 35)))))
			}
			return r
		}},
		Case{Name: "sliced", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{Contiguous(Slice(c.Normal(7, 19), 1, N(3), N(11)))}
		}},
		Case{Name: "slice that moves with an argument", Record: func(c *CaseGraph) []Tensor {
			at := c.Int("at", 4, 2)
			return []Tensor{Contiguous(Slice(c.Normal(7, 5), 0, at.Of(1), N(3)))}
		}},
		Case{Name: "concatenated", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{Concat(1, c.Normal(3, 4), c.Normal(3, 1), c.Normal(3, 6)), Concat(0, c.Normal(2, 5), c.Normal(1, 5))}
		}},
		Case{Name: "broadcast", Record: func(c *CaseGraph) []Tensor { return []Tensor{Contiguous(BroadcastTo(c.Normal(5, 1), Dims(3, 5, 7)))} }},
		Case{Name: "permuted, five axes", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{Contiguous(Permute(c.Normal(2, 3, 4, 5, 3), 4, 2, 0, 3, 1))}
		}},
		Case{Name: "scalar and empty", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{Cast(c.Normal(), F32), Cast(c.Normal(0, 3), F32)}
		}},
		Case{Name: "dense, large", Bench: true, NoGradient: true, Record: func(c *CaseGraph) []Tensor { return []Tensor{Cast(c.Normal(1024, 1024), F32)} }},
		Case{Name: "to f16 and back, large", Bench: true, NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{Cast(Cast(c.Normal(1024, 1024), F16), F32)}
		}},
		Case{Name: "transposed, large", Bench: true, NoGradient: true, Record: func(c *CaseGraph) []Tensor { return []Tensor{Contiguous(Transpose(c.Normal(1000, 1024)))} }},
	)
}

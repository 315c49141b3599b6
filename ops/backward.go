package ops

import "fmt"

// Reverse-mode differentiation over the recorded graph (first order): the gradient nodes are appended to the graph
// itself, so that one plan holds the forward and the backward pass and memory is planned over both.

// GradCall is what a gradient rule sees of one node. Rules call SetIn for every input that NeedsGrad.
type GradCall struct {
	g       *Graph
	n       *node
	grads   map[int32]Tensor
	needs   []bool
	results map[int]Tensor
	Ints    []Int
	Floats  []Float
}

// In is input i of the node; the zero Tensor if the optional input is absent.
func (c *GradCall) In(i int) Tensor {
	if i >= len(c.n.in) {
		return Tensor{}
	}
	return Tensor{c.g, c.n.in[i] + 1}
}

// Out is output i of the node.
func (c *GradCall) Out(i int) Tensor { return Tensor{c.g, c.n.out[i] + 1} }

// OutGrad is the gradient of output i; the zero Tensor where nothing depends on it.
func (c *GradCall) OutGrad(i int) Tensor { return c.grads[c.n.out[i]] }

// NeedsGrad reports whether the gradient of input i is wanted.
func (c *GradCall) NeedsGrad(i int) bool { return i < len(c.n.in) && c.needs[c.n.in[i]] }

// SetIn gives the gradient of input i. It must have the input's shape.
func (c *GradCall) SetIn(i int, t Tensor) {
	if !t.Valid() {
		c.g.failf("gradient rule of %s: none for input %d", nodeName(c.n), i) // unless an earlier mistake is known
		return
	}
	c.results[i] = t
}

// Fail reports that the gradient cannot be had.
func (c *GradCall) Fail(format string, a ...any) {
	c.g.failf("gradient of "+c.n.def.Name+": "+format, a...)
}

// Gradients records the gradients of the scalar loss with respect to each tensor of wrt, in order. A tensor that the
// loss does not depend on gets zeros.
func Gradients(loss Tensor, wrt ...Tensor) []Tensor {
	g := loss.g
	none := make([]Tensor, len(wrt))
	if g == nil || g.err != nil {
		return none
	}
	if n, err := loss.Shape().Count(); err != nil || n != N(1) || !loss.DType().Float() {
		g.failf("gradients: the loss must be one real number, not %v", loss)
		return none
	}
	return VectorJacobian([]Tensor{loss}, []Tensor{Full(g, F32, 1, loss.Shape())}, wrt...)
}

// VectorJacobian records sum_i seed_i . d y_i / d wrt_j for each j.
func VectorJacobian(ys, seeds []Tensor, wrt ...Tensor) []Tensor {
	none := make([]Tensor, len(wrt))
	g := graphOf(append(append([]Tensor(nil), ys...), wrt...)...)
	if g == nil || g.err != nil {
		return none
	}
	for _, t := range append(append(append([]Tensor(nil), ys...), seeds...), wrt...) {
		if !g.owns(t) {
			g.failf("gradients: a tensor is missing or of another graph")
			return none
		}
	}
	// which tensors lie between wrt and ys
	needs := make([]bool, len(g.tensors))
	for _, t := range wrt {
		needs[t.id-1] = true
	}
	last := len(g.nodes)
	for i := range g.nodes[:last] {
		n := &g.nodes[i]
		for _, in := range n.in {
			if needs[in] {
				for _, o := range n.out {
					needs[o] = needs[o] || g.tensors[o].dtype.Float()
				}
			}
		}
	}
	grads := map[int32]Tensor{}
	for i, y := range ys {
		g.accumulate(grads, y.id-1, seeds[i])
	}
	for i := last - 1; i >= 0 && g.err == nil; i-- {
		n := g.nodes[i] // a copy: recording appends to g.nodes
		wanted, given := false, false
		for _, in := range n.in {
			wanted = wanted || needs[in]
		}
		for _, o := range n.out {
			_, ok := grads[o]
			given = given || ok
		}
		for _, t := range n.inout {
			if needs[t] {
				g.failf("gradient of %s: %v was changed in place; only what is not differentiated may be", n.def.Name, Tensor{g, t + 1})
				return none
			}
		}
		if !wanted || !given {
			continue
		}
		c := &GradCall{g: g, n: &n, grads: grads, needs: needs, results: map[int]Tensor{}, Ints: n.ints, Floats: n.floats}
		if n.view != nil {
			viewGrad(c)
		} else if n.def.Grad == nil {
			g.failf("gradient of %s: this operation has none", n.def.Name)
		} else {
			n.def.Grad(c)
		}
		if g.err != nil {
			return none
		}
		for k := range n.in {
			if t, ok := c.results[k]; ok && needs[n.in[k]] {
				if !t.Shape().Equal(g.tensors[n.in[k]].shape) {
					g.failf("gradient rule of %s: input %d has shape %s, its gradient %s", nodeName(&n), k,
						g.ShapeString(g.tensors[n.in[k]].shape), g.ShapeString(t.Shape()))
					return none
				}
				g.accumulate(grads, n.in[k], t)
			}
		}
	}
	r := make([]Tensor, len(wrt))
	for i, t := range wrt {
		if d, ok := grads[t.id-1]; ok {
			r[i] = d
		} else {
			r[i] = Full(g, F32, 0, t.Shape())
		}
	}
	return r
}

func nodeName(n *node) string {
	if n.def != nil {
		return n.def.Name
	}
	return "view"
}

func (g *Graph) accumulate(grads map[int32]Tensor, i int32, t Tensor) {
	if old, ok := grads[i]; ok {
		t = Add(old, t)
	}
	grads[i] = t
}

// viewGrad is the gradient of a view.
func viewGrad(c *GradCall) {
	x, dy := c.In(0), c.OutGrad(0)
	switch v := c.n.view; v.kind {
	case viewReshape:
		c.SetIn(0, Reshape(dy, x.Shape()...))
	case viewPermute:
		inverse := make([]int, len(v.perm))
		for k, p := range v.perm {
			inverse[p] = k
		}
		c.SetIn(0, Permute(dy, inverse...))
	case viewBroadcast:
		c.SetIn(0, sumTo(dy, x.Shape()))
	case viewDetach:
	case viewConcat:
		at := int64(0)
		for i := range c.n.in {
			n := c.In(i).Dim(v.axis)
			if c.NeedsGrad(i) {
				c.SetIn(i, Contiguous(Slice(dy, v.axis, N(at), n)))
			}
			at += n.N
		}
	case viewSlice:
		zero := Full(c.g, F32, 0, x.Shape())
		part := Slice(zero, v.axis, v.start, dy.Shape()[v.axis])
		Assign(part, dy)
		c.SetIn(0, zero)
	}
}

// sumTo adds up the axes along which a tensor of the given shape was repeated.
func sumTo(t Tensor, shape Shape) Tensor {
	have := t.Shape()
	lead := len(have) - len(shape)
	var axes []int
	for k := range have {
		if k < lead || (shape[k-lead] == N(1) && have[k] != N(1)) {
			axes = append(axes, k)
		}
	}
	if len(axes) > 0 {
		t = Sum(t, axes...)
	}
	return Reshape(t, shape...)
}

// StoreInto makes the result t lie in variable v: without a copy where t is a fresh dense result, with one otherwise.
func StoreInto(v *Var, t Tensor) {
	g := t.g
	if g == nil || g.err != nil {
		return
	}
	x := g.t(t)
	if !t.Shape().Equal(Dims(v.Dims...)) || t.DType() != v.DType {
		g.Fail(fmt.Errorf("store: %v does not fit variable %s.%s %v%v", t, v.Segment.Name, v.Name, v.DType, v.Dims))
		return
	}
	fresh := x.kind == kindTemp && x.root == t.id-1
	for i := range g.tensors {
		fresh = fresh && (int32(i) == t.id-1 || g.tensors[i].root != t.id-1)
	}
	if _, used := g.vars[v]; fresh && !used {
		g.addSegment(v.Segment)
		x.kind, x.v, x.name = kindVariable, v, v.Segment.Name+"."+v.Name
		g.vars[v] = t.id - 1
		return
	}
	Assign(g.Use(v), t)
}

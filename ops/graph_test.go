package ops

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func evaluateAll(t *testing.T, c *CaseGraph, outs ...Tensor) []*Dense {
	require.NoError(t, c.Err())
	c.Output(outs...)
	l, err := c.SimpleLowering()
	require.NoError(t, err)
	p, err := c.Lower(l)
	require.NoError(t, err)
	r, err := c.Evaluate(p, p.NewMemory(), outs)
	require.NoError(t, err)
	return r
}

func TestMistakesTellShapesAndStick(t *testing.T) {
	mistakes := map[string]func(g *Graph) Tensor{
		"add: shapes [2x3] and [2x4] do not match: sizes 3 and 4 differ and neither is 1": func(g *Graph) Tensor {
			return Add(g.Input("a", F32, Dims(2, 3)), g.Input("b", F32, Dims(2, 4)))
		},
		"reshape: a f32 [2x3] has 6 elements, [4] has 4": func(g *Graph) Tensor {
			return Reshape(g.Input("a", F32, Dims(2, 3)), N(4))
		},
		"slice: elements 2 to 5 of axis 1 do not lie in a f32 [2x3]": func(g *Graph) Tensor {
			return Slice(g.Input("a", F32, Dims(2, 3)), 1, N(2), N(3))
		},
		"permute: [0 0] is not an order of the axes of a f32 [2x3]": func(g *Graph) Tensor {
			return Permute(g.Input("a", F32, Dims(2, 3)), 0, 0)
		},
		"gradients: the loss must be one real number, not a f32 [2x3]": func(g *Graph) Tensor {
			a := g.Input("a", F32, Dims(2, 3))
			return Gradients(a, a)[0]
		},
		"add: input 1 is b i32 [2]; float32 is needed": func(g *Graph) Tensor {
			return Add(g.Input("a", F32, Dims(2)), g.Input("b", I32, Dims(2)))
		},
	}
	for want, make := range mistakes {
		g := NewGraph()
		bad := make(g)
		assert.EqualError(t, g.Err(), want)
		assert.False(t, bad.Valid())
		assert.False(t, Mul(bad, bad).Valid(), "what follows a mistake does nothing")
		assert.EqualError(t, g.Err(), want, "the first mistake stays")
		_, err := g.Roots()
		assert.EqualError(t, err, want)
	}
}

func TestTensorsOfTwoGraphsDoNotMix(t *testing.T) {
	g, h := NewGraph(), NewGraph()
	Add(g.Input("a", F32, Dims(2)), h.Input("b", F32, Dims(2)))
	assert.ErrorContains(t, g.Err(), "of another graph")
}

func TestViewsOfViews(t *testing.T) {
	c := NewCaseGraph(1)
	values := make([]float64, 24)
	for i := range values {
		values[i] = float64(i)
	}
	x := c.Values(F32, values, 2, 3, 4)
	v := Slice(Permute(Slice(x, 1, N(1), N(2)), 2, 0, 1), 0, N(1), N(2)) // [2 of 4, 2, rows 1..2 of 3]
	out := evaluateAll(t, c, Contiguous(v), Reshape(x, N(-1), N(8)))
	assert.Equal(t, []int{2, 2, 2}, out[0].Shape)
	assert.Equal(t, []float64{5, 9, 17, 21, 6, 10, 18, 22}, out[0].Data)
	assert.Equal(t, []int{3, 8}, out[1].Shape)
}

func TestBatchArgumentThroughReshape(t *testing.T) {
	c := NewCaseGraph(1)
	n := c.Int("batch", 8, 3)
	x := c.NormalOf(F32, Shape{n.Of(1), N(4), N(5)})
	flat := Reshape(x, N(-1), N(5))
	assert.Equal(t, "[4*batchx5]", c.ShapeString(flat.Shape()))
	back := Reshape(flat, n.Of(1), N(20))
	out := evaluateAll(t, c, flat, back)
	assert.Equal(t, []int{12, 5}, out[0].Shape)
	assert.Equal(t, []int{3, 20}, out[1].Shape)
	Reshape(x, N(5), n.Of(4))
	assert.ErrorContains(t, c.Err(), "must be outermost")
}

// x used twice, through views and directly: contributions add up.
func TestGradientsAccumulate(t *testing.T) {
	c := NewCaseGraph(1)
	x := c.Values(F32, []float64{1, 2, 3}, 3)
	loss := Sum(Add(Mul(x, x), BroadcastTo(Slice(x, 0, N(1), N(1)), Dims(3))))
	unused := c.Values(F32, []float64{4}, 1)
	d := Gradients(Reshape(loss), x, unused)
	out := evaluateAll(t, c, d...)
	assert.Equal(t, []float64{2, 7, 6}, out[0].Data)
	assert.Equal(t, []float64{0}, out[1].Data)
}

func TestDetachStopsTheGradient(t *testing.T) {
	c := NewCaseGraph(1)
	x := c.Values(F32, []float64{3}, 1)
	d := Gradients(Mul(x, Detach(x)), x)
	assert.Equal(t, []float64{3}, evaluateAll(t, c, d...)[0].Data)
}

func TestSegmentsShareALayout(t *testing.T) {
	s := NewSegment("weights")
	a, b := s.Add("a", F32, 3), s.Add("b", F16, 5)
	twin := s.Like("gradients")
	assert.Equal(t, int64(0), a.Offset)
	assert.Equal(t, int64(Align), b.Offset)
	assert.Equal(t, b.Offset, b.Twin(twin).Offset)
	assert.Same(t, twin, b.Twin(twin).Segment)
	assert.Equal(t, int64(2*Align), s.Bytes())
	_, err := s.AddAt(0, "huge", F32, 1<<40, 1<<40)
	assert.ErrorContains(t, err, "overflows")
}

// StoreInto puts a fresh result straight into the variable, and copies what is a view or stored twice.
func TestStoreInto(t *testing.T) {
	s := NewSegment("out")
	direct, copied, second := s.Add("direct", F32, 2), s.Add("copied", F32, 2), s.Add("second", F32, 2)
	c := NewCaseGraph(1)
	x := c.Values(F32, []float64{1, 2}, 2)
	sum := Add(x, x)
	before := len(c.nodes)
	StoreInto(direct, sum)
	assert.Len(t, c.nodes, before, "no copy")
	StoreInto(copied, x)
	StoreInto(second, sum)
	assert.Len(t, c.nodes, before+2)
	StoreInto(second, c.Values(F32, []float64{1}, 1))
	assert.ErrorContains(t, c.Err(), "does not fit")
}

func TestInPlaceOnlyWhereTheInputDies(t *testing.T) {
	c := NewCaseGraph(1)
	x := c.Normal(4)
	a := Add(x, x) // x is an input: never overwritten
	b := Mul(a, x) // a is read again below
	d := Add(b, a) // b dies here
	e := Mul(d, d) // d is read twice by the same operation
	f := Neg(e)    // e dies here
	c.Output(f)
	roots, err := c.Roots()
	require.NoError(t, err)
	heir := map[int]int{}
	for _, r := range roots {
		heir[r.Index] = r.InPlaceOf
	}
	id := func(t Tensor) int { return int(t.id - 1) }
	assert.Equal(t, map[int]int{id(x): -1, id(a): -1, id(b): -1, id(d): id(b), id(e): -1, id(f): id(e)}, heir)
}

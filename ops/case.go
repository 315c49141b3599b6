package ops

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// A Case is one test of an operation: it records the op through its public function, over inputs with stated values.
// The same cases serve the reference's own tests, the gradient check by finite differences, the compliance suite on
// every device, fault injection and `credence bench ops`.
type Case struct {
	Name   string // within the op: "prime sizes", "strided"
	Record func(c *CaseGraph) []Tensor
	// NoGradient excludes the case from the gradient checks (integers, kinks at the inputs, special values); an op with
	// a gradient needs at least one case without it.
	NoGradient bool
	Bench      bool // large enough to time
}

// CaseGraph makes a case's graph and its input values.
type CaseGraph struct {
	*Graph
	rand   *rand.Rand
	inputs []CaseInput
	ints   []int64
	floats []float64
}

// CaseInput is an input with its values.
type CaseInput struct {
	Tensor         Tensor
	Data           Dense
	Differentiable bool
}

// NewCaseGraph makes the graph for a case; values depend on the seed only.
func NewCaseGraph(seed uint64) *CaseGraph {
	return &CaseGraph{Graph: NewGraph(), rand: rand.New(rand.NewPCG(seed, 0x5eed))}
}

// Inputs lists the case's inputs with their values.
func (c *CaseGraph) Inputs() []CaseInput { return c.inputs }

// Arguments are the values to submit.
func (c *CaseGraph) Arguments() ([]int64, []float64) { return c.ints, c.floats }

// Int declares an integer argument with range 0..max and the value to submit.
func (c *CaseGraph) Int(name string, max, value int64) IntArg {
	c.ints = append(c.ints, value)
	return c.IntArg(name, 0, max)
}

// Float declares a scalar argument with the value to submit.
func (c *CaseGraph) Float(name string, value float64) FloatArg {
	c.floats = append(c.floats, value)
	return c.FloatArg(name)
}

// Values is an input with given values, rounded to its type.
func (c *CaseGraph) Values(t DType, values []float64, dims ...int64) Tensor {
	return c.ValuesShaped(t, values, Dims(dims...))
}

// ValuesShaped is Values for a shape that may depend on arguments; values are for the submitted size.
func (c *CaseGraph) ValuesShaped(t DType, values []float64, shape Shape) Tensor {
	x := c.Input(fmt.Sprintf("in%d", len(c.inputs)), t, shape)
	d := Dense{DType: t, Data: append([]float64(nil), values...)}
	n := int64(1)
	for _, v := range shape.At(c.ints) {
		d.Shape = append(d.Shape, int(v))
		n *= v
	}
	if n != int64(len(values)) {
		c.Fail(fmt.Errorf("case: %d values for shape %v", len(values), d.Shape))
	}
	if t.Block() == 1 {
		var b [8]byte
		for i, v := range d.Data {
			putElement(t, b[:], v)
			d.Data[i] = getElement(t, b[:])
		}
	}
	if row := make([]byte, t.RowBytes(int64(len(d.Data)))); t.Block() > 1 && n%t.Block() == 0 {
		quantizeRow(t, d.Data, row)
		dequantizeRow(t, row, d.Data)
	}
	c.inputs = append(c.inputs, CaseInput{Tensor: x, Data: d, Differentiable: t == F32})
	return x
}

// Normal is a float32 input of standard normal values, rounded to float32.
func (c *CaseGraph) Normal(dims ...int64) Tensor { return c.NormalOf(F32, Dims(dims...)) }

// NormalOf is Normal for another type or a shape with arguments.
func (c *CaseGraph) NormalOf(t DType, shape Shape) Tensor {
	return c.draw(t, shape, c.rand.NormFloat64)
}

// Uniform is a float32 input of values in [lo, hi).
func (c *CaseGraph) Uniform(lo, hi float64, dims ...int64) Tensor {
	return c.draw(F32, Dims(dims...), func() float64 { return lo + (hi-lo)*c.rand.Float64() })
}

// Away is a float32 normal input none of whose values is within gap of 0: for functions with a kink there.
func (c *CaseGraph) Away(gap float64, dims ...int64) Tensor {
	return c.draw(F32, Dims(dims...), func() float64 {
		v := c.rand.NormFloat64()
		return v + math.Copysign(gap, v)
	})
}

// Indices is an int32 input of values in lo .. hi-1.
func (c *CaseGraph) Indices(lo, hi int64, dims ...int64) Tensor {
	return c.draw(I32, Dims(dims...), func() float64 { return float64(lo + c.rand.Int64N(hi-lo)) })
}

func (c *CaseGraph) draw(t DType, shape Shape, f func() float64) Tensor {
	n := int64(1)
	for _, v := range shape.At(c.ints) {
		n *= v
	}
	values := make([]float64, n)
	for i := range values {
		values[i] = f()
	}
	return c.ValuesShaped(t, values, shape)
}

// Frozen marks an input that no gradient is asked for.
func (c *CaseGraph) Frozen(t Tensor) Tensor {
	for i := range c.inputs {
		if c.inputs[i].Tensor == t {
			c.inputs[i].Differentiable = false
		}
	}
	return t
}

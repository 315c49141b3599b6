package ops

import (
	"fmt"
	"strings"
)

// IntArg names an integer argument of a graph (a batch size, a step, a random-number base): 0 is "none", the first
// argument is 1. Its value is given with every submission, within the range it was declared with.
type IntArg int32

// FloatArg names a scalar argument of a graph (a learning rate, a loss weight); 0 is "none", the first is 1.
type FloatArg int32

// Int is an integer attribute or size: N, or N times the argument Arg.
type Int struct {
	N   int64
	Arg IntArg
}

// Float is a scalar attribute: V, or V times the argument Arg.
type Float struct {
	V   float64
	Arg FloatArg
}

// N is a constant integer.
func N(n int64) Int { return Int{N: n} }

// V is a constant scalar.
func V(v float64) Float { return Float{V: v} }

// Of is n times the argument.
func (a IntArg) Of(n int64) Int { return Int{N: n, Arg: a} }

// Of is v times the argument.
func (a FloatArg) Of(v float64) Float { return Float{V: v, Arg: a} }

// Const reports whether the value depends on no argument.
func (v Int) Const() bool { return v.Arg == 0 }

// Times is the product with a constant.
func (v Int) Times(n int64) Int { return Int{N: v.N * n, Arg: v.Arg} }

// At is the value under the given arguments (args[0] is argument 1).
func (v Int) At(args []int64) int64 {
	if v.Arg == 0 {
		return v.N
	}
	return v.N * args[v.Arg-1]
}

// At is the value under the given arguments (args[0] is argument 1).
func (v Float) At(args []float64) float64 {
	if v.Arg == 0 {
		return v.V
	}
	return v.V * args[v.Arg-1]
}

// Shape is a tensor's dimensions, outermost first. Any may be 0; one that depends on an argument is best outermost.
type Shape []Int

// Dims is a shape of constants.
func Dims(n ...int64) Shape {
	s := make(Shape, len(n))
	for i, v := range n {
		s[i] = N(v)
	}
	return s
}

// String is for example "[32 x 10]" or "[12*batch x 10]" with arguments shown as #1, #2 ...
func (s Shape) String() string {
	parts := make([]string, len(s))
	for i, d := range s {
		switch {
		case d.Arg == 0:
			parts[i] = fmt.Sprint(d.N)
		case d.N == 1:
			parts[i] = fmt.Sprintf("#%d", d.Arg)
		default:
			parts[i] = fmt.Sprintf("%d#%d", d.N, d.Arg)
		}
	}
	return "[" + strings.Join(parts, "x") + "]"
}

// Equal reports whether both shapes are the same for all arguments.
func (s Shape) Equal(t Shape) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range s {
		if !s[i].Equal(t[i]) {
			return false
		}
	}
	return true
}

// Equal reports whether both values are the same for all arguments.
func (v Int) Equal(w Int) bool { return v == w || (v.N == 0 && w.N == 0) }

// Count is the number of elements: a product in which at most one dimension may depend on an argument.
func (s Shape) Count() (Int, error) {
	n := N(1)
	for _, d := range s {
		switch {
		case d.Arg == 0:
			n.N *= d.N
		case n.Arg == 0:
			n = Int{N: n.N * d.N, Arg: d.Arg}
		default:
			return Int{}, fmt.Errorf("the size of %v depends on two arguments; one is allowed", s)
		}
	}
	if n.N == 0 {
		n.Arg = 0
	}
	return n, nil
}

// At is the shape under the given arguments.
func (s Shape) At(args []int64) []int64 {
	r := make([]int64, len(s))
	for i, d := range s {
		r[i] = d.At(args)
	}
	return r
}

// With returns the shape with dimension k replaced.
func (s Shape) With(k int, d Int) Shape {
	r := append(Shape(nil), s...)
	r[k] = d
	return r
}

func (s Shape) clone() Shape { return append(Shape(nil), s...) }

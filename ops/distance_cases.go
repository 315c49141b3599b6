package ops

import "math"

// distanceCases run f over the shapes that the ops of this family share. points makes x [n, d] and y [m, d].
func distanceCases(f func(c *CaseGraph, x, y Tensor) []Tensor, points func(c *CaseGraph, n, m, d int64) (x, y Tensor)) []Case {
	sized := func(name string, n, m, d int64) Case {
		return Case{Name: name, Record: func(c *CaseGraph) []Tensor {
			x, y := points(c, n, m, d)
			return f(c, x, y)
		}}
	}
	bench := func(name string, n, m, d int64) Case {
		k := sized(name, n, m, d)
		k.Bench, k.NoGradient = true, true
		return k
	}
	return []Case{
		sized("prime sizes", 13, 7, 17),
		sized("more than a tile", 67, 131, 5),
		sized("long rows", 5, 3, 1000),
		sized("one element", 1, 1, 1),
		sized("one row each", 1, 1, 19),
		sized("one row of x", 1, 131, 12),
		sized("few rows of x", 3, 131, 5),
		sized("no rows of x", 0, 3, 5),
		sized("rows of nothing", 3, 2, 0),
		{Name: "strided rows", Record: func(c *CaseGraph) []Tensor {
			x, y := points(c, 9, 5, 23)
			return f(c, Slice(Concat(1, c.Normal(9, 3), x), 1, N(3), N(23)), Slice(Concat(1, y, c.Normal(5, 4)), 1, N(0), N(23)))
		}},
		{Name: "transposed", Record: func(c *CaseGraph) []Tensor {
			x, y := points(c, 11, 7, 13)
			return f(c, Transpose(Contiguous(Transpose(x))), Transpose(Contiguous(Transpose(y))))
		}},
		{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 9, 4)
			x, y := points(c, 9, 6, 5)
			return f(c, Slice(x, 0, N(0), n.Of(1)), y)
		}},
		{Name: "support argument", Record: func(c *CaseGraph) []Tensor {
			m := c.IntArg("support", 1, 150)
			c.ints = append(c.ints, 137)
			x, y := points(c, 6, 150, 5)
			return f(c, x, Slice(y, 0, N(0), m.Of(1)))
		}},
		bench("large, prototypes", 128, 500, 40),
		bench("large, support", 256, 1024, 1000),
		bench("large, one query", 1, 20000, 256),
	}
}

// pairValues are matrices of one column: the values, and the values in reverse.
func pairValues(c *CaseGraph, values ...float64) (x, y Tensor) {
	n := int64(len(values))
	reverse := make([]float64, n)
	for i, v := range values {
		reverse[len(values)-1-i] = v
	}
	return c.Values(F32, values, n, 1), c.Values(F32, reverse, n, 1)
}

// plainValues have no distances that float32 confuses: none overflows or vanishes.
var plainValues = []float64{0, math.Copysign(0, -1), 1, math.Inf(1), math.Inf(-1), math.NaN(), 1e15, -3, 1e-18, 2.5, math.Inf(1)}

func sqdistCases() []Case {
	f := func(_ *CaseGraph, x, y Tensor) []Tensor { return []Tensor{PairwiseSqdist(x, y)} }
	normal := func(c *CaseGraph, n, m, d int64) (x, y Tensor) { return c.Normal(n, d), c.Normal(m, d) }
	return append(distanceCases(f, normal),
		Case{Name: "no rows of y", Record: func(c *CaseGraph) []Tensor { return f(c, c.Normal(3, 5), c.Normal(0, 5)) }},
		Case{Name: "with itself", Record: func(c *CaseGraph) []Tensor {
			x := c.Normal(9, 21)
			return f(c, x, x)
		}},
		Case{Name: "far from the origin", Record: func(c *CaseGraph) []Tensor {
			return f(c, Affine(c.Normal(5, 1000), 1, 50), Affine(c.Normal(7, 1000), 1, 50))
		}},
		Case{Name: "neighbours far from the origin", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return f(c, Affine(c.Normal(5, 1000), 1e-3, 50), Affine(c.Normal(7, 1000), 1e-3, 50))
		}},
		Case{Name: "rows longer than a block", Record: func(c *CaseGraph) []Tensor { return f(c, c.Normal(3, 4099), c.Normal(2, 4099)) }},
		Case{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			x, y := pairValues(c, append([]float64{3e38, -3e38, 1e-45, -1e-45, 1e-23, 2e19, 65504, 1 + 1.0/(1<<23)}, plainValues...)...)
			return f(c, x, y)
		}})
}

// nearPoints makes rows of y at least 8 apart and rows of x each within a fraction of 1 of one of them, so that the
// nearest row and its order among the others are the same in float32 and float64.
func nearPoints(c *CaseGraph, n, m, d int64) (x, y Tensor) {
	vy, vx := make([]float64, m*d), make([]float64, n*d)
	for j := range m {
		for k := range d {
			vy[j*d+k] = c.rand.NormFloat64()
		}
		if d > 0 {
			vy[j*d] = float64(8 * (j * 5 % m))
		}
	}
	for i := range n {
		for k := range d {
			vx[i*d+k] = vy[(i*3+1)%m*d+k] + .1*c.rand.NormFloat64()/math.Sqrt(float64(d))
		}
	}
	return c.Values(F32, vx, n, d), c.Values(F32, vy, m, d)
}

// lattice makes rows of small whole numbers, whose distances are exact in float32 and often equal.
func lattice(c *CaseGraph, n, m, d int64) (x, y Tensor) {
	draw := func(rows int64) Tensor {
		v := make([]float64, rows*d)
		for i := range v {
			v[i] = float64(c.rand.IntN(5))
		}
		return c.Values(F32, v, rows, d)
	}
	return draw(n), draw(m)
}

func argMinCases() []Case {
	f := func(_ *CaseGraph, x, y Tensor) []Tensor {
		distance, index := PairwiseArgMin(x, y)
		return []Tensor{distance, index}
	}
	return append(distanceCases(f, nearPoints),
		Case{Name: "ties", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			x, y := lattice(c, 70, 150, 3)
			return f(c, x, y)
		}},
		Case{Name: "all equal", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return f(c, c.Normal(5, 7), BroadcastTo(c.Normal(1, 7), Dims(300, 7)))
		}},
		Case{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			x, y := pairValues(c, plainValues...)
			nan := Full(c.Graph, F32, math.NaN(), Dims(70, 1))
			return append(append(f(c, x, y), f(c, x, Concat(0, nan, y))...), f(c, x, nan)...)
		}})
}

func countCases() []Case {
	// The bounds lie around the mean distance on a lattice, 4 D, half-way between whole numbers, which the distances are.
	f := func(c *CaseGraph, x, y Tensor) []Tensor {
		n := x.Dim(0)
		v := make([]float64, c.MaxOf(n))
		for i := range v {
			v[i] = 4*float64(x.Dim(1).N) + float64(i*5%23) - 10.5
		}
		bound := c.Values(F32, v, int64(len(v)))
		return []Tensor{PairwiseCount(x, y, Slice(bound, 0, N(0), n))}
	}
	return append(withoutGradient(distanceCases(f, lattice)),
		Case{Name: "no rows of y", NoGradient: true, Record: func(c *CaseGraph) []Tensor { return f(c, c.Normal(3, 5), c.Normal(0, 5)) }},
		Case{Name: "ties with the bound", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			x, y := lattice(c, 70, 150, 3)
			distance, _ := PairwiseArgMin(x, y)
			return []Tensor{PairwiseCount(x, y, distance), PairwiseCount(x, y, Affine(distance, 1, 1))}
		}},
		Case{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			x, y := pairValues(c, plainValues...)
			inf, nan := math.Inf(1), math.NaN()
			bound := c.Values(F32, []float64{inf, 1e-30, nan, inf, -1, 1, 1, 9, inf, 0, -inf}, 11)
			return []Tensor{PairwiseCount(x, y, bound)}
		}})
}

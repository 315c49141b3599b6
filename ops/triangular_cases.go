package ops

import "math"

// lower is a batch of well-conditioned triangular matrices with NaN above the diagonal, where nothing may look.
func lower(c *CaseGraph, b, d int64) Tensor {
	v := make([]float64, b*d*d)
	for at := range v {
		switch i, j := at/int(d)%int(d), at%int(d); {
		case j > i:
			v[at] = math.NaN()
		case j == i:
			v[at] = math.Copysign(1+c.rand.Float64(), c.rand.NormFloat64())
		default:
			v[at] = c.rand.NormFloat64() / math.Sqrt(float64(d))
		}
	}
	return c.Values(F32, v, b, d, d)
}

func triCases(op func(l, x Tensor, transpose bool) Tensor) []Case {
	f := func(l, x Tensor) []Tensor { return []Tensor{op(l, x, false), op(l, x, true)} }
	sized := func(name string, b, n, d int64) Case {
		return Case{Name: name, Record: func(c *CaseGraph) []Tensor { return f(lower(c, b, d), c.Normal(b, n, d)) }}
	}
	bench := func(name string, b, n, d int64) Case {
		return Case{Name: name, Bench: true, NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{op(lower(c, b, d), c.Normal(b, n, d), false)}
		}}
	}
	return []Case{
		sized("prime sizes", 3, 5, 7),
		sized("more rows than lanes", 2, 37, 19),
		sized("one row", 3, 1, 13),
		sized("one element", 1, 1, 1),
		sized("longer rows", 1, 3, 67),
		sized("large matrices", 2, 3, 150),
		sized("no matrices", 0, 2, 3),
		sized("no rows", 2, 0, 3),
		sized("matrices of nothing", 2, 3, 0),
		{Name: "strided rows", Record: func(c *CaseGraph) []Tensor {
			return f(lower(c, 2, 7), Slice(c.Normal(2, 5, 30), 2, N(3), N(7)))
		}},
		{Name: "batch inside", Record: func(c *CaseGraph) []Tensor { return f(lower(c, 3, 7), Permute(c.Normal(5, 3, 7), 1, 0, 2)) }},
		{Name: "transposed", Record: func(c *CaseGraph) []Tensor { return f(lower(c, 2, 7), Transpose(c.Normal(2, 7, 11))) }},
		{Name: "one matrix for all", Record: func(c *CaseGraph) []Tensor {
			return f(BroadcastTo(lower(c, 1, 5), Dims(3, 5, 5)), c.Normal(3, 4, 5))
		}},
		{Name: "part of a larger matrix", Record: func(c *CaseGraph) []Tensor {
			l := lower(c, 2, 11)
			return f(Slice(Slice(l, 1, N(3), N(7)), 2, N(3), N(7)), c.Normal(2, 5, 7))
		}},
		{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 9, 4)
			return f(lower(c, 2, 5), c.NormalOf(F32, Shape{N(2), n.Of(1), N(5)}))
		}},
		{Name: "number of matrices is an argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("labels", 9, 4)
			return f(Slice(lower(c, 9, 5), 0, N(0), n.Of(1)), c.NormalOf(F32, Shape{n.Of(1), N(1), N(5)}))
		}},
		{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			inf, nan := math.Inf(1), math.NaN()
			// an infinity or NaN must not reach the elements that do not depend on it
			x := c.Values(F32, []float64{1, 2, inf, 3, 4, nan, 1, 2, 1e37, 1e37, 1e37, 1e37, 1e-45, 1e-40, 0, math.Copysign(0, -1)}, 1, 4, 4)
			l := c.Values(F32, []float64{2, nan, nan, nan, -1, .5, nan, nan, .25, 1, 1, nan, 3, -2, .5, 1}, 1, 4, 4)
			return append(f(l, x), f(c.Values(F32, []float64{1, inf, 0, 0}, 1, 2, 2), c.Values(F32, []float64{1, 2}, 1, 1, 2))...)
		}},
		bench("large, prototypes", 10, 128, 40),
		bench("large, one row each", 128, 1, 40),
		bench("large, long rows", 4, 64, 200),
	}
}

func logDetCases(f func(l Tensor) Tensor) []Case {
	sized := func(name string, b, d int64) Case {
		return Case{Name: name, Bench: b > 100, NoGradient: b > 100, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(lower(c, b, d))}
		}}
	}
	return []Case{
		sized("prime sizes", 7, 11),
		sized("one element", 1, 1),
		sized("no matrices", 0, 3),
		sized("matrices of nothing", 2, 0),
		sized("large", 1024, 40),
		{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 9, 4)
			return []Tensor{f(Slice(lower(c, 9, 3), 0, N(0), n.Of(1)))}
		}},
		{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			inf, nan := math.Inf(1), math.NaN()
			return []Tensor{f(c.Values(F32, []float64{0, math.Copysign(0, -1), inf, -inf, nan, 1e-45, 3e38, 1, -1}, 9, 1, 1)),
				f(c.Values(F32, []float64{0, nan, inf, 1, 1, nan, nan, nan}, 2, 2, 2))}
		}},
	}
}

// triangleCases are those of ops that map the elements of square matrices by the side of the diagonal they are on.
func triangleCases(f func(x Tensor) Tensor) []Case {
	sized := func(name string, b, d int64) Case {
		return Case{Name: name, Bench: b > 100, NoGradient: b > 100, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(c.Normal(b, d, d))}
		}}
	}
	return []Case{
		sized("prime sizes", 3, 7),
		sized("one element", 1, 1),
		sized("no matrices", 0, 3),
		sized("matrices of nothing", 2, 0),
		sized("large", 128, 40),
		{Name: "transposed", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(Transpose(c.Normal(2, 5, 5)))} }},
		{Name: "of a result", Record: func(c *CaseGraph) []Tensor { return []Tensor{f(Neg(c.Normal(2, 5, 5)))} }},
		{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 9, 4)
			return []Tensor{f(c.NormalOf(F32, Shape{n.Of(1), N(3), N(3)}))}
		}},
		{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			inf, nan := math.Inf(1), math.NaN()
			v := []float64{inf, -inf, nan, 0, math.Copysign(0, -1), 100, -100, -104, -800, 3e38, -3e38, 1e-45, 16, -16}
			return []Tensor{f(c.Values(F32, v, int64(len(v)), 1, 1)),
				f(c.Values(F32, []float64{nan, inf, nan, -inf, 0, nan, 1, nan, inf}, 1, 3, 3))}
		}},
	}
}

// positive is the symmetric positive definite x x' + D I, so that a gradient through it is one of free parameters.
func positive(c *CaseGraph, b, d int64) Tensor {
	x := c.Normal(b, d, d)
	unit := make([]float32, d*d)
	for i := range d {
		unit[i*d+i] = float32(d)
	}
	return Add(MatMul(x, x, MatMulOptions{TransposeB: true}), c.Const("unit", unit, d, d))
}

func choleskyCases() []Case {
	sized := func(name string, b, d int64, bench bool) Case {
		return Case{Name: name, Bench: bench, NoGradient: bench, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{Cholesky(positive(c, b, d))}
		}}
	}
	return []Case{
		sized("prime sizes", 3, 7, false),
		sized("one element", 1, 1, false),
		sized("larger", 2, 33, false),
		sized("large", 2, 113, false),
		sized("no matrices", 0, 3, false),
		sized("matrices of nothing", 2, 0, false),
		sized("large, prototypes", 10, 40, true),
		sized("large, long rows", 2, 200, true),
		{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 5, 3)
			return []Tensor{Cholesky(Slice(positive(c, 5, 3), 0, N(0), n.Of(1)))}
		}},
		{Name: "upper triangle is not read", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			nan := math.NaN()
			return []Tensor{Cholesky(c.Values(F32, []float64{4, nan, nan, 2, 5, nan, -2, 3, 14}, 1, 3, 3))}
		}},
		{Name: "badly conditioned", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			v := make([]float64, 25) // Hilbert's matrix, condition 5e5
			for i := range v {
				v[i] = 1 / float64(i/5+i%5+1)
			}
			return []Tensor{Cholesky(c.Values(F32, v, 1, 5, 5))}
		}},
		{Name: "extreme magnitudes", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{Cholesky(c.Values(F32, []float64{1e38, 1e-45, 4e-40, 3e38, 1}, 5, 1, 1))}
		}},
	}
}

func choleskyGradCases() []Case {
	sized := func(name string, b, d int64) Case {
		return Case{Name: name, Bench: d >= 40, NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{record(OpCholeskyGrad, c.Graph, []Tensor{lower(c, b, d), c.Normal(b, d, d)}, nil, nil, nil)[0]}
		}}
	}
	return []Case{
		sized("prime sizes", 3, 7),
		sized("one element", 1, 1),
		sized("larger", 2, 33),
		sized("no matrices", 0, 3),
		sized("matrices of nothing", 2, 0),
		sized("large, prototypes", 10, 40),
		{Name: "NaN stays in its matrix", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			nan := math.NaN()
			return []Tensor{record(OpCholeskyGrad, c.Graph, []Tensor{c.Values(F32, []float64{1, 9, 2, 3, 1, 9, 2, 3}, 2, 2, 2),
				c.Values(F32, []float64{1, nan, 2, nan, 1, 9, 2, 3}, 2, 2, 2)}, nil, nil, nil)[0]}
		}},
	}
}

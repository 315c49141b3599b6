package ops

import "math"

// Test cases of the normalisations.

type batchNormCase func(c *CaseGraph, x Tensor, channels int64, act Activation) []Tensor

func trainCase(c *CaseGraph, x Tensor, channels int64, act Activation) []Tensor {
	y, _, _ := BatchNormTrain(x, c.Normal(channels), c.Normal(channels), 1e-3, act)
	return []Tensor{y}
}

func evalCase(c *CaseGraph, x Tensor, channels int64, act Activation) []Tensor {
	return []Tensor{BatchNormEval(x, c.Normal(channels), c.Normal(channels), c.Normal(channels), c.Uniform(.1, 2, channels), 1e-3, act)}
}

func batchNormCases(f batchNormCase) []Case {
	at := func(act Activation, dims ...int64) func(c *CaseGraph) []Tensor {
		return func(c *CaseGraph) []Tensor { return f(c, c.Normal(dims...), dims[len(dims)-1], act) }
	}
	none, leaky := Activation{}, Activation{ActLeakyReLU, .2}
	smooth := Activation{Kind: ActSiLU} // among many elements some lie at a kink, where differences are no gradient
	cases := []Case{
		{Name: "prime sizes", Record: at(none, 37, 13)},
		{Name: "prime sizes, wide", Record: at(none, 11, 67)},
		{Name: "channels of whole vectors", Record: at(none, 23, 32)},
		{Name: "one channel", Record: at(none, 41, 1)},
		{Name: "three channels, four axes", Record: at(leaky, 2, 5, 7, 3)},
		{Name: "one row", Record: at(none, 1, 9)},
		{Name: "more rows than a chunk", Record: at(none, 1500, 17)},
		{Name: "many channels", Record: at(none, 3, 1031)},
		{Name: "many rows, a few channels", Record: at(smooth, 4999, 3)},
		{Name: "many rows, channels of whole vectors", Record: at(smooth, 5003, 8)},
		{Name: "empty", Record: func(c *CaseGraph) []Tensor { return append(at(none, 0, 3)(c), at(none, 3, 0)(c)...) }},
		{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 9, 5)
			return f(c, c.NormalOf(F32, Shape{n.Of(1), N(3), N(2), N(5)}), 5, leaky)
		}},
		{Name: "strided", Record: func(c *CaseGraph) []Tensor { return f(c, Transpose(c.Normal(6, 19)), 6, leaky) }},
		{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			x := c.Values(F32, []float64{1, math.NaN(), math.Inf(1), 2, 1e30, 1e-45, 5, 5, 0, 1, -1e30, 0, 5, 2, math.Copysign(0, -1), math.Inf(-1), 1e29, 0}, 3, 6)
			return f(c, x, 6, leaky)
		}},
		{Name: "large, 32 channels", Bench: true, NoGradient: true, Record: at(leaky, 32768, 32)},
		{Name: "large, 64 channels", Bench: true, NoGradient: true, Record: at(leaky, 2048, 64)},
		{Name: "large, 256 channels", Bench: true, NoGradient: true, Record: at(Activation{Kind: ActReLU}, 2048, 256)},
	}
	for _, act := range testedActivations() {
		cases = append(cases, Case{Name: act.String(), Record: at(act, 19, 11)})
	}
	return append(cases,
		Case{Name: "far from zero", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return f(c, c.Uniform(8192, 8193, 300, 7), 7, none)
		}},
		Case{Name: "first row far from the others", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			v := make([]float64, 700*3)
			for i := range v {
				v[i] = c.rand.NormFloat64()
			}
			v[0], v[1], v[2] = 1e4, -1e5, 0
			return f(c, c.Values(F32, v, 700, 3), 3, none)
		}},
		Case{Name: "constant channel", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			v := make([]float64, 40)
			for i := range v {
				v[i] = 3.7
			}
			return f(c, c.Values(F32, v, 10, 4), 4, none)
		}},
		Case{Name: "statistics", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			y, mean, variance := BatchNormTrain(c.Normal(101, 5), c.Normal(5), c.Normal(5), 1e-3, leaky)
			return []Tensor{y, mean, variance, BatchNormEval(y, c.Normal(5), c.Normal(5), mean, variance, 1e-3, leaky)}
		}},
	)
}

func evalSpecialCases() []Case {
	return []Case{{Name: "special statistics", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
		mean := c.Values(F32, []float64{0, math.NaN(), math.Inf(1), 1e30, 0}, 5)
		variance := c.Values(F32, []float64{0, 1, 1, 1e-45, math.Inf(1)}, 5)
		return []Tensor{BatchNormEval(c.Normal(3, 5), c.Normal(5), c.Normal(5), mean, variance, 1e-3, Activation{})}
	}}}
}

func batchNormGradCases() []Case {
	grad := func(c *CaseGraph, x Tensor, channels int64, act Activation) []Tensor {
		kind, p := act.attributes()
		dy := c.NormalOf(F32, x.Shape())
		in := []Tensor{x, c.Normal(channels), c.Normal(channels), c.Normal(channels), c.Uniform(.1, 2, channels), dy}
		return record(OpBatchNormGrad, c.Graph, in, nil, []Int{kind}, []Float{V(1e-3), p})
	}
	at := func(act Activation, rows, channels int64) func(c *CaseGraph) []Tensor {
		return func(c *CaseGraph) []Tensor { return grad(c, c.Normal(rows, channels), channels, act) }
	}
	none, leaky := Activation{}, Activation{ActLeakyReLU, .2}
	cases := []Case{
		{Name: "prime sizes", Record: at(none, 37, 13)},
		{Name: "prime sizes, wide", Record: at(none, 11, 67)},
		{Name: "channels of whole vectors", Record: at(none, 23, 32)},
		{Name: "one channel", Record: at(none, 41, 1)},
		{Name: "three channels", Record: at(leaky, 70, 3)},
		{Name: "one row", Record: at(none, 1, 9)},
		{Name: "more rows than a chunk", Record: at(leaky, 1500, 17)},
		{Name: "many channels", Record: at(none, 5, 1031)},
		{Name: "no rows", Record: at(none, 0, 3)},
		{Name: "no channels", Record: at(none, 3, 0)},
		{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 9, 5)
			return grad(c, c.NormalOf(F32, Shape{n.Of(6), N(5)}), 5, leaky)
		}},
		{Name: "special values", Record: func(c *CaseGraph) []Tensor {
			x := c.Values(F32, []float64{1, math.NaN(), math.Inf(1), 2, 1e30, 1e-45, 5, 5, 0, 1, -1e30, 0, 5, 2, math.Copysign(0, -1), math.Inf(-1), 1e29, 0}, 3, 6)
			return grad(c, x, 6, Activation{Kind: ActReLU})
		}},
		{Name: "kinks exactly met", Record: func(c *CaseGraph) []Tensor {
			one, zero := c.Values(F32, []float64{1, 1}, 2), c.Values(F32, []float64{0, 0}, 2)
			x := c.Values(F32, []float64{0, 0, 1, -1, 2, -2}, 3, 2)
			return record(OpBatchNormGrad, c.Graph, []Tensor{x, one, zero, zero, one, c.Normal(3, 2)}, nil, []Int{N(int64(ActReLU))}, []Float{V(1e-3), V(0)})
		}},
		{Name: "large, 32 channels", Bench: true, Record: at(leaky, 32768, 32)},
		{Name: "large, 64 channels", Bench: true, Record: at(leaky, 2048, 64)},
		{Name: "large, 256 channels", Bench: true, Record: at(Activation{Kind: ActReLU}, 2048, 256)},
	}
	for _, act := range testedActivations() {
		cases = append(cases, Case{Name: act.String(), Record: at(act, 19, 11)})
	}
	return cases
}

func rowNormCases(f func(x, gamma, beta Tensor) Tensor) []Case {
	at := func(dims ...int64) func(c *CaseGraph) []Tensor {
		n := dims[len(dims)-1]
		return func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(dims...), c.Normal(n), c.Normal(n))} }
	}
	return []Case{
		{Name: "prime sizes", Record: at(7, 37)},
		{Name: "whole vectors", Record: at(5, 64)},
		{Name: "long rows", Record: at(3, 773)},
		{Name: "longer rows", Record: at(2, 1031)},
		{Name: "longer rows of whole vectors", Record: at(2, 4100)},
		{Name: "one row", Record: at(1, 19)},
		{Name: "three axes", Record: at(3, 4, 5)},
		{Name: "one axis", Record: at(23)},
		{Name: "more rows than a chunk", Record: at(2049, 9)},
		{Name: "empty", Record: func(c *CaseGraph) []Tensor { return append(at(0, 3)(c), at(3, 0)(c)...) }},
		{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 9, 5)
			return []Tensor{f(c.NormalOf(F32, Shape{n.Of(2), N(3), N(11)}), c.Normal(11), c.Normal(11))}
		}},
		{Name: "strided", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(Transpose(c.Normal(13, 6)), c.Normal(13), Slice(c.Normal(20), 0, N(3), N(13)))}
		}},
		{Name: "one column", NoGradient: true, Record: at(11, 1)},
		{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			x := c.Values(F32, []float64{1, 2, math.NaN(), 1, math.Inf(1), 2, 0, math.Copysign(0, -1), 0, 1e30, -1e30, 3, 1e-45, 1e-40, 0}, 5, 3)
			return []Tensor{f(x, c.Normal(3), c.Normal(3))}
		}},
		{Name: "large", Bench: true, NoGradient: true, Record: at(1024, 1024)},
		{Name: "one long row", Bench: true, NoGradient: true, Record: at(1, 8192)},
	}
}

func rowNormGradCases(code Opcode) []Case {
	at := func(rows, cols int64) func(c *CaseGraph) []Tensor {
		return func(c *CaseGraph) []Tensor {
			return record(code, c.Graph, []Tensor{c.Normal(rows, cols), c.Normal(cols), c.Normal(rows, cols)}, nil, nil, []Float{V(1e-5)})
		}
	}
	return []Case{
		{Name: "prime sizes", Record: at(7, 37)},
		{Name: "whole vectors", Record: at(5, 64)},
		{Name: "one row", Record: at(1, 19)},
		{Name: "more rows than a chunk", Record: at(2049, 9)},
		{Name: "no rows", Record: at(0, 3)},
		{Name: "no columns", Record: at(3, 0)},
		{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 9, 5)
			s := Shape{n.Of(2), N(11)}
			return record(code, c.Graph, []Tensor{c.NormalOf(F32, s), c.Normal(11), c.NormalOf(F32, s)}, nil, nil, []Float{V(1e-5)})
		}},
		{Name: "special values", Record: func(c *CaseGraph) []Tensor {
			x := c.Values(F32, []float64{1, 2, math.NaN(), 1, math.Inf(1), 2, 0, math.Copysign(0, -1), 0, 1e30, -1e30, 3, 1e-45, 1e-40, 0}, 5, 3)
			return record(code, c.Graph, []Tensor{x, c.Normal(3), c.Normal(5, 3)}, nil, nil, []Float{V(1e-5)})
		}},
		{Name: "large", Bench: true, Record: at(1024, 1024)},
	}
}

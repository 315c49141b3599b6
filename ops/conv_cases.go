package ops

import "math"

// convShapes are placements of every sort: the layers of the Prob-PSENN networks in small, and odd ones.
var convShapes = []convShape{
	{2, 8, 8, 1, 5, 4, 4, 2, 2, 1, 1, 1, 1},      // first layer
	{2, 8, 8, 3, 16, 4, 4, 2, 2, 1, 1, 1, 1},     // halving
	{3, 4, 4, 7, 17, 4, 4, 1, 1, 0, 0, 0, 0},     // kernel covers the picture
	{5, 1, 1, 9, 13, 1, 1, 1, 1, 0, 0, 0, 0},     // one pixel
	{2, 5, 7, 4, 6, 1, 1, 1, 1, 0, 0, 0, 0},      // 1 x 1 kernel
	{2, 7, 5, 3, 4, 3, 3, 1, 1, 1, 1, 1, 1},      // same size
	{1, 11, 13, 2, 3, 5, 3, 3, 2, 2, 1, 0, 3},    // everything odd
	{2, 6, 6, 2, 3, 2, 2, 3, 3, 0, 0, 0, 0},      // stride beyond the kernel: pixels never read
	{1, 3, 3, 2, 2, 5, 5, 1, 1, 4, 4, 4, 4},      // padding larger than the picture
	{1, 9, 9, 33, 35, 3, 3, 2, 2, 1, 1, 1, 1},    // channels beyond a vector
	{2, 4, 5, 1, 1, 2, 3, 1, 2, 0, 1, 1, 0},      // one channel in and out
	{17, 4, 4, 5, 8, 4, 4, 2, 2, 1, 1, 1, 1},     // many small pictures
	{1, 6, 6, 16, 20, 3, 3, 1, 1, 1, 1, 1, 1},    // channels of whole vectors, long sums over few pixels
	{4, 8, 8, 8, 12, 3, 3, 1, 1, 1, 1, 1, 1},     // and middling ones
	{1, 3, 3, 2, 16900, 2, 2, 1, 1, 0, 0, 0, 0},  // a wide result of few pixels
	{1, 35, 35, 36, 4, 3, 3, 17, 17, 0, 0, 0, 0}, // strides that leave most pixels out
}

// benchShapes are the layers of the grey 32 x 32 network at batch 128 (prob-psenn, section 1.7), encoder then decoder.
var benchShapes = []convShape{
	{128, 32, 32, 1, 32, 4, 4, 2, 2, 1, 1, 1, 1},
	{128, 16, 16, 32, 32, 4, 4, 2, 2, 1, 1, 1, 1},
	{128, 8, 8, 32, 64, 4, 4, 2, 2, 1, 1, 1, 1},
	{128, 4, 4, 64, 256, 4, 4, 1, 1, 0, 0, 0, 0},
	{128, 1, 1, 256, 40, 1, 1, 1, 1, 0, 0, 0, 0},
}

// convCases are those of the convolution, or of the transposed one.
func convCases(transposed bool) []Case {
	apply := func(c *CaseGraph, s convShape, n Int, bias bool, act Activation) Tensor {
		b := Tensor{}
		if !transposed {
			o := s.options()
			if bias {
				b = c.Normal(s.f)
			}
			o.Bias, o.Activation = b, act
			return Conv2D(c.NormalOf(F32, Shape{n, N(s.h), N(s.w), N(s.c)}), c.Normal(s.r, s.s, s.c, s.f), o)
		}
		p, q := s.out()
		if bias {
			b = c.Normal(s.c)
		}
		return ConvTranspose2D(c.NormalOf(F32, Shape{n, N(p), N(q), N(s.f)}), c.Normal(s.r, s.s, s.c, s.f), ConvTransposeOptions{
			StrideH: s.sh, StrideW: s.sw, PadTop: s.top, PadBottom: s.bottom, PadLeft: s.left, PadRight: s.right, OutH: s.h, OutW: s.w,
			Bias: b, Activation: act})
	}
	var cases []Case
	for _, s := range convShapes {
		cases = append(cases, Case{Name: s.String(), Record: func(c *CaseGraph) []Tensor {
			return []Tensor{apply(c, s, N(s.b), false, Activation{})}
		}})
	}
	for _, act := range []Activation{{}, {Kind: ActReLU}, {Kind: ActLeakyReLU, P: .2}, {Kind: ActTanh}, {Kind: ActSiLU}, {Kind: ActGELU}} {
		cases = append(cases, Case{Name: "bias and " + act.String(), Record: func(c *CaseGraph) []Tensor {
			return []Tensor{apply(c, convShapes[1], N(2), true, act)}
		}})
	}
	cases = append(cases,
		Case{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 9, 3)
			return []Tensor{apply(c, convShapes[1], n.Of(1), true, Activation{})}
		}},
		Case{Name: "empty batch", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{apply(c, convShapes[1], N(0), true, Activation{})}
		}},
		Case{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			x := c.Values(F32, []float64{1, math.Inf(1), math.NaN(), 0, 3e38, -1, 2, 0, 5}, 1, 3, 3, 1)
			w := c.Values(F32, []float64{1, 2, 3, 4}, 2, 2, 1, 1)
			if transposed {
				return []Tensor{ConvTranspose2D(x, w, ConvTransposeOptions{})}
			}
			return []Tensor{Conv2D(x, w, ConvOptions{})}
		}},
		// the padding's zeros must not meet the weights: infinity times zero is NaN
		Case{Name: "weights not finite, padded", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			w := c.Values(F32, []float64{math.Inf(1), 2, math.NaN(), -1, 1, math.Inf(-1), 3, .5, 1}, 3, 3, 1, 1)
			if transposed {
				return []Tensor{ConvTranspose2D(c.Normal(1, 4, 4, 1), w, ConvTransposeOptions{StrideH: 2, PadTop: 1, PadBottom: 1, PadRight: 1})}
			}
			return []Tensor{Conv2D(c.Normal(1, 4, 4, 1), w, ConvOptions{PadTop: 1, PadBottom: 2, PadLeft: 2, PadRight: 1})}
		}})
	for _, s := range benchShapes {
		cases = append(cases, Case{Name: s.String(), Bench: true, NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{apply(c, s, N(s.b), true, Activation{})}
		}})
	}
	return cases
}

func convGradWeightCases() []Case {
	apply := func(c *CaseGraph, s convShape, n Int) Tensor {
		p, q := s.out()
		o := s.options()
		return record2D(OpConv2dGradWeight, c.NormalOf(F32, Shape{n, N(s.h), N(s.w), N(s.c)}), c.NormalOf(F32, Shape{n, N(p), N(q), N(s.f)}),
			Tensor{}, Dims(s.r, s.s, s.c, s.f), convAttributes(o))
	}
	var cases []Case
	for _, s := range convShapes {
		cases = append(cases, Case{Name: s.String(), Record: func(c *CaseGraph) []Tensor { return []Tensor{apply(c, s, N(s.b))} }})
	}
	cases = append(cases,
		Case{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 9, 3)
			return []Tensor{apply(c, convShapes[1], n.Of(1))}
		}},
		Case{Name: "empty batch", Record: func(c *CaseGraph) []Tensor { return []Tensor{apply(c, convShapes[1], N(0))} }},
		// sums long enough to be cut into several chunks
		Case{Name: "many pixels", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{apply(c, convShape{40, 16, 16, 2, 3, 3, 3, 1, 1, 1, 1, 1, 1}, N(40))}
		}})
	for _, s := range benchShapes {
		cases = append(cases, Case{Name: s.String(), Bench: true, Record: func(c *CaseGraph) []Tensor { return []Tensor{apply(c, s, N(s.b))} }})
	}
	return cases
}

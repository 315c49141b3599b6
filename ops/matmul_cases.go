package ops

import (
	"fmt"
	"math"
)

func matMulCases() []Case {
	var cases []Case
	for _, ta := range []bool{false, true} {
		for _, tb := range []bool{false, true} {
			for _, size := range [][3]int64{{3, 5, 7}, {1, 17, 1}, {17, 1, 13}, {37, 53, 41}, {1, 130, 67}, {65, 33, 97}} {
				cases = append(cases, Case{Name: fmt.Sprintf("%dx%dx%d, transposes %v %v", size[0], size[1], size[2], ta, tb),
					Record: func(c *CaseGraph) []Tensor { return []Tensor{matMulCase(c, size, ta, tb, MatMulOptions{})} }})
			}
		}
	}
	// one whose products are large enough for the path of big matrices, with ragged rows, and a long sum
	for _, size := range [][3]int64{{83, 256, 272}, {5, 2100, 31}, {512, 8, 24}} {
		for _, ta := range []bool{false, true} {
			cases = append(cases, Case{Name: fmt.Sprintf("%dx%dx%d, transposes %v false", size[0], size[1], size[2], ta), NoGradient: true,
				Record: func(c *CaseGraph) []Tensor { return []Tensor{matMulCase(c, size, ta, false, MatMulOptions{})} }})
		}
	}
	for kind := ActNone; kind <= ActReLUSquared; kind++ {
		act := Activation{Kind: kind, P: map[ActivationKind]float64{ActFATReLU: .3, ActShiftedReLU: .2, ActLeakyReLU: .2}[kind]}
		cases = append(cases, Case{Name: "bias, alpha and " + act.String(), Record: func(c *CaseGraph) []Tensor {
			return []Tensor{matMulCase(c, [3]int64{6, 11, 19}, false, false, MatMulOptions{Bias: c.Normal(19), Alpha: -.7, Activation: act})}
		}})
	}
	for _, t := range []DType{F16, BF16} {
		for _, tb := range []bool{false, true} {
			cases = append(cases, Case{Name: fmt.Sprintf("b in %v, transposed %v", t, tb), NoGradient: true, Record: func(c *CaseGraph) []Tensor {
				shape := Dims(29, 43)
				if tb {
					shape = Dims(43, 29)
				}
				return []Tensor{MatMul(c.Normal(3, 29), c.NormalOf(t, shape), MatMulOptions{TransposeB: tb})}
			}})
		}
	}
	inf, nan := math.Inf(1), math.NaN()
	return append(cases,
		Case{Name: "batch", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{MatMul(c.Normal(2, 3, 4, 5), c.Normal(2, 3, 5, 6), MatMulOptions{})}
		}},
		Case{Name: "batch repeats", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{MatMul(c.Normal(3, 4, 5), c.Normal(5, 6), MatMulOptions{}), MatMul(c.Normal(4, 5), c.Normal(3, 2, 5, 6), MatMulOptions{})}
		}},
		Case{Name: "many small products", Record: func(c *CaseGraph) []Tensor {
			o := MatMulOptions{Bias: c.Normal(6), Activation: Activation{Kind: ActTanh}}
			return []Tensor{MatMul(c.Normal(140, 3, 5), c.Normal(140, 5, 6), o)}
		}},
		Case{Name: "batch, long sums and bias", Record: func(c *CaseGraph) []Tensor {
			o := MatMulOptions{Alpha: .5, Activation: Activation{Kind: ActReLU}}
			y := MatMul(c.Normal(2, 3, 300), c.Normal(2, 300, 7), o)
			o.Bias = c.Normal(8)
			return []Tensor{y, MatMul(c.Normal(2, 3, 300), c.Normal(2, 300, 8), o)}
		}},
		Case{Name: "rows repeat", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{MatMul(BroadcastTo(c.Normal(1, 5), Dims(4, 5)), BroadcastTo(c.Normal(1, 6), Dims(5, 6)), MatMulOptions{})}
		}},
		Case{Name: "rows strided", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{MatMul(Slice(c.Normal(7, 30), 1, N(3), N(11)), Slice(c.Normal(11, 20), 1, N(4), N(9)), MatMulOptions{})}
		}},
		Case{Name: "transposed views", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{MatMul(Transpose(c.Normal(11, 7)), Transpose(c.Normal(9, 11)), MatMulOptions{})}
		}},
		Case{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 40, 23)
			return []Tensor{MatMul(c.NormalOf(F32, Shape{n.Of(1), N(13)}), c.Normal(13, 21), MatMulOptions{Bias: c.Normal(21)})}
		}},
		Case{Name: "empty", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{MatMul(c.Normal(0, 3), c.Normal(3, 4), MatMulOptions{}), MatMul(c.Normal(2, 3), c.Normal(3, 0), MatMulOptions{})}
		}},
		Case{Name: "no products", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{MatMul(c.Normal(2, 0), c.Normal(0, 4), MatMulOptions{Bias: c.Normal(4)})}
		}},
		Case{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			a := c.Values(F32, []float64{1, inf, nan, 0, 0, 1, 3e38, 3e38}, 4, 2)
			return []Tensor{MatMul(a, c.Values(F32, []float64{1, 0, 2, 1, -1, 3}, 2, 3), MatMulOptions{})}
		}},
		Case{Name: "512x512x512", Bench: true, NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{MatMul(c.Normal(512, 512), c.Normal(512, 512), MatMulOptions{})}
		}},
		Case{Name: "8192x512x32", Bench: true, NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{MatMul(c.Normal(8192, 512), c.Normal(512, 32), MatMulOptions{})}
		}},
		Case{Name: "1x4096x4096, b transposed", Bench: true, NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{MatMul(c.Normal(1, 4096), c.Normal(4096, 4096), MatMulOptions{TransposeB: true})}
		}},
	)
}

func matMulCase(c *CaseGraph, size [3]int64, ta, tb bool, o MatMulOptions) Tensor {
	m, k, n := size[0], size[1], size[2]
	o.TransposeA, o.TransposeB = ta, tb
	if ta {
		m, k = k, m
	}
	a := c.Normal(m, k)
	if ta {
		m, k = k, m
	}
	if tb {
		k, n = n, k
	}
	return MatMul(a, c.Normal(k, n), o)
}

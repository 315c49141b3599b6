package ops

import (
	"fmt"
	"math"
)

// Bilinear resizing of images [B, H, W, C] as image libraries and the common frameworks define it: pixel centres at half
// coordinates, coordinates beyond the outermost centres clamped, no low-pass filter when shrinking.

const resizeDoc = "Bilinear resizing of [B,H,W,C], pixel centres at half coordinates, edges clamped, no antialiasing: output p samples " +
	"(p + 1/2) H / P - 1/2, clamped to 0 .. H-1, and likewise across. A neighbour of weight 0 is not read. "

func init() {
	define(Def{
		Opcode: OpResizeBilinear, Name: "resize_bilinear", Doc: resizeDoc + "Error up to 6 ulps (of 2^-24) of the weighted sum of magnitudes.",
		Shape: shapeGiven,
		Reference: func(c *RefCall) error {
			return eachSample(c.In[0], c.Out[0], func(x, y int, w float64) { c.Out[0].Data[y] += w * c.In[0].Data[x] })
		},
		Grad: func(c *GradCall) {
			x, dy := c.In(0), c.OutGrad(0)
			c.SetIn(0, recordAs(OpResizeBilinearGrad, c.g, []Tensor{dy}, F32, x.Shape(), nil, nil))
		},
		Bound: func(c *RefCall, eps float64) [][]float64 {
			sum := make([]float64, len(c.Out[0].Data))
			_ = eachSample(c.In[0], c.Out[0], func(x, y int, w float64) { sum[y] += w * math.Abs(c.In[0].Data[x]) })
			return eachBound(c, func(_ *Dense, i int) float64 { return 6 * eps * sum[i] })
		},
		Cases: func() []Case { return resizeCases(ResizeBilinear) },
	})

	define(Def{
		Opcode: OpResizeBilinearGrad, Name: "resize_bilinear_grad",
		Doc: "The transpose of resize_bilinear: each element of dy [B,P,Q,C] is spread over the pixels of dx [B,H,W,C] that it was made of, in " +
			"ascending order. For K terms the error is up to 4 sqrt(K) 2^-24 times the sum of their magnitudes, and 3 ulps for the weights.",
		Shape: shapeGiven,
		Reference: func(c *RefCall) error {
			return eachSample(c.Out[0], c.In[0], func(x, y int, w float64) { c.Out[0].Data[x] += w * c.In[0].Data[y] })
		},
		Grad: func(c *GradCall) {
			dy := c.In(0)
			c.SetIn(0, recordAs(OpResizeBilinear, c.g, []Tensor{c.OutGrad(0)}, F32, dy.Shape(), nil, nil))
		},
		Bound: func(c *RefCall, eps float64) [][]float64 {
			sum, count := make([]float64, len(c.Out[0].Data)), make([]int, len(c.Out[0].Data))
			_ = eachSample(c.Out[0], c.In[0], func(x, y int, w float64) {
				sum[x] += w * math.Abs(c.In[0].Data[y])
				count[x]++
			})
			return eachBound(c, func(_ *Dense, i int) float64 { return productSumBound(count[i], sum[i], eps) + 3*eps*sum[i] })
		},
		Cases: func() []Case {
			return resizeCases(func(dy Tensor, h, w int64) Tensor {
				s := dy.Shape()
				return recordAs(OpResizeBilinearGrad, dy.g, []Tensor{dy}, F32, Shape{s[0], N(h), N(w), s[3]}, nil, nil)
			})
		},
	})
}

func shapeGiven(*ShapeCall) ([]TypeShape, error) {
	return nil, fmt.Errorf("recorded with the shape of its result")
}

// A tap is one of the at most two inputs that an output coordinate is made of.
type tap struct {
	at     int
	weight float64
}

// resizeTaps gives, for each of n outputs along an axis of size inputs, what it is made of.
func resizeTaps(size, n int) [][]tap {
	r := make([][]tap, n)
	for p := range r {
		// ((2p + 1) size - n) / 2n in integers, so that every device finds the same whole part and the same zero rests
		num, den := int64(2*p+1)*int64(size)-int64(n), 2*int64(n)
		num = min(max(num, 0), int64(size-1)*den)
		i, rest := int(num/den), num%den
		if r[p] = []tap{{i, float64(den-rest) / float64(den)}}; rest != 0 {
			r[p] = append(r[p], tap{i + 1, float64(rest) / float64(den)})
		}
	}
	return r
}

// eachSample visits the terms of a resize from the layout of x to that of y, with indices into their data.
func eachSample(x, y *Dense, visit func(x, y int, weight float64)) error {
	b, h, w, ch := x.Dim(0), x.Dim(1), x.Dim(2), x.Dim(3)
	p, q := y.Dim(1), y.Dim(2)
	if p*q == 0 {
		return nil
	}
	rows, cols := resizeTaps(h, p), resizeTaps(w, q)
	for n := range b {
		for i, row := range rows {
			for j, col := range cols {
				for _, ty := range row {
					for _, tx := range col {
						for c := range ch {
							visit(((n*h+ty.at)*w+tx.at)*ch+c, ((n*p+i)*q+j)*ch+c, ty.weight*tx.weight)
						}
					}
				}
			}
		}
	}
	return nil
}

// ResizeBilinear resizes images x [B, H, W, C] to height by width; see the op's Doc for the convention.
func ResizeBilinear(x Tensor, height, width int64) Tensor {
	g := x.g
	if g == nil || g.err != nil {
		return Tensor{}
	}
	s := x.Shape()
	if x.DType() != F32 || len(s) != 4 || !s[1].Const() || !s[2].Const() {
		return g.failf("resize_bilinear: %v; float32 [batch x height x width x channels] with fixed height and width is needed", x)
	}
	if height < 0 || width < 0 || (height*width > 0 && s[1].N*s[2].N == 0) {
		return g.failf("resize_bilinear: %v cannot become %d x %d", x, height, width)
	}
	return recordAs(OpResizeBilinear, g, []Tensor{x}, F32, Shape{s[0], N(height), N(width), s[3]}, nil, nil)
}

func resizeCases(f func(x Tensor, h, w int64) Tensor) []Case {
	at := func(b, h, w, ch, p, q int64) func(c *CaseGraph) []Tensor {
		return func(c *CaseGraph) []Tensor { return []Tensor{f(c.Normal(b, h, w, ch), p, q)} }
	}
	return []Case{
		{Name: "twice the size", Record: at(2, 4, 6, 3, 8, 12)},
		{Name: "half the size", Record: at(2, 8, 6, 5, 4, 3)},
		{Name: "prime sizes, larger", Record: at(2, 5, 7, 3, 13, 11)},
		{Name: "prime sizes, smaller", Record: at(1, 13, 11, 17, 5, 7)},
		{Name: "taller and narrower", Record: at(1, 3, 29, 2, 31, 4)},
		{Name: "same size", Record: at(1, 4, 5, 2, 4, 5)},
		{Name: "from one pixel", Record: at(2, 1, 1, 3, 4, 5)},
		{Name: "to one pixel", Record: at(2, 5, 6, 3, 1, 1)},
		{Name: "many channels", Record: at(1, 3, 3, 67, 5, 2)},
		{Name: "empty", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(c.Normal(0, 2, 3, 4), 5, 6), f(c.Normal(2, 2, 3, 0), 5, 6)}
		}},
		{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 4, 3)
			return []Tensor{f(c.NormalOf(F32, Shape{n.Of(1), N(3), N(4), N(2)}), 5, 3)}
		}},
		{Name: "strided", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(Permute(c.Normal(1, 2, 5, 6), 0, 2, 3, 1), 7, 4)}
		}},
		{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			v := []float64{1, math.Inf(1), 2, 3, math.NaN(), 4, 5, 6, math.Inf(-1), 7, 8, math.Copysign(0, -1), 1e-45, 1e38, 1e38, 9}
			return []Tensor{f(c.Values(F32, v, 1, 4, 4, 1), 4, 4), f(c.Values(F32, v, 1, 4, 4, 1), 2, 4), f(c.Values(F32, v, 1, 2, 2, 4), 3, 5)}
		}},
		{Name: "large, few channels", Bench: true, NoGradient: true, Record: at(16, 128, 128, 3, 224, 224)},
		{Name: "large, many channels", Bench: true, NoGradient: true, Record: at(8, 32, 32, 64, 64, 64)},
	}
}

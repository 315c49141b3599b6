package ops

import (
	"fmt"
	"math"
)

// Convolution of pictures [B, H, W, C] with weights [R, S, C, F], and its two gradients; the gradient with respect to
// the picture is also the transposed convolution.

func init() {
	define(Def{
		Opcode: OpConv2d, Name: "conv2d",
		Doc: "y[b,p,q,f] = act(sum over r, s, c of x[b, p sh + r - top, q sw + s - left, c] w[r,s,c,f] + bias[f]), zeros outside x. Error up to " +
			"4 sqrt(R S C) 2^-24 of the magnitudes of the products, through the activation. NaN and Inf as in IEEE 754 sums; the zeros of the padding " +
			"are no terms of them.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) { panic("ops: conv2d is recorded by Conv2D") },
		Reference: func(c *RefCall) error {
			x, w, y := c.In[0], c.In[1], c.Out[0]
			eachTap(c.Ints, x, w, y, func(i, j, k int) { y.Data[k] += x.Data[i] * w.Data[j] })
			finishConvolution(c)
			return nil
		},
		Bound: func(c *RefCall, eps float64) [][]float64 {
			return convolutionBound(c, c.In[0], c.In[1], c.Out[0], 2, eps)
		},
		Grad: func(c *GradCall) {
			x, w := c.In(0), c.In(1)
			dy := convolutionSeed(c, func() Tensor { return record2D(OpConv2d, x, w, c.In(2), c.Out(0).Shape(), noActivation(c.Ints)) })
			if c.NeedsGrad(0) {
				c.SetIn(0, record2D(OpConv2dGradInput, dy, w, Tensor{}, x.Shape(), noActivation(c.Ints)))
			}
			if c.NeedsGrad(1) {
				c.SetIn(1, record2D(OpConv2dGradWeight, x, dy, Tensor{}, w.Shape(), noActivation(c.Ints)))
			}
			if c.NeedsGrad(2) {
				c.SetIn(2, Reshape(Sum(dy, 0, 1, 2), c.In(2).Shape()...))
			}
		},
		Cases: func() []Case { return convCases(false) },
	})

	define(Def{
		Opcode: OpConv2dGradInput, Name: "conv2d_grad_input",
		Doc: "x[b,h,w,c] = act(sum over all p, q, r, s, f with p sh + r - top = h and q sw + s - left = w of y[b,p,q,f] w[r,s,c,f] + bias[c]). Error " +
			"up to 4 sqrt(R S F) 2^-24 of the magnitudes of the products, through the activation. NaN and Inf as in IEEE 754 sums.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			panic("ops: conv2d_grad_input is recorded by ConvTranspose2D")
		},
		Reference: func(c *RefCall) error {
			y, w, x := c.In[0], c.In[1], c.Out[0]
			eachTap(c.Ints, x, w, y, func(i, j, k int) { x.Data[i] += y.Data[k] * w.Data[j] })
			finishConvolution(c)
			return nil
		},
		Bound: func(c *RefCall, eps float64) [][]float64 {
			return convolutionBound(c, c.Out[0], c.In[1], c.In[0], 0, eps)
		},
		Grad: func(c *GradCall) {
			y, w := c.In(0), c.In(1)
			dx := convolutionSeed(c, func() Tensor {
				return record2D(OpConv2dGradInput, y, w, c.In(2), c.Out(0).Shape(), noActivation(c.Ints))
			})
			if c.NeedsGrad(0) {
				c.SetIn(0, record2D(OpConv2d, dx, w, Tensor{}, y.Shape(), noActivation(c.Ints)))
			}
			if c.NeedsGrad(1) {
				c.SetIn(1, record2D(OpConv2dGradWeight, dx, y, Tensor{}, w.Shape(), noActivation(c.Ints)))
			}
			if c.NeedsGrad(2) {
				c.SetIn(2, Reshape(Sum(dx, 0, 1, 2), c.In(2).Shape()...))
			}
		},
		Cases: func() []Case { return convCases(true) },
	})

	define(Def{
		Opcode: OpConv2dGradWeight, Name: "conv2d_grad_weight",
		Doc: "dw[r,s,c,f] = sum over b, p, q of x[b, p sh + r - top, q sw + s - left, c] dy[b,p,q,f]. Error up to 4 sqrt(B P Q) 2^-24 of the " +
			"magnitudes of the products. NaN and Inf as in IEEE 754 sums; a dy that is not finite may meet the zeros of the padding and give NaN.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) { panic("ops: conv2d_grad_weight is recorded by a gradient") },
		Reference: func(c *RefCall) error {
			x, y, w := c.In[0], c.In[1], c.Out[0]
			eachTap(c.Ints, x, w, y, func(i, j, k int) { w.Data[j] += x.Data[i] * y.Data[k] })
			return nil
		},
		Bound: func(c *RefCall, eps float64) [][]float64 {
			return convolutionBound(c, c.In[0], c.Out[0], c.In[1], 1, eps)
		},
		Grad: func(c *GradCall) { // linear in x and in dy
			x, dy, v := c.In(0), c.In(1), c.OutGrad(0)
			if c.NeedsGrad(0) {
				c.SetIn(0, record2D(OpConv2dGradInput, dy, v, Tensor{}, x.Shape(), noActivation(c.Ints)))
			}
			if c.NeedsGrad(1) {
				c.SetIn(1, record2D(OpConv2d, x, v, Tensor{}, dy.Shape(), noActivation(c.Ints)))
			}
		},
		Cases: convGradWeightCases,
	})
}

// ConvOptions place a kernel on a picture; strides of 0 mean 1.
type ConvOptions struct {
	StrideH, StrideW                     int64
	PadTop, PadBottom, PadLeft, PadRight int64
	Bias                                 Tensor // [F]; the zero Tensor: none
	Activation                           Activation
}

// Conv2D convolves pictures x [B, H, W, C] with w [R, S, C, F]: [B, P, Q, F] with P = (H + PadTop + PadBottom - R) /
// StrideH + 1, rounded down.
func Conv2D(x, w Tensor, o ConvOptions) Tensor {
	g := graphOf(x, w)
	if g == nil || g.err != nil {
		return Tensor{}
	}
	o.StrideH, o.StrideW = max(o.StrideH, 1), max(o.StrideW, 1)
	h, width, r, s, ok := convSizes(x, w, 2)
	if !ok {
		return g.failf("conv2d: x is %v, w is %v; float32 [batch x height x width x C] and [R x S x C x F] with fixed sizes are needed", x, w)
	}
	if min(o.PadTop, o.PadBottom, o.PadLeft, o.PadRight) < 0 {
		return g.failf("conv2d: padding %d %d %d %d; none may be negative", o.PadTop, o.PadBottom, o.PadLeft, o.PadRight)
	}
	p, q := (h+o.PadTop+o.PadBottom-r)/o.StrideH+1, (width+o.PadLeft+o.PadRight-s)/o.StrideW+1
	if r < 1 || s < 1 || h+o.PadTop+o.PadBottom < r || width+o.PadLeft+o.PadRight < s {
		return g.failf("conv2d: a kernel of %d x %d does not fit %v padded by %d %d %d %d", r, s, x, o.PadTop, o.PadBottom, o.PadLeft, o.PadRight)
	}
	return record2D(OpConv2d, x, w, o.Bias, Shape{x.Dim(0), N(p), N(q), w.Dim(3)}, convAttributes(o))
}

// ConvTransposeOptions place a kernel on the result of a transposed convolution; OutH and OutW of 0 mean the least size,
// (P - 1) StrideH + R - PadTop - PadBottom.
type ConvTransposeOptions struct {
	StrideH, StrideW                     int64
	PadTop, PadBottom, PadLeft, PadRight int64
	OutH, OutW                           int64
	Bias                                 Tensor // [C]; the zero Tensor: none
	Activation                           Activation
}

// ConvTranspose2D is the transposed convolution of y [B, P, Q, F] with w [R, S, C, F]: [B, H, W, C], every element of y
// adding its multiple of the kernel to the result.
func ConvTranspose2D(y, w Tensor, o ConvTransposeOptions) Tensor {
	g := graphOf(y, w)
	if g == nil || g.err != nil {
		return Tensor{}
	}
	o.StrideH, o.StrideW = max(o.StrideH, 1), max(o.StrideW, 1)
	p, q, r, s, ok := convSizes(y, w, 3)
	if !ok || p < 1 || q < 1 || r < 1 || s < 1 {
		return g.failf("transposed conv2d: y is %v, w is %v; float32 [batch x height x width x F] and [R x S x C x F] with fixed sizes are needed", y, w)
	}
	if o.OutH == 0 {
		o.OutH = (p-1)*o.StrideH + r - o.PadTop - o.PadBottom
	}
	if o.OutW == 0 {
		o.OutW = (q-1)*o.StrideW + s - o.PadLeft - o.PadRight
	}
	// the convolution back must give p x q
	if min(o.PadTop, o.PadBottom, o.PadLeft, o.PadRight, o.OutH-1, o.OutW-1) < 0 ||
		(o.OutH+o.PadTop+o.PadBottom-r)/o.StrideH+1 != p || (o.OutW+o.PadLeft+o.PadRight-s)/o.StrideW+1 != q {
		return g.failf("transposed conv2d: y is %v, w is %v; a result of %d x %d does not fit strides %d %d and padding %d %d %d %d", y, w,
			o.OutH, o.OutW, o.StrideH, o.StrideW, o.PadTop, o.PadBottom, o.PadLeft, o.PadRight)
	}
	return record2D(OpConv2dGradInput, y, w, o.Bias, Shape{y.Dim(0), N(o.OutH), N(o.OutW), w.Dim(2)},
		convAttributes(ConvOptions{StrideH: o.StrideH, StrideW: o.StrideW, PadTop: o.PadTop, PadLeft: o.PadLeft, Activation: o.Activation}))
}

// convSizes are the height and width of a picture and of a kernel; channel is the kernel's axis that must match.
func convSizes(x, w Tensor, channel int) (h, width, r, s int64, ok bool) {
	a, b := x.Shape(), w.Shape()
	if len(a) != 4 || len(b) != 4 || x.DType() != F32 || w.DType() != F32 || !a[3].Equal(b[channel]) {
		return 0, 0, 0, 0, false
	}
	for _, d := range append(a[1:].clone(), b...) {
		if !d.Const() {
			return 0, 0, 0, 0, false
		}
	}
	return a[1].N, a[2].N, b[0].N, b[1].N, true
}

// attributes2D are the integer attributes of the three operations, and the activation's parameter.
type attributes2D struct {
	ints   []Int
	floats []Float
}

func convAttributes(o ConvOptions) attributes2D {
	return attributes2D{[]Int{N(o.StrideH), N(o.StrideW), N(o.PadTop), N(o.PadLeft), N(int64(o.Activation.Kind))}, []Float{V(o.Activation.P)}}
}

// noActivation are the attributes of the same placement without an activation.
func noActivation(ints []Int) attributes2D {
	return attributes2D{append(append([]Int(nil), ints[:4]...), N(int64(ActNone))), []Float{V(0)}}
}

func record2D(code Opcode, a, b, bias Tensor, shape Shape, at attributes2D) Tensor {
	g := graphOf(a, b)
	if g == nil || g.err != nil {
		return Tensor{}
	}
	if _, err := activationAttributes(at.ints[4], at.floats[0]); err != nil {
		return g.failf("%s: %w", defsByCode[code].Name, err)
	}
	if bias.Valid() && (bias.DType() != F32 || !bias.Shape().Equal(Shape{shape[3]})) {
		return g.failf("%s: bias is %v; float32 [%s] is needed", defsByCode[code].Name, bias, g.sizeString(shape[3]))
	}
	return recordAs(code, g, []Tensor{a, b, bias}, F32, shape, at.ints, at.floats)
}

// convolutionSeed is the gradient of a convolution's sum, before its activation.
func convolutionSeed(c *GradCall, sum func() Tensor) Tensor {
	act := Activation{ActivationKind(c.Ints[4].N), c.Floats[0].V}
	switch {
	case act.Kind == ActNone:
		return c.OutGrad(0)
	case act.GradFromOutput():
		return ActivationGradFromOutput(c.Out(0), c.OutGrad(0), act)
	default: // the sum was not kept: it is computed again
		return ActivationGrad(sum(), c.OutGrad(0), act)
	}
}

// eachTap visits the products of a convolution with the indices of their elements in x, w and y.
func eachTap(ints []int64, x, w, y *Dense, visit func(x, w, y int)) {
	sh, sw, top, left := int(ints[0]), int(ints[1]), int(ints[2]), int(ints[3])
	h, width, ch := x.Dim(1), x.Dim(2), x.Dim(3)
	p, q, f := y.Dim(1), y.Dim(2), y.Dim(3)
	for b := range y.Dim(0) {
		for i := range p {
			for j := range q {
				for r := range w.Dim(0) {
					row := i*sh + r - top
					if row < 0 || row >= h {
						continue
					}
					for s := range w.Dim(1) {
						col := j*sw + s - left
						if col < 0 || col >= width {
							continue
						}
						at, to := ((b*h+row)*width+col)*ch, ((b*p+i)*q+j)*f
						from := (r*w.Dim(1) + s) * ch * f
						for c := range ch {
							for k := range f {
								visit(at+c, from+c*f+k, to+k)
							}
						}
					}
				}
			}
		}
	}
}

// finishConvolution adds the bias and applies the activation.
func finishConvolution(c *RefCall) {
	act, out := Activation{ActivationKind(c.Ints[4]), c.Floats[0]}, c.Out[0]
	n := out.Dim(3)
	for i := range out.Data {
		if c.HasIn(2) {
			out.Data[i] += c.In[2].Data[i%n]
		}
		out.Data[i] = act.Apply(out.Data[i])
	}
}

// convolutionBound sums the magnitudes of the products of each result: of y (result 2), x (0) or w (1).
func convolutionBound(c *RefCall, x, w, y *Dense, result int, eps float64) [][]float64 {
	out := []*Dense{x, w, y}[result]
	n := out.Dim(3)
	terms, sums, counts := make([]float64, len(out.Data)), make([]float64, len(out.Data)), make([]int, len(out.Data))
	eachTap(c.Ints, x, w, y, func(i, j, k int) {
		at := [3]int{i, j, k}
		v := 1.0
		for other, d := range []*Dense{x, w, y} {
			if other != result {
				v *= d.Data[at[other]]
			}
		}
		terms[at[result]] += math.Abs(v)
		sums[at[result]] += v
		counts[at[result]]++
	})
	act := Activation{ActivationKind(c.Ints[4]), c.Floats[0]}
	for i := range terms {
		if c.HasIn(2) && result != 1 {
			terms[i] += math.Abs(c.In[2].Data[i%n])
			sums[i] += c.In[2].Data[i%n]
		}
		terms[i] = activationBound(act, sums[i], productSumBound(counts[i]+1, terms[i], eps), eps)
	}
	return [][]float64{terms}
}

// A convShape is one placement to test.
type convShape struct{ b, h, w, c, f, r, s, sh, sw, top, bottom, left, right int64 }

func (s convShape) String() string {
	return fmt.Sprintf("%dx%dx%dx%d by %dx%d to %d, stride %d %d, padding %d %d %d %d", s.b, s.h, s.w, s.c, s.r, s.s, s.f, s.sh, s.sw, s.top, s.bottom, s.left, s.right)
}

func (s convShape) options() ConvOptions {
	return ConvOptions{StrideH: s.sh, StrideW: s.sw, PadTop: s.top, PadBottom: s.bottom, PadLeft: s.left, PadRight: s.right}
}

// out is the size of the convolution's result.
func (s convShape) out() (p, q int64) {
	return (s.h+s.top+s.bottom-s.r)/s.sh + 1, (s.w+s.left+s.right-s.s)/s.sw + 1
}

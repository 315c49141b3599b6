package ops

import (
	"fmt"
	"math"
)

func init() {
	define(Def{
		Opcode: OpMatmul, Name: "matmul",
		Doc: "y = act(alpha a b + bias) over matrices [M,K] and [K,N], either stored transposed, for every batch index. Each element is one sum " +
			"of K products: error up to 4 sqrt(K) 2^-24 sum |alpha a b|, through the activation. NaN and Inf as in IEEE 754 sums; K = 0 gives act(bias).",
		Shape:     matMulShape,
		Strided:   matMulStrided,
		Reference: matMulReference,
		Bound:     matMulBound,
		Grad:      matMulGrad,
		Cases:     matMulCases,
	})
}

// MatMulOptions refine MatMul; the zero value is the plain product.
type MatMulOptions struct {
	TransposeA, TransposeB bool       // the operand is stored [K,M] or [N,K]
	Bias                   Tensor     // [N], added to every row; the zero Tensor: none
	Alpha                  float64    // factor of the product; 0 means 1
	Activation             Activation // of the sum; the zero value: none
}

// MatMul is act(alpha a b + bias) for a [..., M, K] and b [..., K, N]: [..., M, N]. Up to three batch axes repeat to a
// common shape; b may be float16 or bfloat16.
func MatMul(a, b Tensor, o MatMulOptions) Tensor {
	g := graphOf(a, b)
	if g == nil || g.err != nil {
		return Tensor{}
	}
	if len(a.Shape()) < 2 || len(b.Shape()) < 2 {
		return g.failf("matmul: a is %v, b is %v: both need at least two axes", a, b)
	}
	if o.Alpha == 0 {
		o.Alpha = 1
	}
	a, o.TransposeA = untransposed(a, o.TransposeA)
	b, o.TransposeB = untransposed(b, o.TransposeB)
	if rows, ok := joinRows(a, b, o); ok { // one product instead of a batch with the same b: so is its gradient
		y := MatMul(rows, b, o)
		return Reshape(y, append(a.Shape()[:len(a.Shape())-1].clone(), y.Dim(-1))...)
	}
	lead := func(t Tensor) Shape { return t.Shape()[:len(t.Shape())-2] }
	batch, err := g.broadcastShape(lead(a), lead(b))
	if err != nil {
		return g.failf("matmul: batch axes of %v and %v: %w", a, b, err)
	}
	repeat := func(t Tensor) Tensor {
		return BroadcastTo(t, append(batch.clone(), t.Shape()[len(t.Shape())-2:]...))
	}
	flag := func(b bool) Int { return N(int64(indicator(b))) }
	return record(OpMatmul, g, []Tensor{repeat(a), repeat(b), o.Bias}, nil,
		[]Int{flag(o.TransposeA), flag(o.TransposeB), N(int64(o.Activation.Kind))}, []Float{V(o.Alpha), V(o.Activation.P)})[0]
}

// untransposed turns a transposed view back and the flag with it: the operation wants the elements of a row side by side,
// and would have to copy the view otherwise.
func untransposed(t Tensor, transposed bool) (Tensor, bool) {
	v := t.g.t(t)
	last, size := len(v.shape)-1, v.dtype.BlockBytes()
	if v.dtype.Block() > 1 || v.strides[last] == size || v.strides[last-1] != size || v.shape[last] == N(1) {
		return t, transposed
	}
	return Transpose(t), !transposed
}

// joinRows views a batch a [..., M, K] as one matrix where b is one.
func joinRows(a, b Tensor, o MatMulOptions) (Tensor, bool) {
	s := a.Shape()
	if len(s) < 3 || len(b.Shape()) != 2 || o.TransposeA || !a.g.dense(a.g.t(a)) {
		return a, false
	}
	for _, d := range append(s[1:].clone(), b.Shape()...) {
		if !d.Const() {
			return a, false
		}
	}
	rows, err := s[:len(s)-1].Count()
	if err != nil || rows == N(0) || s[len(s)-1] == N(0) {
		return a, false
	}
	return Reshape(a, rows, s[len(s)-1]), true
}

// matMulSizes are M, K and N by the operands' shapes; K of a and of b.
func matMulSizes(a, b Shape, ta, tb bool) (m, ka, kb, n Int) {
	m, ka = a[len(a)-2], a[len(a)-1]
	kb, n = b[len(b)-2], b[len(b)-1]
	if ta {
		m, ka = ka, m
	}
	if tb {
		kb, n = n, kb
	}
	return m, ka, kb, n
}

func matMulShape(c *ShapeCall) ([]TypeShape, error) {
	a, b := c.In[0], c.In[1]
	if err := c.floats32(a); err != nil {
		return nil, err
	}
	if t := b.DType(); t != F32 && t != F16 && t != BF16 {
		return nil, fmt.Errorf("b is %v; float32, float16 or bfloat16 is needed", t)
	}
	rank := len(a.Shape())
	if rank > MaxDims {
		return nil, fmt.Errorf("a is %s: at most three batch axes", c.S(a))
	}
	m, ka, kb, n := matMulSizes(a.Shape(), b.Shape(), c.Ints[0].N == 1, c.Ints[1].N == 1)
	if !ka.Equal(kb) {
		return nil, fmt.Errorf("a is %s, b is %s: inner sizes %s and %s differ", c.S(a), c.S(b), c.g.sizeString(ka), c.g.sizeString(kb))
	}
	if len(c.In) > 2 {
		if err := c.floats32(c.In[2]); err != nil {
			return nil, err
		}
		if !c.In[2].Shape().Equal(Shape{n}) {
			return nil, fmt.Errorf("bias is %s; [%s] is needed", c.S(c.In[2]), c.g.sizeString(n))
		}
	}
	if _, err := activationAttributes(c.Ints[2], c.Floats[1]); err != nil {
		return nil, err
	}
	return []TypeShape{{F32, append(a.Shape()[:rank-2].clone(), m, n)}}, nil
}

// matMulStrided admits views whose rows are made of adjacent elements.
func matMulStrided(c *ShapeCall, i int) bool {
	if i > 1 {
		return false
	}
	t := c.g.t(c.In[i])
	last := len(t.shape) - 1
	return t.strides[last] == t.dtype.BlockBytes() || t.shape[last] == N(1)
}

// eachProduct visits the batch of a product: offsets of the matrices in the dense operands and the result.
func eachProduct(c *RefCall, visit func(a, b, y []float64, m, k, n int)) {
	a, b, y := c.In[0], c.In[1], c.Out[0]
	m, n := y.Dim(-2), y.Dim(-1)
	k := a.Dim(-1)
	if c.Ints[0] == 1 {
		k = a.Dim(-2)
	}
	batch := 1
	for _, d := range y.Shape[:len(y.Shape)-2] {
		batch *= d
	}
	for i := range batch {
		visit(a.Data[i*m*k:(i+1)*m*k], b.Data[i*k*n:(i+1)*k*n], y.Data[i*m*n:(i+1)*m*n], m, k, n)
	}
}

// multiply adds alpha a b to y, or the magnitudes of its terms.
func multiply(c *RefCall, a, b, y []float64, m, k, n int, magnitude bool) {
	alpha := c.Floats[0]
	if magnitude {
		alpha = math.Abs(alpha)
	}
	for i := range m {
		for l := range k {
			x := 0.0
			if c.Ints[0] == 1 {
				x = a[l*m+i]
			} else {
				x = a[i*k+l]
			}
			if magnitude {
				x = math.Abs(x)
			}
			row := y[i*n : (i+1)*n]
			for j := range row {
				v := 0.0
				if c.Ints[1] == 1 {
					v = b[j*k+l]
				} else {
					v = b[l*n+j]
				}
				if magnitude {
					v = math.Abs(v)
				}
				row[j] += alpha * (x * v)
			}
		}
	}
}

func matMulReference(c *RefCall) error {
	act := Activation{ActivationKind(c.Ints[2]), c.Floats[1]}
	eachProduct(c, func(a, b, y []float64, m, k, n int) {
		multiply(c, a, b, y, m, k, n, false)
		for i := range y {
			if c.HasIn(2) {
				y[i] += c.In[2].Data[i%n]
			}
			y[i] = act.Apply(y[i])
		}
	})
	return nil
}

func matMulBound(c *RefCall, eps float64) [][]float64 {
	// the products once more: the sum before the activation, and its terms' magnitudes
	bound := make([]float64, 0, len(c.Out[0].Data))
	act := Activation{ActivationKind(c.Ints[2]), c.Floats[1]}
	eachProduct(c, func(a, b, y []float64, m, k, n int) {
		terms, sums := make([]float64, m*n), make([]float64, m*n)
		multiply(c, a, b, terms, m, k, n, true)
		multiply(c, a, b, sums, m, k, n, false)
		for i := range terms {
			if c.HasIn(2) {
				terms[i] += math.Abs(c.In[2].Data[i%n])
				sums[i] += c.In[2].Data[i%n]
			}
			bound = append(bound, activationBound(act, sums[i], productSumBound(k+1, terms[i], eps), eps))
		}
	})
	return [][]float64{bound}
}

// activationBound is how far act(x) may be off when x is off by e: the larger slope nearby, and the function's own error.
func activationBound(a Activation, x, e, eps float64) float64 {
	if a.Kind == ActNone {
		return e
	}
	slope := math.Max(1.2, math.Abs(a.P))
	if a.Kind == ActReLUSquared {
		slope = 2 * (math.Abs(x) + e)
	}
	jump := 0.0
	if a.Kind == ActFATReLU && math.Abs(x-a.P) <= e { // either side of the threshold is right
		jump = math.Abs(x) + e
	}
	return slope*e + jump + 6*eps*math.Abs(a.Apply(x)) + tiny
}

func matMulGrad(c *GradCall) {
	a, b := c.In(0), c.In(1)
	ta, tb := c.Ints[0].N == 1, c.Ints[1].N == 1
	alpha := c.Floats[0].V
	act := Activation{ActivationKind(c.Ints[2].N), c.Floats[1].V}
	dy := c.OutGrad(0)
	switch {
	case act.Kind == ActNone:
	case act.GradFromOutput():
		dy = ActivationGradFromOutput(c.Out(0), dy, act)
	default: // the sum before the activation was not kept: it is computed again
		x := MatMul(a, b, MatMulOptions{TransposeA: ta, TransposeB: tb, Bias: c.In(2), Alpha: alpha})
		dy = ActivationGrad(x, dy, act)
	}
	if c.NeedsGrad(0) {
		if ta {
			c.SetIn(0, MatMul(b, dy, MatMulOptions{TransposeA: tb, TransposeB: true, Alpha: alpha}))
		} else {
			c.SetIn(0, MatMul(dy, b, MatMulOptions{TransposeB: !tb, Alpha: alpha}))
		}
	}
	if c.NeedsGrad(1) {
		if b.DType() != F32 {
			c.Fail("b is %v; only float32 operands can be trained", b)
			return
		}
		if tb {
			c.SetIn(1, MatMul(dy, a, MatMulOptions{TransposeA: true, TransposeB: ta, Alpha: alpha}))
		} else {
			c.SetIn(1, MatMul(a, dy, MatMulOptions{TransposeA: !ta, Alpha: alpha}))
		}
	}
	if c.NeedsGrad(2) {
		c.SetIn(2, sumTo(dy, c.In(2).Shape()))
	}
}

package ops

import (
	"fmt"
	"math"
)

// The making of lower-triangular matrices: factorisation, the lower triangle itself, and the parametrisation with a
// positive diagonal. Devices compute all of it in double and round once.

// eps64 is the unit round-off of float64, in which both the reference and the devices factorise.
const eps64 = 1.0 / (1 << 53)

func init() {
	define(Def{Opcode: OpCholesky, Name: "cholesky",
		Doc: "l lower triangular with l l' = a for symmetric positive definite a (its lower triangle is read), computed in double: within " +
			"4 (D + 2) 2^-53 |l| phi(K K'), K = |l^-1||l|, before rounding; phi keeps the lower triangle and halves the diagonal. Any other a, " +
			"NaN and Inf included, is an error that names matrix and pivot.",
		Shape: squareShape,
		Reference: func(c *RefCall) error {
			for b := range c.In[0].Dim(0) {
				if pivot, v := cholesky(matrix(c.In[0], b), matrix(c.Out[0], b)); pivot >= 0 {
					return fmt.Errorf("matrix %d is not positive definite: pivot %d is %g", b, pivot, v)
				}
			}
			return nil
		},
		Bound: eachSquareBound(func(c *RefCall, b int) square {
			l := matrix(c.Out[0], b)
			k := l.inverse().abs().times(l.abs())
			return l.abs().times(k.times(k.transposed()).phi()).scaled(4 * float64(l.d+2) * eps64)
		}),
		Grad: func(c *GradCall) {
			c.SetIn(0, record(OpCholeskyGrad, c.g, []Tensor{c.Out(0), c.OutGrad(0)}, nil, nil, nil)[0])
		},
		Cases: choleskyCases,
	})

	define(Def{Opcode: OpCholeskyGrad, Name: "cholesky_grad",
		Doc: "da = (s + s')/2, s = l'^-1 phi(l' dl) l^-1 (Murray 2016, Differentiation of the Cholesky decomposition): the symmetric matrix whose " +
			"product with any symmetric change of a is the change of the loss. In double, within the forward bound of its three steps before rounding.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			if !c.In[1].Shape().Equal(c.In[0].Shape()) || c.In[1].DType() != F32 {
				return nil, fmt.Errorf("l is %s, dl is %s; the same shape is needed", c.S(c.In[0]), c.S(c.In[1]))
			}
			return squareShape(c)
		},
		Reference: func(c *RefCall) error {
			for b := range c.In[0].Dim(0) {
				_, _, s := choleskyGradSteps(c, b)
				copy(matrix(c.Out[0], b).a, s.symmetric().a)
			}
			return nil
		},
		Bound: eachSquareBound(choleskyGradBound),
		Cases: choleskyGradCases,
	})

	define(Def{Opcode: OpTril, Name: "tril", InPlace: true, Shape: squareShape, Bound: exactBound,
		Doc: "The lower triangle with the diagonal; zeros above, whatever was there. Exact.",
		Reference: func(c *RefCall) error {
			eachTriangle(c.In[0], func(at, side int) {
				if side <= 0 {
					c.Out[0].Data[at] = c.In[0].Data[at]
				}
			})
			return nil
		},
		Grad:  func(c *GradCall) { c.SetIn(0, Tril(c.OutGrad(0))) },
		Cases: func() []Case { return triangleCases(Tril) },
	})

	define(Def{Opcode: OpTrilSoftplus, Name: "tril_softplus", Shape: squareShape,
		Doc: "x below the diagonal, log(1 + e^x) + floor on it, zeros above: a triangular matrix with a positive diagonal. The diagonal in double, " +
			"within 2^-50 relatively before rounding; NaN stays NaN.",
		Reference: func(c *RefCall) error {
			eachTriangle(c.In[0], func(at, side int) {
				switch x := c.In[0].Data[at]; {
				case side < 0:
					c.Out[0].Data[at] = x
				case side == 0:
					c.Out[0].Data[at] = math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) + c.Floats[0]
				}
			})
			return nil
		},
		Bound: onceRounded,
		Grad: func(c *GradCall) {
			c.SetIn(0, record(OpTrilSoftplusGrad, c.g, []Tensor{c.In(0), c.OutGrad(0)}, nil, nil, nil)[0])
		},
		Cases: func() []Case {
			return triangleCases(func(x Tensor) Tensor { return TrilSoftplus(x, 1e-5) })
		},
	})

	define(Def{Opcode: OpTrilSoftplusGrad, Name: "tril_softplus_grad", Bound: onceRounded,
		Doc: "dl below the diagonal, dl / (1 + e^-x) on it, zeros above. The diagonal in double, within 2^-50 relatively before rounding; NaN propagates.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			if !c.In[1].Shape().Equal(c.In[0].Shape()) || c.In[1].DType() != F32 {
				return nil, fmt.Errorf("x is %s, dl is %s; the same shape is needed", c.S(c.In[0]), c.S(c.In[1]))
			}
			return squareShape(c)
		},
		Reference: func(c *RefCall) error {
			eachTriangle(c.In[0], func(at, side int) {
				switch dl := c.In[1].Data[at]; {
				case side < 0:
					c.Out[0].Data[at] = dl
				case side == 0:
					c.Out[0].Data[at] = dl / (1 + math.Exp(-c.In[0].Data[at]))
				}
			})
			return nil
		},
		Cases: func() []Case {
			return withoutGradient(triangleCases(func(x Tensor) Tensor {
				dl := Affine(x, -.7, .4)
				return record(OpTrilSoftplusGrad, x.g, []Tensor{x, dl}, nil, nil, nil)[0]
			}))
		},
	})
}

func squareShape(c *ShapeCall) ([]TypeShape, error) {
	if err := checkSquare(c, 0); err != nil {
		return nil, err
	}
	return []TypeShape{{F32, c.In[0].Shape()}}, nil
}

// onceRounded is the bound of elements that are computed in double: 2^-50 |value| before rounding.
func onceRounded(c *RefCall, _ float64) [][]float64 {
	return eachBound(c, func(d *Dense, i int) float64 { return 8 * eps64 * math.Abs(d.Data[i]) })
}

// eachTriangle visits the elements of a batch; side is negative below the diagonal, 0 on it, positive above.
func eachTriangle(x *Dense, f func(at, side int)) {
	d := x.Dim(1)
	for at := range x.Data {
		f(at, at%d-at/d%d)
	}
}

// cholesky factorises a into l. On failure it returns the pivot's place and value, else -1. A pivot whose root vanishes
// in float32 fails too, since devices round the result.
func cholesky(a, l square) (int, float64) {
	for i := range a.d {
		for j := 0; j <= i; j++ {
			sum := a.at(i, j)
			for k := 0; k < j; k++ {
				sum -= l.at(i, k) * l.at(j, k)
			}
			if j < i {
				l.a[i*l.d+j] = sum / l.at(j, j)
				continue
			}
			root := math.Sqrt(sum)
			if !(float32(root) > 0) || math.IsInf(root, 1) {
				return i, sum
			}
			l.a[i*l.d+i] = root
		}
	}
	return -1, 0
}

// choleskyGradSteps are phi(l' dl), u = l'^-1 phi and s = u l^-1.
func choleskyGradSteps(c *RefCall, b int) (phi, u, s square) {
	l, dl := matrix(c.In[0], b).lower(), matrix(c.In[1], b).lower()
	inverse := l.inverse()
	phi = l.transposed().times(dl).phi()
	u = inverse.transposed().times(phi)
	return phi, u, u.times(inverse)
}

// choleskyGradBound follows the rounding errors of a sum of D products and of two triangular systems, each solved with
// the error that Higham's theorem 8.5 allows, through the steps; twice, since the reference rounds as well.
func choleskyGradBound(c *RefCall, b int) square {
	_, u, s := choleskyGradSteps(c, b)
	l, dl := matrix(c.In[0], b).lower().abs(), matrix(c.In[1], b).lower().abs()
	inverse := matrix(c.In[0], b).lower().inverse().abs()
	e := l.transposed().times(dl).phi().plus(l.transposed().times(u.abs()))
	e = inverse.transposed().times(e).plus(s.abs().times(l)).times(inverse)
	return e.symmetric().scaled(4 * float64(l.d+2) * eps64)
}

// Cholesky is the lower-triangular l with l l' = a for each symmetric positive definite matrix of a [B, D, D], of which
// the lower triangle is read. A matrix that is not positive definite fails the submission. The gradient is that with
// respect to a symmetric matrix.
func Cholesky(a Tensor) Tensor { return record(OpCholesky, a.g, []Tensor{a}, nil, nil, nil)[0] }

// Tril is x [B, D, D] with zeros above the diagonals.
func Tril(x Tensor) Tensor { return record(OpTril, x.g, []Tensor{x}, nil, nil, nil)[0] }

// TrilSoftplus makes lower-triangular matrices with a positive diagonal from free parameters x [B, D, D]: x below the
// diagonal, softplus(x_ii) + floor on it, zeros above.
func TrilSoftplus(x Tensor, floor float64) Tensor {
	return record(OpTrilSoftplus, x.g, []Tensor{x}, nil, nil, []Float{V(floor)})[0]
}

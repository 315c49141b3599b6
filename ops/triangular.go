package ops

import (
	"fmt"
	"math"
)

// Batches of small lower-triangular matrices l [B, D, D]: products, solutions, log-determinants. What lies above the
// diagonal of l is never read, and its gradient is 0.

func init() {
	define(Def{Opcode: OpTriMatmul, Name: "tri_matmul", Shape: triShape, Strided: triStrided,
		Doc: "y = l x (or l' x) for every row x of a batch, within 4 sqrt(K) eps sum|l||x| over the K elements of l in that row. NaN and Inf " +
			"reach only the elements whose sum they are in.",
		Reference: func(c *RefCall) error {
			eachTri(c, func(t tri, x, y []float64) {
				for i := range y {
					y[i] = t.dot(i, t.d, func(j int) float64 { return x[j] })
				}
			})
			return nil
		},
		Bound: triBound(func(t tri, x, _, bound []float64, eps float64) {
			for i := range bound {
				sum := t.dot(i, t.d, func(j int) float64 { return math.Abs(x[j]) }, math.Abs)
				bound[i] = productSumBound(t.terms(i), sum, eps) + float64(t.d)*tiny
			}
		}),
		Grad: func(c *GradCall) {
			l, x, dy, transpose := c.In(0), c.In(1), c.OutGrad(0), c.Ints[0].N == 1
			if c.NeedsGrad(1) {
				c.SetIn(1, TriMatMul(l, dy, !transpose))
			}
			if c.NeedsGrad(0) {
				if transpose {
					x, dy = dy, x
				}
				c.SetIn(0, Tril(MatMul(dy, x, MatMulOptions{TransposeA: true})))
			}
		},
		Cases: func() []Case { return triCases(TriMatMul) },
	})

	define(Def{Opcode: OpTriSolve, Name: "tri_solve", Shape: triShape, Strided: triStrided,
		Doc: "y with l y = x (or l' y = x) for every row x of a batch, by substitution. Within |l^-1| W, W_j = min(K, 4 sqrt K) eps (|l||y|)_j " +
			"over the K elements of row j of l (Higham, Accuracy and Stability of Numerical Algorithms, theorem 8.5). A 0 on the diagonal gives Inf or NaN.",
		Reference: func(c *RefCall) error {
			eachTri(c, func(t tri, x, y []float64) { t.solve(x, y) })
			return nil
		},
		Bound: triSolveBound,
		Grad: func(c *GradCall) {
			transpose := c.Ints[0].N == 1
			dx, y := TriSolve(c.In(0), c.OutGrad(0), !transpose), c.Out(0)
			c.SetIn(1, dx)
			if c.NeedsGrad(0) {
				if transpose {
					dx, y = y, dx
				}
				c.SetIn(0, Neg(Tril(MatMul(dx, y, MatMulOptions{TransposeA: true}))))
			}
		},
		Cases: func() []Case { return triCases(TriSolve) },
	})

	define(Def{Opcode: OpTriLogDet, Name: "tri_log_det",
		Doc: "sum of log|l_ii| of each matrix, added up in double: within (D + 4) 2^-52 sum|log|l_ii|| before rounding. -Inf if one is 0; NaN propagates.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			if err := checkSquare(c, 0); err != nil {
				return nil, err
			}
			return []TypeShape{{F32, c.In[0].Shape()[:1]}}, nil
		},
		Reference: func(c *RefCall) error {
			eachDiagonal(c.In[0], func(b, at int) { c.Out[0].Data[b] += math.Log(math.Abs(c.In[0].Data[at])) })
			return nil
		},
		Bound: func(c *RefCall, _ float64) [][]float64 {
			bound := make([]float64, c.Out[0].Len())
			eachDiagonal(c.In[0], func(b, at int) {
				bound[b] += float64(c.In[0].Dim(1)+4) * math.Abs(math.Log(math.Abs(c.In[0].Data[at]))) / (1 << 52)
			})
			return [][]float64{bound}
		},
		Grad: func(c *GradCall) {
			c.SetIn(0, record(OpTriLogDetGrad, c.g, []Tensor{c.In(0), c.OutGrad(0)}, nil, nil, nil)[0])
		},
		Cases: func() []Case { return logDetCases(TriLogDet) },
	})

	define(Def{Opcode: OpTriLogDetGrad, Name: "tri_log_det_grad",
		Doc: "dy / l_ii on the diagonal, 0 elsewhere. Correctly rounded; dy / 0 is Inf or NaN.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			if err := checkSquare(c, 0); err != nil {
				return nil, err
			}
			if !c.In[1].Shape().Equal(c.In[0].Shape()[:1]) || c.In[1].DType() != F32 {
				return nil, fmt.Errorf("l is %s, dy %s; one number for each matrix is needed", c.S(c.In[0]), c.S(c.In[1]))
			}
			return []TypeShape{{F32, c.In[0].Shape()}}, nil
		},
		Reference: func(c *RefCall) error {
			eachDiagonal(c.In[0], func(b, at int) { c.Out[0].Data[at] = c.In[1].Data[b] / c.In[0].Data[at] })
			return nil
		},
		Bound: exactBound,
		Cases: func() []Case {
			return withoutGradient(logDetCases(func(l Tensor) Tensor {
				b := l.Dim(0)
				dy := Full(l.g, F32, -1.7, Shape{b})
				return record(OpTriLogDetGrad, l.g, []Tensor{l, dy}, nil, nil, nil)[0]
			}))
		},
	})
}

// checkSquare demands that input k is a batch of square float32 matrices.
func checkSquare(c *ShapeCall, k int) error {
	l := c.In[k]
	if err := c.floats32(l); err != nil {
		return err
	}
	if len(l.Shape()) != 3 || !l.Dim(1).Equal(l.Dim(2)) || !l.Dim(1).Const() {
		return fmt.Errorf("input %d is %s; square matrices [B x D x D] are needed", k, c.S(l))
	}
	return nil
}

func triShape(c *ShapeCall) ([]TypeShape, error) {
	if err := checkSquare(c, 0); err != nil {
		return nil, err
	}
	l, x := c.In[0], c.In[1]
	if err := c.floats32(x); err != nil {
		return nil, err
	}
	if len(x.Shape()) != 3 || !x.Dim(0).Equal(l.Dim(0)) || !x.Dim(2).Equal(l.Dim(1)) {
		return nil, fmt.Errorf("l is %s, x is %s; [B x D x D] and [B x N x D] are needed", c.S(l), c.S(x))
	}
	return []TypeShape{{F32, x.Shape()}}, nil
}

func triStrided(c *ShapeCall, i int) bool { return rowsAdjacent(c, c.In[i]) }

// tri is one lower-triangular matrix as the references see it, or its transpose.
type tri struct {
	l         []float64
	d         int
	transpose bool
}

// eachTri calls f with every matrix and every row of x and y that belongs to it.
func eachTri(c *RefCall, f func(t tri, x, y []float64)) {
	n, d := c.In[1].Dim(1), c.In[1].Dim(2)
	for b := range c.In[1].Dim(0) {
		for r := b * n; r < (b+1)*n; r++ {
			f(triOf(c, b), c.In[1].Data[r*d:r*d+d], c.Out[0].Data[r*d:r*d+d])
		}
	}
}

func triOf(c *RefCall, b int) tri {
	d := c.In[0].Dim(1)
	return tri{c.In[0].Data[b*d*d : (b+1)*d*d], d, c.Ints[0] == 1}
}

// span is the range of columns of row i that lie in the triangle.
func (t tri) span(i int) (from, to int) {
	if t.transpose {
		return i, t.d
	}
	return 0, i + 1
}

// terms is how many elements row i has.
func (t tri) terms(i int) int {
	from, to := t.span(i)
	return to - from
}

func (t tri) at(i, j int) float64 {
	if t.transpose {
		i, j = j, i
	}
	return t.l[i*t.d+j]
}

// dot is the product of row i, without column skip, with x; each map is applied to the elements of the matrix.
func (t tri) dot(i, skip int, x func(j int) float64, maps ...func(float64) float64) float64 {
	sum := 0.0
	for j, to := t.span(i); j < to; j++ {
		if j == skip {
			continue
		}
		a := t.at(i, j)
		for _, f := range maps {
			a = f(a)
		}
		sum += a * x(j)
	}
	return sum
}

// solve is y with t y = x.
func (t tri) solve(x, y []float64) {
	for k := range t.d {
		i := k
		if t.transpose {
			i = t.d - 1 - k
		}
		y[i] = (x[i] - t.dot(i, i, func(j int) float64 { return y[j] })) / t.at(i, i)
	}
}

// absInverse is |t^-1| by columns.
func (t tri) absInverse() [][]float64 {
	columns := make([][]float64, t.d)
	for j := range columns {
		unit := make([]float64, t.d)
		unit[j] = 1
		columns[j] = make([]float64, t.d)
		t.solve(unit, columns[j])
		for i, v := range columns[j] {
			columns[j][i] = math.Abs(v)
		}
	}
	return columns
}

// triBound makes a bound from that of one row, which starts as zeros.
func triBound(f func(t tri, x, y, bound []float64, eps float64)) func(*RefCall, float64) [][]float64 {
	return func(c *RefCall, eps float64) [][]float64 {
		r, at := make([]float64, c.Out[0].Len()), 0
		eachTri(c, func(t tri, x, y []float64) {
			f(t, x, y, r[at:at+t.d], eps)
			at += t.d
		})
		return [][]float64{r}
	}
}

// triSolveBound: the computed y solves a system whose elements differ by up to gamma_K relatively, K the elements of
// their row, so that the error of y is at most |t^-1| times the sum of what the row's elements can contribute.
func triSolveBound(c *RefCall, eps float64) [][]float64 {
	var inverse [][]float64
	row := 0
	return triBound(func(t tri, _, y, bound []float64, eps float64) {
		if row%c.In[1].Dim(1) == 0 {
			inverse = t.absInverse()
		}
		row++
		for j := range bound {
			k := float64(t.terms(j))
			w := eps*math.Min(k, 4*math.Sqrt(k))*t.dot(j, t.d, func(j int) float64 { return math.Abs(y[j]) }, math.Abs) + k*tiny
			for i, v := range inverse[j] {
				if v != 0 {
					bound[i] += v * w
				}
			}
		}
	})(c, eps)
}

// eachDiagonal visits the diagonal elements of a batch.
func eachDiagonal(l *Dense, f func(b, at int)) {
	d := l.Dim(1)
	for b := range l.Dim(0) {
		for i := range d {
			f(b, (b*d+i)*d+i)
		}
	}
}

func recordTri(code Opcode, l, x Tensor, transpose bool) Tensor {
	return record(code, graphOf(l, x), []Tensor{l, x}, nil, []Int{N(int64(indicator(transpose)))}, nil)[0]
}

// TriMatMul is the product of the lower triangle of each l [B, D, D], or of its transpose, with every row of
// x [B, N, D]: for samples mu + L eps.
func TriMatMul(l, x Tensor, transpose bool) Tensor { return recordTri(OpTriMatmul, l, x, transpose) }

// TriSolve is l^-1 x, or l'^-1 x, for every row of x [B, N, D] and the lower triangle of l [B, D, D].
func TriSolve(l, x Tensor, transpose bool) Tensor { return recordTri(OpTriSolve, l, x, transpose) }

// TriLogDet is log|det l| [B] of the lower triangles of l [B, D, D].
func TriLogDet(l Tensor) Tensor {
	return record(OpTriLogDet, l.g, []Tensor{l}, nil, nil, nil)[0]
}

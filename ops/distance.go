package ops

import (
	"fmt"
	"math"
)

// Squared Euclidean distances between the rows of two matrices, and reductions over them that never hold the matrix of
// distances. A distance is the sum of (x_k - y_k)^2 and is not expanded into |x|^2 + |y|^2 - 2xy: its error is relative
// to itself wherever the rows lie, and equal rows are at distance 0.

const distanceDoc = "sum_k (x_k - y_k)^2 of rows, within (4 sqrt D + 2) eps d and D times the smallest subnormal; equal finite rows give 0. " +
	"NaN if an element is NaN or both are the same infinity; Inf on overflow."

func init() {
	define(Def{Opcode: OpPairwiseSqdist, Name: "pairwise_sqdist", Doc: distanceDoc,
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			if err := checkPair(c); err != nil {
				return nil, err
			}
			return []TypeShape{{F32, Shape{c.In[0].Dim(0), c.In[1].Dim(0)}}}, nil
		},
		Strided: func(c *ShapeCall, i int) bool { return rowsAdjacent(c, c.In[i]) },
		Reference: func(c *RefCall) error {
			m := c.In[1].Dim(0)
			for i := range c.In[0].Dim(0) {
				for j := range m {
					c.Out[0].Data[i*m+j] = sqdist(c, i, j)
				}
			}
			return nil
		},
		Bound: func(c *RefCall, eps float64) [][]float64 {
			return eachBound(c, func(d *Dense, i int) float64 { return sqdistBound(c, d.Data[i], eps) })
		},
		Grad:  sqdistGrad,
		Cases: sqdistCases,
	})

	define(Def{Opcode: OpPairwiseArgMin, Name: "pairwise_arg_min",
		Doc: "Distance to and index of the nearest row of y; ties: the lowest index; NaN is never nearest unless all are (index 0). The index " +
			"is exact wherever float32 tells the distances apart. Distance: " + distanceDoc,
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			if err := checkPair(c); err != nil {
				return nil, err
			}
			if c.Max(c.In[1].Dim(0)) == 0 {
				return nil, fmt.Errorf("y is %s; at least one row is needed", c.S(c.In[1]))
			}
			n := Shape{c.In[0].Dim(0)}
			return []TypeShape{{F32, n}, {I32, n}}, nil
		},
		Strided: func(c *ShapeCall, i int) bool { return rowsAdjacent(c, c.In[i]) },
		Reference: func(c *RefCall) error {
			if c.In[0].Dim(0) > 0 && c.In[1].Dim(0) == 0 {
				return fmt.Errorf("y has no rows")
			}
			for i := range c.In[0].Dim(0) {
				best, at := math.NaN(), 0
				for j := range c.In[1].Dim(0) {
					if d := sqdist(c, i, j); d < best || math.IsNaN(best) && !math.IsNaN(d) {
						best, at = d, j
					}
				}
				c.Out[0].Data[i], c.Out[1].Data[i] = best, float64(at)
			}
			return nil
		},
		Bound: func(c *RefCall, eps float64) [][]float64 {
			return eachBound(c, func(d *Dense, i int) float64 {
				if d.DType == I32 {
					return 0
				}
				return sqdistBound(c, d.Data[i], eps)
			})
		},
		Grad: func(c *GradCall) {
			x, y, index := c.In(0), c.In(1), c.Out(1)
			to := Mul(Sub(x, GatherRows(y, index)), Reshape(Scale(c.OutGrad(0), 2), x.Dim(0), N(1)))
			c.SetIn(0, to)
			if c.NeedsGrad(1) {
				sum := Full(c.g, F32, 0, y.Shape())
				ScatterAddRows(sum, Neg(to), index)
				c.SetIn(1, sum)
			}
		},
		Cases: argMinCases,
	})

	define(Def{Opcode: OpPairwiseCount, Name: "pairwise_count",
		Doc: "How many rows of y are nearer than the bound of each row of x (distance < bound; NaN on either side: no). Exact wherever " +
			"float32 tells distance and bound apart. Distance: " + distanceDoc,
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			if err := checkPair(c); err != nil {
				return nil, err
			}
			if n := (Shape{c.In[0].Dim(0)}); !c.In[2].Shape().Equal(n) {
				return nil, fmt.Errorf("x is %s, the bound %s; one bound for each row of x is needed", c.S(c.In[0]), c.S(c.In[2]))
			}
			return []TypeShape{{I32, c.In[2].Shape()}}, nil
		},
		Strided: func(c *ShapeCall, i int) bool { return i < 2 && rowsAdjacent(c, c.In[i]) },
		Reference: func(c *RefCall) error {
			for i := range c.In[0].Dim(0) {
				for j := range c.In[1].Dim(0) {
					c.Out[0].Data[i] += indicator(sqdist(c, i, j) < c.In[2].Data[i])
				}
			}
			return nil
		},
		Bound: exactBound,
		Cases: countCases,
	})
}

// checkPair demands two matrices with rows of one length.
func checkPair(c *ShapeCall) error {
	x, y := c.In[0], c.In[1]
	if err := c.floats32(c.In...); err != nil {
		return err
	}
	if len(x.Shape()) != 2 || len(y.Shape()) != 2 || !x.Dim(1).Equal(y.Dim(1)) {
		return fmt.Errorf("x is %s, y is %s; [N x D] and [M x D] are needed", c.S(x), c.S(y))
	}
	return nil
}

// rowsAdjacent reports whether the elements along the innermost axis lie next to each other.
func rowsAdjacent(c *ShapeCall, x Tensor) bool {
	t := c.g.t(x)
	last := len(t.shape) - 1
	return last >= 0 && (t.strides[last] == t.dtype.BlockBytes() || t.shape[last] == N(1))
}

// sqdist is the distance of row i of x to row j of y.
func sqdist(c *RefCall, i, j int) float64 {
	d, sum := c.In[0].Dim(1), 0.0
	x, y := c.In[0].Data[i*d:i*d+d], c.In[1].Data[j*d:j*d+d]
	for k := range x {
		sum += (x[k] - y[k]) * (x[k] - y[k])
	}
	return sum
}

// sqdistBound: the difference is rounded once, which its square doubles; the rest is a sum of D products.
func sqdistBound(c *RefCall, d, eps float64) float64 {
	n := c.In[0].Dim(1)
	return productSumBound(n, d, eps) + 2*eps*d + float64(n)*tiny
}

// sqdistGrad: with G the gradient of the distances, dx = 2 (rowsum(G) x - G y) and dy = 2 (colsum(G) y - G' x). Both are
// unchanged when x and y are moved together, so they are moved to y's first row, near which nothing cancels.
func sqdistGrad(c *GradCall) {
	x, y, g := c.In(0), c.In(1), c.OutGrad(0)
	if m := y.Dim(0); m.N > 0 && (m.Const() || c.g.ints[m.Arg-1].min > 0) {
		origin := Slice(y, 0, N(0), N(1))
		x, y = Sub(x, origin), Sub(y, origin)
	}
	if c.NeedsGrad(0) {
		c.SetIn(0, Scale(Sub(Mul(Sum(g, 1), x), MatMul(g, y, MatMulOptions{})), 2))
	}
	if c.NeedsGrad(1) {
		weight := Reshape(Sum(g, 0), y.Dim(0), N(1))
		c.SetIn(1, Scale(Sub(Mul(weight, y), MatMul(g, x, MatMulOptions{TransposeA: true})), 2))
	}
}

// PairwiseSqdist is the matrix [N, M] of squared Euclidean distances between the rows of x [N, D] and of y [M, D].
func PairwiseSqdist(x, y Tensor) Tensor {
	return record(OpPairwiseSqdist, graphOf(x, y), []Tensor{x, y}, nil, nil, nil)[0]
}

// PairwiseArgMin finds the nearest row of y [M, D] for each row of x [N, D]: its squared distance [N] and its int32
// index [N], the lowest of equally near ones.
func PairwiseArgMin(x, y Tensor) (distance, index Tensor) {
	r := record(OpPairwiseArgMin, graphOf(x, y), []Tensor{x, y}, nil, nil, nil)
	return r[0], r[1]
}

// PairwiseCount counts, as int32 [N], the rows of y [M, D] whose squared distance to each row of x [N, D] is less than
// bound [N].
func PairwiseCount(x, y, bound Tensor) Tensor {
	return record(OpPairwiseCount, graphOf(x, y, bound), []Tensor{x, y, bound}, nil, nil, nil)[0]
}

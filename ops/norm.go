package ops

import (
	"fmt"
	"math"
)

// Normalisation of each row of x [R, C] by its own statistics.

func init() {
	define(Def{
		Opcode: OpRmsNorm, Name: "rms_norm",
		Doc: "y = gamma x / sqrt(mean(x^2) + eps) per row (Zhang and Sennrich, 2019), the squares summed in float64. Error up to 4 ulps (of " +
			"2^-24). NaN makes its row NaN; Inf becomes NaN and the rest of its row 0.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			return []TypeShape{{F32, c.In[0].Shape()}}, rowNormShape(c, "gamma")
		},
		Reference: func(c *RefCall) error {
			return forRows(c, func(x []float64, at int) {
				_, rstd := rowStatistics(x, c.Floats[0], false)
				for k, v := range x {
					c.Out[0].Data[at+k] = v * rstd * c.In[1].Data[k]
				}
			})
		},
		Grad: func(c *GradCall) {
			r := record(OpRmsNormGrad, c.g, []Tensor{c.In(0), c.In(1), c.OutGrad(0)}, nil, nil, c.Floats)
			c.SetIn(0, r[0])
			c.SetIn(1, r[1])
		},
		Bound: func(c *RefCall, eps float64) [][]float64 {
			cols := c.In[0].Dim(1)
			return eachBound(c, func(d *Dense, i int) float64 {
				return 4*eps*math.Abs(d.Data[i]) + tiny*(1+math.Abs(c.In[0].Data[i]))*(1+math.Abs(c.In[1].Data[i%cols]))
			})
		},
		Cases: func() []Case {
			return rowNormCases(func(x, gamma, _ Tensor) Tensor { return RMSNorm(x, gamma, 1e-5) })
		},
	})

	define(Def{
		Opcode: OpRmsNormGrad, Name: "rms_norm_grad",
		Doc: "Gradients of rms_norm. With s = 1 / sqrt(mean(x^2) + eps) and g = gamma dy: dx = s (g - x s^2 mean(g x)), dgamma = sum over rows of " +
			"dy x s. Error of sums of K products up to 4 sqrt(K) 2^-24 of their magnitudes, of the other terms 8 ulps.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) { return rowNormGradShape(c, 2) },
		Reference: func(c *RefCall) error {
			return rowNormGrad(c, false)
		},
		Bound: rowNormGradBound(false),
		Cases: func() []Case {
			return withoutGradient(rowNormGradCases(OpRmsNormGrad))
		},
	})

	define(Def{
		Opcode: OpLayerNorm, Name: "layer_norm",
		Doc: "y = gamma (x - mean) / sqrt(variance + eps) + beta per row, biased variance (Ba, Kiros and Hinton, 2016), both summed in float64. " +
			"Error up to 2^-24 (6 |gamma (x - mean) / sqrt| + |beta|). NaN or Inf makes its row NaN.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			return []TypeShape{{F32, c.In[0].Shape()}}, rowNormShape(c, "gamma", "beta")
		},
		Reference: func(c *RefCall) error {
			return forRows(c, func(x []float64, at int) {
				mean, rstd := rowStatistics(x, c.Floats[0], true)
				for k, v := range x {
					c.Out[0].Data[at+k] = (v-mean)*rstd*c.In[1].Data[k] + c.In[2].Data[k]
				}
			})
		},
		Grad: func(c *GradCall) {
			r := record(OpLayerNormGrad, c.g, []Tensor{c.In(0), c.In(1), c.OutGrad(0)}, nil, nil, c.Floats)
			for i := range 3 {
				c.SetIn(i, r[i])
			}
		},
		Bound: func(c *RefCall, eps float64) [][]float64 {
			cols := c.In[0].Dim(1)
			return eachBound(c, func(d *Dense, i int) float64 {
				beta := c.In[2].Data[i%cols]
				return eps*(6*math.Abs(d.Data[i]-beta)+math.Abs(beta)) + tiny*(1+math.Abs(c.In[0].Data[i]))*(1+math.Abs(c.In[1].Data[i%cols]))
			})
		},
		Cases: func() []Case {
			return append(rowNormCases(func(x, gamma, beta Tensor) Tensor { return LayerNorm(x, gamma, beta, 1e-5) }),
				Case{Name: "far from zero", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
					return []Tensor{LayerNorm(c.Uniform(4096, 4097, 5, 67), c.Normal(67), c.Normal(67), 1e-5)}
				}})
		},
	})

	define(Def{
		Opcode: OpLayerNormGrad, Name: "layer_norm_grad",
		Doc: "Gradients of layer_norm. With s = 1 / sqrt(variance + eps), xhat = (x - mean) s and g = gamma dy: dx = s (g - mean(g) - xhat " +
			"mean(g xhat)), dgamma = sum over rows of dy xhat, dbeta = sum of dy. Error of sums of K products up to 4 sqrt(K) 2^-24 of their magnitudes, " +
			"of the other terms 8 ulps.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) { return rowNormGradShape(c, 3) },
		Reference: func(c *RefCall) error {
			return rowNormGrad(c, true)
		},
		Bound: rowNormGradBound(true),
		Cases: func() []Case {
			return append(withoutGradient(rowNormGradCases(OpLayerNormGrad)), Case{Name: "far from zero", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
				return record(OpLayerNormGrad, c.Graph, []Tensor{c.Uniform(4096, 4097, 5, 67), c.Normal(67), c.Normal(5, 67)}, nil, nil, []Float{V(1e-5)})
			}})
		},
	})
}

// rowNormShape checks x [R, C] and the vectors [C] that follow it.
func rowNormShape(c *ShapeCall, vectors ...string) error {
	if err := c.floats32(c.In...); err != nil {
		return err
	}
	x := c.In[0]
	if len(x.Shape()) != 2 || len(c.In) < 1+len(vectors) {
		return fmt.Errorf("x is %s, %d inputs; [rows x columns] and %v are needed", c.S(x), len(c.In), vectors)
	}
	for i, what := range vectors {
		if t := c.In[1+i]; !t.Shape().Equal(x.Shape()[1:]) {
			return fmt.Errorf("x is %s, %s is %s; one number per column is needed", c.S(x), what, c.S(t))
		}
	}
	return positiveEps(c.Floats[0])
}

func rowNormGradShape(c *ShapeCall, outputs int) ([]TypeShape, error) {
	if err := rowNormShape(c, "gamma"); err != nil {
		return nil, err
	}
	if len(c.In) != 3 || !c.In[2].Shape().Equal(c.In[0].Shape()) {
		return nil, fmt.Errorf("the gradient of y must have x's shape, %s", c.S(c.In[0]))
	}
	s := c.In[1].Shape()
	return []TypeShape{{F32, c.In[0].Shape()}, {F32, s}, {F32, s}}[:outputs], nil
}

// forRows visits the rows of x; at is the place of the row's first element.
func forRows(c *RefCall, visit func(x []float64, at int)) error {
	cols := c.In[0].Dim(1)
	for r := range c.In[0].Dim(0) {
		visit(c.In[0].Data[r*cols:(r+1)*cols], r*cols)
	}
	return nil
}

// rowStatistics are the mean (0 unless centred) and 1 / sqrt(mean squared deviation + eps) of a row.
func rowStatistics(x []float64, eps float64, centred bool) (mean, rstd float64) {
	if len(x) == 0 {
		return 0, 0
	}
	var square float64
	if centred {
		mean, square = meanVariance(x)
	} else {
		for _, v := range x {
			square += v * v / float64(len(x))
		}
	}
	return mean, 1 / math.Sqrt(square+eps)
}

func rowNormGrad(c *RefCall, centred bool) error {
	gamma, dy := c.In[1].Data, c.In[2].Data
	return forRows(c, func(x []float64, at int) {
		mean, s := rowStatistics(x, c.Floats[0], centred)
		n := float64(len(x))
		var sum, dot float64
		for k, v := range x {
			g, xhat := gamma[k]*dy[at+k], (v-mean)*s
			sum += g / n
			dot += g * xhat / n
			c.Out[1].Data[k] += dy[at+k] * xhat
			if centred {
				c.Out[2].Data[k] += dy[at+k]
			}
		}
		if !centred {
			sum = 0
		}
		for k, v := range x {
			c.Out[0].Data[at+k] = s * (gamma[k]*dy[at+k] - sum - (v-mean)*s*dot)
		}
	})
}

func rowNormGradBound(centred bool) func(c *RefCall, eps float64) [][]float64 {
	return func(c *RefCall, eps float64) [][]float64 {
		bounds := eachBound(c, func(*Dense, int) float64 { return 0 })
		gamma, dy, rows := c.In[1].Data, c.In[2].Data, c.In[0].Dim(0)
		_ = forRows(c, func(x []float64, at int) {
			mean, s := rowStatistics(x, c.Floats[0], centred)
			n := float64(len(x))
			var sum, dot, sumAbs, dotAbs float64
			for k, v := range x {
				g, xhat := gamma[k]*dy[at+k], (v-mean)*s
				sum += g / n
				dot += g * xhat / n
				sumAbs += math.Abs(g) / n
				dotAbs += math.Abs(g*xhat) / n
				bounds[1][k] += math.Abs(dy[at+k] * xhat)
				if centred {
					bounds[2][k] += math.Abs(dy[at+k])
				}
			}
			if !centred {
				sum, sumAbs = 0, 0
			}
			for k, v := range x {
				g, xhat := math.Abs(gamma[k]*dy[at+k]), math.Abs((v-mean)*s)
				bounds[0][at+k] = s*(eps*(8*g+8*math.Abs(sum)+8*xhat*math.Abs(dot))+productSumBound(len(x), sumAbs, eps)+
					xhat*productSumBound(len(x), dotAbs, eps)) + tiny*(1+math.Abs(v))*(1+g)
			}
		})
		for k := range bounds[1] {
			bounds[1][k] = productSumBound(rows, bounds[1][k], eps) + 8*eps*bounds[1][k] + tiny
			if centred {
				bounds[2][k] = productSumBound(rows, bounds[2][k], eps)
			}
		}
		return bounds
	}
}

// RMSNorm divides each row of x [..., C] by its root mean square and multiplies by gamma [C].
func RMSNorm(x, gamma Tensor, eps float64) Tensor {
	return byChannel(x, func(x Tensor) []Tensor {
		return record(OpRmsNorm, graphOf(x, gamma), []Tensor{x, gamma}, nil, nil, []Float{V(eps)})
	})[0]
}

// LayerNorm brings each row of x [..., C] to mean 0 and variance 1, multiplies by gamma [C] and adds beta [C].
func LayerNorm(x, gamma, beta Tensor, eps float64) Tensor {
	return byChannel(x, func(x Tensor) []Tensor {
		return record(OpLayerNorm, graphOf(x, gamma, beta), []Tensor{x, gamma, beta}, nil, nil, []Float{V(eps)})
	})[0]
}

package ops

import (
	"fmt"
	"math"
)

// Batch normalisation (Ioffe and Szegedy, 2015) of the channels of x [R, C] over its rows, with an activation in the same
// pass. The variance is the biased one. Running statistics are not kept here: a model moves them towards the emitted
// mean and variance with Lerp, together with its weights.

func init() {
	define(Def{
		Opcode: OpBatchNormTrain, Name: "batch_norm_train",
		Doc: "y = act(gamma (x - mean) / sqrt(variance + eps) + beta) with the batch's mean and biased variance per channel, summed in float64 " +
			"without cancellation and rounded once: within 2^-30 of the mean magnitude, and of the variance. No rows: both are 0. Before the " +
			"activation, error up to 2^-24 (8 |gamma (x - mean) / sqrt| + |beta| + 2^-6 |gamma| mean|x| / sqrt); the activation adds 8 ulps. A " +
			"NaN or Inf makes its channel's y NaN.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			if err := channelShape(c, 3, true); err != nil {
				return nil, err
			}
			s := c.In[1].Shape()
			return []TypeShape{{F32, c.In[0].Shape()}, {F32, s}, {F32, s}}, nil
		},
		Reference: func(c *RefCall) error {
			forChannels(c, func(n channel, x []float64, at func(r int) int) {
				c.Out[1].Data[n.index], c.Out[2].Data[n.index] = n.mean, n.variance
				for r, v := range x {
					c.Out[0].Data[at(r)] = n.act.Apply(n.scale()*(v-n.mean) + n.beta)
				}
			})
			return nil
		},
		Grad: func(c *GradCall) {
			if c.OutGrad(1).Valid() || c.OutGrad(2).Valid() {
				c.Fail("the loss depends on the emitted mean or variance, which only feed running averages")
				return
			}
			r := record(OpBatchNormGrad, c.g, []Tensor{c.In(0), c.In(1), c.In(2), c.Out(1), c.Out(2), c.OutGrad(0)}, nil, c.Ints, c.Floats)
			for i := range 3 {
				c.SetIn(i, r[i])
			}
		},
		Bound: func(c *RefCall, eps float64) [][]float64 {
			r := eachBound(c, func(*Dense, int) float64 { return 0 })
			forChannels(c, func(n channel, x []float64, at func(r int) int) {
				magnitude := 0.0
				for _, v := range x {
					magnitude += math.Abs(v) / float64(len(x))
				}
				r[1][n.index], r[2][n.index] = eps/64*magnitude, eps/64*n.variance
				for row, v := range x {
					r[0][at(row)] = n.act.errorAt(n.preActivation(v, eps, magnitude))
				}
			})
			return r
		},
		Cases: func() []Case { return batchNormCases(trainCase) },
	})

	define(Def{
		Opcode: OpBatchNormEval, Name: "batch_norm_eval", InPlace: true,
		Doc: "y = act(gamma (x - mean) / sqrt(variance + eps) + beta) with given statistics. Before the activation, error up to 2^-24 " +
			"(8 |gamma (x - mean) / sqrt| + |beta|); the activation adds 8 ulps. NaN goes through.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			return []TypeShape{{F32, c.In[0].Shape()}}, channelShape(c, 5, true)
		},
		Reference: func(c *RefCall) error {
			forChannels(c, func(n channel, x []float64, at func(r int) int) {
				for r, v := range x {
					c.Out[0].Data[at(r)] = n.act.Apply(n.scale()*(v-n.mean) + n.beta)
				}
			})
			return nil
		},
		Grad: batchNormEvalGrad,
		Bound: func(c *RefCall, eps float64) [][]float64 {
			r := eachBound(c, func(*Dense, int) float64 { return 0 })
			forChannels(c, func(n channel, x []float64, at func(r int) int) {
				for row, v := range x {
					r[0][at(row)] = n.act.errorAt(n.preActivation(v, eps, 0))
				}
			})
			return r
		},
		Cases: func() []Case { return append(batchNormCases(evalCase), evalSpecialCases()...) },
	})

	define(Def{
		Opcode: OpBatchNormGrad, Name: "batch_norm_grad",
		Doc: "Gradients of batch_norm_train's y with respect to x, gamma and beta, given the statistics it emitted; the value before the " +
			"activation is computed again from x. With g = dy act', xhat = (x - mean) / sqrt(variance + eps) and means over the R rows: dbeta = sum g, " +
			"dgamma = sum g xhat, dx = gamma / sqrt(variance + eps) (g - dbeta / R - xhat dgamma / R). Error of the sums up to 4 sqrt(R) 2^-24 of " +
			"their magnitudes plus that of their terms: 8 ulps of dy and of act', and what the error before the activation makes of act'.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			if err := channelShape(c, 5, false); err != nil {
				return nil, err
			}
			if !c.In[5].Shape().Equal(c.In[0].Shape()) || c.In[5].DType() != F32 {
				return nil, fmt.Errorf("the gradient is %v %s, x is %s", c.In[5].DType(), c.S(c.In[5]), c.S(c.In[0]))
			}
			s := c.In[1].Shape()
			return []TypeShape{{F32, c.In[0].Shape()}, {F32, s}, {F32, s}}, nil
		},
		Reference: func(c *RefCall) error {
			forChannels(c, func(n channel, x []float64, at func(r int) int) {
				g, sum, dot := make([]float64, len(x)), 0.0, 0.0
				for r, v := range x {
					xhat := (v - n.mean) * n.rstd
					g[r] = n.act.chain(n.act.Derivative(n.gamma*xhat+n.beta), c.In[5].Data[at(r)])
					sum += g[r]
					dot += g[r] * xhat
				}
				c.Out[1].Data[n.index], c.Out[2].Data[n.index] = dot, sum
				rows := float64(len(x))
				for r, v := range x {
					c.Out[0].Data[at(r)] = n.scale() * (g[r] - sum/rows - (v-n.mean)*n.rstd*dot/rows)
				}
			})
			return nil
		},
		Bound: batchNormGradBound,
		Cases: func() []Case { return withoutGradient(batchNormGradCases()) },
	})
}

// channelShape checks x [R, C] and its per-channel vectors: gamma, beta and, if there are 5 inputs, mean and variance.
func channelShape(c *ShapeCall, inputs int, exactly bool) error {
	if len(c.In) < inputs || exactly && len(c.In) > inputs {
		return fmt.Errorf("%d inputs, %d are needed", len(c.In), inputs)
	}
	if err := c.floats32(c.In...); err != nil {
		return err
	}
	x := c.In[0]
	if len(x.Shape()) != 2 {
		return fmt.Errorf("x is %s; [rows x channels] is needed", c.S(x))
	}
	for i, t := range c.In[1:inputs] {
		if !t.Shape().Equal(x.Shape()[1:]) {
			return fmt.Errorf("x is %s, %s is %s; one number per channel is needed", c.S(x), []string{"gamma", "beta", "mean", "variance"}[i], c.S(t))
		}
	}
	if err := positiveEps(c.Floats[0]); err != nil {
		return err
	}
	_, err := activationAttributes(c.Ints[0], c.Floats[1])
	return err
}

// positiveEps checks the constant added to a variance.
func positiveEps(eps Float) error {
	if eps.Arg != 0 || !(eps.V > 0) || math.IsInf(eps.V, 1) {
		return fmt.Errorf("eps is %v; a positive constant is needed", eps.V)
	}
	return nil
}

// A channel is what the reference knows of one column.
type channel struct {
	index                             int
	gamma, beta, mean, variance, rstd float64
	act                               Activation
}

func (n channel) scale() float64 { return n.gamma * n.rstd }

// forChannels visits the columns of x with their statistics, given or computed; at(r) is the place of row r.
func forChannels(c *RefCall, visit func(n channel, x []float64, at func(r int) int)) {
	rows, cols := c.In[0].Dim(0), c.In[0].Dim(1)
	x := make([]float64, rows)
	for k := range cols {
		n := channel{index: k, gamma: c.In[1].Data[k], beta: c.In[2].Data[k], act: Activation{ActivationKind(c.Ints[0]), c.Floats[1]}}
		for r := range x {
			x[r] = c.In[0].Data[r*cols+k]
		}
		if c.HasIn(4) {
			n.mean, n.variance = c.In[3].Data[k], c.In[4].Data[k]
		} else if rows > 0 {
			n.mean, n.variance = meanVariance(x)
		}
		n.rstd = 1 / math.Sqrt(n.variance+c.Floats[0])
		visit(n, x, func(r int) int { return r*cols + k })
	}
}

func meanVariance(x []float64) (mean, variance float64) {
	for _, v := range x {
		mean += v
	}
	mean /= float64(len(x))
	for _, v := range x {
		variance += (v - mean) * (v - mean)
	}
	return mean, variance / float64(len(x))
}

// preActivation is gamma xhat + beta with the error it may carry; magnitude is the mean |x| where the mean was computed.
func (n channel) preActivation(x, eps, magnitude float64) (value, err float64) {
	xhat := n.scale() * (x - n.mean)
	err = eps*(8*math.Abs(xhat)+math.Abs(n.beta)+math.Abs(n.scale())*magnitude/64) + tiny*(1+math.Abs(x-n.mean))
	return xhat + n.beta, err
}

// errorAt bounds the error of the activation's value where its argument is x within delta.
func (a Activation) errorAt(x, delta float64) float64 {
	y := a.Apply(x)
	return math.Max(math.Abs(a.Apply(x-delta)-y), math.Abs(a.Apply(x+delta)-y)) + 8*Eps32*math.Abs(y) + tiny*(1+math.Min(math.Abs(x), 128))
}

// derivativeErrorAt bounds the error of the activation's derivative where its argument is x within delta.
func (a Activation) derivativeErrorAt(x, delta float64) float64 {
	d := a.Derivative(x)
	terms := math.Abs(d)
	switch a.Kind { // these pass through 0, so that their error is that of their terms
	case ActGELU:
		terms = normalCDF(x) + math.Abs(x)*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	case ActSiLU:
		terms = sigmoid(x) * (1 + math.Abs(x)*sigmoid(-x))
	}
	return math.Max(math.Abs(a.Derivative(x-delta)-d), math.Abs(a.Derivative(x+delta)-d)) + 8*Eps32*terms + 128*tiny
}

func batchNormGradBound(c *RefCall, eps float64) [][]float64 {
	bounds := eachBound(c, func(*Dense, int) float64 { return 0 })
	forChannels(c, func(n channel, x []float64, at func(r int) int) {
		rows := float64(len(x))
		g, gErr := make([]float64, len(x)), make([]float64, len(x))
		var sumErr, dotErr, sumAbs, dotAbs float64
		for r, v := range x {
			pre, delta := n.preActivation(v, eps, 0)
			dy, xhat := c.In[5].Data[at(r)], (v-n.mean)*n.rstd
			g[r] = n.act.chain(n.act.Derivative(pre), dy)
			gErr[r] = math.Abs(dy)*n.act.derivativeErrorAt(pre, delta) + eps*math.Abs(g[r]) + tiny
			sumErr += gErr[r]
			dotErr += gErr[r]*math.Abs(xhat) + 4*eps*math.Abs(g[r]*xhat) + tiny
			sumAbs += math.Abs(g[r])
			dotAbs += math.Abs(g[r] * xhat)
		}
		sumErr += productSumBound(len(x), sumAbs, eps)
		dotErr += productSumBound(len(x), dotAbs, eps)
		bounds[1][n.index], bounds[2][n.index] = dotErr, sumErr
		sum, dot := c.Out[2].Data[n.index]/rows, c.Out[1].Data[n.index]/rows
		for r, v := range x {
			xhat := math.Abs((v - n.mean) * n.rstd)
			bounds[0][at(r)] = math.Abs(n.scale())*(gErr[r]+sumErr/rows+xhat*dotErr/rows+
				eps*(4*math.Abs(g[r])+4*math.Abs(sum)+8*math.Abs(xhat*dot))) + tiny*(1+math.Abs(g[r]))
		}
	})
	return bounds
}

// batchNormEvalGrad composes the gradient of other operations: it is wanted where a trained network is differentiated
// with its statistics frozen.
func batchNormEvalGrad(c *GradCall) {
	x, gamma, mean, variance := c.In(0), c.In(1), c.In(3), c.In(4)
	act, dpre := Activation{ActivationKind(c.Ints[0].N), c.Floats[1].V}, c.OutGrad(0)
	if act.Kind != ActNone {
		pre := batchNormEval(x, gamma, c.In(2), mean, variance, c.Floats[0].V, Activation{})
		dpre = ActivationGrad(pre, dpre, act)
	}
	rstd := Rsqrt(Affine(variance, 1, c.Floats[0].V))
	scale := Mul(gamma, rstd)
	if c.NeedsGrad(0) {
		c.SetIn(0, Mul(dpre, scale))
	}
	if c.NeedsGrad(2) || c.NeedsGrad(3) {
		dbeta := sumTo(dpre, gamma.Shape())
		c.SetIn(2, dbeta)
		c.SetIn(3, Neg(Mul(scale, dbeta)))
	}
	if c.NeedsGrad(1) || c.NeedsGrad(4) {
		dgamma := sumTo(Mul(dpre, Mul(Sub(x, mean), rstd)), gamma.Shape())
		c.SetIn(1, dgamma)
		c.SetIn(4, Scale(Mul(Mul(scale, rstd), dgamma), -.5))
	}
}

// byChannel views x [..., C] as rows, computes, and gives the first result x's shape again.
func byChannel(x Tensor, f func(rows Tensor) []Tensor) []Tensor {
	shape := x.Shape()
	if x.Valid() && len(shape) != 2 && len(shape) > 0 {
		rest, err := shape[:len(shape)-1].Count()
		if err != nil {
			x.g.Fail(err)
		}
		x = Reshape(x, rest, x.Dim(-1))
	}
	r := f(x)
	if r[0].Valid() && len(shape) != 2 {
		r[0] = Reshape(r[0], shape...)
	}
	return r
}

// BatchNormTrain normalises each channel of x [..., C] by the mean and biased variance of all that lies before the last
// axis, applies gamma and beta [C] and the activation, and emits the statistics [C] for running averages.
func BatchNormTrain(x, gamma, beta Tensor, eps float64, act Activation) (y, mean, variance Tensor) {
	kind, p := act.attributes()
	r := byChannel(x, func(x Tensor) []Tensor {
		return record(OpBatchNormTrain, graphOf(x, gamma, beta), []Tensor{x, gamma, beta}, nil, []Int{kind}, []Float{V(eps), p})
	})
	return r[0], r[1], r[2]
}

// BatchNormEval normalises each channel of x [..., C] by the given statistics [C]; otherwise as BatchNormTrain.
func BatchNormEval(x, gamma, beta, mean, variance Tensor, eps float64, act Activation) Tensor {
	return byChannel(x, func(x Tensor) []Tensor {
		return []Tensor{batchNormEval(x, gamma, beta, mean, variance, eps, act)}
	})[0]
}

func batchNormEval(x, gamma, beta, mean, variance Tensor, eps float64, act Activation) Tensor {
	kind, p := act.attributes()
	return record(OpBatchNormEval, graphOf(x, gamma, beta, mean, variance), []Tensor{x, gamma, beta, mean, variance}, nil, []Int{kind},
		[]Float{V(eps), p})[0]
}

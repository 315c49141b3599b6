package probpsenn

import (
	"math"

	"github.com/credence-ml/credence/ops"
)

// The clip of the interpretation term (section 1.5): below it the density has done enough, above it there is no
// gradient, so a badly fitted distribution must not start there (trap T1).
const (
	interpretationLow  = -1
	interpretationHigh = 10000
)

// terms are the parts of the loss, each a scalar; the zero Tensor where a part is not in use.
type terms struct {
	nll, reconstruction, nearest, interpretation, kl, priorKL ops.Tensor
	total                                                     ops.Tensor
}

// sum joins the terms with their weights.
func (t *terms) sum(g *ops.Graph, w LossWeights) {
	add := func(x ops.Tensor, weight float64) {
		if !x.Valid() || weight == 0 {
			return
		}
		x = ops.Affine(ops.Reshape(x, ops.N(1)), weight, 0)
		if t.total.Valid() {
			x = ops.Add(t.total, x)
		}
		t.total = x
	}
	add(t.nll, w.NLL)
	add(t.reconstruction, w.Reconstruction)
	add(t.nearest, w.Nearest)
	add(t.interpretation, w.Interpretation)
	add(t.kl, w.KL)
	add(t.priorKL, w.PriorKL)
	if !t.total.Valid() {
		t.total = ops.Full(g, ops.F32, 0, ops.Dims(1))
	}
}

// jointTerms records every term of joint training that has a weight. z are the latent vectors (sampled, for a VAE:
// trap T1), label [B*S] repeats each input's class for every sample, own [B, C] is 1 at the class of the input.
func jointTerms(c *Config, r *recorded, w, z, samples, label, own ops.Tensor) terms {
	t := terms{nll: ops.Mean(ops.CrossEntropy(logits(distances(z, samples), w), label))}
	if c.Loss.Interpretation > 0 || c.Loss.Nearest > 0 {
		nlp := r.negativeLogDensity(z, r.density())
		if c.Loss.Nearest > 0 {
			t.nearest = ops.Mean(ops.Min(nlp, 0))
		}
		if c.Loss.Interpretation > 0 {
			class := classDensity(nlp, int64(c.Classes), int64(c.PerClass))
			label := ops.Sum(ops.Mul(class, own), 1) // [B, 1]
			t.interpretation = ops.Mean(ops.Clamp(label, interpretationLow, interpretationHigh))
		}
	}
	if c.Loss.PriorKL > 0 && c.Prototypes != Point {
		t.priorKL = r.priorKL()
	}
	return t
}

// reconstructionTerm is the mean over batch and pixels of the squared error.
func reconstructionTerm(target, picture ops.Tensor) ops.Tensor {
	return ops.Mean(ops.Square(ops.Sub(target, picture)))
}

// encoderKL is the mean over the batch of KL(N(m, exp(lv)) || N(0, I)), summed over the latent dimensions.
func encoderKL(mean, logVariance ops.Tensor, latent int64) ops.Tensor {
	inner := ops.Sub(ops.Add(ops.Exp(logVariance), ops.Square(mean)), ops.Affine(logVariance, 1, 1))
	return ops.Affine(ops.Mean(inner), .5*float64(latent), 0)
}

// priorKL is the mean over the components of KL(N(mu, L L') || N(0, I)) = (|mu|^2 + |L|^2 - D)/2 - log det L.
func (r *recorded) priorKL() ops.Tensor {
	n := float64(r.k * r.m)
	total := ops.Add(ops.Reshape(ops.SumSquares(r.mean), ops.N(1)), ops.Reshape(ops.SumSquares(r.factor), ops.N(1)))
	normalizer := ops.Reshape(ops.Mean(r.logNormalizer()), ops.N(1)) // log det L + D/2 log 2 pi
	d := float64(r.d)
	return ops.Sub(ops.Affine(total, .5/n, -.5*d), ops.Affine(normalizer, 1, -d/2*math.Log(2*math.Pi)))
}

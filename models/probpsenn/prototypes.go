package probpsenn

import (
	"fmt"
	"math"

	"github.com/credence-ml/credence/ops"
)

// scaleFloor is the least value on the diagonal of L, as in the FillScaleTriL bijector of TensorFlow Probability.
const scaleFloor = 1e-5

// prototypes are the variables of K distributions over R^D, each of m Gaussian components (1, or 2 for a mixture).
// Component j of distribution k is row k*m + j.
type prototypes struct {
	kind       PrototypeKind
	k, m, d    int64
	mean       *ops.Var // [K*m, D]
	scale      *ops.Var // full, mixture: [K*m, D, D], see ops.TrilSoftplus; diag: [K, D], softplus gives the deviation
	logWeights *ops.Var // mixture: [K, m], before the softmax
}

// declare adds the variables with the initial laws of section 1.2; the fit replaces them before joint training.
func (p *prototypes) declare(d *declaration, c *Config) {
	p.kind, p.k, p.m, p.d = c.Prototypes, int64(c.prototypes()), int64(c.components()), int64(c.Latent)
	p.mean = d.param("prototypes.mean", d.normal(0, 1), p.k*p.m, p.d)
	switch p.kind {
	case Full:
		p.scale = d.param("prototypes.scale", d.normal(.2, .1), p.k, p.d, p.d)
	case Mixture:
		p.scale = d.param("prototypes.scale", d.normal(.3, .3), p.k*p.m, p.d, p.d)
		p.logWeights = d.param("prototypes.weights", d.normal(1, .2), p.k, p.m)
	case Diag:
		p.scale = d.param("prototypes.scale", d.normal(.2, .1), p.k, p.d)
	}
}

// vars lists the variables that exist.
func (p *prototypes) vars() []*ops.Var {
	r := []*ops.Var{p.mean}
	for _, v := range []*ops.Var{p.scale, p.logWeights} {
		if v != nil {
			r = append(r, v)
		}
	}
	return r
}

// recorded are the prototypes in one graph.
type recorded struct {
	*prototypes
	g       *ops.Graph
	mean    ops.Tensor // [K*m, D]
	factor  ops.Tensor // full, mixture: L [K*m, D, D]; diag: deviations [K, D]
	weights ops.Tensor // mixture: log pi [K, m]
}

func (p *prototypes) record(g *ops.Graph) *recorded {
	r := &recorded{prototypes: p, g: g, mean: g.Use(p.mean)}
	switch p.kind {
	case Full, Mixture:
		r.factor = ops.TrilSoftplus(g.Use(p.scale), scaleFloor)
	case Diag:
		r.factor = ops.Activate(g.Use(p.scale), ops.Activation{Kind: ops.ActSoftplus})
	}
	if p.kind == Mixture {
		r.weights = ops.LogSoftmax(g.Use(p.logWeights))
	}
	return r
}

// samples draws s joint samples [s, K, D] by P = mu + L eps. row0 is the base of the random numbers: sample i of
// component row c is addressed by (seed, stream, row0 + c*s + i).
func (r *recorded) samples(s int64, seed, row0 ops.Int) ops.Tensor {
	n, d := r.k*r.m, r.d
	mean := ops.Reshape(r.mean, ops.N(n), ops.N(1), ops.N(d))
	if r.kind == Point {
		return ops.Reshape(r.mean, ops.N(1), ops.N(n), ops.N(d))
	}
	eps := ops.Reshape(ops.RandomNormal(r.g, ops.Dims(n*s, d), seed, ops.N(streamPrototypes), row0, ops.V(0), ops.V(1)),
		ops.N(n), ops.N(s), ops.N(d))
	var p ops.Tensor // [K*m, s, D]
	if r.kind == Diag {
		p = ops.Add(mean, ops.Mul(eps, ops.Reshape(r.factor, ops.N(n), ops.N(1), ops.N(d))))
	} else {
		p = ops.Add(mean, ops.TriMatMul(r.factor, eps, false))
	}
	if r.kind == Mixture {
		p = r.choose(p, s, seed, row0)
	}
	return ops.Contiguous(ops.Permute(p, 1, 0, 2))
}

// choose picks one of two components for each draw, p [K*2, s, D] -> [K, s, D]. The choice is a threshold on logistic
// noise; its gradient is that of the relaxed choice (straight-through, Jang et al. 2017), so that the mixture weights
// learn from the classification too, which they cannot in the original (trap T7).
func (r *recorded) choose(p ops.Tensor, s int64, seed, row0 ops.Int) ops.Tensor {
	g := r.g
	u := ops.Reshape(ops.RandomUniform(g, ops.Dims(r.k*s, 1), seed, ops.N(streamComponents), row0, ops.V(1e-6), ops.V(1-1e-6)),
		ops.N(r.k), ops.N(s), ops.N(1))
	noise := ops.Sub(ops.Log(u), ops.Log(ops.Affine(u, -1, 1)))
	first := ops.Slice(r.weights, 1, ops.N(0), ops.N(1))
	second := ops.Slice(r.weights, 1, ops.N(1), ops.N(1))
	logit := ops.Add(ops.Reshape(ops.Sub(first, second), ops.N(r.k), ops.N(1), ops.N(1)), noise)
	soft := ops.Activate(logit, ops.Activation{Kind: ops.ActSigmoid})
	hard := ops.GreaterEqual(logit, ops.Full(g, ops.F32, 0, ops.Dims(1)))
	take := ops.Add(soft, ops.Detach(ops.Sub(hard, soft)))
	both := ops.Reshape(p, ops.N(r.k), ops.N(2), ops.N(s), ops.N(r.d))
	part := func(j int64) ops.Tensor {
		return ops.Reshape(ops.Slice(both, 1, ops.N(j), ops.N(1)), ops.N(r.k), ops.N(s), ops.N(r.d))
	}
	a, b := part(0), part(1)
	return ops.Add(b, ops.Mul(take, ops.Sub(a, b)))
}

// whitening is the affine map u = L^-1 (z - mu) of all components at once: u = z A - b with A [D, K*m*D], b [K*m*D].
// The triangular factors are inverted once, whatever the batch.
func (r *recorded) whitening() (a, b ops.Tensor) {
	n, d := r.k*r.m, r.d
	g := r.g
	identity := make([]float32, d*d)
	for i := range d {
		identity[i*d+i] = 1
	}
	eye := g.Const("identity", identity, 1, d, d)
	switch r.kind {
	case Point:
		a = ops.Contiguous(ops.BroadcastTo(ops.Reshape(eye, ops.N(d), ops.N(1), ops.N(d)), ops.Dims(d, n, d)))
		b = ops.Reshape(r.mean, ops.N(n*d))
	case Diag:
		inverse := ops.Reciprocal(r.factor) // [K, D]
		a = ops.Mul(ops.Reshape(eye, ops.N(d), ops.N(1), ops.N(d)), ops.Reshape(inverse, ops.N(1), ops.N(n), ops.N(d)))
		b = ops.Reshape(ops.Mul(r.mean, inverse), ops.N(n*d))
	default:
		// row i of the solution is L^-1 e_i, so [c, i, j] = (L_c^-1)_ji
		columns := ops.TriSolve(r.factor, ops.Contiguous(ops.BroadcastTo(eye, ops.Dims(n, d, d))), false)
		a = ops.Contiguous(ops.Permute(columns, 1, 0, 2))
		b = ops.Reshape(ops.TriSolve(r.factor, ops.Reshape(r.mean, ops.N(n), ops.N(1), ops.N(d)), false), ops.N(n*d))
	}
	return ops.Reshape(a, ops.N(d), ops.N(n*d)), b
}

// logNormalizer is log det L + D/2 log 2 pi of every component, [K*m].
func (r *recorded) logNormalizer() ops.Tensor {
	n := r.k * r.m
	constant := float64(r.d) / 2 * math.Log(2*math.Pi)
	switch r.kind {
	case Point:
		return ops.Full(r.g, ops.F32, constant, ops.Dims(n))
	case Diag:
		return ops.Affine(ops.Reshape(ops.Sum(ops.Log(r.factor), 1), ops.N(n)), 1, constant)
	}
	return ops.Affine(ops.TriLogDet(r.factor), 1, constant)
}

// declareDerived adds what prediction needs of the prototypes, computed once per model: samples and whitening.
func (p *prototypes) declareDerived(s *ops.Segment, samples int64) *derived {
	d := &derived{samples: s.Add("samples", ops.F32, samples, p.k, p.d), a: s.Add("whitening", ops.F32, p.d, p.k*p.m*p.d),
		b: s.Add("whitened means", ops.F32, p.k*p.m*p.d), normalizer: s.Add("normalizers", ops.F32, p.k*p.m)}
	if p.kind == Mixture {
		d.weights = s.Add("log weights", ops.F32, p.k, p.m)
	}
	return d
}

// derived are the variables of declareDerived.
type derived struct{ samples, a, b, normalizer, weights *ops.Var }

// density is the recorded form.
func (d *derived) density(g *ops.Graph) density {
	q := density{a: g.Use(d.a), b: g.Use(d.b), normalizer: g.Use(d.normalizer)}
	if d.weights != nil {
		q.weights = g.Use(d.weights)
	}
	return q
}

// density is what negativeLogDensity needs of the prototypes, whatever the batch.
type density struct{ a, b, normalizer, weights ops.Tensor }

func (r *recorded) density() density {
	a, b := r.whitening()
	return density{a: a, b: b, normalizer: r.logNormalizer(), weights: r.weights}
}

// mahalanobis is |L^-1 (z - mu)|^2 of latent vectors [B, D] under every component, [B, K*m].
func (p *prototypes) mahalanobis(z ops.Tensor, q density) ops.Tensor {
	n := p.k * p.m
	batch := z.Dim(0)
	u := ops.Sub(ops.MatMul(z, q.a, ops.MatMulOptions{}), q.b)
	square := ops.SumSquares(ops.Reshape(u, batch.Times(n), ops.N(p.d)), 1)
	return ops.Reshape(square, batch, ops.N(n))
}

// negativeLogDensity is -log q_k(z) of latent vectors [B, D] under every distribution, [B, K] (section 1.5, nlp).
func (p *prototypes) negativeLogDensity(z ops.Tensor, q density) ops.Tensor {
	nlp := ops.Add(ops.Affine(p.mahalanobis(z, q), .5, 0), q.normalizer)
	if p.kind != Mixture {
		return nlp
	}
	batch := z.Dim(0)
	logs := ops.Sub(ops.Reshape(q.weights, ops.N(p.k*p.m)), nlp)
	return ops.Neg(ops.Reshape(ops.LogSumExp(ops.Reshape(logs, batch.Times(p.k), ops.N(p.m))), batch, ops.N(p.k)))
}

// classDensity joins the distributions of each class with equal weights: [B, K] -> [B, C].
func classDensity(nlp ops.Tensor, classes, perClass int64) ops.Tensor {
	if perClass == 1 {
		return nlp
	}
	batch := nlp.Dim(0)
	lse := ops.LogSumExp(ops.Reshape(ops.Neg(nlp), batch.Times(classes), ops.N(perClass)))
	return ops.Affine(ops.Reshape(lse, batch, ops.N(classes)), -1, math.Log(float64(perClass)))
}

// String is for messages.
func (p *prototypes) String() string {
	return fmt.Sprintf("%d %s prototypes in %d dimensions", p.k, p.kind, p.d)
}

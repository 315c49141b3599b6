package probpsenn

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/credence-ml/credence/ops"
)

// evaluate runs a case's graph in float64 and returns the outputs.
func evaluate(t *testing.T, g *ops.CaseGraph, outs ...ops.Tensor) [][]float64 {
	require.NoError(t, g.Err())
	g.Output(outs...)
	g.Promote()
	l, err := g.SimpleLowering()
	require.NoError(t, err)
	p, err := g.Lower(l)
	require.NoError(t, err)
	values, err := g.Evaluate(p, p.NewMemory(), outs)
	require.NoError(t, err)
	var r [][]float64
	for _, v := range values {
		r = append(r, v.Data)
	}
	return r
}

// G1 of the specification, worked out by hand there.
func TestGoldenHead(t *testing.T) {
	g := ops.NewCaseGraph(1)
	z := g.Values(ops.F32, []float64{1, 2}, 1, 2)
	samples := g.Values(ops.F32, []float64{0, 0, 1, 1, 1, 2, 3, 2}, 2, 2, 2)
	w := g.Values(ops.F32, []float64{-.5, 0, 0, -.5}, 2, 2)
	d := distances(z, samples)
	l := logits(d, w)
	nll := ops.Mean(ops.CrossEntropy(l, g.Values(ops.I32, []float64{1, 1}, 2)))
	v := evaluate(t, g, d, ops.Softmax(l), nll)
	assert.InDeltaSlice(t, []float64{5, 1, 0, 4}, v[0], 1e-6)
	assert.InDeltaSlice(t, []float64{0.11920292, 0.88079708, 0.88079708, 0.11920292}, v[1], 1e-6)
	assert.InDelta(t, 1.12692801, v[2][0], 1e-6)
	mean := make([]float64, 2)
	predictive, aleatoric := summarize(mean, []float32{0.11920292, 0.88079708, 0.88079708, 0.11920292})
	assert.InDeltaSlice(t, []float64{.5, .5}, mean, 1e-6)
	assert.InDelta(t, 0.69314718, predictive, 1e-6)
	assert.InDelta(t, 0.36533386, aleatoric, 1e-6)
	assert.InDelta(t, 0.32781333, predictive-aleatoric, 1e-6)
}

// rawScale is the variable that gives the factor [[1, 0], [.5, 2]].
func rawScale() []float64 {
	return []float64{inverseSoftplus(1 - scaleFloor), 0, .5, inverseSoftplus(2 - scaleFloor)}
}

// case2 are full prototypes in two dimensions whose variables are inputs of a case.
func record2(g *ops.CaseGraph, mean, scale []float64) *recorded {
	p := &prototypes{kind: Full, k: int64(len(mean) / 2), m: 1, d: 2}
	return &recorded{prototypes: p, g: g.Graph, mean: g.Values(ops.F32, mean, p.k, 2),
		factor: ops.TrilSoftplus(g.Values(ops.F32, scale, p.k, 2, 2), scaleFloor)}
}

// G2: density and distance moments of a Gaussian, closed form and Monte Carlo.
func TestGoldenDensityAndMoments(t *testing.T) {
	g := ops.NewCaseGraph(1)
	r := record2(g, []float64{0, 0}, rawScale())
	nlp := r.negativeLogDensity(g.Values(ops.F32, []float64{1, 2}, 1, 2), r.density())
	assert.InDelta(t, 3.31227425, evaluate(t, g, nlp)[0][0], 1e-5)

	l := mat.NewTriDense(2, mat.Lower, []float64{1, 0, .5, 2})
	mean, variance := DistanceMoments([]float64{1, 2}, []float64{0, 0}, l)
	assert.InDelta(t, 10.25, mean, 1e-12)
	assert.InDelta(t, 119.125, variance, 1e-12)

	// the sampler agrees with the closed form within four standard errors
	const n = 100000
	g = ops.NewCaseGraph(1)
	r = record2(g, []float64{0, 0}, rawScale())
	d := evaluate(t, g, distances(g.Values(ops.F32, []float64{1, 2}, 1, 2), r.samples(n, ops.N(5), ops.N(0))))[0]
	sum, square, fourth := 0.0, 0.0, 0.0
	for _, v := range d {
		sum += v
	}
	for _, v := range d {
		e := v - sum/n
		square += e * e
		fourth += e * e * e * e
	}
	assert.InDelta(t, mean, sum/n, 4*math.Sqrt(variance/n))
	assert.InDelta(t, variance, square/n, 4*math.Sqrt((fourth/n-variance*variance)/n))
}

// G6: with next to no spread the model is a point-prototype network with a Gaussian posterior.
func TestGoldenDegeneratesToPoints(t *testing.T) {
	g := ops.NewCaseGraph(1)
	mean := []float64{0, 0, 1, 1, -1, 2}
	var scale []float64
	for range 3 {
		scale = append(scale, -40, 0, 0, -40)
	}
	r := record2(g, mean, scale)
	w := g.Values(ops.F32, []float64{-.5, 0, 0, 0, -.5, 0, 0, 0, -.5}, 3, 3)
	z := []float64{.3, .7, -2, 1}
	p := evaluate(t, g, ops.Softmax(logits(distances(g.Values(ops.F32, z, 2, 2), r.samples(1, ops.N(5), ops.N(0))), w)))[0]
	for b := range 2 {
		var want [3]float64
		sum := 0.0
		for k := range 3 {
			want[k] = math.Exp(-.5 * squared(z[2*b:2*b+2], mean[2*k:2*k+2]))
			sum += want[k]
		}
		for k := range 3 {
			assert.InDelta(t, want[k]/sum, p[3*b+k], 1e-3)
		}
	}
}

// G5: the gradient of the whole joint loss by central differences on every parameter, for every kind of prototypes, with
// one density below the clip of the interpretation term and others within it.
func TestGradientOfTheWholeLoss(t *testing.T) {
	for _, kind := range PrototypeKinds {
		for _, perClass := range []int{1, 2} {
			t.Run(string(kind), func(t *testing.T) { checkLossGradient(t, kind, perClass) })
		}
	}
}

func checkLossGradient(t *testing.T, kind PrototypeKind, perClass int) {
	const d, classes, samples, batch = 3, 3, 2, 4
	c := DefaultConfig()
	c.Classes, c.Latent, c.Samples, c.Prototypes, c.PerClass, c.Network = classes, d, samples, kind, perClass, "features"
	c.Loss = LossWeights{NLL: 1, Nearest: .3, Interpretation: .5, PriorKL: .1}
	r := rand.New(rand.NewPCG(3, 5))
	declared := newDeclaration(&c)
	p := &prototypes{}
	p.declare(declared, &c)
	g := ops.NewCaseGraph(1)
	normal := func(n int64, scale float64) []float64 {
		v := make([]float64, n)
		for i := range v {
			v[i] = scale * r.NormFloat64()
		}
		return v
	}
	input := map[*ops.Var]ops.Tensor{}
	for _, v := range p.vars() {
		values := normal(v.Count(), .5)
		if v == p.scale && kind != Point { // the first distribution is narrow: its density lies beyond the clip
			for i := range values[:v.Count()/int64(classes*perClass)] {
				values[i] *= .01
				if kind == Diag || i%(d*d)%(d+1) == 0 {
					values[i] = -4
				}
			}
		}
		input[v] = g.Values(ops.F32, values, v.Dims...)
	}
	rec := &recorded{prototypes: p, g: g.Graph, mean: input[p.mean]}
	switch kind {
	case Full, Mixture:
		rec.factor = ops.TrilSoftplus(input[p.scale], scaleFloor)
	case Diag:
		rec.factor = ops.Activate(input[p.scale], ops.Activation{Kind: ops.ActSoftplus})
	}
	if kind == Mixture {
		rec.weights = ops.LogSoftmax(input[p.logWeights])
	}
	s := int64(samples)
	if kind == Point {
		s = 1
	}
	z := g.Values(ops.F32, normal(batch*d, 1), batch, d)
	w := g.Values(ops.F32, normal(int64(c.prototypes()*classes), .3), int64(c.prototypes()), classes)
	var labels, own []float64
	for b := range batch {
		for range s {
			labels = append(labels, float64(b%classes))
		}
		for class := range classes {
			own = append(own, map[bool]float64{true: 1}[class == b%classes])
		}
	}
	tt := jointTerms(&c, rec, w, z, rec.samples(s, ops.N(7), ops.N(0)), g.Values(ops.I32, labels, batch*s),
		g.Frozen(g.Values(ops.F32, own, batch, classes)))
	tt.sum(g.Graph, c.Loss)
	require.NoError(t, g.Err())
	checkDerivatives(t, g, tt.total, func(x ops.Tensor) bool {
		// the relaxed choice of a mixture has a gradient that is not that of the hard choice it computes
		return kind == Mixture && x == input[p.logWeights]
	}, math.MaxInt)
}

// checkDerivatives compares the gradient of a scalar with central differences in float64, for so many elements of every
// differentiable input that is not left out.
func checkDerivatives(t *testing.T, g *ops.CaseGraph, total ops.Tensor, leaveOut func(x ops.Tensor) bool, most int) {
	var wrt []ops.Tensor
	for _, in := range g.Inputs() {
		if in.Differentiable && !leaveOut(in.Tensor) {
			wrt = append(wrt, in.Tensor)
		}
	}
	grads := ops.Gradients(total, wrt...)
	require.NoError(t, g.Err())
	outs := append([]ops.Tensor{total}, grads...)
	g.Output(outs...)
	g.Promote()
	l, err := g.SimpleLowering()
	require.NoError(t, err)
	program, err := g.Lower(l)
	require.NoError(t, err)
	memory := program.NewMemory()
	value := func(of []ops.Tensor) [][]float64 {
		values, err := g.Evaluate(program, memory, of)
		require.NoError(t, err)
		var r [][]float64
		for _, v := range values {
			r = append(r, v.Data)
		}
		return r
	}
	analytic := value(outs)
	r := rand.New(rand.NewPCG(8, 8))
	for i, x := range wrt {
		var data []float64
		for _, in := range g.Inputs() {
			if in.Tensor == x {
				data = in.Data.Data
			}
		}
		elements := r.Perm(len(data))
		for _, k := range elements[:min(most, len(elements))] {
			const h = 1e-7 // small, so that hardly a unit passes the kink of its activation
			saved := data[k]
			data[k] = saved + h
			up := value(outs[:1])[0][0]
			data[k] = saved - h
			down := value(outs[:1])[0][0]
			data[k] = saved
			want := (up - down) / (2 * h)
			assert.InDelta(t, want, analytic[i+1][k], 1e-5*(1+math.Abs(want)), "%v, element %d", x, k)
		}
	}
}

// The same through encoder and decoder, so that every term of the loss is in it: a VAE, whose latent vectors are sampled,
// with reconstruction and both divergences, pictures of 32 x 32 and networks of a few channels.
func TestGradientThroughTheNetworks(t *testing.T) {
	for _, vae := range []bool{false, true} {
		t.Run(map[bool]string{false: "autoencoder", true: "VAE"}[vae], func(t *testing.T) { checkNetworkGradient(t, vae) })
	}
}

func checkNetworkGradient(t *testing.T, vae bool) {
	const d, classes, samples, batch = 3, 2, 2, 3
	c := DefaultConfig()
	c.Classes, c.Latent, c.Samples, c.VAE = classes, d, samples, vae
	c.Loss = LossWeights{NLL: 1, Reconstruction: 10, Nearest: .3, Interpretation: .05, KL: .2, PriorKL: .1}
	r := rand.New(rand.NewPCG(3, 6))
	declared := newDeclaration(&c)
	network := &picture{widths: []int64{2, 2, 3, 4}, n: 1}
	network.declare(declared, &c)
	p := &prototypes{}
	p.declare(declared, &c)
	head := declared.param("head.weight", headInitial(&c, r.Float64), classes, classes)
	g := ops.NewCaseGraph(1)
	b := &builder{g: g.Graph, training: true, given: map[*ops.Var]ops.Tensor{}}
	for _, v := range declared.params.Vars() {
		b.given[v] = g.Values(ops.F32, widen(declared.values(v)), v.Dims...)
	}
	pixels := make([]float64, batch*side*side)
	for i := range pixels {
		pixels[i] = 2*r.Float64() - 1
	}
	x := g.Frozen(g.Values(ops.F32, pixels, batch, side, side, 1))
	mean, logVariance := network.encode(b, x)
	z := mean
	if vae {
		z = sampleLatent(g.Graph, mean, logVariance, 1, streamLatent, ops.N(0))
	}
	rec := &recorded{prototypes: p, g: g.Graph, mean: b.given[p.mean], factor: ops.TrilSoftplus(b.given[p.scale], scaleFloor)}
	labels, own := []float64{0, 0, 1, 1, 0, 0}, []float64{1, 0, 0, 1, 1, 0}
	tt := jointTerms(&c, rec, b.given[head], z, rec.samples(samples, ops.N(7), ops.N(0)), g.Values(ops.I32, labels, batch*samples),
		g.Frozen(g.Values(ops.F32, own, batch, classes)))
	tt.reconstruction = reconstructionTerm(x, network.decode(b, z))
	if vae {
		tt.kl = encoderKL(mean, logVariance, d)
	}
	tt.sum(g.Graph, c.Loss)
	require.NoError(t, g.Err())
	for _, term := range []ops.Tensor{tt.nll, tt.reconstruction, tt.nearest, tt.interpretation, tt.priorKL} {
		require.True(t, term.Valid())
	}
	require.Equal(t, vae, tt.kl.Valid())
	checkDerivatives(t, g, tt.total, func(ops.Tensor) bool { return false }, fewer(12, 2))
}

// G7: the order of the samples and the cut into batches change nothing.
func TestSummaryDoesNotDependOnSampleOrder(t *testing.T) {
	a, b := make([]float64, 2), make([]float64, 2)
	h1, a1 := summarize(a, []float32{.1, .9, .6, .4, .3, .7})
	h2, a2 := summarize(b, []float32{.3, .7, .1, .9, .6, .4})
	assert.InDeltaSlice(t, a, b, 1e-12)
	assert.InDelta(t, h1, h2, 1e-12)
	assert.InDelta(t, a1, a2, 1e-12)
}

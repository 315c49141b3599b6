package probpsenn

import (
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/credence-ml/credence/ops"
)

// gaussians are the prototype distributions on the host, in float64. Component j of distribution k is row k*m + j.
type gaussians struct {
	k, m, d int
	mean    [][]float64
	factor  []*mat.TriDense // L; nil for points
	trace   []float64       // of L L'
	weight  []float64       // of the component within its distribution
}

// gaussians reads the prototypes from the device.
func (m *Model) gaussians() (*gaussians, error) {
	p := m.prototypes
	g := &gaussians{k: int(p.k), m: int(p.m), d: int(p.d)}
	n := g.k * g.m
	var err error
	read := func(v *ops.Var) []float32 {
		if v == nil || err != nil {
			return nil
		}
		values := make([]float32, v.Count())
		err = m.params.Read(v, values)
		return values
	}
	mean, scale, logits := read(p.mean), read(p.scale), read(p.logWeights)
	if err != nil {
		return nil, err
	}
	for c := range n {
		g.mean = append(g.mean, widen(mean[c*g.d:(c+1)*g.d]))
		l, trace := g.scaleOf(p.kind, scale, c)
		if l != nil {
			g.factor = append(g.factor, l)
		}
		g.trace = append(g.trace, trace)
		weight := 1.0
		if logits != nil {
			sum := 0.0
			for _, v := range logits[c/g.m*g.m : (c/g.m+1)*g.m] {
				sum += math.Exp(float64(v) - float64(logits[c]))
			}
			weight = 1 / sum
		}
		g.weight = append(g.weight, weight)
	}
	return g, nil
}

// scaleOf is the factor L of component c, as the device makes it of the variable, and the trace of L L'.
func (g *gaussians) scaleOf(kind PrototypeKind, scale []float32, c int) (*mat.TriDense, float64) {
	d, trace := g.d, 0.0
	var l *mat.TriDense
	switch kind {
	case Diag:
		l = mat.NewTriDense(d, mat.Lower, nil)
		for i := range d {
			l.SetTri(i, i, softplus(float64(scale[c*d+i])))
		}
	case Full, Mixture:
		l = mat.NewTriDense(d, mat.Lower, nil)
		for i := range d {
			row := scale[(c*d+i)*d : (c*d+i+1)*d]
			for j := range i {
				l.SetTri(i, j, float64(row[j]))
			}
			l.SetTri(i, i, softplus(float64(row[i]))+scaleFloor)
		}
	default:
		return nil, 0
	}
	for i := range d {
		for j := range i + 1 {
			trace += l.At(i, j) * l.At(i, j)
		}
	}
	return l, trace
}

func softplus(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

func widen(x []float32) []float64 {
	r := make([]float64, len(x))
	for i, v := range x {
		r[i] = float64(v)
	}
	return r
}

// expected is E |z - P|^2 under distribution k.
func (g *gaussians) expected(z []float64, k int) float64 {
	sum := 0.0
	for c := k * g.m; c < (k+1)*g.m; c++ {
		sum += g.weight[c] * (squared(z, g.mean[c]) + g.trace[c])
	}
	return sum
}

// moments are mean and variance of |z - P|^2 under distribution k; those of a mixture by the law of total variance.
func (g *gaussians) moments(z []float64, k int) (mean, variance float64) {
	second := 0.0
	for c := k * g.m; c < (k+1)*g.m; c++ {
		e, v := squared(z, g.mean[c]), 0.0
		if g.factor != nil {
			e, v = DistanceMoments(z, g.mean[c], g.factor[c])
		}
		mean += g.weight[c] * e
		second += g.weight[c] * (v + e*e)
	}
	return mean, math.Max(0, second-mean*mean)
}

// gaussian is mean and covariance of distribution k, joining the components of a mixture; no covariance for points.
func (g *gaussians) gaussian(k int) ([]float64, *mat.SymDense) {
	mean := make([]float64, g.d)
	for c := k * g.m; c < (k+1)*g.m; c++ {
		for i, v := range g.mean[c] {
			mean[i] += g.weight[c] * v
		}
	}
	if g.factor == nil {
		return mean, nil
	}
	cov := mat.NewSymDense(g.d, nil)
	for c := k * g.m; c < (k+1)*g.m; c++ {
		var within mat.SymDense
		within.SymOuterK(g.weight[c], g.factor[c])
		cov.AddSym(cov, &within)
		delta := mat.NewVecDense(g.d, nil)
		for i, v := range g.mean[c] {
			delta.SetVec(i, v-mean[i])
		}
		cov.SymRankOne(cov, g.weight[c], delta)
	}
	return mean, cov
}

package probpsenn

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

// SpreadReport tells how the latent space is used.
type SpreadReport struct {
	// Variances of the latent dimensions over the data. A dimension is dead if its variance is less than 1 % of their
	// mean; EffectiveDimension is that of the covariance of the data, see PrototypeReport.
	Variances          []float64 `json:"variances"`
	DeadDimensions     []int     `json:"dead_dimensions"`
	EffectiveDimension float64   `json:"effective_dimension"`
	// MeanDistances are Euclidean distances between the means of the classes. Bhattacharyya are the distances
	// -log integral sqrt(p q) between their Gaussians (several distributions of a class joined into one by its mean and
	// covariance); null for points and where it would take too long.
	MeanDistances [][]float64 `json:"mean_distances"`
	Bhattacharyya [][]float64 `json:"bhattacharyya"`
}

// LatentScatter is the latent space in two dimensions: principal components of the latent vectors of up to 2000 inputs.
type LatentScatter struct {
	Explained  [2]float64         `json:"explained"` // share of the variance that each component has
	Points     []ScatterPoint     `json:"points"`
	Prototypes []ScatterPrototype `json:"prototypes"`
}

// ScatterPoint is an input.
type ScatterPoint struct {
	Index int     `json:"index"`
	Label int     `json:"label"`
	X     float64 `json:"x"`
	Y     float64 `json:"y"`
}

// ScatterPrototype is a prototype distribution under the same projection.
type ScatterPrototype struct {
	Prototype  int            `json:"prototype"`
	Class      int            `json:"class"`
	Mean       [2]float64     `json:"mean"`
	Covariance *[2][2]float64 `json:"covariance"` // null for points
}

// scatterPoints bounds the inputs of a scatter.
const scatterPoints = 2000

func newLatentScatter(g *gaussians, perClass int, all []Prediction, labels []int32) (LatentScatter, error) {
	var s LatentScatter
	n := min(len(all), scatterPoints)
	rows := mat.NewDense(n, g.d, nil)
	for i := range n {
		at := i * len(all) / n
		rows.SetRow(i, widen(all[at].Latent))
		s.Points = append(s.Points, ScatterPoint{Index: at, Label: int(labels[at])})
	}
	axes, middle := mat.NewDense(g.d, 2, nil), make([]float64, g.d)
	if n > 2 && g.d > 1 {
		var pc stat.PC
		if !pc.PrincipalComponents(rows, nil) {
			return s, fmt.Errorf("prob-psenn: the latent vectors of %d inputs have no principal components", n)
		}
		var vectors mat.Dense
		pc.VectorsTo(&vectors)
		axes.Copy(&vectors)
		variances, sum := pc.VarsTo(nil), 0.0
		for _, v := range variances {
			sum += v
		}
		for j := range 2 {
			s.Explained[j] = variances[j] / math.Max(sum, math.SmallestNonzeroFloat64)
		}
	} else { // nothing to choose: the first dimensions as they are
		axes.Set(0, 0, 1)
		if g.d > 1 {
			axes.Set(1, 1, 1)
		}
	}
	for j := range middle {
		middle[j] = stat.Mean(mat.Col(nil, j, rows), nil)
	}
	project := func(z []float64) (xy [2]float64) {
		for j := range xy {
			for i, v := range z {
				xy[j] += (v - middle[i]) * axes.At(i, j)
			}
		}
		return xy
	}
	for i := range s.Points {
		xy := project(rows.RawRowView(i))
		s.Points[i].X, s.Points[i].Y = xy[0], xy[1]
	}
	for k := range g.k {
		mean, cov := g.gaussian(k)
		p := ScatterPrototype{Prototype: k, Class: k / perClass, Mean: project(mean)}
		if cov != nil {
			var half, flat mat.Dense
			half.Mul(cov, axes)
			flat.Mul(axes.T(), &half)
			p.Covariance = &[2][2]float64{{flat.At(0, 0), flat.At(0, 1)}, {flat.At(1, 0), flat.At(1, 1)}}
		}
		s.Prototypes = append(s.Prototypes, p)
	}
	return s, nil
}

// spread is trace, log-determinant and effective dimension of the covariance of distribution k; nil for points.
func (g *gaussians) spread(k int) (trace, logDet, effective *float64) {
	_, cov := g.gaussian(k)
	if cov == nil {
		return nil, nil, nil
	}
	t, l, d := spreadOf(cov)
	return &t, &l, &d
}

func spreadOf(cov *mat.SymDense) (trace, logDet, effective float64) {
	trace = mat.Trace(cov)
	var eigen mat.EigenSym
	if !eigen.Factorize(cov, false) {
		return trace, 0, 0 // covariances are finite, so this does not happen
	}
	squares := 0.0
	for _, v := range eigen.Values(nil) {
		squares += v * v
		logDet += math.Log(math.Max(v, 1e-300))
	}
	if squares > 0 {
		effective = trace * trace / squares
	}
	return trace, logDet, effective
}

// takenFor is the share of the samples of distribution k that the model takes for each class, on expected distances.
func (e *explainer) takenFor(k int) []float64 {
	classes, s := e.m.Config.Classes, e.predictor.samples
	shares := make([]float64, classes)
	for i := range s {
		z := widen(e.sample(i, k))
		logits := make([]float64, classes)
		for j := range e.gaussians.k {
			d := e.gaussians.expected(z, j)
			for class := range logits {
				logits[class] += d * float64(e.head[j*classes+class])
			}
		}
		best := 0
		for class, v := range logits {
			if v > logits[best] {
				best = class
			}
		}
		shares[best] += 1 / float64(s)
	}
	return shares
}

// pairBudget bounds the multiplications spent on Bhattacharyya distances: some seconds.
const pairBudget = 2e10

func newSpreadReport(c *Config, g *gaussians, all []Prediction) SpreadReport {
	s := SpreadReport{DeadDimensions: []int{}}
	rows := mat.NewDense(len(all), g.d, nil)
	for i := range all {
		rows.SetRow(i, widen(all[i].Latent))
	}
	if len(all) > 1 {
		cov := mat.NewSymDense(g.d, nil)
		stat.CovarianceMatrix(cov, rows, nil)
		var trace float64
		trace, _, s.EffectiveDimension = spreadOf(cov)
		for i := range g.d {
			s.Variances = append(s.Variances, cov.At(i, i))
			if cov.At(i, i) < .01*trace/float64(g.d) {
				s.DeadDimensions = append(s.DeadDimensions, i)
			}
		}
	}
	classes := g.classes(c.PerClass)
	s.MeanDistances = pairs(c.Classes, func(a, b int) float64 { return math.Sqrt(squared(classes[a].mean, classes[b].mean)) })
	cost := float64(c.Classes*c.Classes) / 2 * math.Pow(float64(g.d), 3)
	if g.factor != nil && cost < pairBudget {
		s.Bhattacharyya = pairs(c.Classes, func(a, b int) float64 { return bhattacharyya(&classes[a], &classes[b]) })
	}
	return s
}

func pairs(n int, f func(a, b int) float64) [][]float64 {
	m := make([][]float64, n)
	for a := range m {
		m[a] = make([]float64, n)
		for b := range a {
			m[a][b] = f(a, b)
			m[b][a] = m[a][b]
		}
	}
	return m
}

// classGaussian is the distribution of a class as one Gaussian.
type classGaussian struct {
	mean   []float64
	cov    *mat.SymDense
	logDet float64
}

// classes joins the perClass distributions of each class, which count alike.
func (g *gaussians) classes(perClass int) []classGaussian {
	list := make([]classGaussian, g.k/perClass)
	for class := range list {
		joined := &gaussians{k: 1, m: perClass * g.m, d: g.d}
		first, last := class*perClass*g.m, (class+1)*perClass*g.m
		joined.mean, joined.trace = g.mean[first:last], g.trace[first:last]
		if g.factor != nil {
			joined.factor = g.factor[first:last]
		}
		for _, w := range g.weight[first:last] {
			joined.weight = append(joined.weight, w/float64(perClass))
		}
		mean, cov := joined.gaussian(0)
		list[class] = classGaussian{mean: mean, cov: cov}
		if cov != nil {
			_, list[class].logDet, _ = spreadOf(cov)
		}
	}
	return list
}

// bhattacharyya is (a-b)' S^-1 (a-b) / 8 + log(det S / sqrt(det A det B)) / 2 with S = (A+B)/2.
func bhattacharyya(a, b *classGaussian) float64 {
	var sum mat.SymDense
	sum.AddSym(a.cov, b.cov)
	sum.ScaleSym(.5, &sum)
	l, err := factor(&sum)
	if err != nil {
		return 0 // as alike as can be told
	}
	logDet := 0.0
	delta := mat.NewVecDense(len(a.mean), nil)
	for i, v := range a.mean {
		delta.SetVec(i, v-b.mean[i])
		logDet += 2 * math.Log(l.At(i, i))
	}
	var u mat.VecDense
	if u.SolveVec(l, delta) != nil {
		return 0
	}
	return math.Max(0, mat.Dot(&u, &u)/8+(logDet-(a.logDet+b.logDet)/2)/2)
}

// Limits beyond which a report speaks of collapse.
const (
	ownShareLimit   = .9  // of a prototype's samples that the model takes for its class
	traceRatioLimit = .01 // of a prototype's trace in the median of all
	overlapLimit    = .5  // of two classes: exp(-Bhattacharyya)
)

// collapse lists what is wrong with the prototypes.
func (r *ModelReport) collapse() []string {
	found := []string{}
	var traces []float64
	for _, p := range r.Prototypes {
		if p.Trace != nil {
			traces = append(traces, *p.Trace)
		}
	}
	slices.Sort(traces)
	for i := range r.Prototypes {
		p := &r.Prototypes[i]
		name := "The prototype of " + p.Name
		if r.Model.PerClass > 1 {
			name = fmt.Sprintf("Prototype %d, of %s,", p.Prototype, p.Name)
		}
		if p.Trace != nil && *p.Trace < traceRatioLimit*traces[len(traces)/2] {
			found = append(found, fmt.Sprintf("%s has shrunk to a point: its variance of %.3g is less than 1 %% of the median of all, %.3g.", name, *p.Trace, traces[len(traces)/2]))
		}
		if own := p.TakenFor[p.Class]; own < ownShareLimit {
			found = append(found, fmt.Sprintf("%s reaches into other classes: the model takes only %s of its samples for %s.", name, percent(own), p.Name))
		}
	}
	for a, row := range r.Spread.Bhattacharyya {
		for b, d := range row[:a] {
			if v := math.Exp(-d); v > overlapLimit {
				found = append(found, fmt.Sprintf("%s and %s have nearly the same distribution: overlap %.2f.", r.Model.name(b), r.Model.name(a), v))
			}
		}
	}
	if dead := r.Spread.DeadDimensions; len(dead) > 0 {
		found = append(found, fmt.Sprintf("%d of %d latent dimensions are dead: %s.", len(dead), r.Model.Latent, strings.Trim(fmt.Sprint(dead), "[]")))
	}
	return found
}

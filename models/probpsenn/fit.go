package probpsenn

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime"
)

// encodeBatch is the number of rows that go through the encoder at once outside training.
const encodeBatch = 256

// encodeAll maps inputs to latent vectors [rows x D] with the running statistics. Under a VAE they are sampled, as they
// are in training: a covariance of the means alone would leave inactive dimensions with next to no variance (trap T1).
func (m *Model) encodeAll(ctx context.Context, x []float32, progress func(rows int)) (z []float32, err error) {
	g := ops.NewGraph()
	batch, first := g.IntArg("batch", 0, encodeBatch), g.IntArg("first", 0, 1<<40)
	input, sized := m.input(g, batch.Of(1))
	mean, logVariance := m.encoder.encode(&builder{g: g}, sized)
	out := mean
	if logVariance.Valid() {
		out = sampleLatent(g, mean, logVariance, m.Config.Seed, streamFit, first.Of(1))
	}
	out = ops.Affine(out, 1, 0)
	g.Output(out)
	plan, err := m.rt.Compile(g, "prob-psenn encode")
	if err != nil {
		return nil, err
	}
	defer plan.Close()
	s, err := m.rt.NewSession()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var memory []*runtime.Memory
	for _, seg := range g.Segments() {
		if seg == m.declared.params {
			memory = append(memory, m.params)
		} else {
			memory = append(memory, m.stats)
		}
	}
	b, err := s.Bind(plan, memory...)
	if err != nil {
		return nil, err
	}
	size, d := m.inputSize(), m.Config.Latent
	rows := len(x) / size
	z = make([]float32, rows*d)
	for at := 0; at < rows; at += encodeBatch {
		n := min(encodeBatch, rows-at)
		b.SetInt(batch, int64(n))
		b.SetInt(first, int64(at))
		if err := b.Write(input, x[at*size:(at+n)*size]); err != nil {
			return nil, err
		}
		if err := b.Run(ctx); err != nil {
			return nil, err
		}
		if err := b.Read(out, z[at*d:(at+n)*d]); err != nil {
			return nil, err
		}
		if progress != nil {
			progress(at + n)
		}
	}
	return z, nil
}

// fit sets every prototype distribution to the mean and covariance of the latent vectors of its class (section 1.6);
// several distributions or components of a class share it out by k-means.
func (m *Model) fit(z []float32, labels []int32) error {
	c, p := &m.Config, m.prototypes
	d := c.Latent
	perClass := c.PerClass * c.components()
	mean := make([]float32, p.mean.Count())
	var scale, weights []float32
	if p.scale != nil {
		scale = make([]float32, p.scale.Count())
	}
	if p.logWeights != nil {
		weights = make([]float32, p.logWeights.Count())
	}
	for class := range c.Classes {
		var rows [][]float64
		for i, label := range labels {
			if int(label) == class {
				row := make([]float64, d)
				for j := range row {
					row[j] = float64(z[i*d+j])
				}
				rows = append(rows, row)
			}
		}
		if len(rows) < perClass {
			return fmt.Errorf("prob-psenn: class %d has %d training rows; its %d distributions need at least one each", class, len(rows), perClass)
		}
		clusters := kMeans(rows, perClass, rand.New(rand.NewPCG(c.Seed, uint64(class)+0xf17)))
		for j, cluster := range clusters {
			k := class*perClass + j
			mu, cov := moments(cluster)
			for i, v := range mu {
				mean[k*d+i] = float32(v)
			}
			switch c.Prototypes {
			case Diag: // the deviation, not the variance (trap T2)
				for i := range d {
					scale[k*d+i] = float32(inverseSoftplus(math.Sqrt(cov.At(i, i))))
				}
			case Full, Mixture:
				l, err := factor(cov)
				if err != nil {
					return fmt.Errorf("prob-psenn: class %d: %w", class, err)
				}
				for i := range d {
					for j := range i {
						scale[(k*d+i)*d+j] = float32(l.At(i, j))
					}
					scale[(k*d+i)*d+i] = float32(inverseSoftplus(l.At(i, i) - scaleFloor))
				}
			}
			if weights != nil {
				weights[k] = float32(math.Log(float64(len(cluster)) / float64(len(rows))))
			}
		}
	}
	if err := m.params.Write(p.mean, mean); err != nil {
		return err
	}
	if p.scale != nil {
		if err := m.params.Write(p.scale, scale); err != nil {
			return err
		}
	}
	if p.logWeights != nil {
		return m.params.Write(p.logWeights, weights)
	}
	return nil
}

// moments are the mean and the sample covariance (n-1). With fewer rows than make it regular, it is shrunk towards its
// mean variance times the identity, the more the fewer there are (trap T4).
func moments(rows [][]float64) ([]float64, *mat.SymDense) {
	n, d := len(rows), len(rows[0])
	x := mat.NewDense(n, d, nil)
	mean := make([]float64, d)
	for i, row := range rows {
		x.SetRow(i, row)
		for j, v := range row {
			mean[j] += v / float64(n)
		}
	}
	cov := mat.NewSymDense(d, nil)
	if n > 1 {
		stat.CovarianceMatrix(cov, x, nil)
	}
	variance := math.Max(mat.Trace(cov)/float64(d), 1e-6)
	keep := 1.0
	if n < 2*d {
		keep = float64(n-1) / float64(n-1+d)
	}
	for i := range d {
		for j := range i {
			cov.SetSym(i, j, keep*cov.At(i, j))
		}
		// the last term lifts dead dimensions
		cov.SetSym(i, i, keep*cov.At(i, i)+(1-keep)*variance+1e-6*variance)
	}
	return mean, cov
}

// factor is the Cholesky factor, with as much jitter as it takes (trap T4).
func factor(cov *mat.SymDense) (*mat.TriDense, error) {
	d := cov.SymmetricDim()
	jitter := 1e-8 * mat.Trace(cov) / float64(d)
	for range 12 {
		var chol mat.Cholesky
		if chol.Factorize(cov) {
			l := mat.NewTriDense(d, mat.Lower, nil)
			chol.LTo(l)
			return l, nil
		}
		for i := range d {
			cov.SetSym(i, i, cov.At(i, i)+jitter)
		}
		jitter *= 10
	}
	return nil, fmt.Errorf("the covariance of its %d latent dimensions is not positive definite, nor with jitter %g", d, jitter)
}

// inverseSoftplus is the x with log(1 + e^x) = y; y is raised to what float32 can tell from 0.
func inverseSoftplus(y float64) float64 {
	y = math.Max(y, 1e-12)
	return y + math.Log(-math.Expm1(-y))
}

// kMeans shares rows out among k clusters, none empty: k-means++ (Arthur and Vassilvitskii 2007) and Lloyd's steps.
func kMeans(rows [][]float64, k int, r *rand.Rand) [][][]float64 {
	if k == 1 {
		return [][][]float64{rows}
	}
	centres := [][]float64{rows[r.IntN(len(rows))]}
	distance := make([]float64, len(rows))
	for len(centres) < k {
		sum := 0.0
		for i, row := range rows {
			distance[i] = squared(row, centres[nearest(row, centres)])
			sum += distance[i]
		}
		at := r.Float64() * sum
		next := len(rows) - 1
		for i, v := range distance {
			if at -= v; at < 0 {
				next = i
				break
			}
		}
		centres = append(centres, rows[next])
	}
	var clusters [][][]float64
	for range 20 {
		clusters = make([][][]float64, k)
		for _, row := range rows {
			c := nearest(row, centres)
			clusters[c] = append(clusters[c], row)
		}
		for c, cluster := range clusters {
			if len(cluster) == 0 { // take a row from the largest
				largest := 0
				for j := range clusters {
					if len(clusters[j]) > len(clusters[largest]) {
						largest = j
					}
				}
				last := len(clusters[largest]) - 1
				clusters[c] = append(clusters[c], clusters[largest][last])
				clusters[largest] = clusters[largest][:last]
			}
		}
		for c, cluster := range clusters {
			centres[c] = meanOf(cluster)
		}
	}
	return clusters
}

func meanOf(rows [][]float64) []float64 {
	mean := make([]float64, len(rows[0]))
	for _, row := range rows {
		for j, v := range row {
			mean[j] += v / float64(len(rows))
		}
	}
	return mean
}

func nearest(row []float64, centres [][]float64) int {
	best := 0
	for c := range centres {
		if squared(row, centres[c]) < squared(row, centres[best]) {
			best = c
		}
	}
	return best
}

func squared(a, b []float64) float64 {
	sum := 0.0
	for i := range a {
		sum += (a[i] - b[i]) * (a[i] - b[i])
	}
	return sum
}

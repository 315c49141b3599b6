package alternatives

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// neighbourRank is which neighbour's distance counts (Sun et al., ICML 2022, go by the k-th).
const neighbourRank = 10

// neighbours are the training rows, scaled, and a second time with length one.
type neighbours struct {
	d, classes int
	plain, one *rows
	labels     []int32
}

// rows is a matrix with the squared lengths of its rows.
type rows struct {
	x       *mat.Dense
	lengths []float64
}

func newRows(x []float64, d int) *rows {
	r := &rows{x: mat.NewDense(len(x)/d, d, x), lengths: make([]float64, len(x)/d)}
	for i, v := range x {
		r.lengths[i/d] += v * v
	}
	return r
}

// unit makes every row one of length one; a row of zeros stays.
func unit(x []float64, d int) []float64 {
	scaled := slices.Clone(x)
	for at := 0; at < len(x); at += d {
		row, sum := scaled[at:at+d], 0.
		for _, v := range row {
			sum += v * v
		}
		if sum > 0 {
			for j := range row {
				row[j] /= math.Sqrt(sum)
			}
		}
	}
	return scaled
}

func newNeighbours(x []float64, labels []int32, d, classes int) *neighbours {
	return &neighbours{d, classes, newRows(x, d), newRows(unit(x, d), d), labels}
}

// nearest is how far rows are from the training rows.
type nearest struct {
	classes int
	kth     []float64 // [n], among rows of length one
	class   []float64 // [n, classes], to the nearest row of each class
}

// queriesAtOnce bounds the distances in memory.
const queriesAtOnce = 128

func (k *neighbours) of(x []float64) *nearest {
	n := len(x) / k.d
	found := &nearest{k.classes, make([]float64, 0, n), make([]float64, n*k.classes)}
	for i := range found.class {
		found.class[i] = math.Inf(1)
	}
	rank := min(neighbourRank, len(k.labels)) - 1
	for at := 0; at < n; at += queriesAtOnce {
		part := x[at*k.d : min(at+queriesAtOnce, n)*k.d]
		k.one.distances(unit(part, k.d), k.d, func(_ int, squared []float64) {
			found.kth = append(found.kth, math.Sqrt(smallest(squared, rank)))
		})
		k.plain.distances(part, k.d, func(i int, squared []float64) {
			least := found.class[(at+i)*k.classes : (at+i+1)*k.classes]
			for j, label := range k.labels {
				least[label] = min(least[label], squared[j])
			}
		})
	}
	for i, v := range found.class {
		found.class[i] = math.Sqrt(v)
	}
	return found
}

// distances gives each of a few rows its squared distances to all. By |a|^2 + |b|^2 - 2ab in float64: the features are
// scaled, so what is lost by cancellation is far below a difference that matters here.
func (r *rows) distances(x []float64, d int, use func(i int, squared []float64)) {
	queries := newRows(x, d)
	var product mat.Dense
	product.Mul(queries.x, r.x.T())
	for i, length := range queries.lengths {
		squared := product.RawRowView(i)
		for j, v := range squared {
			squared[j] = math.Max(0, length+r.lengths[j]-2*v)
		}
		use(i, squared)
	}
}

// smallest is the value of that rank, from 0. It does not change the values.
func smallest(values []float64, rank int) float64 {
	kept := make([]float64, 0, rank+2)
	for _, v := range values {
		if len(kept) > rank && v >= kept[rank] {
			continue
		}
		at, _ := slices.BinarySearch(kept, v)
		kept = slices.Insert(kept, at, v)
		kept = kept[:min(len(kept), rank+1)]
	}
	return kept[rank]
}

// trust is the distance to the nearest row of another class over that to the nearest of the predicted one (Jiang et al.,
// NeurIPS 2018, without their filter of thinly populated places).
func (n *nearest) trust(predictions []int) []float64 {
	scores := make([]float64, len(predictions))
	for i, prediction := range predictions {
		other := math.Inf(1)
		for c, v := range n.class[i*n.classes : (i+1)*n.classes] {
			if c != prediction {
				other = math.Min(other, v)
			}
		}
		scores[i] = other / math.Max(n.class[i*n.classes+prediction], 1e-12)
	}
	return scores
}

// gaussian is a normal distribution for each class, all with one covariance (Lee et al., NeurIPS 2018).
type gaussian struct {
	d, classes int
	whitening  *mat.TriDense // W with |W (x - mu)|^2 the squared Mahalanobis distance
	means      *mat.Dense    // [classes, d], whitened
}

func fitGaussian(x []float64, labels []int32, d, classes int) (*gaussian, error) {
	g := &gaussian{d: d, classes: classes, whitening: mat.NewTriDense(d, mat.Lower, nil), means: &mat.Dense{}}
	means, counts := mat.NewDense(classes, d, nil), make([]float64, classes)
	for _, label := range labels {
		counts[label]++
	}
	for i, label := range labels {
		for j, v := range x[i*d : (i+1)*d] {
			means.RawRowView(int(label))[j] += v / counts[label]
		}
	}
	n := len(labels)
	centred := mat.NewDense(n, d, nil)
	for i, label := range labels {
		for j, v := range x[i*d : (i+1)*d] {
			centred.RawRowView(i)[j] = v - means.At(int(label), j)
		}
	}
	covariance := mat.NewSymDense(d, nil)
	covariance.SymOuterK(1/float64(n), centred.T())
	// Directions without any variance are lifted by as little as it takes.
	var factor mat.Cholesky
	for lift := 1e-9 * (mat.Trace(covariance)/float64(d) + 1e-30); !factor.Factorize(covariance); lift *= 10 {
		if math.IsInf(lift, 0) || math.IsNaN(lift) {
			return nil, fmt.Errorf("the covariance of %d features over %d rows is not positive definite", d, n)
		}
		for j := range d {
			covariance.SetSym(j, j, covariance.At(j, j)+lift)
		}
	}
	var lower mat.TriDense
	factor.LTo(&lower)
	var condition mat.Condition // a warning
	if err := g.whitening.InverseTri(&lower); err != nil && !errors.As(err, &condition) {
		return nil, err
	}
	g.means.Mul(means, g.whitening.T())
	return g, nil
}

// distances are the least squared Mahalanobis distances of rows to a class mean.
func (g *gaussian) distances(b *batch) []float64 {
	least := make([]float64, b.n)
	if b.n == 0 {
		return least
	}
	var white mat.Dense
	white.Mul(mat.NewDense(b.n, g.d, b.x), g.whitening.T())
	for i := range least {
		least[i] = math.Inf(1)
		for c := range g.classes {
			sum := 0.
			for j, v := range white.RawRowView(i) {
				sum += (v - g.means.At(c, j)) * (v - g.means.At(c, j))
			}
			least[i] = math.Min(least[i], sum)
		}
	}
	return least
}

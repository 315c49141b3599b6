package alternatives

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// conformal are adaptive prediction sets (Romano, Sesia and Candès, NeurIPS 2020). The score of a label is the sum of the
// probabilities of all labels before it, from the most probable, and a share of its own drawn at random; a set holds the
// labels whose score does not exceed the (n+1) alpha-th smallest of the calibration rows.
type conformal struct {
	calibration []float64 // ascending scores of the labels of the calibration rows
	first       []float64 // of rows: the scores of the most probable label and of the next
	second      []float64
}

// uniform is the random share of a row: the same whenever the same rows come in the same order.
func uniform(row int, stream uint64) float64 {
	return rand.New(rand.NewPCG(uint64(row), stream)).Float64()
}

const (
	calibrationStream = 0xa95
	testStream        = 0x7e57
)

func newConformal(b *batch, labels []int32, classes int) *conformal {
	c := &conformal{}
	for i, label := range labels {
		p := b.probabilities[i*classes : (i+1)*classes]
		before := 0.
		for j, v := range p {
			if v > p[label] || v == p[label] && j < int(label) {
				before += v
			}
		}
		c.calibration = append(c.calibration, before+uniform(i, calibrationStream)*p[label])
	}
	slices.Sort(c.calibration)
	return c
}

// of is the sets of other rows.
func (c *conformal) of(b *batch) *conformal {
	sets := &conformal{calibration: c.calibration}
	classes := 0
	if b.n > 0 {
		classes = len(b.probabilities) / b.n
	}
	for i := range b.n {
		p := slices.Clone(b.probabilities[i*classes : (i+1)*classes])
		slices.SortFunc(p, func(x, y float64) int { return cmp.Compare(y, x) })
		u := uniform(i, testStream)
		sets.first = append(sets.first, u*p[0])
		sets.second = append(sets.second, p[0]+u*p[1])
	}
	return sets
}

// limit is the score up to which labels belong to a set that holds the right one with probability alpha; not found where
// there are too few calibration rows for it.
func (c *conformal) limit(alpha float64) (limit float64, found bool) {
	n := len(c.calibration)
	k := int(math.Ceil(alpha*float64(n+1) - 1e-9))
	if k > n {
		return math.Inf(1), false
	}
	return c.calibration[max(k, 1)-1], true
}

// single reports whether a row's set has one label, the most probable.
func (c *conformal) single(row int, limit float64) bool {
	return c.first[row] <= limit && c.second[row] > limit
}

package metrics

import (
	"fmt"
	"math"
)

// KDE is a kernel density estimate of a sample with Gaussian kernels of the bandwidth n^(-1/5) s, where s is the sample
// standard deviation with n-1 (Scott, Multivariate Density Estimation, 1992). A sample without spread has the
// bandwidth 0 and stands for a point mass.
type KDE struct {
	sample          []float64
	bandwidth       float64
	lowest, highest float64
}

// NewKDE keeps the sample, which must be finite and not empty.
func NewKDE(sample []float64) (KDE, error) {
	if len(sample) == 0 {
		return KDE{}, fmt.Errorf("a density needs at least one value")
	}
	k := KDE{sample: sample, lowest: sample[0], highest: sample[0]}
	centre, n := 0., float64(len(sample))
	for i, v := range sample {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return KDE{}, fmt.Errorf("value %d of the sample is %v", i, v)
		}
		k.lowest, k.highest = min(k.lowest, v), max(k.highest, v)
		centre += v / n
	}
	if k.lowest == k.highest {
		return k, nil
	}
	squares := 0.
	for _, v := range sample {
		squares += (v - centre) * (v - centre)
	}
	k.bandwidth = math.Pow(n, -.2) * math.Sqrt(squares/(n-1))
	return k, nil
}

// Bandwidth is the standard deviation of the kernels.
func (k KDE) Bandwidth() float64 { return k.bandwidth }

// kernelReach is where a kernel has fallen to 3e-18 of its peak and is cut off, in bandwidths.
const kernelReach = 9

// Density fills dst with the density at low, low+step, low+2 step and so on. It must not be called for a point mass.
func (k KDE) Density(dst []float64, low, step float64) {
	clear(dst)
	h := k.bandwidth
	peak := 1 / (float64(len(k.sample)) * h * math.Sqrt(2*math.Pi))
	// From one point to the next a Gaussian changes by a factor, and that factor by the constant q: two products
	// instead of an exponential. Rounding adds up with the square of the steps, so it starts afresh now and then.
	const fresh = 64
	q := math.Exp(-step * step / (h * h))
	for _, centre := range k.sample {
		first, last := gridRange(centre-kernelReach*h, centre+kernelReach*h, low, step, len(dst))
		if first >= last {
			continue
		}
		for i := first; i < last; i += fresh {
			offset := low + float64(i)*step - centre
			value := peak * math.Exp(-offset*offset/(2*h*h))
			factor := math.Exp(-(2*offset*step + step*step) / (2 * h * h))
			for j := range dst[i:min(i+fresh, last)] {
				dst[i+j] += value
				value *= factor
				factor *= q
			}
		}
	}
}

// gridRange is the range of indices i for which low + i step lies from a to b.
func gridRange(a, b, low, step float64, n int) (first, last int) {
	first = int(math.Ceil(min(max((a-low)/step, 0), float64(n))))
	last = int(math.Floor(min(max((b-low)/step, -1), float64(n-1)))) + 1
	return first, last
}

// Overlapper computes how much distributions of distances overlap. It keeps its scratch memory, so it allocates nothing
// once it is warm, and must not be used concurrently.
type Overlapper struct {
	points int
	f, g   []float64
}

// NewOverlapper integrates with this many points; the paper's implementation has 10000 and a few hundred do.
func NewOverlapper(points int) *Overlapper { return &Overlapper{points: max(points, 16)} }

// Overlap is the integral of the smaller of the two densities, from 0 (apart) to 1 (equal): by the mid-point rule on
// [-10, largest value + 10], as the paper's implementation has it for distances. Where a bandwidth is too small for
// the step of that grid, the points cover only the stretch where both densities live. A point mass overlaps with
// nothing but itself.
func (o *Overlapper) Overlap(a, b KDE) float64 {
	if a.bandwidth == 0 || b.bandwidth == 0 {
		if a.bandwidth == b.bandwidth && a.lowest == b.lowest {
			return 1
		}
		return 0
	}
	low := max(a.lowest-kernelReach*a.bandwidth, b.lowest-kernelReach*b.bandwidth)
	high := min(a.highest+kernelReach*a.bandwidth, b.highest+kernelReach*b.bandwidth)
	if low >= high {
		return 0
	}
	start := -10.
	step := (max(a.highest, b.highest) + 10 - start) / float64(o.points)
	if narrow := min(a.bandwidth, b.bandwidth); !(step > 0 && step < narrow/4) {
		start, step = low, (high-low)/float64(o.points)
	}
	start += step / 2
	first, last := gridRange(low, high, start, step, o.points)
	if first >= last {
		return 0
	}
	return o.integrate(a, b, start+float64(first)*step, step, last-first)
}

func (o *Overlapper) integrate(a, b KDE, low, step float64, n int) float64 {
	if cap(o.f) < n {
		o.f, o.g = make([]float64, n), make([]float64, n)
	}
	f, g := o.f[:n], o.g[:n]
	a.Density(f, low, step)
	b.Density(g, low, step)
	sum := 0.
	for i, v := range f {
		sum += min(v, g[i])
	}
	return min(1, sum*step)
}

// Max is the largest overlap of the sample of one class with that of another, and which class that is. There must be
// at least two.
func (o *Overlapper) Max(samples [][]float64, class int) (overlap float64, competitor int, err error) {
	if len(samples) < 2 || class < 0 || class >= len(samples) {
		return 0, 0, fmt.Errorf("overlap of class %d with the other %d: want one of at least two", class, len(samples)-1)
	}
	own, err := NewKDE(samples[class])
	if err != nil {
		return 0, 0, fmt.Errorf("class %d: %w", class, err)
	}
	competitor = -1
	for j, sample := range samples {
		if j == class {
			continue
		}
		other, err := NewKDE(sample)
		if err != nil {
			return 0, 0, fmt.Errorf("class %d: %w", j, err)
		}
		if v := o.Overlap(own, other); competitor < 0 || v > overlap {
			overlap, competitor = v, j
		}
	}
	return overlap, competitor, nil
}

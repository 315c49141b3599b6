package sdm

import (
	"math"
	"slices"
	"sort"
)

// DistanceQuantile is d: the least over classes of the share of the class's ascending calibration distances that are not
// below d0, the squared distance to the nearest support row. A distance equal to an entry counts that entry; a class
// without entries makes d 0.
func DistanceQuantile(d0 float32, classes [][]float32) float32 {
	d := float32(1)
	d0 = max(d0, 0)
	for _, sorted := range classes {
		if len(sorted) == 0 {
			return 0
		}
		below, _ := slices.BinarySearch(sorted, d0)
		d = min(d, 1-float32(below)/float32(len(sorted)))
	}
	if len(classes) == 0 {
		return 0
	}
	return d
}

// EffectiveSampleSizes counts, for each class, the calibration rows whose q' is at most that of the row at hand: how
// much data an estimate at this similarity rests on.
func EffectiveSampleSizes(qPrime float32, classes [][]float32) []int {
	n := make([]int, len(classes))
	for c, sorted := range classes {
		n[c] = sort.Search(len(sorted), func(i int) bool { return sorted[i] > qPrime })
	}
	return n
}

// DKW is the half width of a band around the distribution function of n values that holds with probability alpha, for
// every class (Dvoretzky, Kiefer and Wolfowitz 1956 with Massart's constant): sqrt(ln(2/(1-alpha)) / 2n), 1 without values.
func DKW(alpha float64, n []int) []float32 {
	eps := make([]float32, len(n))
	top := float32(math.Log(float64(float32(2 / (1 - alpha)))))
	for c := range n {
		eps[c] = 1
		if n[c] > 0 {
			eps[c] = float32(math.Sqrt(float64(top / float32(2*n[c]))))
		}
	}
	return eps
}

// DistanceBand is d less and plus the widest of the classes' errors, within [0, 1]. Without classes nothing is known.
func DistanceBand(d float32, errors []float32) (lower, upper float32) {
	eps := float32(1)
	if len(errors) > 0 {
		eps = slices.Max(errors)
	}
	return min(max(d-eps, 0), 1), min(max(d+eps, 0), 1)
}

// distributions sorts the values of each class: of the rows for which keep holds.
func distributions(classes int, labels []int32, values []float32, keep func(i int) bool) [][]float32 {
	sorted := make([][]float32, classes)
	for i, label := range labels {
		if keep(i) {
			sorted[label] = append(sorted[label], values[i])
		}
	}
	for _, s := range sorted {
		slices.Sort(s)
	}
	return sorted
}

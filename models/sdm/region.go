package sdm

import (
	"fmt"
	"math"
	"slices"
)

// accepts reports whether a row is in the region: q' reaches the minimum and rounds down to more than the limit, and the
// predicted class is the only one whose output p [C] reaches its threshold. All comparisons are of float32.
func accepts(r *Region, limit int, qPrime float32, p []float32, prediction int) bool {
	if math.Floor(float64(qPrime)) <= float64(limit) || qPrime < r.MinimumSimilarity {
		return false
	}
	reached := 0
	for c := range p {
		if p[c] >= r.Thresholds[c] {
			reached++
		}
	}
	return reached == 1 && p[prediction] >= r.Thresholds[prediction]
}

// regionAlpha is the alpha of the first region that accepts the row, 0 if none does.
func regionAlpha(regions []Region, limit int, qPrime float32, p []float32, prediction int) float64 {
	for i := range regions {
		if accepts(&regions[i], limit, qPrime, p, prediction) {
			return regions[i].Alpha
		}
	}
	return 0
}

// round10 rounds to ten decimals, so that 1 - 0.9 is 0.1.
func round10(v float64) float64 { return math.Round(v*1e10) / 1e10 }

// Alphas are the levels for which regions are sought: 1 - k resolution, descending, while above one half.
func Alphas(resolution float64) ([]float64, error) {
	if !(resolution >= .00005 && resolution < .5) {
		return nil, fmt.Errorf("sdm: alpha resolution %v; at least 0.00005 and below 0.5 is needed", resolution)
	}
	var alphas []float64
	for k := 1; ; k++ {
		alpha := round10(1 - float64(k)*resolution)
		if alpha <= .5 {
			return alphas, nil
		}
		alphas = append(alphas, alpha)
	}
}

// A calibrated row is what regions are found on.
type calibrated struct {
	qPrime            float32
	p                 []float32
	label, prediction int
}

// findRegions is the ladder: for each alpha from the highest, algorithm 1 of arXiv 2509.12760 over the rows that no
// higher region accepts. Where it finds no region nothing is recorded and no row is taken out.
func findRegions(classes, limit int, resolution float64, rows []calibrated) ([]Region, error) {
	alphas, err := Alphas(resolution)
	if err != nil {
		return nil, err
	}
	left := slices.Clone(rows)
	slices.SortStableFunc(left, func(a, b calibrated) int {
		switch {
		case a.qPrime < b.qPrime:
			return -1
		case a.qPrime > b.qPrime:
			return 1
		}
		return 0
	})
	left = slices.DeleteFunc(left, func(r calibrated) bool { return math.Floor(float64(r.qPrime)) <= float64(limit) })
	regions := []Region{}
	for _, alpha := range alphas {
		region, ok := findRegion(classes, alpha, left)
		if !ok {
			continue
		}
		regions = append(regions, region)
		left = slices.DeleteFunc(left, func(r calibrated) bool { return accepts(&region, limit, r.qPrime, r.p, r.prediction) })
	}
	return regions, nil
}

// findRegion looks for the least q' from which on the (1-alpha) quantile of every class's output for itself reaches
// alpha. rows ascend by q'. The quantile of n values reaches alpha where no more than its index of them lie below, so
// counts suffice to find the place, and only there the values are sorted.
func findRegion(classes int, alpha float64, rows []calibrated) (Region, bool) {
	n, below := make([]int, classes), make([]int, classes)
	for i := range rows {
		n[rows[i].label]++
		if rows[i].p[rows[i].label] < float32(alpha) {
			below[rows[i].label]++
		}
	}
	for i := 0; i < len(rows); {
		if reached(alpha, n, below) {
			return Region{Alpha: alpha, MinimumSimilarity: rows[i].qPrime, Thresholds: thresholds(classes, alpha, rows[i:])}, true
		}
		for from := rows[i].qPrime; i < len(rows) && rows[i].qPrime == from; i++ {
			n[rows[i].label]--
			if rows[i].p[rows[i].label] < float32(alpha) {
				below[rows[i].label]--
			}
		}
	}
	return Region{}, false
}

// quantileIndex is the place of the (1-alpha) quantile among n ascending values.
func quantileIndex(alpha float64, n int) int { return min(int(round10(1-alpha)*float64(n)), n-1) }

func reached(alpha float64, n, below []int) bool {
	for c := range n {
		if n[c] == 0 || below[c] > quantileIndex(alpha, n[c]) {
			return false
		}
	}
	return true
}

func thresholds(classes int, alpha float64, rows []calibrated) []float32 {
	outputs := make([][]float32, classes)
	for i := range rows {
		outputs[rows[i].label] = append(outputs[rows[i].label], rows[i].p[rows[i].label])
	}
	psi := make([]float32, classes)
	for c, v := range outputs {
		slices.Sort(v)
		psi[c] = v[quantileIndex(alpha, len(v))]
	}
	return psi
}

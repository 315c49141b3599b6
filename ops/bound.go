package ops

import "math"

// Eps32 is the unit round-off of float32.
const Eps32 = 1.0 / (1 << 24)

// exactBound: every output and in-place tensor must be exact.
func exactBound(c *RefCall, _ float64) [][]float64 {
	return eachBound(c, func(*Dense, int) float64 { return 0 })
}

// relativeBound: |error| <= ulps * eps * |value| + floor, in units of the type's round-off.
func relativeBound(ulps, floor float64) func(*RefCall, float64) [][]float64 {
	return func(c *RefCall, eps float64) [][]float64 {
		return eachBound(c, func(d *Dense, i int) float64 { return ulps*eps*math.Abs(d.Data[i]) + floor })
	}
}

func eachBound(c *RefCall, f func(d *Dense, i int) float64) [][]float64 {
	var r [][]float64
	for _, list := range [][]*Dense{c.Out, c.InOut} {
		for _, d := range list {
			b := make([]float64, len(d.Data))
			for i := range b {
				b[i] = f(d, i)
			}
			r = append(r, b)
		}
	}
	return r
}

// productSumBound is the house bound for a sum of k products, 4 sqrt(k) eps sum|a||b|.
func productSumBound(k int, sumAbs, eps float64) float64 {
	return 4 * math.Sqrt(float64(max(k, 1))) * eps * sumAbs
}

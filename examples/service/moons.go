package main

import (
	"math"
	"math/rand/v2"
)

// moons draws n points of two interleaved half circles, the usual small problem that no straight line solves: x and y
// of each point in turn, and the half circle, 0 or 1, that each is on.
func moons(n int, seed uint64) (points []float32, labels []int32) {
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range n {
		label, angle := int32(i%2), math.Pi*r.Float64()
		x, y := math.Cos(angle), math.Sin(angle)
		if label == 1 {
			x, y = 1-x, 0.5-y
		}
		points = append(points, float32(x+0.08*r.NormFloat64()), float32(y+0.08*r.NormFloat64()))
		labels = append(labels, label)
	}
	return points, labels
}

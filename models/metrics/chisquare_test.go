package metrics

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Golden values from mpmath with 40 digits: log(gammainc(k/2, x/2, inf, regularized=True)).
func TestChiSquareSurvival(t *testing.T) {
	for _, c := range []struct{ x, degrees, want float64 }{
		{.5, 1, -.7350111298370844}, {3.84, 1, -2.9948622271800273}, {.001, 2, -.0005}, {10, 3, -3.986416031734384},
		{40, 40, -.75447535778006624}, {20, 40, -.0034603219904149911}, {55.758, 40, -2.9956435521056842},
		{100, 40, -14.551281918435022}, {400, 40, -138.5726067345148}, {5000, 40, -2390.6753840379966},
		{1e6, 40, -499790.01494201587}, {42, 40, -.95642865765106942}, {2000, 1000, -157.45678747461698},
		{1000, 1000, -.70511277596023771}, {3, .5, -3.3987071600699053}, {1e8, 784, -49995015.20253029},
	} {
		assert.InEpsilon(t, c.want, LogChiSquareSurvival(c.x, c.degrees), 1e-12, "x %v, %v degrees", c.x, c.degrees)
		assert.InDelta(t, math.Exp(c.want), ChiSquareSurvival(c.x, c.degrees), 1e-12)
	}
	assert.Equal(t, 1., ChiSquareSurvival(0, 40))
	assert.Equal(t, 1., ChiSquareSurvival(-3, 40))
	assert.Equal(t, 0., LogChiSquareSurvival(0, 40))
	assert.Equal(t, 0., ChiSquareSurvival(math.Inf(1), 40))
	assert.Equal(t, math.Inf(-1), LogChiSquareSurvival(math.Inf(1), 40))
	for _, bad := range [][2]float64{{1, 0}, {1, -2}, {math.NaN(), 3}, {1, math.NaN()}} {
		assert.True(t, math.IsNaN(LogChiSquareSurvival(bad[0], bad[1])))
	}
	before := 0.
	for x := .25; x < 1e5; x *= 1.01 { // falls everywhere, also where one method hands over to the other
		now := LogChiSquareSurvival(x, 40)
		if x > 10 {
			assert.Less(t, now, before)
		}
		before = now
	}
}

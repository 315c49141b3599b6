package metrics

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// ChiSquareSurvival is the probability that a chi-square variable with these degrees of freedom exceeds x. The squared
// Mahalanobis distance of a D-dimensional Gaussian vector from its mean is such a variable with D degrees.
func ChiSquareSurvival(x, degrees float64) float64 {
	if x <= 0 {
		return 1
	}
	return math.Exp(LogChiSquareSurvival(x, degrees))
}

// LogChiSquareSurvival is the natural logarithm of ChiSquareSurvival. It stays finite and strictly falling far out,
// where the probability itself would be 0 and could not tell strange from stranger. NaN for degrees that are not
// positive.
func LogChiSquareSurvival(x, degrees float64) float64 {
	if !(degrees > 0) || math.IsNaN(x) {
		return math.NaN()
	}
	if x <= 0 {
		return 0
	}
	a, y := degrees/2, x/2
	if y < a+1 {
		return math.Log1p(-mathext.GammaIncReg(a, y))
	}
	if math.IsInf(y, 1) {
		return math.Inf(-1)
	}
	logGamma, _ := math.Lgamma(a)
	return a*math.Log(y) - y - logGamma + math.Log(upperGammaFraction(a, y))
}

// upperGammaFraction is Gamma(a, y) e^y y^-a by Legendre's continued fraction 1/(y+1-a- 1(1-a)/(y+3-a- 2(2-a)/(...))),
// evaluated with Lentz's method; it converges for y > a+1 within some sqrt(a) steps.
func upperGammaFraction(a, y float64) float64 {
	const tiny = 1e-300
	b := y + 1 - a
	c, d := 1/tiny, 1/b
	f := d
	for i := 1.; i < 1e6; i++ {
		step := -i * (i - a)
		b += 2
		d = 1 / nonZero(step*d+b, tiny)
		c = nonZero(b+step/c, tiny)
		f *= c * d
		if math.Abs(c*d-1) < 1e-16 {
			break
		}
	}
	return f
}

func nonZero(v, tiny float64) float64 {
	if math.Abs(v) < tiny {
		return tiny
	}
	return v
}

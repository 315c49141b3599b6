package probpsenn

import (
	"gonum.org/v1/gonum/mat"
)

// DistanceMoments are the mean and the variance of |z - P|^2 for P ~ N(mu, L L'), in closed form:
// E = |z-mu|^2 + tr S and Var = 2 tr S^2 + 4 (z-mu)' S (z-mu) with S = L L' (a generalised chi-square; section 2).
func DistanceMoments(z, mu []float64, l *mat.TriDense) (mean, variance float64) {
	d := len(z)
	delta := mat.NewVecDense(d, nil)
	for i := range d {
		delta.SetVec(i, z[i]-mu[i])
		mean += (z[i] - mu[i]) * (z[i] - mu[i])
	}
	var s mat.Dense
	s.Mul(l, l.T())
	var sd mat.VecDense
	sd.MulVec(&s, delta)
	for i := range d {
		mean += s.At(i, i)
		for j := range d {
			variance += 2 * s.At(i, j) * s.At(i, j)
		}
	}
	return mean, variance + 4*mat.Dot(delta, &sd)
}

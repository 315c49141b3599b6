package probpsenn

import (
	"github.com/credence-ml/credence/ops"
)

// Streams of the counter-based random numbers: one per use, so that no two uses share draws.
const (
	streamPrototypes = 1 + iota
	streamComponents
	streamLatent
	streamFit
	streamEvaluation
)

// distances are squared Euclidean distances of latent vectors [B, D] from samples [S, K, D]: [B*S, K], sample varying
// within input (section 1.3).
func distances(z, samples ops.Tensor) ops.Tensor {
	s, k, d := samples.Dim(0), samples.Dim(1), samples.Dim(2)
	flat := ops.PairwiseSqdist(z, ops.Reshape(samples, s.Times(k.N), d))
	return ops.Reshape(flat, z.Dim(0).Times(s.N), k)
}

// logits are distances times W [K, C], no bias (section 1.4): [B*S, C].
func logits(distance, w ops.Tensor) ops.Tensor { return ops.MatMul(distance, w, ops.MatMulOptions{}) }

// headInitial is the start of W: -1/2 between a class and its own prototypes, nothing elsewhere.
func headInitial(c *Config, noise func() float64) func(int) float64 {
	return func(i int) float64 {
		k, class := i/c.Classes, i%c.Classes
		v := 1e-8 * (2*noise() - 1)
		if k/c.PerClass == class {
			v -= .5
		}
		return v
	}
}

package sdm

import "math"

// Activation fills p with SDM(z) = softmax(z d ln(offset+q)): logits z [C], similarity q >= 0, distance quantile d in
// [0, 1], computed in float64 and rounded once. With d = 0 all classes have the same probability; the prediction is the
// largest logit, never the largest of p.
func Activation(p, z []float32, q, d float32, offset float64) {
	scale := float64(d) * math.Log(offset+float64(q))
	most := math.Inf(-1)
	for _, v := range z {
		most = max(most, float64(v))
	}
	sum := 0.0
	for _, v := range z {
		sum += math.Exp(scale * (float64(v) - most))
	}
	for i, v := range z {
		p[i] = float32(math.Exp(scale*(float64(v)-most)) / sum)
	}
}

// argMax is the index of the largest logit, the lowest of equals.
func argMax(z []float32) int {
	best := 0
	for i := range z {
		if z[i] > z[best] {
			best = i
		}
	}
	return best
}

// RescaledSimilarity is q' = min(q, (offset+q)^p), where p is the output of the predicted class: a similarity that counts
// only as far as distance and magnitude agree with it.
func RescaledSimilarity(q, p float32, offset float64) float32 {
	return min(q, float32(math.Pow(offset+float64(q), float64(p))))
}

// loss is -log_{offset+q} SDM(z)_label, equation 7 of arXiv 2509.12760. With d = 0 it is log_{offset+q} C.
func loss(z []float32, label int, q, d float32, offset float64) float64 {
	base := math.Log(offset + float64(q))
	scale := float64(d) * base
	most := math.Inf(-1)
	for _, v := range z {
		most = max(most, scale*float64(v))
	}
	sum := 0.0
	for _, v := range z {
		sum += math.Exp(scale*float64(v) - most)
	}
	return (most + math.Log(sum) - scale*float64(z[label])) / base
}

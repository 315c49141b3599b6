package alternatives

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize"
)

// scaling brings every feature to mean 0 and deviation 1 over the training rows; a constant one keeps its deviation.
type scaling struct{ mean, inverse []float64 }

func newScaling(x []float32, d int) *scaling {
	s := &scaling{make([]float64, d), make([]float64, d)}
	n := float64(len(x) / d)
	for i, v := range x {
		s.mean[i%d] += float64(v) / n
	}
	for i, v := range x {
		difference := float64(v) - s.mean[i%d]
		s.inverse[i%d] += difference * difference / n
	}
	for j, variance := range s.inverse {
		s.inverse[j] = 1
		if variance > 0 {
			s.inverse[j] = 1 / math.Sqrt(variance)
		}
	}
	return s
}

func (s *scaling) apply(x []float32) []float64 {
	d := len(s.mean)
	scaled := make([]float64, len(x))
	for i, v := range x {
		scaled[i] = (float64(v) - s.mean[i%d]) * s.inverse[i%d]
	}
	return scaled
}

// linear is multinomial logistic regression.
type linear struct {
	classes int
	weights *mat.Dense // [d, classes]
	bias    []float64
}

// ridge is the penalty on half the squared weights, next to the sum of the losses: scikit-learn's C = 1.
const ridge = 1.

// fitLinear minimises the sum of -log p of the labels plus ridge/2 |W|^2 by L-BFGS.
func fitLinear(x []float64, labels []int32, d, classes int) (*linear, error) {
	n := len(labels)
	rows := mat.NewDense(n, d, x)
	l := &linear{classes: classes}
	logits := mat.NewDense(n, classes, nil)
	// evaluate leaves probabilities less one at the label in logits, which is the gradient by the logits.
	evaluate := func(parameters []float64) float64 {
		l.set(parameters, d)
		logits.Mul(rows, l.weights)
		loss := 0.
		for i, label := range labels {
			z := logits.RawRowView(i)
			for c := range z {
				z[c] += l.bias[c]
			}
			total := logSumExp(z)
			loss += total - z[label]
			for c := range z {
				z[c] = math.Exp(z[c] - total)
			}
			z[label]--
		}
		for _, w := range parameters[:d*classes] {
			loss += ridge / 2 * w * w
		}
		return loss / float64(n)
	}
	gradient := func(g, parameters []float64) {
		evaluate(parameters)
		mat.NewDense(d, classes, g[:d*classes]).Mul(rows.T(), logits)
		bias := g[d*classes:]
		clear(bias)
		for i := range n {
			for c, v := range logits.RawRowView(i) {
				bias[c] += v
			}
		}
		for i, w := range parameters[:d*classes] {
			g[i] += ridge * w
		}
		for i := range g {
			g[i] /= float64(n)
		}
	}
	found, err := optimize.Minimize(optimize.Problem{Func: evaluate, Grad: gradient}, make([]float64, (d+1)*classes),
		&optimize.Settings{GradientThreshold: 1e-6, MajorIterations: 1000}, &optimize.LBFGS{})
	if found == nil {
		return nil, fmt.Errorf("logistic regression: %w", err)
	}
	// A line search that cannot go lower at the end of float64's digits is no failure: the point is as good as it gets.
	l.set(found.X, d)
	return l, nil
}

// set takes the parameters: weights row by row, then the bias.
func (l *linear) set(parameters []float64, d int) {
	l.weights = mat.NewDense(d, l.classes, parameters[:d*l.classes])
	l.bias = parameters[d*l.classes:]
}

func (l *linear) logits(x []float64) []float64 {
	d, _ := l.weights.Dims()
	n := len(x) / d
	if n == 0 {
		return nil
	}
	z := mat.NewDense(n, l.classes, nil)
	z.Mul(mat.NewDense(n, d, x), l.weights)
	values := z.RawMatrix().Data
	for i := range values {
		values[i] += l.bias[i%l.classes]
	}
	return values
}

func logSumExp(z []float64) float64 {
	most := math.Inf(-1)
	for _, v := range z {
		most = math.Max(most, v)
	}
	sum := 0.
	for _, v := range z {
		sum += math.Exp(v - most)
	}
	return most + math.Log(sum)
}

// softmax is the probabilities of rows of logits, which are divided by the temperature first.
func softmax[T float32 | float64](logits []T, classes int, temperature float64) []float64 {
	p := make([]float64, len(logits))
	for at := 0; at < len(p); at += classes {
		row := p[at : at+classes]
		for c := range row {
			row[c] = float64(logits[at+c]) / temperature
		}
		total := logSumExp(row)
		for c := range row {
			row[c] = math.Exp(row[c] - total)
		}
	}
	return p
}

// fitTemperature minimises the mean -log p of the labels over the temperature (Guo et al. 2017), by golden section over its
// logarithm, in which the loss has one minimum.
func fitTemperature(logits []float64, labels []int32, classes int) (float64, error) {
	loss := func(logT float64) float64 {
		t, sum, z := math.Exp(logT), 0., make([]float64, classes)
		for i, label := range labels {
			for c := range z {
				z[c] = logits[i*classes+c] / t
			}
			sum += logSumExp(z) - z[label]
		}
		return sum
	}
	ratio := (math.Sqrt(5) - 1) / 2
	low, high := math.Log(1e-3), math.Log(1e3)
	a, b := high-ratio*(high-low), low+ratio*(high-low)
	fa, fb := loss(a), loss(b)
	for high-low > 1e-7 {
		if fa <= fb {
			high, b, fb = b, a, fa
			a = high - ratio*(high-low)
			fa = loss(a)
		} else {
			low, a, fa = a, b, fb
			b = low + ratio*(high-low)
			fb = loss(b)
		}
	}
	if math.IsNaN(fa) || math.IsNaN(fb) {
		return 0, fmt.Errorf("temperature: the loss is not a number")
	}
	return math.Exp((low + high) / 2), nil
}

func argMax(p []float64, classes int) []int {
	best := make([]int, len(p)/classes)
	for i := range best {
		for c, v := range p[i*classes : (i+1)*classes] {
			if v > p[i*classes+best[i]] {
				best[i] = c
			}
		}
	}
	return best
}

func largest(p []float64, classes int) []float64 {
	list := make([]float64, len(p)/classes)
	for i, c := range argMax(p, classes) {
		list[i] = p[i*classes+c]
	}
	return list
}

package sdm

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime"
)

// A network is the adaptor, two affine maps after a normalisation: x = (h - mean) / deviation, h' = G x + g_b,
// z' = W h' + b. Mean and deviation are one pair for all features.
type network struct {
	rt              *runtime.Runtime
	mean, deviation float32
	segment         *ops.Segment
	g, gb, w, b     *ops.Var // [M, D], [M], [C, M], [C]
	params          *runtime.Memory
}

// newNetwork takes memory for the parameters and leaves them zero.
func newNetwork(rt *runtime.Runtime, c *Config, mean, deviation float32) (*network, error) {
	if !(deviation > 0) || math.IsInf(float64(deviation), 0) || math.IsNaN(float64(mean)) || math.IsInf(float64(mean), 0) {
		return nil, fmt.Errorf("sdm: features of mean %v and standard deviation %v cannot be normalised", mean, deviation)
	}
	d, m, k := int64(c.Dimension), int64(c.ExemplarDimension), int64(c.Classes)
	n := &network{rt: rt, mean: mean, deviation: deviation, segment: ops.NewSegment("adaptor")}
	n.g, n.gb = n.segment.Add("projection.weight", ops.F32, m, d), n.segment.Add("projection.bias", ops.F32, m)
	n.w, n.b = n.segment.Add("classifier.weight", ops.F32, k, m), n.segment.Add("classifier.bias", ops.F32, k)
	var err error
	n.params, err = rt.Allocate(n.segment)
	return n, err
}

// vars lists the parameters in the order of the file.
func (n *network) vars() []*ops.Var { return []*ops.Var{n.g, n.gb, n.w, n.b} }

// initialise draws every weight and bias from U(-1/sqrt(fan in), 1/sqrt(fan in)).
func (n *network) initialise(seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 1))
	values := make([]float32, 0, n.g.Count())
	for _, v := range n.vars() {
		fan := n.g.Dims[1]
		if v == n.w || v == n.b {
			fan = n.w.Dims[1]
		}
		limit := 1 / math.Sqrt(float64(fan))
		values = values[:0]
		for range v.Count() {
			values = append(values, float32(limit*(2*r.Float64()-1)))
		}
		if err := n.params.Write(v, values); err != nil {
			return err
		}
	}
	return nil
}

// weights are the parameters one after the other, as the file has them.
func (n *network) weights() ([]float32, error) {
	var all []float32
	for _, v := range n.vars() {
		values := make([]float32, v.Count())
		if err := n.params.Read(v, values); err != nil {
			return nil, err
		}
		all = append(all, values...)
	}
	return all, nil
}

func (n *network) setWeights(all []float32) error {
	for _, v := range n.vars() {
		k := int(v.Count())
		if len(all) < k {
			return fmt.Errorf("sdm: %d weights are missing at %s", k-len(all), v.Name)
		}
		if err := n.params.Write(v, all[:k]); err != nil {
			return err
		}
		all = all[k:]
	}
	if len(all) > 0 {
		return fmt.Errorf("sdm: %d weights too many", len(all))
	}
	return nil
}

// forward records the adaptor: features [B, D] to exemplars [B, M] and logits [B, C].
func (n *network) forward(g *ops.Graph, features ops.Tensor) (exemplar, logits ops.Tensor) {
	x := ops.Scale(ops.Affine(features, 1, -float64(n.mean)), 1/float64(n.deviation))
	exemplar = ops.MatMul(x, g.Use(n.g), ops.MatMulOptions{TransposeB: true, Bias: g.Use(n.gb)})
	logits = ops.MatMul(exemplar, g.Use(n.w), ops.MatMulOptions{TransposeB: true, Bias: g.Use(n.b)})
	return exemplar, logits
}

func (n *network) close() {
	if n.params != nil {
		n.params.Close()
	}
}

// moments are mean and standard deviation (over n-1) of all features of all rows, in float64.
func moments(x []float32) (mean, deviation float32) {
	sum := 0.0
	for _, v := range x {
		sum += float64(v)
	}
	m := sum / float64(len(x))
	squares := 0.0
	for _, v := range x {
		squares += (float64(v) - m) * (float64(v) - m)
	}
	return float32(m), float32(math.Sqrt(squares / float64(len(x)-1)))
}

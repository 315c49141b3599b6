package ops

import (
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The native header and the Go definitions are two lists of the same operations.
func TestDefinitionsMatchTheNativeHeader(t *testing.T) {
	text, err := os.ReadFile("../native/include/credence_ops.h")
	require.NoError(t, err)
	want := map[string]string{}
	for _, m := range regexp.MustCompile(`CREDENCE_OP\((\d+), (\w+), (\w+)\)`).FindAllStringSubmatch(string(text), -1) {
		assert.Equal(t, strings.ToLower(m[2]), m[3])
		want[m[1]] = m[3]
	}
	got := map[string]string{}
	for _, d := range Defs() {
		got[strconv.Itoa(int(d.Opcode))] = d.Name
	}
	assert.Equal(t, want, got)
}

func TestEveryOperationIsWhole(t *testing.T) {
	for _, d := range Defs() {
		assert.NotEmpty(t, d.Doc, d.Name)
		assert.NotNil(t, d.Shape, d.Name)
		assert.NotNil(t, d.Reference, d.Name)
		assert.NotNil(t, d.Bound, d.Name)
		if !assert.NotNil(t, d.Cases, d.Name) {
			continue
		}
		cases, seen := d.Cases(), map[string]bool{}
		assert.NotEmpty(t, cases, "%s has no cases", d.Name)
		gradient, bench, recorded := false, false, false
		for _, c := range cases {
			assert.False(t, seen[c.Name], "%s: two cases are called %q", d.Name, c.Name)
			seen[c.Name] = true
			gradient = gradient || !c.NoGradient
			bench = bench || c.Bench
			g := NewCaseGraph(1)
			c.Record(g)
			require.NoError(t, g.Err(), "%s/%s", d.Name, c.Name)
			for _, n := range g.nodes {
				recorded = recorded || n.def == d
			}
		}
		assert.True(t, recorded, "no case of %s records it", d.Name)
		assert.True(t, gradient || d.Grad == nil, "%s has a gradient but no case checks it", d.Name)
		assert.True(t, bench, "%s has no case large enough to time", d.Name)
	}
}

// Gradient rules against central differences in float64, along random directions over each input.
func TestGradientsByFiniteDifferences(t *testing.T) {
	for _, d := range Defs() {
		if d.Grad == nil {
			continue
		}
		for _, c := range d.Cases() {
			if c.NoGradient || c.Bench {
				continue
			}
			t.Run(d.Name+"/"+c.Name, func(t *testing.T) { checkGradient(t, c) })
		}
	}
}

func checkGradient(t *testing.T, c Case) {
	g := NewCaseGraph(7)
	outs := c.Record(g)
	require.NoError(t, g.Err())
	var wrt []Tensor
	for _, in := range g.Inputs() {
		if in.Differentiable {
			wrt = append(wrt, in.Tensor)
		}
	}
	// loss = sum over real outputs of random weights times outputs
	var ys, seeds []Tensor
	r := rand.New(rand.NewPCG(3, 4))
	weights := map[Tensor][]float64{}
	for _, y := range outs {
		if y.DType() != F32 {
			continue
		}
		n, err := y.Shape().Count()
		require.NoError(t, err)
		w := make([]float64, n.At(g.ints))
		for i := range w {
			w[i] = r.NormFloat64()
		}
		seed := g.ValuesShaped(F32, w, y.Shape())
		g.Frozen(seed)
		weights[y] = g.inputs[len(g.inputs)-1].Data.Data
		ys, seeds = append(ys, y), append(seeds, seed)
	}
	grads := VectorJacobian(ys, seeds, wrt...)
	require.NoError(t, g.Err())
	g.Output(append(append([]Tensor(nil), ys...), grads...)...)
	g.Promote()
	l, err := g.SimpleLowering()
	require.NoError(t, err)
	p, err := g.Lower(l)
	require.NoError(t, err)
	m := p.NewMemory()
	loss := func() float64 {
		vs, err := g.Evaluate(p, m, ys)
		require.NoError(t, err)
		sum := 0.0
		for i, y := range ys {
			for k, v := range vs[i].Data {
				sum += v * weights[y][k]
			}
		}
		return sum
	}
	analytic, err := g.Evaluate(p, m, grads)
	require.NoError(t, err)
	for i, w := range wrt {
		var data []float64
		for k := range g.inputs {
			if g.inputs[k].Tensor == w {
				data = g.inputs[k].Data.Data
			}
		}
		for range 3 {
			dir := make([]float64, len(data))
			want, scale := 0.0, 0.0
			for k := range dir {
				dir[k] = r.NormFloat64()
				want += dir[k] * analytic[i].Data[k]
				scale += math.Abs(dir[k] * analytic[i].Data[k])
			}
			const h = 1e-5
			saved := append([]float64(nil), data...)
			at := func(s float64) float64 {
				for k := range data {
					data[k] = saved[k] + s*h*dir[k]
				}
				return loss()
			}
			// fourth-order central difference
			got := (8*(at(1)-at(-1)) - (at(2) - at(-2))) / (12 * h)
			copy(data, saved)
			assert.InDelta(t, want, got, 1e-6*(1+scale), "input %d: %v", i, w)
		}
	}
}

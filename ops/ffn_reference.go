package ops

import (
	"math"
	"sort"
)

// ffnCall names the parts of a call of SPARSE_FFN or SPARSE_FFN_GATED.
type ffnCall struct {
	x, gate, up, down          *Dense // up is nil in the two-matrix form
	gateBias, upBias, downBias []float64
	act                        Activation
	both                       bool
	selection                  FFNSelection
	k                          int
	z, limit                   float64
}

func ffnOf(c *RefCall) ffnCall {
	f := ffnCall{x: c.In[0], gate: c.In[1], down: c.In[2], act: Activation{ActivationKind(c.Ints[0]), c.Floats[0]}, both: c.Ints[1] != 0,
		selection: FFNSelection(c.Ints[2]), k: int(c.Ints[3]), z: c.Floats[1], limit: c.Floats[2]}
	matrices := 2
	if n := len(c.In); n == 4 || n == 7 {
		matrices, f.up, f.down = 3, c.In[2], c.In[3]
	}
	if len(c.In) > 1+matrices {
		f.gateBias, f.downBias = c.In[1+matrices].Data, c.In[2*matrices].Data
		if f.up != nil {
			f.upBias = c.In[2+matrices].Data
		}
	}
	return f
}

// project is row i of x times each row of w, with the magnitudes of the terms.
func project(x *Dense, i int, w *Dense, bias []float64) (sums, terms []float64) {
	sums, terms = make([]float64, w.Dim(0)), make([]float64, w.Dim(0))
	for j := range sums {
		sums[j], terms[j] = dot(x, i, w, j)
		if bias != nil {
			sums[j] += bias[j]
			terms[j] += math.Abs(bias[j])
		}
	}
	return sums, terms
}

// cutoff is mean + z deviation.
func cutoff(x []float64, z float64) float64 {
	mean, square := 0.0, 0.0
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		square += (v - mean) * (v - mean)
	}
	return mean + z*math.Sqrt(square/float64(len(x)))
}

// least is the smallest of the k largest values, NaN counting as the largest.
func least(x []float64, k int) float64 {
	sorted := append([]float64(nil), x...)
	sort.Slice(sorted, func(i, j int) bool { return above(sorted[i], sorted[j]) })
	return sorted[k-1]
}

// above orders values with NaN as the largest.
func above(a, b float64) bool { return a > b || math.IsNaN(a) && !math.IsNaN(b) }

// selected applies the activation and the selection to a row of pre-activations.
func (f *ffnCall) selected(x []float64) []float64 {
	s := make([]float64, len(x))
	shift := 0.0
	if f.selection == FFNSelectCutoff {
		shift = cutoff(x, f.z)
	}
	for i, v := range x {
		if f.selection == FFNSelectCutoff {
			v = Activation{Kind: ActReLU}.Apply(v - shift)
		}
		s[i] = f.act.Apply(v)
	}
	if f.selection != FFNSelectTopK || f.k >= len(s) {
		return s
	}
	if f.k == 0 {
		return make([]float64, len(s))
	}
	t, left := least(s, f.k), f.k
	for _, v := range s {
		if above(v, t) {
			left--
		}
	}
	for i, v := range s {
		if above(v, t) {
			continue
		}
		if !above(t, v) && left > 0 { // as large as the smallest
			left--
			continue
		}
		s[i] = 0
	}
	return s
}

func ffnReference(c *RefCall) error {
	f := ffnOf(c)
	n, d := f.gate.Dim(0), f.x.Dim(1)
	y, hidden, count, read := c.Out[0].Data, c.Out[1].Data, c.Out[2].Data, c.Out[3].Data
	open, needed := make([]bool, n), make([]bool, n) // by the gate, in the end
	for b := range f.x.Dim(0) {
		pre, _ := project(f.x, b, f.gate, f.gateBias)
		h := f.selected(pre)
		var up []float64
		if f.up != nil {
			up, _ = project(f.x, b, f.up, f.upBias)
		}
		sum := y[b*d : b*d+d]
		for i, s := range h {
			active := s != 0
			open[i] = open[i] || active
			if active && up != nil {
				u := up[i]
				if f.both {
					u = f.act.Apply(u)
					active = u != 0
				}
				h[i] = s * u
			}
			needed[i] = needed[i] || active
			count[b] += indicator(active)
			if !active {
				h[i] = 0
				continue
			}
			for k := range sum {
				sum[k] += h[i] * f.down.Data[i*d+k]
			}
		}
		for k := range f.downBias {
			sum[k] += f.downBias[k]
		}
		copy(hidden[b*n:], h)
	}
	first, second := countTrue(open), countTrue(needed)
	if float64(first) > f.limit*float64(n) {
		first, second = n, n
	}
	read[1] = float64(second)
	if f.up != nil {
		read[0] = float64(first)
	}
	return nil
}

func countTrue(b []bool) int {
	n := 0
	for _, v := range b {
		n += int(indicator(v))
	}
	return n
}

// ffnBound follows the errors of the pre-activations through selection, activation and sums. What lies so near to a
// threshold that either side is right may be on either; nothing else may.
func ffnBound(c *RefCall, eps float64) [][]float64 {
	f := ffnOf(c)
	n, d, rows := f.gate.Dim(0), f.x.Dim(1), f.x.Dim(0)
	y, hidden, count, read := make([]float64, rows*d), make([]float64, rows*n), make([]float64, rows), make([]float64, 2)
	for b := range rows {
		pre, terms := project(f.x, b, f.gate, f.gateBias)
		s, sErr, undecided := f.gateErrors(pre, terms, eps)
		var up, upTerms []float64
		if f.up != nil {
			up, upTerms = project(f.x, b, f.up, f.upBias)
		}
		sum, worst := make([]float64, d), make([]float64, d)
		for i := range s {
			e, h := sErr[i], c.Out[1].Data[b*n+i]
			if up != nil {
				u, uErr := up[i], productSumBound(d+1, upTerms[i], eps)
				if f.both {
					undecided[i] = undecided[i] || f.mayVanish(u, uErr)
					u, uErr = f.act.Apply(u), activationBound(f.act, u, uErr, eps)
				}
				e = e*math.Abs(u) + math.Abs(s[i])*uErr + e*uErr + 2*eps*math.Abs(s[i]*u)
			}
			hidden[b*n+i] = e + tiny
			count[b] += indicator(undecided[i])
			if s[i] == 0 && e == 0 {
				continue
			}
			for k := range sum {
				w := math.Abs(f.down.Data[i*d+k])
				sum[k] += math.Abs(h) * w
				worst[k] += (e + tiny) * w
			}
		}
		for k := range sum {
			if f.downBias != nil {
				sum[k] += math.Abs(f.downBias[k])
			}
			y[b*d+k] = worst[k] + productSumBound(n+1, sum[k], eps) + float64(n+1)*tiny
		}
		if count[b] > 0 { // so may be the rows read, down to whether all are
			read[0], read[1] = float64(n), float64(n)
		}
	}
	return [][]float64{y, hidden, count, read}
}

// gateErrors is the row after activation and selection, how far each element may be off, and whether it may be 0 or not.
func (f *ffnCall) gateErrors(pre, terms []float64, eps float64) (s, e []float64, undecided []bool) {
	s, e, undecided = f.selected(pre), make([]float64, len(pre)), make([]bool, len(pre))
	d := f.x.Dim(1)
	largest, scale := 0.0, 0.0
	for i, v := range pre {
		e[i] = productSumBound(d+1, terms[i], eps)
		largest, scale = math.Max(largest, e[i]), math.Max(scale, math.Abs(v))
	}
	shift, shiftErr := 0.0, 0.0
	if f.selection == FFNSelectCutoff {
		shift, shiftErr = cutoff(pre, f.z), (1+math.Abs(f.z))*(largest+2*eps*scale)
	}
	values := make([]float64, len(pre)) // before the largest are chosen
	for i, v := range pre {
		e[i] += shiftErr
		if f.selection == FFNSelectCutoff {
			v -= shift
			e[i] += eps * math.Abs(v)
			undecided[i] = math.Abs(v) <= e[i]
			v = math.Max(v, 0)
		}
		undecided[i] = undecided[i] || f.mayVanish(v, e[i])
		e[i] = activationBound(f.act, v, e[i], eps)
		values[i] = f.act.Apply(v)
	}
	if f.selection != FFNSelectTopK || f.k >= len(pre) || f.k == 0 {
		return s, e, undecided
	}
	largest = 0
	for _, v := range e {
		largest = math.Max(largest, v)
	}
	t := least(values, f.k)
	for i, v := range values {
		switch {
		case math.Abs(v-t) <= 2*largest && v != 0: // may be chosen or not
			undecided[i] = true
			e[i] += math.Abs(v)
		case above(t, v):
			e[i], undecided[i] = 0, false
		}
	}
	return s, e, undecided
}

// mayVanish reports whether the activation is 0 on one side of x within e and not on the other.
func (f *ffnCall) mayVanish(x, e float64) bool {
	return (f.act.Apply(x-e) == 0) != (f.act.Apply(x+e) == 0)
}

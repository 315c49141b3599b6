package ops

import "fmt"

func ffnCases(gated bool) []Case {
	relu := Activation{Kind: ActReLU}
	// weights of F neurons of width d
	weights := func(c *CaseGraph, t DType, f, d int64, bias bool) FFNWeights {
		s := Dims(f, d)
		w := FFNWeights{Gate: c.NormalOf(t, s), Down: c.NormalOf(t, s)}
		if gated {
			w.Up = c.NormalOf(t, s)
		}
		if bias {
			w.GateBias, w.DownBias = c.Normal(f), c.Normal(d)
			if gated {
				w.UpBias = c.Normal(f)
			}
		}
		return w
	}
	list := func(r FFNResult) []Tensor { return []Tensor{r.Y, r.Hidden, r.Count, r.Read} }
	at := func(t DType, b, d, f int64, bias bool, o FFNOptions) func(c *CaseGraph) []Tensor {
		return func(c *CaseGraph) []Tensor { return list(SparseFFN(c.Normal(b, d), weights(c, t, f, d, bias), o)) }
	}
	// a threshold of 1.2 deviations of x w' leaves about an eighth of the neurons
	sparse := func(d float64) FFNOptions { return FFNOptions{Activation: Activation{ActFATReLU, 1.2 * d}} }
	cases := []Case{
		{Name: "prime sizes", Record: at(F32, 3, 13, 37, false, FFNOptions{Activation: relu})},
		{Name: "one row, few active", Record: at(F32, 1, 16, 700, true, sparse(4))},
		{Name: "one row, more neurons than a chunk", Record: at(F32, 1, 4, 4700, false, sparse(2))},
		{Name: "rows share a list", Record: at(F32, 3, 25, 531, true, sparse(5))},
		{Name: "list forced", Record: at(F32, 4, 9, 301, false, FFNOptions{Activation: relu, Limit: 1})},
		{Name: "all read", Record: at(F32, 2, 9, 301, false, FFNOptions{Activation: Activation{ActFATReLU, 4}, Limit: -1})},
		{Name: "as a product of matrices", Record: at(F32, 19, 33, 523, true, FFNOptions{Activation: relu})},
		{Name: "many rows, few active", Record: at(F32, 37, 33, 290, true, FFNOptions{Activation: Activation{ActFATReLU, 22}})},
		{Name: "wide", Record: at(F32, 2, 4500, 9, false, FFNOptions{Activation: relu})},
		{Name: "one neuron", Record: at(F32, 5, 7, 1, true, FFNOptions{Activation: relu})},
		{Name: "none active", Record: at(F32, 2, 5, 60, true, FFNOptions{Activation: Activation{ActFATReLU, 1000}})},
		{Name: "none active, no bias", Record: at(F32, 2, 5, 60, false, FFNOptions{Activation: Activation{ActFATReLU, 1000}})},
		{Name: "all active", Record: at(F32, 2, 5, 60, false, FFNOptions{Activation: Activation{Kind: ActSiLU}})},
		{Name: "no activation", Record: at(F32, 2, 5, 60, false, FFNOptions{})},
		{Name: "no rows", Record: at(F32, 0, 5, 60, true, FFNOptions{Activation: relu})},
		{Name: "no neurons", Record: at(F32, 3, 5, 0, true, FFNOptions{Activation: relu})},
		{Name: "no width", Record: at(F32, 3, 0, 7, true, FFNOptions{Activation: relu})},
		{Name: "three axes", Record: func(c *CaseGraph) []Tensor {
			return list(SparseFFN(c.Normal(2, 3, 5), weights(c, F32, 11, 5, false), FFNOptions{Activation: relu}))
		}},
		{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 40, 23)
			return list(SparseFFN(c.NormalOf(F32, Shape{n.Of(1), N(13)}), weights(c, F32, 21, 13, true), FFNOptions{Activation: relu}))
		}},
		{Name: "thresholds exactly met", Record: func(c *CaseGraph) []Tensor {
			// the pre-activations are the whole numbers -3 to 3, and 2 is kept
			x := c.Values(F32, []float64{1, 0}, 1, 2)
			gate := c.Values(F32, []float64{-3, 5, -2, 5, -1, 5, 0, 5, 1, 5, 2, 5, 3, 5}, 7, 2)
			w := weights(c, F32, 7, 2, false)
			w.Gate = gate
			return append(list(SparseFFN(x, w, FFNOptions{Activation: Activation{ActFATReLU, 2}})),
				list(SparseFFN(x, w, FFNOptions{Activation: Activation{ActShiftedReLU, 2}}))...)
		}},
		{Name: "top k, fewer than k positive", Record: at(F32, 3, 7, 40, false, FFNOptions{Activation: relu, Select: FFNSelectTopK, K: 35})},
		{Name: "top k", Record: at(F32, 3, 21, 400, true, FFNOptions{Activation: relu, Select: FFNSelectTopK, K: 19})},
		{Name: "top k of all signs", Record: at(F32, 2, 7, 300, false, FFNOptions{Select: FFNSelectTopK, K: 250})},
		{Name: "top k of many, most equal", Record: at(F32, 2, 5, 2311, false, FFNOptions{Activation: sparse(2).Activation, Select: FFNSelectTopK, K: 1500})},
		{Name: "top 0", Record: at(F32, 3, 7, 40, true, FFNOptions{Activation: relu, Select: FFNSelectTopK})},
		{Name: "top k of fewer", Record: at(F32, 3, 7, 40, false, FFNOptions{Activation: relu, Select: FFNSelectTopK, K: 41})},
		{Name: "cutoff", Record: at(F32, 3, 21, 403, false, FFNOptions{Select: FFNSelectCutoff, Z: 1.3})},
		{Name: "cutoff and gelu", Record: at(F32, 1, 21, 400, true, FFNOptions{Activation: Activation{Kind: ActGELU}, Select: FFNSelectCutoff, Z: 1.645})},
	}
	for _, a := range testedActivations() {
		cases = append(cases, Case{Name: a.String(), Record: at(F32, 2, 11, 90, true, FFNOptions{Activation: a})})
	}
	for _, t := range storedTypes {
		for _, b := range []int64{1, 3, 11} {
			cases = append(cases, Case{Name: fmt.Sprintf("%v, %d rows", t, b), Record: at(t, b, 64, 275, true, FFNOptions{Activation: Activation{ActFATReLU, 9}})})
		}
		cases = append(cases,
			Case{Name: fmt.Sprintf("%v, a third", t), Record: at(t, 1, 96, 275, false, FFNOptions{Activation: Activation{ActFATReLU, 4}})},
			Case{Name: fmt.Sprintf("%v, one row of a tenth", t), Bench: true, Record: at(t, 1, 2048, 5632, false, sparse(45))})
	}
	if gated {
		cases = append(cases,
			Case{Name: "both sides activated", Record: at(F32, 1, 21, 530, true, FFNOptions{Activation: relu, Both: true})},
			Case{Name: "both sides activated, list forced", Record: at(F32, 3, 21, 530, false, FFNOptions{Activation: relu, Both: true, Limit: 1})},
			Case{Name: "both sides activated, all read", Record: at(F32, 3, 21, 530, false, FFNOptions{Activation: relu, Both: true, Limit: -1})},
			Case{Name: "a type each", Record: func(c *CaseGraph) []Tensor {
				s := Dims(300, 64)
				w := FFNWeights{Gate: c.NormalOf(BF16, s), Up: c.NormalOf(Q4_0, s), Down: c.NormalOf(Q8_0, s)}
				return append(list(SparseFFN(c.Normal(1, 64), w, sparse(8))), list(SparseFFN(c.Normal(12, 64), w, FFNOptions{Activation: relu}))...)
			}})
	}
	return cases
}

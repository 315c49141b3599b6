package ops

import (
	"fmt"
	"math"
)

// labelled checks logits [R x N] with labels [R] and, where the op has it, a number per row.
func labelled(c *ShapeCall) error {
	if err := rowsOfFloats(c); err != nil {
		return err
	}
	if len(c.In) < 2 || c.In[1].DType() != I32 || !c.In[1].Shape().Equal(c.In[0].Shape()[:1]) {
		return fmt.Errorf("logits %s need one i32 label per row, not %v", c.S(c.In[0]), c.In[len(c.In)-1])
	}
	if len(c.In) > 2 && (c.In[2].DType() != F32 || !c.In[2].Shape().Equal(c.In[1].Shape())) {
		return fmt.Errorf("logits %s need one f32 gradient per row, not %v", c.S(c.In[0]), c.In[2])
	}
	return nil
}

// checkLabels reports a label that names no class; -1 means that the row does not count.
func checkLabels(labels []float64, classes int) error {
	for r, l := range labels {
		if l < -1 || l >= float64(classes) {
			return fmt.Errorf("label %d of row %d is outside -1 to %d", int64(l), r, classes-1)
		}
	}
	return nil
}

func init() {
	define(Def{Opcode: OpCrossEntropy, Name: "cross_entropy", Cases: crossEntropyCases,
		Doc: "-log softmax(logits)[label] of rows, within (D_label + 4 + 4 sqrt N + sum p D + 4 log S) eps, D = max - x, S = sum exp(-D); " +
			"0 for the label -1, an error for any other that names no class. NaN for a row with NaN or Inf, or of -Inf alone.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			return []TypeShape{{F32, c.In[0].Shape()[:1]}}, labelled(c)
		},
		Reference: func(c *RefCall) error {
			if err := checkLabels(c.In[1].Data, c.In[0].Dim(1)); err != nil {
				return err
			}
			eachRow(c.In[0], func(r, from, to int) {
				if label := int(c.In[1].Data[r]); label >= 0 {
					l := logitsOf(c.In[0].Data[from:to])
					c.Out[0].Data[r] = l.m - l.x[label] + math.Log(l.s)
				}
			})
			return nil
		},
		Bound: boundRows(func(c *RefCall, eps float64, r, from, to int, bound []float64) {
			if label := int(c.In[1].Data[r]); label >= 0 && !math.IsInf(c.Out[0].Data[r], 0) {
				l := logitsOf(c.In[0].Data[from:to])
				bound[r] = eps * (l.m - l.x[label] + l.logEps())
			}
		}),
		Grad: func(c *GradCall) { c.SetIn(0, CrossEntropyGrad(c.In(0), c.In(1), c.OutGrad(0))) }})

	define(Def{Opcode: OpCrossEntropyGrad, Name: "cross_entropy_grad", Cases: crossEntropyGradCases,
		Doc: "dloss (softmax(logits) - [k = label]) along rows, within eps |dloss| times softmax's bound plus 2 |p - [k = label]|; 0 for the " +
			"label -1 whatever the row and dloss hold.",
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			return []TypeShape{{F32, c.In[0].Shape()}}, labelled(c)
		},
		Reference: func(c *RefCall) error {
			if err := checkLabels(c.In[1].Data, c.In[0].Dim(1)); err != nil {
				return err
			}
			eachRow(c.In[0], func(r, from, to int) {
				label := int(c.In[1].Data[r])
				if label < 0 {
					return
				}
				l := logitsOf(c.In[0].Data[from:to])
				for k := range l.x {
					c.Out[0].Data[from+k] = c.In[2].Data[r] * (l.p(k) - indicator(k == label))
				}
			})
			return nil
		},
		Bound: boundRows(func(c *RefCall, eps float64, r, from, to int, bound []float64) {
			label := int(c.In[1].Data[r])
			if label < 0 {
				return
			}
			l, d := logitsOf(c.In[0].Data[from:to]), math.Abs(c.In[2].Data[r])
			for k := range l.x {
				p := l.p(k)
				bound[from+k] = eps*d*(p*l.pEps(k)+2*math.Abs(p-indicator(k == label))) + 2*tiny*(1+d)
			}
		})})
}

// CrossEntropy is -log softmax(logits)[label] along the innermost axis, which is dropped: logits [.. x N], labels int32
// [..]. A label of -1 gives 0: the row does not count.
func CrossEntropy(logits, labels Tensor) Tensor {
	rows, lead := asRows(OpCrossEntropy, logits)
	y := record(OpCrossEntropy, rows.g, []Tensor{rows, asVector(OpCrossEntropy, labels, lead)}, nil, nil, nil)[0]
	return reshapeTo(y, lead)
}

// CrossEntropyGrad is the gradient of the logits of CrossEntropy, given that of its result.
func CrossEntropyGrad(logits, labels, dloss Tensor) Tensor {
	rows, lead := asRows(OpCrossEntropyGrad, logits)
	ins := []Tensor{rows, asVector(OpCrossEntropyGrad, labels, lead), asVector(OpCrossEntropyGrad, dloss, lead)}
	return reshapeTo(record(OpCrossEntropyGrad, rows.g, ins, nil, nil, nil)[0], logits.Shape())
}

// asVector views a tensor of the shape lead as a vector.
func asVector(code Opcode, x Tensor, lead Shape) Tensor {
	if x.g == nil || x.g.err != nil {
		return Tensor{}
	}
	if !x.Shape().Equal(lead) {
		return x.g.failf("%s: %v must have the shape %s, one element per row", defsByCode[code].Name, x, x.g.ShapeString(lead))
	}
	n, err := lead.Count()
	if err != nil {
		return x.g.failf("%s: %w", defsByCode[code].Name, err)
	}
	return reshapeTo(x, Shape{n})
}

func crossEntropyCases() []Case {
	sized := func(name string, bench bool, rows, n int64) Case {
		return Case{Name: name, NoGradient: bench, Bench: bench, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{CrossEntropy(c.Normal(rows, n), c.Indices(0, n, rows))}
		}}
	}
	long := func(name string, rows, n int64) Case {
		k := sized(name, false, rows, n)
		k.NoGradient = true
		return k
	}
	return []Case{
		sized("prime sizes", false, 13, 101),
		sized("one column", false, 5, 1),
		sized("no rows", false, 0, 5),
		sized("longer rows", false, 3, 600),
		long("many rows", 5000, 3),
		long("long rows", 3, 4501),
		long("very long rows", 2, 65540),
		sized("large, ten classes", true, 65536, 10),
		sized("large, vocabulary", true, 32, 32000),
		{Name: "one row, and three axes", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{CrossEntropy(c.Normal(7), c.Indices(0, 7)), CrossEntropy(c.Normal(2, 3, 5), c.Indices(0, 5, 2, 3))}
		}},
		{Name: "ignored rows", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{CrossEntropy(c.Normal(6, 5), c.Values(I32, []float64{-1, 0, 4, -1, 2, -1}, 6))}
		}},
		{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 9, 4)
			return []Tensor{CrossEntropy(c.NormalOf(F32, Shape{n.Of(1), N(10)}), c.ValuesShaped(I32, []float64{9, 0, -1, 5}, Shape{n.Of(1)}))}
		}},
		{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{CrossEntropy(specialLogits(c))}
		}},
		{Name: "confident", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{CrossEntropy(c.Values(F32, []float64{0, 30, 1, 500, -500, 0, 0, 0, 17}, 3, 3), c.Values(I32, []float64{1, 1, 2}, 3))}
		}},
	}
}

func specialLogits(c *CaseGraph) (x, labels Tensor) {
	inf, nan := math.Inf(1), math.NaN()
	return c.Values(F32, []float64{1, -inf, 2, 1, -inf, 2, -inf, -inf, -inf, inf, 0, 1, nan, 1, 2, nan, inf, -inf, 3e38, 3e38, 3e38}, 7, 3),
		c.Values(I32, []float64{0, 1, 0, 0, 1, -1, 2}, 7)
}

func crossEntropyGradCases() []Case {
	sized := func(name string, bench bool, rows, n int64) Case {
		return Case{Name: name, NoGradient: true, Bench: bench, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{CrossEntropyGrad(c.Normal(rows, n), c.Indices(0, n, rows), c.Normal(rows))}
		}}
	}
	return []Case{
		sized("prime sizes", false, 13, 101),
		sized("one column", false, 5, 1),
		sized("no rows", false, 0, 5),
		sized("longer rows", false, 3, 600),
		sized("long rows", false, 3, 4501),
		sized("very long rows", false, 2, 65540),
		sized("large, ten classes", true, 65536, 10),
		sized("large, vocabulary", true, 32, 32000),
		{Name: "repeated gradient and ignored rows", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			return []Tensor{CrossEntropyGrad(c.Normal(6, 5), c.Values(I32, []float64{-1, 0, 4, -1, 2, -1}, 6), BroadcastTo(c.Normal(), Dims(6)))}
		}},
		{Name: "special values", NoGradient: true, Record: func(c *CaseGraph) []Tensor {
			x, labels := specialLogits(c)
			return []Tensor{CrossEntropyGrad(x, labels, c.Values(F32, []float64{1, 1, 1, 1, 1, math.NaN(), 1}, 7))}
		}},
	}
}

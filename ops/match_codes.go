package ops

import (
	"fmt"
	"math"
)

// Codes of support rows: a byte for each element, so that a single query reads a quarter of the memory.

// Codes approximate the rows of a support: row j is Centre [M] + Fit[j][0] (Code[j] - 128), where Code, u8 [S, M], holds
// whole numbers and the Euclidean length of what that leaves of the row is at most Fit[j][1]; Fit is [S, 2].
type Codes struct{ Centre, Code, Fit Tensor }

const codesDoc = "Row j of y less the centre as scale (code - 128), codes 1 to 255: fit[j] is the scale, the largest magnitude / 127, and a bound on " +
	"the Euclidean length of what is left, rounding included. Code within 1, fit within 1e-4 of itself. A row that is not " +
	"finite or nearly overflows when squared: codes 128, scale 0, bound Inf."

func init() {
	define(Def{Opcode: OpMatchCodes, Name: "match_codes", Doc: codesDoc,
		Shape: func(c *ShapeCall) ([]TypeShape, error) {
			y, centre := c.In[0], c.In[1]
			if err := c.floats32(y, centre); err != nil {
				return nil, err
			}
			if len(y.Shape()) != 2 || !centre.Shape().Equal(Shape{y.Dim(1)}) {
				return nil, fmt.Errorf("y is %s, the centre %s; [S x M] and [M] are needed", c.S(y), c.S(centre))
			}
			return []TypeShape{{U8, y.Shape()}, {F32, Shape{y.Dim(0), N(2)}}}, nil
		},
		Strided: func(c *ShapeCall, i int) bool { return i == 0 && rowsAdjacent(c, c.In[0]) },
		Reference: func(c *RefCall) error {
			for j := range c.In[0].Dim(0) {
				codeRow(c, j)
			}
			return nil
		},
		Bound: func(c *RefCall, _ float64) [][]float64 {
			return eachBound(c, func(d *Dense, i int) float64 {
				if d.DType == U8 {
					return 1
				}
				return 1e-4 * d.Data[i]
			})
		},
		Cases: codesCases,
	})
	define(matchDef(OpMatchCoded, "match_coded", matchDoc+" Codes of the supports, as match_codes makes them, spare a single query most of the memory.",
		5, codedCases))
}

// codeRow codes one row, in the precision of the centred element that a device has.
func codeRow(c *RefCall, j int) {
	m := c.In[0].Dim(1)
	v, code, fit := make([]float64, m), c.Out[0].Data[j*m:(j+1)*m], c.Out[1].Data[2*j:2*j+2]
	largest, length := 0.0, 0.0
	for k := range v {
		v[k] = roundTo(F32, c.In[0].Data[j*m+k]-c.In[1].Data[k])
		largest = math.Max(largest, math.Abs(v[k]))
		length += v[k] * v[k]
		code[k] = 128
	}
	if !(length < 1e37) {
		fit[1] = math.Inf(1)
		return
	}
	scale, rest := 0.0, 0.0
	if largest > 1e-30 {
		scale = roundTo(F32, largest/127) // its rounding is part of what is left
	}
	for k := range v {
		q := 0.0
		if scale > 0 {
			q = math.RoundToEven(v[k] / scale)
		}
		code[k] = 128 + q
		rest += (v[k] - scale*q) * (v[k] - scale*q)
	}
	fit[0], fit[1] = scale, (math.Sqrt(rest*1.001)+0x1p-22*math.Sqrt(length*1.001)+1e-17)*(1+1e-6)
}

func checkCodes(c *ShapeCall, rows, centre, code, fit Tensor) error {
	s, m := rows.Dim(0), rows.Dim(1)
	if centre.DType() != F32 || code.DType() != U8 || fit.DType() != F32 || !centre.Shape().Equal(Shape{m}) ||
		!code.Shape().Equal(rows.Shape()) || !fit.Shape().Equal(Shape{s, N(2)}) {
		return fmt.Errorf("its rows are %s, the centre of its codes %v, the codes %v, their fit %v; f32 [M], u8 [S x M] and f32 [S x 2] are needed",
			c.S(rows), centre, code, fit)
	}
	return nil
}

// MatchCodes makes codes of the rows y [S, M] of a support, around their mean. They belong to these very rows: a match
// with codes of others is wrong.
func MatchCodes(y Tensor) Codes {
	if !y.Valid() {
		return Codes{}
	}
	if len(y.Shape()) != 2 {
		y.g.failf("match_codes: y is %v; [S x M] is needed", y)
		return Codes{}
	}
	centre := Reshape(Mean(y, 0), y.Dim(1))
	r := record(OpMatchCodes, y.g, []Tensor{y, centre}, nil, nil, nil)
	return Codes{centre, r[0], r[1]}
}

func codesCases() []Case {
	f := func(y, centre Tensor) []Tensor {
		return record(OpMatchCodes, y.g, []Tensor{y, centre}, nil, nil, nil)[:2]
	}
	sized := func(name string, s, m int64) Case {
		return Case{Name: name, Bench: s > 1000, Record: func(c *CaseGraph) []Tensor { return f(c.Normal(s, m), c.Normal(m)) }}
	}
	return withoutGradient([]Case{
		sized("prime sizes", 13, 37),
		sized("long rows", 5, 1003),
		sized("one element", 1, 1),
		sized("no rows", 0, 7),
		sized("rows of nothing", 3, 0),
		{Name: "far from the origin", Record: func(c *CaseGraph) []Tensor {
			k := MatchCodes(Affine(c.Normal(31, 130), 1, 50))
			return []Tensor{k.Code, k.Fit}
		}},
		{Name: "strided, live rows as an argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("live", 20, 9)
			return f(Slice(Slice(c.Normal(20, 40), 1, N(3), N(29)), 0, N(0), n.Of(1)), c.Normal(29))
		}},
		{Name: "special values", Record: func(c *CaseGraph) []Tensor {
			inf, nan := math.Inf(1), math.NaN()
			return f(c.Values(F32, []float64{nan, 1, 2, inf, 0, 0, -inf, 3, 4, 3e38, 1, 1, 1e-40, 0, -1e-40, 0, 0, 0, 1, 1, 1, 1e-20, 2e-20, -5e-20}, 8, 3),
				c.Values(F32, []float64{0, 0, 0}, 3))
		}},
		sized("large", 2000, 1000),
	})
}

// codedCases are matches of few queries and of many, with the codes of their supports.
func codedCases() []Case {
	sized := func(name string, n, s, m, k int64, points func(c *CaseGraph, n, s, m int64) (x, y Tensor)) Case {
		return Case{Name: name, Bench: s > 10000, Record: func(c *CaseGraph) []Tensor {
			x, prediction, exclude, y := matchData(c, n, s, m, points)
			y.Codes = MatchCodes(y.Rows)
			q, distance, nearest := Match(x, prediction, exclude, N(k), y)
			return []Tensor{q, distance, nearest}
		}}
	}
	normal := func(c *CaseGraph, n, s, m int64) (x, y Tensor) { return c.Normal(n, m), c.Normal(s, m) }
	return withoutGradient([]Case{
		sized("one query", 1, 401, 67, 2048, normal),
		sized("few queries", 3, 301, 33, 7, normal),
		sized("many queries", 70, 301, 33, 7, normal),
		sized("ties", 2, 700, 3, 40, lattice),
		sized("no rows", 1, 0, 3, 3, normal),
		sized("far from the origin", 2, 150, 1000, 2048, func(c *CaseGraph, n, s, m int64) (x, y Tensor) {
			return Affine(c.Normal(n, m), 1, 50), Affine(c.Normal(s, m), 1, 50)
		}),
		{Name: "two supports, special values", Record: func(c *CaseGraph) []Tensor {
			x, rows := pairValues(c, plainValues...)
			a := Support{Rows: c.Normal(40, 1), Class: oneClass(c, 40)}
			b := Support{Rows: rows, Class: c.Indices(-2, 2, 11)}
			a.Codes, b.Codes = MatchCodes(a.Rows), MatchCodes(b.Rows)
			var r []Tensor
			for i := range int64(11) {
				q, distance, nearest := Match(Slice(x, 0, N(i), N(1)), c.Indices(0, 2, 1), Tensor{}, N(9), a, b)
				r = append(r, q, distance, nearest)
			}
			return r
		}},
		sized("large, one query", 1, 12000, 512, 2048, normal),
	})
}

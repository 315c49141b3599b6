package ops

import (
	"fmt"
	"math"
)

// Matching of queries against a support set, for SDM (arXiv 2509.12760, eq. 4 and 5): how many of the nearest rows of
// the support agree with a query's prediction before the first that does not, and how far the nearest is.

// Classes of support rows that no prediction has.
const (
	ClassBreaks  = -1 // breaks the match of every query: a row whose label is not what was predicted for it
	ClassRemoved = -2 // the row counts as absent
)

// MaxSupports and MaxCodedSupports are how many parts a support set may be given in, without codes and with.
const (
	MaxSupports      = 29
	MaxCodedSupports = 11
)

const matchDoc = "Rows of the supports, numbered one support after the other, in the order of (distance, number), NaN distances last: q is " +
	"how many come before the first whose class is not the prediction, at most K; distance and nearest belong to the first of all. A negative " +
	"class never equals a prediction; a row of class -2, and the one that exclude names (-1: none), count as absent. With no row present: 0, Inf " +
	"and -1. q and nearest are those of the distances that pairwise_sqdist gives, bit for bit, however the rows are cut into supports and queries " +
	"into batches, and so exact wherever float32 tells the distances apart. Distance: " + distanceDoc

func init() {
	define(matchDef(OpMatch, "match", matchDoc, 2, matchCases))
}

// matchDef is a match whose supports are so many tensors each, of which the first two are the rows and their classes.
func matchDef(code Opcode, name, doc string, each int, cases func() []Case) Def {
	return Def{Opcode: code, Name: name, Doc: doc,
		Shape: func(c *ShapeCall) ([]TypeShape, error) { return matchShape(c, each) },
		Strided: func(c *ShapeCall, i int) bool {
			return (i == 0 || i >= 3 && (i-3)%each == 0) && rowsAdjacent(c, c.In[i])
		},
		Reference: func(c *RefCall) error {
			if c.Ints[0] < 1 {
				return fmt.Errorf("K is %d; at least 1 is needed", c.Ints[0])
			}
			for i := range c.In[0].Dim(0) {
				matchQuery(c, each, i)
			}
			return nil
		},
		Bound: func(c *RefCall, eps float64) [][]float64 {
			return eachBound(c, func(d *Dense, i int) float64 {
				if d.DType == I32 || math.IsInf(d.Data[i], 0) {
					return 0
				}
				return sqdistBound(c, d.Data[i], eps)
			})
		},
		Cases: cases,
	}
}

func matchShape(c *ShapeCall, each int) ([]TypeShape, error) {
	x, queries := c.In[0], c.In[0].Dim(0)
	if err := c.floats32(x); err != nil {
		return nil, err
	}
	if len(x.Shape()) != 2 {
		return nil, fmt.Errorf("x is %s; [N x M] is needed", c.S(x))
	}
	for i, what := range []string{"prediction", "excluded row"} {
		if t := c.In[1+i]; t.DType() != I32 || !t.Shape().Equal(Shape{queries}) {
			return nil, fmt.Errorf("x is %s, the %s %v; one i32 for each row of x is needed", c.S(x), what, t)
		}
	}
	n, most := (len(c.In)-3)/each, MaxSupports
	if each > 2 {
		most = MaxCodedSupports
	}
	if n < 1 || len(c.In) != 3+n*each {
		return nil, fmt.Errorf("%d inputs; x, predictions, excluded rows and at least one support of %d tensors are needed", len(c.In), each)
	}
	if n > most {
		return nil, fmt.Errorf("%d supports; at most %d", n, most)
	}
	for i := 3; i < len(c.In); i += each {
		rows, class, which := c.In[i], c.In[i+1], (i-3)/each
		if rows.DType() != F32 || len(rows.Shape()) != 2 || !rows.Dim(1).Equal(x.Dim(1)) {
			return nil, fmt.Errorf("x is %s, support %d %v; float32 rows as long as those of x are needed", c.S(x), which, rows)
		}
		if class.DType() != I32 || !class.Shape().Equal(Shape{rows.Dim(0)}) {
			return nil, fmt.Errorf("support %d is %s, its classes %v; one i32 for each of its rows is needed", which, c.S(rows), class)
		}
		if each > 2 {
			if err := checkCodes(c, rows, c.In[i+2], c.In[i+3], c.In[i+4]); err != nil {
				return nil, fmt.Errorf("support %d: %w", which, err)
			}
		}
	}
	if c.Max(c.Ints[0]) < 1 {
		return nil, fmt.Errorf("K is %d; at least 1 is needed", c.Max(c.Ints[0]))
	}
	return []TypeShape{{I32, Shape{queries}}, {F32, Shape{queries}}, {I32, Shape{queries}}}, nil
}

// A place in the order of the rows. The distance is rounded as a device holds it, so that overflow ties.
type matchPlace struct {
	d  float64
	at int
}

func (p matchPlace) before(o matchPlace) bool {
	switch {
	case p.d == o.d || math.IsNaN(p.d) && math.IsNaN(o.d):
		return p.at < o.at
	default:
		return p.d < o.d || math.IsNaN(o.d)
	}
}

// matchQuery is the definition: the first row of all, the first that breaks the match, and what lies before it.
func matchQuery(c *RefCall, each, i int) {
	prediction, exclude := c.In[1].Data[i], int(c.In[2].Data[i])
	end := matchPlace{math.NaN(), math.MaxInt}
	nearest, breaks := end, end
	var good []matchPlace
	base := 0
	for s := 3; s < len(c.In); s += each {
		pair := RefCall{In: []*Dense{c.In[0], c.In[s]}}
		for j, class := range c.In[s+1].Data {
			if class == ClassRemoved || base+j == exclude {
				continue
			}
			p := matchPlace{roundTo(F32, sqdist(&pair, i, j)), base + j}
			if p.before(nearest) {
				nearest = p
			}
			if class >= 0 && class == prediction {
				good = append(good, p)
			} else if p.before(breaks) {
				breaks = p
			}
		}
		base += c.In[s].Dim(0)
	}
	q := 0
	for _, p := range good {
		q += int(indicator(p.before(breaks)))
	}
	c.Out[0].Data[i] = float64(min(int64(q), c.Ints[0]))
	c.Out[1].Data[i], c.Out[2].Data[i] = nearest.d, float64(nearest.at)
	if nearest.at == end.at {
		c.Out[1].Data[i], c.Out[2].Data[i] = math.Inf(1), -1
	}
}

// A Support is a part of a support set: its vectors [S, M] and, int32 [S], the class that each stands for: its label if
// that was also predicted for it, else ClassBreaks, or ClassRemoved. S may be an argument: how many rows are live. Codes
// are optional, for all supports of a match or for none: they change its speed, never its result.
type Support struct {
	Rows, Class Tensor
	Codes       Codes
}

// Match compares the queries x [N, M], for which the classes prediction, int32 [N], were predicted, with the rows of a
// support set given in one or more parts, whose rows are numbered one part after the other. In the order of (squared
// distance, number), q, int32 [N], is how many rows of the predicted class come before the first that is not, at most
// k; distance [N] and nearest, int32 [N], are the squared distance and the number of the nearest row (Inf and -1 where
// there is none). exclude, int32 [N], names a row that is absent for the query, such as the query itself where it
// belongs to the support, or -1; the zero Tensor excludes nothing.
func Match(x, prediction, exclude Tensor, k Int, support ...Support) (q, distance, nearest Tensor) {
	g := graphOf(x, prediction)
	if g == nil {
		return Tensor{}, Tensor{}, Tensor{}
	}
	if !exclude.Valid() {
		exclude = Full(g, I32, -1, Shape{x.Dim(0)})
	}
	in, code := []Tensor{x, prediction, exclude}, OpMatch
	for i, s := range support {
		in = append(in, s.Rows, s.Class)
		if coded := s.Codes.Code.Valid(); i > 0 && coded != (code == OpMatchCoded) {
			g.failf("match: support %d has codes and another has not", i)
			return Tensor{}, Tensor{}, Tensor{}
		} else if coded {
			code = OpMatchCoded
			in = append(in, s.Codes.Centre, s.Codes.Code, s.Codes.Fit)
		}
	}
	r := record(code, g, in, nil, []Int{k}, nil)
	return r[0], r[1], r[2]
}

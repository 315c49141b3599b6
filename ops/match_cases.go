package ops

import "math"

// matchData makes a query set and one support set from points, with classes that are mostly those of a few clusters of
// neighbouring rows, so that some queries have long matches, and some rows that are broken, removed or excluded.
func matchData(c *CaseGraph, n, s, m int64, points func(c *CaseGraph, n, s, m int64) (x, y Tensor)) (x, prediction, exclude Tensor, y Support) {
	x, rows := points(c, n, s, m)
	class := make([]float64, s)
	for j := range class {
		class[j] = float64(c.rand.IntN(12) / 5) // 0 and 1 are common, 2 is rare
		switch c.rand.IntN(10) {
		case 0:
			class[j] = ClassBreaks
		case 1:
			class[j] = ClassRemoved
		}
	}
	return x, c.Indices(0, 3, n), c.Indices(-1, max(s, 1), n), bare(rows, c.Values(I32, class, s))
}

func bare(rows, class Tensor) Support { return Support{Rows: rows, Class: class} }

// oneClass makes all rows of a support good for the queries that predict class 0.
func oneClass(c *CaseGraph, rows int64) Tensor { return c.Values(I32, make([]float64, rows), rows) }

func matchCases() []Case {
	normal := func(c *CaseGraph, n, s, m int64) (x, y Tensor) { return c.Normal(n, m), c.Normal(s, m) }
	record := func(x, prediction, exclude Tensor, k int64, y ...Support) []Tensor {
		q, distance, nearest := Match(x, prediction, exclude, N(k), y...)
		return []Tensor{q, distance, nearest}
	}
	sized := func(name string, n, s, m, k int64, points func(c *CaseGraph, n, s, m int64) (x, y Tensor)) Case {
		return Case{Name: name, Record: func(c *CaseGraph) []Tensor {
			x, prediction, exclude, y := matchData(c, n, s, m, points)
			return record(x, prediction, exclude, k, y)
		}}
	}
	bench := func(name string, n, s, m int64) Case {
		k := sized(name, n, s, m, 2048, normal)
		k.Bench = true
		return k
	}
	return withoutGradient([]Case{
		sized("prime sizes", 13, 101, 17, 5, normal),
		sized("more than a tile", 67, 331, 5, 7, normal),
		sized("one element", 1, 1, 1, 1, normal),
		sized("no queries", 0, 7, 5, 3, normal),
		sized("no rows", 5, 0, 3, 3, normal),
		sized("rows of nothing", 4, 9, 0, 3, normal),
		sized("ties", 70, 350, 3, 2048, lattice),
		sized("ties, one column", 64, 700, 1, 40, lattice),
		sized("all equal", 9, 300, 7, 2048, func(c *CaseGraph, n, s, m int64) (x, y Tensor) {
			return c.Normal(n, m), BroadcastTo(c.Normal(1, m), Dims(s, m))
		}),
		{Name: "far from the origin", Record: func(c *CaseGraph) []Tensor {
			x, prediction, exclude, y := matchData(c, 21, 150, 1000, func(c *CaseGraph, n, s, m int64) (x, y Tensor) {
				return Affine(c.Normal(n, m), 1, 50), Affine(c.Normal(s, m), 1, 50)
			})
			return record(x, prediction, exclude, 2048, y)
		}},
		{Name: "the support itself, without each query's own row", Record: func(c *CaseGraph) []Tensor {
			const n = 90
			x, own := c.Normal(n, 23), make([]float64, n)
			for i := range own {
				own[i] = float64(i)
			}
			class := c.Indices(0, 2, n)
			y := bare(x, class)
			return append(record(x, class, c.Values(I32, own, n), 2048, y), record(x, class, Tensor{}, 2048, y)...)
		}},
		{Name: "K cuts a long match", Record: func(c *CaseGraph) []Tensor {
			x, y := c.Normal(20, 11), bare(c.Normal(3000, 11), oneClass(c, 3000))
			zero := Full(c.Graph, I32, 0, Dims(20))
			return append(record(x, zero, Tensor{}, 100, y), record(x, zero, Tensor{}, 5000, y)...)
		}},
		{Name: "K cuts ties", Record: func(c *CaseGraph) []Tensor {
			x, rows := lattice(c, 20, 2500, 2)
			class := make([]float64, 2500)
			for j := range class {
				class[j] = math.Max(0, float64(j%600-597))
			}
			zero := Full(c.Graph, I32, 0, Dims(20))
			return record(x, zero, Tensor{}, 37, bare(rows, c.Values(I32, class, 2500)))
		}},
		{Name: "every row removed", Record: func(c *CaseGraph) []Tensor {
			return record(c.Normal(3, 5), c.Indices(0, 2, 3), Tensor{}, 4, bare(c.Normal(8, 5), Full(c.Graph, I32, ClassRemoved, Dims(8))))
		}},
		{Name: "a prediction without rows, and a negative one", Record: func(c *CaseGraph) []Tensor {
			p := c.Values(I32, []float64{7, ClassBreaks, ClassRemoved, 0, -9}, 5)
			class := c.Values(I32, []float64{0, ClassBreaks, ClassRemoved, 0, -9, 0}, 6)
			return record(c.Normal(5, 4), p, Tensor{}, 4, bare(c.Normal(6, 4), class))
		}},
		{Name: "several supports", Record: func(c *CaseGraph) []Tensor {
			const n, m = 30, 9
			x, a := lattice(c, n, 113, m)
			_, b := lattice(c, 0, 1, m)
			_, e := lattice(c, 0, 0, m)
			_, d := lattice(c, 0, 290, m)
			y := func(rows Tensor) Support { return bare(rows, c.Indices(-2, 2, rows.Dim(0).N)) }
			return record(x, c.Indices(0, 2, n), c.Indices(0, 404, n), 60, bare(a, oneClass(c, 113)), y(b), y(e), y(d))
		}},
		{Name: "strided rows", Record: func(c *CaseGraph) []Tensor {
			x, y := c.Normal(9, 40), c.Normal(50, 31)
			class := Reshape(Slice(c.Indices(0, 2, 50, 2), 1, N(0), N(1)), N(50))
			return record(Slice(x, 1, N(5), N(23)), c.Indices(0, 2, 9), Tensor{}, 20, bare(Slice(y, 1, N(0), N(23)), class))
		}},
		{Name: "batch argument", Record: func(c *CaseGraph) []Tensor {
			n := c.Int("batch", 9, 4)
			x, prediction, exclude, y := matchData(c, 9, 70, 5, lattice)
			cut := func(t Tensor) Tensor { return Slice(t, 0, N(0), n.Of(1)) }
			return record(cut(x), cut(prediction), cut(exclude), 10, y)
		}},
		{Name: "live rows as arguments", Record: func(c *CaseGraph) []Tensor {
			a, b := c.Int("first", 150, 137), c.Int("second", 90, 31)
			x, prediction, exclude, y := matchData(c, 6, 150, 5, lattice)
			_, _, _, z := matchData(c, 0, 90, 5, lattice)
			live := func(s Support, n IntArg) Support {
				return bare(Slice(s.Rows, 0, N(0), n.Of(1)), Slice(s.Class, 0, N(0), n.Of(1)))
			}
			return record(x, prediction, exclude, 10, live(y, a), live(z, b))
		}},
		{Name: "special values", Record: func(c *CaseGraph) []Tensor {
			x, y := pairValues(c, append([]float64{3e38, -3e38, 1e-45, 1e-23, 2e19, 65504, math.NaN()}, plainValues...)...)
			n := x.Dim(0).N
			p := c.Indices(0, 2, n)
			nan := bare(Full(c.Graph, F32, math.NaN(), Dims(40, 1)), oneClass(c, 40))
			rows := bare(y, c.Indices(-1, 2, n))
			return append(append(record(x, p, Tensor{}, 9, rows), record(x, p, Tensor{}, 30, nan, rows)...),
				record(x, Full(c.Graph, I32, 0, Dims(n)), Tensor{}, 50, bare(y, oneClass(c, n)), nan)...)
		}},
		bench("large, batch", 256, 4096, 1000),
		bench("large, one query", 1, 20000, 1000),
	})
}

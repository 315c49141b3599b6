package ops

import (
	"fmt"
	"math"
)

// Counter-based random numbers. An element depends on the seed, the stream, its global row and its column alone, so a
// batch may be cut anywhere and run on any device or number of threads. A stream is an id that the model gives to each
// use of randomness; rows are numbered across batches by the row base.

const randomAddressing = "Philox4x32-10 with key = seed and counter = (column / 4, row low, row high, stream); element (r,c) is made " +
	"of word c mod 4 and depends on (seed, stream, row0 + r, c) only. "

func init() {
	defineRandom(OpRandomBits, "random_bits", randomAddressing+"The raw word as int32. Exact: the same bits on every device.",
		func(w [4]uint32, _ []float64) [4]float64 {
			var y [4]float64
			for k := range y {
				y[k] = float64(int32(w[k]))
			}
			return y
		}, exactBound, randomCases(func(g *Graph, s Shape, seed, stream, row0 Int) Tensor { return RandomBits(g, s, seed, stream, row0) }))

	defineRandom(OpRandomUniform, "random_uniform", randomAddressing+"lo + (hi - lo) u with u = (word >> 8) / 2^24, and below hi where lo < hi. "+
		"Error up to 2^-24 (|lo| + 2 |(hi - lo) u|).",
		func(w [4]uint32, f []float64) [4]float64 {
			var y [4]float64
			for k := range y {
				y[k] = belowHigh(f[0]+(f[1]-f[0])*uniform24(w[k]), f[0], f[1])
			}
			return y
		},
		func(c *RefCall, eps float64) [][]float64 {
			lo := c.Floats[0]
			return eachBound(c, func(d *Dense, i int) float64 { return eps * (math.Abs(lo) + 2*math.Abs(d.Data[i]-lo)) })
		},
		append(randomCases(func(g *Graph, s Shape, seed, stream, row0 Int) Tensor {
			return RandomUniform(g, s, seed, stream, row0, V(0), V(1))
		}), Case{Name: "range given by an argument", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{RandomUniform(c.Graph, Dims(5, 37), N(3), N(0), N(0), V(-0.1), c.Float("hi", 2).Of(1.5))}
		}}, Case{Name: "never the upper end", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{RandomUniform(c.Graph, Dims(64, 64), N(4), N(0), N(0), V(1), V(1+0x1p-22)),
				RandomUniform(c.Graph, Dims(1, 8), N(4), N(0), N(0), V(3), V(3))}
		}}))

	defineRandom(OpRandomNormal, "random_normal", randomAddressing+"mean + deviation z; z by Box-Muller of words (0,1) and (2,3): "+
		"radius sqrt(-2 log((word + 1) / 2^32)), angle word / 2^32 turns, cosine then sine. Error up to 2^-24 (|mean| + 8 |deviation z|).",
		func(w [4]uint32, f []float64) [4]float64 {
			var y [4]float64
			y[0], y[1] = boxMuller(w[0], w[1])
			y[2], y[3] = boxMuller(w[2], w[3])
			for k := range y {
				y[k] = f[0] + f[1]*y[k]
			}
			return y
		},
		func(c *RefCall, eps float64) [][]float64 {
			mean := c.Floats[0]
			return eachBound(c, func(d *Dense, i int) float64 { return eps * (math.Abs(mean) + 8*math.Abs(d.Data[i]-mean)) })
		},
		append(randomCases(func(g *Graph, s Shape, seed, stream, row0 Int) Tensor {
			return RandomNormal(g, s, seed, stream, row0, V(0), V(1))
		}), Case{Name: "mean and deviation given by arguments", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{RandomNormal(c.Graph, Dims(7, 19), N(3), N(0), N(0), c.Float("mean", -3).Of(.5), c.Float("deviation", 2).Of(.1))}
		}}))
}

// belowHigh keeps y under hi, where rounding lo + (hi - lo) u to float32 could reach it.
func belowHigh(y, lo, hi float64) float64 {
	if lo < hi {
		return math.Min(y, float64(math.Nextafter32(float32(hi), float32(lo))))
	}
	return y
}

func defineRandom(code Opcode, name, doc string, f func(words [4]uint32, floats []float64) [4]float64,
	bound func(*RefCall, float64) [][]float64, cases []Case) {
	define(Def{Opcode: code, Name: name, Doc: doc, Bound: bound, Cases: func() []Case { return cases },
		Shape: shapeGiven,
		Reference: func(c *RefCall) error {
			seed, stream, row0 := c.Ints[0], c.Ints[1], c.Ints[2]
			if stream < 0 || stream > math.MaxUint32 {
				return fmt.Errorf("stream %d is outside 0 to %d", stream, int64(math.MaxUint32))
			}
			y := c.Out[0]
			rows, cols := y.Dim(0), y.Dim(1)
			for r := range rows {
				row := y.Data[r*cols : (r+1)*cols]
				for k := 0; k < cols; k += 4 {
					v := f(randomBlock(seed, stream, uint64(row0)+uint64(r), k/4), c.Floats)
					copy(row[k:], v[:])
				}
			}
			return nil
		}})
}

func random(code Opcode, g *Graph, t DType, shape Shape, seed, stream, row0 Int, floats ...Float) Tensor {
	if g == nil || g.err != nil {
		return Tensor{}
	}
	name := defsByCode[code].Name
	if len(shape) < 2 {
		return g.failf("%s: shape %s; rows and columns are needed", name, g.ShapeString(shape))
	}
	if s := g.MaxOf(stream); s < 0 || s > math.MaxUint32 {
		return g.failf("%s: stream %d is outside 0 to %d", name, s, int64(math.MaxUint32))
	}
	cols, err := shape[1:].Count()
	if err != nil {
		return g.failf("%s: %w", name, err)
	}
	y := recordAs(code, g, nil, t, Shape{shape[0], cols}, []Int{seed, stream, row0}, floats)
	if len(shape) > 2 {
		y = Reshape(y, shape...)
	}
	return y
}

// RandomBits is a tensor [R, ...] of int32 with all 32 bits random. seed selects the generator, stream (0 to 2^32-1)
// this use of it, row0 the global number of the first row; each may be an argument of the submission. Axes after the
// first count as one axis of columns.
func RandomBits(g *Graph, shape Shape, seed, stream, row0 Int) Tensor {
	return random(OpRandomBits, g, I32, shape, seed, stream, row0)
}

// RandomUniform is a float32 tensor [R, ...] of numbers in [lo, hi) with 24 random bits; see RandomBits for the rest.
func RandomUniform(g *Graph, shape Shape, seed, stream, row0 Int, lo, hi Float) Tensor {
	return random(OpRandomUniform, g, F32, shape, seed, stream, row0, lo, hi)
}

// RandomNormal is a float32 tensor [R, ...] of normal numbers; see RandomBits for the rest.
func RandomNormal(g *Graph, shape Shape, seed, stream, row0 Int, mean, deviation Float) Tensor {
	return random(OpRandomNormal, g, F32, shape, seed, stream, row0, mean, deviation)
}

func randomCases(f func(g *Graph, s Shape, seed, stream, row0 Int) Tensor) []Case {
	at := func(rows, cols int64) func(c *CaseGraph) []Tensor {
		return func(c *CaseGraph) []Tensor { return []Tensor{f(c.Graph, Dims(rows, cols), N(1), N(2), N(0))} }
	}
	return []Case{
		{Name: "prime sizes", Record: at(13, 37)},
		{Name: "one column", Record: at(211, 1)},
		{Name: "two and three columns", Record: func(c *CaseGraph) []Tensor { return append(at(17, 2)(c), at(17, 3)(c)...) }},
		{Name: "one long row", Record: at(1, 4099)},
		{Name: "whole blocks", Record: at(5, 24)},
		{Name: "one element", Record: at(1, 1)},
		{Name: "empty", Record: func(c *CaseGraph) []Tensor { return append(at(0, 5)(c), at(5, 0)(c)...) }},
		{Name: "four axes", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(c.Graph, Dims(3, 5, 7, 2), N(1), N(2), N(0))}
		}},
		{Name: "largest key and stream, rows that carry into the upper word", Record: func(c *CaseGraph) []Tensor {
			return []Tensor{f(c.Graph, Dims(9, 11), N(-1), N(math.MaxUint32), N(math.MaxUint32-4))}
		}},
		{Name: "everything an argument", Record: func(c *CaseGraph) []Tensor {
			seed, stream, row, n := c.Int("seed", 1<<40, 1<<39+7), c.Int("stream", 100, 3), c.Int("row", 1<<50, 1<<49), c.Int("batch", 9, 5)
			return []Tensor{f(c.Graph, Shape{n.Of(2), N(21)}, seed.Of(1), stream.Of(1), row.Of(1))}
		}},
		{Name: "large", Bench: true, Record: at(1024, 1024)},
		{Name: "large, narrow rows", Bench: true, Record: at(1<<16, 10)},
	}
}

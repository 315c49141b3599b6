package runtime

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime/testenv"
)

// matchProblem is a match.
type matchProblem struct {
	k                          int
	x, rows                    []float32 // of the plan's length
	prediction, exclude, class []int32
}

type matchAnswer struct {
	q, nearest []int32
	distance   []float32
}

// define answers by the definition: the rows in the order of (distance, number), where the distances [queries, rows] are
// those that pairwise_sqdist gives on the same device.
func (p *matchProblem) define(distances []float32) matchAnswer {
	n, s := len(p.prediction), len(p.class)
	want := newMatchAnswer(n)
	for i := range n {
		d := distances[i*s : (i+1)*s]
		var order []int
		for j := range s {
			if p.class[j] != ops.ClassRemoved && int32(j) != p.exclude[i] {
				order = append(order, j)
			}
		}
		slices.SortStableFunc(order, func(a, b int) int {
			if nan := math.IsNaN(float64(d[a])); nan || math.IsNaN(float64(d[b])) { // NaN is last, unlike in cmp.Compare
				return -cmp.Compare(d[a], d[b])
			}
			return cmp.Compare(d[a], d[b])
		})
		q := slices.IndexFunc(order, func(j int) bool { return p.class[j] < 0 || p.class[j] != p.prediction[i] })
		if q < 0 {
			q = len(order)
		}
		want.q[i], want.distance[i], want.nearest[i] = int32(min(q, p.k)), float32(math.Inf(1)), -1
		if len(order) > 0 {
			want.distance[i], want.nearest[i] = d[order[0]], int32(order[0])
		}
	}
	return want
}

func newMatchAnswer(n int) matchAnswer {
	return matchAnswer{make([]int32, n), make([]int32, n), make([]float32, n)}
}

// matchPlan is a match over three supports, of which any may be empty, and the distances to the first.
type matchPlan struct {
	b                      *Binding
	n, k                   ops.IntArg
	s                      [3]ops.IntArg
	x, prediction, exclude ops.Tensor
	supports               [3]ops.Support
	q, distance, nearest   ops.Tensor

	distances        *Binding
	ds               ops.IntArg
	dx, dy, dxy      ops.Tensor
	queries, rows, m int
}

func newMatchPlan(t *testing.T, rt *Runtime, queries, rows, m int, coded bool) *matchPlan {
	p := &matchPlan{queries: queries, rows: rows, m: m}
	g := ops.NewGraph()
	p.n, p.k = g.IntArg("queries", 0, int64(queries)), g.IntArg("K", 1, int64(2*rows))
	p.x = g.Input("x", ops.F32, ops.Shape{p.n.Of(1), ops.N(int64(m))})
	p.prediction = g.Input("prediction", ops.I32, ops.Shape{p.n.Of(1)})
	p.exclude = g.Input("exclude", ops.I32, ops.Shape{p.n.Of(1)})
	for i := range p.s {
		p.s[i] = g.IntArg(fmt.Sprintf("rows %d", i), 0, int64(rows))
		p.supports[i].Rows = g.Input("rows", ops.F32, ops.Shape{p.s[i].Of(1), ops.N(int64(m))})
		p.supports[i].Class = g.Input("class", ops.I32, ops.Shape{p.s[i].Of(1)})
		if coded {
			p.supports[i].Codes = ops.MatchCodes(p.supports[i].Rows)
		}
	}
	p.q, p.distance, p.nearest = ops.Match(p.x, p.prediction, p.exclude, p.k.Of(1), p.supports[:]...)
	g.Output(p.q, p.distance, p.nearest)
	require.NoError(t, g.Err())
	p.b = bindPlan(t, rt, g)

	g = ops.NewGraph()
	p.ds = g.IntArg("rows", 0, int64(rows))
	p.dx = g.Input("x", ops.F32, ops.Dims(1, int64(m)))
	p.dy = g.Input("y", ops.F32, ops.Shape{p.ds.Of(1), ops.N(int64(m))})
	p.dxy = ops.PairwiseSqdist(p.dx, p.dy)
	g.Output(p.dxy)
	p.distances = bindPlan(t, rt, g)
	return p
}

// pairwise is what the definition starts from.
func (p *matchPlan) pairwise(t *testing.T, problem *matchProblem) []float32 {
	s := len(problem.class)
	r := make([]float32, len(problem.prediction)*s)
	p.distances.SetInt(p.ds, int64(s))
	for i := range problem.prediction {
		require.NoError(t, p.distances.Write(p.dx, problem.x[i*p.m:(i+1)*p.m]))
		require.NoError(t, p.distances.Write(p.dy, problem.rows))
		require.NoError(t, p.distances.Run(context.Background()))
		require.NoError(t, p.distances.Read(p.dxy, r[i*s:(i+1)*s]))
	}
	return r
}

// run answers queries from to to-1 with the rows cut in three after the first a and the first b.
func (p *matchPlan) run(t *testing.T, problem *matchProblem, from, to, a, b int, answer matchAnswer) {
	cuts := []int{0, a, b, len(problem.class)}
	p.b.SetInt(p.n, int64(to-from))
	p.b.SetInt(p.k, int64(problem.k))
	for i := range p.s {
		p.b.SetInt(p.s[i], int64(cuts[i+1]-cuts[i]))
	}
	require.NoError(t, p.b.Write(p.x, problem.x[from*p.m:to*p.m]))
	require.NoError(t, p.b.WriteInt32(p.prediction, problem.prediction[from:to]))
	require.NoError(t, p.b.WriteInt32(p.exclude, problem.exclude[from:to]))
	for i, s := range p.supports {
		require.NoError(t, p.b.Write(s.Rows, problem.rows[cuts[i]*p.m:cuts[i+1]*p.m]))
		require.NoError(t, p.b.WriteInt32(s.Class, problem.class[cuts[i]:cuts[i+1]]))
	}
	require.NoError(t, p.b.Run(context.Background()))
	require.NoError(t, p.b.ReadInt32(p.q, answer.q[from:to]))
	require.NoError(t, p.b.Read(p.distance, answer.distance[from:to]))
	require.NoError(t, p.b.ReadInt32(p.nearest, answer.nearest[from:to]))
}

// draw makes a problem of up to the plan's size in one of several styles, most of them full of ties.
func (p *matchPlan) draw(r *rand.Rand) *matchProblem {
	n, s := r.IntN(p.queries+1), r.IntN(p.rows+1)
	if r.IntN(4) > 0 && p.m < 16 {
		n = min(n, 1+r.IntN(5))
	}
	q := &matchProblem{k: 1 + r.IntN(1+r.IntN(2*p.rows)), x: make([]float32, n*p.m), rows: make([]float32, s*p.m),
		prediction: make([]int32, n), exclude: make([]int32, n), class: make([]int32, s)}
	classes, offset, style := 1+r.IntN(4), float64(r.IntN(3)*50), r.IntN(6)
	value := func() float64 {
		switch style {
		case 0:
			return float64(r.IntN(3)) // ties
		case 1:
			return float64(r.IntN(2)) * 1e-3 // ties, and intervals that overlap
		case 2:
			return math.Round(r.NormFloat64()*8) / 8
		default:
			return r.NormFloat64()
		}
	}
	for i := range q.x {
		q.x[i] = float32(value() + offset)
	}
	for j := range q.class {
		q.class[j] = int32(j * classes / s)
		for k := range p.m {
			q.rows[j*p.m+k] = float32(value() + offset)
		}
		if style == 4 { // clusters in the order of their classes
			q.rows[j*p.m] += 5 * float32(q.class[j])
		} else {
			q.class[j] = int32(r.IntN(classes))
		}
		switch r.IntN(20) {
		case 0:
			q.class[j] = ops.ClassBreaks
		case 1:
			q.class[j] = ops.ClassRemoved
		}
		if j > 0 && style == 5 && r.IntN(2) == 0 { // duplicates of vectors, not of classes
			from := r.IntN(j)
			copy(q.rows[j*p.m:(j+1)*p.m], q.rows[from*p.m:(from+1)*p.m])
		}
	}
	if r.IntN(30) == 0 {
		for range 1 + s/10 {
			if len(q.rows) > 0 {
				q.rows[r.IntN(len(q.rows))] = []float32{float32(math.NaN()), float32(math.Inf(1)), 1e30, -3e38}[r.IntN(4)]
			}
		}
	}
	for i := range n {
		q.prediction[i], q.exclude[i] = int32(r.IntN(classes)), int32(r.IntN(s+1)-1)
		if s > 0 && r.IntN(3) == 0 { // a row of the support itself
			at := r.IntN(s)
			copy(q.x[i*p.m:(i+1)*p.m], q.rows[at*p.m:(at+1)*p.m])
			if q.exclude[i] = int32(at); r.IntN(2) == 0 {
				q.exclude[i] = -1
			}
		}
	}
	return q
}

func requireSame(t *testing.T, want, got matchAnswer, what string) {
	t.Helper()
	require.Equal(t, want.q, got.q, "q, "+what)
	require.Equal(t, want.nearest, got.nearest, "nearest, "+what)
	for i, w := range want.distance {
		g := got.distance[i]
		require.True(t, w == g || w != w && g != g, "distance %d is %v, not %v, %s", i, g, w, what)
	}
}

// Matches, however rows and queries are cut and whatever the threads and the instruction set, are those of the
// definition over the canonical distances.
func TestMatchIsItsDefinition(t *testing.T) {
	if !nativeAvailable() {
		t.Skip("needs a native device; the pure-Go one runs the definition itself")
	}
	rounds := 1500
	if testing.Short() {
		rounds = 60
	}
	for _, device := range complianceDevices(t) {
		name, isa, _ := strings.Cut(device, " ")
		switch name {
		case "cpu":
			for _, threads := range []int{1, 2, 5} {
				t.Run(fmt.Sprintf("%s, %d threads", isa, threads), func(t *testing.T) {
					rt := openTest(t, WithDevice("cpu"), WithCPUISA(isa), WithThreads(threads))
					testMatches(t, rt, rand.New(rand.NewPCG(7, uint64(threads))), rounds)
				})
			}
		case "cuda": // an emulated one is slow
			t.Run(name, func(t *testing.T) {
				rt, r := openTest(t, WithDevice(name), WithBackendDir(testenv.CUDADir())), rand.New(rand.NewPCG(7, 0))
				testMatches(t, rt, r, min(rounds, 120))
				if *long { // large enough for a real one to take a product in chunks
					testMatch(t, rt, r, matchSize{300, 40000, 64, 8, false})
				}
			})
		}
	}
}

type matchSize struct {
	queries, rows, m, rounds int
	coded                    bool
}

// testMatches holds random matches of many sizes against the definition.
func testMatches(t *testing.T, rt *Runtime, r *rand.Rand, rounds int) {
	for _, size := range []matchSize{{40, 60, 1, rounds, false}, {30, 300, 3, rounds / 2, false}, {150, 700, 19, rounds / 10, false},
		{90, 900, 300, rounds / 20, false}, {60, 4000, 40, rounds / 50, false}, {60, 400, 8000, max(1, rounds/500), false},
		{4, 300, 3, rounds / 2, true}, {4, 900, 67, rounds / 5, true}} {
		testMatch(t, rt, r, size)
	}
}

// testMatch holds random matches, whole and cut, against the definition.
func testMatch(t *testing.T, rt *Runtime, r *rand.Rand, size matchSize) {
	p := newMatchPlan(t, rt, size.queries, size.rows, size.m, size.coded)
	for round := range size.rounds {
		problem := p.draw(r)
		n, s := len(problem.prediction), len(problem.class)
		want := problem.define(p.pairwise(t, problem))
		a := r.IntN(s + 1)
		b := a + r.IntN(s-a+1)
		got := newMatchAnswer(n)
		p.run(t, problem, 0, n, a, b, got)
		requireSame(t, want, got, fmt.Sprintf("round %d, %+v", round, size))
		got = newMatchAnswer(n)
		for from := 0; from < n; {
			to := min(n, from+1+r.IntN(n))
			p.run(t, problem, from, to, s, s, got)
			from = to
		}
		requireSame(t, want, got, fmt.Sprintf("round %d, %+v, in batches", round, size))
	}
}

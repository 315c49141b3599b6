package runtime

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	goruntime "runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/ops"
)

// faissPeer is a FAISS IndexFlatL2 over random rows in a process of its own, which searches when it is told to.
type faissPeer struct {
	in  io.WriteCloser
	out *bufio.Scanner
	cmd *exec.Cmd
}

// newFaissPeer is nil where there is no FAISS.
func newFaissPeer(t *testing.T, queries, rows, m int) *faissPeer {
	python := os.Getenv("BENCH_PYTHON")
	if python == "" {
		return nil
	}
	c := exec.Command(python, "../ci/bench/match_faiss.py", strconv.Itoa(queries), strconv.Itoa(rows), strconv.Itoa(m))
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	p := &faissPeer{in, bufio.NewScanner(out), c}
	require.True(t, p.out.Scan(), "FAISS did not start")
	return p
}

func (p *faissPeer) close() {
	p.in.Close()
	_ = p.cmd.Wait()
}

// search is the processor seconds that the peer says it took.
func (p *faissPeer) search(t *testing.T) float64 {
	fmt.Fprintln(p.in, "search")
	require.True(t, p.out.Scan(), "FAISS ended")
	v, err := strconv.ParseFloat(p.out.Text(), 64)
	require.NoError(t, err)
	return v
}

// matchCase is a support set and queries in clusters, one for each class.
type matchCase struct {
	name             string
	queries, rows, m int
	spread           float64 // of the clusters' centres; 0: there are no clusters, and classes are random
	mistakes         float64 // share of rows whose prediction was wrong
}

// draw fills y with the support's rows.
func (c matchCase) draw(y []float32) (x []float32, prediction, class []int32) {
	const classes = 10
	r := rand.New(rand.NewPCG(1, 2))
	centres := make([]float32, classes*c.m)
	for i := range centres {
		centres[i] = float32(c.spread * r.NormFloat64())
	}
	rows := func(v []float32, mistakes float64) []int32 {
		class := make([]int32, len(v)/c.m)
		for i := range class {
			class[i] = int32(r.IntN(classes))
			for k := range c.m {
				v[i*c.m+k] = centres[int(class[i])*c.m+k] + float32(r.NormFloat64())
			}
			if r.Float64() < mistakes {
				class[i] = ops.ClassBreaks
			}
		}
		return class
	}
	x = make([]float32, c.queries*c.m)
	return x, rows(x, 0), rows(y, c.mistakes)
}

// bindOver compiles a graph over the support and binds it in a session of its own.
func bindOver(t *testing.T, rt *Runtime, g *ops.Graph, memory ...*Memory) *Binding {
	p, err := rt.Compile(g, "bench")
	require.NoError(t, err)
	s, err := rt.NewSession()
	require.NoError(t, err)
	b, err := s.Bind(p, memory...)
	require.NoError(t, err)
	return b
}

// A matchBench is a support in memory, and its match with all queries of the case.
type matchBench struct {
	matchCase
	rt                *Runtime
	support           *ops.Var
	memory            *Memory
	x, y              []float32
	prediction, class []int32
	match             *Binding
	q                 ops.Tensor
}

func newMatchBench(t *testing.T, rt *Runtime, c matchCase) *matchBench {
	mapping, err := syscall.Mmap(-1, 0, 4*c.rows*c.m, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	require.NoError(t, err)
	y := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(mapping))), c.rows*c.m)
	x, prediction, class := c.draw(y)
	segment := ops.NewSegment("support")
	b := &matchBench{matchCase: c, rt: rt, x: x, y: y, support: segment.Add("rows", ops.F32, int64(c.rows), int64(c.m))}
	b.memory, err = rt.Map(segment, mapping)
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Munmap(mapping) })
	b.prediction, b.class = prediction, class
	b.match, b.q = b.bind(t, ops.NewGraph(), ops.Codes{})
	return b
}

// bind records the match into g, with codes of the support if there are any, and binds it.
func (b *matchBench) bind(t *testing.T, g *ops.Graph, codes ops.Codes, memory ...*Memory) (r *Binding, q ops.Tensor) {
	in, p := g.Input("x", ops.F32, ops.Dims(int64(b.queries), int64(b.m))), g.Input("prediction", ops.I32, ops.Dims(int64(b.queries)))
	classes := g.Input("class", ops.I32, ops.Dims(int64(b.rows)))
	q, distance, nearest := ops.Match(in, p, ops.Tensor{}, ops.N(2048), ops.Support{Rows: g.Use(b.support), Class: classes, Codes: codes})
	g.Output(q, distance, nearest)
	r = bindOver(t, b.rt, g, append(memory, b.memory)...)
	require.NoError(t, r.Write(in, b.x))
	require.NoError(t, r.WriteInt32(p, b.prediction))
	require.NoError(t, r.WriteInt32(classes, b.class))
	return r, q
}

// read is q of the last run.
func (b *matchBench) read(t *testing.T, r *Binding, q ops.Tensor) []int32 {
	v := make([]int32, b.queries)
	require.NoError(t, r.ReadInt32(q, v))
	return v
}

func (b *matchBench) close() {
	b.match.s.Close()
	b.memory.Close()
}

// product binds the matrix product of the queries with the support.
func (b *matchBench) product(t *testing.T) *Binding {
	g := ops.NewGraph()
	in := g.Input("x", ops.F32, ops.Dims(int64(b.queries), int64(b.m)))
	g.Output(ops.MatMul(in, g.Use(b.support), ops.MatMulOptions{TransposeB: true}))
	r := bindOver(t, b.rt, g, b.memory)
	require.NoError(t, r.Write(in, b.x))
	return r
}

// meanQ is the mean q of the last run.
func (b *matchBench) meanQ(t *testing.T) float64 {
	q, sum := b.read(t, b.match, b.q), 0.0
	for _, v := range q {
		sum += float64(v)
	}
	return sum / float64(len(q))
}

// cpuSeconds is the processor time of this process: with neighbours on the machine it says more than the clock.
func cpuSeconds() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) * 1e-9
}

func timed(t *testing.T, b *Binding) float64 {
	start := cpuSeconds()
	require.NoError(t, b.Run(context.Background()))
	return cpuSeconds() - start
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func benchRuntime(t *testing.T) *Runtime {
	if !*bench {
		t.Skip("with -credence.bench")
	}
	rt, err := Open(WithBackendDir(buildLib()), WithDevice("cpu"), WithThreads(1))
	require.NoError(t, err)
	t.Cleanup(rt.Close)
	return rt
}

// TestBenchMatch times matching against the matrix product of the same size and against FAISS.
func TestBenchMatch(t *testing.T) {
	rt := benchRuntime(t)
	fmt.Printf("\nmatching 1000 queries of 1000 elements, K = 2048, one thread each, in turn; processor seconds, medians of 3, ratios within a round\n")
	fmt.Printf("%-38s %8s %9s %9s %9s %15s %13s\n", "support", "mean q", "match", "product", "FAISS", "match / product", "FAISS / match")
	for _, c := range []matchCase{
		{name: "random", rows: 20000},
		{name: "clusters, 1 % mistakes", rows: 20000, spread: 1, mistakes: .01},
		{name: "clusters without mistakes", rows: 20000, spread: 1},
		{name: "random", rows: 100000},
		{name: "clusters, 1 % mistakes", rows: 100000, spread: 1, mistakes: .01},
	} {
		c.queries, c.m = 1000, 1000
		b := newMatchBench(t, rt, c)
		product := b.product(t)
		peer := newFaissPeer(t, c.queries, c.rows, c.m)
		var match, bare, faiss, overBare, overMatch []float64
		for round := range 4 {
			m, p, f := timed(t, b.match), timed(t, product), 0.0
			if peer != nil {
				f = peer.search(t)
			}
			if round == 0 {
				continue // pages and caches
			}
			match, bare, faiss = append(match, m), append(bare, p), append(faiss, f)
			overBare, overMatch = append(overBare, m/p), append(overMatch, f/m)
		}
		fmt.Printf("%6d rows, %-25s %8.1f %9.3f %9.3f %9.3f %15.3f %13.2f\n", c.rows, c.name, b.meanQ(t), median(match), median(bare),
			median(faiss), median(overBare), median(overMatch))
		if peer != nil {
			peer.close()
		}
		product.s.Close()
		b.close()
	}
}

// TestBenchMatchOne times single queries against a reduction that does nothing but read the support.
func TestBenchMatchOne(t *testing.T) {
	rt := benchRuntime(t)
	b := newMatchBench(t, rt, matchCase{queries: 1, rows: 60000, m: 1000})
	defer b.close()
	g := ops.NewGraph()
	g.Output(ops.SumSquares(g.Use(b.support)))
	sum := bindOver(t, rt, g, b.memory)
	coded := b.coded(t)
	var match, codes, read, ratio, codedRatio []float64
	for round := range 12 {
		m, c, r := timed(t, b.match), timed(t, coded), timed(t, sum)
		if round > 0 {
			match, codes, read = append(match, m), append(codes, c), append(read, r)
			ratio, codedRatio = append(ratio, r/m), append(codedRatio, r/c)
		}
	}
	gigabytes := 4e-9 * float64(len(b.y))
	fmt.Printf("\none query, 60000 rows of 1000 elements, one thread, in turn; GB of float32 rows per processor second, medians of 11\n")
	fmt.Printf("  reduce_sum_squares  %6.2f\n  match               %6.2f, %.2f times as fast (median of ratios)\n  match with codes    %6.2f, %.2f\n",
		gigabytes/median(read), gigabytes/median(match), median(ratio), gigabytes/median(codes), median(codedRatio))
}

// coded binds the match with codes, which it makes, and checks that the answer is the same.
func (b *matchBench) coded(t *testing.T) *Binding {
	s := ops.NewSegment("codes")
	centre, code, fit := s.Add("centre", ops.F32, int64(b.m)), s.Add("code", ops.U8, int64(b.rows), int64(b.m)), s.Add("fit", ops.F32, int64(b.rows), 2)
	memory, err := b.rt.Allocate(s)
	require.NoError(t, err)
	t.Cleanup(memory.Close)
	g := ops.NewGraph()
	made := ops.MatchCodes(g.Use(b.support))
	ops.Assign(g.Use(centre), made.Centre)
	ops.Assign(g.Use(code), made.Code)
	ops.Assign(g.Use(fit), made.Fit)
	timed(t, bindOver(t, b.rt, g, b.memory, memory))
	g = ops.NewGraph()
	r, q := b.bind(t, g, ops.Codes{Centre: g.Use(centre), Code: g.Use(code), Fit: g.Use(fit)}, memory)
	timed(t, r)
	timed(t, b.match)
	require.Equal(t, b.read(t, b.match, b.q), b.read(t, r, q))
	return r
}

// TestBenchMatchMemory grows the support to a million rows.
func TestBenchMatchMemory(t *testing.T) {
	rt := benchRuntime(t)
	fmt.Printf("\nmatching 1000 queries of 256 elements, K = 2048, one thread; memory beyond the support is the peak of the whole process less it\n")
	fmt.Printf("%10s %18s %24s %24s\n", "rows", "processor seconds", "ns per query and row", "MiB beyond the support")
	for _, rows := range []int{125000, 250000, 500000, 1000000} {
		b := newMatchBench(t, rt, matchCase{queries: 1000, rows: rows, m: 256, spread: 1, mistakes: .01})
		goruntime.GC()
		debug.FreeOSMemory()
		require.NoError(t, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)) // the peak starts anew
		var times []float64
		for range 3 {
			times = append(times, timed(t, b.match))
		}
		support := float64(4*len(b.y)) / (1 << 20)
		seconds := median(times)
		fmt.Printf("%10d %18.2f %24.2f %24.0f\n", rows, seconds, seconds*1e6/float64(rows), peakMiB(t)-support)
		b.close()
		require.NoError(t, syscall.Madvise(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(b.y))), 4*len(b.y)), syscall.MADV_DONTNEED))
	}
}

func peakMiB(t *testing.T) float64 {
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(status), "VmHWM:")
	require.True(t, found)
	v, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	require.NoError(t, err)
	return v / 1024
}

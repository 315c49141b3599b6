package runtime

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime/testenv"
)

// The GPU's benchmarks (ci/gpu): Credence by its stream's clock against NVIDIA's libraries and PyTorch,
// which run in processes of their own and take turns with it. Each prints rows of one Markdown table:
// what, median time, against what, its median time, ratio, aim.

var benchTiny = flag.Bool("credence.tiny", false, "benchmarks at sizes that only show whether they run")

// benchSize is full, or tiny under -credence.tiny.
func benchSize[T any](full, tiny T) T {
	if *benchTiny {
		return tiny
	}
	return full
}

// gpuRuntime opens the GPU.
func gpuRuntime(t *testing.T) *Runtime {
	if !*bench {
		t.Skip("with -credence.bench")
	}
	return openBench(t, WithDevice("cuda"))
}

func openBench(t *testing.T, options ...Option) *Runtime {
	rt, err := Open(append([]Option{WithBackendDir(testenv.CUDADir(), buildLib())}, options...)...)
	require.NoError(t, err)
	t.Cleanup(rt.Close)
	return rt
}

// benchRow prints a row. Times are in nanoseconds, the ratio is theirs over ours; theirs 0: nobody to compare with; aim 0:
// none was set.
func benchRow(what string, ours float64, against string, theirs, ratio, aim float64) {
	if theirs == 0 {
		fmt.Printf("| %s | %s | %s | - | - | not compared |\n", what, benchTime(ours), against)
		return
	}
	text := "-"
	if aim > 0 && !*benchTiny {
		text = fmt.Sprintf("%.2f: missed", aim)
		if ratio >= aim {
			text = fmt.Sprintf("%.2f: reached", aim)
		}
	}
	fmt.Printf("| %s | %s | %s | %s | %.2f | %s |\n", what, benchTime(ours), against, benchTime(theirs), ratio, text)
}

func benchTime(ns float64) string {
	switch {
	case ns < 1e5:
		return fmt.Sprintf("%.2f µs", ns/1e3)
	case ns < 1e8:
		return fmt.Sprintf("%.2f ms", ns/1e6)
	}
	return fmt.Sprintf("%.2f s", ns/1e9)
}

// A gpuPeer answers requests in a process of its own, one per line, with nanoseconds.
type gpuPeer struct {
	name string
	in   io.WriteCloser
	out  *bufio.Scanner
}

// startPeer is nil where the variable, which holds a command, is not set.
func startPeer(t *testing.T, variable string) *gpuPeer {
	command := strings.Fields(os.Getenv(variable))
	if len(command) == 0 {
		fmt.Printf("without %s there is nobody to compare with\n", variable)
		return nil
	}
	c := exec.Command(command[0], command[1:]...)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	t.Cleanup(func() { in.Close(); _ = c.Wait() })
	return &gpuPeer{variable, in, bufio.NewScanner(out)}
}

// ask sends a request with a number of repetitions; nil means that the peer could not, and said why.
func (p *gpuPeer) ask(repeat int, format string, arguments ...any) []float64 {
	if p == nil {
		return nil
	}
	request := fmt.Sprintf(format, arguments...)
	fmt.Fprintf(p.in, "%s %d\n", request, repeat)
	if !p.out.Scan() {
		fmt.Printf("%s ended at %q\n", p.name, request)
		return nil
	}
	var times []float64
	for _, word := range strings.Fields(p.out.Text()) {
		v, err := strconv.ParseFloat(word, 64)
		if err != nil {
			fmt.Printf("%q: %s\n", request, p.out.Text())
			return nil
		}
		times = append(times, v)
	}
	return times
}

// inTurn runs every side once per round and returns the median of each, and the medians of the ratios of each to the
// first within a round. A side that has no answer says 0.
func inTurn(rounds int, sides ...func() float64) (medians, ratios []float64) {
	times := make([][]float64, len(sides))
	overFirst := make([][]float64, len(sides))
	for range rounds {
		first := 0.0
		for i, side := range sides {
			v := side()
			if i == 0 {
				first = v
			}
			times[i], overFirst[i] = append(times[i], v), append(overFirst[i], v/first)
		}
	}
	for i := range sides {
		medians, ratios = append(medians, median(times[i])), append(ratios, median(overFirst[i]))
	}
	return medians, ratios
}

// side is a peer's request as a side of inTurn.
func (p *gpuPeer) side(format string, arguments ...any) func() float64 {
	return func() float64 {
		times := p.ask(1, format, arguments...)
		if times == nil {
			return 0
		}
		return times[0]
	}
}

// deviceTime is what the stream's clock says that a run takes, over n: its operations. The clock waits for the device,
// so the start of the run is part of it: plans hold many operations.
func (b *Binding) deviceTime(t *testing.T, n int) func() float64 {
	s := b.s.stream.(*nativeStream).s
	for range 3 { // the second run of a plan is recorded as a graph, the third replays it
		require.NoError(t, b.Run(context.Background()))
	}
	return func() float64 {
		begin, err := s.Clock()
		require.NoError(t, err)
		require.NoError(t, b.Run(context.Background()))
		end, err := s.Clock()
		require.NoError(t, err)
		return float64(end-begin) / float64(n)
	}
}

// TestBenchGPUCeilings prints what the device and the peers are, and the two rates that bound everything else.
func TestBenchGPUCeilings(t *testing.T) {
	rt := gpuRuntime(t)
	peers := startPeer(t, "BENCH_PEERS")
	info := rt.Device()
	fmt.Printf("%s (%s), %s\n", info.Name, info.Arch, info.Detail)
	fmt.Printf("copy %.0f GB/s, float32 product %.1f TFLOP/s\n", copyRate(peers), gemmRate(peers, benchSize(8192, 64)))
}

// copyRate is the rate of a device-to-device copy in GB/s, bytes read and written counted; 0 without a peer.
func copyRate(p *gpuPeer) float64 {
	bytes := benchSize(4<<30, 1<<20)
	times := p.ask(21, "copy %d", bytes)
	if times == nil {
		return 0
	}
	return 2 * float64(bytes) / median(times)
}

// gemmRate is that of cuBLAS for a product of two n x n matrices in strict float32, in TFLOP/s.
func gemmRate(p *gpuPeer, n int) float64 {
	times := p.ask(11, "gemm %d %d %d", n, n, n)
	if times == nil {
		return 0
	}
	return 2e-3 * float64(n) * float64(n) * float64(n) / median(times)
}

// TestBenchGPUMatch times SDM's matching against the bare float32 product of the same sizes and its rate, and against
// PyTorch's product and top-K.
func TestBenchGPUMatch(t *testing.T) {
	rt := gpuRuntime(t)
	peers, torch := startPeer(t, "BENCH_PEERS"), startPeer(t, "BENCH_TORCH")
	for _, c := range []matchCase{{name: "random rows"}, {name: "clusters, 1 % mistakes", spread: 1, mistakes: .01}} {
		c.queries, c.rows, c.m = benchSize(1000, 20), benchSize(1000000, 500), benchSize(256, 16)
		b := newMatchBench(t, rt, c)
		medians, ratios := inTurn(benchSize(11, 1), b.match.deviceTime(t, 1), peers.side("gemm %d %d %d", c.queries, c.rows, c.m),
			torch.side("match %d %d %d 2048", c.queries, c.rows, c.m))
		what := fmt.Sprintf("SDM matching, %d queries, %d x %d, %s", c.queries, c.rows, c.m, c.name)
		benchRow(what, medians[0], "cuBLAS product of these sizes", medians[1], ratios[1], .6)
		if torch != nil {
			benchRow(what, medians[0], "PyTorch product and top-2048", medians[2], ratios[2], 1.3)
		}
		if square := benchSize(8192, 64); peers != nil {
			flops := 2 * float64(c.queries) * float64(c.rows) * float64(c.m)
			atRate := flops / gemmRate(peers, square) / 1e3
			benchRow(what, medians[0], fmt.Sprintf("its products at the rate of a %d cubed one", square), atRate, atRate/medians[0], .6)
		}
		b.close()
	}
}

// TestBenchGPUSubmit times runs of plans of tiny operations from Go, to the end: on the CPU, on the GPU operation by
// operation, and as a graph.
func TestBenchGPUSubmit(t *testing.T) {
	gpuRuntime(t)
	batches := benchSize(2001, 3)
	for _, n := range []int{1, 16, 64} {
		var sides []func() float64
		for _, options := range [][]Option{{WithDevice("cuda")}, {WithDevice("cuda"), WithoutGraphs()}, {WithDevice("cpu"), WithThreads(1)}} {
			rt := openBench(t, options...)
			b := bindTiny(t, rt, n)
			for range 3 {
				require.NoError(t, b.Run(context.Background()))
			}
			sides = append(sides, func() float64 {
				start := time.Now()
				require.NoError(t, b.Run(context.Background()))
				return float64(time.Since(start).Nanoseconds())
			})
		}
		medians, ratios := inTurn(batches, sides...)
		what := fmt.Sprintf("submitting %d additions of 16 elements, as a graph, to the end", n)
		benchRow(what, medians[0], "operation by operation", medians[1], ratios[1], 0)
		benchRow(what, medians[0], "the CPU", medians[2], ratios[2], 0)
	}
}

// TestBenchGPUCrossover times a network of three layers on both devices, by width and batch, with reading the result:
// where the GPU begins to pay.
func TestBenchGPUCrossover(t *testing.T) {
	cuda := gpuRuntime(t)
	cpu := openBench(t, WithDevice("cpu"))
	for _, width := range benchSize([]int64{64, 256, 1024, 4096}, []int64{16}) {
		for _, batch := range benchSize([]int64{1, 16, 128, 1024}, []int64{1, 4}) {
			if width*width*batch > 1<<32 {
				continue // no question, and long on the CPU
			}
			var sides []func() float64
			for _, rt := range []*Runtime{cuda, cpu} {
				sides = append(sides, threeLayers(t, rt, width, batch))
			}
			medians, ratios := inTurn(benchSize(31, 1), sides...)
			benchRow(fmt.Sprintf("three layers of width %d, batch %d, GPU", width, batch), medians[0],
				fmt.Sprintf("the CPU, %d threads", cpu.Config().Threads), medians[1], ratios[1], 0)
		}
	}
}

// threeLayers is the time of writing a batch, a forward pass and reading its result.
func threeLayers(t *testing.T, rt *Runtime, width, batch int64) func() float64 {
	seg := ops.NewSegment("weights")
	var weights []*ops.Var
	for i := range 3 {
		weights = append(weights, seg.Add(strconv.Itoa(i), ops.F32, width, width))
	}
	memory, err := rt.Allocate(seg)
	require.NoError(t, err)
	t.Cleanup(memory.Close)
	for _, w := range weights {
		require.NoError(t, memory.Write(w, normals(int(width*width))))
	}
	g := ops.NewGraph()
	x := g.Input("x", ops.F32, ops.Dims(batch, width))
	y := x
	for _, w := range weights {
		y = ops.MatMul(y, g.Use(w), ops.MatMulOptions{Activation: ops.Activation{Kind: ops.ActReLU}})
	}
	g.Output(y)
	b := bindOver(t, rt, g, memory)
	values := normals(int(batch * width))
	result := make([]float32, batch*width)
	run := func() float64 {
		start := time.Now()
		require.NoError(t, b.Write(x, values))
		require.NoError(t, b.Run(context.Background()))
		require.NoError(t, b.Read(y, result))
		return float64(time.Since(start).Nanoseconds())
	}
	run()
	run()
	run()
	return run
}

// ffnWeights are random numbers of moderate size and either sign in a stored type.
func ffnWeights(d ops.DType, n int64) []byte {
	data := make([]byte, n)
	for i, v := range normals(int(n+3) / 4) {
		copy(data[4*i:], bytesOf([]float32{v}))
	}
	step, at := d.BlockBytes(), int64(1) // of what holds an exponent
	switch d {
	case ops.F32:
		at = 3
	case ops.Q8_0:
		for i := at; i < n; i += step {
			data[i] = 0x1c // a scale of 1/256
		}
		return data
	}
	for i := at; i < n; i += step {
		data[i] = data[i]&0x80 | 0x3c
	}
	return data
}

// An ffnBench is several layers' weights [dff, d], which together do not fit any cache.
type ffnBench struct {
	rt       *Runtime
	d, dff   int64
	layers   [][3]*ops.Var
	memories []*Memory
}

func newFFNBench(t *testing.T, rt *Runtime, dtype ops.DType, d, dff int64, layers int) *ffnBench {
	f := &ffnBench{rt: rt, d: d, dff: dff}
	var weights []byte
	for range layers {
		seg := ops.NewSegment("layer")
		var v [3]*ops.Var
		for i, name := range []string{"gate", "up", "down"} {
			v[i] = seg.Add(name, dtype, dff, d)
		}
		if weights == nil {
			weights = ffnWeights(dtype, seg.Bytes())
		}
		m, err := rt.Allocate(seg)
		require.NoError(t, err)
		require.NoError(t, m.WriteAll(weights))
		f.layers, f.memories = append(f.layers, v), append(f.memories, m)
	}
	return f
}

func (f *ffnBench) close() {
	for _, m := range f.memories {
		m.Close()
	}
}

// ffnStep records one operation on a row x [1, d], with a row of the mask, over a layer's matrices.
type ffnStep func(g *ops.Graph, x, mask ops.Tensor, w [3]ops.Tensor) ops.Tensor

// bind puts a step for every layer, or for every matrix, `rounds` times into one plan, each with another mask of that
// many active neurons. A neuron's mask is on where it is active, else off.
func (f *ffnBench) bind(t *testing.T, rounds int, matrices int, active int, on, off float32, step ffnStep) func() float64 {
	g := ops.NewGraph()
	n := int64(rounds * len(f.layers) * matrices)
	x, masks := g.Input("x", ops.F32, ops.Dims(1, f.d)), g.Input("masks", ops.F32, ops.Dims(n, f.dff))
	for k := range n {
		layer := f.layers[k%int64(len(f.layers))]
		var w [3]ops.Tensor
		for i := range w { // where a step takes one matrix, it is w[0]
			w[i] = g.Use(layer[(i+int(k)/len(f.layers))%3])
		}
		g.Output(step(g, x, ops.Slice(masks, 0, ops.N(k), ops.N(1)), w))
	}
	b := bindOver(t, f.rt, g, f.memories...)
	require.NoError(t, b.Write(x, normals(int(f.d))))
	values := make([]float32, n*f.dff)
	for k := range n {
		row := values[k*f.dff : (k+1)*f.dff]
		for i := range row {
			row[i] = off
			if (uint64(i)*2654435761+uint64(k)*40503)%uint64(f.dff) < uint64(active) {
				row[i] = on
			}
		}
	}
	require.NoError(t, b.Write(masks, values))
	return b.deviceTime(t, int(n))
}

// TestBenchGPUFFN times the steps of a feed-forward block 4096 x 11008 with 89 % inactive neurons, and the block, cold:
// against cuBLAS's product with a vector, against reading all, and against the rate of a copy.
func TestBenchGPUFFN(t *testing.T) {
	rt := gpuRuntime(t)
	peers := startPeer(t, "BENCH_PEERS")
	d, dff := benchSize[int64](4096, 64), benchSize[int64](11008, 96)
	layers, rounds, turns := benchSize(4, 2), benchSize(4, 1), benchSize(15, 1)
	active := int(.11*float64(dff) + .5)
	rate := copyRate(peers)
	none := func(g *ops.Graph, n int64) ops.Tensor { return ops.Full(g, ops.F32, 0, ops.Dims(n)) }
	for _, kind := range []struct {
		dtype ops.DType
		peer  string // what cuBLAS has instead
		aims  [4]float64
	}{{ops.BF16, "bf16", [4]float64{4, 4, 2.2, .7}}, {ops.F16, "f16", [4]float64{}}, {ops.Q8_0, "f16", [4]float64{}}, {ops.F32, "f32", [4]float64{}}} {
		f := newFFNBench(t, rt, kind.dtype, d, dff, layers)
		up := func(limit float64) ffnStep {
			return func(_ *ops.Graph, x, mask ops.Tensor, w [3]ops.Tensor) ops.Tensor {
				y, _ := ops.MaskedLinear(x, w[0], mask, limit)
				return y
			}
		}
		down := func(limit float64) ffnStep {
			return func(_ *ops.Graph, _, mask ops.Tensor, w [3]ops.Tensor) ops.Tensor {
				y, _ := ops.SparseLinear(mask, w[0], ops.Tensor{}, limit)
				return y
			}
		}
		block := func(limit float64) ffnStep {
			return func(g *ops.Graph, x, mask ops.Tensor, w [3]ops.Tensor) ops.Tensor {
				return ops.SparseFFN(x, ops.FFNWeights{Gate: w[0], Up: w[1], Down: w[2], GateBias: ops.Reshape(mask, ops.N(dff)), UpBias: none(g, dff),
					DownBias: none(g, d)}, ops.FFNOptions{Activation: ops.Activation{Kind: ops.ActReLU}, Limit: limit}).Y
			}
		}
		const whole, list = -1, 1 // limits
		gemv := func(transposed int, rows, columns int64) func() float64 {
			return peers.side("gemv %s %d %d %d %d", kind.peer, transposed, rows, columns, 3*layers)
		}
		m, r := inTurn(turns, f.bind(t, rounds, 3, active, 1, 0, up(list)), gemv(0, dff, d), f.bind(t, rounds, 3, active, 1, 0, up(whole)))
		name := fmt.Sprintf("%d x %d %v, 89 %% inactive: ", d, dff, kind.dtype)
		against := "cuBLAS " + kind.peer
		benchRow(name+"up", m[0], against, m[1], r[1], kind.aims[0])
		benchRow(name+"up", m[0], "reading all", m[2], r[2], 0)
		gate := m[1]
		if rate > 0 {
			bytes := float64(kind.dtype.RowBytes(d * dff))
			benchRow(name+"up, reading all", m[2], "a copy of as many bytes", bytes/rate, bytes/rate/m[2], kind.aims[3])
		}
		m, r = inTurn(turns, f.bind(t, rounds, 3, active, 1, 0, down(list)), gemv(1, dff, d), gemv(0, d, dff), f.bind(t, rounds, 3, active, 1, 0, down(whole)))
		benchRow(name+"down", m[0], against+", the better layout", min(m[1], m[2]), min(r[1], r[2]), kind.aims[1])
		benchRow(name+"down", m[0], "reading all", m[3], r[3], 0)
		theirs := 2*gate + min(m[1], m[2])
		m, r = inTurn(turns, f.bind(t, rounds, 1, active, 1000, -1000, block(list)), f.bind(t, rounds, 1, active, 1000, -1000, block(whole)))
		benchRow(name+"block", m[0], "reading all (bound 2.46)", m[1], r[1], kind.aims[2])
		benchRow(name+"block", m[0], "three products of "+against, theirs, theirs/m[0], kind.aims[2])
		f.close()
	}
}

package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/ops"
)

// distant is the reference with memory that the host does not see: what a GPU is to this package.
type distant struct {
	goDevice
	free int64
}

func (d *distant) info() DeviceInfo {
	return DeviceInfo{Backend: "cuda", Name: "distant", UUID: "GPU-1", MemoryTotal: 1 << 30, MemoryFree: d.free}
}

func (d *distant) alloc(bytes int64) (buffer, error) {
	if bytes > d.free {
		return nil, newError("allocate", ErrOutOfMemory, fmt.Sprintf("%d bytes are missing", bytes-d.free))
	}
	b, err := d.goDevice.alloc(bytes)
	return &distantBuffer{b}, err
}

func (d *distant) wrap(data []byte) (buffer, error) {
	b, err := d.alloc(int64(len(data)))
	if err == nil {
		copy(b.(*distantBuffer).buffer.host(), data)
	}
	return b, err
}

func (d *distant) openStream() (stream, error) { return &distantStream{}, nil }

type distantBuffer struct{ buffer }

func (b *distantBuffer) host() []byte { return nil }

type distantStream struct{ goStream }

func (s *distantStream) run(p devicePlan, tag uint64, slots []slot, ints []int64, floats []float64) error {
	seen := make([]slot, len(slots))
	for i, x := range slots {
		seen[i] = slot{x.b.(*distantBuffer).buffer}
	}
	return s.goStream.run(p, tag, seen, ints, floats)
}

func (s *distantStream) write(dst buffer, offset int64, src []byte) error {
	return s.goStream.write(dst.(*distantBuffer).buffer, offset, src)
}

func (s *distantStream) read(dst []byte, src buffer, offset int64) error {
	return s.goStream.read(dst, src.(*distantBuffer).buffer, offset)
}

// openDistant opens a runtime as `request` would on a machine with such a device.
func openDistant(t *testing.T, request string, free int64, options ...Option) *Runtime {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	before := Live()
	config, err := NewConfig(append([]Option{WithBackendDir(buildLib()), WithDevice(request)}, options...)...)
	require.NoError(t, err)
	d := &distant{free: free}
	report := newReport(&config)
	report.Chosen = d.info()
	rt, err := newRuntime(config, d, report)
	require.NoError(t, err)
	t.Cleanup(func() {
		rt.Close()
		assert.Equal(t, before, Live(), "leak")
	})
	return rt
}

// layerModel is a model of one n x n layer; it counts how often it was made.
type layerModel struct {
	n    int64
	made int
	err  error
}

func (m *layerModel) make(rt *Runtime) error {
	m.made++
	w := ops.NewSegment("weights").Add("w", ops.F32, m.n, m.n)
	memory, err := rt.Allocate(w.Segment)
	if err != nil {
		return err
	}
	g := ops.NewGraph()
	batch := g.IntArg("batch", 1, m.n)
	x := g.Input("x", ops.F32, ops.Shape{batch.Of(1), ops.N(m.n)})
	g.Output(ops.MatMul(x, g.Use(w), ops.MatMulOptions{}))
	p, err := rt.Compile(g, "layer")
	if err != nil {
		return err
	}
	s, err := rt.NewSession()
	if err != nil {
		return err
	}
	b, err := s.Bind(p, memory)
	if err != nil {
		return err
	}
	b.SetInt(batch, 1)
	if err := b.Write(x, make([]float32, m.n)); err != nil {
		return err
	}
	return errors.Join(b.Run(context.Background()), m.err)
}

// slowAndFast are speeds of a GPU and a CPU: 20 us and 1 us for a launch, 10 TFLOP/s and 100 GFLOP/s.
var (
	gpuSpeed = Speed{Submission: 20 * time.Microsecond, Operation: 2 * time.Microsecond, Copy: 2e10, Memory: 2e12, Cache: 4e12, Product: 1e13}
	cpuSpeed = Speed{Submission: time.Microsecond, Operation: 100, Copy: 1e10, Memory: 1e10, Cache: 1e11, Product: 1e11}
)

// Where there is nothing to choose, nothing is rehearsed.
func TestPlaceCostsNothingWithoutAGPU(t *testing.T) {
	eachDevice(t, func(t *testing.T, device string) {
		if device == "cuda" {
			t.Skip("a GPU, if an emulated one")
		}
		rt := openTest(t, on(device))
		m := &layerModel{n: 8}
		to, err := rt.Place("layer", m.make)
		require.NoError(t, err)
		assert.Same(t, rt, to)
		assert.Zero(t, m.made)
		assert.Empty(t, rt.Report().Placements)
		assert.Zero(t, testing.AllocsPerRun(10, func() { rt.Place("layer", nil) }))
	})
}

func TestPlaceByMeasuredSpeeds(t *testing.T) {
	if !nativeAvailable() {
		t.Skip("needs the CPU backend")
	}
	rt := openDistant(t, "auto", 1<<30)
	second, err := rt.onCPU()
	require.NoError(t, err)
	rt.speedKey().save(gpuSpeed, rt.config.Logger)
	second.speedKey().save(cpuSpeed, rt.config.Logger)

	small, large := &layerModel{n: 16}, &layerModel{n: 512}
	to, err := rt.Place("small", small.make)
	require.NoError(t, err)
	assert.Same(t, second, to)
	require.NoError(t, small.make(to))
	again, err := to.Place("within", func(*Runtime) error { panic("rehearsed") })
	require.NoError(t, err)
	assert.Same(t, to, again, "a model within a model goes where that one is")
	to, err = rt.Place("large", large.make)
	require.NoError(t, err)
	assert.Same(t, rt, to)
	require.NoError(t, large.make(to))
	assert.Equal(t, 2, large.made)

	placed := rt.Report().Placements
	require.Len(t, placed, 2)
	assert.Equal(t, "cpu", placed[0].Backend)
	assert.Equal(t, "cuda", placed[1].Backend)
	for i, n := range []int64{16, 512} {
		p := placed[i]
		assert.Equal(t, 4*(n*n+2*n*n), p.Memory, "weights, input, output")
		require.Len(t, p.Predicted, 2)
		assert.Equal(t, gpuSpeed.layer(float64(n)), p.Predicted[0].Time)
		assert.Equal(t, cpuSpeed.layer(float64(n)), p.Predicted[1].Time)
	}
	assert.Regexp(t, `^predicted 1\..*µs here, 20.*µs on distant; CREDENCE_DEVICE=cuda overrides$`, placed[0].Reason)
	assert.Regexp(t, `^predicted .*µs here, .*ms on the CPU$`, placed[1].Reason)

	n := Crossover(gpuSpeed, cpuSpeed)
	require.Positive(t, n)
	assert.Less(t, gpuSpeed.layer(float64(n)), cpuSpeed.layer(float64(n)))
	assert.GreaterOrEqual(t, gpuSpeed.layer(float64(n-16)), cpuSpeed.layer(float64(n-16)))
	assert.Zero(t, Crossover(cpuSpeed, gpuSpeed))
}

// Speeds are measured when they are first needed, and kept.
func TestPlaceMeasures(t *testing.T) {
	if !nativeAvailable() {
		t.Skip("needs the CPU backend")
	}
	saved := defaultTrials
	defer func() { defaultTrials = saved }()
	defaultTrials = trials{chain: 3, cached: 16, large: 64, products: []int64{4, 8}, enough: time.Microsecond}
	rt := openDistant(t, "auto", 1<<30)
	_, known := rt.KnownSpeed()
	assert.False(t, known)
	_, err := rt.Place("layer", (&layerModel{n: 8}).make)
	require.NoError(t, err)
	s, known := rt.KnownSpeed()
	require.True(t, known)
	assert.True(t, s.plausible(), "%+v", s)
	require.Len(t, rt.Report().Placements, 1)
	assert.Contains(t, rt.Report().Placements[0].Reason, "predicted ")

	path := rt.speedKey().path()
	for what, text := range map[string]string{"torn": "{", "foreign": `{"key": {}}`, "impossible": `{"speed": {"product": -1}}`} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, known = rt.KnownSpeed()
		assert.False(t, known, what)
	}
	rt.speedKey().save(s, rt.config.Logger)
	rt.config.Threads++
	_, known = rt.KnownSpeed()
	assert.False(t, known, "measured with other threads")
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".speed-*"))
	require.NoError(t, err)
	assert.Empty(t, left)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = rt.MeasureSpeed(ctx)
	assert.ErrorIs(t, err, ErrCancelled)
}

func TestPlaceWhatDoesNotFit(t *testing.T) {
	const free = 1 << 20
	m := &layerModel{n: 512} // 3 MiB
	want := "3.0 MiB are needed, 1.0 MiB of 1.00 GiB are free on distant: 2.0 MiB are missing"
	t.Run("strict", func(t *testing.T) {
		rt := openDistant(t, "cuda", free)
		_, err := rt.Place("layer", m.make)
		require.ErrorIs(t, err, ErrOutOfMemory)
		assert.EqualError(t, err, "place layer: out of memory: "+want+"; CREDENCE_DEVICE=cpu or auto runs it on the CPU")
		assert.Empty(t, rt.Report().Placements)
		to, err := rt.Place("small", (&layerModel{n: 8}).make)
		require.NoError(t, err)
		assert.Same(t, rt, to)
		assert.Equal(t, "requested by option", rt.Report().Placements[0].Reason)
	})
	for _, request := range []string{"auto", "cuda,cpu"} {
		t.Run(request, func(t *testing.T) {
			rt := openDistant(t, request, free)
			to, err := rt.Place("layer", m.make)
			if !nativeAvailable() {
				require.ErrorIs(t, err, ErrOutOfMemory)
				assert.ErrorContains(t, err, want+"; and there is no other device: ")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, "cpu", to.Device().Backend)
			p := rt.Report().Placements[0]
			assert.Equal(t, "out of memory on distant: "+want, p.Reason)
			assert.Equal(t, "cpu", p.Backend)
			assert.Empty(t, p.Predicted)
		})
	}
	t.Run("a list is no matter of speed", func(t *testing.T) {
		rt := openDistant(t, "cuda,cpu", free)
		to, err := rt.Place("small", (&layerModel{n: 8}).make)
		require.NoError(t, err)
		assert.Same(t, rt, to)
		assert.Equal(t, "requested by option", rt.Report().Placements[0].Reason)
	})
	t.Run("limit", func(t *testing.T) {
		rt := openDistant(t, "cuda", 1<<30, WithMemoryLimit(free))
		_, err := rt.Place("layer", m.make)
		assert.ErrorContains(t, err, "3.0 MiB are needed, 1.0 MiB of CREDENCE_MEMORY_LIMIT, 1.0 MiB, are free: 2.0 MiB are missing")
	})
	t.Run("an allocation", func(t *testing.T) {
		rt := openDistant(t, "cuda", free)
		_, err := rt.Allocate(ops.NewSegment("w").Add("w", ops.F32, 512, 1024).Segment)
		require.ErrorIs(t, err, ErrOutOfMemory)
		assert.EqualError(t, err, "segment w: allocate: out of memory: 1048576 bytes are missing; CREDENCE_DEVICE=cpu runs in the host's memory")
		assert.Zero(t, rt.Allocated())
	})
}

// limited lacks an operation.
type limited struct{ distant }

func (d *limited) openPlan(p *ops.Program) (devicePlan, error) {
	for i, op := range p.Ops {
		if op.Def.Opcode == ops.OpMatmul {
			return nil, newError("open plan", ErrUnsupported, fmt.Sprintf("op %d, matmul: unknown here", i))
		}
	}
	return d.distant.openPlan(p)
}

func TestPlaceWhatTheGPUCannotRun(t *testing.T) {
	rt := openDistant(t, "cuda", 1<<30)
	rt.dev = &limited{distant{free: 1 << 30}}
	_, err := rt.Place("layer", (&layerModel{n: 8}).make)
	require.ErrorIs(t, err, ErrUnsupported)
	assert.EqualError(t, err, "place layer: unsupported: op 0, matmul: unknown here; CREDENCE_DEVICE=cpu or auto runs it on the CPU")
	rt.Close()
	if !nativeAvailable() {
		return
	}
	rt = openDistant(t, "auto", 1<<30)
	rt.dev = &limited{distant{free: 1 << 30}}
	to, err := rt.Place("layer", (&layerModel{n: 8}).make)
	require.NoError(t, err)
	assert.Equal(t, "cpu", to.Device().Backend)
	assert.Equal(t, "unsupported on distant: op 0, matmul: unknown here", rt.Report().Placements[0].Reason)
}

// What a device copies counts as its memory.
func TestMappedMemoryOfADistantDeviceCounts(t *testing.T) {
	rt := openDistant(t, "cuda", 1<<30, WithMemoryLimit(100))
	segment := ops.NewSegment("w").Add("w", ops.F32, 16).Segment
	m, err := rt.Map(segment, make([]byte, 64))
	require.NoError(t, err)
	assert.Equal(t, int64(64), rt.Allocated())
	_, err = rt.Map(segment, make([]byte, 64))
	assert.ErrorIs(t, err, ErrOutOfMemory)
	assert.Equal(t, int64(64), rt.Allocated())
	m.Close()
	assert.Zero(t, rt.Allocated())
}

// A model that cannot be made is not placed, and what its rehearsal took is gone.
func TestPlaceOfABrokenModel(t *testing.T) {
	rt := openDistant(t, "auto", 1<<30)
	before := Live()
	broken := errors.New("broken")
	_, err := rt.Place("layer", (&layerModel{n: 8, err: broken}).make)
	assert.ErrorIs(t, err, broken)
	assert.Equal(t, before, Live())
	rt.Close()
	_, err = rt.Place("layer", (&layerModel{n: 8}).make)
	assert.ErrorIs(t, err, ErrClosed)
}

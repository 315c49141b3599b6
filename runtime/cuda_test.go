package runtime

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime/testenv"
)

// openCUDA opens a runtime on the CUDA backend under test, which needs a GPU or the emulator.
func openCUDA(t *testing.T, device string, options ...Option) *Runtime {
	t.Helper()
	if _, err := os.Stat(filepath.Join(testenv.CUDADir(), "libcredence_cuda.so")); err != nil || !nativeAvailable() {
		t.Skip("neither a GPU nor the emulated CUDA backend")
	}
	return openTest(t, append([]Option{WithBackendDir(testenv.CUDADir(), buildLib()), WithDevice(device)}, options...)...)
}

// What a run brings along is what lies in the arena, also where streams do nothing before somebody waits for them, and
// writes that are still on their way come before whatever reads them.
func TestOutputsOfRunsOnAGPU(t *testing.T) {
	for _, lazy := range []string{"0", "1"} {
		t.Setenv("CREDENCE_EMULATOR_LAZY", lazy)
		rt := openCUDA(t, "cuda")
		g := ops.NewGraph()
		n := g.IntArg("n", 1, 1<<19)
		x := g.Input("x", ops.F32, ops.Shape{n.Of(1)})
		labels := g.Input("labels", ops.I32, ops.Dims(3))
		double, sum := ops.Add(x, x), ops.Sum(x)
		loss := ops.CrossEntropy(g.Const("z", []float32{0, 0, 0, 0, 0, 0}, 3, 2), labels)
		g.Output(double, sum, loss)
		p, err := rt.Compile(g, "outputs")
		require.NoError(t, err)
		s, err := rt.NewSession()
		require.NoError(t, err)
		b, err := s.Bind(p)
		require.NoError(t, err)
		require.NoError(t, b.WriteInt32(labels, []int32{0, 1, 1}))
		for run, size := range []int{3, 1 << 19, 5, 5} { // the second is too large to be brought along
			values := make([]float32, size)
			for i := range values {
				values[i] = float32(i%7 + run)
			}
			b.SetInt(n, int64(size))
			require.NoError(t, b.Write(x, values))
			kept := values[0]
			values[0] = 99 // ours again
			require.NoError(t, b.Run(context.Background()))
			values[0] = kept
			got, total, losses := make([]float32, size), make([]float32, 1), make([]float32, 3)
			read := func() {
				require.NoError(t, b.Read(double, got))
				require.NoError(t, b.Read(sum, total))
				require.NoError(t, b.Read(loss, losses))
				want := float32(0)
				for i, v := range values {
					want += v
					require.Equal(t, 2*v, got[i])
				}
				assert.InEpsilon(t, want, total[0], 1e-6)
				assert.InDeltaSlice(t, []float32{.6931472, .6931472, .6931472}, losses, 1e-6)
			}
			read()
			require.NoError(t, b.Write(x, make([]float32, size)))
			read() // the next inputs change nothing of the last outputs
		}
		// a larger plan moves the arena while a write is on its way to it
		large := ops.NewGraph()
		in := large.Input("in", ops.F32, ops.Dims(1<<22))
		large.Output(ops.Sum(in))
		q, err := rt.Compile(large, "large")
		require.NoError(t, err)
		_, err = s.Bind(q)
		require.NoError(t, err)
		assert.Error(t, b.Run(context.Background()), "its inputs are gone")
		rt.Close()
	}
}

// A lost device stays lost, everywhere, with the reason; what was made on it can be closed.
func TestALostGPU(t *testing.T) {
	rt := openCUDA(t, "cuda")
	if err := rt.dev.(*nativeDevice).d.SetOption("fault.lost", "-1"); err != nil {
		t.Skip("the backend was built without faults")
	}
	d := newDoubler()
	p, m, _, b := d.bind(t, rt)
	_, err := d.run(b, []float32{1, 2, 3})
	require.NoError(t, err)
	arm(t, rt, "lost", 0)
	scheduler, err := rt.NewScheduler(0)
	require.NoError(t, err)
	assert.Equal(t, 2, scheduler.Sessions())
	for range 2 {
		_, err = d.run(b, []float32{1, 2, 3})
		require.ErrorIs(t, err, ErrDeviceLost)
	}
	assert.ErrorContains(t, err, "device lost: the device was lost")
	_, err = rt.Allocate(ops.NewSegment("w").Add("w", ops.F32, 4).Segment)
	assert.ErrorIs(t, err, ErrDeviceLost)
	_, err = rt.Compile(newDoubler().g, "another")
	assert.ErrorIs(t, err, ErrDeviceLost)
	_, err = rt.NewSession()
	assert.ErrorIs(t, err, ErrDeviceLost)
	assert.ErrorIs(t, m.Write(d.v, []float32{1, 2, 3}), ErrDeviceLost)
	assert.ErrorIs(t, m.Read(d.v, make([]float32, 3)), ErrDeviceLost)
	err = scheduler.Do(context.Background(), func(ctx context.Context, s *Session) error {
		_, err := s.Bind(p, m)
		return err
	})
	assert.ErrorIs(t, err, ErrDeviceLost)
}

// Several GPUs serve runtimes of one process at the same time, by number and by UUID. The emulator reads how many it has
// once in a process, so the test is a process of its own.
func TestTwoGPUs(t *testing.T) {
	if os.Getenv("CREDENCE_TEST_TWO_GPUS") == "" {
		openCUDA(t, "cuda")
		c := exec.Command(os.Args[0], "-test.run=^TestTwoGPUs$", "-test.v")
		c.Env = append(os.Environ(), "CREDENCE_TEST_TWO_GPUS=1", "CREDENCE_EMULATOR_DEVICES=2")
		out, err := c.CombinedOutput()
		require.NoError(t, err, "%s", out)
		if !assert.Contains(t, string(out), "PASS") {
			t.Logf("%s", out)
		}
		return
	}
	all, err := Survey(WithBackendDir(testenv.CUDADir()))
	require.NoError(t, err)
	gpus := all.Backends[0].Devices
	if len(gpus) < 2 {
		t.Skip("there is one GPU")
	}
	require.NotEqual(t, gpus[0].UUID, gpus[1].UUID)
	byUUID := "cuda:" + gpus[1].UUID
	if _, err := ParseDevice(byUUID); err != nil {
		t.Skip("the emulator gives no UUIDs as NVIDIA writes them: ", err)
	}
	before := Live()
	var open []*Runtime
	for _, device := range []string{"cuda", byUUID, "cuda:1"} {
		rt, err := Open(WithBackendDir(testenv.CUDADir()), WithDevice(device))
		require.NoError(t, err)
		open = append(open, rt)
	}
	defer func() {
		for _, rt := range open {
			rt.Close()
		}
		assert.Equal(t, before, Live(), "leak")
	}()
	first, second, third := open[0], open[1], open[2]
	assert.Equal(t, 0, first.Device().Index)
	assert.Equal(t, 1, second.Device().Index)
	assert.Equal(t, gpus[1].UUID, third.Device().UUID)
	_, err = Open(WithBackendDir(testenv.CUDADir()), WithDevice("cuda:99"))
	require.ErrorIs(t, err, ErrNoDevice)
	assert.ErrorContains(t, err, "device 99 was asked for, there are ")
	_, err = Open(WithBackendDir(testenv.CUDADir()), WithDevice("cuda:GPU-00000000-dead"))
	assert.ErrorContains(t, err, "no device's UUID begins with GPU-00000000-dead")

	free := first.dev.info().MemoryFree
	memory, err := second.Allocate(ops.NewSegment("w").Add("w", ops.F32, 1<<20).Segment)
	require.NoError(t, err)
	assert.LessOrEqual(t, second.dev.info().MemoryFree, third.dev.info().MemoryTotal-4<<20)
	assert.Equal(t, free, first.dev.info().MemoryFree, "memory of the second is not of the first")
	memory.Close()

	var wait sync.WaitGroup
	for _, rt := range open {
		d := newDoubler()
		p, m, _, _ := d.bind(t, rt)
		for range 2 {
			wait.Go(func() {
				s, err := rt.NewSession()
				if !assert.NoError(t, err) {
					return
				}
				b, err := s.Bind(p, m)
				if !assert.NoError(t, err) {
					return
				}
				for i := range 50 {
					y, err := d.run(b, []float32{float32(i), 2, 3})
					if !assert.NoError(t, err) || !assert.Equal(t, []float32{2*float32(i) + 1, 6, 9}, y) {
						return
					}
				}
			})
		}
	}
	wait.Wait()
	// what belongs to one GPU is refused by another
	d := newDoubler()
	p, _, _, _ := d.bind(t, first)
	s, err := second.NewSession()
	require.NoError(t, err)
	_, err = s.Bind(p)
	assert.ErrorIs(t, err, ErrInvalidArgument)
}

// auto on a machine with a GPU and a CPU, from the measurement to a model on either.
func TestAutoOnAGPU(t *testing.T) {
	saved := defaultTrials
	defer func() { defaultTrials = saved }()
	defaultTrials = trials{chain: 3, cached: 64, large: 1024, products: []int64{16}, enough: time.Microsecond}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	rt := openCUDA(t, "auto")
	require.Equal(t, "cuda", rt.Device().Backend)
	m := &layerModel{n: 8}
	to, err := rt.Place("layer", m.make)
	require.NoError(t, err)
	require.NoError(t, m.make(to))
	p := rt.Report().Placements[0]
	assert.Equal(t, to.Device().Backend, p.Backend)
	require.Len(t, p.Predicted, 2)
	here, there := p.Predicted[0], p.Predicted[1]
	assert.Equal(t, p.Backend == "cpu", there.Time < here.Time, "%+v", p)
	s, known := rt.KnownSpeed()
	require.True(t, known)
	assert.True(t, s.plausible())
	assert.Contains(t, rt.Device().Detail, "CUDA driver API ")
}

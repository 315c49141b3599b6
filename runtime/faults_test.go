package runtime

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime/testenv"
)

// Faults inside the native CPU backend, in a build of it that fails as told (native/test/CMakeLists.txt), under a whole
// training step with its real kernels.

// openFaulty opens that build.
func openFaulty(t *testing.T) *Runtime {
	if !nativeAvailable() {
		t.Skip("the CPU backend was not built")
	}
	if _, err := os.Stat(filepath.Join(testenv.FaultyDir(), "libcredence_cpu.so")); err != nil {
		require.Empty(t, os.Getenv("CREDENCE_TEST_REQUIRE_NATIVE"), "the CPU backend with faults was not built")
		t.Skip("the CPU backend with faults was not built (CREDENCE_TESTS=ON)")
	}
	return openTest(t, WithBackendDir(testenv.FaultyDir()), WithDevice("cpu"), WithThreads(2))
}

// arm makes the device fail once, after n of what kind counts: "alloc", or "cancel", "op" and "lost", which count
// operations. A negative n disarms it.
func arm(t *testing.T, rt *Runtime, kind string, n int) {
	t.Helper()
	require.NoError(t, rt.dev.(*nativeDevice).d.SetOption("fault."+kind, strconv.Itoa(n)))
}

// step is a training step of a small convolutional network: a plan for the loss and its gradients, one for the update.
type step struct {
	pass, update *Binding
	weights      *Memory
	x, labels    ops.Tensor
	loss         ops.Tensor
	close        []closer
	attempt      func(what func() error) error
}

const stepRows = 6

func newStep(rt *Runtime, attempt func(what func() error) error) (s *step, err error) {
	s = &step{attempt: attempt}
	defer func() {
		if err != nil {
			s.closeAll()
		}
	}()
	params := ops.NewSegment("parameters")
	filter, gamma, beta := params.Add("filter", ops.F32, 3, 3, 2, 8), params.Add("gamma", ops.F32, 8), params.Add("beta", ops.F32, 8)
	dense, bias := params.Add("dense", ops.F32, 8*8*8, 5), params.Add("bias", ops.F32, 5)
	grads, m, v := params.Like("gradients"), params.Like("m"), params.Like("v")
	memories := make([]*Memory, 4)
	for i, segment := range []*ops.Segment{params, grads, m, v} {
		if err = attempt(func() (err error) { memories[i], err = rt.Allocate(segment); return err }); err != nil {
			return s, err
		}
		s.close = append(s.close, memories[i])
	}
	s.weights = memories[0]
	r := rand.New(rand.NewPCG(1, 1))
	for _, variable := range params.Vars() {
		values := make([]float32, variable.Count())
		for i := range values {
			values[i] = float32(.1 * r.NormFloat64())
		}
		if err = s.weights.Write(variable, values); err != nil {
			return s, err
		}
	}

	g := ops.NewGraph()
	s.x, s.labels = g.Input("x", ops.F32, ops.Dims(stepRows, 8, 8, 2)), g.Input("labels", ops.I32, ops.Dims(stepRows))
	y := ops.Conv2D(s.x, g.Use(filter), ops.ConvOptions{PadTop: 1, PadBottom: 1, PadLeft: 1, PadRight: 1})
	y, _, _ = ops.BatchNormTrain(y, g.Use(gamma), g.Use(beta), 1e-5, ops.Activation{Kind: ops.ActReLU})
	y = ops.MatMul(ops.Reshape(y, ops.N(stepRows), ops.N(8*8*8)), g.Use(dense), ops.MatMulOptions{Bias: g.Use(bias)})
	s.loss = ops.Sum(ops.CrossEntropy(y, s.labels))
	g.Output(s.loss)
	var wrt []ops.Tensor
	for _, variable := range params.Vars() {
		wrt = append(wrt, g.Use(variable))
	}
	for i, d := range ops.Gradients(s.loss, wrt...) {
		ops.StoreInto(params.Vars()[i].Twin(grads), d)
	}
	u := ops.NewGraph()
	_, scale := ops.ClipScale(u.Flat(grads), ops.V(1))
	ops.Adam(u.Flat(params), u.Flat(m), u.Flat(v), u.Flat(grads), scale, ops.AdamOptions{LearningRate: ops.V(1e-2),
		Beta1: ops.V(.9), Beta2: ops.V(.999), Epsilon: ops.V(1e-8), Step: ops.N(1)})

	var session *Session
	if err = attempt(func() (err error) { session, err = rt.NewSession(); return err }); err != nil {
		return s, err
	}
	s.close = append(s.close, session)
	for i, graph := range []*ops.Graph{g, u} {
		var plan *Plan
		if err = attempt(func() (err error) { plan, err = rt.Compile(graph, []string{"pass", "update"}[i]); return err }); err != nil {
			return s, err
		}
		s.close = append(s.close, plan)
		bound := []**Binding{&s.pass, &s.update}[i]
		if err = attempt(func() (err error) { *bound, err = session.Bind(plan, memories...); return err }); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *step) closeAll() {
	for i := len(s.close) - 1; i >= 0; i-- {
		s.close[i].Close()
	}
}

// run takes one step; it returns the loss and the weights afterwards.
func (s *step) run() (loss float32, weights []byte, err error) {
	if err := s.runPass(context.Background()); err != nil {
		return 0, nil, err
	}
	var v [1]float32
	if err := s.pass.Read(s.loss, v[:]); err != nil {
		return 0, nil, err
	}
	if err := s.attempt(s.update.RunUncancelled); err != nil {
		return 0, nil, err
	}
	weights, err = s.weights.ReadAll()
	return v[0], weights, err
}

func (s *step) runPass(ctx context.Context) error {
	r := rand.New(rand.NewPCG(2, 2))
	x, labels := make([]float32, stepRows*8*8*2), make([]int32, stepRows)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	for i := range labels {
		labels[i] = int32(r.IntN(5))
	}
	if err := errors.Join(s.pass.Write(s.x, x), s.pass.WriteInt32(s.labels, labels)); err != nil {
		return err
	}
	return s.attempt(func() error { return s.pass.Run(ctx) })
}

func once(what func() error) error { return what() }

// cleanStep is what a step without faults gives.
func cleanStep(t *testing.T, rt *Runtime) (loss float32, weights []byte) {
	s, err := newStep(rt, once)
	require.NoError(t, err)
	defer s.closeAll()
	before, err := s.weights.ReadAll()
	require.NoError(t, err)
	loss, weights, err = s.run()
	require.NoError(t, err)
	require.NotEqual(t, before, weights)
	require.False(t, math.IsNaN(float64(loss)))
	return loss, weights
}

// Whichever allocation of the backend fails, the call that needed it says so and changes nothing: made again it works,
// and the step ends with the bits of one without faults. Without a second attempt everything can be closed.
func TestEveryNativeAllocationOfATrainingStepMayFail(t *testing.T) {
	rt := openFaulty(t)
	wantLoss, want := cleanStep(t, rt)
	open := Live()
	for n := 0; ; n++ {
		failures := 0
		arm(t, rt, "alloc", n)
		s, err := newStep(rt, func(what func() error) error {
			err := what()
			if errors.Is(err, ErrOutOfMemory) {
				failures++
				assert.ErrorContains(t, err, "(injected)")
				err = what()
			}
			return err
		})
		require.NoError(t, err, "allocation %d", n)
		loss, weights, err := s.run()
		require.NoError(t, err, "allocation %d", n)
		require.Equal(t, wantLoss, loss, "allocation %d", n)
		require.Equal(t, want, weights, "allocation %d", n)
		s.closeAll()
		require.Equal(t, open, Live(), "allocation %d", n)
		if failures == 0 {
			require.Greater(t, n, 12)
			t.Logf("%d allocations", n)
			break
		}
		require.Equal(t, 1, failures)

		arm(t, rt, "alloc", n)
		if s, err = newStep(rt, once); err == nil {
			_, _, err = s.run()
			s.closeAll()
		}
		require.ErrorIs(t, err, ErrOutOfMemory, "allocation %d", n)
		require.Equal(t, open, Live(), "allocation %d", n)
	}
	arm(t, rt, "alloc", -1)
}

// A submission that is cancelled or fails at any of its operations gives the typed error and leaves the weights as they
// were, and the next one is right.
func TestCancelledOrFailedAtEveryOperation(t *testing.T) {
	rt := openFaulty(t)
	wantLoss, want := cleanStep(t, rt)
	s, err := newStep(rt, once)
	require.NoError(t, err)
	defer s.closeAll()
	before, err := s.weights.ReadAll()
	require.NoError(t, err)
	operations := s.pass.plan.Operations()
	require.Greater(t, operations, 8)
	for k := range operations {
		for kind, wanted := range map[string]error{"cancel": ErrCancelled, "op": ErrInternal} {
			arm(t, rt, kind, k)
			err := s.runPass(context.Background())
			require.ErrorIs(t, err, wanted, "%s at operation %d", kind, k)
			after, err := s.weights.ReadAll()
			require.NoError(t, err)
			require.Equal(t, before, after)
		}
	}
	loss, weights, err := s.run()
	require.NoError(t, err)
	require.Equal(t, wantLoss, loss)
	require.Equal(t, want, weights)
}

// After the device is lost, at whatever operation, every call says so and closing still works.
func TestLostAtEveryOperation(t *testing.T) {
	for k := 0; ; k++ {
		rt := openFaulty(t)
		s, err := newStep(rt, once)
		require.NoError(t, err)
		if k == s.pass.plan.Operations() {
			s.closeAll()
			return
		}
		arm(t, rt, "lost", k)
		for range 2 {
			require.ErrorIs(t, s.runPass(context.Background()), ErrDeviceLost, "operation %d", k)
		}
		require.ErrorIs(t, s.update.RunUncancelled(), ErrDeviceLost)
		_, err = rt.NewSession()
		require.ErrorIs(t, err, ErrDeviceLost)
		s.closeAll()
		rt.Close()
	}
}

// The pure-Go device asks before every operation whether it is cancelled; what was done until then stays.
func TestReferenceStopsAtEveryOperation(t *testing.T) {
	rt := openTest(t, WithDevice("go"))
	s, err := newStep(rt, once)
	require.NoError(t, err)
	defer s.closeAll()
	require.NoError(t, s.runPass(context.Background()))
	p := s.pass.plan.native.(goPlan).p
	var memory ops.Memory
	for _, x := range s.pass.slots {
		memory = append(memory, x.b.host())
	}
	for k := range p.Ops {
		asked := 0
		err := p.RunReference(memory, s.pass.ints, s.pass.floats, func() error {
			if asked++; asked > k {
				return errStop
			}
			return nil
		})
		require.ErrorIs(t, err, errStop)
		require.Equal(t, k+1, asked)
	}
}

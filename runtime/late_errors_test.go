package runtime

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/ops"
)

// lateErrors is a plan of the operations that can find their values wrong only while they run, followed by everything
// that changes variables: an error must leave those as they were.
type lateErrors struct {
	g             *ops.Graph
	labels        ops.Tensor
	step, stream  ops.IntArg
	beta, epsilon ops.FloatArg
	v             *ops.Var
}

func newLateErrors() *lateErrors {
	l := &lateErrors{g: ops.NewGraph()}
	l.v = ops.NewSegment("state").Add("v", ops.F32, 5, 2, 3)
	l.step, l.stream = l.g.IntArg("step", 0, 1000), l.g.IntArg("stream", -9, 9)
	l.beta, l.epsilon = l.g.FloatArg("beta"), l.g.FloatArg("epsilon")
	l.labels = l.g.Input("labels", ops.I32, ops.Dims(2))
	logits := l.g.Input("logits", ops.F32, ops.Dims(2, 3))
	v := l.g.Use(l.v)
	row := func(k int64) ops.Tensor { return ops.Reshape(ops.Slice(v, 0, ops.N(k), ops.N(1)), ops.N(6)) }
	noise := ops.RandomNormal(l.g, ops.Dims(2, 3), ops.N(1), l.stream.Of(1), ops.N(0), ops.V(0), ops.V(1))
	loss := ops.CrossEntropy(logits, l.labels)
	grad := ops.Reshape(ops.Add(ops.CrossEntropyGrad(logits, l.labels, loss), noise), ops.N(6))
	ops.Adam(row(0), row(1), row(2), grad, ops.Tensor{}, ops.AdamOptions{LearningRate: ops.V(.1), Beta1: l.beta.Of(1),
		Beta2: ops.V(.999), Epsilon: l.epsilon.Of(1), Step: l.step.Of(1)})
	ops.Lerp(row(3), grad, ops.V(.5))
	ops.Axpy(row(4), grad, ops.V(.5))
	ops.Assign(row(3), ops.Scale(row(4), 2))
	l.g.Output(loss)
	return l
}

func TestLateErrorsChangeNothing(t *testing.T) {
	eachDevice(t, func(t *testing.T, device string) {
		rt := openTest(t, on(device))
		l := newLateErrors()
		p, err := rt.Compile(l.g, "late errors")
		require.NoError(t, err)
		m, err := rt.Allocate(l.v.Segment)
		require.NoError(t, err)
		s, err := rt.NewSession()
		require.NoError(t, err)
		b, err := s.Bind(p, m)
		require.NoError(t, err)
		before := make([]float32, 30)
		for i := range before {
			before[i] = float32(i + 1)
		}
		require.NoError(t, m.Write(l.v, before))
		run := func(labels []int32, stream, step int64, beta, epsilon float64) error {
			b.SetInt(l.stream, stream)
			b.SetInt(l.step, step)
			b.SetFloat(l.beta, beta)
			b.SetFloat(l.epsilon, epsilon)
			if err := b.WriteInt32(l.labels, labels); err != nil {
				return err
			}
			return b.Run(context.Background())
		}
		after := make([]float32, len(before))
		for range 3 { // a device that records plans replays them from some time on
			for _, c := range []struct {
				want          string
				labels        []int32
				stream, step  int64
				beta, epsilon float64
			}{
				{"cross_entropy: label 3 of row 1 is outside -1 to 2", []int32{-1, 3}, 1, 1, .5, 1e-8},
				{"cross_entropy: label -2 of row 0 is outside -1 to 2", []int32{-2, 9}, 1, 1, .5, 1e-8},
				{"random_normal: stream -1 is outside 0 to 4294967295", []int32{0, 1}, -1, 1, .5, 1e-8},
				{"adam: step 0; steps count from 1", []int32{0, 1}, 1, 0, .5, 1e-8},
				{"adam: beta1 = 1.5 and beta2 = 0.999; both must lie in [0, 1)", []int32{0, 1}, 1, 1, 1.5, 1e-8},
				{"adam: epsilon = -0.5; it must be positive", []int32{0, 1}, 1, 1, .5, -.5},
			} {
				require.ErrorContains(t, run(c.labels, c.stream, c.step, c.beta, c.epsilon), c.want)
				require.NoError(t, m.Read(l.v, after))
				assert.Equal(t, before, after, c.want)
			}
		}
		require.NoError(t, run([]int32{0, 1}, 1, 1, .5, 1e-8))
		require.NoError(t, m.Read(l.v, after))
		for i := range after {
			assert.NotEqual(t, before[i], after[i])
		}
	})
}

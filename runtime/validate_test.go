package runtime

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/ops"
)

func TestExtentOfATensor(t *testing.T) {
	for _, c := range []struct {
		place    ops.Place
		from, to int64
	}{
		{ops.Place{DType: ops.F32, Base: 8}, 8, 12},
		{ops.Place{DType: ops.F32, Base: 8, Shape: ops.Dims(2, 3), Strides: []int64{12, 4}}, 8, 32},
		{ops.Place{DType: ops.F32, Base: 8, Shape: ops.Dims(2, 3), Strides: []int64{0, 4}}, 8, 20},
		{ops.Place{DType: ops.F32, Base: 80, Shape: ops.Dims(2, 3), Strides: []int64{-12, 4}}, 68, 92},
		{ops.Place{DType: ops.F32, Base: 8, Shape: ops.Dims(2, 0), Strides: []int64{12, 4}}, 8, 8},
		{ops.Place{DType: ops.Q8_0, Base: 2, Shape: ops.Dims(3, 64), Strides: []int64{68, 0}}, 2, 2 + 3*68},
	} {
		from, to := extent(&c.place, nil)
		assert.Equal(t, []int64{c.from, c.to}, []int64{from, to}, "%+v", c.place)
	}
}

// lying is a device that leaves one bit of every result wrong.
type lying struct{ distant }

func (d *lying) openStream() (stream, error) { return &lyingStream{}, nil }

type lyingStream struct{ distantStream }

func (s *lyingStream) run(p devicePlan, tag uint64, slots []slot, ints []int64, floats []float64) error {
	err := s.distantStream.run(p, tag, slots, ints, floats)
	for _, op := range p.(goPlan).p.Ops {
		from, _ := extent(&op.Out[0], ints)
		slots[op.Out[0].Slot].b.(*distantBuffer).buffer.host()[from+2] ^= 0x40
	}
	return err
}

// Validation sees what a device wrote into memory that the host does not see.
func TestValidateOnADistantDevice(t *testing.T) {
	run := func(d device) error {
		rt := openDistant(t, "cuda", 1<<30, WithValidate(true))
		rt.dev = d
		g := ops.NewGraph()
		x := g.Input("x", ops.F32, ops.Dims(4))
		y := ops.Mul(ops.Add(x, x), x)
		g.Output(y)
		p, err := rt.Compile(g, "validated")
		require.NoError(t, err)
		s, err := rt.NewSession()
		require.NoError(t, err)
		b, err := s.Bind(p)
		require.NoError(t, err)
		require.NoError(t, b.Write(x, []float32{1, 2, 3, 4}))
		if err := b.Run(context.Background()); err != nil {
			return err
		}
		got := make([]float32, 4)
		require.NoError(t, b.Read(y, got))
		assert.Equal(t, []float32{2, 8, 18, 32}, got)
		return nil
	}
	require.NoError(t, run(&distant{free: 1 << 30}))
	err := run(&lying{distant{free: 1 << 30}})
	require.ErrorIs(t, err, ErrInternal)
	assert.ErrorContains(t, err, "operation 0, add, on cuda: ")
}

//go:build cgo && unix

package bindings

import (
	"runtime"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDeviceCount(t *testing.T) {
	lib, _ := open(t)
	n, err := lib.DeviceCount()
	require.NoError(t, err)
	assert.Equal(t, 2, n)

	none, err := Load(build(t, "-DFAKE_NO_DEVICE"))
	require.NoError(t, err)
	_, err = none.DeviceCount()
	assert.Equal(t, &Error{Call: "device_count", Status: NoDevice, NativeCode: 100, Message: "driver too old"}, err)
	assert.EqualError(t, err, "device_count: no device: driver too old (native code 100)")
}

func TestOpenDeviceErrors(t *testing.T) {
	lib, _ := open(t)
	_, err := lib.OpenDevice(1, 1)
	assert.EqualError(t, err, "device_open: internal error: the backend reported success and returned no handle")
	_, err = lib.OpenDevice(2, 1)
	assert.EqualError(t, err, "device_open: unknown status 42: ?", "a message without NUL or UTF-8 is harmless")
	_, err = lib.OpenDevice(-1, 1)
	assert.EqualError(t, err, "device_open: invalid argument: device -1")
	_, err = lib.OpenDevice(0, 1<<40)
	assert.EqualError(t, err, "device_open: invalid argument: thread count 1099511627776")
}

func TestInfoAndOptions(t *testing.T) {
	lib, d := open(t)
	info, err := lib.Info(7)
	require.NoError(t, err)
	assert.Equal(t, 7, info.Index)
	assert.Equal(t, "fake 7", info.Name)
	assert.Len(t, info.UUID, 64, "an array without a NUL")
	assert.Equal(t, "closed", info.Detail)

	require.NoError(t, d.SetOption("math", "tf32"))
	assert.EqualError(t, d.SetOption("colour", "red"), "set_option: unsupported: unknown option")
	info, err = d.Info()
	require.NoError(t, err)
	assert.Equal(t, "math=tf32", info.Detail)
	assert.Equal(t, 3, info.ComputeUnits)
	assert.Equal(t, uint64(1<<20), info.MemoryTotal)
	assert.True(t, info.IntegratedMemory)
}

func TestBuffers(t *testing.T) {
	_, d := open(t)
	b, err := d.Alloc(16, false)
	require.NoError(t, err)
	assert.Equal(t, uint64(16), b.Bytes())
	assert.NotNil(t, b.Pointer())
	require.NotNil(t, b.Host())

	var none *Stream
	src := []byte("abcdefghijkl")
	require.NoError(t, none.Write(b, 4, src))
	assert.Equal(t, "\x00\x00\x00\x00abcdefghijkl", string(unsafe.Slice((*byte)(b.Host()), 16)))
	dst := make([]byte, 8)
	require.NoError(t, none.Read(dst, b, 8))
	assert.Equal(t, "efghijkl", string(dst))
	require.NoError(t, none.Copy(b, 0, b, 12, 4))
	assert.Equal(t, "ijklabcd", string(unsafe.Slice((*byte)(b.Host()), 8)))
	require.NoError(t, none.Write(b, 16, nil), "nothing at the very end")
	require.NoError(t, none.Read(nil, b, 16))

	assert.EqualError(t, none.Write(b, 8, src),
		"buffer_write: invalid argument: write past the end")
	assert.EqualError(t, none.Read(dst, b, 12),
		"buffer_read: invalid argument: read past the end")
	assert.EqualError(t, none.Copy(b, 0, b, 12, 8), "buffer_copy: invalid argument: copy past the end")

	pinned, err := d.Alloc(16, true)
	require.NoError(t, err)
	assert.Nil(t, pinned.Host(), "the fake hides what was asked to be pinned")
	pinned.Free()

	wrapped, err := d.Wrap(b.Host(), 16)
	require.NoError(t, err)
	assert.Equal(t, b.Host(), wrapped.Host())
	wrapped.Free()
	_, err = d.Wrap(nil, 16)
	assert.EqualError(t, err, "buffer_wrap: invalid argument: 16 bytes at nil")
	_, err = d.Alloc(1<<21, false)
	assert.EqualError(t, err, "buffer_alloc: out of memory: 1048576 bytes at most (native code 2)")

	b.Free()
	b.Free()
	assert.Nil(t, b.Pointer())
	assert.Nil(t, b.Host())
	assert.EqualError(t, none.Write(b, 0, src),
		"buffer_write: invalid argument: the buffer is closed")
}

func tables() *Tables {
	return &Tables{
		Ops: []Op{{}, {Opcode: 11, NIn: 1, NOut: 2, NInOut: 3, NI: 4, NF: 5, FirstTensor: 1, FirstI: 2, FirstF: 3}},
		Tensors: []Tensor{{}, {Slot: 6, DType: 7, NDim: 8, Flags: 9, Base: 10, Offset: Value{Value: 12, Arg: -1},
			Dim: [MaxDims]Value{4: {Value: 13, Arg: 14}}, Stride: [MaxDims]int64{4: 15}}},
		Ints:      []Value{{}, {}, {Value: 16, Arg: 17}},
		Floats:    []Scalar{{}, {}, {}, {Value: 1.5, Arg: 18}},
		IntMin:    []int64{-19},
		IntMax:    []int64{20},
		FloatArgs: 2,
		SlotBytes: []uint64{0, 21},
	}
}

func TestTablesReachTheBackend(t *testing.T) {
	_, d := open(t)
	err := d.OpSupported(tables(), 1)
	assert.EqualError(t, err, "op_supported: unsupported: size=1 opcode=11 io=1,2,3 attr=4,5 first=1,2,3 slot=6 dtype=7 "+
		"ndim=8 flags=9 base=10 offset=12*-1 dim4=13*14 stride4=15 i=16*17 f=1.5*18 iargs=1[-19,20] fargs=2 slots=2[21]")
	assert.EqualError(t, d.OpSupported(tables(), 5), "op_supported: invalid argument: no such op")
	assert.EqualError(t, d.OpSupported(tables(), -5), "op_supported: invalid argument: operation -5")

	lopsided := tables()
	lopsided.IntMin = nil
	_, err = d.OpenPlan(lopsided)
	assert.EqualError(t, err, "plan_open: invalid argument: 0 lower and 1 upper bounds of integer arguments")
	_, err = d.OpenPlan(nil)
	assert.EqualError(t, err, "plan_open: invalid argument: no plan")
	negative := tables()
	negative.FloatArgs = -1
	_, err = d.OpenPlan(negative)
	assert.EqualError(t, err, "plan_open: invalid argument: -1 scalar arguments")
}

// work is a stream with a plan and what to submit to it.
type work struct {
	*Stream
	plan   *Plan
	slots  []Slot
	ints   []int64
	floats []float64
}

func newWork(t testing.TB) *work {
	_, d := open(t)
	plan, err := d.OpenPlan(tables())
	require.NoError(t, err)
	s, err := d.OpenStream()
	require.NoError(t, err)
	b, err := d.Alloc(64, false)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close(); plan.Close(); b.Free() })
	return &work{s, plan, []Slot{{b.Pointer(), 0, 16}, {b.Pointer(), 16, 48}}, []int64{5}, []float64{100, 1000}}
}

func TestSubmit(t *testing.T) {
	w := newWork(t)
	require.NoError(t, w.Submit(w.plan, 1, w.slots, w.ints, w.floats))
	require.NoError(t, w.Sync())
	sum, err := w.Clock()
	require.NoError(t, err)
	assert.Equal(t, uint64(16+64+5+1100), sum)

	assert.EqualError(t, w.Submit(w.plan, 2, w.slots[:1], w.ints, w.floats), "stream_submit: invalid argument: counts")
	assert.EqualError(t, w.Submit(w.plan, 3, []Slot{{}, {}}, w.ints, w.floats),
		"stream_submit: invalid argument: null buffer")
	require.NoError(t, w.Submit(w.plan, 4, w.slots, []int64{-5000}, w.floats))
	assert.EqualError(t, w.Sync(), "stream_sync: device lost: negative sum (native code 719)")

	w.Cancel(6)
	require.NoError(t, w.Submit(w.plan, 5, w.slots, w.ints, w.floats), "the cancel was for another submission")
	assert.EqualError(t, w.Submit(w.plan, 6, w.slots, w.ints, w.floats), "stream_submit: cancelled",
		"no older message shows through")

	w.plan.Close()
	assert.EqualError(t, w.Submit(w.plan, 7, w.slots, w.ints, w.floats),
		"stream_submit: invalid argument: the plan is closed")
	assert.EqualError(t, w.Submit(nil, 8, w.slots, w.ints, w.floats),
		"stream_submit: invalid argument: the plan is closed")
}

func TestCopiesOnStream(t *testing.T) {
	w := newWork(t)
	b := &Buffer{lib: w.lib, handle: w.slots[0].Buffer}
	src, dst := []byte("0123456789abcdef"), make([]byte, 16)
	require.NoError(t, w.Write(b, 0, src))
	require.NoError(t, w.Copy(b, 16, b, 0, 16))
	require.NoError(t, w.Read(dst, b, 16))
	assert.Equal(t, src, dst)
	assert.EqualError(t, w.Write(b, 60, src), "buffer_write: invalid argument: write past the end")
	assert.EqualError(t, w.Read(dst, b, 60), "buffer_read: invalid argument: read past the end")
	assert.EqualError(t, w.Copy(b, 60, b, 0, 16), "buffer_copy: invalid argument: write past the end")

	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&src[0])
	pin.Pin(&dst[0])
	copy(src, "fedc")
	require.NoError(t, w.WriteAsync(b, 32, unsafe.Pointer(&src[0]), 16))
	require.NoError(t, w.ReadAsync(unsafe.Pointer(&dst[0]), b, 32, 16))
	require.NoError(t, w.Sync())
	assert.Equal(t, src, dst)
	within := &struct { // bytes of something that has pointers too
		bytes [16]byte
		next  *int
	}{next: new(int)}
	copy(within.bytes[:], "0123456789abcdef")
	require.NoError(t, w.Post(b, 32, within.bytes[:]))
	require.NoError(t, w.Write(b, 32, within.bytes[:]))
	clear(within.bytes[:])
	require.NoError(t, w.Read(within.bytes[:], b, 32))
	assert.Equal(t, "0123456789abcdef", string(within.bytes[:]))
	require.NoError(t, w.Post(b, 64, nil))
	assert.Error(t, w.Post(b, 65, nil))
	assert.EqualError(t, w.Post(b, 60, []byte("01234")), "buffer_write: invalid argument: write past the end")
	assert.EqualError(t, w.WriteAsync(b, 60, unsafe.Pointer(&src[0]), 16),
		"buffer_write: invalid argument: write past the end")
	assert.EqualError(t, w.ReadAsync(unsafe.Pointer(&dst[0]), b, 60, 16),
		"buffer_read: invalid argument: read past the end")
	var none *Stream
	assert.EqualError(t, none.WriteAsync(b, 0, nil, 0), "buffer_write: invalid argument: the stream is closed")
	assert.EqualError(t, none.ReadAsync(nil, b, 0, 0), "buffer_read: invalid argument: the stream is closed")

	// a copy that is done on return waits for the stream, and so learns of its troubles
	require.NoError(t, w.Submit(w.plan, 1, w.slots, []int64{-5000}, w.floats))
	assert.EqualError(t, w.Read(dst, b, 0), "buffer_read: device lost: negative sum (native code 719)")
	assert.EqualError(t, w.Write(b, 0, src), "buffer_write: device lost: negative sum (native code 719)")
	require.NoError(t, none.Read(dst, b, 0))

	stranger, err := Load(build(t, "-DFAKE_ABI=0x10001"))
	require.NoError(t, err)
	other := &Buffer{lib: stranger, handle: w.slots[0].Buffer}
	assert.EqualError(t, w.Write(other, 0, src),
		"buffer_write: invalid argument: a buffer of backend fake on a stream of backend fake")
}

// Cancel may race with everything, Close included; run under the race detector.
func TestCancelFromOtherGoroutines(t *testing.T) {
	w := newWork(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for tag := range uint64(200) {
				w.Cancel(tag)
			}
		})
	}
	for tag := range uint64(100) {
		if err := w.Submit(w.plan, 1000+tag, w.slots, w.ints, w.floats); err != nil {
			t.Error(err)
		}
	}
	w.Close()
	all.Wait()
	w.Cancel(1)
}

func TestClosedHandles(t *testing.T) {
	w := newWork(t)
	w.Close()
	w.Close()
	b := &Buffer{lib: w.lib, handle: w.slots[0].Buffer}
	for call, err := range map[string]error{
		"stream_submit": w.Submit(w.plan, 1, w.slots, w.ints, w.floats),
		"stream_sync":   w.Sync(),
		"buffer_write":  w.Write(b, 0, nil),
		"buffer_read":   w.Read(nil, b, 0),
		"buffer_copy":   w.Copy(b, 0, b, 0, 0),
	} {
		assert.EqualError(t, err, call+": invalid argument: the stream is closed")
	}
	_, err := w.Clock()
	assert.EqualError(t, err, "stream_clock: invalid argument: the stream is closed")

	d := &Device{lib: w.lib}
	d.Close()
	_, errInfo := d.Info()
	_, errAlloc := d.Alloc(1, false)
	_, errWrap := d.Wrap(nil, 0)
	_, errPlan := d.OpenPlan(tables())
	_, errStream := d.OpenStream()
	for call, err := range map[string]error{"device_info": errInfo, "buffer_alloc": errAlloc, "buffer_wrap": errWrap,
		"plan_open": errPlan, "stream_open": errStream, "op_supported": d.OpSupported(tables(), 0),
		"set_option": d.SetOption("math", "strict")} {
		assert.EqualError(t, err, call+": invalid argument: the device is closed")
	}
}

func TestSubmitDoesNotAllocate(t *testing.T) {
	w := newWork(t)
	tag := uint64(0)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		tag++
		slots := [2]Slot{w.slots[0], w.slots[1]} // on the stack: nothing here may escape
		if err := w.Submit(w.plan, tag, slots[:], w.ints, w.floats); err != nil {
			t.Error(err)
		}
		if err := w.Sync(); err != nil {
			t.Error(err)
		}
	}))
}

func BenchmarkSubmit(b *testing.B) {
	w := newWork(b)
	b.ReportAllocs()
	for tag := uint64(1); b.Loop(); tag++ {
		if err := w.Submit(w.plan, tag, w.slots, w.ints, w.floats); err != nil {
			b.Fatal(err)
		}
	}
}

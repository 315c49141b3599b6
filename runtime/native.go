package runtime

import (
	"fmt"
	"unsafe"

	"github.com/credence-ml/credence/bindings"
	"github.com/credence-ml/credence/ops"
)

// nativeDevice is a device of a C backend.
type nativeDevice struct {
	backend string
	d       *bindings.Device
}

func (n *nativeDevice) info() DeviceInfo {
	i, err := n.d.Info()
	if err != nil {
		return DeviceInfo{Backend: n.backend, Detail: err.Error()}
	}
	return infoOf(n.backend, i)
}

func infoOf(backend string, i bindings.DeviceInfo) DeviceInfo {
	return DeviceInfo{Backend: backend, Index: i.Index, Name: i.Name, UUID: i.UUID, Arch: i.Arch, Detail: i.Detail,
		MemoryTotal: int64(i.MemoryTotal), MemoryFree: int64(i.MemoryFree), ComputeUnits: i.ComputeUnits}
}

func (n *nativeDevice) alloc(bytes int64) (buffer, error) {
	if bytes < 0 {
		return nil, newError("allocate", ErrInvalidArgument, fmt.Sprintf("%d bytes", bytes))
	}
	b, err := n.d.Alloc(uint64(bytes), false)
	if err != nil {
		return nil, fromNative("allocate", err)
	}
	return newNativeBuffer(b, bytes), nil
}

func (n *nativeDevice) wrap(data []byte) (buffer, error) {
	b, err := n.d.Wrap(unsafe.Pointer(unsafe.SliceData(data)), uint64(len(data)))
	if err != nil {
		return nil, fromNative("wrap", err)
	}
	return newNativeBuffer(b, int64(len(data))), nil
}

func (n *nativeDevice) close() { n.d.Close() }

func (n *nativeDevice) openStream() (stream, error) {
	s, err := n.d.OpenStream()
	if err != nil {
		return nil, fromNative("open stream", err)
	}
	return &nativeStream{d: n.d, s: s}, nil
}

func (n *nativeDevice) openPlan(p *ops.Program) (devicePlan, error) {
	plan, err := n.d.OpenPlan(tablesOf(p))
	if err != nil {
		return nil, fromNative("open plan", err)
	}
	return &nativePlan{plan, p}, nil
}

type nativeBuffer struct {
	b      *bindings.Buffer
	bytes  int64
	memory []byte
}

func newNativeBuffer(b *bindings.Buffer, bytes int64) *nativeBuffer {
	n := &nativeBuffer{b: b, bytes: bytes}
	if p := b.Host(); p != nil {
		n.memory = unsafe.Slice((*byte)(p), bytes)
	}
	return n
}

func (b *nativeBuffer) size() int64  { return b.bytes }
func (b *nativeBuffer) host() []byte { return b.memory }
func (b *nativeBuffer) free() {
	b.memory = nil
	b.b.Free()
}

type nativePlan struct {
	p       *bindings.Plan
	program *ops.Program
}

func (p *nativePlan) close() { p.p.Close() }

type nativeStream struct {
	d       *bindings.Device
	s       *bindings.Stream
	slots   []bindings.Slot
	fetched fetched
}

func (s *nativeStream) run(p devicePlan, tag uint64, slots []slot, ints []int64, floats []float64) error {
	s.slots = s.slots[:0]
	for _, x := range slots {
		b := x.b.(*nativeBuffer)
		s.slots = append(s.slots, bindings.Slot{Buffer: b.b.Pointer(), Size: uint64(b.bytes)})
	}
	plan, arena := p.(*nativePlan), slots[0].b.(*nativeBuffer)
	if arena.memory != nil || len(plan.program.Outputs) == 0 {
		s.fetched.drop()
		if err := s.s.Run(plan.p, tag, s.slots, ints, floats); err != nil {
			return fromNative("run", err)
		}
		return nil
	}
	err := s.fetched.prepare(s.d, plan.program, ints)
	if err == nil {
		if err = s.s.Submit(plan.p, tag, s.slots, ints, floats); err == nil {
			err = s.fetched.queue(s.s, arena)
			if late := s.s.Sync(); err == nil { // whatever happened: nothing is under way on return
				err = late
			}
		}
	}
	if err != nil {
		s.fetched.drop()
		return fromNative("run", err)
	}
	return nil
}

func (s *nativeStream) cancel(tag uint64) { s.s.Cancel(tag) }

func (s *nativeStream) wait() error {
	if err := s.s.Sync(); err != nil {
		return fromNative("wait", err)
	}
	return nil
}

func (s *nativeStream) close() {
	s.s.Close()
	s.fetched.close()
}

func (s *nativeStream) write(dst buffer, offset int64, src []byte) error {
	b := dst.(*nativeBuffer)
	if b.memory != nil {
		return copyHost(b.memory, offset, src, true)
	}
	s.fetched.drop()
	if err := s.s.Post(b.b, uint64(offset), src); err != nil {
		return fromNative("write", err)
	}
	return nil
}

func (s *nativeStream) read(dst []byte, src buffer, offset int64) error {
	b := src.(*nativeBuffer)
	if b.memory != nil {
		return copyHost(b.memory, offset, dst, false)
	}
	if s.fetched.copyTo(dst, b, offset) {
		return nil
	}
	if err := s.s.Read(dst, b.b, uint64(offset)); err != nil {
		return fromNative("read", err)
	}
	return nil
}

// tablesOf writes a program as the flat tables of credence_plan_desc.
func tablesOf(p *ops.Program) *bindings.Tables {
	t := &bindings.Tables{FloatArgs: len(p.FloatNames)}
	for _, r := range p.IntRange {
		t.IntMin, t.IntMax = append(t.IntMin, r[0]), append(t.IntMax, r[1])
	}
	for _, n := range p.SlotBytes {
		t.SlotBytes = append(t.SlotBytes, uint64(n))
	}
	for _, op := range p.Ops {
		t.Ops = append(t.Ops, bindings.Op{Opcode: uint32(op.Def.Opcode), NIn: uint32(len(op.In)), NOut: uint32(len(op.Out)),
			NInOut: uint32(len(op.InOut)), NI: uint32(len(op.Ints)), NF: uint32(len(op.Floats)),
			FirstTensor: uint32(len(t.Tensors)), FirstI: uint32(len(t.Ints)), FirstF: uint32(len(t.Floats))})
		for _, list := range [][]ops.Place{op.In, op.Out, op.InOut} {
			for _, x := range list {
				b := bindings.Tensor{Slot: int32(x.Slot), DType: int32(x.DType), NDim: int32(len(x.Shape)), Base: x.Base, Offset: nativeInt(x.Offset)}
				for k := range x.Shape {
					b.Dim[k], b.Stride[k] = nativeInt(x.Shape[k]), x.Strides[k]
				}
				t.Tensors = append(t.Tensors, b)
			}
		}
		for _, v := range op.Ints {
			t.Ints = append(t.Ints, nativeInt(v))
		}
		for _, v := range op.Floats {
			t.Floats = append(t.Floats, bindings.Scalar{Value: v.V, Arg: int32(v.Arg) - 1})
		}
	}
	return t
}

func nativeInt(v ops.Int) bindings.Value { return bindings.Value{Value: v.N, Arg: int32(v.Arg) - 1} }

package runtime

import (
	"fmt"

	"github.com/credence-ml/credence/ops"
)

// A Plan is a compiled graph: memory placed, shapes proven, ready to be bound by any number of sessions. It is
// immutable and safe for concurrent use.
type Plan struct {
	rt       *Runtime
	name     string
	program  *ops.Program
	native   devicePlan
	singles  []devicePlan // one per operation, only under CREDENCE_VALIDATE=go
	constant buffer
	refs     *refs
}

// Compile places the graph's memory and opens it as a plan on the runtime's device. The name appears in errors. The
// graph must not be changed afterwards.
func (rt *Runtime) Compile(g *ops.Graph, name string) (*Plan, error) {
	roots, err := g.Roots()
	if err != nil {
		return nil, newError("compile "+name, ErrInvalidArgument, err.Error())
	}
	return rt.compile(g, name, planMemory(roots))
}

func (rt *Runtime) compile(g *ops.Graph, name string, where ops.Lowering) (*Plan, error) {
	program, err := g.Lower(where)
	if err != nil {
		return nil, newError("compile "+name, ErrInvalidArgument, err.Error())
	}
	p := &Plan{rt: rt, name: name, program: program}
	if err := rt.enter(); err != nil {
		return nil, err
	}
	defer rt.leave()
	if p.native, err = rt.dev.openPlan(program); err != nil {
		return nil, fmt.Errorf("compile %s: %w", name, err)
	}
	p.refs = newRefs(p.free)
	live.plans.Add(1)
	if program.ConstSlot >= 0 {
		if p.constant, err = rt.alloc(program.SlotBytes[program.ConstSlot]); err == nil {
			err = rt.upload(p.constant, 0, program.Constants)
		}
	}
	if err == nil && rt.config.Validate {
		err = p.openSingles()
	}
	if err != nil {
		p.refs.close()
		return nil, fmt.Errorf("compile %s: %w", name, err)
	}
	rt.adopt(p)
	return p, nil
}

// Peak is the number of bytes a session's arena needs to run the plan, known before anything runs.
func (p *Plan) Peak() int64 { return p.program.SlotBytes[0] }

// Name is the name given to Compile.
func (p *Plan) Name() string { return p.name }

// Operations is the number of operations in the plan.
func (p *Plan) Operations() int { return len(p.program.Ops) }

// Close lets go of the plan. Sessions that have it bound get ErrClosed from then on. Closing twice does nothing.
func (p *Plan) Close() {
	if p.refs.close() {
		p.rt.disown(p)
	}
}

func (p *Plan) free() {
	p.native.close()
	for _, s := range p.singles {
		s.close()
	}
	if p.constant != nil {
		p.rt.release(p.constant)
	}
	live.plans.Add(-1)
}

// Memory is device memory bound to a segment: parameters, gradients, moments, statistics. Several sessions and plans
// may use it; what they may do at once is the model's affair.
type Memory struct {
	rt      *Runtime
	Segment *ops.Segment
	buffer  buffer
	refs    *refs
}

// Allocate makes zero-filled memory for a segment.
func (rt *Runtime) Allocate(s *ops.Segment) (*Memory, error) {
	if err := rt.enter(); err != nil {
		return nil, err
	}
	defer rt.leave()
	b, err := rt.alloc(s.Bytes())
	if err != nil {
		return nil, fmt.Errorf("segment %s: %w", s.Name, err)
	}
	return rt.newMemory(s, b, rt.release), nil
}

// Map binds a segment to host memory that stays mapped and unchanged until the Memory is closed: a weight file. The
// device reads it where it lies if it can.
func (rt *Runtime) Map(s *ops.Segment, data []byte) (*Memory, error) {
	if int64(len(data)) < s.Bytes() {
		return nil, newError("map", ErrInvalidArgument, fmt.Sprintf("segment %s needs %d bytes, the mapping has %d", s.Name, s.Bytes(), len(data)))
	}
	if err := rt.enter(); err != nil {
		return nil, err
	}
	defer rt.leave()
	b, err := rt.dev.wrap(data[:s.Bytes()])
	if err != nil {
		return nil, fmt.Errorf("segment %s: %w", s.Name, rt.explainMemory(err))
	}
	live.buffers.Add(1)
	if b.host() == nil { // a copy
		if err := rt.charge(b.size()); err != nil {
			rt.unwrap(b)
			return nil, fmt.Errorf("segment %s: %w", s.Name, err)
		}
		return rt.newMemory(s, b, rt.release), nil
	}
	return rt.newMemory(s, b, rt.unwrap), nil
}

func (rt *Runtime) newMemory(s *ops.Segment, b buffer, free func(buffer)) *Memory {
	m := &Memory{rt: rt, Segment: s, buffer: b}
	m.refs = newRefs(func() { free(b) })
	rt.adopt(m)
	return m
}

// Close lets go of the memory. Closing twice does nothing.
func (m *Memory) Close() {
	if m.refs.close() {
		m.rt.disown(m)
	}
}

// Write stores values into a float32 variable of the segment; len(values) must be its size.
func (m *Memory) Write(v *ops.Var, values []float32) error {
	if err := m.check(v, ops.F32, len(values)); err != nil {
		return err
	}
	return m.transfer(func() error { return m.rt.upload(m.buffer, v.Offset, bytesOf(values)) })
}

// Read loads a float32 variable of the segment; len(values) must be its size.
func (m *Memory) Read(v *ops.Var, values []float32) error {
	if err := m.check(v, ops.F32, len(values)); err != nil {
		return err
	}
	return m.transfer(func() error { return m.rt.download(bytesOf(values), m.buffer, v.Offset) })
}

// WriteAll stores the whole segment, as ReadAll gave it.
func (m *Memory) WriteAll(data []byte) error {
	if int64(len(data)) != m.buffer.size() {
		return newError("write", ErrInvalidArgument, fmt.Sprintf("segment %s has %d bytes, %d were given", m.Segment.Name, m.buffer.size(), len(data)))
	}
	return m.transfer(func() error { return m.rt.upload(m.buffer, 0, data) })
}

// ReadAll is a copy of the whole segment.
func (m *Memory) ReadAll() ([]byte, error) {
	data := make([]byte, m.buffer.size())
	return data, m.transfer(func() error { return m.rt.download(data, m.buffer, 0) })
}

func (m *Memory) transfer(f func() error) error {
	if !m.refs.acquire() {
		return newError("segment "+m.Segment.Name, ErrClosed, "")
	}
	defer m.refs.release()
	return f()
}

func (m *Memory) check(v *ops.Var, t ops.DType, n int) error {
	if v.Segment != m.Segment {
		return newError("variable "+v.Name, ErrInvalidArgument, fmt.Sprintf("belongs to segment %s, the memory to %s", v.Segment.Name, m.Segment.Name))
	}
	if v.DType != t || v.Count() != int64(n) {
		return newError("variable "+v.Name, ErrInvalidArgument, fmt.Sprintf("is %v%v (%d elements), %d of %v were given", v.DType, v.Dims, v.Count(), n, t))
	}
	return nil
}

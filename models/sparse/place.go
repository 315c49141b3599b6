package sparse

import (
	"fmt"

	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime"
)

// placement decides where each tensor lies for the device: a segment per mapped file, and one for what is copied.
type placement struct {
	c      *Checkpoint
	files  []*ops.Segment
	copied *ops.Segment
	copies map[*ops.Var]stored
}

func newPlacement(c *Checkpoint) *placement {
	p := &placement{c: c, copied: ops.NewSegment("copied"), copies: map[*ops.Var]stored{}}
	for i := range c.parts {
		p.files = append(p.files, ops.NewSegment(fmt.Sprintf("file %d", i)))
	}
	return p
}

// place gives a tensor its variable, and the name that it has in the model.
func (p *placement) place(w want) (string, *ops.Var, error) {
	t, transposed, err := p.c.find(w)
	if err != nil {
		return "", nil, err
	}
	if transposed {
		w.role = transposedName(w.role)
	}
	if w.matrix() {
		v, err := p.matrix(t)
		return w.role, v, err
	}
	v := p.copied.Add(t.name, ops.F32, t.shape...)
	p.copies[v] = t
	return w.role, v, nil
}

// matrix leaves a tensor where it is mapped, if it is mapped and lies as kernels read: at a multiple of its elements.
func (p *placement) matrix(t stored) (*ops.Var, error) {
	align := t.dtype.BlockBytes()
	if t.dtype.Block() > 1 {
		align = 2
	}
	if p.c.parts[t.part].Padded != nil && t.offset%align == 0 {
		return p.files[t.part].AddAt(t.offset, t.name, t.dtype, t.shape...)
	}
	v := p.copied.Add(t.name, t.dtype, t.shape...)
	p.copies[v] = t
	return v, nil
}

// bind makes the memory of all segments.
func (p *placement) bind(rt *runtime.Runtime) (memories []*runtime.Memory, err error) {
	for i, segment := range p.files {
		if segment.Bytes() == 0 {
			continue
		}
		m, err := rt.Map(segment, p.c.parts[i].Padded)
		if err != nil {
			return memories, err
		}
		memories = append(memories, m)
	}
	m, err := rt.Allocate(p.copied)
	if err != nil {
		return memories, err
	}
	memories = append(memories, m)
	data := make([]byte, p.copied.Bytes())
	for v, t := range p.copies {
		to := data[v.Offset : v.Offset+v.Bytes()]
		if v.DType == t.dtype {
			copy(to, t.data)
			continue
		}
		values, err := t.float32s()
		if err == nil {
			err = ops.Pack(v.DType, values, to)
		}
		if err != nil {
			return memories, fmt.Errorf("tensor %q: %w", t.name, err)
		}
	}
	return memories, m.WriteAll(data)
}

package ops

import "fmt"

// Evaluate runs a case's graph on the reference and returns the values of ts, which must have been marked as outputs
// before the program was lowered or be inputs.
func (c *CaseGraph) Evaluate(p *Program, m Memory, ts []Tensor) ([]*Dense, error) {
	for _, in := range c.inputs {
		at := p.Places[in.Tensor]
		if err := at.Write(&in.Data, m, c.ints); err != nil {
			return nil, err
		}
	}
	if err := p.RunReference(m, c.ints, c.floats, nil); err != nil {
		return nil, err
	}
	var r []*Dense
	for _, t := range ts {
		at, ok := p.Places[t]
		if !ok {
			return nil, fmt.Errorf("%v is not an output", t)
		}
		d, err := at.Read(m, c.ints)
		if err != nil {
			return nil, err
		}
		r = append(r, d)
	}
	return r, nil
}

// NewMemory allocates what a program needs, with the constants in place.
func (p *Program) NewMemory() Memory {
	m := make(Memory, len(p.SlotBytes))
	for i, n := range p.SlotBytes {
		m[i] = make([]byte, n)
	}
	if p.ConstSlot >= 0 {
		copy(m[p.ConstSlot], p.Constants)
	}
	return m
}

// Promote makes every float32 tensor of the case float64, so that a reference run rounds nothing on the way: what finite
// differences need. It comes after recording and before lowering; the graph is then for the reference alone.
func (g *CaseGraph) Promote() {
	for i := range g.tensors {
		t := &g.tensors[i]
		if t.dtype != F32 {
			continue
		}
		t.dtype = F64
		t.base *= 2
		t.offset.N *= 2
		t.strides = append([]int64(nil), t.strides...)
		for k := range t.strides {
			t.strides[k] *= 2
		}
		if t.kind == kindConst && t.root == int32(i) {
			wide := make([]byte, 2*len(t.data))
			for k := 0; k < len(t.data)/4; k++ {
				putElement(F64, wide[8*k:], getElement(F32, t.data[4*k:]))
			}
			t.data = wide
		}
	}
}

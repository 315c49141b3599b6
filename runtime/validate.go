package runtime

import (
	"context"
	"fmt"

	"github.com/credence-ml/credence/ops"
)

// Under CREDENCE_VALIDATE=go every operation is run alone on the device and again on the float64 reference, from the
// device's own inputs, and each element must agree within the operation's bound. The compliance suite is this, run over
// every operation's cases.

func (p *Plan) openSingles() error {
	for i := range p.program.Ops {
		single := *p.program
		single.Ops = p.program.Ops[i : i+1]
		d, err := p.rt.dev.openPlan(&single)
		if err != nil {
			return err
		}
		p.singles = append(p.singles, d)
	}
	if p.singles == nil {
		p.singles = []devicePlan{}
	}
	return nil
}

func (b *Binding) runValidated(ctx context.Context) error {
	program := b.plan.program
	for i := range program.Ops {
		if ctx != nil && ctx.Err() != nil {
			return cancelled("validate", ctx)
		}
		op := &program.Ops[i]
		memory, err := b.snapshot(op)
		if err != nil {
			return err
		}
		call, err := op.Load(memory, b.ints, b.floats)
		if err != nil {
			return newError("validate", ErrInternal, err.Error())
		}
		b.s.tag++ // every submission has a tag of its own
		if err := b.s.stream.run(b.plan.singles[i], b.s.tag, b.slots, b.ints, b.floats); err != nil {
			return err
		}
		if memory, err = b.snapshot(op); err != nil {
			return err
		}
		if err := op.Check(call, memory, b.ints); err != nil {
			return newError("validate", ErrInternal, fmt.Sprintf("operation %d, %s, on %s: %v", i, op.Def.Name, b.s.rt.dev.info().Backend, err))
		}
	}
	return nil
}

// snapshot reads the slots that an operation touches.
func (b *Binding) snapshot(op *ops.ProgramOp) (ops.Memory, error) {
	m := make(ops.Memory, len(b.slots))
	for _, list := range [][]ops.Place{op.In, op.Out, op.InOut} {
		for _, t := range list {
			if m[t.Slot] != nil {
				continue
			}
			buf := b.slots[t.Slot].b
			if host := buf.host(); host != nil {
				m[t.Slot] = host
				continue
			}
			m[t.Slot] = make([]byte, buf.size())
			if err := b.s.stream.read(m[t.Slot], buf, 0); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

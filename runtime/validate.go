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
		single.Ops, single.Outputs = p.program.Ops[i:i+1], nil
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
	image := make(ops.Memory, len(b.slots)) // of the slots as operations left them
	for i := range program.Ops {
		if ctx != nil && ctx.Err() != nil {
			return cancelled("validate", ctx)
		}
		op := &program.Ops[i]
		if err := b.snapshot(image, op); err != nil {
			return err
		}
		call, err := op.Load(image, b.ints, b.floats)
		if err != nil {
			return newError("validate", ErrInternal, err.Error())
		}
		b.s.tag++ // every submission has a tag of its own
		if err := b.s.stream.run(b.plan.singles[i], b.s.tag, b.slots, b.ints, b.floats); err != nil {
			return err
		}
		if err := b.refresh(image, op); err != nil {
			return err
		}
		if err := op.Check(call, image, b.ints); err != nil {
			return newError("validate", ErrInternal, fmt.Sprintf("operation %d, %s, on %s: %v", i, op.Def.Name, b.s.rt.dev.info().Backend, err))
		}
	}
	return nil
}

// snapshot reads the slots that an operation touches, those that the image does not have yet.
func (b *Binding) snapshot(image ops.Memory, op *ops.ProgramOp) error {
	for _, list := range [][]ops.Place{op.In, op.Out, op.InOut} {
		for _, t := range list {
			if image[t.Slot] != nil {
				continue
			}
			buf := b.slots[t.Slot].b
			if image[t.Slot] = buf.host(); image[t.Slot] != nil {
				continue
			}
			image[t.Slot] = make([]byte, buf.size())
			if err := b.s.stream.read(image[t.Slot], buf, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// refresh reads what an operation wrote, where the image is a copy.
func (b *Binding) refresh(image ops.Memory, op *ops.ProgramOp) error {
	for _, list := range [][]ops.Place{op.Out, op.InOut} {
		for i := range list {
			t := &list[i]
			buf := b.slots[t.Slot].b
			if buf.host() != nil {
				continue
			}
			if from, to := extent(t, b.ints); to > from {
				if err := b.s.stream.read(image[t.Slot][from:to], buf, from); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// extent is the range of bytes [from, to) of its slot that a tensor lies in; empty where it has no elements.
func extent(t *ops.Place, ints []int64) (from, to int64) {
	from = t.Base + t.Offset.At(ints)
	to = from + t.DType.BlockBytes()
	for k, d := range t.Shape.At(ints) {
		if d == 0 {
			return from, from
		}
		if k == len(t.Shape)-1 && t.DType.Block() > 1 {
			to += t.DType.RowBytes(d) - t.DType.BlockBytes()
			continue
		}
		if reach := (d - 1) * t.Strides[k]; reach < 0 {
			from += reach
		} else {
			to += reach
		}
	}
	return from, to
}

package ops

import (
	"fmt"
	"math"
)

// Check runs the reference on a loaded call and compares what a device left in memory with it, element by element:
// within the operation's bound plus the rounding of the result to its type; NaN must meet NaN and Inf the same Inf.
func (op *ProgramOp) Check(call *RefCall, m Memory, ints []int64) error {
	if err := op.Def.Reference(call); err != nil {
		return fmt.Errorf("the reference refuses what the device computed: %w", err)
	}
	bounds := op.Def.Bound(call, Eps32)
	for k, t := range append(append([]Place(nil), op.Out...), op.InOut...) {
		got, err := t.Read(m, ints)
		if err != nil {
			return err
		}
		want := call.Out
		j := k
		if k >= len(op.Out) {
			want, j = call.InOut, k-len(op.Out)
		}
		if err := compare(got, want[j], bounds[k]); err != nil {
			return fmt.Errorf("result %d: %w", k, err)
		}
	}
	return nil
}

func compare(got, want *Dense, bound []float64) error {
	var square, norm float64
	for i := range want.Data {
		g, w := got.Data[i], roundTo(want.DType, want.Data[i])
		if !agrees(want.DType, g, want.Data[i], w, bound[i]) {
			return fmt.Errorf("element %d of %v%v is %v, the reference has %v, the bound is %.3g", i, want.DType, want.Shape, g, want.Data[i], bound[i])
		}
		if !math.IsInf(w, 0) && !math.IsNaN(w) {
			square += (g - w) * (g - w)
			norm += w * w
		}
	}
	if want.DType == F32 && square > 1e-12*norm && square > 1e-60 {
		return fmt.Errorf("normalised mean squared error %.3g of %v%v is above 1e-12", square/norm, want.DType, want.Shape)
	}
	return nil
}

// agrees compares a result with the reference's value w, and with it rounded to the type.
func agrees(t DType, got, w, rounded, bound float64) bool {
	switch {
	case math.IsNaN(rounded):
		return math.IsNaN(got)
	case math.IsInf(rounded, 0):
		// overflow: the bound may reach below the largest number
		return got == rounded || bound > 0 && math.Abs(got) >= math.MaxFloat32*(1-bound/math.Abs(w)) && !math.IsNaN(got)
	case got == rounded:
		return true
	case bound == 0:
		return false
	}
	var unit, tiny float64
	switch t {
	case F32:
		unit, tiny = Eps32, 0x1p-149
	case F16:
		unit, tiny = 1.0/(1<<11), 0x1p-24
	case BF16:
		unit, tiny = 1.0/(1<<8), 0x1p-133
	case F64:
		unit, tiny = 0x1p-53, 0x1p-1074
	}
	return math.Abs(got-w) <= bound+unit*math.Abs(w)+tiny
}

// roundTo is v as the type stores it.
func roundTo(t DType, v float64) float64 {
	if t.Block() > 1 {
		return v
	}
	var b [8]byte
	putElement(t, b[:], v)
	return getElement(t, b[:])
}

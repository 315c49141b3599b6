package ops

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Dense is a tensor as the reference sees it: float64 values in row-major order, whatever the storage type. Integers up
// to 2^53 are exact.
type Dense struct {
	DType DType
	Shape []int
	Data  []float64
}

// Len is the number of elements.
func (d *Dense) Len() int { return len(d.Data) }

// Dim is dimension k; a negative k counts from the innermost.
func (d *Dense) Dim(k int) int {
	if k < 0 {
		k += len(d.Shape)
	}
	return d.Shape[k]
}

// RefCall is one operation for the reference: inputs filled, outputs zero, inouts with the values before.
type RefCall struct {
	In, Out, InOut []*Dense
	Ints           []int64
	Floats         []float64
}

// HasIn reports whether the optional input i is there.
func (c *RefCall) HasIn(i int) bool { return i < len(c.In) }

// Memory is what a program's slots are bound to, for the reference.
type Memory [][]byte

// RunReference executes a program in float64, rounding each result to its storage type as a device does. stop is asked
// before every operation; a non-nil error ends the run with it.
func (p *Program) RunReference(m Memory, ints []int64, floats []float64, stop func() error) error {
	if err := p.CheckArguments(m, ints, floats); err != nil {
		return err
	}
	for i := range p.Ops {
		if stop != nil {
			if err := stop(); err != nil {
				return err
			}
		}
		op := &p.Ops[i]
		call, err := op.Load(m, ints, floats)
		if err == nil {
			err = op.Def.Reference(call)
		}
		if err == nil {
			err = op.store(call, m, ints)
		}
		if err != nil {
			return fmt.Errorf("op %d, %s: %w", i, op.Def.Name, err)
		}
	}
	return nil
}

// CheckArguments reports what is wrong with a submission: counts, ranges, sizes.
func (p *Program) CheckArguments(m Memory, ints []int64, floats []float64) error {
	if len(m) != len(p.SlotBytes) {
		return fmt.Errorf("%d slots bound, the plan has %d", len(m), len(p.SlotBytes))
	}
	for i, b := range m {
		if int64(len(b)) < p.SlotBytes[i] {
			return fmt.Errorf("slot %d has %d bytes, the plan needs %d", i, len(b), p.SlotBytes[i])
		}
	}
	return p.CheckScalars(ints, floats)
}

// CheckScalars reports what is wrong with the arguments of a submission.
func (p *Program) CheckScalars(ints []int64, floats []float64) error {
	if len(ints) != len(p.IntRange) || len(floats) != len(p.FloatNames) {
		return fmt.Errorf("%d integer and %d scalar arguments given, the plan has %v and %v", len(ints), len(floats),
			p.IntNames, p.FloatNames)
	}
	for i, v := range ints {
		if r := p.IntRange[i]; v < r[0] || v > r[1] {
			return fmt.Errorf("argument %s is %d, outside %d to %d", p.IntNames[i], v, r[0], r[1])
		}
	}
	return nil
}

// Load reads an operation's tensors into a reference call.
func (op *ProgramOp) Load(m Memory, ints []int64, floats []float64) (*RefCall, error) {
	c := &RefCall{}
	for _, v := range op.Ints {
		c.Ints = append(c.Ints, v.At(ints))
	}
	for _, v := range op.Floats {
		c.Floats = append(c.Floats, v.At(floats))
	}
	for _, t := range op.In {
		d, err := t.Read(m, ints)
		if err != nil {
			return nil, err
		}
		c.In = append(c.In, d)
	}
	for _, t := range op.InOut {
		d, err := t.Read(m, ints)
		if err != nil {
			return nil, err
		}
		c.InOut = append(c.InOut, d)
	}
	for _, t := range op.Out {
		c.Out = append(c.Out, t.empty(ints))
	}
	return c, nil
}

func (op *ProgramOp) store(c *RefCall, m Memory, ints []int64) error {
	for i, t := range op.Out {
		if err := t.Write(c.Out[i], m, ints); err != nil {
			return err
		}
	}
	for i, t := range op.InOut {
		if err := t.Write(c.InOut[i], m, ints); err != nil {
			return err
		}
	}
	return nil
}

func (t *Place) empty(ints []int64) *Dense {
	d := &Dense{DType: t.DType, Shape: make([]int, len(t.Shape))}
	n := 1
	for k, v := range t.Shape.At(ints) {
		d.Shape[k] = int(v)
		n *= int(v)
	}
	d.Data = make([]float64, n)
	return d
}

// Read loads the tensor's elements.
func (t *Place) Read(m Memory, ints []int64) (*Dense, error) {
	d := t.empty(ints)
	b := m[t.Slot]
	start := t.Base + t.Offset.At(ints)
	if t.DType.Block() > 1 {
		return d, readBlocks(d, t, b, start)
	}
	err := t.walk(d.Shape, start, int64(len(b)), func(i int, at int64) { d.Data[i] = getElement(t.DType, b[at:]) })
	return d, err
}

// Write stores d, rounding to the tensor's type; to blocks as quantizeRow does.
func (t *Place) Write(d *Dense, m Memory, ints []int64) error {
	b := m[t.Slot]
	if t.DType.Block() > 1 {
		return eachBlockRow(d, t, b, t.Base+t.Offset.At(ints), func(row []byte, values []float64) { quantizeRow(t.DType, values, row) })
	}
	return t.walk(d.Shape, t.Base+t.Offset.At(ints), int64(len(b)), func(i int, at int64) { putElement(t.DType, b[at:], d.Data[i]) })
}

// walk visits the elements in row-major order with their byte addresses, proving first that all lie in the memory.
func (t *Place) walk(shape []int, start, size int64, visit func(i int, at int64)) error {
	n, lo, hi := 1, start, start+t.DType.BlockBytes()
	for k, d := range shape {
		n *= d
		if d > 0 {
			if step := int64(d-1) * t.Strides[k]; step > 0 {
				hi += step
			} else {
				lo += step
			}
		}
	}
	if n == 0 {
		return nil
	}
	if lo < 0 || hi > size {
		return fmt.Errorf("%s%v reaches bytes %d to %d of a slot of %d", t.Name, shape, lo, hi, size)
	}
	index := make([]int, len(shape))
	at := start
	for i := 0; i < n; i++ {
		visit(i, at)
		for k := len(shape) - 1; k >= 0; k-- {
			index[k]++
			at += t.Strides[k]
			if index[k] < shape[k] {
				break
			}
			at -= int64(index[k]) * t.Strides[k]
			index[k] = 0
		}
	}
	return nil
}

func getElement(t DType, b []byte) float64 {
	switch t {
	case F32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	case F64:
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	case F16:
		return float64(float32FromHalf(binary.LittleEndian.Uint16(b)))
	case BF16:
		return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16))
	case I32:
		return float64(int32(binary.LittleEndian.Uint32(b)))
	case I64:
		return float64(int64(binary.LittleEndian.Uint64(b)))
	case U8:
		return float64(b[0])
	}
	return math.NaN()
}

func putElement(t DType, b []byte, v float64) {
	switch t {
	case F32:
		binary.LittleEndian.PutUint32(b, math.Float32bits(float32(v)))
	case F64:
		binary.LittleEndian.PutUint64(b, math.Float64bits(v))
	case F16:
		binary.LittleEndian.PutUint16(b, halfFromFloat32(float32(v)))
	case BF16:
		binary.LittleEndian.PutUint16(b, bfloatFromFloat32(float32(v)))
	case I32:
		binary.LittleEndian.PutUint32(b, uint32(int32(toInteger(v, math.MinInt32, math.MaxInt32))))
	case I64:
		binary.LittleEndian.PutUint64(b, uint64(toInteger(v, math.MinInt64, math.MaxInt64)))
	case U8:
		b[0] = uint8(toInteger(v, 0, 255))
	}
}

// toInteger rounds to nearest even and saturates; NaN becomes 0.
func toInteger(v float64, lo, hi int64) int64 {
	switch r := math.RoundToEven(v); {
	case math.IsNaN(r):
		return 0
	case r <= float64(lo):
		return lo
	case r >= float64(hi):
		return hi
	default:
		return int64(r)
	}
}

// bfloatFromFloat32 rounds to nearest even; NaN stays NaN.
func bfloatFromFloat32(f float32) uint16 {
	u := math.Float32bits(f)
	if f != f {
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}

// halfFromFloat32 rounds to nearest even, with subnormals; too large becomes Inf; NaN stays NaN.
func halfFromFloat32(f float32) uint16 {
	u := math.Float32bits(f)
	sign := uint16(u >> 16 & 0x8000)
	exp, man := int32(u>>23&0xff), u&0x7fffff
	switch {
	case exp == 0xff && man != 0:
		return sign | 0x7e00
	case exp >= 143: // 2^16 and more, Inf
		return sign | 0x7c00
	case exp <= 101: // below half of the smallest subnormal
		return sign
	}
	if exp <= 112 { // subnormal
		man |= 0x800000
		shift := uint32(126 - exp)
		half := uint32(1) << (shift - 1)
		r := man >> shift
		rest := man & (1<<shift - 1)
		if rest > half || rest == half && r&1 == 1 {
			r++
		}
		return sign | uint16(r)
	}
	r := uint32(exp-112)<<10 | man>>13
	rest := man & 0x1fff
	if rest > 0x1000 || rest == 0x1000 && r&1 == 1 {
		r++ // may carry into Inf, as it should
	}
	return sign | uint16(r)
}

func float32FromHalf(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp, man := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch {
	case exp == 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | man<<13)
	case exp == 0:
		v := float32(man) * (1.0 / (1 << 24))
		if sign != 0 {
			v = -v
		}
		return v
	}
	return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
}

// readBlocks dequantises Q8_0 and Q4_0 rows (GGUF layout).
func readBlocks(d *Dense, t *Place, b []byte, start int64) error {
	return eachBlockRow(d, t, b, start, func(row []byte, values []float64) { dequantizeRow(t.DType, row, values) })
}

// eachBlockRow visits the rows of a block-quantised tensor: their bytes, and their elements in d.
func eachBlockRow(d *Dense, t *Place, b []byte, start int64, visit func(row []byte, values []float64)) error {
	if len(d.Data) == 0 {
		return nil
	}
	inner := d.Shape[len(d.Shape)-1]
	rows := len(d.Data) / inner
	rowBytes := t.DType.RowBytes(int64(inner))
	outer := Place{Name: t.Name, DType: U8, Strides: t.Strides[:len(t.Strides)-1]}
	return outer.walk(d.Shape[:len(d.Shape)-1], start, int64(len(b))-rowBytes+1, func(i int, at int64) {
		if i >= rows {
			return
		}
		visit(b[at:at+rowBytes], d.Data[i*inner:(i+1)*inner])
	})
}

func dequantizeRow(t DType, b []byte, to []float64) {
	for k := 0; k < len(to)/32; k++ {
		block := b[int64(k)*t.BlockBytes():]
		scale := float64(float32FromHalf(binary.LittleEndian.Uint16(block)))
		for j := 0; j < 32; j++ {
			switch t {
			case Q8_0:
				to[32*k+j] = scale * float64(int8(block[2+j]))
			case Q4_0:
				q := block[2+j%16] & 0xf
				if j >= 16 {
					q = block[2+j%16] >> 4
				}
				to[32*k+j] = scale * (float64(q) - 8)
			}
		}
	}
}

package ops

import "fmt"

// DType is the storage type of a tensor's elements. Numbers equal those of credence_native.h and are permanent.
type DType int32

// The element types. Q8_0 and Q4_0 are GGUF blocks of 32 elements along the innermost dimension.
const (
	F32  DType = 1
	F64  DType = 2
	F16  DType = 3
	BF16 DType = 4
	I32  DType = 5
	I64  DType = 6
	U8   DType = 7
	Q8_0 DType = 8
	Q4_0 DType = 9
)

var dtypes = map[DType]struct {
	name         string
	block, bytes int64
}{
	F32: {"f32", 1, 4}, F64: {"f64", 1, 8}, F16: {"f16", 1, 2}, BF16: {"bf16", 1, 2},
	I32: {"i32", 1, 4}, I64: {"i64", 1, 8}, U8: {"u8", 1, 1},
	Q8_0: {"q8_0", 32, 34}, Q4_0: {"q4_0", 32, 18},
}

// String is the lower-case name, for example "f32".
func (t DType) String() string {
	if d, ok := dtypes[t]; ok {
		return d.name
	}
	return fmt.Sprintf("dtype(%d)", int32(t))
}

// Valid reports whether t is one of the types above.
func (t DType) Valid() bool { _, ok := dtypes[t]; return ok }

// Block is how many elements share one block: 1 for plain types, 32 for the quantised ones.
func (t DType) Block() int64 { return dtypes[t].block }

// BlockBytes is the size of one block in bytes; for plain types the size of an element.
func (t DType) BlockBytes() int64 { return dtypes[t].bytes }

// Float reports whether values of this type are real numbers that gradients flow through.
func (t DType) Float() bool { return t == F32 || t == F64 || t == F16 || t == BF16 }

// RowBytes is the size of n adjacent elements; n must be a multiple of the block.
func (t DType) RowBytes(n int64) int64 { return n / t.Block() * t.BlockBytes() }

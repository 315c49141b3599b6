package gguf

import (
	"fmt"
	"math"
	"math/bits"
)

// Type is the storage type of a tensor, with its number in the file.
type Type uint32

// The types that are read and written here.
const (
	F32  Type = 0
	F16  Type = 1
	Q4_0 Type = 2
	Q8_0 Type = 8
	I8   Type = 24
	I16  Type = 25
	I32  Type = 26
	I64  Type = 27
	F64  Type = 28
	BF16 Type = 30
)

var types = map[Type]struct {
	name         string
	block, bytes int64
}{
	F32: {"f32", 1, 4}, F16: {"f16", 1, 2}, BF16: {"bf16", 1, 2}, F64: {"f64", 1, 8},
	I8: {"i8", 1, 1}, I16: {"i16", 1, 2}, I32: {"i32", 1, 4}, I64: {"i64", 1, 8},
	Q4_0: {"q4_0", 32, 18}, Q8_0: {"q8_0", 32, 34},
}

// unread are the types of ggml that are not read, for the message.
var unread = map[Type]string{3: "q4_1", 6: "q5_0", 7: "q5_1", 9: "q8_1", 10: "q2_K", 11: "q3_K", 12: "q4_K", 13: "q5_K", 14: "q6_K", 15: "q8_K",
	16: "iq2_xxs", 17: "iq2_xs", 18: "iq3_xxs", 19: "iq1_s", 20: "iq4_nl", 21: "iq3_s", 22: "iq2_s", 23: "iq4_xs", 29: "iq1_m", 34: "tq1_0", 35: "tq2_0", 39: "mxfp4"}

// String is the lower-case name, for example "q8_0".
func (t Type) String() string {
	if d, ok := types[t]; ok {
		return d.name
	}
	if name, ok := unread[t]; ok {
		return name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// Known reports whether tensors of the type can be read.
func (t Type) Known() bool { _, ok := types[t]; return ok }

// Block is how many elements share one block: 32 for the quantised types, else 1.
func (t Type) Block() int64 { return types[t].block }

// bytesOf is the size of a tensor whose innermost dimension comes last.
func (t Type) bytesOf(shape []int64) (int64, error) {
	d, ok := types[t]
	if !ok {
		return 0, fmt.Errorf("%v is not read; f32, f16, bf16, q8_0 and q4_0 are: convert the original with `credence lm convert`", t)
	}
	n := uint64(d.bytes)
	for k, size := range shape {
		if size < 0 {
			return 0, fmt.Errorf("shape %v has a negative size", shape)
		}
		if k == len(shape)-1 {
			if size%d.block != 0 {
				return 0, fmt.Errorf("%d elements per row are not whole blocks of %d, as %v needs", size, d.block, t)
			}
			size /= d.block
		}
		high, low := bits.Mul64(n, uint64(size))
		if high != 0 || low > math.MaxInt64 {
			return 0, fmt.Errorf("shape %v is too large", shape)
		}
		n = low
	}
	if len(shape) == 0 && d.block > 1 {
		return 0, fmt.Errorf("a single number cannot be %v", t)
	}
	return int64(n), nil
}

// Kinds of values in the file's table of keys.
const (
	kindUint8 = iota
	kindInt8
	kindUint16
	kindInt16
	kindUint32
	kindInt32
	kindFloat32
	kindBool
	kindString
	kindArray
	kindUint64
	kindInt64
	kindFloat64
)

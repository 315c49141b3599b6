package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"unsafe"
)

// DType is an element type under its name in the file.
type DType string

// The element types of the format that are read and written here.
const (
	Bool DType = "BOOL"
	U8   DType = "U8"
	I8   DType = "I8"
	I16  DType = "I16"
	U16  DType = "U16"
	F16  DType = "F16"
	BF16 DType = "BF16"
	I32  DType = "I32"
	U32  DType = "U32"
	F32  DType = "F32"
	I64  DType = "I64"
	U64  DType = "U64"
	F64  DType = "F64"
)

var dtypeSizes = map[DType]int64{Bool: 1, U8: 1, I8: 1, I16: 2, U16: 2, F16: 2, BF16: 2, I32: 4, U32: 4, F32: 4, I64: 8, U64: 8, F64: 8}

// Size is the size of an element in bytes, 0 for an unknown type.
func (d DType) Size() int64 { return dtypeSizes[d] }

// Tensor is a named array. Data holds the elements little-endian in row-major order; a scalar has an empty Shape.
type Tensor struct {
	Name  string
	DType DType
	Shape []int64
	Data  []byte

	// Where Data lies in an opened file: that many bytes into File.Parts()[Part].
	Part   int
	Offset int64
}

// Element is a Go type whose slices are written as they lie in memory.
type Element interface {
	int8 | uint8 | int16 | uint16 | int32 | uint32 | int64 | uint64 | float32 | float64
}

// New makes a tensor of values. On little-endian machines (all that matter today) its Data is the memory of values.
func New[T Element](name string, shape []int64, values []T) Tensor {
	t := Tensor{Name: name, Shape: shape}
	switch any(values).(type) {
	case []int8:
		t.DType = I8
	case []uint8:
		t.DType = U8
	case []int16:
		t.DType = I16
	case []uint16:
		t.DType = U16
	case []int32:
		t.DType = I32
	case []uint32:
		t.DType = U32
	case []int64:
		t.DType = I64
	case []uint64:
		t.DType = U64
	case []float32:
		t.DType = F32
	case []float64:
		t.DType = F64
	}
	if littleEndian || t.DType.Size() == 1 {
		if len(values) > 0 {
			t.Data = unsafe.Slice((*byte)(unsafe.Pointer(&values[0])), len(values)*int(t.DType.Size()))
		}
		return t
	}
	t.Data, _ = binary.Append(nil, binary.LittleEndian, values)
	return t
}

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// Len is the number of elements that Data holds.
func (t Tensor) Len() int { return len(t.Data) / int(max(1, t.DType.Size())) }

// Float32s copies the elements of an F32, F16 or BF16 tensor. Other types would lose digits and are refused.
func (t Tensor) Float32s() ([]float32, error) {
	values := make([]float32, t.Len())
	return values, t.CopyFloat32s(values)
}

// CopyFloat32s is Float32s into the caller's memory, which must have exactly Len elements.
func (t Tensor) CopyFloat32s(dst []float32) error {
	if len(dst) != t.Len() {
		return fmt.Errorf("tensor %q has %d elements, but there is room for %d", t.Name, t.Len(), len(dst))
	}
	switch t.DType {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
		}
	case F16:
		for i := range dst {
			dst[i] = halfToFloat32(binary.LittleEndian.Uint16(t.Data[2*i:]))
		}
	case BF16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(t.Data[2*i:])) << 16)
		}
	default:
		return t.typeError("F32, F16 or BF16")
	}
	return nil
}

// Float64s copies the elements of a tensor of any floating-point type.
func (t Tensor) Float64s() ([]float64, error) {
	values := make([]float64, t.Len())
	if t.DType == F64 {
		for i := range values {
			values[i] = math.Float64frombits(binary.LittleEndian.Uint64(t.Data[8*i:]))
		}
		return values, nil
	}
	narrow, err := t.Float32s()
	if err != nil {
		return nil, t.typeError("F64, F32, F16 or BF16")
	}
	for i, v := range narrow {
		values[i] = float64(v)
	}
	return values, nil
}

// Int64s copies the elements of an integer tensor; BOOL becomes 0 and 1. U64 is refused where a value does not fit.
func (t Tensor) Int64s() ([]int64, error) {
	var element func(b []byte) int64
	switch t.DType {
	case Bool, U8:
		element = func(b []byte) int64 { return int64(b[0]) }
	case I8:
		element = func(b []byte) int64 { return int64(int8(b[0])) }
	case I16:
		element = func(b []byte) int64 { return int64(int16(binary.LittleEndian.Uint16(b))) }
	case U16:
		element = func(b []byte) int64 { return int64(binary.LittleEndian.Uint16(b)) }
	case I32:
		element = func(b []byte) int64 { return int64(int32(binary.LittleEndian.Uint32(b))) }
	case U32:
		element = func(b []byte) int64 { return int64(binary.LittleEndian.Uint32(b)) }
	case I64, U64:
		element = func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) }
	default:
		return nil, t.typeError("an integer type")
	}
	values, size := make([]int64, t.Len()), int(t.DType.Size())
	for i := range values {
		values[i] = element(t.Data[i*size:])
		if t.DType == U64 && values[i] < 0 {
			return nil, fmt.Errorf("tensor %q: element %d is %d, which does not fit in 63 bits", t.Name, i, uint64(values[i]))
		}
	}
	return values, nil
}

func (t Tensor) typeError(want string) error {
	return fmt.Errorf("tensor %q is %s%v, want %s", t.Name, t.DType, t.Shape, want)
}

// byteCount is the size in bytes that type and shape ask for.
func (t Tensor) byteCount() (int64, error) {
	n := uint64(t.DType.Size())
	if n == 0 {
		return 0, fmt.Errorf("tensor %q: unknown element type %q", t.Name, t.DType)
	}
	for _, d := range t.Shape {
		if d < 0 {
			return 0, fmt.Errorf("tensor %q: shape %v has a negative size", t.Name, t.Shape)
		}
		high, low := bits.Mul64(n, uint64(d))
		if high != 0 || low > math.MaxInt64 {
			return 0, fmt.Errorf("tensor %q: shape %v is too large", t.Name, t.Shape)
		}
		n = low
	}
	return int64(n), nil
}

func (t Tensor) check() error {
	want, err := t.byteCount()
	if err == nil && want != int64(len(t.Data)) {
		err = fmt.Errorf("tensor %q is %s%v, that is %d bytes, but it has %d", t.Name, t.DType, t.Shape, want, len(t.Data))
	}
	return err
}

// halfToFloat32 widens an IEEE 754 half; it is exact.
func halfToFloat32(h uint16) float32 {
	sign, exponent, fraction := uint32(h>>15)<<31, uint32(h>>10&31), uint32(h&1023)
	switch {
	case exponent == 31: // Inf, NaN
		return math.Float32frombits(sign | 255<<23 | fraction<<13)
	case exponent == 0: // subnormals count in units of 2^-24
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)*0x1p-24))
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}

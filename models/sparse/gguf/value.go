package gguf

import (
	"encoding/binary"
	"fmt"
)

// scalarSizes are the sizes of the kinds of one size, in bytes.
var scalarSizes = map[uint32]uint64{kindUint8: 1, kindInt8: 1, kindUint16: 2, kindInt16: 2, kindUint32: 4, kindInt32: 4, kindFloat32: 4,
	kindBool: 1, kindUint64: 8, kindInt64: 8, kindFloat64: 8}

// value reads the kind of a value and the value.
func (r *reader) value() (any, error) {
	kind, err := r.uint32()
	if err != nil {
		return nil, err
	}
	switch kind {
	case kindString:
		return r.text()
	case kindArray:
		return r.array()
	case kindBool:
		v, err := r.bools(1)
		if err != nil {
			return nil, err
		}
		return v[0], nil
	}
	list, err := r.numbers(kind, 1)
	if err != nil {
		return nil, err
	}
	return first(list), nil
}

func (r *reader) array() (any, error) {
	kind, err := r.uint32()
	if err != nil {
		return nil, err
	}
	n, err := r.uint64()
	if err != nil {
		return nil, err
	}
	switch kind {
	case kindBool:
		return r.bools(n)
	case kindArray:
		return nil, fmt.Errorf("arrays of arrays are not read")
	case kindString:
		if n > uint64(r.left())/8 {
			return nil, fmt.Errorf("an array of %d strings in %d bytes: truncated", n, r.left())
		}
		list := make([]string, n)
		for i := range list {
			if list[i], err = r.text(); err != nil {
				return nil, fmt.Errorf("string %d of %d: %w", i, n, err)
			}
		}
		return list, nil
	}
	return r.numbers(kind, n)
}

func (r *reader) bools(n uint64) ([]bool, error) {
	b, err := r.take(n)
	if err != nil {
		return nil, err
	}
	list := make([]bool, n)
	for i, v := range b {
		if v > 1 {
			return nil, fmt.Errorf("a bool is %d; 0 or 1 is needed", v)
		}
		list[i] = v == 1
	}
	return list, nil
}

// numbers reads n numbers of a kind.
func (r *reader) numbers(kind uint32, n uint64) (any, error) {
	size, ok := scalarSizes[kind]
	if !ok {
		return nil, fmt.Errorf("values of kind %d are unknown", kind)
	}
	if n > uint64(r.left())/size {
		return nil, errTruncated
	}
	b, err := r.take(n * size)
	if err != nil {
		return nil, err
	}
	switch kind {
	case kindUint8:
		return append([]uint8{}, b...), nil
	case kindInt8:
		return decode[int8](b, n)
	case kindUint16:
		return decode[uint16](b, n)
	case kindInt16:
		return decode[int16](b, n)
	case kindUint32:
		return decode[uint32](b, n)
	case kindInt32:
		return decode[int32](b, n)
	case kindFloat32:
		return decode[float32](b, n)
	case kindUint64:
		return decode[uint64](b, n)
	case kindInt64:
		return decode[int64](b, n)
	}
	return decode[float64](b, n)
}

type number interface {
	uint8 | int8 | uint16 | int16 | uint32 | int32 | uint64 | int64 | float32 | float64
}

func decode[T number](b []byte, n uint64) ([]T, error) {
	list := make([]T, n)
	_, err := binary.Decode(b, binary.LittleEndian, list)
	return list, err
}

// first is the only element of a slice that numbers has made.
func first(list any) any {
	switch l := list.(type) {
	case []uint8:
		return l[0]
	case []int8:
		return l[0]
	case []uint16:
		return l[0]
	case []int16:
		return l[0]
	case []uint32:
		return l[0]
	case []int32:
		return l[0]
	case []float32:
		return l[0]
	case []uint64:
		return l[0]
	case []int64:
		return l[0]
	}
	return list.([]float64)[0]
}

// kindOf is the kind of a value that can be written, and for arrays that of the elements and their number.
func kindOf(v any) (kind uint32, element uint32, n int, err error) {
	array := func(element uint32, n int) (uint32, uint32, int, error) { return kindArray, element, n, nil }
	switch v := v.(type) {
	case uint8:
		return kindUint8, 0, 0, nil
	case int8:
		return kindInt8, 0, 0, nil
	case uint16:
		return kindUint16, 0, 0, nil
	case int16:
		return kindInt16, 0, 0, nil
	case uint32:
		return kindUint32, 0, 0, nil
	case int32:
		return kindInt32, 0, 0, nil
	case float32:
		return kindFloat32, 0, 0, nil
	case bool:
		return kindBool, 0, 0, nil
	case string:
		return kindString, 0, 0, nil
	case uint64:
		return kindUint64, 0, 0, nil
	case int64:
		return kindInt64, 0, 0, nil
	case float64:
		return kindFloat64, 0, 0, nil
	case []uint8:
		return array(kindUint8, len(v))
	case []int8:
		return array(kindInt8, len(v))
	case []uint16:
		return array(kindUint16, len(v))
	case []int16:
		return array(kindInt16, len(v))
	case []uint32:
		return array(kindUint32, len(v))
	case []int32:
		return array(kindInt32, len(v))
	case []float32:
		return array(kindFloat32, len(v))
	case []bool:
		return array(kindBool, len(v))
	case []string:
		return array(kindString, len(v))
	case []uint64:
		return array(kindUint64, len(v))
	case []int64:
		return array(kindInt64, len(v))
	case []float64:
		return array(kindFloat64, len(v))
	}
	return 0, 0, 0, fmt.Errorf("a value of type %T cannot be written", v)
}

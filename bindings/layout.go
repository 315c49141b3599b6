//go:build cgo && unix

package bindings

/*
#cgo CFLAGS: -I${SRCDIR}/../native/include -std=gnu11
#cgo linux LDFLAGS: -ldl
#include "forward.h"
*/
import "C"

import (
	"unsafe"

	// The headers are a package, so that `go mod vendor` in a program that embeds us copies them.
	_ "github.com/credence-ml/credence/native/include"
)

// Slices of the Go structs are passed as they lie, so their layout must be C's. An array of one length cannot be
// assigned to an array of another: each line fails to compile where a size or an offset differs.
var (
	_ [C.sizeof_credence_op]byte     = [unsafe.Sizeof(Op{})]byte{}
	_ [C.sizeof_credence_value]byte  = [unsafe.Sizeof(Value{})]byte{}
	_ [C.sizeof_credence_scalar]byte = [unsafe.Sizeof(Scalar{})]byte{}
	_ [C.sizeof_credence_tensor]byte = [unsafe.Sizeof(Tensor{})]byte{}
	_ [C.sizeof_credence_slot]byte   = [unsafe.Sizeof(Slot{})]byte{}
	_ [C.sizeof_credence_error]byte  = [unsafe.Sizeof(nativeError{})]byte{}

	_ [unsafe.Offsetof(C.credence_op{}.n_in)]byte         = [unsafe.Offsetof(Op{}.NIn)]byte{}
	_ [unsafe.Offsetof(C.credence_op{}.n_out)]byte        = [unsafe.Offsetof(Op{}.NOut)]byte{}
	_ [unsafe.Offsetof(C.credence_op{}.n_inout)]byte      = [unsafe.Offsetof(Op{}.NInOut)]byte{}
	_ [unsafe.Offsetof(C.credence_op{}.n_i)]byte          = [unsafe.Offsetof(Op{}.NI)]byte{}
	_ [unsafe.Offsetof(C.credence_op{}.n_f)]byte          = [unsafe.Offsetof(Op{}.NF)]byte{}
	_ [unsafe.Offsetof(C.credence_op{}.first_tensor)]byte = [unsafe.Offsetof(Op{}.FirstTensor)]byte{}
	_ [unsafe.Offsetof(C.credence_op{}.first_i)]byte      = [unsafe.Offsetof(Op{}.FirstI)]byte{}
	_ [unsafe.Offsetof(C.credence_op{}.first_f)]byte      = [unsafe.Offsetof(Op{}.FirstF)]byte{}

	_ [unsafe.Offsetof(C.credence_value{}.arg)]byte  = [unsafe.Offsetof(Value{}.Arg)]byte{}
	_ [unsafe.Offsetof(C.credence_scalar{}.arg)]byte = [unsafe.Offsetof(Scalar{}.Arg)]byte{}

	_ [unsafe.Offsetof(C.credence_tensor{}.dtype)]byte  = [unsafe.Offsetof(Tensor{}.DType)]byte{}
	_ [unsafe.Offsetof(C.credence_tensor{}.ndim)]byte   = [unsafe.Offsetof(Tensor{}.NDim)]byte{}
	_ [unsafe.Offsetof(C.credence_tensor{}.flags)]byte  = [unsafe.Offsetof(Tensor{}.Flags)]byte{}
	_ [unsafe.Offsetof(C.credence_tensor{}.base)]byte   = [unsafe.Offsetof(Tensor{}.Base)]byte{}
	_ [unsafe.Offsetof(C.credence_tensor{}.offset)]byte = [unsafe.Offsetof(Tensor{}.Offset)]byte{}
	_ [unsafe.Offsetof(C.credence_tensor{}.dim)]byte    = [unsafe.Offsetof(Tensor{}.Dim)]byte{}
	_ [unsafe.Offsetof(C.credence_tensor{}.stride)]byte = [unsafe.Offsetof(Tensor{}.Stride)]byte{}

	_ [unsafe.Offsetof(C.credence_slot{}.offset)]byte = [unsafe.Offsetof(Slot{}.Offset)]byte{}
	_ [unsafe.Offsetof(C.credence_slot{}.size)]byte   = [unsafe.Offsetof(Slot{}.Size)]byte{}

	_ [unsafe.Offsetof(C.credence_error{}.native_code)]byte = [unsafe.Offsetof(nativeError{}.nativeCode)]byte{}
	_ [unsafe.Offsetof(C.credence_error{}.msg)]byte         = [unsafe.Offsetof(nativeError{}.msg)]byte{}

	_ [C.CREDENCE_ABI_MAJOR]byte = [ABIMajor]byte{}
	_ [C.CREDENCE_ABI_MINOR]byte = [ABIMinor]byte{}
	_ [C.CREDENCE_MAX_DIMS]byte  = [MaxDims]byte{}

	_ [C.CREDENCE_OK]byte               = [OK]byte{}
	_ [C.CREDENCE_INVALID_ARGUMENT]byte = [InvalidArgument]byte{}
	_ [C.CREDENCE_UNSUPPORTED]byte      = [Unsupported]byte{}
	_ [C.CREDENCE_OUT_OF_MEMORY]byte    = [OutOfMemory]byte{}
	_ [C.CREDENCE_CANCELLED]byte        = [Cancelled]byte{}
	_ [C.CREDENCE_DEVICE_LOST]byte      = [DeviceLost]byte{}
	_ [C.CREDENCE_NO_DEVICE]byte        = [NoDevice]byte{}
	_ [C.CREDENCE_INTERNAL]byte         = [Internal]byte{}
	_ [C.CREDENCE_FAULT]byte            = [Fault]byte{}
)

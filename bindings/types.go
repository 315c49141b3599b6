package bindings

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unsafe"
)

// The ABI that this program speaks. Another major is another ABI; a higher minor of a backend only adds to it.
const (
	ABIMajor = 1
	ABIMinor = 0
)

// MaxDims is the most dimensions that a tensor may have.
const MaxDims = 5

// FormatABI writes the number that a backend reports as "major.minor".
func FormatABI(abi uint32) string { return fmt.Sprintf("%d.%d", abi>>16, abi&0xffff) }

// An Op is one operation of a plan: indices into the plan's tables. Its tensors are, in order, NIn inputs, NOut outputs
// and NInOut updated in place. Layout of credence_op.
type Op struct {
	Opcode, NIn, NOut, NInOut, NI, NF, FirstTensor, FirstI, FirstF uint32
}

// A Value is an integer that may depend on an argument: Value if Arg < 0, else Value * ints[Arg]. Layout of
// credence_value.
type Value struct {
	Value         int64
	Arg, Reserved int32
}

// A Scalar is a number that may depend on an argument: Value if Arg < 0, else Value * floats[Arg]. Layout of
// credence_scalar.
type Scalar struct {
	Value         float64
	Arg, Reserved int32
}

// A Tensor is a view of a slot: element (i...) lies Base + Offset + sum(i_k Stride_k) bytes into it. Dim counts
// elements, Stride bytes. Layout of credence_tensor.
type Tensor struct {
	Slot, DType, NDim, Flags int32
	Base                     int64
	Offset                   Value
	Dim                      [MaxDims]Value
	Stride                   [MaxDims]int64
}

// A Slot is the memory bound to one slot of a plan: bytes [Offset, Offset+Size) of a buffer, whose handle is
// Buffer.Pointer. Layout of credence_slot.
type Slot struct {
	Buffer       unsafe.Pointer
	Offset, Size uint64
}

// Tables describe a plan: credence_plan_desc with its counts taken from the slices.
type Tables struct {
	Ops            []Op
	Tensors        []Tensor
	Ints           []Value  // integer attributes of all ops
	Floats         []Scalar // scalar attributes of all ops
	IntMin, IntMax []int64  // inclusive range of each integer argument
	FloatArgs      int      // how many scalar arguments a submission has
	SlotBytes      []uint64 // least memory bound to each slot
}

// DeviceInfo is what a backend says of one of its devices.
type DeviceInfo struct {
	Index                   int    // within the backend, from 0
	Name                    string // as the vendor names it
	UUID                    string // the vendor's identifier; empty for a CPU
	Arch                    string // what kernels were chosen: "avx512", "generic", "sm_90"
	Detail                  string // one line for a person: libraries in use, self-test results
	MemoryTotal, MemoryFree uint64 // bytes; 0: unknown
	ComputeUnits            int    // CPU: threads in use; GPU: multiprocessors
	IntegratedMemory        bool   // the host sees every buffer
}

// A Library is a loaded backend. It stays loaded until the process ends. All its methods may be called from any
// goroutine.
type Library struct {
	Path  string // the file that was loaded
	Name  string // "cpu", "cuda"
	Build string // one line: version, compiler, libraries
	ABI   uint32 // major << 16 | minor, as the backend reports it

	table unsafe.Pointer // const credence_backend *
}

// A Device is an open device of a backend. Its methods, Close excepted, may be called from any goroutine.
type Device struct {
	lib    *Library
	index  int
	handle unsafe.Pointer
}

// A Buffer is memory of a device, at least 64-byte aligned and zero-filled when allocated.
type Buffer struct {
	lib    *Library
	handle unsafe.Pointer
	host   unsafe.Pointer
	bytes  uint64
}

// Pointer is the backend's handle, for Slot.Buffer; nil once the buffer is freed.
func (b *Buffer) Pointer() unsafe.Pointer { return b.handle }

// Host is the address at which the host sees the memory, or nil where it cannot.
func (b *Buffer) Host() unsafe.Pointer { return b.host }

// Bytes is the size that was asked for.
func (b *Buffer) Bytes() uint64 { return b.bytes }

// A Plan is a plan that its device accepted. Any number of streams may run it at the same time.
type Plan struct {
	lib    *Library
	handle unsafe.Pointer
}

// A Stream runs plans in order. It is used by one goroutine at a time, except for Cancel.
type Stream struct {
	lib    *Library
	handle unsafe.Pointer
	err    nativeError // of the call in progress: a stream is used by one goroutine at a time

	closing sync.Mutex // orders Cancel against Close
}

// nativeError is credence_error: filled by the backend, read only after a failing status.
type nativeError struct {
	code, nativeCode int32
	msg              [248]byte
}

// text is the message up to its NUL, made valid UTF-8.
func (e *nativeError) text() string {
	b := e.msg[:]
	if n := bytes.IndexByte(b, 0); n >= 0 {
		b = b[:n]
	}
	return strings.ToValidUTF8(string(b), "?")
}

// failed turns a failing status into an error. Success is tested before the call so that it costs nothing.
func (e *nativeError) failed(call string, status int32) error {
	return &Error{Call: call, Status: Status(status), NativeCode: int(e.nativeCode), Message: e.text()}
}

// errClosed is the error of a call on a handle that was closed, never opened, or nil.
func errClosed(call, what string) error {
	return &Error{Call: call, Status: InvalidArgument, Message: what + " is closed"}
}

// errMissingHandle is the error of a backend that reports success and gives nothing.
func errMissingHandle(call string) error {
	return &Error{Call: call, Status: Internal, Message: "the backend reported success and returned no handle"}
}

// check finds what the forwarders could not express to the backend.
func (t *Tables) check(call string) error {
	switch {
	case t == nil:
		return &Error{Call: call, Status: InvalidArgument, Message: "no plan"}
	case len(t.IntMin) != len(t.IntMax):
		return &Error{Call: call, Status: InvalidArgument, Message: fmt.Sprintf(
			"%d lower and %d upper bounds of integer arguments", len(t.IntMin), len(t.IntMax))}
	case t.FloatArgs < 0:
		return &Error{Call: call, Status: InvalidArgument, Message: fmt.Sprintf(
			"%d scalar arguments", t.FloatArgs)}
	}
	return nil
}

// LoadError says why a file could not be loaded as a backend.
type LoadError struct {
	Path string
	Err  error // the dynamic linker's words, or what the handshake found
}

// Error is one line with the path.
func (e *LoadError) Error() string { return "load " + e.Path + ": " + e.Err.Error() }

// Unwrap is the reason alone.
func (e *LoadError) Unwrap() error { return e.Err }

// ErrNoCgo is returned by Load in a program built without cgo.
var ErrNoCgo = errors.New("built without cgo: native backends cannot be loaded")

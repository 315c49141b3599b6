//go:build cgo && unix

package bindings

/*
#include "forward.h"

// No forwarder here calls back to Go. Those marked noescape keep no pointer beyond the call; queued copies do keep the
// host memory, until the stream is synchronised.
#cgo nocallback crb_plan
#cgo noescape crb_plan
#cgo nocallback crb_stream_submit
#cgo noescape crb_stream_submit
#cgo nocallback crb_stream_run
#cgo noescape crb_stream_run
#cgo nocallback crb_stream_sync
#cgo noescape crb_stream_sync
#cgo nocallback crb_stream_cancel
#cgo nocallback crb_stream_clock
#cgo noescape crb_stream_clock
#cgo nocallback crb_buffer_write
#cgo nocallback crb_buffer_read
#cgo nocallback crb_buffer_copy
#cgo noescape crb_buffer_copy
#cgo nocallback crb_buffer_write_now
#cgo noescape crb_buffer_write_now
#cgo nocallback crb_buffer_read_now
#cgo noescape crb_buffer_read_now
*/
import "C"

import "unsafe"

// OpenPlan gives the device a plan. The backend copies the description and proves that no submission within the stated
// ranges can touch memory outside its slots.
func (d *Device) OpenPlan(t *Tables) (*Plan, error) {
	var out *C.credence_plan
	if err := d.plan("plan_open", t, 0, &out); err != nil {
		return nil, err
	}
	if out == nil {
		return nil, errMissingHandle("plan_open")
	}
	return &Plan{lib: d.lib, handle: unsafe.Pointer(out)}, nil
}

// OpSupported asks whether the device can run one operation of a plan; the error says why not.
func (d *Device) OpSupported(t *Tables, op int) error {
	if err := checkInt32("op_supported", "operation", op); err != nil {
		return err
	}
	return d.plan("op_supported", t, C.uint32_t(op), nil)
}

func (d *Device) plan(call string, t *Tables, op C.uint32_t, out **C.credence_plan) error {
	if d.handle == nil {
		return errClosed(call, "the device")
	}
	if err := t.check(call); err != nil {
		return err
	}
	var e nativeError
	s := C.crb_plan(d.lib.c(), d.c(),
		(*C.credence_op)(unsafe.Pointer(unsafe.SliceData(t.Ops))), C.uint32_t(len(t.Ops)),
		(*C.credence_tensor)(unsafe.Pointer(unsafe.SliceData(t.Tensors))), C.uint32_t(len(t.Tensors)),
		(*C.credence_value)(unsafe.Pointer(unsafe.SliceData(t.Ints))), C.uint32_t(len(t.Ints)),
		(*C.credence_scalar)(unsafe.Pointer(unsafe.SliceData(t.Floats))), C.uint32_t(len(t.Floats)),
		(*C.int64_t)(unsafe.SliceData(t.IntMin)), (*C.int64_t)(unsafe.SliceData(t.IntMax)), C.uint32_t(len(t.IntMin)),
		C.uint32_t(t.FloatArgs), (*C.uint64_t)(unsafe.SliceData(t.SlotBytes)), C.uint32_t(len(t.SlotBytes)), op, out,
		e.c())
	if s != 0 {
		return e.failed(call, int32(s))
	}
	return nil
}

func (p *Plan) c() *C.credence_plan { return (*C.credence_plan)(p.handle) }

// Close gives the plan up. No stream may still run it.
func (p *Plan) Close() {
	if p.handle != nil {
		C.crb_plan_close(p.lib.c(), p.c())
		p.handle = nil
	}
}

// OpenStream opens a queue of work on the device.
func (d *Device) OpenStream() (*Stream, error) {
	if d.handle == nil {
		return nil, errClosed("stream_open", "the device")
	}
	s := &Stream{lib: d.lib}
	var out *C.credence_stream
	if status := C.crb_stream_open(d.lib.c(), d.c(), &out, s.err.c()); status != 0 {
		return nil, s.err.failed("stream_open", int32(status))
	}
	if out == nil {
		return nil, errMissingHandle("stream_open")
	}
	s.handle = unsafe.Pointer(out)
	return s, nil
}

// c is the backend's handle; the null handle of a nil Stream.
func (s *Stream) c() *C.credence_stream {
	if s == nil {
		return nil
	}
	return (*C.credence_stream)(s.handle)
}

// Close closes the stream, whose work must be done: see Sync. It may race with Cancel.
func (s *Stream) Close() {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.handle != nil {
		C.crb_stream_close(s.lib.c(), s.c())
		s.handle = nil
	}
}

// Submit starts a plan over the memory bound to its slots. The backend copies slots and arguments before Submit
// returns. tag names the submission for Cancel: it is not 0 and never used before on this stream. Success costs no
// allocation; an error found late is reported by Sync.
func (s *Stream) Submit(p *Plan, tag uint64, slots []Slot, ints []int64, floats []float64) error {
	if s.handle == nil {
		return errClosed("stream_submit", "the stream")
	}
	if p == nil || p.handle == nil {
		return errClosed("stream_submit", "the plan")
	}
	status := C.crb_stream_submit(s.lib.c(), s.c(), p.c(), C.uint64_t(tag),
		(*C.crb_slots)(unsafe.Pointer(unsafe.SliceData(slots))), C.uint32_t(len(slots)),
		(*C.int64_t)(unsafe.SliceData(ints)), C.uint32_t(len(ints)),
		(*C.double)(unsafe.SliceData(floats)), C.uint32_t(len(floats)), s.err.c())
	if status != 0 {
		return s.err.failed("stream_submit", int32(status))
	}
	return nil
}

// Run is Submit and then Sync in one native call.
func (s *Stream) Run(p *Plan, tag uint64, slots []Slot, ints []int64, floats []float64) error {
	if s.handle == nil {
		return errClosed("stream_submit", "the stream")
	}
	if p == nil || p.handle == nil {
		return errClosed("stream_submit", "the plan")
	}
	status := C.crb_stream_run(s.lib.c(), s.c(), p.c(), C.uint64_t(tag),
		(*C.crb_slots)(unsafe.Pointer(unsafe.SliceData(slots))), C.uint32_t(len(slots)),
		(*C.int64_t)(unsafe.SliceData(ints)), C.uint32_t(len(ints)),
		(*C.double)(unsafe.SliceData(floats)), C.uint32_t(len(floats)), s.err.c())
	if status != 0 {
		return s.err.failed("stream_run", int32(status))
	}
	return nil
}

// Sync waits until all work of the stream is done and reports the first error that Submit could not.
func (s *Stream) Sync() error {
	if s.handle == nil {
		return errClosed("stream_sync", "the stream")
	}
	if status := C.crb_stream_sync(s.lib.c(), s.c(), s.err.c()); status != 0 {
		return s.err.failed("stream_sync", int32(status))
	}
	return nil
}

// Cancel stops the submission with this tag and no other; it does nothing if that one is over. Any goroutine may call
// it at any time, after Close too.
func (s *Stream) Cancel(tag uint64) {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.handle != nil {
		C.crb_stream_cancel(s.lib.c(), s.c(), C.uint64_t(tag))
	}
}

// Clock is the stream's own time in nanoseconds since it was opened, ordered after the work submitted so far.
func (s *Stream) Clock() (uint64, error) {
	if s.handle == nil {
		return 0, errClosed("stream_clock", "the stream")
	}
	var t C.uint64_t
	if status := C.crb_stream_clock(s.lib.c(), s.c(), &t, s.err.c()); status != 0 {
		return 0, s.err.failed("stream_clock", int32(status))
	}
	return uint64(t), nil
}

// nothing is where an empty slice is taken to lie. A slice's bytes are passed as &b[0], which tells cgo that they are
// all that C may touch: they may be part of something that has pointers elsewhere.
var nothing [1]byte

// Write copies host memory into a buffer, after the stream's earlier work, and is done on return: it waits for the
// stream and reports what Sync would. With a nil Stream it waits for nobody.
func (s *Stream) Write(dst *Buffer, offset uint64, src []byte) error {
	if err := s.checkCopy("buffer_write", dst); err != nil {
		return err
	}
	n := len(src)
	if n == 0 {
		src = nothing[:]
	}
	var e nativeError
	status := C.crb_buffer_write_now(dst.lib.c(), s.c(), dst.c(), C.uint64_t(offset), unsafe.Pointer(&src[0]),
		C.uint64_t(n), e.c())
	if status != 0 {
		return e.failed("buffer_write", int32(status))
	}
	return nil
}

// Read copies from a buffer into host memory; see Write.
func (s *Stream) Read(dst []byte, src *Buffer, offset uint64) error {
	if err := s.checkCopy("buffer_read", src); err != nil {
		return err
	}
	n := len(dst)
	if n == 0 {
		dst = nothing[:]
	}
	var e nativeError
	status := C.crb_buffer_read_now(src.lib.c(), s.c(), unsafe.Pointer(&dst[0]), src.c(), C.uint64_t(offset),
		C.uint64_t(n), e.c())
	if status != 0 {
		return e.failed("buffer_read", int32(status))
	}
	return nil
}

// Post is Write without the wait: src may be used again on return, and what goes wrong later is reported by Sync.
func (s *Stream) Post(dst *Buffer, offset uint64, src []byte) error {
	if s == nil {
		return errClosed("buffer_write", "the stream")
	}
	if err := s.checkCopy("buffer_write", dst); err != nil {
		return err
	}
	n := len(src)
	if n == 0 {
		src = nothing[:]
	}
	status := C.crb_buffer_write(s.lib.c(), s.c(), dst.c(), C.uint64_t(offset), unsafe.Pointer(&src[0]), C.uint64_t(n),
		s.err.c())
	if status != 0 {
		return s.err.failed("buffer_write", int32(status))
	}
	return nil
}

// WriteAsync queues a copy into a buffer. Until Sync returns, src must stay where it is: memory outside the Go heap, or
// pinned (runtime.Pinner).
func (s *Stream) WriteAsync(dst *Buffer, offset uint64, src unsafe.Pointer, bytes uint64) error {
	if s == nil {
		return errClosed("buffer_write", "the stream")
	}
	if err := s.checkCopy("buffer_write", dst); err != nil {
		return err
	}
	status := C.crb_buffer_write(s.lib.c(), s.c(), dst.c(), C.uint64_t(offset), src, C.uint64_t(bytes), s.err.c())
	if status != 0 {
		return s.err.failed("buffer_write", int32(status))
	}
	return nil
}

// ReadAsync queues a copy from a buffer; see WriteAsync.
func (s *Stream) ReadAsync(dst unsafe.Pointer, src *Buffer, offset, bytes uint64) error {
	if s == nil {
		return errClosed("buffer_read", "the stream")
	}
	if err := s.checkCopy("buffer_read", src); err != nil {
		return err
	}
	status := C.crb_buffer_read(s.lib.c(), s.c(), dst, src.c(), C.uint64_t(offset), C.uint64_t(bytes), s.err.c())
	if status != 0 {
		return s.err.failed("buffer_read", int32(status))
	}
	return nil
}

// Copy copies between two buffers of one device: queued on a stream, done on return with a nil one.
func (s *Stream) Copy(dst *Buffer, dstOffset uint64, src *Buffer, srcOffset, bytes uint64) error {
	if err := s.checkCopy("buffer_copy", dst); err != nil {
		return err
	}
	if err := s.checkCopy("buffer_copy", src); err != nil {
		return err
	}
	e := &nativeError{}
	if s != nil {
		e = &s.err
	}
	status := C.crb_buffer_copy(dst.lib.c(), s.c(), dst.c(), C.uint64_t(dstOffset), src.c(), C.uint64_t(srcOffset),
		C.uint64_t(bytes), e.c())
	if status != 0 {
		return e.failed("buffer_copy", int32(status))
	}
	return nil
}

func (s *Stream) checkCopy(call string, b *Buffer) error {
	if s != nil && s.handle == nil {
		return errClosed(call, "the stream")
	}
	if b == nil || b.handle == nil {
		return errClosed(call, "the buffer")
	}
	if s != nil && s.lib.table != b.lib.table {
		return &Error{Call: call, Status: InvalidArgument, Message: "a buffer of backend " + b.lib.Name +
			" on a stream of backend " + s.lib.Name}
	}
	return nil
}

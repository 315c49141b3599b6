//go:build cgo && unix

package bindings

/*
#include <stdlib.h>
#include "forward.h"

// No forwarder here calls back to Go. Those marked noescape keep no pointer beyond the call.
#cgo nocallback crb_device_count
#cgo noescape crb_device_count
#cgo nocallback crb_device_info
#cgo noescape crb_device_info
#cgo nocallback crb_buffer_alloc
#cgo noescape crb_buffer_alloc
#cgo nocallback crb_buffer_free
#cgo nocallback crb_load
#cgo noescape crb_load
*/
import "C"

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"unsafe"
)

// Native reports whether this build can load native backends.
const Native = true

// Load opens a backend library and checks that this program can use it. The path must be absolute, so that neither the
// working directory nor LD_LIBRARY_PATH decides what is run. Loading a file again gives the same backend.
func Load(path string) (*Library, error) {
	if !filepath.IsAbs(path) {
		return nil, &LoadError{strconv.Quote(path), errors.New("the path of a backend must be absolute")}
	}
	if err := checkImage(path); err != nil {
		return nil, &LoadError{path, err}
	}
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var e nativeError
	table := C.crb_load(name, e.c())
	if table == nil {
		return nil, &LoadError{path, errors.New(e.text())}
	}
	return &Library{Path: path, Name: C.GoString(table.name), Build: C.GoString(table.build), ABI: uint32(table.abi),
		table: unsafe.Pointer(table)}, nil
}

func (e *nativeError) c() *C.credence_error { return (*C.credence_error)(unsafe.Pointer(e)) }

func (l *Library) c() *C.crb_backend { return (*C.crb_backend)(l.table) }

// DeviceCount is how many devices the backend can open. Where it is none, the error has status NoDevice and says why.
func (l *Library) DeviceCount() (int, error) {
	var n C.int32_t
	var e nativeError
	if s := C.crb_device_count(l.c(), &n, e.c()); s != 0 {
		return 0, e.failed("device_count", int32(s))
	}
	return int(n), nil
}

// Info describes a device without opening it.
func (l *Library) Info(index int) (DeviceInfo, error) { return l.info(index, nil) }

func (l *Library) info(index int, device unsafe.Pointer) (DeviceInfo, error) {
	if err := checkInt32("device_info", "device", index); err != nil {
		return DeviceInfo{}, err
	}
	var info C.credence_device_info
	var e nativeError
	if s := C.crb_device_info(l.c(), C.int32_t(index), (*C.credence_device)(device), &info, e.c()); s != 0 {
		return DeviceInfo{}, e.failed("device_info", int32(s))
	}
	return DeviceInfo{Index: int(info.index), Name: text(info.name[:]), UUID: text(info.uuid[:]),
		Arch: text(info.arch[:]), Detail: text(info.detail[:]), MemoryTotal: uint64(info.memory_total),
		MemoryFree: uint64(info.memory_free), ComputeUnits: int(info.compute_units),
		IntegratedMemory: info.integrated_memory != 0}, nil
}

// text is a C string in an array that a careless backend may have filled to the last byte.
func text(c []C.char) string {
	for i, b := range c {
		if b == 0 {
			c = c[:i]
			break
		}
	}
	return C.GoStringN(unsafe.SliceData(c), C.int(len(c)))
}

func checkInt32(call, what string, v int) error {
	if v < 0 || v > math.MaxInt32 {
		return &Error{Call: call, Status: InvalidArgument, Message: fmt.Sprintf("%s %d", what, v)}
	}
	return nil
}

// OpenDevice opens a device. threads is how many CPU threads it may use.
func (l *Library) OpenDevice(index, threads int) (*Device, error) {
	if err := checkInt32("device_open", "device", index); err != nil {
		return nil, err
	}
	if err := checkInt32("device_open", "thread count", threads); err != nil {
		return nil, err
	}
	var out *C.credence_device
	var e nativeError
	if s := C.crb_device_open(l.c(), C.int32_t(index), C.int32_t(threads), &out, e.c()); s != 0 {
		return nil, e.failed("device_open", int32(s))
	}
	if out == nil {
		return nil, errMissingHandle("device_open")
	}
	return &Device{lib: l, index: index, handle: unsafe.Pointer(out)}, nil
}

func (d *Device) c() *C.credence_device { return (*C.credence_device)(d.handle) }

// Close closes the device. Its buffers, plans and streams must be closed before.
func (d *Device) Close() {
	if d.handle != nil {
		C.crb_device_close(d.lib.c(), d.c())
		d.handle = nil
	}
}

// Info describes the device as it was opened.
func (d *Device) Info() (DeviceInfo, error) {
	if d.handle == nil {
		return DeviceInfo{}, errClosed("device_info", "the device")
	}
	return d.lib.info(d.index, d.handle)
}

// SetOption sets an option of the device before any stream is opened: "cpu_isa", "math", "fault.*".
func (d *Device) SetOption(key, value string) error {
	if d.handle == nil {
		return errClosed("set_option", "the device")
	}
	k, v := C.CString(key), C.CString(value)
	defer C.free(unsafe.Pointer(k))
	defer C.free(unsafe.Pointer(v))
	var e nativeError
	if s := C.crb_set_option(d.lib.c(), d.c(), k, v, e.c()); s != 0 {
		return e.failed("set_option", int32(s))
	}
	return nil
}

// Alloc makes a zero-filled buffer: on the device, or in host memory that the device reads fast if pinned.
func (d *Device) Alloc(bytes uint64, pinned bool) (*Buffer, error) {
	if d.handle == nil {
		return nil, errClosed("buffer_alloc", "the device")
	}
	flags := C.uint32_t(C.CREDENCE_BUFFER_DEVICE)
	if pinned {
		flags = C.CREDENCE_BUFFER_PINNED_HOST
	}
	var out *C.credence_buffer
	var host unsafe.Pointer
	var e nativeError
	s := C.crb_buffer_alloc(d.lib.c(), d.c(), C.uint64_t(bytes), flags, &out, &host, e.c())
	if s != 0 {
		return nil, e.failed("buffer_alloc", int32(s))
	}
	if out == nil {
		return nil, errMissingHandle("buffer_alloc")
	}
	return &Buffer{lib: d.lib, handle: unsafe.Pointer(out), host: host, bytes: bytes}, nil
}

// Wrap makes a read-only buffer of host memory outside the Go heap that outlives it, such as a mapped weight file. A
// device with memory of its own may copy it.
func (d *Device) Wrap(host unsafe.Pointer, bytes uint64) (*Buffer, error) {
	if d.handle == nil {
		return nil, errClosed("buffer_wrap", "the device")
	}
	if host == nil && bytes > 0 {
		return nil, &Error{Call: "buffer_wrap", Status: InvalidArgument, Message: fmt.Sprintf("%d bytes at nil", bytes)}
	}
	var out *C.credence_buffer
	var seen unsafe.Pointer
	var e nativeError
	if s := C.crb_buffer_wrap(d.lib.c(), d.c(), host, C.uint64_t(bytes), &out, &seen, e.c()); s != 0 {
		return nil, e.failed("buffer_wrap", int32(s))
	}
	if out == nil {
		return nil, errMissingHandle("buffer_wrap")
	}
	return &Buffer{lib: d.lib, handle: unsafe.Pointer(out), host: seen, bytes: bytes}, nil
}

func (b *Buffer) c() *C.credence_buffer { return (*C.credence_buffer)(b.handle) }

// Free releases the buffer. No stream may still use it.
func (b *Buffer) Free() {
	if b.handle != nil {
		C.crb_buffer_free(b.lib.c(), b.c())
		b.handle, b.host = nil, nil
	}
}

//go:build cgo

package main

/*
#include "credence.h"

// cgo repeats the exported functions' prototypes with the types named here, and the compiler compares them with those
// of credence.h. const has no name in Go.
typedef const char credence_text;

static credence_text *credence_header_version(void) { return CREDENCE_VERSION; }
*/
import "C"

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
	"unsafe"

	"github.com/credence-ml/credence/runtime"
)

//export credence_version
func credence_version() *C.credence_text { return C.credence_header_version() }

//export credence_open
func credence_open(device *C.credence_text, out *C.uint64_t, message *C.char, messageSize C.size_t) C.int32_t {
	return export(message, messageSize, func() error {
		if out == nil {
			return fmt.Errorf("credence_open: %w: runtime is NULL", runtime.ErrInvalidArgument)
		}
		*out = 0
		var options []runtime.Option
		if device != nil {
			options = append(options, runtime.WithDevice(C.GoString((*C.char)(device))))
		}
		rt, err := runtime.Open(options...)
		if err != nil {
			return err
		}
		*out = C.uint64_t(handles.add(&openRuntime{Runtime: rt}))
		return nil
	})
}

//export credence_devices_json
func credence_devices_json(handle C.uint64_t, buffer *C.char, size C.size_t, needed *C.size_t, message *C.char, messageSize C.size_t) C.int32_t {
	return export(message, messageSize, func() error {
		rt, done, err := use[*openRuntime](&handles, uint64(handle))
		if err != nil {
			return err
		}
		defer done()
		text, err := json.Marshal(rt.Report())
		if err != nil {
			return err
		}
		return answer(text, buffer, size, needed)
	})
}

//export credence_close
func credence_close(handle C.uint64_t, message *C.char, messageSize C.size_t) C.int32_t {
	return export(message, messageSize, func() error {
		value, err := release[interface{ close() }](&handles, uint64(handle))
		if err != nil {
			return err
		}
		value.close()
		return nil
	})
}

// export runs the body of an exported function and writes the text of its error to the caller's buffer.
func export(message *C.char, size C.size_t, body func() error) C.int32_t {
	code, text := guard(body)
	if code != statusOK && message != nil && size > 0 {
		terminate(message, size, text)
	}
	return C.int32_t(code)
}

// answer writes text and a NUL to the caller's buffer if it holds them.
func answer(text []byte, buffer *C.char, size C.size_t, needed *C.size_t) error {
	want := len(text) + 1
	if needed != nil {
		*needed = C.size_t(want)
	}
	switch {
	case buffer == nil && size == 0 && needed != nil:
		return nil
	case buffer == nil:
		return fmt.Errorf("%w: buffer and needed are NULL, or buffer is NULL and size is not 0", runtime.ErrInvalidArgument)
	case uint64(size) < uint64(want):
		return fmt.Errorf("%w: %d bytes are needed, it has %d", errTooSmall, want, uint64(size))
	}
	terminate(buffer, size, string(text))
	return nil
}

// terminate copies as many whole characters of text as fit, and a NUL. size is not 0.
func terminate(buffer *C.char, size C.size_t, text string) {
	n := min(uint64(size)-1, uint64(len(text)))
	for n > 0 && n < uint64(len(text)) && !utf8.RuneStart(text[n]) {
		n--
	}
	to := unsafe.Slice((*byte)(unsafe.Pointer(buffer)), n+1)
	copy(to, text[:n])
	to[n] = 0
}

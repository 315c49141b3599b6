package main

import (
	"errors"
	"fmt"

	"github.com/credence-ml/credence/runtime"
)

// A status is what every exported function returns. Numbers equal those of credence.h; they are permanent.
type status int32

const (
	statusOK              status = 0
	statusInvalidArgument status = 1
	statusUnsupported     status = 2
	statusOutOfMemory     status = 3
	statusCancelled       status = 4
	statusDeviceLost      status = 5
	statusNoDevice        status = 6
	statusInternal        status = 7
	statusBadHandle       status = 9
	statusBufferTooSmall  status = 10
	statusBusy            status = 11
	statusBadFile         status = 12
)

// errTooSmall is the error of a caller's buffer that cannot hold the answer.
var errTooSmall = errors.New("the buffer is too small")

// A fileError is what is wrong with a file that was to be loaded.
type fileError struct{ error }

func (e *fileError) Unwrap() error { return e.error }

// guard runs the body of an exported function. A panic that left Go would end the host process, so here it becomes a
// status and a text, as every error does.
func guard(body func() error) (code status, text string) {
	defer func() {
		if p := recover(); p != nil {
			code, text = statusInternal, fmt.Sprintf("internal error: %v", p)
		}
	}()
	if err := body(); err != nil {
		return statusOf(err), err.Error()
	}
	return statusOK, ""
}

// statusOf sorts an error.
func statusOf(err error) status {
	var bad *handleError
	var file *fileError
	switch {
	case err == nil:
		return statusOK
	case errors.As(err, &bad), errors.Is(err, runtime.ErrClosed):
		return statusBadHandle
	case errors.Is(err, errTooSmall):
		return statusBufferTooSmall
	case errors.As(err, &file):
		return statusBadFile
	}
	for _, c := range []struct {
		is   error
		code status
	}{
		{runtime.ErrInvalidArgument, statusInvalidArgument},
		{runtime.ErrUnsupported, statusUnsupported},
		{runtime.ErrOutOfMemory, statusOutOfMemory},
		{runtime.ErrCancelled, statusCancelled},
		{runtime.ErrDeviceLost, statusDeviceLost},
		{runtime.ErrNoDevice, statusNoDevice},
		{runtime.ErrBusy, statusBusy},
	} {
		if errors.Is(err, c.is) {
			return c.code
		}
	}
	return statusInternal
}

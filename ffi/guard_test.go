package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/credence-ml/credence/runtime"
)

func TestGuard(t *testing.T) {
	code, text := guard(func() error { return nil })
	assert.Equal(t, statusOK, code)
	assert.Empty(t, text)

	code, text = guard(func() error { return fmt.Errorf("open: %w", runtime.ErrNoDevice) })
	assert.Equal(t, statusNoDevice, code)
	assert.Contains(t, text, "open: ")

	code, text = guard(func() error { panic("boom") })
	assert.Equal(t, statusInternal, code)
	assert.Equal(t, "internal error: boom", text)

	var none []int
	code, text = guard(func() error { return fmt.Errorf("%d", none[3]) })
	assert.Equal(t, statusInternal, code)
	assert.Contains(t, text, "index out of range")
}

func TestStatusOf(t *testing.T) {
	for err, want := range map[error]status{
		nil:                         statusOK,
		errors.New("what"):          statusInternal,
		errTooSmall:                 statusBufferTooSmall,
		&handleError{"stale"}:       statusBadHandle,
		&fileError{errors.New("x")}: statusBadFile,
		runtime.ErrClosed:           statusBadHandle,
		runtime.ErrInvalidArgument:  statusInvalidArgument,
		runtime.ErrUnsupported:      statusUnsupported,
		runtime.ErrOutOfMemory:      statusOutOfMemory,
		runtime.ErrCancelled:        statusCancelled,
		runtime.ErrDeviceLost:       statusDeviceLost,
		runtime.ErrNoDevice:         statusNoDevice,
		runtime.ErrBusy:             statusBusy,
	} {
		assert.Equal(t, want, statusOf(err), "%v", err)
		if err != nil {
			assert.Equal(t, want, statusOf(fmt.Errorf("around: %w", err)), "%v, wrapped", err)
		}
	}
}

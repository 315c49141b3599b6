package runtime

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/bindings"
)

var kinds = []error{ErrInvalidArgument, ErrUnsupported, ErrOutOfMemory, ErrCancelled, ErrDeviceLost, ErrNoDevice, ErrClosed,
	ErrBusy, ErrInternal}

// onlyKind checks that an error matches one kind and no other.
func onlyKind(t *testing.T, want, err error) {
	t.Helper()
	for _, k := range kinds {
		assert.Equal(t, k == want, errors.Is(err, k), "%v against %v", err, k)
	}
}

func TestNativeErrors(t *testing.T) {
	for status, want := range map[bindings.Status]error{
		bindings.InvalidArgument: ErrInvalidArgument, bindings.Unsupported: ErrUnsupported,
		bindings.OutOfMemory: ErrOutOfMemory, bindings.Cancelled: ErrCancelled, bindings.DeviceLost: ErrDeviceLost,
		bindings.NoDevice: ErrNoDevice, bindings.Internal: ErrInternal, bindings.Fault: ErrInternal, 99: ErrInternal,
	} {
		native := &bindings.Error{Call: "plan_open", Status: status, Message: "why"}
		err := fromNative("open plan", native)
		onlyKind(t, want, err)
		var got *bindings.Error
		require.ErrorAs(t, err, &got)
		assert.Same(t, native, got)
	}
	text := func(e bindings.Error) string { return fromNative("run", &e).Error() }
	assert.Equal(t, "run: out of memory: 5 bytes (native code 2)",
		text(bindings.Error{Call: "stream_submit", Status: bindings.OutOfMemory, NativeCode: 2, Message: "5 bytes"}))
	assert.Equal(t, "run: device lost: (native code 719)", text(bindings.Error{Status: bindings.DeviceLost, NativeCode: 719}))
	assert.Equal(t, "run: cancelled: stream_submit", text(bindings.Error{Call: "stream_submit", Status: bindings.Cancelled}))
	assert.Equal(t, "run: internal error: injected fault: third op", text(bindings.Error{Status: bindings.Fault, Message: "third op"}))
	assert.Equal(t, "run: internal error: unknown status 99", text(bindings.Error{Status: 99}))

	assert.NoError(t, fromNative("run", nil))
	other := errors.New("not of a backend")
	err := fromNative("load", other)
	onlyKind(t, ErrInternal, err)
	assert.ErrorIs(t, err, other)
	assert.EqualError(t, err, "load: internal error: not of a backend")
}

func TestCancelledErrors(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := cancelled("predict", ctx)
	onlyKind(t, ErrCancelled, err)
	assert.ErrorIs(t, err, context.Canceled)
	assert.EqualError(t, err, "predict: cancelled: context canceled")

	why := errors.New("the caller went home")
	ctx, cancelCause := context.WithCancelCause(context.Background())
	cancelCause(why)
	err = cancelled("predict", ctx)
	onlyKind(t, ErrCancelled, err)
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorIs(t, err, why)
	assert.EqualError(t, err, "predict: cancelled: context canceled: the caller went home")

	ctx, cancel = context.WithTimeout(context.Background(), 0)
	defer cancel()
	<-ctx.Done()
	err = cancelled("predict", ctx)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.NotErrorIs(t, err, context.Canceled)
}

func TestErrorText(t *testing.T) {
	assert.EqualError(t, newError("runtime", ErrClosed, ""), "runtime: closed")
	err := newError("matmul", ErrInvalidArgument, "a is 32x64, b is 32x10: inner sizes 64 and 32 differ")
	assert.EqualError(t, err, "matmul: invalid argument: a is 32x64, b is 32x10: inner sizes 64 and 32 differ")
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, "matmul", e.Op)
}

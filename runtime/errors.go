package runtime

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/credence-ml/credence/bindings"
)

// The kinds of failure. Every error of this package matches exactly one of them with errors.Is; the text says what was
// wrong with which values, and what would be right.
var (
	ErrInvalidArgument = errors.New("invalid argument") // the call cannot be right: shapes, ranges, names
	ErrUnsupported     = errors.New("unsupported")      // could be right, but not on this device or in this build
	ErrOutOfMemory     = errors.New("out of memory")
	ErrCancelled       = errors.New("cancelled")   // also matches the context's error and its cause
	ErrDeviceLost      = errors.New("device lost") // sticky: close the runtime
	ErrNoDevice        = errors.New("no device")
	ErrClosed          = errors.New("closed")
	ErrBusy            = errors.New("busy") // used by two goroutines at once where one is allowed
	ErrInternal        = errors.New("internal error")
)

// Error is the failure of one operation.
type Error struct {
	Op     string // what was tried: "open plan", "configuration", the name of a plan
	Kind   error  // one of the kinds above
	Detail string // what was wrong, and what would be right
	Cause  error  // what was behind it: a *bindings.Error, a context's cause; may be nil
}

// Error is one line: the operation, the kind, and the detail or else the cause.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v", e.Op, e.Kind)
	switch {
	case e.Detail != "":
		b.WriteString(": " + e.Detail)
	case e.Cause != nil:
		b.WriteString(": " + strings.ReplaceAll(e.Cause.Error(), "\n", ": "))
	}
	return b.String()
}

// Unwrap lets errors.Is and errors.As find the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

func newError(op string, kind error, detail string) error {
	return &Error{Op: op, Kind: kind, Detail: detail}
}

// cancelled is the error of an operation whose context ended. It matches ErrCancelled, the context's error and the
// cause that was given for it.
func cancelled(op string, ctx context.Context) error {
	cause := ctx.Err()
	if why := context.Cause(ctx); why != nil && why != cause {
		cause = errors.Join(cause, why)
	}
	return &Error{Op: op, Kind: ErrCancelled, Cause: cause}
}

var kindOfStatus = map[bindings.Status]error{
	bindings.InvalidArgument: ErrInvalidArgument,
	bindings.Unsupported:     ErrUnsupported,
	bindings.OutOfMemory:     ErrOutOfMemory,
	bindings.Cancelled:       ErrCancelled,
	bindings.DeviceLost:      ErrDeviceLost,
	bindings.NoDevice:        ErrNoDevice,
}

// fromNative turns an error of package bindings into one of this package.
func fromNative(op string, err error) error {
	if err == nil {
		return nil
	}
	var native *bindings.Error
	if !errors.As(err, &native) {
		return &Error{Op: op, Kind: ErrInternal, Cause: err}
	}
	e := &Error{Op: op, Kind: kindOfStatus[native.Status], Detail: native.Message, Cause: native}
	if e.Kind == nil {
		e.Kind = ErrInternal
		e.Detail = strings.TrimSuffix(native.Status.String()+": "+native.Message, ": ")
	}
	if native.NativeCode != 0 {
		e.Detail = strings.TrimPrefix(fmt.Sprintf("%s (native code %d)", e.Detail, native.NativeCode), " ")
	}
	if e.Detail == "" {
		e.Detail = native.Call
	}
	return e
}

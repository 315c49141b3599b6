package bindings

import (
	"fmt"
	"strings"
)

// Status is the outcome of a native call. Numbers equal those of credence_native.h.
type Status int32

// The statuses a backend may return.
const (
	OK              Status = 0
	InvalidArgument Status = 1 // the call cannot be right: shapes, ranges, null handles
	Unsupported     Status = 2 // could be right, but not here: unknown opcode, type or option
	OutOfMemory     Status = 3
	Cancelled       Status = 4
	DeviceLost      Status = 5 // sticky: the device must be closed
	NoDevice        Status = 6 // the backend works, the machine has no device for it
	Internal        Status = 7
	Fault           Status = 8 // injected by SetOption("fault.*") in a test build
)

var statusNames = [...]string{"ok", "invalid argument", "unsupported", "out of memory", "cancelled", "device lost",
	"no device", "internal error", "injected fault"}

// String is the status in words.
func (s Status) String() string {
	if s >= 0 && int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("unknown status %d", int32(s))
}

// Error is the failure of a native call.
type Error struct {
	Call       string // the entry of the backend's table: "plan_open"
	Status     Status
	NativeCode int // the vendor's own error number, else 0
	Message    string
}

// Error is one line: the call, the status, what the backend said and the vendor's number.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v", e.Call, e.Status)
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.NativeCode != 0 {
		fmt.Fprintf(&b, " (native code %d)", e.NativeCode)
	}
	return b.String()
}

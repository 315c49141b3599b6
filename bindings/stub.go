//go:build !cgo || !unix

package bindings

import "unsafe"

// Native reports whether this build can load native backends.
const Native = false

// Load fails: native backends need cgo and dlopen.
func Load(path string) (*Library, error) { return nil, &LoadError{path, ErrNoCgo} }

// Directory is "": without cgo this code is never part of a shared library.
func Directory() string { return "" }

// No Library exists in this build, so no method below is ever reached through Load.

func errStub(call string) error {
	return &Error{Call: call, Status: Unsupported, Message: ErrNoCgo.Error()}
}

// DeviceCount fails in a build without cgo.
func (l *Library) DeviceCount() (int, error) { return 0, errStub("device_count") }

// Info fails in a build without cgo.
func (l *Library) Info(int) (DeviceInfo, error) { return DeviceInfo{}, errStub("device_info") }

// OpenDevice fails in a build without cgo.
func (l *Library) OpenDevice(int, int) (*Device, error) { return nil, errStub("device_open") }

// Close does nothing in a build without cgo.
func (d *Device) Close() {}

// Info fails in a build without cgo.
func (d *Device) Info() (DeviceInfo, error) { return DeviceInfo{}, errStub("device_info") }

// SetOption fails in a build without cgo.
func (d *Device) SetOption(string, string) error { return errStub("set_option") }

// Alloc fails in a build without cgo.
func (d *Device) Alloc(uint64, bool) (*Buffer, error) { return nil, errStub("buffer_alloc") }

// Wrap fails in a build without cgo.
func (d *Device) Wrap(unsafe.Pointer, uint64) (*Buffer, error) { return nil, errStub("buffer_wrap") }

// Free does nothing in a build without cgo.
func (b *Buffer) Free() {}

// OpenPlan fails in a build without cgo.
func (d *Device) OpenPlan(*Tables) (*Plan, error) { return nil, errStub("plan_open") }

// OpSupported fails in a build without cgo.
func (d *Device) OpSupported(*Tables, int) error { return errStub("op_supported") }

// Close does nothing in a build without cgo.
func (p *Plan) Close() {}

// OpenStream fails in a build without cgo.
func (d *Device) OpenStream() (*Stream, error) { return nil, errStub("stream_open") }

// Close does nothing in a build without cgo.
func (s *Stream) Close() {}

// Run fails in a build without cgo.
func (s *Stream) Run(*Plan, uint64, []Slot, []int64, []float64) error { return errStub("stream_run") }

// Submit fails in a build without cgo.
func (s *Stream) Submit(*Plan, uint64, []Slot, []int64, []float64) error {
	return errStub("stream_submit")
}

// Sync fails in a build without cgo.
func (s *Stream) Sync() error { return errStub("stream_sync") }

// Cancel does nothing in a build without cgo.
func (s *Stream) Cancel(uint64) {}

// Clock fails in a build without cgo.
func (s *Stream) Clock() (uint64, error) { return 0, errStub("stream_clock") }

// Write fails in a build without cgo.
func (s *Stream) Write(*Buffer, uint64, []byte) error { return errStub("buffer_write") }

// Read fails in a build without cgo.
func (s *Stream) Read([]byte, *Buffer, uint64) error { return errStub("buffer_read") }

// Post fails in a build without cgo.
func (s *Stream) Post(*Buffer, uint64, []byte) error { return errStub("buffer_write") }

// WriteAsync fails in a build without cgo.
func (s *Stream) WriteAsync(*Buffer, uint64, unsafe.Pointer, uint64) error {
	return errStub("buffer_write")
}

// ReadAsync fails in a build without cgo.
func (s *Stream) ReadAsync(unsafe.Pointer, *Buffer, uint64, uint64) error {
	return errStub("buffer_read")
}

// Copy fails in a build without cgo.
func (s *Stream) Copy(*Buffer, uint64, *Buffer, uint64, uint64) error { return errStub("buffer_copy") }

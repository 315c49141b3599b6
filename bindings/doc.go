// Package bindings loads native backends and forwards calls to them. It is the only package that includes
// credence_native.h, and it adds no policy: which backend is loaded, what runs where, and who may use a handle when is
// decided in package runtime.
//
// A backend is one shared library with one exported symbol (see native/include/credence_native.h). Every handle here
// owns one handle of the backend until it is closed or freed; closing twice is harmless, using a closed handle is an
// error. Unless a method says otherwise, a handle is used by one goroutine at a time.
//
// Without cgo, or on a system without dlopen, the package compiles with the same API and Load always fails.
package bindings

// Command ffi is libcredence.so, the C interface of the runtime:
//
//	go build -buildmode=c-shared -ldflags "-extldflags '-Wl,--version-script=ffi/credence.map'" -o libcredence.so ./ffi
//
// credence.h is the interface and its documentation; it is written by hand, and a test holds it and the exports
// together. Go owns every object; C holds numbers (see table).
package main

// main is never called: a program of build mode c-shared must have one.
func main() {}

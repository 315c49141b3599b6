// Package include holds the C headers of the native ABI. It has no Go code; being a package is what makes `go mod vendor`
// copy the headers that package bindings compiles against.
package include

//go:build !cgo

package testenv

const cgo = false

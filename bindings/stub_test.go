//go:build !cgo || !unix

package bindings

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestWithoutCgo(t *testing.T) {
	_, err := Load("/usr/lib/credence/libcredence_cpu.so")
	assert.ErrorIs(t, err, ErrNoCgo)
	assert.Empty(t, Directory())
}

package main

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/runtime"
)

// matches are the first groups of all matches of pattern in a file.
func matches(t *testing.T, file, pattern string) []string {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var found []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
		found = append(found, m[1])
	}
	require.NotEmpty(t, found, "%s has no %s", file, pattern)
	return found
}

// What credence.h declares is what Go exports and what the linker lets through. (That the types agree is the compiler's
// to check: see export.go.)
func TestHeaderMatchesExports(t *testing.T) {
	declared := matches(t, "credence.h", `(?m)^[a-z][a-z0-9_ ]* \**(credence_[a-z_]+)\(`)
	exported := append(matches(t, "export.go", `(?m)^//export (credence_[a-z_]+)$`), matches(t, "export_model.go", `(?m)^//export (credence_[a-z_]+)$`)...)
	assert.ElementsMatch(t, declared, exported)
	assert.ElementsMatch(t, declared, matches(t, "credence.map", `(?m)^ +(credence_[a-z_]+);$`))
}

func TestHeaderVersion(t *testing.T) {
	assert.Equal(t, []string{runtime.Version}, matches(t, "credence.h", `#define CREDENCE_VERSION "(.*)"`))
}

// Status numbers are permanent: those of credence.h are those of guard.go, in the same order.
func TestHeaderStatuses(t *testing.T) {
	var numbers []status
	for _, n := range matches(t, "credence.h", `CREDENCE_STATUS_[A-Z_]+ = (\d+)`) {
		v, err := strconv.Atoi(n)
		require.NoError(t, err)
		numbers = append(numbers, status(v))
	}
	assert.Equal(t, []status{statusOK, statusInvalidArgument, statusUnsupported, statusOutOfMemory, statusCancelled,
		statusDeviceLost, statusNoDevice, statusInternal, statusBadHandle, statusBufferTooSmall, statusBusy, statusBadFile}, numbers)
	assert.Equal(t, []status{0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12}, numbers)
}

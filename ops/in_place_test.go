package ops

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A backend refuses an output that overlaps an input, except for the operations that the native header lists: those for
// which Roots may plan the same memory.
func TestInPlaceMatchesTheNativeHeader(t *testing.T) {
	text, err := os.ReadFile("../native/include/credence_ops.h")
	require.NoError(t, err)
	var want, got []string
	for _, m := range regexp.MustCompile(`\bIN_PLACE\(([A-Z0-9_]+)\)`).FindAllStringSubmatch(string(text), -1) {
		want = append(want, strings.ToLower(m[1]))
	}
	require.NotEmpty(t, want, "CREDENCE_IN_PLACE_OPS not found")
	for _, d := range Defs() {
		if d.InPlace {
			got = append(got, d.Name)
		}
	}
	assert.ElementsMatch(t, want, got)
}

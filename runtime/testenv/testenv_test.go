package testenv

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRoot(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := os.Stat(filepath.Join(Root(), "go.mod"))
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(Root(), "build", "lib"), BackendDir())
	t.Setenv("CREDENCE_TEST_ROOT", "/elsewhere")
	assert.Equal(t, "/elsewhere", Root())
}

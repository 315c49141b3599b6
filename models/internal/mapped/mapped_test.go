package mapped

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOpen(t *testing.T) {
	for _, size := range []int{0, 1, 63, 64, 4095, 4096, 4097, 10000} {
		path := filepath.Join(t.TempDir(), "f")
		content := bytes.Repeat([]byte{0xa5}, size)
		require.NoError(t, os.WriteFile(path, content, 0o644))
		f, err := Open(path)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(content, f.Data), "%d bytes", size)
		if f.Padded != nil {
			require.Zero(t, len(f.Padded)%Pad)
			require.GreaterOrEqual(t, len(f.Padded), size)
			for _, b := range f.Padded[size:] {
				require.Zero(t, b, "the padding of %d bytes", size)
			}
		}
		require.NoError(t, f.Close())
		require.NoError(t, f.Close(), "a second Close")
		assert.Nil(t, f.Data)
	}
}

func TestOnlyRegularFiles(t *testing.T) {
	_, err := Open(t.TempDir())
	assert.ErrorContains(t, err, "not a regular file")
	_, err = Open(filepath.Join(t.TempDir(), "missing"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}

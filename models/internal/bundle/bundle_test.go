package bundle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 1<<19)
	var got []string
	for n, line := range Lines(strings.NewReader("a\r\n\n"+long+"\nlast"), "f") {
		require.NoError(t, line.Err)
		require.Equal(t, len(got)+1, n)
		got = append(got, string(line.Text))
	}
	assert.Equal(t, []string{"a", "", long, "last"}, got)
	for range Lines(strings.NewReader(""), "f") {
		t.Error("a line of nothing")
	}
	var err error
	for _, line := range Lines(strings.NewReader(strings.Repeat("x", MaxLine+1)), "f") {
		err = line.Err
	}
	assert.ErrorContains(t, err, "f, line 1: more than 67108864 bytes on one line")
}

func TestOnlyRegularFilesInside(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.WriteFile(outside, []byte("{}"), 0o666))
	path := t.TempDir()
	require.NoError(t, os.Symlink(outside, filepath.Join(path, "link")))
	require.NoError(t, os.Mkdir(filepath.Join(path, "sub"), 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(path, "file"), []byte(`{"a":1}`), 0o666))
	dir, err := Open(path)
	require.NoError(t, err)
	defer dir.Close()
	_, err = dir.Object("link", 100)
	assert.ErrorContains(t, err, "not a regular file but a symbolic link")
	_, err = dir.Object("sub", 100)
	assert.ErrorContains(t, err, "not a regular file but a directory")
	_, err = dir.Object("../"+filepath.Base(filepath.Dir(outside)), 100)
	assert.Error(t, err)
	_, err = dir.Object("none", 100)
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = dir.Object("file", 6)
	assert.ErrorContains(t, err, "7 bytes; at most 6 are allowed")
	o, err := dir.Object("file", 7)
	require.NoError(t, err)
	assert.Len(t, o, 1)
	f, size, err := dir.File("file")
	require.NoError(t, err)
	defer f.Close()
	assert.EqualValues(t, 7, size)
	sum, err := SumFile(filepath.Join(path, "file"))
	require.NoError(t, err)
	require.NoError(t, CheckSum(sum))
	require.NoError(t, dir.Verify(f, "file", sum))
	require.NoError(t, dir.Verify(f, "file", sum), "verified from the beginning again")
	assert.ErrorContains(t, dir.Verify(f, "file", strings.Repeat("0", 64)), "its SHA-256 is")
	assert.Error(t, CheckSum(strings.ToUpper(sum)))
}

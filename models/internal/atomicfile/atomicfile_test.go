package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func names(t *testing.T, dir string) (list []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func content(t *testing.T, path string) string {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

func TestWriteReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model")
	require.NoError(t, WriteFile(path, []byte("one")))
	assert.Equal(t, "one", content(t, path))
	require.NoError(t, os.Chmod(path, 0o640))
	require.NoError(t, WriteFile(path, []byte("two")))
	assert.Equal(t, "two", content(t, path))
	assert.Equal(t, []string{"model"}, names(t, dir))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode().Perm(), "permissions are kept")
}

func TestFailureLeavesThePathAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model")
	require.NoError(t, WriteFile(path, []byte("old")))
	broken := errors.New("no more")
	err := Write(path, func(w io.Writer) error {
		_, err := w.Write(make([]byte, 1<<20))
		require.NoError(t, err)
		return broken
	})
	assert.ErrorIs(t, err, broken)
	assert.Equal(t, "old", content(t, path))
	assert.Equal(t, []string{"model"}, names(t, dir))

	f, err := Create(path)
	require.NoError(t, err)
	require.NoError(t, f.Commit())
	assert.Error(t, f.Commit(), "a second commit")
	assert.NoError(t, f.Close())
	assert.Equal(t, "", content(t, path))
}

func TestLinksStayLinks(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o777))
	require.NoError(t, WriteFile(real, []byte("old")))
	require.NoError(t, os.Symlink("real", link))
	require.NoError(t, WriteFile(link, []byte("new")))
	assert.Equal(t, "new", content(t, real))
	to, err := os.Readlink(link)
	require.NoError(t, err)
	assert.Equal(t, "real", to)
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	assert.ErrorContains(t, WriteFile(dir, nil), "is a directory and cannot be replaced by a file")
	assert.ErrorContains(t, WriteFile(os.DevNull, nil), "is a device")
	assert.ErrorIs(t, WriteFile(filepath.Join(dir, "none", "model"), nil), os.ErrNotExist)
	file := filepath.Join(dir, "file")
	require.NoError(t, WriteFile(file, []byte("x")))
	nothing := func(string) error { return nil }
	assert.ErrorContains(t, WriteDir(file, nothing), "is a file and cannot be replaced by a directory")
	assert.ErrorContains(t, WriteDir("/", nothing), "cannot be replaced")
	assert.Equal(t, []string{"file"}, names(t, dir))
}

func TestLongNames(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("x", 255))
	require.NoError(t, WriteFile(path, []byte("long")))
	assert.Equal(t, "long", content(t, path))
}

func TestWriteDir(t *testing.T) {
	parent := t.TempDir()
	path := filepath.Join(parent, "model.dir")
	put := func(name, text string) error {
		return WriteDir(path, func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666) })
	}
	require.NoError(t, put("a", "one"))
	require.NoError(t, put("b", "two"))
	assert.Equal(t, []string{"b"}, names(t, path))
	assert.Equal(t, "two", content(t, filepath.Join(path, "b")))
	assert.Equal(t, []string{"model.dir"}, names(t, parent))

	broken := errors.New("no more")
	assert.ErrorIs(t, WriteDir(path, func(string) error { return broken }), broken)
	assert.Equal(t, []string{"b"}, names(t, path))
	assert.Equal(t, []string{"model.dir"}, names(t, parent))
}

func TestExchangeByRename(t *testing.T) {
	parent := t.TempDir()
	a, b := filepath.Join(parent, "a"), filepath.Join(parent, "b")
	require.NoError(t, os.Mkdir(a, 0o777))
	require.NoError(t, os.Mkdir(b, 0o777))
	require.NoError(t, WriteFile(filepath.Join(a, "new"), nil))
	require.NoError(t, WriteFile(filepath.Join(b, "old"), nil))
	require.NoError(t, exchangeByRename(a, b))
	assert.Equal(t, []string{"b"}, names(t, parent))
	assert.Equal(t, []string{"new"}, names(t, b))
	assert.ErrorIs(t, exchangeByRename(a, b), os.ErrNotExist)
	assert.Equal(t, []string{"new"}, names(t, b), "the old directory is put back")
}

// A writer that lives keeps its temporary file; one that died does not.
func TestStaleFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model")
	stale := filepath.Join(dir, tempPrefix(path)+"0000000000000001")
	require.NoError(t, os.WriteFile(stale, []byte("part"), 0o666))
	staleDir := filepath.Join(dir, tempPrefix(path)+"0000000000000002")
	require.NoError(t, os.MkdirAll(filepath.Join(staleDir, "sub"), 0o777))
	other := filepath.Join(dir, tempPrefix("model2")+"0000000000000001")
	require.NoError(t, os.WriteFile(other, []byte("part"), 0o666))

	alive, err := Create(path)
	require.NoError(t, err)
	assert.NoFileExists(t, stale)
	assert.NoDirExists(t, staleDir)
	assert.FileExists(t, other, "another file's writer")
	require.NoError(t, WriteFile(path, []byte("second")))
	assert.FileExists(t, alive.temp)
	_, err = alive.Write([]byte("first"))
	require.NoError(t, err)
	require.NoError(t, alive.Commit())
	assert.Equal(t, "first", content(t, path))
}

func TestManyWriters(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model")
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 20 {
				assert.NoError(t, WriteFile(path, []byte(strings.Repeat(string(rune('a'+i)), 100_000))))
			}
		})
	}
	group.Wait()
	data := content(t, path)
	assert.Equal(t, strings.Repeat(data[:1], 100_000), data)
	assert.Equal(t, []string{"model"}, names(t, dir))
}

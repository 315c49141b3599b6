//go:build cgo && unix

package bindings

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLoad(t *testing.T) {
	path := build(t)
	lib, err := Load(path)
	require.NoError(t, err)
	assert.Equal(t, path, lib.Path)
	assert.Equal(t, "fake", lib.Name)
	assert.Equal(t, "fake 1.0, for tests", lib.Build)
	assert.Equal(t, "1.0", FormatABI(lib.ABI))

	again, err := Load(path)
	require.NoError(t, err)
	assert.Equal(t, lib, again, "the same file is the same backend")
}

func TestLoadAcceptsNewerMinor(t *testing.T) {
	lib, err := Load(build(t, "-DFAKE_ABI=0x10007"))
	require.NoError(t, err)
	assert.Equal(t, "1.7", FormatABI(lib.ABI))
}

func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct{ name, flag, want string }{
		{"wrong ABI major", "-DFAKE_ABI=0x20000", "ABI major 2, this program speaks 1"},
		{"ABI of another age", "-DFAKE_ABI=0", "ABI major 0, this program speaks 1"},
		{"symbol missing", "-DFAKE_NO_SYMBOL", "not a Credence backend: symbol missing (credence_backend_entry)"},
		{"table too small", "-DFAKE_SMALL", "struct_size too small: a table of 184 bytes, ABI 1.0 has 192"},
		{"null entry", "-DFAKE_NULL_ENTRY", "null entry in the table: stream_submit"},
		{"no table", "-DFAKE_NO_TABLE", "credence_backend_entry returned no table"},
		{"unresolved symbol", "-DFAKE_UNRESOLVED", "undefined symbol: credence_test_symbol_that_nobody_defines"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := build(t, c.flag)
			_, err := Load(path)
			assert.EqualError(t, err, "load "+path+": "+c.want)
		})
	}
}

func TestLoadRefusesOtherFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
		return path
	}
	for path, want := range map[string]string{
		write("text.so", "#!/bin/sh\necho this is not a library, however executable it may be marked\n"): "not a shared library: no ELF header",
		write("short.so", "\x7fELF"):            "not a shared library: no ELF header",
		write("empty.so", ""):                   "the file is empty",
		dir:                                     "not a regular file",
		filepath.Join(dir, "libcredence_no.so"): "no such file or directory",
		filepath.Join(dir, "empty.so", "x.so"):  "no such file or directory",
	} {
		_, err := Load(path)
		assert.EqualError(t, err, "load "+path+": "+want)
	}
	_, err := Load(filepath.Join(dir, "libcredence_no.so"))
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = Load("libcredence_cpu.so")
	assert.EqualError(t, err, `load "libcredence_cpu.so": the path of a backend must be absolute`)
}

func TestLoadRefusesOtherProcessors(t *testing.T) {
	path := build(t)
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, c := range []struct {
		at   int
		to   byte
		want string
	}{
		{4, 1, "a library for "},             // 32-bit
		{5, 2, "a library for "},             // big-endian
		{18, 8, "a library for EM_MIPS"},     // machine
		{16, 2, "not a shared library: ELF"}, // type EXEC
		{54, 1, "damaged: program headers"},  // size of a program header
	} {
		other := append([]byte(nil), image...)
		other[c.at] = c.to
		file := filepath.Join(t.TempDir(), "other.so")
		require.NoError(t, os.WriteFile(file, other, 0o600))
		_, err = Load(file)
		assert.ErrorContains(t, err, c.want)
	}
}

// The dynamic linker maps a truncated library without complaint and the process dies at the first missing page.
func TestLoadRefusesTruncated(t *testing.T) {
	image, err := os.ReadFile(build(t))
	require.NoError(t, err)
	dir := t.TempDir()
	for n := 64; n < len(image); n += 509 {
		file := filepath.Join(dir, "cut.so")
		require.NoError(t, os.WriteFile(file, image[:n], 0o600))
		_, err := Load(file)
		require.ErrorContains(t, err, "truncated: ", "%d of %d bytes", n, len(image))
		require.NoError(t, os.Remove(file))
	}
}

func TestDirectory(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	assert.Equal(t, filepath.Dir(exe), Directory(), "a test binary contains this code itself")
}

package fetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/data"
)

var contents = []string{"\x00\x00\x08\x03....", "\x00\x00\x08\x01....", "pixels", "labels"}

// small is a data set with the usual names and small contents, and dir a directory with its files.
func small(t *testing.T, from source) (d Dataset, dir string) {
	d, dir = Dataset{Name: "small", Title: "a small one", source: from}, t.TempDir()
	for i, f := range mnist.Files {
		sum := sha256.Sum256([]byte(contents[i]))
		d.Files = append(d.Files, File{f.Name, int64(len(contents[i])), hex.EncodeToString(sum[:])})
		put(t, filepath.Join(dir, f.Name), contents[i])
	}
	return d, dir
}

func put(t *testing.T, path, text string) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o666))
}

// programs makes PATH a directory with these shell scripts only.
func programs(t *testing.T, scripts map[string]string) {
	if runtime.GOOS == "windows" {
		t.Skip("shell scripts")
	}
	dir := t.TempDir()
	for name, script := range scripts {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o777))
	}
	t.Setenv("PATH", dir)
}

func fetch(t *testing.T, d Dataset, out string) (bool, error) {
	return d.Fetch(t.Context(), out, func(line string) { assert.NotContains(t, line, "\n") })
}

func names(t *testing.T, dir string) (list []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestGoModule(t *testing.T) {
	d, files := small(t, goModule{"example.org/digits", "v1.2.3", "data"})
	module := t.TempDir()
	require.NoError(t, os.Rename(files, filepath.Join(module, "data")))
	programs(t, map[string]string{"go": `[ "$*" = "mod download -json example.org/digits@v1.2.3" ] || exit 3
[ -z "$(ls -A)" ] || exit 4
echo '{"Path": "x", "Dir": "` + module + `"}'`})
	t.Setenv("PATH", os.Getenv("PATH")+":/bin:/usr/bin")
	parent := t.TempDir()
	out := filepath.Join(parent, "new", "digits")
	fetched, err := fetch(t, d, out)
	require.NoError(t, err)
	assert.True(t, fetched)
	assert.NoError(t, d.Verify(out))
	assert.Equal(t, []string{"digits"}, names(t, filepath.Dir(out)))
	for i, f := range d.Files {
		packed, err := os.Open(filepath.Join(out, f.Name))
		require.NoError(t, err)
		r, err := gzip.NewReader(packed)
		require.NoError(t, err)
		var text bytes.Buffer
		_, err = text.ReadFrom(r)
		require.NoError(t, err)
		assert.Equal(t, contents[i], text.String())
		packed.Close()
	}

	fetched, err = fetch(t, d, out)
	require.NoError(t, err)
	assert.False(t, fetched, "already there")

	require.NoError(t, os.WriteFile(filepath.Join(out, d.Files[2].Name), []byte("broken"), 0o666))
	fetched, err = fetch(t, d, out)
	require.NoError(t, err)
	assert.True(t, fetched, "a broken copy is replaced")
	assert.NoError(t, d.Verify(out))

	require.NoError(t, os.WriteFile(filepath.Join(out, "notes"), nil, 0o666))
	require.NoError(t, os.Remove(filepath.Join(out, d.Files[2].Name)))
	_, err = fetch(t, d, out)
	assert.EqualError(t, err, out+" holds other files (notes): name a directory that is new or empty")
}

func TestGoModuleFailures(t *testing.T) {
	d, _ := small(t, goModule{"example.org/digits", "v1.2.3", "data"})
	out := filepath.Join(t.TempDir(), "digits")
	empty := t.TempDir()
	for want, script := range map[string]string{
		"go mod download: module not found":                      `printf %s '{"Error": "example.org:\n\tmodule not found"}'; exit 1`,
		"exit status 2: go: unknown subcommand":                  `echo "go: unknown subcommand" >&2; exit 2`,
		"exit status 3: no reason given":                         `exit 3`,
		`no directory in its answer "{}\n"`:                      `echo '{}'`,
		"train-images-idx3-ubyte.gz is missing from the package": `echo '{"Dir": "` + empty + `"}'`,
	} {
		programs(t, map[string]string{"go": script})
		_, err := fetch(t, d, out)
		assert.ErrorContains(t, err, want)
		assert.NoDirExists(t, out)
	}
	programs(t, nil)
	_, err := fetch(t, d, out)
	var byHand *ByHandError
	require.ErrorAs(t, err, &byHand)
	assert.ErrorIs(t, err, exec.ErrNotFound)
	assert.ErrorContains(t, err, "small: the program go is not installed here")
	assert.Contains(t, byHand.Advice, "`go mod download -json example.org/digits@v1.2.3` prints a Dir; the files are in its data/.")
	assert.Contains(t, byHand.Advice, "put them into "+out)
}

func TestDebianPackage(t *testing.T) {
	d, files := small(t, debianPackage{"dataset-small", "/nowhere/datasets/small"})
	good := map[string]string{
		"apt-get":  `[ "$*" = "-q download dataset-small" ] && echo archive > dataset-small_1_all.deb`,
		"dpkg-deb": `[ "$1" = -x ] && [ "$(cat "$2")" = archive ] && mkdir -p "$3/nowhere/datasets" && cp -r "` + files + `" "$3/nowhere/datasets/small"`,
	}
	programs(t, good)
	t.Setenv("PATH", os.Getenv("PATH")+":/bin:/usr/bin")
	out := filepath.Join(t.TempDir(), "small")
	fetched, err := fetch(t, d, out)
	require.NoError(t, err)
	assert.True(t, fetched)
	assert.NoError(t, d.Verify(out))

	out = filepath.Join(t.TempDir(), "small")
	for want, change := range map[string][2]string{
		"apt-get -q download dataset-small: exit status 100: E: Unable to locate package": {"apt-get", `echo "W: x
E: Unable to locate package" >&2; exit 100`},
		"expected one package file, found 0":    {"apt-get", `exit 0`},
		"dpkg-deb: error: not a package":        {"dpkg-deb", `echo "dpkg-deb: error: not a package" >&2; exit 2`},
		"train-images-idx3-ubyte.gz is missing": {"dpkg-deb", `exit 0`},
	} {
		scripts := map[string]string{"apt-get": good["apt-get"], "dpkg-deb": good["dpkg-deb"]}
		scripts[change[0]] = change[1]
		programs(t, scripts)
		t.Setenv("PATH", os.Getenv("PATH")+":/bin:/usr/bin")
		_, err = fetch(t, d, out)
		assert.ErrorContains(t, err, want)
		assert.NoDirExists(t, out)
	}
	programs(t, nil)
	_, err = fetch(t, d, out)
	assert.ErrorContains(t, err, "the program apt-get is not installed here")
	assert.ErrorContains(t, err, "`apt-get update && apt-get install dataset-small` puts the files into /nowhere/datasets/small")

	// installed: no program is needed
	d.source = debianPackage{"dataset-small", files}
	fetched, err = fetch(t, d, out)
	require.NoError(t, err)
	assert.True(t, fetched)
}

func TestWrongContentIsNotPublished(t *testing.T) {
	d, files := small(t, nil)
	d.source = debianPackage{"dataset-small", files}
	path := filepath.Join(files, d.Files[2].Name)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), "small")
	for name, change := range map[string]struct {
		do   func()
		want string
	}{
		"other": {func() { put(t, path, "Pixels") }, "expected content with SHA-256"},
		"short": {func() { put(t, path, "pixel") }, "expected 6 bytes unpacked, found 5"},
		"long":  {func() { put(t, path, "pixels!") }, "expected 6 bytes unpacked, found more"},
		"plain": {func() { require.NoError(t, os.WriteFile(path, []byte("pixels and more"), 0o666)) }, "expected a gzip stream"},
		"cut":   {func() { require.NoError(t, os.WriteFile(path, whole[:len(whole)-9], 0o666)) }, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			change.do()
			_, err := fetch(t, d, out)
			require.ErrorContains(t, err, change.want)
			assert.ErrorContains(t, err, path)
			assert.NoDirExists(t, out)
			assert.Empty(t, names(t, filepath.Dir(out)))
		})
	}
}

func TestCancelled(t *testing.T) {
	d, _ := small(t, goModule{"example.org/digits", "v1.2.3", "data"})
	programs(t, map[string]string{"go": "exec /bin/sleep 60"})
	ctx, cancel := context.WithCancel(t.Context())
	_, err := d.Fetch(ctx, filepath.Join(t.TempDir(), "x"), func(string) { cancel() })
	assert.ErrorIs(t, err, context.Canceled)
}

func TestLookup(t *testing.T) {
	for _, d := range Datasets() {
		got, err := Lookup(d.Name)
		require.NoError(t, err)
		assert.Equal(t, d, got)
		assert.Len(t, d.Files, 4)
	}
	_, err := Lookup("imagenet")
	assert.EqualError(t, err, `data set "imagenet": want one of mnist, fashion-mnist`)
}

// The real data sets, where this machine has them without a network: the module in Go's cache, the package installed.
func TestRealDatasets(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	for _, d := range Datasets() {
		t.Run(d.Name, func(t *testing.T) {
			if p, ok := d.source.(debianPackage); ok {
				if _, err := os.Stat(p.dir); err != nil {
					t.Skip("the package is not installed: ", err)
				}
			}
			out := filepath.Join(t.TempDir(), "data")
			_, err := fetch(t, d, out)
			var byHand *ByHandError
			if errors.As(err, &byHand) && !strings.Contains(err.Error(), "expected") {
				t.Skip("the module is not in the cache: ", byHand.Cause)
			}
			require.NoError(t, err)
			for split, want := range map[string]int{"train": 60_000, "test": 10_000} {
				im, err := data.LoadDirectory(out, split)
				require.NoError(t, err)
				assert.Equal(t, [4]int{want, 28, 28, 1}, [4]int{im.N, im.Height, im.Width, im.Channels})
				counts, err := data.ClassCounts(im.Labels, 10)
				require.NoError(t, err)
				assert.NotContains(t, counts, 0)
			}
		})
	}
}

//go:build unix

package dataset

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/internal/bundle"
)

// honest writes a bundle and returns its directory.
func honest(t testing.TB) string {
	path := filepath.Join(t.TempDir(), "x.sdmdataset")
	require.NoError(t, sample().Write(path))
	return path
}

// edit replaces text in a file of the bundle; reseal puts the right checksum of a file into the manifest again, so that
// what lies behind the checksum is reached.
func edit(t testing.TB, dir, name, old, new string) {
	path := filepath.Join(dir, name)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(text), old)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(text), old, new, 1)), 0o666))
}

func reseal(t testing.TB, dir, name, before string) {
	after, err := bundle.SumFile(filepath.Join(dir, name))
	require.NoError(t, err)
	edit(t, dir, manifestFile, before, after)
}

// tamper edits a file whose checksum is then made right.
func tamper(name, old, new string) func(t testing.TB, dir string) {
	return func(t testing.TB, dir string) {
		before, err := bundle.SumFile(filepath.Join(dir, name))
		require.NoError(t, err)
		edit(t, dir, name, old, new)
		reseal(t, dir, name, before)
	}
}

func forge(old, new string) func(t testing.TB, dir string) {
	return func(t testing.TB, dir string) { edit(t, dir, manifestFile, old, new) }
}

func TestHostileBundles(t *testing.T) {
	const one, nan, inf = "\x00\x00\x80\x3f", "\x00\x00\xc0\x7f", "\x00\x00\x80\x7f"
	good := honest(t)
	for _, c := range []struct {
		want   string
		change func(t testing.TB, dir string)
	}{
		{`key "rowCount" appears twice`, forge(`"rowCount":3`, `"rowCount":3, "rowCount": 3`)},
		{`key "sha256" appears twice`, forge(`"dtype"`, `"sha256":"0","dtype"`)},
		{`format "reexpress": want "reexpress-dataset"`, forge("reexpress-dataset", "reexpress")},
		{"schemaVersion: want an integer from 1 to 1, not 2", forge(`"schemaVersion":1`, `"schemaVersion": 2`)},
		{"schemaVersion: want an integer from 1 to 1, not 1.0", forge(`"schemaVersion":1`, `"schemaVersion": 1.0`)},
		{"schemaVersion: want an integer from 1 to 1, not true", forge(`"schemaVersion":1`, `"schemaVersion": true`)},
		{"not 9223372036854775808", forge(`"rowCount":3`, `"rowCount": 9223372036854775808`)},
		{"outside [-2^63, 2^64-1]", forge(`"rowCount":3`, `"rowCount": 18446744073709551616`)},
		{"rowCount: want an integer from 1", forge(`"rowCount":3`, `"rowCount": 0`)},
		{"rowCount: want an integer from 1", forge(`"rowCount":3`, `"rowCount": -9223372036854775808`)},
		{"the manifest announces 9223372036854775807", forge(`"rowCount":3`, `"rowCount": 9223372036854775807`)},
		{"the data 2", forge(`"rowCount":3`, `"rowCount": 2`)},
		{"3 rows; the manifest announces 4", forge(`"rowCount":3`, `"rowCount": 4`)},
		{"where a value was due", forge(`"rowCount":3`, `"rowCount": NaN`)},
		{"not finite", forge(`"split":"train"`, `"split":1e999`)},
		{`path "../rows.jsonl": want "rows.jsonl"`, forge(`"rows.jsonl"`, `"../rows.jsonl"`)},
		{`path "/etc/passwd": want "embeddings.npy"`, forge(`"embeddings.npy"`, `"/etc/passwd"`)},
		{`path "embeddings.npy": want "attributes.npy"`, forge(`"attributes.npy"`, `"embeddings.npy"`)},
		{`dtype "<f8": want "<f4"`, forge(`"<f4"`, `"<f8"`)},
		{`matrices: "tokens": want embedding and attributes only`, forge(`"attributes":`, `"tokens":`)},
		{"is not a SHA-256 in lowercase hexadecimal", forge(`"sha256":"`, `"sha256":"A`)},
		{"its shape is [3 1], but [3 2] in the manifest", func(t testing.TB, dir string) {
			edit(t, dir, manifestFile, "[3,1]", "[3,2]")
		}},
		{"want an integer from 1 to 2147483647, not 9223372036854775808", forge("[3,1]", "[3,9223372036854775808]")},
		{"classNames: 1; want at least two", forge(`,"yes"`, "")},
		{`classNames: "no" appears twice`, forge(`"yes"`, `"no"`)},
		{`classNames: " yes" is empty or has space around it`, forge(`"yes"`, `" yes"`)},
		{"the fingerprint is empty", forge(`"sha256:1"`, `" "`)},
		{"metadata: at byte 0: no object", forge(`{"split":"train"}`, "null")},
		{"its SHA-256 is", func(t testing.TB, dir string) { edit(t, dir, rowsFile, "c", "d") }},
		{"its SHA-256 is", func(t testing.TB, dir string) { edit(t, dir, "embeddings.npy", one, "\x00\x00\x80\x40") }},
		{"no manifest here", func(t testing.TB, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, manifestFile))) }},
		{"at most 8388608 are allowed", forge(`"train"`, `"`+strings.Repeat("x", 8<<20)+`"`)},
		{"not a regular file but a symbolic link", link(rowsFile)},
		{"not a regular file but a symbolic link", link("embeddings.npy")},
		{"not a regular file but a symbolic link", link(manifestFile)},
		{"not a regular file but a device or a pipe", func(t testing.TB, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, rowsFile)))
			require.NoError(t, syscall.Mkfifo(filepath.Join(dir, rowsFile), 0o666))
		}},
		{"NaN in row 0, column 0", tamper("embeddings.npy", one, nan)},
		{"+Inf in row 0, column 0", tamper("embeddings.npy", one, inf)},
		{"found <f8 of shape", tamper("attributes.npy", "<f4", "<f8")},
		{"Fortran order", tamper("attributes.npy", "False", " True")},
		{"133 bytes; with shape [3 1] it must have 140", func(t testing.TB, dir string) { resize(t, dir, "attributes.npy", -7) }},
		{"141 bytes; with shape [3 1] it must have 140", func(t testing.TB, dir string) { resize(t, dir, "attributes.npy", 1) }},
		{`id "a" appears twice`, tamper(rowsFile, `"id":"b"`, `"id":"a"`)},
		{"the id is empty", tamper(rowsFile, `"id":"b"`, `"id":""`)},
		{"id: want a string, not 7", tamper(rowsFile, `"id":"b"`, `"id":7`)},
		{"line 2: no id", tamper(rowsFile, `"id":"b"`, `"Id":"b"`)},
		{`row "b" has no label`, tamper(rowsFile, `"label":-1`, `"Label":-1`)},
		{"label 2 of row \"a\" is outside 0..1", tamper(rowsFile, `"label":1`, `"label":2`)},
		{"label -98 of row", tamper(rowsFile, `"label":-99`, `"label":-98`)},
		{"want an integer from -99 to 2147483647, not -100", tamper(rowsFile, `"label":-99`, `"label":-100`)},
		{"not 1.0", tamper(rowsFile, `"label":1`, `"label":1.0`)},
		{"not 9223372036854775808", tamper(rowsFile, `"label":1`, `"label":9223372036854775808`)},
		{"holds its embedding, which belongs into embeddings.npy", tamper(rowsFile, `"embeddingRow":1`, `"embedding":[1,2,3]`)},
		{"embeddingRow of row \"b\" is 0: want 1", tamper(rowsFile, `"embeddingRow":1`, `"embeddingRow":0`)},
		{"embeddingRow of row \"b\" is 2: want 1", tamper(rowsFile, `"embeddingRow":1`, `"embeddingRow":2`)},
		{"found 2 that belong to somebody", tamper(rowsFile, `,"embeddingRow":2`, ``)},
		{"metadata: want an object", tamper(rowsFile, `"metadata":{"n":18446744073709551615}`, `"metadata":[]`)},
		{"logits: want at least two numbers", tamper(rowsFile, `"logits":[0.10,1e2]`, `"logits":[0.10]`)},
		{"is no finite float32", tamper(rowsFile, `"logits":[0.10,1e2]`, `"logits":[0.10,1e39]`)},
		{"features of different encoders", tamper(rowsFile, `"document":null`, `"representationFingerprint":"sha256:2"`)},
		{"document of row", tamper(rowsFile, `"document":null`, `"document":1`)},
	} {
		dir := copyOf(t, good)
		c.change(t, dir)
		_, err := Read(dir)
		if c.want == "no manifest here" {
			assert.ErrorIs(t, err, os.ErrNotExist)
			continue
		}
		assert.ErrorContains(t, err, c.want)
	}
}

func copyOf(t testing.TB, dir string) string {
	path := filepath.Join(t.TempDir(), "y.sdmdataset")
	require.NoError(t, os.CopyFS(path, os.DirFS(dir)))
	return path
}

func link(name string) func(t testing.TB, dir string) {
	return func(t testing.TB, dir string) {
		away := filepath.Join(filepath.Dir(dir), "elsewhere")
		require.NoError(t, os.Rename(filepath.Join(dir, name), away))
		require.NoError(t, os.Symlink(away, filepath.Join(dir, name)))
	}
}

func resize(t testing.TB, dir, name string, by int64) {
	path := filepath.Join(dir, name)
	before, err := bundle.SumFile(path)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, info.Size()+by))
	reseal(t, dir, name, before)
}

func TestHostileLines(t *testing.T) {
	for text, want := range map[string]string{
		"":      "no rows",
		"\n \n": "no rows",
		"[]":    "line 1: at byte 0: no object",
		`{"id":"a","label":0,"embedding":[1]}` + "\n" + `{"id":"b","label":0,"embedding":[1,2]}`: `line 2: embedding of row "b" has 2 values; want 1`,
		`{"id":"a","label":0,"embedding":[]}`:                                                    "want 0 as in the rows before it, and at least one",
		`{"id":"a","label":0,"embedding":[1e39]}`:                                                "is no finite float32",
		`{"id":"a","label":0,"embedding":[NaN]}`:                                                 "where a value was due",
		`{"id":"a","label":0,"embedding":[true]}`:                                                "want a number, not true",
		`{"id":"a","label":0,"embedding":null}`:                                                  "want an array of numbers, not null",
		`{"id":"a","label":0,"embedding":[1],"embedding":[1]}`:                                   "appears twice",
		`{"id":"a","label":0,"embeddingRow":0}`:                                                  "embeddingRow is for bundles",
		`{"id":"a"}`:                                                                             "has no label",
		`{"label":0}`:                                                                            "no id",
		"\xef\xbb\xbf" + `{"id":"a","label":0}`:                                                  "no object",
		`{"id":"\ud800","label":0}`:                                                              "half of a surrogate pair",
		`{"id":"a","label":0,"representationFingerprint":"x"}` + "\n" + `{"id":"b","label":0,"metadata":{"representationFingerprint":"y"}}`: "features of different encoders",
	} {
		path := filepath.Join(t.TempDir(), "x.jsonl")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
		_, err := Read(path)
		assert.ErrorContains(t, err, want, text)
	}
	_, err := Read(filepath.Join(t.TempDir(), "absent.jsonl"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// FuzzLines: what is accepted can be written and read again to the same bytes.
func FuzzLines(f *testing.F) {
	for i := range sample().Rows {
		line, err := appendRow(nil, &sample().Rows[i], nil)
		require.NoError(f, err)
		f.Add(line)
	}
	f.Add([]byte(`{"id":"a","label":0,"embedding":[1e-46,-0]}` + "\r\n\r\n" + `{"id":"b","label":0,"representationFingerprint":"x"}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, lines []byte) {
		path := filepath.Join(dir, fmt.Sprint(os.Getpid(), ".jsonl"))
		require.NoError(t, os.WriteFile(path, lines, 0o666))
		d, err := Read(path)
		if err != nil {
			return
		}
		var once, twice bytes.Buffer
		require.NoError(t, writeLines(&once, &d.Header, d.All()))
		require.NoError(t, os.WriteFile(path, once.Bytes(), 0o666))
		again, err := Read(path)
		require.NoError(t, err)
		require.NoError(t, writeLines(&twice, &again.Header, again.All()))
		require.Equal(t, once.String(), twice.String())
	})
}

// FuzzBundle changes a bundle's files, with the checksums made right again, and expects no more than an error.
func FuzzBundle(f *testing.F) {
	dir := honest(f)
	files := map[string][]byte{}
	for _, name := range []string{manifestFile, rowsFile, "embeddings.npy", "attributes.npy"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(f, err)
		files[name] = content
	}
	f.Add(files[manifestFile], files[rowsFile], files["embeddings.npy"])
	f.Fuzz(func(t *testing.T, manifest, rows, matrix []byte) {
		for name, content := range map[string][]byte{rowsFile: rows, "embeddings.npy": matrix} {
			before, err := bundle.Sum(bytes.NewReader(files[name]))
			require.NoError(t, err)
			after, err := bundle.Sum(bytes.NewReader(content))
			require.NoError(t, err)
			manifest = bytes.ReplaceAll(manifest, []byte(before), []byte(after))
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o666))
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, manifestFile), manifest, 0o666))
		d, err := Read(dir)
		if err != nil {
			return
		}
		var b bytes.Buffer
		require.NoError(t, writeLines(&b, &d.Header, d.All()))
	})
}

//go:build unix

package artifact

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/internal/bundle"
)

var payload = []string{weightsFile, vectorsFile, recordsFile, calibrationFile}

// tampered is a change of one file of a model. Checksums are made right afterwards unless the change is to be found by them.
type tampered struct {
	want, file, old, new string
	unsealed             bool
}

func TestHostileModels(t *testing.T) {
	good := filepath.Join(t.TempDir(), "x.sdmkitmodel")
	require.NoError(t, sample(1).Write(good))
	manifest := func(want, old, new string) tampered {
		return tampered{want: want, file: manifestFile, old: old, new: new}
	}
	record := func(want, old, new string) tampered {
		return tampered{want: want, file: recordsFile, old: old, new: new}
	}
	row := func(want, old, new string) tampered {
		return tampered{want: want, file: calibrationFile, old: old, new: new}
	}
	for _, c := range []tampered{
		manifest(`key "support" appears twice`, `"support":`, `"support":{},"support":`),
		manifest(`key "file" appears twice`, `"file":`, `"file":"x","file":`),
		manifest("schemaVersion: want an integer from 1 to 1, not 2", `"schemaVersion":1`, `"schemaVersion":2`),
		manifest("no modelID", `"modelID"`, `"modelId"`),
		manifest(`field "extra" is not known in this version`, `"modelID"`, `"extra":0,"modelID"`),
		manifest(`configuration: field "extra"`, `"qOffset"`, `"extra":0,"qOffset"`),
		manifest("createdAt", `2026-11-24T12:00:00Z`, `yesterday`),
		manifest("createdAt", `2026-11-24T12:00:00Z`, `2026-11-24`),
		manifest("outside [-2^63, 2^64-1]", `"count":7`, `"count":18446744073709551616`),
		manifest("not 9223372036854775808", `"count":7`, `"count":9223372036854775808`),
		manifest("support: count: want an integer from 1 to 2000000000, not 9223372036854775807", `"count":7`, `"count":9223372036854775807`),
		manifest("more than 2000000000 elements", `"count":7`, `"count":2000000000`),
		manifest("112 bytes; 32 values take 128", `"count":7`, `"count":8`),
		manifest("want an integer", `"count":7`, `"count":7.0`),
		manifest("want an integer", `"count":7`, `"count":true`),
		manifest("elementCount 40; the configuration asks for 39", `"elementCount":39`, `"elementCount":40`),
		manifest("elementCount 39; the configuration asks for 43", `"embeddingDimension":5`, `"embeddingDimension":6`),
		manifest("more than 2000000000 elements", `"embeddingDimension":5`, `"embeddingDimension":2000000000`),
		manifest("want an integer from 1", `"maxNeighbors":100`, `"maxNeighbors":9223372036854775808`),
		manifest("3 class names for 4 classes", `"numberOfClasses":3`, `"numberOfClasses":4`),
		manifest(`distanceMetric: "cosine": want "squaredL2"`, "squaredL2", "cosine"),
		manifest("neighborTieBreak", "supportIndexAscending", "any"),
		manifest("where a value was due", `"mean":0.25`, `"mean":NaN`),
		manifest("is no finite float32", `"mean":0.25`, `"mean":1e39`),
		manifest("not finite", `"mean":0.25`, `"mean":1e999`),
		manifest("standardDeviation -1.5", `1.5`, `-1.5`),
		manifest("qOffset 1 must be", `"qOffset":2`, `"qOffset":1`),
		manifest(`weights: file: "../weights.f32": want "weights.f32"`, `"file":"weights.f32"`, `"file":"../weights.f32"`),
		manifest("vectorsFile", `"vectorsFile":"support.f32"`, `"vectorsFile":"/dev/zero"`),
		manifest(`"../x" is no file of a model`, `"checksums":{`, `"checksums":{"../x":"0",`),
		manifest("is not a SHA-256", `"checksums":{"weights.f32":"`, `"checksums":{"weights.f32":"0`),
		manifest("representation: no revision", `"revision":null,`, ``),
		manifest("representation: model: want a string, not 7", `"model":"m"`, `"model":7`),
		manifest("region 0: alpha", `"alpha":0.95`, `"alpha":0.97`),
		manifest("distanceCDFs: class 1: want an array", `[],[3.25]`, `null,[3.25]`),
		manifest("distanceCDFs of 2 classes", `,[],[3.25]`, `,[3.25]`),
		manifest("element 0: want a number", `[3.25]`, `["3.25"]`),
		manifest("metadata: at byte", `"metadata":{`, `"metadata":[],"m":{`),
		{want: "its SHA-256 is", file: weightsFile, old: "\x00", new: "\x01", unsealed: true},
		{want: "its SHA-256 is", file: recordsFile, old: "row 1", new: "row x", unsealed: true},
		{want: "its SHA-256 is", file: calibrationFile, old: `"id":"x"`, new: `"id":"z"`, unsealed: true},
		record(`support id "row 2" appears twice`, "row 1", "row 2"),
		record("line 2: id: want a string, not 1", `"row 1"`, `1`),
		record("line 3: label: want an integer from -99 to 2147483647, not 9223372036854775808", `"label":2`, `"label":9223372036854775808`),
		record("label 3 is neither", `"label":2`, `"label":3`),
		record("label -98 is neither", `"label":-99`, `"label":-98`),
		record("predictedLabel: want an integer from 0", `"predictedLabel":1`, `"predictedLabel":-1`),
		record(`line 1: field "Document" is not known`, `"predictedLabel":0`, `"predictedLabel":0,"Document":""`),
		record("line 2: at byte 0: no object", "\n", "\n\n"),
		record("8 rows; the manifest announces 7", "{", `{"id":"new","label":0,"predictedLabel":0}`+"\n{"),
		record("not UTF-8", "row 1", "row \xff"),
		row("qPrime 8; want 0 to 7", `"qPrime":1.5`, `"qPrime":8`),
		row("3.5: want a count", `"q":3`, `"q":3.5`),
		row("q: 1e30: want a count", `"q":3`, `"q":1e30`),
		row("not 1", `"sdm":[0.25`, `"sdm":[0.3`),
		row("the largest of zPrime", `"zPrime":[-1`, `"zPrime":[1`),
		row("no prediction", `"prediction"`, `"predicted"`),
		row("line 1: d0: 1e39 is no finite float32", `"d0":0.1`, `"d0":1e39`),
	} {
		dir := filepath.Join(t.TempDir(), "y.sdmkitmodel")
		require.NoError(t, os.CopyFS(dir, os.DirFS(good)))
		path := filepath.Join(dir, c.file)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Contains(t, string(text), c.old)
		changed := bytes.Replace(text, []byte(c.old), []byte(c.new), 1)
		require.NoError(t, os.WriteFile(path, changed, 0o666))
		if c.file != manifestFile && !c.unsealed {
			reseal(t, dir, text, changed)
		}
		_, err = Read(dir)
		assert.ErrorContains(t, err, c.want)
	}
}

// reseal puts the right checksum of a changed file into the manifest.
func reseal(t testing.TB, dir string, before, after []byte) {
	path := filepath.Join(dir, manifestFile)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	was, err := bundle.Sum(bytes.NewReader(before))
	require.NoError(t, err)
	is, err := bundle.Sum(bytes.NewReader(after))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, bytes.ReplaceAll(text, []byte(was), []byte(is)), 0o666))
}

func TestHostileFiles(t *testing.T) {
	good := filepath.Join(t.TempDir(), "x.sdmkitmodel")
	require.NoError(t, sample(1).Write(good))
	for _, name := range append([]string{manifestFile}, payload...) {
		dir := filepath.Join(t.TempDir(), "y.sdmkitmodel")
		require.NoError(t, os.CopyFS(dir, os.DirFS(good)))
		path, away := filepath.Join(dir, name), filepath.Join(t.TempDir(), "away")
		require.NoError(t, os.Rename(path, away))
		_, err := Read(dir)
		assert.Error(t, err, "%s is missing", name)
		require.NoError(t, os.Symlink(away, path))
		_, err = Read(dir)
		assert.ErrorContains(t, err, name+": not a regular file but a symbolic link")
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.Mkdir(path, 0o777))
		_, err = Read(dir)
		assert.ErrorContains(t, err, name+": not a regular file but a directory")
	}
	for _, name := range []string{weightsFile, vectorsFile} {
		dir := filepath.Join(t.TempDir(), "y.sdmkitmodel")
		require.NoError(t, os.CopyFS(dir, os.DirFS(good)))
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		nan := append([]byte("\x00\x00\xc0\x7f"), text[4:]...)
		require.NoError(t, os.WriteFile(path, nan, 0o666))
		reseal(t, dir, text, nan)
		_, err = Read(dir)
		assert.ErrorContains(t, err, "value 0 is NaN")
		require.NoError(t, os.WriteFile(path, text[:len(text)-1], 0o666))
		_, err = Read(dir)
		assert.ErrorContains(t, err, "values take")
	}
	bare := sample(1)
	bare.Calibration = nil
	dir := filepath.Join(t.TempDir(), "bare.sdmkitmodel")
	require.NoError(t, bare.Write(dir))
	require.NoError(t, os.WriteFile(filepath.Join(dir, calibrationFile), nil, 0o666))
	_, err := Read(dir)
	assert.ErrorContains(t, err, "the checksums leave out calibration.jsonl")
	_, err = Read(filepath.Join(good, manifestFile))
	assert.Error(t, err, "a file is no model")
	there := filepath.Join(t.TempDir(), "latest")
	require.NoError(t, os.Symlink(good, there))
	_, err = Read(there)
	assert.NoError(t, err, "the model itself may be named through a link")
}

// FuzzRead changes a model's files, with the checksums made right again. What is accepted can be written and read again.
func FuzzRead(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "x.sdmkitmodel")
	require.NoError(f, sample(1).Write(dir))
	files := map[string][]byte{}
	for _, name := range append([]string{manifestFile}, payload...) {
		content, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(f, err)
		files[name] = content
	}
	f.Add(files[manifestFile], files[weightsFile], files[recordsFile], files[calibrationFile])
	unsealed := bytes.Replace(files[manifestFile], []byte(`"checksums"`), []byte(`"metadata":{},"x"`), 1)
	f.Add(unsealed, files[weightsFile], files[recordsFile], []byte{})
	f.Fuzz(func(t *testing.T, manifest, weights, records, calibration []byte) {
		for name, content := range map[string][]byte{weightsFile: weights, recordsFile: records, calibrationFile: calibration} {
			before, err := bundle.Sum(bytes.NewReader(files[name]))
			require.NoError(t, err)
			after, err := bundle.Sum(bytes.NewReader(content))
			require.NoError(t, err)
			manifest = bytes.ReplaceAll(manifest, []byte(before), []byte(after))
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o666))
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, manifestFile), manifest, 0o666))
		a, err := Read(dir)
		if err != nil {
			return
		}
		again := t.TempDir()
		require.NoError(t, a.fill(again))
		b, err := Read(again)
		require.NoError(t, err)
		a.Created = b.Created // whole seconds are written
		require.Equal(t, a, b)
	})
}

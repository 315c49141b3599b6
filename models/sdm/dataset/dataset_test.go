package dataset

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/internal/strictjson"
)

func text(s string) *string { return &s }

// sample has rows with and without features, and every field that is kept.
func sample() *Dataset {
	return &Dataset{
		Header: Header{ClassNames: []string{"no", "yes"}, Metadata: json.RawMessage(`{"split":"train"}`),
			Representation: &Representation{"sha256:1", Fields{{Key: "provider", Value: json.RawMessage(`"us"`)}, {Key: "model", Value: json.RawMessage("null")}}},
			Fields:         Fields{{Key: "note", Value: json.RawMessage(`[1,{"a":2.50}]`)}}},
		Rows: []Row{
			{ID: "a", Label: 1, Document: text("<b>é\n"), Embedding: []float32{1, -2.5, 1e-20}, Attributes: []float32{.1}},
			{ID: "b", Label: Unlabeled, Embedding: []float32{0, 3.4e38, -0.3}, Attributes: []float32{.2},
				Fields: Fields{{Key: "metadata", Value: json.RawMessage(`{"n":18446744073709551615}`)}, {Key: "logits", Value: json.RawMessage(`[0.10,1e2]`)}, {Key: "document", Value: json.RawMessage("null")}}},
			{ID: "c", Label: OutOfDistribution, Embedding: []float32{7, 8, 9}, Attributes: []float32{.3}},
		},
		Source: "sample",
	}
}

func TestBundleRoundTrip(t *testing.T) {
	want := sample()
	path := filepath.Join(t.TempDir(), "x.sdmdataset")
	require.NoError(t, want.Write(path))
	got, err := Read(path)
	require.NoError(t, err)
	assert.Equal(t, path, got.Source)
	assert.Equal(t, want.Header, got.Header)
	assert.Equal(t, want.Rows, got.Rows)
	assert.Equal(t, []string{"a", "b", "c"}, got.IDs())
	assert.Equal(t, []int32{1, -1, -99}, got.Labels())

	// Written again it has the same bytes.
	again := filepath.Join(t.TempDir(), "y.sdmdataset")
	require.NoError(t, got.Write(again))
	for _, name := range []string{manifestFile, rowsFile, "embeddings.npy", "attributes.npy"} {
		a, err := os.ReadFile(filepath.Join(path, name))
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(again, name))
		require.NoError(t, err)
		assert.Equal(t, string(a), string(b), name)
	}
}

func TestLinesRoundTrip(t *testing.T) {
	want := sample()
	path := filepath.Join(t.TempDir(), "x.jsonl")
	require.NoError(t, want.Write(path))
	got, err := Read(path)
	require.NoError(t, err)
	assert.Equal(t, "sha256:1", got.Fingerprint(), "every row states it")
	for i := range got.Rows {
		assert.Equal(t, `"sha256:1"`, string(got.Rows[i].Fields.Take("representationFingerprint")))
	}
	assert.Equal(t, len(want.Rows), len(got.Rows))
	for i := range want.Rows {
		a, err := appendRow(nil, &want.Rows[i], nil)
		require.NoError(t, err)
		b, err := appendRow(nil, &got.Rows[i], nil)
		require.NoError(t, err)
		assert.Equal(t, string(a), string(b))
	}
}

func TestRowsWithoutFeatures(t *testing.T) {
	d := sample()
	d.Rows[1].Embedding, d.Rows[2].Embedding = nil, nil
	path := filepath.Join(t.TempDir(), "x.sdmdataset")
	require.NoError(t, d.Write(path))
	got, err := Read(path)
	require.NoError(t, err)
	assert.Equal(t, d.Rows, got.Rows)
	_, _, err = got.Features(Auto)
	assert.ErrorContains(t, err, `row "b" does not have the same features as the first row`)
	_, _, err = got.Features(EmbeddingOnly)
	assert.ErrorContains(t, err, `row "b" has no embedding`)
	x, size, err := got.Features(AttributesOnly)
	require.NoError(t, err)
	assert.Equal(t, 1, size)
	assert.Equal(t, []float32{.1, .2, .3}, x)
}

func TestCompositions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sdmdataset")
	require.NoError(t, sample().Write(path))
	d, err := Read(path)
	require.NoError(t, err)
	for c, want := range map[Composition][]float32{
		Auto:                    {1, -2.5, 1e-20, .1, 0, 3.4e38, -0.3, .2, 7, 8, 9, .3},
		EmbeddingThenAttributes: {1, -2.5, 1e-20, .1, 0, 3.4e38, -0.3, .2, 7, 8, 9, .3},
		EmbeddingOnly:           {1, -2.5, 1e-20, 0, 3.4e38, -0.3, 7, 8, 9},
		AttributesOnly:          {.1, .2, .3},
	} {
		x, size, err := d.Features(c)
		require.NoError(t, err)
		assert.Equal(t, want, x, c)
		assert.Equal(t, len(want)/3, size)
	}
	_, _, err = d.Features("all")
	assert.ErrorContains(t, err, `composition "all"`)
	x, _, err := d.Features(EmbeddingOnly)
	require.NoError(t, err)
	assert.Same(t, &d.Rows[0].Embedding[0], &x[0], "the rows' own memory")
	d.Rows[0], d.Rows[1] = d.Rows[1], d.Rows[0]
	x, _, err = d.Features(EmbeddingOnly)
	require.NoError(t, err)
	assert.Equal(t, []float32{0, 3.4e38, -0.3, 1, -2.5, 1e-20, 7, 8, 9}, x)
}

func TestNPYBothWays(t *testing.T) {
	d := sample()
	dir := t.TempDir()
	x, y := filepath.Join(dir, "x.npy"), filepath.Join(dir, "y.npy")
	require.NoError(t, d.WriteNPY(x, y, EmbeddingOnly))
	got, err := FromNPY(x, y)
	require.NoError(t, err)
	assert.Equal(t, d.Labels(), got.Labels())
	assert.Equal(t, []string{"x/0", "x/1", "x/2"}, got.IDs())
	assert.Equal(t, d.Rows[2].Embedding, got.Rows[2].Embedding)
	got, err = FromNPY(x, "")
	require.NoError(t, err)
	assert.Equal(t, []int32{-1, -1, -1}, got.Labels())
	_, err = FromNPY(x, x)
	assert.Error(t, err)
	_, err = FromNPY(y, "")
	assert.ErrorContains(t, err, "feature vectors [n, d]")
}

func TestWriteRefuses(t *testing.T) {
	dir := t.TempDir()
	for want, change := range map[string]func(d *Dataset){
		`id "a" appears twice`:                 func(d *Dataset) { d.Rows[1].ID = "a" },
		"the id is empty":                      func(d *Dataset) { d.Rows[1].ID = "" },
		"is not UTF-8":                         func(d *Dataset) { d.Rows[1].ID = "\xff" },
		"label 2 of row \"a\" is outside 0..1": func(d *Dataset) { d.Rows[0].Label = 2 },
		"label -2 of row":                      func(d *Dataset) { d.Rows[0].Label = -2 },
		"value 1 is NaN":                       func(d *Dataset) { var zero float32; d.Rows[0].Embedding[1] = zero / zero },
		"has 2 values; want 3":                 func(d *Dataset) { d.Rows[2].Embedding = d.Rows[2].Embedding[:2] },
		"no rows":                              func(d *Dataset) { d.Rows = nil },
		"classNames: 1":                        func(d *Dataset) { d.ClassNames = d.ClassNames[:1] },
		`classNames: "no" appears twice`:       func(d *Dataset) { d.ClassNames[1] = "no" },
		"embedding: is no field to keep":       func(d *Dataset) { d.Rows[0].Fields = Fields{{Key: "embedding", Value: json.RawMessage("[1]")}} },
		"x: at byte 1":                         func(d *Dataset) { d.Rows[0].Fields = Fields{{Key: "x", Value: json.RawMessage("[")}} },
		"document: is there twice":             func(d *Dataset) { d.Rows[0].Fields = Fields{{Key: "document", Value: json.RawMessage("null")}} },
		"features of different encoders": func(d *Dataset) {
			d.Rows[0].Fields = Fields{{Key: "representationFingerprint", Value: json.RawMessage(`"other"`)}}
		},
		"metadata: want an object": func(d *Dataset) { d.Rows[0].Fields = Fields{{Key: "metadata", Value: json.RawMessage(`1`)}} },
	} {
		for _, name := range []string{"x.sdmdataset", "x.jsonl"} {
			path := filepath.Join(dir, name)
			d := sample()
			change(d)
			assert.ErrorContains(t, d.Write(path), want, name)
			assert.NoDirExists(t, path)
			assert.NoFileExists(t, path)
		}
	}
	assert.ErrorContains(t, sample().Write(filepath.Join(dir, "x")), "want a name that ends in")
	other := filepath.Join(dir, "precious.sdmdataset")
	require.NoError(t, os.Mkdir(other, 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(other, "thesis.txt"), nil, 0o666))
	assert.ErrorContains(t, sample().Write(other), "is no bundle, so it is not replaced")
	assert.FileExists(t, filepath.Join(other, "thesis.txt"))
}

func TestABundleReplacesABundle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sdmdataset")
	require.NoError(t, sample().Write(path))
	d := sample()
	d.Rows = d.Rows[:1]
	require.NoError(t, d.Write(path))
	got, err := Read(path)
	require.NoError(t, err)
	assert.Equal(t, 1, got.Len())
}

func TestAnErrorOfTheSourceStopsTheWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sdmdataset")
	err := Write(path, &Header{}, func(yield func(*Row, error) bool) {
		_ = yield(&sample().Rows[0], nil) && yield(nil, io.ErrUnexpectedEOF)
	})
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.NoDirExists(t, path)
}

// A stream from a bundle to lines and back, row by row.
func TestStreams(t *testing.T) {
	dir := t.TempDir()
	from, lines, to := filepath.Join(dir, "a.sdmdataset"), filepath.Join(dir, "b.jsonl"), filepath.Join(dir, "c.sdmdataset")
	require.NoError(t, sample().Write(from))
	for _, leg := range [][2]string{{from, lines}, {lines, to}} {
		r, err := Open(leg[0])
		require.NoError(t, err)
		require.NoError(t, Write(leg[1], r.Header(), r.All()))
		require.NoError(t, r.Close())
	}
	got, err := Read(to)
	require.NoError(t, err)
	assert.Equal(t, "sha256:1", got.Fingerprint())
	assert.Equal(t, sample().Rows[1].Embedding, got.Rows[1].Embedding)
}

func TestLongLinesAndManyRows(t *testing.T) {
	d := &Dataset{}
	for i := range 120 {
		d.Rows = append(d.Rows, Row{ID: fmt.Sprint("row ", i), Label: int32(i % 3), Document: text(strings.Repeat("long ", 1+i*i*i/300)), Embedding: []float32{float32(i)}})
	}
	for _, name := range []string{"x.sdmdataset", "x.jsonl"} {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, d.Write(path))
		got, err := Read(path)
		require.NoError(t, err)
		require.Equal(t, d.Len(), got.Len())
		for i := range d.Rows {
			require.Equal(t, *d.Rows[i].Document, *got.Rows[i].Document)
			require.Equal(t, d.Rows[i].Embedding, got.Rows[i].Embedding)
		}
	}
}

func TestFieldsOfAnotherOrderAndSpelling(t *testing.T) {
	row, err := parseRow([]byte(`{"ID":"x","label":0,"Embedding":[1],"id":"y"}`))
	require.NoError(t, err)
	assert.Equal(t, "y", row.ID)
	assert.Equal(t, Fields{{Key: "ID", Value: json.RawMessage(`"x"`)}, {Key: "Embedding", Value: json.RawMessage("[1]")}}, row.Fields)
	var none strictjson.Object
	assert.Nil(t, none.Take("x"))
}

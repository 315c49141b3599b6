package data

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func idx(elements []byte, sizes ...uint32) []byte {
	b := []byte{0, 0, 8, byte(len(sizes))}
	for _, s := range sizes {
		b = binary.BigEndian.AppendUint32(b, s)
	}
	return append(b, elements...)
}

func gz(t testing.TB, data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func npy[T uint8 | int32 | int64 | float32 | float64](t testing.TB, values []T, shape ...int) []byte {
	var b bytes.Buffer
	require.NoError(t, WriteNPY(&b, shape, values))
	return b.Bytes()
}

// put writes a file and its directories.
func put(t testing.TB, data []byte, path ...string) string {
	file := filepath.Join(path...)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o777))
	require.NoError(t, os.WriteFile(file, data, 0o666))
	return file
}

func requireFormatError(t *testing.T, err error, file, expected, found string) {
	t.Helper()
	var format *FormatError
	require.ErrorAs(t, err, &format)
	require.Equal(t, file, format.File)
	require.Contains(t, format.Expected, expected)
	require.Contains(t, format.Found, found)
	require.NotContains(t, err.Error(), "\n")
}

func TestIDXUnderEveryUsualName(t *testing.T) {
	pixels, labels := []byte{0, 255, 51, 102, 204, 153}, []byte{3, 1}
	for _, separator := range []string{"-", "."} {
		for _, packed := range []bool{false, true} {
			dir := t.TempDir()
			for split, prefix := range map[string]string{"train": "train", "test": "t10k"} {
				x, y := idx(pixels, 2, 1, 3), idx(labels, 2)
				ending := ""
				if packed {
					x, y, ending = gz(t, x), gz(t, y), ".gz"
				}
				file := put(t, x, dir, prefix+"-images"+separator+"idx3-ubyte"+ending)
				put(t, y, dir, prefix+"-labels"+separator+"idx1-ubyte"+ending)
				im, err := LoadDirectory(dir, split)
				require.NoError(t, err)
				assert.Equal(t, &Images{N: 2, Height: 1, Width: 3, Channels: 1,
					Pixels: []float32{-1, 1, -.6, -.2, .6, .2}, Labels: []int32{3, 1}, Source: file}, im)
			}
		}
	}
}

// 2x/255-1 in float32, as the reference pipeline rounds it, for all bytes.
func TestScale(t *testing.T) {
	for i, v := range fromByte {
		require.Equal(t, float32(2*float64(i)/255-1), v)
	}
	assert.Equal(t, float32(-1), fromByte[0])
	assert.Equal(t, float32(1), fromByte[255])
	assert.Equal(t, -fromByte[100], fromByte[155])
}

func TestBadIDX(t *testing.T) {
	good := idx(make([]byte, 6), 2, 1, 3)
	packed := gz(t, idx(make([]byte, 100_000), 10, 100, 100))
	wrongSum := bytes.Clone(packed)
	wrongSum[len(wrongSum)-8] ^= 1
	for name, c := range map[string]struct {
		data            []byte
		expected, found string
	}{
		"empty":              {nil, "4 bytes of IDX magic", "0 (the file ends there)"},
		"labels for images":  {idx(make([]byte, 6), 6), "the IDX magic 00000803 of images", "00000801"},
		"float elements":     {append([]byte{0, 0, 0xd, 3}, good[4:]...), "00000803", "00000d03"},
		"sizes cut":          {good[:9], "12 bytes of IDX sizes", "5 (the file ends there)"},
		"pixels cut":         {good[:20], "6 bytes of pixels", "4 (the file ends there)"},
		"trailing":           {append(bytes.Clone(good), 0), "the end of the file after the pixels", "more bytes"},
		"no images":          {idx(nil, 0, 28, 28), "one or more images", "0 of 28x28"},
		"flat":               {idx(nil, 5, 0, 28), "one or more images", "5 of 0x28"},
		"too wide":           {idx(nil, 1, 1, MaxSide+1), "1x1 to 16384x16384", "1 of 1x16385"},
		"too many":           {idx(nil, math.MaxUint32, 28, 28), "at most 1073741824 values", "4294967295 images of 28x28x1"},
		"a lie":              {idx(make([]byte, 1000), 1_000_000, 28, 28), "784000000 bytes of pixels", "1000 (the file ends there)"},
		"gzip header":        {[]byte{0x1f, 0x8b, 9, 9, 9, 9, 9, 9, 9, 9, 9}, "a gzip stream", "invalid header"},
		"gzip cut":           {packed[:len(packed)/2], "100000 bytes of pixels", "(the gzip stream is truncated)"},
		"gzip without sum":   {packed[:len(packed)-8], "the end of the file", "the gzip stream is truncated"},
		"gzip wrong sum":     {wrongSum, "the end of the file", "the gzip stream's checksum is wrong"},
		"gzip then rubbish":  {append(bytes.Clone(packed), "rubbish!!!"...), "the end of the file", "invalid header"},
		"gzip trailing byte": {gz(t, append(bytes.Clone(good), 0)), "the end of the file after the pixels", "more bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := put(t, c.data, dir, "train-images-idx3-ubyte")
			_, err := LoadDirectory(dir, "train")
			requireFormatError(t, err, file, c.expected, c.found)
		})
	}
}

// A small file that announces a gigabyte must not cost one.
func TestLyingHeadersCostNothing(t *testing.T) {
	file := put(t, idx(make([]byte, 1000), 1_000_000, 28, 28), t.TempDir(), "x")
	result := testing.Benchmark(func(b *testing.B) {
		for range b.N {
			_, err := LoadFile(file)
			require.Error(b, err)
		}
	})
	assert.Less(t, result.AllocedBytesPerOp(), int64(2<<20))
}

func TestBadLabels(t *testing.T) {
	dir := t.TempDir()
	put(t, idx(make([]byte, 6), 2, 1, 3), dir, "t10k-images-idx3-ubyte")
	labels := filepath.Join(dir, "t10k-labels-idx1-ubyte")
	im, err := LoadDirectory(dir, "test")
	require.NoError(t, err)
	assert.Nil(t, im.Labels, "labels may be missing")

	put(t, idx([]byte{1, 2, 3}, 3), labels)
	_, err = LoadDirectory(dir, "test")
	requireFormatError(t, err, labels, "2 labels, one for each example of", "3")
	put(t, idx([]byte{1, 2, 3}, 2), labels)
	_, err = LoadDirectory(dir, "test")
	requireFormatError(t, err, labels, "the end of the file after the labels", "more bytes")
	put(t, idx(nil, 1<<31), labels)
	_, err = LoadDirectory(dir, "test")
	requireFormatError(t, err, labels, "at most 2147483647 labels", "2147483648")
	put(t, idx([]byte{1}, 2), labels)
	_, err = LoadDirectory(dir, "test")
	requireFormatError(t, err, labels, "2 bytes of labels", "1 (the file ends there)")
}

func TestDirectories(t *testing.T) {
	dir := t.TempDir()
	_, err := LoadDirectory(dir, "train")
	requireFormatError(t, err, dir, "train-images-idx3-ubyte[.gz], train/x.npy or x.npy", "an empty directory")
	put(t, nil, dir, "notes.txt")
	_, err = LoadVectors(dir, "test")
	requireFormatError(t, err, dir, "test/x.npy or x.npy", "notes.txt")
	_, err = LoadDirectory(dir, "validation")
	assert.EqualError(t, err, `split "validation": want train or test`)
	_, err = LoadDirectory(filepath.Join(dir, "none"), "train")
	assert.ErrorIs(t, err, os.ErrNotExist)

	put(t, npy(t, []uint8{0, 255, 0, 255, 255, 255}, 2, 1, 1, 3), dir, "x.npy")
	put(t, npy(t, []int64{1, 0}, 2), dir, "y.npy")
	for _, split := range []string{"train", "test"} {
		im, err := LoadDirectory(dir, split)
		require.NoError(t, err)
		assert.Equal(t, &Images{N: 2, Height: 1, Width: 1, Channels: 3, Pixels: []float32{-1, 1, -1, 1, 1, 1}, Labels: []int32{1, 0},
			Source: filepath.Join(dir, "x.npy")}, im)
	}
	put(t, npy(t, []float64{.5, -1}, 1, 1, 2), dir, "test", "x.npy")
	put(t, npy(t, []uint8{4}, 1), dir, "test", "y.npy")
	im, err := LoadDirectory(dir, "test")
	require.NoError(t, err)
	assert.Equal(t, &Images{N: 1, Height: 1, Width: 2, Channels: 1, Pixels: []float32{.5, -1}, Labels: []int32{4},
		Source: filepath.Join(dir, "test", "x.npy")}, im)
	put(t, idx([]byte{0}, 1, 1, 1), dir, "t10k-images-idx3-ubyte")
	im, err = LoadDirectory(dir, "test")
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(dir, "t10k-images-idx3-ubyte"), im.Source, "IDX comes first")
}

func TestVectors(t *testing.T) {
	dir := t.TempDir()
	x := put(t, npy(t, []float32{1, 2, 3, -4, 5e9, 6}, 3, 2), dir, "x.npy")
	put(t, npy(t, []int32{0, 2, 1}, 3), dir, "y.npy")
	v, err := LoadVectors(dir, "train")
	require.NoError(t, err)
	assert.Equal(t, &Vectors{N: 3, D: 2, Values: []float32{1, 2, 3, -4, 5e9, 6}, Labels: []int32{0, 2, 1}, Source: x}, v)

	put(t, npy(t, []float32{1, float32(math.Inf(1))}, 1, 2), x)
	_, err = LoadVectors(dir, "train")
	requireFormatError(t, err, x, "finite values", "+Inf in vector 0")
	put(t, npy(t, []float64{1, 1e300}, 1, 2), x)
	_, err = LoadVectors(dir, "train")
	requireFormatError(t, err, x, "finite values", "+Inf in vector 0")
	put(t, npy(t, []float32{1, 2}, 2), x)
	_, err = LoadVectors(dir, "train")
	requireFormatError(t, err, x, "feature vectors [N, D]", "shape [2]")
	put(t, npy(t, []int32{1, 2}, 1, 2), x)
	_, err = LoadVectors(dir, "train")
	requireFormatError(t, err, x, "floating-point elements", "<i4")
}

func TestBadArrays(t *testing.T) {
	dir := t.TempDir()
	x, y := filepath.Join(dir, "x.npy"), filepath.Join(dir, "y.npy")
	for _, c := range []struct {
		data            []byte
		expected, found string
	}{
		{npy(t, []float32{0, float32(math.NaN())}, 2, 1, 1), "pixels from -1 to 1", "NaN in image 1"},
		{npy(t, []float32{0, 255}, 1, 1, 2), "pixels from -1 to 1 (or bytes", "255 in image 0"},
		{npy(t, []int32{0, 255}, 1, 1, 2), "bytes (|u1)", "<i4"},
		{npy(t, []uint8{0, 255}, 1, 2), "images [N, height, width]", "shape [1 2]"},
		{npy(t, []uint8{0, 255}, 1, 1, 1, 2), "1 or 3 channels", "2"},
		{npy(t, []uint8{}, 0, 28, 28), "one or more images", "0 of 28x28"},
	} {
		put(t, c.data, x)
		_, err := LoadDirectory(dir, "train")
		requireFormatError(t, err, x, c.expected, c.found)
	}
	put(t, npy(t, []uint8{0, 255}, 2, 1, 1), x)
	for _, c := range []struct {
		data            []byte
		expected, found string
	}{
		{npy(t, []int64{0, -1}, 2), "labels from 0 upwards", "-1 at 1"},
		{npy(t, []int64{0, 1 << 31}, 2), "labels from 0 upwards", "2147483648 at 1"},
		{npy(t, []float32{0, 1}, 2), "integer elements", "<f4"},
		{npy(t, []int32{0, 1}, 2, 1), "labels [N]", "shape [2 1]"},
		{npy(t, []int32{0, 1, 2}, 3), "2 labels, one for each example", "3"},
	} {
		put(t, c.data, y)
		_, err := LoadDirectory(dir, "train")
		requireFormatError(t, err, y, c.expected, c.found)
	}
}

func TestLoadFile(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string][]byte{
		"a.idx": idx([]byte{0, 255}, 1, 1, 2), "a.npy": npy(t, []uint8{0, 255}, 1, 1, 2), "b": npy(t, []float32{-1, 1}, 1, 1, 2),
	} {
		for _, packed := range []bool{false, true} {
			if packed {
				data = gz(t, data)
			}
			im, err := LoadFile(put(t, data, dir, name))
			require.NoError(t, err, name)
			assert.Equal(t, []float32{-1, 1}, im.Pixels)
		}
	}
	file := put(t, []byte("GIF89a..."), dir, "c")
	_, err := LoadFile(file)
	requireFormatError(t, err, file, "IDX, NPY or PNG", `"GIF89a.."`)
	_, err = LoadFile(dir)
	requireFormatError(t, err, dir, "a file", "a directory")
	_, err = LoadFile(filepath.Join(dir, "none"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestSubsetAndClasses(t *testing.T) {
	im := &Images{N: 3, Height: 1, Width: 2, Channels: 1, Pixels: []float32{1, 2, 3, 4, 5, 6}, Labels: []int32{7, 8, 9}, Names: []string{"a", "b", "c"}}
	assert.Equal(t, []float32{3, 4}, im.Image(1))
	sub := im.Subset([]int{2, 0, 2})
	assert.Equal(t, &Images{N: 3, Height: 1, Width: 2, Channels: 1, Pixels: []float32{5, 6, 1, 2, 5, 6}, Labels: []int32{9, 7, 9}, Names: []string{"c", "a", "c"}}, sub)
	im.Labels, im.Names = nil, nil
	sub = im.Subset(nil)
	assert.Equal(t, &Images{Height: 1, Width: 2, Channels: 1, Pixels: []float32{}}, sub)

	counts, err := ClassCounts([]int32{0, 2, 2}, 3)
	require.NoError(t, err)
	assert.Equal(t, []int{1, 0, 2}, counts)
	_, err = ClassCounts([]int32{0, 3}, 3)
	assert.EqualError(t, err, "label 3 of example 1 is outside 0..2")
	_, err = ClassCounts([]int32{-1}, 3)
	assert.Error(t, err)
	assert.Equal(t, 3, Classes([]int32{0, 2, 1}))
	assert.Equal(t, 0, Classes(nil))
}

// Whatever bytes come, each reader returns images or a FormatError.
func FuzzLoadFile(f *testing.F) {
	f.Add(idx([]byte{0, 255, 3, 4, 5, 6}, 2, 1, 3))
	f.Add(gz(f, idx([]byte{0, 255}, 1, 1, 2)))
	f.Add(npy(f, []uint8{0, 255}, 1, 1, 2))
	f.Add(npy(f, []float32{0, .5, 1}, 1, 1, 1, 3))
	f.Add(encodePNG(f, gradient()))
	f.Add(encodePNG(f, colours()))
	file := filepath.Join(f.TempDir(), "x")
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(file, data, 0o666))
		im, err := LoadFile(file)
		if err != nil {
			var format *FormatError
			require.True(t, errors.As(err, &format), "%v", err)
			return
		}
		require.Equal(t, im.N*im.Height*im.Width*im.Channels, len(im.Pixels))
		for _, v := range im.Pixels {
			require.True(t, v >= -1 && v <= 1)
		}
	})
}

package data

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func encodePNG(t testing.TB, picture image.Image) []byte {
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, picture))
	return b.Bytes()
}

func gradient() *image.Gray {
	return &image.Gray{Pix: []byte{0, 51, 102, 153, 204, 255}, Stride: 3, Rect: image.Rect(0, 0, 3, 2)}
}

func colours() *image.NRGBA {
	return &image.NRGBA{Pix: []byte{255, 0, 51, 255, 102, 153, 204, 255}, Stride: 8, Rect: image.Rect(0, 0, 2, 1)}
}

func TestPNG(t *testing.T) {
	file := put(t, encodePNG(t, gradient()), t.TempDir(), "digit.png")
	im, err := LoadFile(file)
	require.NoError(t, err)
	assert.Equal(t, &Images{N: 1, Height: 2, Width: 3, Channels: 1, Pixels: []float32{-1, -.6, -.2, .2, .6, 1}, Names: []string{"digit.png"}, Source: file}, im)

	palette := image.NewPaletted(image.Rect(0, 0, 2, 1), color.Palette{color.NRGBA{255, 0, 51, 255}, color.NRGBA{102, 153, 204, 255}})
	palette.SetColorIndex(1, 0, 1)
	for _, picture := range []image.Image{colours(), palette} {
		im, err = LoadFile(put(t, encodePNG(t, picture), t.TempDir(), "x.png"))
		require.NoError(t, err)
		assert.Equal(t, 3, im.Channels)
		assert.Equal(t, []float32{1, -1, -.6, -.2, .2, .6}, im.Pixels)
	}
}

func TestBadPNG(t *testing.T) {
	clear := colours()
	clear.Pix[7] = 254
	whole := encodePNG(t, gradient())
	// The header alone, with a right checksum, announcing a picture that the file cannot hold.
	bomb := bytes.Clone(whole)
	binary.BigEndian.PutUint32(bomb[16:], 16000)
	binary.BigEndian.PutUint32(bomb[20:], 16000)
	binary.BigEndian.PutUint32(bomb[29:], crc32.ChecksumIEEE(bomb[12:29]))
	wide := bytes.Clone(bomb)
	binary.BigEndian.PutUint32(wide[16:], 1<<20)
	binary.BigEndian.PutUint32(wide[29:], crc32.ChecksumIEEE(wide[12:29]))
	for name, c := range map[string]struct {
		data            []byte
		expected, found string
	}{
		"transparent": {encodePNG(t, clear), "an opaque picture", "transparency at row 0, column 1"},
		"16 bits":     {encodePNG(t, image.NewGray16(image.Rect(0, 0, 1, 1))), "8 bits per channel", "16"},
		"16 bits RGB": {encodePNG(t, image.NewNRGBA64(image.Rect(0, 0, 1, 1))), "8 bits per channel", "16"},
		"cut":         {whole[:len(whole)-20], "a PNG picture", "EOF"},
		"magic only":  {whole[:8], "a PNG picture", "EOF"},
		"bad sum":     {append(append(bytes.Clone(whole[:29]), 0), whole[30:]...), "a PNG picture", "checksum"},
		"trailing":    {append(bytes.Clone(whole), 1, 2), "the end of the file after the picture", "2 more bytes"},
		"bomb":        {bomb, "a PNG picture", "16000x16000 pixels in a file of"},
		"wide":        {wide, "one or more images of 1x1 to 16384x16384", "1 of 16000x1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			file := put(t, c.data, t.TempDir(), "x.png")
			_, err := LoadFile(file)
			requireFormatError(t, err, file, c.expected, c.found)
		})
	}
}

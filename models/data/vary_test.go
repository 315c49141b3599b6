package data

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// numbered is one picture of 2 x 2 or 3 x 3 whose pixels tell their places.
func numbered(side int) *Images {
	im := &Images{N: 1, Height: side, Width: side, Channels: 1, Labels: []int32{3}}
	for i := range side * side {
		im.Pixels = append(im.Pixels, float32(i)/16)
	}
	return im
}

func TestQuarterTurnsMovePixels(t *testing.T) {
	im := numbered(3)
	quarter := im.Turned(90)
	assert.Equal(t, []float32{2. / 16, 5. / 16, 8. / 16, 1. / 16, 4. / 16, 7. / 16, 0, 3. / 16, 6. / 16}, quarter.Pixels)
	assert.Equal(t, im.Pixels, quarter.Turned(270).Pixels)
	assert.Equal(t, im.Pixels, im.Turned(0).Pixels)
	assert.Equal(t, im.Turned(180).Pixels, quarter.Turned(90).Pixels)
	assert.Equal(t, im.Labels, quarter.Labels)
}

// A turn by an eighth keeps the middle, and black comes in at the corners.
func TestTurnBetween(t *testing.T) {
	im := numbered(3)
	turned := im.Turned(45).Pixels
	assert.Equal(t, im.Pixels[4], turned[4])
	assert.Less(t, turned[0], im.Pixels[0])
	r := float32(math.Sqrt2)
	assert.InDelta(t, Bilinear(im.Pixels, 3, 3, 1, 1, 1+r, 0), turned[2], 1e-6)
}

func TestBilinear(t *testing.T) {
	p := numbered(2).Pixels // 0 1 / 2 3 sixteenths
	for _, c := range []struct{ y, x, want float32 }{
		{0, 0, 0}, {1, 1, 3. / 16}, {.5, .5, 1.5 / 16}, {0, .25, .25 / 16}, {-2, 0, -1}, {0, 2, -1}, {0, 1.5, .5/16 - .5},
		{-.5, 0, -.5}, {float32(math.NaN()), 0, -1},
	} {
		assert.InDelta(t, c.want, Bilinear(p, 2, 2, 1, c.y, c.x, 0), 1e-6, "%v", c)
	}
}

func TestNoisy(t *testing.T) {
	im := &Images{N: 1, Height: 200, Width: 200, Channels: 1, Pixels: make([]float32, 40000)}
	noisy := im.Noisy(.2, 1)
	var sum, squares float64
	for _, v := range noisy.Pixels {
		sum, squares = sum+float64(v), squares+float64(v)*float64(v)
	}
	assert.InDelta(t, 0, sum/40000, 4*.2/200)
	assert.InDelta(t, .2, math.Sqrt(squares/40000), .005)
	assert.Equal(t, noisy.Pixels, im.Noisy(.2, 1).Pixels)
	assert.NotEqual(t, noisy.Pixels, im.Noisy(.2, 2).Pixels)
	for _, v := range im.Noisy(50, 1).Pixels {
		require.True(t, v >= -1 && v <= 1)
	}
}

func TestSaveDirectory(t *testing.T) {
	im := &Images{N: 2, Height: 1, Width: 2, Channels: 1, Pixels: []float32{-1, 1, fromByte[7], fromByte[200]}, Labels: []int32{5, 0}}
	dir := filepath.Join(t.TempDir(), "set")
	for range 2 { // the second time in its place
		require.NoError(t, im.SaveDirectory(dir))
		back, err := LoadDirectory(dir, "test")
		require.NoError(t, err)
		assert.Equal(t, im.Pixels, back.Pixels)
		assert.Equal(t, im.Labels, back.Labels)
	}
	im.Labels = nil
	require.NoError(t, im.SaveDirectory(dir))
	back, err := LoadDirectory(dir, "test")
	require.NoError(t, err)
	assert.Nil(t, back.Labels)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "thesis.txt"), nil, 0o600))
	assert.ErrorContains(t, im.SaveDirectory(dir), "holds other files (thesis.txt)")
	assert.FileExists(t, filepath.Join(dir, "thesis.txt"))
	assert.Error(t, im.SaveDirectory(filepath.Join(dir, "thesis.txt", "x")))
}

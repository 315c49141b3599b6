package data

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/credence-ml/credence/models/internal/atomicfile"
)

// Bilinear is the value of channel c of a picture [height, width, channels] between its pixels, at y down and x to the
// right of the middle of its first pixel. Outside it is black, -1.
func Bilinear(picture []float32, height, width, channels int, y, x float32, c int) float32 {
	if !(x > -1 && y > -1 && x < float32(width) && y < float32(height)) {
		return -1
	}
	xi, yi := int(x+1)-1, int(y+1)-1 // rounded down: both are above -1
	fx, fy := x-float32(xi), y-float32(yi)
	at := func(x, y int) float32 {
		if x < 0 || y < 0 || x >= width || y >= height {
			return -1
		}
		return picture[(y*width+x)*channels+c]
	}
	top := at(xi, yi)*(1-fx) + at(xi+1, yi)*fx
	bottom := at(xi, yi+1)*(1-fx) + at(xi+1, yi+1)*fx
	return top*(1-fy) + bottom*fy
}

// Turned is a copy with every picture turned counter-clockwise about its middle. What comes in from outside is black.
func (im *Images) Turned(degrees float64) *Images {
	turned := *im
	turned.Pixels = make([]float32, len(im.Pixels))
	sin64, cos64 := math.Sincos(degrees * math.Pi / 180)
	const exact = 1e-9 // quarter turns move pixels as they are
	if math.Abs(sin64) < exact || math.Abs(cos64) < exact {
		sin64, cos64 = math.Round(sin64), math.Round(cos64)
	}
	sin, cos := float32(sin64), float32(cos64)
	middleX, middleY := float32(im.Width-1)/2, float32(im.Height-1)/2
	for i := range im.N {
		from, to := im.Image(i), turned.Image(i)
		for y := range im.Height {
			for x := range im.Width {
				u, v := float32(x)-middleX, float32(y)-middleY
				for c := range im.Channels {
					to[(y*im.Width+x)*im.Channels+c] = Bilinear(from, im.Height, im.Width, im.Channels, middleY+sin*u+cos*v, middleX+cos*u-sin*v, c)
				}
			}
		}
	}
	return &turned
}

// Noisy is a copy with Gaussian noise of a standard deviation on every value, cut to -1 to 1.
func (im *Images) Noisy(deviation float64, seed uint64) *Images {
	noisy := *im
	noisy.Pixels = make([]float32, len(im.Pixels))
	r := rand.New(rand.NewPCG(seed, 0x9015e))
	for i, v := range im.Pixels {
		noisy.Pixels[i] = float32(min(1, max(-1, float64(v)+deviation*r.NormFloat64())))
	}
	return &noisy
}

// SaveDirectory writes x.npy, pixels rounded to bytes, and y.npy if there are labels, into a directory for LoadDirectory.
// It appears as a whole or not at all, and replaces nothing but such a directory.
func (im *Images) SaveDirectory(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, e := range entries {
		if e.Name() != "x.npy" && e.Name() != "y.npy" {
			return fmt.Errorf("%s holds other files (%s): name a directory that is new or empty", dir, e.Name())
		}
	}
	var x, y bytes.Buffer
	pixels := make([]uint8, len(im.Pixels))
	for i, v := range im.Pixels {
		pixels[i] = uint8(math.Round((float64(v) + 1) / 2 * 255))
	}
	if err := WriteNPY(&x, []int{im.N, im.Height, im.Width, im.Channels}, pixels); err != nil {
		return err
	}
	if im.Labels != nil {
		if err := WriteNPY(&y, []int{im.N}, im.Labels); err != nil {
			return err
		}
	}
	return atomicfile.WriteDir(dir, func(temp string) error {
		if err := os.WriteFile(filepath.Join(temp, "x.npy"), x.Bytes(), 0o666); err != nil || im.Labels == nil {
			return err
		}
		return os.WriteFile(filepath.Join(temp, "y.npy"), y.Bytes(), 0o666)
	})
}

package probpsenn

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/credence-ml/credence/models/data"
)

// Augmentation deforms training pictures, each anew whenever it is used. The zero value leaves them as they are.
// Elastic deformation is that of Simard, Steinkraus and Platt 2003, "Best Practices for Convolutional Neural Networks
// Applied to Visual Document Analysis"; PSENN's training has strength 20 and smoothness 4.
type Augmentation struct {
	Elastic float64 `json:"elastic"` // strength of the deformation, alpha, in pixels
	Smooth  float64 `json:"smooth"`  // its smoothness, sigma, in pixels; 0: 4
	Turn    float64 `json:"turn"`    // radians at most, to either side
	Scale   float64 `json:"scale"`   // at most so much larger or smaller, as a share
	Shift   float64 `json:"shift"`   // pixels at most, in both directions
	Mirror  bool    `json:"mirror"`  // half of the pictures are swapped left to right
}

func (a *Augmentation) check() error {
	for _, v := range []struct {
		name       string
		value, top float64
	}{{"elastic", a.Elastic, 1000}, {"smooth", a.Smooth, 32}, {"turn", a.Turn, math.Pi}, {"scale", a.Scale, .9}, {"shift", a.Shift, 1024}} {
		if !(v.value >= 0 && v.value <= v.top) {
			return fmt.Errorf("augment.%s is %v; 0 to %.4g", v.name, v.value, v.top)
		}
	}
	return nil
}

// An augmenter deforms pictures in place. What it does depends on seed, step and place in the batch alone.
type augmenter struct {
	Augmentation
	height, width, channels int
	seed                    uint64
	kernel                  []float32 // the middle of the smoothing and one side
	dx, dy                  []float32 // where a pixel comes from, less where it is
	padded                  []float32 // a row or column with zeros around it
	source                  []float32
}

func newAugmenter(c *Config) *augmenter {
	a := &augmenter{height: c.Height, width: c.Width, channels: c.Channels, seed: c.Seed}
	if c.Network == "features" || c.Augment == (Augmentation{}) {
		return a
	}
	a.Augmentation = c.Augment
	sigma := a.Smooth
	if sigma == 0 {
		sigma = 4
	}
	sum := 0.0
	var kernel []float64
	for i := range int(math.Ceil(3*sigma)) + 1 {
		v := math.Exp(-float64(i*i) / (2 * sigma * sigma))
		kernel = append(kernel, v)
		sum += v
		if i > 0 {
			sum += v
		}
	}
	for _, v := range kernel {
		a.kernel = append(a.kernel, float32(v/sum))
	}
	n := a.height * a.width
	a.dx, a.dy = make([]float32, n), make([]float32, n)
	a.padded = make([]float32, max(a.height, a.width)+2*len(kernel))
	a.source = make([]float32, n*a.channels)
	return a
}

// apply deforms the pictures of one batch.
func (a *augmenter) apply(pixels []float32, step int64) {
	size := len(a.source)
	if size == 0 {
		return
	}
	for i := range len(pixels) / size {
		r := rand.New(rand.NewPCG(a.seed^0xe1a5, uint64(step)<<20|uint64(i)))
		a.deform(pixels[i*size:(i+1)*size], r)
	}
}

func (a *augmenter) deform(picture []float32, r *rand.Rand) {
	copy(a.source, picture)
	if a.Elastic > 0 {
		a.field(a.dx, r)
		a.field(a.dy, r)
	}
	turn, scale := a.Turn*(2*r.Float64()-1), 1+a.Scale*(2*r.Float64()-1)
	shiftX, shiftY := float32(a.Shift*(2*r.Float64()-1)), float32(a.Shift*(2*r.Float64()-1))
	sin, cos := math.Sincos(turn)
	across, along := float32(cos/scale), float32(sin/scale)
	sign := float32(1)
	if a.Mirror && r.Uint64()&1 == 1 {
		sign = -1
	}
	middleX, middleY := float32(a.width-1)/2, float32(a.height-1)/2
	for y := range a.height {
		for x := range a.width {
			i := y*a.width + x
			u, v := sign*(float32(x)-middleX), float32(y)-middleY
			fromX := middleX + across*u - along*v + shiftX + a.dx[i]
			fromY := middleY + along*u + across*v + shiftY + a.dy[i]
			for c := range a.channels {
				picture[i*a.channels+c] = data.Bilinear(a.source, a.height, a.width, a.channels, fromY, fromX, c)
			}
		}
	}
}

// field fills a displacement field: uniform noise, smoothed by a Gaussian along both axes, times the strength.
func (a *augmenter) field(f []float32, r *rand.Rand) {
	for i := range f {
		f[i] = 2*r.Float32() - 1
	}
	for y := range a.height {
		a.smooth(f[y*a.width:], a.width, 1, 1)
	}
	for x := range a.width {
		a.smooth(f[x:], a.height, a.width, float32(a.Elastic))
	}
}

// smooth convolves n values that are stride apart with the kernel, zeros around them, and multiplies them.
func (a *augmenter) smooth(f []float32, n, stride int, by float32) {
	margin := len(a.kernel) - 1
	row := a.padded[:n+2*margin]
	clear(row)
	for i := range n {
		row[margin+i] = f[i*stride]
	}
	for i := range n {
		at := margin + i
		before, after := row[at-margin:at+1], row[at:at+margin+1]
		sum := a.kernel[0] * row[at]
		for k := 1; k < len(a.kernel); k++ {
			sum += a.kernel[k] * (before[margin-k] + after[k])
		}
		f[i*stride] = by * sum
	}
}

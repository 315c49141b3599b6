package probpsenn

import (
	"math"
	"math/rand/v2"
)

// Elastic deformation of training pictures: Simard, Steinkraus and Platt 2003, "Best Practices for Convolutional Neural
// Networks Applied to Visual Document Analysis", with the field of PSENN's training (alpha 20, sigma 4) and a little
// turning, scaling and shifting. It depends on seed, step and place in the batch alone.
const (
	elasticAlpha = 20.0
	elasticSigma = 4.0
	maxTurn      = .15 // radians
	maxScale     = .1
	maxShift     = 1.5 // pixels
)

// An augmenter deforms pictures in place; the zero of an unaugmented configuration does nothing.
type augmenter struct {
	height, width, channels int
	seed                    uint64
	on                      bool
	kernel                  []float64
	dx, dy, blurred         []float64
	source                  []float32
}

func newAugmenter(c *Config) *augmenter {
	a := &augmenter{height: c.Height, width: c.Width, channels: c.Channels, seed: c.Seed, on: c.Elastic && c.Network != "features"}
	if !a.on {
		return a
	}
	radius := int(math.Ceil(3 * elasticSigma))
	sum := 0.0
	for i := -radius; i <= radius; i++ {
		v := math.Exp(-float64(i*i) / (2 * elasticSigma * elasticSigma))
		a.kernel = append(a.kernel, v)
		sum += v
	}
	for i := range a.kernel {
		a.kernel[i] /= sum
	}
	n := a.height * a.width
	a.dx, a.dy, a.blurred = make([]float64, n), make([]float64, n), make([]float64, n)
	a.source = make([]float32, n*a.channels)
	return a
}

// apply deforms the pictures of one batch.
func (a *augmenter) apply(pixels []float32, step int64) {
	if !a.on {
		return
	}
	size := len(a.source)
	for i := range len(pixels) / size {
		r := rand.New(rand.NewPCG(a.seed^0xe1a5, uint64(step)<<20|uint64(i)))
		a.deform(pixels[i*size:(i+1)*size], r)
	}
}

func (a *augmenter) deform(picture []float32, r *rand.Rand) {
	copy(a.source, picture)
	a.field(a.dx, r)
	a.field(a.dy, r)
	turn, scale := maxTurn*(2*r.Float64()-1), 1+maxScale*(2*r.Float64()-1)
	shiftX, shiftY := maxShift*(2*r.Float64()-1), maxShift*(2*r.Float64()-1)
	sin, cos := math.Sincos(turn)
	middleX, middleY := float64(a.width-1)/2, float64(a.height-1)/2
	for y := range a.height {
		for x := range a.width {
			i := y*a.width + x
			u, v := float64(x)-middleX, float64(y)-middleY
			fromX := middleX + (cos*u-sin*v)/scale + shiftX + a.dx[i]
			fromY := middleY + (sin*u+cos*v)/scale + shiftY + a.dy[i]
			for c := range a.channels {
				picture[i*a.channels+c] = a.sample(fromX, fromY, c)
			}
		}
	}
}

// field fills a displacement field: uniform noise, smoothed by a Gaussian, times alpha.
func (a *augmenter) field(f []float64, r *rand.Rand) {
	for i := range f {
		f[i] = 2*r.Float64() - 1
	}
	radius := len(a.kernel) / 2
	for y := range a.height {
		for x := range a.width {
			sum := 0.0
			for k, w := range a.kernel {
				if at := x + k - radius; at >= 0 && at < a.width {
					sum += w * f[y*a.width+at]
				}
			}
			a.blurred[y*a.width+x] = sum
		}
	}
	for y := range a.height {
		for x := range a.width {
			sum := 0.0
			for k, w := range a.kernel {
				if at := y + k - radius; at >= 0 && at < a.height {
					sum += w * a.blurred[at*a.width+x]
				}
			}
			f[y*a.width+x] = elasticAlpha * sum
		}
	}
}

// sample is the bilinear value at a place; outside lies the darkest value, -1.
func (a *augmenter) sample(x, y float64, c int) float32 {
	x0, y0 := math.Floor(x), math.Floor(y)
	fx, fy := float32(x-x0), float32(y-y0)
	at := func(x, y int) float32 {
		if x < 0 || y < 0 || x >= a.width || y >= a.height {
			return -1
		}
		return a.source[(y*a.width+x)*a.channels+c]
	}
	xi, yi := int(x0), int(y0)
	top := at(xi, yi)*(1-fx) + at(xi+1, yi)*fx
	bottom := at(xi, yi+1)*(1-fx) + at(xi+1, yi+1)*fx
	return top*(1-fy) + bottom*fy
}

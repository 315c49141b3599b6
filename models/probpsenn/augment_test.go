package probpsenn

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func augmenterOf(a Augmentation, side int) *augmenter {
	c := DefaultConfig()
	c.Height, c.Width, c.Augment = side, side, a
	return newAugmenter(&c)
}

// dot is a dark picture with one bright pixel.
func dot(side, y, x int) []float32 {
	p := slices.Repeat([]float32{-1}, side*side)
	p[y*side+x] = 1
	return p
}

// centre is the centre of what is not dark.
func centre(picture []float32, side int) (y, x float64) {
	sum := 0.0
	for i, v := range picture {
		w := float64(v + 1)
		sum, y, x = sum+w, y+w*float64(i/side), x+w*float64(i%side)
	}
	return y / sum, x / sum
}

func TestAugmentNothing(t *testing.T) {
	p := dot(9, 3, 4)
	augmenterOf(Augmentation{}, 9).apply(p, 5)
	assert.Equal(t, dot(9, 3, 4), p)
}

func TestAugmentDependsOnStepAndPlaceAlone(t *testing.T) {
	a := augmenterOf(Augmentation{Elastic: 20, Turn: .2, Scale: .1, Shift: 2, Mirror: true}, 16)
	two := append(dot(16, 8, 3), dot(16, 8, 3)...)
	again := slices.Clone(two)
	other := slices.Clone(two)
	a.apply(two, 7)
	a.apply(other, 8)
	a.apply(again, 7)
	assert.Equal(t, two, again)
	assert.NotEqual(t, two, other)
	assert.NotEqual(t, two[:256], two[256:])
}

func TestAugmentMirror(t *testing.T) {
	a := augmenterOf(Augmentation{Mirror: true}, 10)
	mirrored := 0
	for step := range int64(400) {
		p := dot(10, 2, 3)
		a.apply(p, step)
		if p[2*10+3] != 1 {
			assert.Equal(t, dot(10, 2, 6), p)
			mirrored++
		}
	}
	assert.InDelta(t, 200, mirrored, 4*10, "half of them, within four deviations")
}

// Each of the others moves a bright pixel as far as it says and no farther, to all sides.
func TestAugmentMovesAsFarAsItSays(t *testing.T) {
	const side, middle = 33, 16
	for name, c := range map[string]struct {
		a        Augmentation
		y, x     int
		farthest float64 // along an axis
	}{
		"shift": {Augmentation{Shift: 3}, middle, middle, 3},
		"scale": {Augmentation{Scale: .2}, middle, middle + 10, 2 + .2},
		"turn":  {Augmentation{Turn: .3}, middle, middle + 10, 10*math.Sin(.3) + .2},
	} {
		t.Run(name, func(t *testing.T) {
			a := augmenterOf(c.a, side)
			var low, high float64
			for step := range int64(500) {
				p := dot(side, c.y, c.x)
				a.apply(p, step)
				y, x := centre(p, side)
				along := y - float64(c.y)
				if name == "scale" {
					along = x - float64(c.x)
				}
				low, high = min(low, along), max(high, along)
			}
			assert.GreaterOrEqual(t, low, -c.farthest)
			assert.LessOrEqual(t, high, c.farthest)
			assert.Less(t, low, -.8*c.farthest+.3)
			assert.Greater(t, high, .8*c.farthest-.3)
		})
	}
}

// Uniform noise smoothed by a Gaussian of deviation sigma has the deviation alpha / sqrt 3 / (2 sigma sqrt pi).
func TestElasticFieldHasItsStrength(t *testing.T) {
	const side, alpha, sigma = 28, 20, 4
	a := augmenterOf(Augmentation{Elastic: alpha, Smooth: sigma}, side)
	var sum float64
	const n = 4000
	r := rand.New(rand.NewPCG(3, 3))
	for range n {
		a.field(a.dx, r)
		v := float64(a.dx[side*side/2+side/2])
		sum += v * v
	}
	want := alpha / math.Sqrt(3) / (2 * sigma * math.Sqrt(math.Pi))
	assert.InDelta(t, want, math.Sqrt(sum/n), .05*want)
}

func TestAugmentationRanges(t *testing.T) {
	for text, a := range map[string]Augmentation{
		"augment.elastic is -1":  {Elastic: -1},
		"augment.smooth is 1000": {Smooth: 1000},
		"augment.turn is NaN":    {Turn: math.NaN()},
		"augment.scale is 1":     {Scale: 1},
		"augment.shift is 1e+09": {Shift: 1e9},
	} {
		c := DefaultConfig()
		c.Augment = a
		require.ErrorContains(t, c.Check(), text)
	}
}

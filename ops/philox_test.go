package ops

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Known answers of philox4x32-10, from the authors' Random123 distribution.
func TestPhiloxKnownAnswers(t *testing.T) {
	const all = math.MaxUint32
	for _, k := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{want: [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{all, all, all, all}, [2]uint32{all, all}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		assert.Equal(t, k.want, philox4x32(k.counter, k.key), "counter %x, key %x", k.counter, k.key)
	}
}

func TestBoxMuller(t *testing.T) {
	for _, b := range []uint32{0, 1, 1<<29 - 1, 1 << 29, 1<<29 + 1, 1 << 30, 3 << 29, 1 << 31, 3 << 30, 7 << 29, math.MaxUint32} {
		for _, a := range []uint32{0, 12345, 1 << 31, math.MaxUint32 - 1, math.MaxUint32} {
			x, y := boxMuller(a, b)
			r := math.Sqrt(-2 * math.Log((float64(a)+1)/(1<<32)))
			s, c := math.Sincos(2 * math.Pi * float64(b) / (1 << 32))
			assert.InDelta(t, r*c, x, 1e-14)
			assert.InDelta(t, r*s, y, 1e-14)
		}
	}
}

// Moments of 2^16 numbers, within five standard errors.
func TestNormalMoments(t *testing.T) {
	const n = 1 << 16
	var s [5]float64
	for r := range uint64(n / 4) {
		w := randomBlock(11, 0, r, 0)
		a, b := boxMuller(w[0], w[1])
		c, d := boxMuller(w[2], w[3])
		for _, z := range []float64{a, b, c, d} {
			for k, p := 1, z; k <= 4; k, p = k+1, p*z {
				s[k] += p / n
			}
		}
	}
	assert.InDelta(t, 0, s[1], 5*math.Sqrt(1./n))
	assert.InDelta(t, 1, s[2], 5*math.Sqrt(2./n))
	assert.InDelta(t, 0, s[3], 5*math.Sqrt(15./n))
	assert.InDelta(t, 3, s[4], 5*math.Sqrt(96./n))
}

func TestRandomNeedsALegalStream(t *testing.T) {
	g := NewGraph()
	RandomBits(g, Dims(2, 2), N(0), N(1<<32), N(0))
	assert.ErrorContains(t, g.Err(), "stream 4294967296 is outside 0 to 4294967295")
	g = NewGraph()
	RandomUniform(g, Dims(2), N(0), N(0), N(0), V(0), V(1))
	assert.ErrorContains(t, g.Err(), "rows and columns are needed")
}

package ops

import "math"

// Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
// 1, 2, 3" (SC 2011): a keyed bijection of 128-bit counters, so that any element can be had without those before it.

const (
	philoxRounds = 10
	philoxM0     = 0xD2511F53
	philoxM1     = 0xCD9E8D57
	philoxW0     = 0x9E3779B9 // golden ratio
	philoxW1     = 0xBB67AE85 // sqrt(3) - 1
)

// philox4x32 is the block of four words for a counter and a key.
func philox4x32(c [4]uint32, k [2]uint32) [4]uint32 {
	for range philoxRounds {
		p, q := philoxM0*uint64(c[0]), philoxM1*uint64(c[2])
		c = [4]uint32{uint32(q>>32) ^ c[1] ^ k[0], uint32(q), uint32(p>>32) ^ c[3] ^ k[1], uint32(p)}
		k[0] += philoxW0
		k[1] += philoxW1
	}
	return c
}

// randomBlock is the block that holds columns 4 block .. 4 block + 3 of a row: the addressing every device shares.
func randomBlock(seed, stream int64, row uint64, block int) [4]uint32 {
	return philox4x32([4]uint32{uint32(block), uint32(row), uint32(row >> 32), uint32(stream)},
		[2]uint32{uint32(seed), uint32(uint64(seed) >> 32)})
}

// uniform24 is the word's upper 24 bits as a number in [0, 1), exact in float32.
func uniform24(w uint32) float64 { return float64(w>>8) / (1 << 24) }

// boxMuller makes two independent standard normal numbers of two words (Box and Muller, "A note on the generation of
// random normal deviates", 1958). The radius is sqrt(-2 log((a+1) / 2^32)), at most 6.67. The angle, b / 2^32 of a turn,
// is taken apart in integers into quarter turns and a rest within an eighth of a turn of 0, so that both results keep
// their relative precision near zero.
func boxMuller(a, b uint32) (cosine, sine float64) {
	radius := math.Sqrt(-2 * math.Log((float64(a)+1)/(1<<32)))
	quarter := (b + 1<<29) >> 30
	rest := float64(int32(b-quarter<<30)) / (1 << 30)
	s, c := math.Sincos(math.Pi / 2 * rest)
	switch quarter {
	case 1:
		s, c = c, -s
	case 2:
		s, c = -s, -c
	case 3:
		s, c = -c, s
	}
	return radius * c, radius * s
}

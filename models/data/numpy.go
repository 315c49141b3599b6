package data

// NumPyPermutation is numpy.random.RandomState(seed).permutation(n), number for number, so that experiments published
// with it can be repeated on the same split. For n up to 2^32.
//
// Its source is MT19937 (Matsumoto and Nishimura, ACM TOMACS 8(1), 1998); its shuffle runs from the end and draws an
// index by masking and rejecting, which NumPy keeps for RandomState for ever.
func NumPyPermutation(seed uint32, n int) []int {
	source := newMT19937(seed)
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	for i := n - 1; i > 0; i-- {
		mask := uint32(i)
		for _, shift := range []int{1, 2, 4, 8, 16} {
			mask |= mask >> shift
		}
		j := source.next() & mask
		for j > uint32(i) {
			j = source.next() & mask
		}
		order[i], order[j] = order[j], order[i]
	}
	return order
}

const mtSize = 624

type mt19937 struct {
	state [mtSize]uint32
	at    int
}

func newMT19937(seed uint32) *mt19937 {
	m := &mt19937{at: mtSize}
	m.state[0] = seed
	for i := 1; i < mtSize; i++ {
		before := m.state[i-1]
		m.state[i] = 1812433253*(before^before>>30) + uint32(i)
	}
	return m
}

func (m *mt19937) next() uint32 {
	if m.at == mtSize {
		for i := range m.state {
			y := m.state[i]&0x80000000 | m.state[(i+1)%mtSize]&0x7fffffff
			m.state[i] = m.state[(i+397)%mtSize] ^ y>>1 ^ (y&1)*0x9908b0df
		}
		m.at = 0
	}
	y := m.state[m.at]
	m.at++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

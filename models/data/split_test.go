package data

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Values printed by NumPy 2.4.6.
func TestNumPyPermutation(t *testing.T) {
	m := newMT19937(1234)
	for _, want := range []uint32{822569775, 2137449171, 2671936806, 3512589365, 1880026316, 2629000564} {
		assert.Equal(t, want, m.next())
	}
	assert.Equal(t, []int{7, 2, 9, 1, 0, 8, 4, 5, 6, 3}, NumPyPermutation(1234, 10))
	assert.Equal(t, []int{1, 6, 8, 9, 13, 4, 2, 14, 10, 7, 16, 11, 3, 0, 5, 15, 12}, NumPyPermutation(0, 17))
	assert.Equal(t, []int{1, 7, 6, 0, 5, 4, 2, 3}, NumPyPermutation(4294967295, 8))
	assert.Equal(t, []int{0, 1}, NumPyPermutation(5, 2))
	assert.Equal(t, []int{0}, NumPyPermutation(5, 1))
	assert.Empty(t, NumPyPermutation(5, 0))
	for _, c := range []struct {
		seed uint32
		n    int
		sha  string // of the order as little-endian 64-bit integers
	}{
		{1234, 10_000, "6d354292bba68928211809c1f0dbc4bd69494f7e0c61783794a0383f2e1193fc"},
		{1234, 60_000, "6be2c75c4ac3f0c5a8f5065f5b80d2da6c838d0c259d1e8421f4e426f2288873"},
		{7, 70_001, "888fead86103abb617433c03e5d21f0822ba22e8bd47c9d7a4f98f891f141ce8"},
	} {
		var bytes []byte
		for _, i := range NumPyPermutation(c.seed, c.n) {
			bytes = binary.LittleEndian.AppendUint64(bytes, uint64(i))
		}
		assert.Equal(t, c.sha, fmt.Sprintf("%x", sha256.Sum256(bytes)), "seed %d, n %d", c.seed, c.n)
	}
}

// If these change, every stored experiment would get another order of its data.
func TestPermutationIsFrozen(t *testing.T) {
	assert.Equal(t, []int{6, 3, 1, 9, 7, 4, 8, 2, 0, 5}, Permutation(10, 1, 0))
	assert.NotEqual(t, Permutation(100, 1, 0), Permutation(100, 1, 1))
	assert.NotEqual(t, Permutation(100, 1, 0), Permutation(100, 2, 0))
	for _, n := range []int{0, 1, 2, 97} {
		p := Permutation(n, 3, 4)
		slices.Sort(p)
		for i, v := range p {
			require.Equal(t, i, v)
		}
		require.Len(t, p, n)
	}
}

func checkPartition(t *testing.T, n int, rest, held []int) {
	require.True(t, slices.IsSorted(rest) && slices.IsSorted(held))
	all := slices.Concat(rest, held)
	slices.Sort(all)
	require.Len(t, all, n)
	for i, v := range all {
		require.Equal(t, i, v)
	}
}

func TestSplit(t *testing.T) {
	for _, n := range []int{0, 1, 7, 1000} {
		for fraction, want := range map[float64]int{0: 0, .1: (n + 5) / 10, .5: (n + 1) / 2, 1: n} {
			rest, held, err := Split(n, fraction, 5)
			require.NoError(t, err)
			checkPartition(t, n, rest, held)
			assert.Len(t, held, want)
		}
	}
	_, a, _ := Split(1000, .1, 5)
	_, b, _ := Split(1000, .1, 5)
	_, c, _ := Split(1000, .1, 6)
	assert.Equal(t, a, b)
	assert.NotEqual(t, a, c)
	// appending to one part must not write into the other
	rest, held, _ := Split(10, .3, 1)
	_ = append(held, -1)
	assert.NotContains(t, rest, -1)
	for _, bad := range []float64{-.1, 1.1, nan()} {
		_, _, err := Split(10, bad, 1)
		assert.ErrorContains(t, err, "outside 0..1")
		_, _, err = StratifiedSplit(make([]int32, 10), bad, 1)
		assert.ErrorContains(t, err, "outside 0..1")
	}
}

func nan() float64 { zero := 0.; return zero / zero }

func TestStratifiedSplit(t *testing.T) {
	labels := make([]int32, 1003)
	for i := range labels {
		labels[i] = []int32{0, 0, 0, 1, 1, 7}[rand.New(rand.NewPCG(1, uint64(i))).IntN(6)]
	}
	total := map[int32]int{}
	for _, l := range labels {
		total[l]++
	}
	for _, fraction := range []float64{0, .1, .25, 1. / 3, .9, 1} {
		rest, held, err := StratifiedSplit(labels, fraction, 9)
		require.NoError(t, err)
		checkPartition(t, len(labels), rest, held)
		assert.Len(t, held, int(fraction*1003+.5))
		got := map[int32]int{}
		for _, i := range held {
			got[labels[i]]++
		}
		for l, n := range total {
			assert.InDelta(t, fraction*float64(n), got[l], 1, "class %d at %v", l, fraction)
		}
	}
	// half of three is one and a half twice; of the three that are held, the lower class gives the odd one
	_, held, err := StratifiedSplit([]int32{4, 4, 4, 2, 2, 2}, .5, 1)
	require.NoError(t, err)
	count := 0
	for _, i := range held {
		if i >= 3 {
			count++
		}
	}
	assert.Equal(t, 2, count)
}

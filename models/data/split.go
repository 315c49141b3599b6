package data

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Permutation is a random order of 0 to n-1: Perm of math/rand/v2 over PCG(seed, stream). The same numbers give the
// same order on every machine; a training run uses one stream per epoch.
func Permutation(n int, seed, stream uint64) []int {
	return rand.New(rand.NewPCG(seed, stream)).Perm(n)
}

// splitStream keeps splits apart from the shuffles of epochs, whose streams count from 0.
const splitStream = 0x73706c6974 // "split"

// Split divides 0 to n-1: round(fraction n) of them, drawn at random, are held and the rest remains. Both ascend.
func Split(n int, fraction float64, seed uint64) (rest, held []int, err error) {
	if err := checkFraction(fraction); err != nil {
		return nil, nil, err
	}
	order := Permutation(n, seed, splitStream)
	k := int(math.Round(fraction * float64(n)))
	rest, held = order[k:], order[:k:k]
	slices.Sort(rest)
	slices.Sort(held)
	return rest, held, nil
}

// StratifiedSplit is Split with every class in the same proportion: a class gives floor(fraction count) examples, and
// those that then miss to round(fraction n) come one each from the classes with the largest remainders, the lower
// class first where they are equal.
func StratifiedSplit(labels []int32, fraction float64, seed uint64) (rest, held []int, err error) {
	if err := checkFraction(fraction); err != nil {
		return nil, nil, err
	}
	type class struct {
		label     int32
		quota     int
		remainder float64
	}
	counts := map[int32]int{}
	for _, l := range labels {
		counts[l]++
	}
	var classes []class
	missing := int(math.Round(fraction * float64(len(labels))))
	for l, n := range counts {
		quota := math.Floor(fraction * float64(n))
		classes = append(classes, class{l, int(quota), fraction*float64(n) - quota})
		missing -= int(quota)
	}
	slices.SortFunc(classes, func(a, b class) int {
		return cmp.Or(cmp.Compare(b.remainder, a.remainder), cmp.Compare(a.label, b.label))
	})
	quotas := map[int32]int{}
	for i, c := range classes {
		if i < missing {
			c.quota++
		}
		quotas[c.label] = c.quota
	}
	for _, i := range Permutation(len(labels), seed, splitStream) {
		if l := labels[i]; quotas[l] > 0 {
			quotas[l]--
			held = append(held, i)
		} else {
			rest = append(rest, i)
		}
	}
	slices.Sort(rest)
	slices.Sort(held)
	return rest, held, nil
}

func checkFraction(fraction float64) error {
	if !(fraction >= 0 && fraction <= 1) {
		return fmt.Errorf("split fraction %v is outside 0..1", fraction)
	}
	return nil
}

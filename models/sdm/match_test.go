package sdm

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"
)

// definition is equation 4 as it reads: order all rows, and count from the front while they agree.
func definition(vectors [][]float32, labels, predictions []int32, there []bool, x []float32, prediction int32, exclude, k int) (q int, d0 float32, order []int) {
	distance := func(i int) (sum float32) {
		for j, v := range vectors[i] {
			sum += (x[j] - v) * (x[j] - v)
		}
		return sum
	}
	for i := range vectors {
		if there[i] && i != exclude {
			order = append(order, i)
		}
	}
	sort.SliceStable(order, func(a, b int) bool { return distance(order[a]) < distance(order[b]) })
	if exclude >= 0 {
		k--
	}
	for _, i := range order {
		if q == k || labels[i] != predictions[i] || predictions[i] != prediction {
			break
		}
		q++
	}
	return q, distance(order[0]), order
}

// Small whole coordinates give exact distances and ties without end; supports have duplicates, rows that were wrong,
// rows like no class, removed rows and a second part.
func TestMatchIsTheDefinition(t *testing.T) {
	rt := openTest(t)
	cases := 60
	if !hasCPU(t) {
		cases = 10
	}
	r := rand.New(rand.NewPCG(5, 5))
	queries := 0
	for range cases {
		n, k := 2+r.IntN(60), 2+r.IntN(20)
		var vectors [][]float32
		labels, predictions, there := make([]int32, n), make([]int32, n), make([]bool, n)
		for i := range n {
			vectors = append(vectors, []float32{float32(r.IntN(4)), float32(r.IntN(4))})
			predictions[i] = int32(r.IntN(2))
			if labels[i] = predictions[i]; r.IntN(8) == 0 {
				labels[i] = 1 - predictions[i]
			} else if r.IntN(20) == 0 {
				labels[i] = OutOfDistribution
			}
			there[i] = true
		}
		m := identityModel(t, rt, vectors, labels, predictions)
		m.config.MaxNeighbors = k
		e, err := newEngine(m.n, k, m.state.Load().engine.parts...)
		require.NoError(t, err)
		st := m.state.Load().copy()
		st.engine = e
		m.publish(st)
		if n > 4 && r.IntN(2) == 0 {
			for i := range r.IntN(n / 2) {
				require.NoError(t, m.RemoveSupport(fmt.Sprint(i)))
				there[i] = false
			}
		}
		left := 0
		for i := range there {
			if there[i] {
				left++
			}
		}
		number := func(row int) (at int) {
			for i := range row {
				if there[i] {
					at++
				}
			}
			return at
		}
		for range 60 {
			queries++
			x := []float32{float32(r.IntN(4)), float32(r.IntN(4))}
			prediction, exclude := int32(0), -1
			if x[0] > 1.5 {
				prediction = 1
			}
			if i := r.IntN(n); there[i] && left > 1 && r.IntN(2) == 0 {
				exclude = i
			}
			q, d0, order := definition(vectors, labels, predictions, there, x, prediction, exclude, k)
			given := -1
			if exclude >= 0 {
				given = number(exclude)
			}
			s := scoreWith(t, m, x, prediction, given, 5)
			require.Equal(t, q, s.Q)
			require.Equal(t, d0, s.D0)
			require.Equal(t, number(order[0]), s.NearestIndex)
			require.Equal(t, fmt.Sprint(order[0]), s.NearestID)
			for i, near := range s.Nearest {
				require.Equal(t, fmt.Sprint(order[i]), near.ID)
				require.Equal(t, number(order[i]), near.Index)
			}
		}
	}
	require.Equal(t, cases*60, queries)
}

// Far from the origin |a|^2 + |b|^2 - 2ab has lost what tells the rows apart; the match has not.
func TestMatchFarFromTheOrigin(t *testing.T) {
	rt := openTest(t)
	var vectors [][]float32
	var classes []int32
	for i := range 50 {
		vectors = append(vectors, []float32{5000 + float32(i)/64, 5000})
		classes = append(classes, 1)
	}
	m := identityModel(t, rt, vectors, classes, classes)
	for i := range vectors {
		s := scoreWith(t, m, vectors[i], 1, -1, 0)
		require.Zero(t, s.D0)
		require.Equal(t, i, s.NearestIndex)
	}
}

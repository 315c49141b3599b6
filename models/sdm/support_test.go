package sdm

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSupportEdits(t *testing.T) {
	rt := openTest(t)
	m := toy(t, rt, nil)
	ctx := context.Background()
	x := mixture(30, 5, 3, 1.5, 0, 7)
	before := scoreAll(t, m, x)
	id := m.ID()

	why := "why"
	// a row beside which nothing can lie nearer, of the right class: one more neighbour, at distance 0
	i := 0
	for before[i].Q == 0 || before[i].Q >= 49 || before[i].Prediction != before[i].Label {
		i++
	}
	row := x.Features[i*5 : i*5+5]
	require.NoError(t, m.AddSupport(ctx, Data{Features: row, Labels: []int32{int32(before[i].Prediction)}, IDs: []string{"new"}, Documents: []*string{&why}}))
	after, err := m.Score(ctx, row, ScoreOptions{Nearest: 1})
	require.NoError(t, err)
	assert.Equal(t, before[i].Q+1, after[0].Q)
	assert.Zero(t, after[0].D0)
	assert.Equal(t, 240, after[0].NearestIndex)
	assert.Equal(t, Match{Index: 240, ID: "new", Label: before[i].Prediction, PredictedLabel: before[i].Prediction, Document: &why}, after[0].Nearest[0])
	assert.True(t, m.CalibrationStale())
	assert.NotEqual(t, id, m.ID())
	assert.Equal(t, before[i].ZPrime, after[0].ZPrime)

	// known to be like nothing: no similarity is left
	require.NoError(t, m.RelabelSupport([]string{"new"}, []int32{OutOfDistribution}))
	after = scoreAll(t, m, Data{Features: row, Labels: []int32{0}, IDs: []string{"x"}})
	assert.Zero(t, after[0].Q)
	assert.Zero(t, after[0].QPrime)
	assert.Zero(t, after[0].CentroidAlpha)

	// removed: all is as before but for the name
	require.NoError(t, m.RemoveSupport("new"))
	again := scoreAll(t, m, x)
	for k := range again {
		again[k].ModelID = before[k].ModelID
	}
	assert.Equal(t, before, again)
	assert.Len(t, m.Support(), 240)
}

// However the support came to be, by additions one at a time, in parts, with removals: what is there decides.
func TestSupportAfterManyEdits(t *testing.T) {
	rt := openTest(t)
	m := toy(t, rt, nil)
	ctx := context.Background()
	more := mixture(150, 5, 3, 1.5, 0, 11)
	for at := 0; at < 150; {
		n := min(1+at/3, 150-at)
		require.NoError(t, m.AddSupport(ctx, Data{Features: more.Features[at*5 : (at+n)*5], Labels: more.Labels[at : at+n], IDs: more.IDs[at : at+n]}))
		at += n
	}
	var gone []string
	for i := 0; i < 390; i += 7 {
		gone = append(gone, m.Support()[i].ID)
	}
	require.NoError(t, m.RemoveSupport(gone...))
	st := m.state.Load()
	vectors, err := st.vectors()
	require.NoError(t, err)
	weights, err := m.n.weights()
	require.NoError(t, err)
	fresh := &state{id: st.id, records: m.Support(), distances: st.distances, similarities: st.similarities, regions: st.regions, resolution: st.resolution}
	other, err := assemble(rt, m.Config(), m.n.mean, m.n.deviation, weights, vectors, fresh)
	require.NoError(t, err)
	defer other.Close()
	x := mixture(60, 5, 3, 1.5, 0, 12)
	o := ScoreOptions{Nearest: 20, Exclude: make([]int, 60)}
	for i := range o.Exclude {
		o.Exclude[i] = i*3 - 1
	}
	want, err := other.Score(ctx, x.Features, o)
	require.NoError(t, err)
	got, err := m.Score(ctx, x.Features, o)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestSupportEditsRefuse(t *testing.T) {
	rt := openTest(t)
	m := toy(t, rt, nil)
	ctx := context.Background()
	id := m.ID()
	x := make([]float32, 5)
	for message, err := range map[string]error{
		"already has a row \"1-3\"":     m.AddSupport(ctx, Data{Features: x, Labels: []int32{0}, IDs: []string{"1-3"}}),
		"not UTF-8, or occurs twice":    m.AddSupport(ctx, Data{Features: append(x, x...), Labels: []int32{0, 0}, IDs: []string{"a", "a"}}),
		"need ids":                      m.AddSupport(ctx, Data{Features: x, Labels: []int32{0}}),
		"label -1 of row 0":             m.AddSupport(ctx, Data{Features: x, Labels: []int32{Unlabeled}, IDs: []string{"a"}}),
		"4 features are not 1 rows":     m.AddSupport(ctx, Data{Features: x[:4], Labels: []int32{0}, IDs: []string{"a"}}),
		"has no row \"x\"":              m.RemoveSupport("1-0", "x"),
		"given twice":                   m.RemoveSupport("1-0", "1-0"),
		"label 3 of row 0":              m.RelabelSupport([]string{"1-0"}, []int32{3}),
		"2 labels for 1 ids":            m.RelabelSupport([]string{"1-0"}, []int32{1, 2}),
		"no row of class 1":             m.Recalibrate(ctx, Data{Features: x, Labels: []int32{0}}, 0),
		"alpha resolution 0.7":          m.RecalibrateAt(.7),
		"label -99 of row 0 is outside": m.Recalibrate(ctx, Data{Features: x, Labels: []int32{OutOfDistribution}}, 0),
	} {
		assert.ErrorContains(t, err, message)
	}
	var all []string
	for _, r := range m.Support() {
		all = append(all, r.ID)
	}
	assert.ErrorContains(t, m.RemoveSupport(all...), "one must be left")
	require.NoError(t, m.AddSupport(ctx, Data{}))
	assert.Equal(t, id, m.ID(), "a refused edit changes nothing")
	assert.False(t, m.CalibrationStale())
}

// Edits and scores side by side: every score is one that the model gives with the rows or without them.
func TestSupportEditsUnderConcurrentScoring(t *testing.T) {
	rt := openTest(t)
	m := toy(t, rt, nil)
	ctx := context.Background()
	x := mixture(3, 5, 3, 1.5, 0, 7)
	extra := mixture(3, 5, 3, 1.5, 0, 7) // the same rows
	for i := range extra.IDs {
		extra.IDs[i] = fmt.Sprint("extra", i)
	}
	known := map[string]bool{}
	note := func() {
		for _, s := range scoreAll(t, m, x) {
			s.ModelID = ""
			known[fmt.Sprintf("%+v", s)] = true
		}
	}
	note()
	require.NoError(t, m.AddSupport(ctx, extra))
	note()
	require.NoError(t, m.RelabelSupport(extra.IDs, []int32{OutOfDistribution, OutOfDistribution, OutOfDistribution}))
	note()
	require.NoError(t, m.RemoveSupport(extra.IDs...))
	var stop atomic.Bool
	var wait sync.WaitGroup
	for g := range 8 {
		wait.Go(func() {
			for !stop.Load() {
				if g%2 == 0 {
					one, err := m.ScoreOne(ctx, x.Features[:5])
					if !assert.NoError(t, err) {
						return
					}
					one.ID, one.Label, one.ModelID = x.IDs[0], int(x.Labels[0]), ""
					assert.True(t, known[fmt.Sprintf("%+v", one)], "%+v", one)
					continue
				}
				all, err := m.Score(ctx, x.Features, ScoreOptions{IDs: x.IDs, Labels: x.Labels})
				if !assert.NoError(t, err) {
					return
				}
				for _, s := range all {
					assert.Equal(t, all[0].ModelID, s.ModelID, "one call, one support")
					s.ModelID = ""
					assert.True(t, known[fmt.Sprintf("%+v", s)], "%+v", s)
				}
			}
		})
	}
	edits := 40
	if testing.Short() {
		edits = 10
	}
	for range edits {
		assert.NoError(t, m.AddSupport(ctx, extra))
		assert.NoError(t, m.RelabelSupport(extra.IDs, []int32{OutOfDistribution, OutOfDistribution, OutOfDistribution}))
		assert.NoError(t, m.RemoveSupport(extra.IDs...))
	}
	stop.Store(true)
	wait.Wait()
	assert.LessOrEqual(t, len(m.state.Load().records), 243, "rows that were removed stay no longer than the part they lie in")
}

func TestRecalibrate(t *testing.T) {
	rt := openTest(t)
	m := toy(t, rt, nil)
	ctx := context.Background()
	regions, rows := m.Regions(), m.CalibrationRows()
	calibration := mixture(200, 5, 3, 1.5, 0, 2)

	// with the rows and the support of training nothing changes
	require.NoError(t, m.Recalibrate(ctx, calibration, 0))
	assert.Equal(t, regions, m.Regions())
	assert.Equal(t, rows, m.CalibrationRows())

	require.NoError(t, m.RecalibrateAt(.01))
	assert.Equal(t, .01, m.Config().AlphaResolution)
	assert.Equal(t, rows, m.CalibrationRows())
	require.NoError(t, m.RecalibrateAt(.05))
	assert.Equal(t, regions, m.Regions())

	require.NoError(t, m.RemoveSupport("1-0", "1-1"))
	require.NoError(t, m.RecalibrateAt(.02))
	assert.True(t, m.CalibrationStale(), "the stored rows were matched with another support")
	require.NoError(t, m.Recalibrate(ctx, calibration, .05))
	assert.False(t, m.CalibrationStale())
}

package sdm

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime"
)

// The gradient that a plan computes is d (SDM - [label]) / N, and that is the derivative of the loss by differences.
func TestGradientOfTheLoss(t *testing.T) {
	rt := openTest(t)
	const n, c = 40, 5
	r := rand.New(rand.NewPCG(1, 1))
	z, y := make([]float32, n*c), make([]int32, n)
	q, d := make([]float32, n), make([]float32, n)
	scale, weight := make([]float32, n), make([]float32, n)
	for i := range n {
		y[i] = int32(r.IntN(c))
		q[i], d[i] = float32(r.IntN(60)), float32(r.IntN(5))/4
		scale[i], weight[i] = scales(q[i], d[i], n, 2)
	}
	for i := range z {
		z[i] = float32(3 * r.NormFloat64())
	}
	g := ops.NewGraph()
	logits, labels := g.Input("z", ops.F32, ops.Dims(n, c)), g.Input("y", ops.I32, ops.Dims(n))
	s, w := g.Input("s", ops.F32, ops.Dims(n)), g.Input("w", ops.F32, ops.Dims(n))
	total := trainLoss(logits, labels, s, w)
	gradient := ops.Gradients(total, logits)[0]
	g.Output(total, gradient)
	plan, err := rt.Compile(g, "loss")
	require.NoError(t, err)
	defer plan.Close()
	session, err := rt.NewSession()
	require.NoError(t, err)
	defer session.Close()
	b, err := session.Bind(plan)
	require.NoError(t, err)
	require.NoError(t, b.Write(logits, z))
	require.NoError(t, b.WriteInt32(labels, y))
	require.NoError(t, b.Write(s, scale))
	require.NoError(t, b.Write(w, weight))
	require.NoError(t, b.Run(context.Background()))
	gotLoss, got := make([]float32, 1), make([]float32, n*c)
	require.NoError(t, b.Read(total, gotLoss))
	require.NoError(t, b.Read(gradient, got))

	mean := 0.0
	p := make([]float32, c)
	for i := range n {
		row := z[i*c : (i+1)*c]
		mean += loss(row, int(y[i]), q[i], d[i], 2) / n
		Activation(p, row, q[i], d[i], 2)
		for k := range c {
			target := 0.0
			if k == int(y[i]) {
				target = 1
			}
			require.InDelta(t, float64(d[i])*(float64(p[k])-target)/n, float64(got[i*c+k]), 1e-6)
			const h = 1.0 / 256
			up, down := append([]float32(nil), row...), append([]float32(nil), row...)
			up[k], down[k] = row[k]+h, row[k]-h
			step := float64(up[k]) - float64(down[k])
			// central differences are off by h^2/6 of the third derivative, below (ln 62)^2 h^2 / 6 / N < 1.1e-6 / 10
			difference := (loss(up, int(y[i]), q[i], d[i], 2) - loss(down, int(y[i]), q[i], d[i], 2)) / step / n
			require.InDelta(t, difference, float64(got[i*c+k]), 1e-6, "row %d, logit %d", i, k)
		}
	}
	require.InDelta(t, mean, float64(gotLoss[0]), 1e-5*math.Abs(mean))
}

// The same seed gives the same bits at any number of threads, and another seed does not.
func TestTrainingIsDeterministic(t *testing.T) {
	needCPU(t)
	fingerprint := func(threads int, seed uint64) string {
		rt := openTest(t, runtime.WithThreads(threads))
		m := toy(t, rt, func(_ *Config, o *TrainOptions) { o.Seed, o.KeepSplit, o.Shuffles = seed, false, 2 })
		defer m.Close()
		weights, err := m.n.weights()
		require.NoError(t, err)
		return fmt.Sprint(m.ID(), weights[:20], m.Regions(), m.Training().History, scoreAll(t, m, mixture(50, 5, 3, 1.5, 0, 9)))
	}
	want := fingerprint(1, 3)
	for _, threads := range []int{1, 2, 5} {
		require.Equal(t, want, fingerprint(threads, 3), "%d threads", threads)
	}
	require.NotEqual(t, want, fingerprint(2, 4))
}

// The epoch that is kept is the last with the least balanced loss, over all rounds.
func TestBestEpoch(t *testing.T) {
	rt := openTest(t)
	m := toy(t, rt, func(_ *Config, o *TrainOptions) {
		o.KeepSplit, o.Shuffles, o.Epochs, o.LearningRate = false, 3, 5, 3e-2
	})
	require.Len(t, m.Training().History, 15)
	best := m.Training().History[0]
	for _, s := range m.Training().History[1:] {
		if s.Calibration.SDMLoss <= best.Calibration.SDMLoss {
			best = s
		}
	}
	assert.Equal(t, best.Round, m.Training().BestRound)
	assert.Equal(t, best.Epoch, m.Training().BestEpoch)
	assert.True(t, best.Best)

	// the kept weights give that loss again on the rows that calibrated the model
	rows := m.CalibrationRows()
	labels := make([]int32, len(rows))
	for i := range rows {
		labels[i] = rows[i].Label
	}
	again := balanced(3, labels, func(i int) float64 {
		return loss(rows[i].ZPrime, int(rows[i].Label), float32(*rows[i].Q), *rows[i].D, 2)
	})
	assert.Equal(t, best.Calibration.SDMLoss, again)
}

// A warm-up compares its epochs by cross-entropy, and only its best is held against the epochs that match.
func TestWarmUp(t *testing.T) {
	rt := openTest(t)
	m := toy(t, rt, func(_ *Config, o *TrainOptions) { o.Epochs, o.CrossEntropyEpochs = 6, 3 })
	require.Len(t, m.Training().History, 6)
	best := 0
	for e, s := range m.Training().History[:3] {
		assert.True(t, s.CrossEntropy)
		if s.Calibration.CELoss <= m.Training().History[best].Calibration.CELoss {
			best = e
		}
	}
	for e, s := range m.Training().History {
		assert.Equal(t, e >= 3 || e == best, s.Matched, "epoch %d", e+1)
	}
	for _, epochs := range []int{2, 3} { // nothing but warm-up
		m := toy(t, rt, func(_ *Config, o *TrainOptions) { o.Epochs, o.CrossEntropyEpochs = epochs, 3 })
		assert.Positive(t, m.Training().History[m.Training().BestEpoch-1].Calibration.SDMLoss)
	}
}

// Going on from a model keeps its normalisation and begins with its weights.
func TestContinuation(t *testing.T) {
	rt := openTest(t)
	first := toy(t, rt, nil)
	second := toy(t, rt, func(_ *Config, o *TrainOptions) { o.Initial, o.Epochs, o.LearningRate = first, 1, 1e-12 })
	assert.Equal(t, first.n.mean, second.n.mean)
	assert.Equal(t, first.n.deviation, second.n.deviation)
	a, err := first.n.weights()
	require.NoError(t, err)
	b, err := second.n.weights()
	require.NoError(t, err)
	assert.InDeltaSlice(t, a, b, 1e-9)
	c := Config{Dimension: 4, Classes: 3}
	_, err = Train(context.Background(), rt, c, mixture(30, 4, 3, 1, 0, 1), mixture(30, 4, 3, 1, 0, 2), TrainOptions{Initial: first})
	assert.ErrorContains(t, err, "5 features")
}

func TestTrainingStopsWithItsContext(t *testing.T) {
	rt := openTest(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	start := time.Now()
	calls := 0
	_, err := Train(ctx, rt, Config{Dimension: 5, Classes: 3, ExemplarDimension: 6}, mixture(240, 5, 3, 1, 0, 1), mixture(240, 5, 3, 1, 0, 2),
		TrainOptions{Epochs: 1 << 20, Progress: func(p Progress) {
			if calls++; calls == 20 {
				cancel()
			}
			assert.LessOrEqual(t, p.Done, p.Total)
		}})
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, time.Since(start), 20*time.Second)
}

func TestProgressEndsAtItsTotal(t *testing.T) {
	rt := openTest(t)
	for _, warmUp := range []int{1, 2} {
		var last Progress
		toy(t, rt, func(_ *Config, o *TrainOptions) {
			o.Shuffles, o.KeepSplit, o.CrossEntropyEpochs = 2, false, warmUp
			o.Progress = func(p Progress) { last = p }
		})
		assert.Equal(t, last.Total, last.Done)
		assert.Equal(t, []int{2, 2, 4, 4}, []int{last.Round, last.Rounds, last.Epoch, last.Epochs})
	}
}

func TestTrainRefuses(t *testing.T) {
	rt := openTest(t)
	good := mixture(60, 3, 3, 1, 0, 1)
	other := mixture(60, 3, 3, 1, 0, 2)
	nan := mixture(60, 3, 3, 1, 0, 1)
	nan.Features[7] = float32(math.NaN())
	same := mixture(60, 3, 3, 1, 0, 1)
	for i := range same.Features {
		same.Features[i] = 4
	}
	two := mixture(60, 3, 2, 1, 0, 1)
	label := mixture(60, 3, 3, 1, 0, 1)
	label.Labels[5] = 3
	nameless := mixture(60, 3, 3, 1, 0, 2)
	nameless.IDs = nil
	unlabelled := mixture(60, 3, 3, 1, 0, 1)
	unlabelled.Labels[5] = Unlabeled
	for _, c := range []struct {
		config             Config
		train, calibration Data
		o                  TrainOptions
		message            string
	}{
		{Config{Dimension: 3, Classes: 1}, good, other, TrainOptions{}, "classes"},
		{Config{Dimension: 3, Classes: math.MaxInt32}, good, other, TrainOptions{}, "2147483647 classes for 120 rows"},
		{Config{Dimension: 4, Classes: 3}, good, other, TrainOptions{}, "180 features are not 60 rows of 4"},
		{Config{Dimension: 3, Classes: 3, ClassNames: []string{"a"}}, good, other, TrainOptions{}, "1 names for 3 classes"},
		{Config{Dimension: 3, Classes: 3, AlphaResolution: .5}, good, other, TrainOptions{}, "alpha resolution 0.5"},
		{Config{Dimension: 3, Classes: 3, MaxNeighbors: 1}, good, other, TrainOptions{}, "1 neighbours"},
		{Config{Dimension: 3, Classes: 3}, nan, other, TrainOptions{}, "feature 1 of row 2 is NaN"},
		{Config{Dimension: 3, Classes: 3}, same, other, TrainOptions{KeepSplit: true}, "cannot be normalised"},
		{Config{Dimension: 3, Classes: 3}, two, other, TrainOptions{KeepSplit: true}, "no row of class 2"},
		{Config{Dimension: 3, Classes: 3}, label, other, TrainOptions{}, "label 3 of row 5"},
		{Config{Dimension: 3, Classes: 3}, unlabelled, other, TrainOptions{}, "label -1 of row 5"},
		{Config{Dimension: 3, Classes: 3}, good, good, TrainOptions{}, "twice"},
		{Config{Dimension: 3, Classes: 3}, good, nameless, TrainOptions{}, "alone"},
		{Config{Dimension: 3, Classes: 2, ClassNames: []string{"\u00e9", "e\u0301"}}, good, other, TrainOptions{}, "twice"},
		{Config{Dimension: 3, Classes: 3}, good, other, TrainOptions{Epochs: -1}, "-1 epochs"},
		{Config{Dimension: 3, Classes: 3}, good, other, TrainOptions{LearningRate: math.NaN()}, "learning rate NaN"},
		{Config{Dimension: 3, Classes: 3}, Data{}, other, TrainOptions{KeepSplit: true}, "0 labelled rows"},
		{Config{Dimension: 3, Classes: 3, ExemplarDimension: 4}, good, other, TrainOptions{LearningRate: 1e30}, "the loss is"},
	} {
		_, err := Train(context.Background(), rt, c.config, c.train, c.calibration, c.o)
		assert.ErrorContains(t, err, c.message)
	}
}

// Rows known to be like nothing cut the similarity of what lies near them, in training as in scoring.
func TestOutOfDistributionRowsInTraining(t *testing.T) {
	rt := openTest(t)
	train, calibration := mixture(120, 5, 3, 1.5, 0, 1), mixture(120, 5, 3, 1.5, 0, 2)
	foreign := mixture(30, 5, 3, 1.5, 0, 3) // in the midst of the others
	for i := range foreign.Labels {
		train.Labels = append(train.Labels, OutOfDistribution)
		train.IDs = append(train.IDs, foreign.IDs[i])
	}
	train.Features = append(train.Features, foreign.Features...)
	for _, keep := range []bool{true, false} {
		o := TrainOptions{Epochs: 2, LearningRate: 5e-3, KeepSplit: keep}
		m, err := Train(context.Background(), rt, Config{Dimension: 5, Classes: 3, ExemplarDimension: 6}, train, calibration, o)
		require.NoError(t, err)
		require.Len(t, m.Support(), 150)
		assert.EqualValues(t, OutOfDistribution, m.Support()[149].Label)
		m.Close()
	}
}

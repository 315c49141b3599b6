package probpsenn

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/runtime"
)

// toyModel is a trained model for its test.
func toyModel(t testing.TB, rt *runtime.Runtime, set func(c *Config)) *Model {
	c := toyConfig()
	c.PretrainEpochs, c.Epochs = 1, 1
	if set != nil {
		set(&c)
	}
	return trainToy(t, rt, c, toyImages(120, 1))
}

func TestPredictIntoAllocatesNothing(t *testing.T) {
	needCPU(t)
	rt := openToy(t)
	x := toyImages(70, 2).Pixels
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for name, set := range map[string]func(c *Config){
		"full":    nil,
		"point":   func(c *Config) { c.Prototypes = Point },
		"mixture": func(c *Config) { c.Prototypes, c.PerClass, c.VAE = Mixture, 2, true },
	} {
		m := toyModel(t, rt, set)
		for _, o := range []PredictorOptions{{}, {MaxBatch: 1}, {MaxBatch: 7, Overlap: true}, {LabelsOnly: true}} {
			p, err := m.NewPredictor(o)
			require.NoError(t, err)
			out := make([]Prediction, 70)
			once := func() {
				if err := p.PredictInto(ctx, out, x); err != nil {
					panic(err)
				}
			}
			once()
			assert.Zero(t, testing.AllocsPerRun(10, once), "%s %+v", name, o)
			p.Close()
		}
	}
}

// An input is answered alike to the bit whatever it is submitted with.
func TestPredictionDoesNotDependOnTheBatch(t *testing.T) {
	needCPU(t)
	for _, threads := range []int{1, 2, 5} {
		rt := openToy(t, runtime.WithThreads(threads))
		for _, set := range []func(c *Config){nil, func(c *Config) { c.Prototypes = Mixture }, func(c *Config) { c.Network, c.Latent = "grey32", 40 }} {
			if set != nil && testing.Short() {
				continue
			}
			m := toyModel(t, rt, set)
			x := toyImages(67, 2).Pixels
			want := fmt.Sprint(predictAll(t, m, PredictorOptions{Overlap: true}, x))
			for _, batch := range []int{1, 2, 7, 67, 256} {
				require.Equal(t, want, fmt.Sprint(predictAll(t, m, PredictorOptions{MaxBatch: batch, Overlap: true}, x)), "batch %d", batch)
			}
		}
	}
}

// The order of the prototype samples changes nothing but the order of sums (G7 of the specification).
func TestPredictionDoesNotDependOnTheOrderOfSamples(t *testing.T) {
	rt := openToy(t)
	c := vectorConfig(4, 3)
	m := trainToy(t, rt, c, toyVectors(120, 4, 3, 1))
	x := toyVectors(50, 4, 3, 2).Pixels
	p, err := m.NewPredictor(PredictorOptions{Overlap: true})
	require.NoError(t, err)
	defer p.Close()
	want, err := p.Predict(context.Background(), x)
	require.NoError(t, err)
	v := p.derived.Segment.Vars()[0]
	require.Equal(t, "samples", v.Name)
	values, shuffled := make([]float32, v.Count()), make([]float32, v.Count())
	require.NoError(t, p.derived.Read(v, values))
	size := int(v.Count()) / p.samples
	for to, from := range rand.New(rand.NewPCG(3, 3)).Perm(p.samples) {
		copy(shuffled[to*size:(to+1)*size], values[from*size:(from+1)*size])
	}
	require.NotEqual(t, values, shuffled)
	require.NoError(t, p.derived.Write(v, shuffled))
	got, err := p.Predict(context.Background(), x)
	require.NoError(t, err)
	for i := range want {
		require.InDeltaSlice(t, want[i].Probabilities, got[i].Probabilities, 1e-12)
		require.InDeltaSlice(t, want[i].Distances, got[i].Distances, 1e-9*(1+want[i].Scores.Distance))
		for _, pair := range [][2]float64{{want[i].PredictiveEntropy, got[i].PredictiveEntropy}, {want[i].AleatoricEntropy, got[i].AleatoricEntropy},
			{want[i].Scores.ExplanationOverlap, got[i].Scores.ExplanationOverlap}} {
			require.InDelta(t, pair[0], pair[1], 1e-9)
		}
		require.Equal(t, want[i].Label, got[i].Label)
	}
}

// Predictors of one model work side by side, each in its goroutine, and answer as one alone does.
func TestPredictorsSideBySide(t *testing.T) {
	rt := openToy(t)
	var m *Model
	x := toyImages(40, 2)
	if hasCPU(t) {
		m = toyModel(t, rt, nil)
	} else {
		m, x = trainToy(t, rt, vectorConfig(4, 3), toyVectors(120, 4, 3, 1)), toyVectors(40, 4, 3, 2)
	}
	want := fmt.Sprint(predictAll(t, m, PredictorOptions{}, x.Pixels))
	var group sync.WaitGroup
	for k := range 6 {
		group.Go(func() {
			p, err := m.NewPredictor(PredictorOptions{MaxBatch: 1 + 5*k})
			if !assert.NoError(t, err) {
				return
			}
			defer p.Close()
			for range 5 {
				out, err := p.Predict(context.Background(), x.Pixels)
				assert.NoError(t, err)
				assert.Equal(t, want, fmt.Sprint(out))
			}
		})
	}
	group.Wait()
}

// One predictor is for one goroutine: a second caller is told so or waits its turn, and never gets a wrong answer.
func TestPredictorInASharedSession(t *testing.T) {
	rt := openToy(t)
	m := trainToy(t, rt, vectorConfig(4, 3), toyVectors(120, 4, 3, 1))
	s, err := rt.NewSession()
	require.NoError(t, err)
	defer s.Close()
	x := toyVectors(40, 4, 3, 2).Pixels
	want := fmt.Sprint(predictAll(t, m, PredictorOptions{}, x))
	a, err := m.NewPredictor(PredictorOptions{Session: s})
	require.NoError(t, err)
	b, err := m.NewPredictor(PredictorOptions{Session: s, MaxBatch: 16})
	require.NoError(t, err)
	for _, p := range []*Predictor{a, b, a, b} { // in turn, through one arena
		out, err := p.Predict(context.Background(), x)
		require.NoError(t, err)
		require.Equal(t, want, fmt.Sprint(out))
	}
	a.Close()
	out, err := b.Predict(context.Background(), x)
	require.NoError(t, err)
	require.Equal(t, want, fmt.Sprint(out))
	b.Close()
}

func TestCancelledPrediction(t *testing.T) {
	rt := openToy(t)
	m := trainToy(t, rt, vectorConfig(4, 3), toyVectors(120, 4, 3, 1))
	x := toyVectors(2000, 4, 3, 2).Pixels
	p, err := m.NewPredictor(PredictorOptions{MaxBatch: 1})
	require.NoError(t, err)
	defer p.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = p.Predict(ctx, x)
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorIs(t, err, runtime.ErrCancelled)
	for _, after := range []time.Duration{0, 200 * time.Microsecond, 2 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(context.Background(), after)
		for err = nil; err == nil; {
			_, err = p.Predict(ctx, x)
		}
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		cancel()
	}
	_, err = p.Predict(context.Background(), x) // no worse for it
	assert.NoError(t, err)
}

// Model, predictor and runtime may be closed in any order, and more than once; what is used afterwards says so.
func TestCloseInAnyOrder(t *testing.T) {
	images := toyVectors(90, 3, 3, 1)
	ctx := context.Background()
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		rt := openToy(t)
		m, err := Train(ctx, rt, vectorConfig(3, 3), images, TrainOptions{})
		require.NoError(t, err)
		p, err := m.NewPredictor(PredictorOptions{})
		require.NoError(t, err)
		q, err := m.NewPredictor(PredictorOptions{LabelsOnly: true})
		require.NoError(t, err)
		for i, which := range order {
			[]func(){p.Close, m.Close, rt.Close}[which]()
			_, err := p.Predict(ctx, images.Pixels)
			assert.ErrorIs(t, err, runtime.ErrClosed)
			_, err = q.Predict(ctx, images.Pixels)
			if i == 0 && which == 0 {
				assert.NoError(t, err, "another predictor is none the worse")
			} else if which != 0 || i == 2 {
				assert.ErrorIs(t, err, runtime.ErrClosed)
			}
			if which != 0 {
				_, err = m.NewPredictor(PredictorOptions{})
				assert.ErrorIs(t, err, runtime.ErrClosed)
			}
		}
		for _, again := range []func(){p.Close, q.Close, m.Close, rt.Close} {
			again()
		}
	}
}

func TestPredictRefuses(t *testing.T) {
	rt := openToy(t)
	m := trainToy(t, rt, vectorConfig(2, 2), toyVectors(100, 2, 2, 1))
	p, err := m.NewPredictor(PredictorOptions{})
	require.NoError(t, err)
	defer p.Close()
	ctx := context.Background()
	for _, v := range []struct {
		want string
		x    []float32
	}{
		{"prob-psenn: 3 values are not 1 inputs of 2", []float32{1, 2, 3}},
		{"prob-psenn: value 1 of input 2 is NaN", []float32{0, 0, 0, 0, 0, float32(math.NaN())}},
		{"prob-psenn: value 0 of input 0 is +Inf", []float32{float32(math.Inf(1)), 0}},
	} {
		_, err := p.Predict(ctx, v.x)
		assert.EqualError(t, err, v.want)
	}
	assert.EqualError(t, p.PredictInto(ctx, make([]Prediction, 2), make([]float32, 2)), "prob-psenn: 2 values are not 2 inputs of 2")
	out, err := p.Predict(ctx, nil)
	assert.NoError(t, err)
	assert.Empty(t, out)
	for _, batch := range []int{-1, 1<<16 + 1} {
		_, err := m.NewPredictor(PredictorOptions{MaxBatch: batch})
		assert.ErrorContains(t, err, "1 to 65536")
	}
}

// Whatever becomes of huge values on the way through a network, the answer is never trusted.
func TestHugeInputsAreUnfamiliar(t *testing.T) {
	rt := openToy(t)
	m, x := trainToy(t, rt, vectorConfig(4, 3), toyVectors(120, 4, 3, 1)), toyVectors(3, 4, 3, 2)
	check := func(m *Model, x []float32) {
		for _, scale := range []float32{1e3, 1e10, 1e19, 1e25} {
			huge := make([]float32, len(x))
			for i := range x {
				huge[i] = scale * x[i]
			}
			for _, p := range predictAll(t, m, PredictorOptions{Overlap: true}, huge) {
				assert.Equal(t, Unfamiliar, p.Verdict, "%v: %+v", scale, p)
			}
		}
	}
	check(m, x.Pixels)
	if hasCPU(t) {
		check(toyModel(t, rt, nil), toyImages(3, 2).Pixels)
	}
}

// Whichever allocation fails, training, prediction and loading end with the typed error and leave nothing behind.
func TestEveryAllocationCanFail(t *testing.T) {
	before := runtime.Live()
	images := toyVectors(90, 3, 3, 1)
	c := vectorConfig(3, 3)
	c.Epochs, c.Prototypes = 1, Mixture
	if hasCPU(t) {
		images, c = toyImages(90, 1), toyConfig()
		c.Epochs, c.PretrainEpochs, c.Network = 1, 1, "tiny"
	}
	path := t.TempDir() + "/model"
	run := func(f *runtime.Faults) (err error) {
		rt, err := runtime.Open(withFaults(t, f)...)
		if err != nil {
			return err
		}
		defer rt.Close()
		m, err := Train(context.Background(), rt, c, images, TrainOptions{})
		if err != nil {
			return err
		}
		defer m.Close()
		if err := m.Save(path); err != nil {
			return err
		}
		loaded, err := Load(rt, path)
		if err != nil {
			return err
		}
		defer loaded.Close()
		p, err := loaded.NewPredictor(PredictorOptions{MaxBatch: 3})
		if err != nil {
			return err
		}
		defer p.Close()
		_, err = p.Predict(context.Background(), images.Pixels)
		return err
	}
	count := &runtime.Faults{}
	require.NoError(t, run(count))
	for n := int64(1); n <= count.Allocations(); n++ {
		err := run(&runtime.Faults{FailAlloc: n})
		require.True(t, errors.Is(err, runtime.ErrOutOfMemory), "allocation %d of %d: %v", n, count.Allocations(), err)
		require.Equal(t, before, runtime.Live(), "leak after allocation %d", n)
	}
	t.Logf("%d allocations", count.Allocations())
}

package sdm

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/credence-ml/credence/runtime"
)

// A round is one training on one split. The last rows of train may be labelled OutOfDistribution: they belong to the
// support, and no loss is taken of them.
type round struct {
	config             *Config
	train, calibration *Data
	labelled           int // rows of train that have a class

	n         *network
	session   *runtime.Session
	forward   *forward
	rows      *part
	engine    *engine
	bound     *bound
	projector *projector
	self      []int32 // 0, 1, 2, ..: what the rows of train exclude
	nobody    []int32 // -1, -1, ..
}

// newRound makes the network, with weights zero, and the plans of a split.
func newRound(rt *runtime.Runtime, c *Config, train, calibration *Data, mean, deviation float32) (r *round, err error) {
	r = &round{config: c, train: train, calibration: calibration, labelled: labelledRows(train.Labels)}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	for i := range max(len(train.Labels), len(calibration.Labels)) {
		r.self, r.nobody = append(r.self, int32(i)), append(r.nobody, -1)
	}
	if r.n, err = newNetwork(rt, c, mean, deviation); err != nil {
		return r, err
	}
	if r.session, err = rt.NewSession(); err != nil {
		return r, err
	}
	if r.rows, err = newPart(rt, len(train.Labels), c.ExemplarDimension); err != nil {
		return r, err
	}
	if r.engine, err = newEngine(r.n, c.MaxNeighbors, r.rows); err != nil {
		return r, err
	}
	if r.projector, err = newProjector(r.n, r.session, r.rows); err != nil {
		return r, err
	}
	if r.forward, err = newForward(r.n, r.session); err != nil {
		return r, err
	}
	binding, err := r.engine.bind(r.session, r.engine.plan)
	r.bound = &bound{engine: r.engine, binding: binding}
	return r, err
}

// close frees all but what keep has taken over: nothing of it where keep was not called.
func (r *round) close() {
	if r.projector != nil {
		r.projector.close()
	}
	if r.forward != nil {
		r.forward.close()
	}
	if r.session != nil {
		r.session.Close()
	}
	if r.engine != nil {
		r.engine.release()
	}
	if r.rows != nil {
		r.rows.release()
	}
	if r.n != nil {
		r.n.close()
	}
}

// keep gives network, support and engine to the caller; the rest is still closed.
func (r *round) keep() (*network, *part, *engine) {
	n, rows, e := r.n, r.rows, r.engine
	r.n, r.rows, r.engine = nil, nil, nil
	return n, rows, e
}

// sweep matches all rows of x with the support.
func (r *round) sweep(ctx context.Context, x []float32, rows int, exclude, classes []int32, progress func(rows int)) (*matches, error) {
	c := r.config
	all := newMatches(rows, c.Classes)
	for at := 0; at < rows; at += maxBatch {
		end := min(at+maxBatch, rows)
		err := r.engine.run(ctx, r.bound, all.slice(at, end, c.Classes), x[at*c.Dimension:end*c.Dimension], exclude[at:end], [][]int32{classes})
		if err != nil {
			return nil, err
		}
		progress(end - at)
	}
	return all, nil
}

// A measurement is what the current weights make of a set of labelled rows.
type measurement struct {
	*matches
	d             []float32
	distributions [][]float32 // of the distances, by class
}

// measure finds q and d of labelled rows.
func (r *round) measure(ctx context.Context, data *Data, rows int, exclude, classes []int32, progress func(rows int)) (*measurement, error) {
	found, err := r.sweep(ctx, data.Features[:rows*r.config.Dimension], rows, exclude, classes, progress)
	if err != nil {
		return nil, err
	}
	return measured(r.config, data.Labels[:rows], found), nil
}

// measured holds the distances of rows against their own distributions: of those with a similarity, by label.
func measured(c *Config, labels []int32, found *matches) *measurement {
	m := &measurement{matches: found, d: make([]float32, len(labels))}
	m.distributions = distributions(c.Classes, labels, found.distance, func(i int) bool { return int(found.q[i]) > c.OODLimit })
	for i, d0 := range found.distance {
		m.d[i] = DistanceQuantile(d0, m.distributions)
	}
	return m
}

// project places the training rows with the current weights, and returns their predictions and the classes they have as
// support.
func (r *round) project(ctx context.Context) (predictions, classes []int32, err error) {
	predictions, err = r.projector.project(ctx, r.train.Features, len(r.train.Labels), r.config.Classes)
	return predictions, supportClasses(r.train.Labels, predictions), err
}

// similarities are the counts as numbers to compute with.
func (m *measurement) similarities() []float32 {
	q := make([]float32, len(m.q))
	for i := range q {
		q[i] = float32(m.q[i])
	}
	return q
}

// balanced is the mean over classes of the mean of value over the class's rows.
func balanced(classes int, labels []int32, value func(i int) float64) float64 {
	sum, n := make([]float64, classes), make([]float64, classes)
	for i, label := range labels {
		sum[label] += value(i)
		n[label]++
	}
	total := 0.0
	for c := range sum {
		total += sum[c] / n[c]
	}
	return total / float64(classes)
}

// fill computes the figures of labelled rows.
func (s *Figures) fill(c *Config, labels []int32, m *measurement) {
	z := func(i int) []float32 { return m.logits[i*c.Classes : (i+1)*c.Classes] }
	s.SDMLoss = balanced(c.Classes, labels, func(i int) float64 { return loss(z(i), int(labels[i]), float32(m.q[i]), m.d[i], c.QOffset) })
	s.MeanQ = balanced(c.Classes, labels, func(i int) float64 { return float64(m.q[i]) })
	s.fillPlain(c, labels, m.logits)
}

func (s *Figures) fillPlain(c *Config, labels []int32, logits []float32) {
	z := func(i int) []float32 { return logits[i*c.Classes : (i+1)*c.Classes] }
	s.CELoss = balanced(c.Classes, labels, func(i int) float64 { return loss(z(i), int(labels[i]), plainQ(c), 1, c.QOffset) })
	s.Accuracy = balanced(c.Classes, labels, func(i int) float64 {
		if argMax(z(i)) == int(labels[i]) {
			return 1
		}
		return 0
	})
}

// plainQ makes the activation a softmax, with d = 1.
func plainQ(c *Config) float32 { return float32(math.E - c.QOffset) }

// halve shuffles rows and cuts them in two.
func halve(rows int, seed uint64) (train, calibration []int) {
	order := rand.New(rand.NewPCG(seed, 2)).Perm(rows)
	return order[:rows/2], order[rows/2:]
}

// checkClasses demands that every class occurs.
func checkClasses(name string, labels []int32, classes int) error {
	n := make([]int, classes)
	for _, label := range labels {
		if label >= 0 {
			n[label]++
		}
	}
	for c := range n {
		if n[c] == 0 {
			return fmt.Errorf("sdm: no row of class %d among the %d rows of %s; more data of it, or another seed of the split, is needed", c, len(labels), name)
		}
	}
	return nil
}

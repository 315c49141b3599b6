package sdm

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/credence-ml/credence/runtime"
)

// TrainOptions steer Train; the zero value gives the defaults.
type TrainOptions struct {
	Epochs             int     // 0: 20
	Batch              int     // rows per step; 0: 64
	LearningRate       float64 // of Adam; 0: 1e-5
	CrossEntropyEpochs int     // begin with so many epochs of plain cross-entropy; 0: 1. With more than one they match nothing
	Shuffles           int     // J, how many splits of the pooled rows are tried; 0: 1
	KeepSplit          bool    // train on the training rows and calibrate on the calibration rows as they are given
	Seed               uint64  // of weights, splits and order: the same seed gives the same bits
	Initial            *Model  // go on from the weights and the normalisation of this model
	Progress           func(Progress)
}

// Progress tells how far training has come.
type Progress struct {
	Round, Rounds, Epoch, Epochs int // from 1
	Done, Total                  int // rows trained on or matched
	Loss                         float64
}

func (o *TrainOptions) check() error {
	defaults := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	defaults(&o.Epochs, 20)
	defaults(&o.Batch, 64)
	defaults(&o.CrossEntropyEpochs, 1)
	defaults(&o.Shuffles, 1)
	if o.LearningRate == 0 {
		o.LearningRate = 1e-5
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.Epochs < 1 || o.Batch < 1 || o.CrossEntropyEpochs < 1 || o.Shuffles < 1 || !(o.LearningRate > 0) || math.IsInf(o.LearningRate, 0) {
		return fmt.Errorf("sdm: %d epochs, batches of %d, learning rate %v, %d epochs of cross-entropy, %d shuffles: all must be positive",
			o.Epochs, o.Batch, o.LearningRate, o.CrossEntropyEpochs, o.Shuffles)
	}
	if o.Batch > 1<<20 {
		return fmt.Errorf("sdm: batches of %d; at most %d are possible", o.Batch, 1<<20)
	}
	return nil
}

// warmUp is how many epochs match nothing.
func (o *TrainOptions) warmUp() int {
	if o.CrossEntropyEpochs > 1 {
		return min(o.CrossEntropyEpochs, o.Epochs)
	}
	return 0
}

// A candidate is the best of an epoch seen so far: enough to make it again.
type candidate struct {
	loss    float64
	round   int
	epoch   int
	weights []byte
}

// A fit is the work of Train.
type fit struct {
	rt          *runtime.Runtime
	config      Config
	o           TrainOptions
	train       *Data
	calibration *Data
	done, total int
	history     []EpochStats
	best        candidate
}

// Train fits the adaptor by equation 7 of arXiv 2509.12760, finds the regions of acceptance on calibration rows, and
// keeps the training rows as support. In each of J rounds all rows are pooled and split in halves anew, unless the split
// is kept; the epoch with the least balanced loss on the calibration rows wins, over all rounds, the last of equals.
// Training rows with the label OutOfDistribution go to the support as they are.
func Train(ctx context.Context, rt *runtime.Runtime, c Config, train, calibration Data, o TrainOptions) (*Model, error) {
	f := &fit{rt: rt, config: c, o: o, train: &train, calibration: &calibration, best: candidate{loss: math.Inf(1)}}
	if err := f.check(); err != nil {
		return nil, err
	}
	var err error
	if f.rt, err = rt.Place("sdm", f.rehearse); err != nil {
		return nil, err
	}
	for j := range f.o.Shuffles {
		if err := f.round(ctx, j); err != nil {
			return nil, err
		}
	}
	return f.finish(ctx)
}

func (f *fit) check() error {
	c := &f.config
	if i := f.o.Initial; i != nil {
		if c.Dimension != i.config.Dimension || c.Classes != i.config.Classes {
			return fmt.Errorf("sdm: the initial model has %d features and %d classes, the data %d and %d", i.config.Dimension, i.config.Classes, c.Dimension, c.Classes)
		}
		if c.ExemplarDimension != 0 && c.ExemplarDimension != i.config.ExemplarDimension {
			return fmt.Errorf("sdm: the initial model has exemplars of %d, not %d", i.config.ExemplarDimension, c.ExemplarDimension)
		}
		c.ExemplarDimension = i.config.ExemplarDimension
		if c.ClassNames == nil {
			c.ClassNames = i.config.ClassNames
		}
	}
	// before anything is made for every class: a label that is a mistake may be any number
	if rows := len(f.train.Labels) + len(f.calibration.Labels); c.Classes > rows {
		return fmt.Errorf("sdm: %d classes for %d rows; every class must occur", c.Classes, rows)
	}
	if err := c.check(); err != nil {
		return err
	}
	if c.MaxNeighbors < 2 {
		return fmt.Errorf("sdm: at most %d neighbours; a training row is one of them itself, so at least 2 are needed", c.MaxNeighbors)
	}
	if err := f.o.check(); err != nil {
		return err
	}
	for _, d := range []struct {
		name   string
		data   *Data
		others []int32
	}{{"training rows", f.train, []int32{OutOfDistribution}}, {"calibration rows", f.calibration, nil}} {
		if err := d.data.check(d.name, c.Dimension); err != nil {
			return err
		}
		if err := checkLabels(d.name, d.data.Labels, c.Classes, d.others...); err != nil {
			return err
		}
	}
	for r := range f.o.Shuffles {
		train, calibration := f.split(r, false)
		n := labelledRows(train.Labels)
		if n < 2 {
			return fmt.Errorf("sdm: %d labelled rows to train on; at least 2 are needed", n)
		}
		if err := checkClasses("the training half", train.Labels, c.Classes); err != nil {
			return err
		}
		if err := checkClasses("the calibration half", calibration.Labels, c.Classes); err != nil {
			return err
		}
		f.total += f.o.Epochs * (2*n + len(calibration.Labels))
	}
	return checkIDs(f.train, f.calibration)
}

// checkIDs demands that no id occurs twice, within or between the sets: after a shuffle either may come to the support.
func checkIDs(train, calibration *Data) error {
	if (train.IDs == nil) != (calibration.IDs == nil) {
		return errors.New("sdm: ids of the training rows or of the calibration rows alone; both need them, or neither")
	}
	seen := names{}
	if err := seen.add("training rows", train.IDs); err != nil {
		return err
	}
	return seen.add("calibration rows", calibration.IDs)
}

// split is the training and the calibration half of a round. Rows known to be like no class come last among the first.
func (f *fit) split(j int, withFeatures bool) (train, calibration *Data) {
	if f.o.KeepSplit && labelledRows(f.train.Labels) == len(f.train.Labels) {
		return f.train, f.calibration
	}
	n := len(f.train.Labels)
	var labelled, foreign []int
	for i, label := range f.train.Labels {
		if label == OutOfDistribution {
			foreign = append(foreign, i)
		} else {
			labelled = append(labelled, i)
		}
	}
	var first, second []int
	if f.o.KeepSplit {
		first = labelled
		for i := range f.calibration.Labels {
			second = append(second, n+i)
		}
	} else {
		pool := labelled
		for i := range f.calibration.Labels {
			pool = append(pool, n+i)
		}
		a, b := halve(len(pool), f.o.Seed+uint64(j))
		for _, i := range a {
			first = append(first, pool[i])
		}
		for _, i := range b {
			second = append(second, pool[i])
		}
	}
	return f.gather(append(first, foreign...), withFeatures), f.gather(second, withFeatures)
}

// rehearse makes what a round needs.
func (f *fit) rehearse(rt *runtime.Runtime) error {
	train, calibration := f.split(0, false)
	r, err := newRound(rt, &f.config, train, calibration, 0, 1)
	if err != nil {
		return err
	}
	defer r.close()
	t, err := newTrainer(r.n, r.session, min(f.o.Batch, r.labelled))
	t.close()
	return err
}

// labelledRows counts the rows that have a class.
func labelledRows(labels []int32) (n int) {
	for _, label := range labels {
		if label >= 0 {
			n++
		}
	}
	return n
}

// gather picks rows of the pool: the training rows, and behind them the calibration rows.
func (f *fit) gather(rows []int, withFeatures bool) *Data {
	d, n := f.config.Dimension, len(f.train.Labels)
	out := &Data{Labels: make([]int32, len(rows)), IDs: make([]string, len(rows))}
	if withFeatures {
		out.Features = make([]float32, len(rows)*d)
	}
	if f.train.Documents != nil || f.calibration.Documents != nil {
		out.Documents = make([]*string, len(rows))
	}
	for i, row := range rows {
		from, at := f.train, row
		if row >= n {
			from, at = f.calibration, row-n
		}
		out.Labels[i] = from.Labels[at]
		if out.IDs[i] = from.id(at); from.IDs == nil { // numbers of two sets would collide
			out.IDs[i] = fmt.Sprint(row)
		}
		if withFeatures {
			copy(out.Features[i*d:(i+1)*d], from.Features[at*d:(at+1)*d])
		}
		if out.Documents != nil {
			out.Documents[i] = from.document(at)
		}
	}
	return out
}

// open makes the round j with its first weights.
func (f *fit) open(j int) (*round, error) {
	train, calibration := f.split(j, true)
	mean, deviation := moments(train.Features[:labelledRows(train.Labels)*f.config.Dimension])
	if f.o.Initial != nil {
		mean, deviation = f.o.Initial.n.mean, f.o.Initial.n.deviation
	}
	r, err := newRound(f.rt, &f.config, train, calibration, mean, deviation)
	if err != nil {
		return nil, err
	}
	if f.o.Initial != nil {
		var weights []float32
		if weights, err = f.o.Initial.n.weights(); err == nil {
			err = r.n.setWeights(weights)
		}
	} else {
		err = r.n.initialise(f.o.Seed + uint64(j))
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// round trains on the split j.
func (f *fit) round(ctx context.Context, j int) (err error) {
	r, err := f.open(j)
	if err != nil {
		return err
	}
	defer r.close()
	t, err := newTrainer(r.n, r.session, min(f.o.Batch, r.labelled))
	if err != nil {
		return err
	}
	defer t.close()
	q, d := make([]float32, r.labelled), make([]float32, r.labelled)
	for i := range q {
		q[i], d[i] = plainQ(r.config), 1
	}
	// epochs of warm-up have a best of their own: their loss is of another kind
	warmUp := f.o.warmUp()
	plain := candidate{loss: math.Inf(1)}
	for e := range f.o.Epochs {
		stats := EpochStats{Round: j + 1, Epoch: e + 1, CrossEntropy: e < f.o.CrossEntropyEpochs}
		progress := func(rows int) {
			f.done += rows
			f.o.Progress(Progress{j + 1, f.o.Shuffles, e + 1, f.o.Epochs, f.done, f.total, stats.Loss})
		}
		if stats.Loss, err = t.epoch(ctx, r, q, d, f.o.LearningRate, f.o.Seed+uint64(j), e, progress); err != nil {
			return err
		}
		f.history = append(f.history, stats)
		now := &f.history[len(f.history)-1]
		if e < warmUp {
			if err := f.plainEpoch(ctx, r, now, &plain, progress); err != nil {
				return err
			}
			if e+1 == warmUp {
				q, d, err = f.endWarmUp(ctx, r, &plain)
			}
		} else {
			q, d, err = f.matchedEpoch(ctx, r, now, progress)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// plainEpoch holds the cross-entropy on the calibration rows against the best so far.
func (f *fit) plainEpoch(ctx context.Context, r *round, stats *EpochStats, plain *candidate, progress func(rows int)) error {
	c := r.config
	_, logits, err := r.forward.run(ctx, r.train.Features[:r.labelled*c.Dimension], false)
	if err != nil {
		return err
	}
	progress(r.labelled)
	stats.Training.fillPlain(c, r.train.Labels[:r.labelled], logits)
	if _, logits, err = r.forward.run(ctx, r.calibration.Features, false); err != nil {
		return err
	}
	progress(len(r.calibration.Labels))
	stats.Calibration.fillPlain(c, r.calibration.Labels, logits)
	if stats.Calibration.CELoss <= plain.loss {
		stats.Best = true
		return plain.take(r, stats, stats.Calibration.CELoss)
	}
	return nil
}

// endWarmUp makes the best epoch of the warm-up a candidate among those that match, and finds q and d of the training
// rows for the current weights.
func (f *fit) endWarmUp(ctx context.Context, r *round, plain *candidate) (q, d []float32, err error) {
	none := func(int) {}
	current, err := r.n.params.ReadAll()
	if err != nil {
		return nil, nil, err
	}
	if err := r.n.params.WriteAll(plain.weights); err != nil {
		return nil, nil, err
	}
	last := len(f.history) - 1
	back := f.history[last].Epoch - plain.epoch
	if q, d, err = f.matchedEpoch(ctx, r, &f.history[last-back], none); err != nil {
		return nil, nil, err
	}
	if err := r.n.params.WriteAll(current); err != nil || back == 0 {
		return q, d, err
	}
	_, classes, err := r.project(ctx)
	if err != nil {
		return nil, nil, err
	}
	m, err := r.measure(ctx, r.train, r.labelled, r.self, classes, none)
	if err != nil {
		return nil, nil, err
	}
	return m.similarities(), m.d, nil
}

// matchedEpoch holds the loss on the calibration rows against the best so far, and returns q and d of the training rows
// for the next epoch.
func (f *fit) matchedEpoch(ctx context.Context, r *round, stats *EpochStats, progress func(rows int)) (q, d []float32, err error) {
	_, classes, err := r.project(ctx)
	if err != nil {
		return nil, nil, err
	}
	train, err := r.measure(ctx, r.train, r.labelled, r.self, classes, progress)
	if err != nil {
		return nil, nil, err
	}
	calibration, err := r.measure(ctx, r.calibration, len(r.calibration.Labels), r.nobody, classes, progress)
	if err != nil {
		return nil, nil, err
	}
	stats.Matched = true
	stats.Training.fill(r.config, r.train.Labels[:r.labelled], train)
	stats.Calibration.fill(r.config, r.calibration.Labels, calibration)
	if stats.Calibration.SDMLoss <= f.best.loss {
		stats.Best = true
		err = f.best.take(r, stats, stats.Calibration.SDMLoss)
	}
	return train.similarities(), train.d, err
}

// take keeps the current weights.
func (c *candidate) take(r *round, s *EpochStats, loss float64) (err error) {
	c.loss, c.round, c.epoch = loss, s.Round, s.Epoch
	c.weights, err = r.n.params.ReadAll()
	return err
}

// finish makes the model of the best epoch.
func (f *fit) finish(ctx context.Context) (*Model, error) {
	if f.best.weights == nil {
		return nil, fmt.Errorf("sdm: no epoch gave a loss that is a number")
	}
	r, err := f.open(f.best.round - 1)
	if err != nil {
		return nil, err
	}
	defer r.close()
	if err := r.n.params.WriteAll(f.best.weights); err != nil {
		return nil, err
	}
	predictions, classes, err := r.project(ctx)
	if err != nil {
		return nil, err
	}
	m, err := r.measure(ctx, r.calibration, len(r.calibration.Labels), r.nobody, classes, func(int) {})
	if err != nil {
		return nil, err
	}
	st := &state{classes: [][]int32{classes}}
	for i, label := range r.train.Labels {
		st.records = append(st.records, Record{ID: r.train.id(i), Label: label, Predicted: predictions[i], Document: r.train.document(i)})
	}
	if err := st.calibrate(r.config, r.calibration, m); err != nil {
		return nil, err
	}
	model := &Model{config: f.config, training: f.record()}
	if err := model.open(r, st); err != nil {
		return nil, err
	}
	return model, nil
}

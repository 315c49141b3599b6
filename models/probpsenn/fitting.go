package probpsenn

import (
	"context"
	"fmt"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/runtime"
)

// TrainOptions steer Train; the zero value trains without checkpoints and in silence.
type TrainOptions struct {
	// Checkpoint is a file that holds the whole state of training, published by rename after every epoch and after
	// every CheckpointSteps steps (0: only after epochs).
	Checkpoint      string
	CheckpointSteps int
	// Resume continues from a checkpoint: the result is the same to the bit as without the interruption.
	Resume string
	// Progress is told of every step.
	Progress func(Progress)
}

// Progress is how far training has come.
type Progress struct {
	Phase         string // "pretrain", "fit", "joint", "calibrate", "examples"
	Epoch, Epochs int    // of the phase, from 1
	Done, Total   int    // inputs seen, over all phases
	Loss          float64
}

// position is where training stands: the next thing to do.
type position struct {
	Phase string `json:"phase"` // "pretrain", "fit", "joint", "calibrate"
	Epoch int    `json:"epoch"` // of the phase, from 0
	Batch int    `json:"batch"` // of the epoch, from 0
	// Sums are the loss terms of the epoch so far.
	Sums [5]float64 `json:"sums"`
}

// Train makes a model from labelled inputs: pre-training of the autoencoder, fit of the prototypes, joint training, and
// calibration on the share held out; then it looks for the training examples nearest to the prototypes. Pictures are
// NHWC in [-1, 1]; for the network "features" each row is a vector.
func Train(ctx context.Context, rt *runtime.Runtime, c Config, images *data.Images, o TrainOptions) (*Model, error) {
	if err := checkData(&c, images); err != nil {
		return nil, err
	}
	m, err := newModel(rt, c)
	if err != nil {
		return nil, err
	}
	err = m.train(ctx, images, o)
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// checkData proves that inputs and labels fit the configuration.
func checkData(c *Config, images *data.Images) error {
	if err := c.Check(); err != nil {
		return fmt.Errorf("prob-psenn: %w", err)
	}
	size, want := images.ImageSize(), c.InputSize()
	pictures := c.Network != "features"
	switch {
	case pictures && (images.Height != c.Height || images.Width != c.Width || images.Channels != c.Channels):
		return invalidf("pictures of %d x %d x %d, the model takes %d x %d x %d", images.Height, images.Width,
			images.Channels, c.Height, c.Width, c.Channels)
	case size != want:
		return invalidf("inputs of %d values, the model takes %d", size, want)
	case len(images.Pixels) != images.N*size:
		return invalidf("%d values are not %d inputs of %d", len(images.Pixels), images.N, size)
	case len(images.Labels) != images.N:
		return invalidf("%d inputs with %d labels", images.N, len(images.Labels))
	}
	for i, label := range images.Labels {
		if label < 0 || int(label) >= c.Classes {
			return invalidf("label %d of input %d is outside 0 to %d", label, i, c.Classes-1)
		}
	}
	return checkFinite(images.Pixels, size)
}

// checkFinite refuses inputs of a size with values that are not numbers, or would not be for long.
func checkFinite(x []float32, size int) error {
	for i, v := range x {
		if v != v || v > 1e30 || v < -1e30 {
			return invalidf("value %d of input %d is %v", i%size, i/size, v)
		}
	}
	return nil
}

func (m *Model) train(ctx context.Context, images *data.Images, o TrainOptions) error {
	c := &m.Config
	rest, held, err := data.StratifiedSplit(images.Labels, c.HoldOut, c.Seed)
	if err != nil {
		return fmt.Errorf("prob-psenn: hold out %v for calibration: %w", c.HoldOut, err)
	}
	train, calibration := images.Subset(rest), images.Subset(held)
	if err := checkCounts(c, train, calibration); err != nil {
		return err // now, not after the epochs before the fit
	}
	t, err := m.newTrainer()
	if err != nil {
		return err
	}
	defer t.close()
	r := &run{t: t, train: train, o: o, at: position{Phase: "pretrain"}}
	if !m.hasDecoder() || c.PretrainEpochs == 0 {
		r.at.Phase = "fit"
	}
	r.total = train.N*(c.Epochs+c.PretrainEpochs) + train.N + calibration.N + train.N
	if o.Resume != "" {
		if err := r.resume(o.Resume); err != nil {
			return err
		}
	}
	if err := r.phases(ctx); err != nil {
		return err
	}
	if calibration.N > 0 {
		err := m.Calibrate(ctx, calibration, func(rows int) { r.report("calibrate", 1, 1, r.total-train.N-calibration.N+rows, 0) })
		if err != nil {
			return err
		}
	}
	return m.NearestExamples(ctx, images, func(rows int) { r.report("examples", 1, 1, r.total-train.N+rows, 0) })
}

// checkCounts proves that there are enough inputs to fit every class and to calibrate.
func checkCounts(c *Config, train, calibration *data.Images) error {
	counts, err := data.ClassCounts(train.Labels, c.Classes)
	if err != nil {
		return fmt.Errorf("prob-psenn: %w", err)
	}
	need := c.PerClass * c.components()
	for class, n := range counts {
		if n < need {
			return fmt.Errorf("prob-psenn: class %d has %d training inputs; its %d distributions need at least one each", class, n, need)
		}
	}
	if train.N < 2 {
		return fmt.Errorf("prob-psenn: %d training inputs; batch normalisation needs 2", train.N)
	}
	if n := calibration.N; n > 0 && n < minPerClass {
		return fmt.Errorf("prob-psenn: hold_out %v of %d inputs is %d; calibration needs at least %d", c.HoldOut, train.N+n, n, minPerClass)
	}
	return nil
}

// A run is one call of Train.
type run struct {
	t          *trainer
	train      *data.Images
	o          TrainOptions
	at         position
	total      int
	dataDigest string
}

func (r *run) report(phase string, epoch, epochs, done int, loss float64) {
	if r.o.Progress != nil {
		r.o.Progress(Progress{Phase: phase, Epoch: epoch, Epochs: epochs, Done: done, Total: r.total, Loss: loss})
	}
}

// phases goes on from the current position to the end of joint training.
func (r *run) phases(ctx context.Context) error {
	c, n := &r.t.m.Config, r.train.N
	if r.at.Phase == "pretrain" {
		if err := r.epochs(ctx, r.t.pretrain, c.PretrainEpochs, 0, func(int) float64 { return c.LearningRate }); err != nil {
			return err
		}
		r.at = position{Phase: "fit"}
	}
	if r.at.Phase == "fit" {
		done := n * c.PretrainEpochs
		z, err := r.t.m.encodeAll(ctx, r.train.Pixels, func(rows int) { r.report("fit", 1, 1, done+rows, 0) })
		if err != nil {
			return err
		}
		if err := r.t.m.fit(z, r.train.Labels); err != nil {
			return err
		}
		if err := r.t.adam.Reset(); err != nil { // the moments of pre-training say nothing of the joint loss
			return err
		}
		r.at = position{Phase: "joint"}
		if err := r.save(); err != nil {
			return err
		}
	}
	if r.at.Phase == "joint" {
		steps := c.Epochs * ((n + c.Batch - 1) / c.Batch)
		if err := r.epochs(ctx, r.t.joint, c.Epochs, n*(c.PretrainEpochs+1), func(step int) float64 { return c.rate(step, steps) }); err != nil {
			return err
		}
		r.at = position{Phase: "calibrate"}
		return r.save()
	}
	return nil
}

// epochs trains a phase from the current position to its end.
func (r *run) epochs(ctx context.Context, p *phase, epochs, done int, rate func(step int) float64) error {
	c, n := &r.t.m.Config, r.train.N
	batches := (n + c.Batch - 1) / c.Batch
	augment := newAugmenter(c)
	for ; r.at.Epoch < epochs; r.at.Epoch++ {
		rows := order(c, p.name, r.at.Epoch, n)
		for ; r.at.Batch < batches; r.at.Batch++ {
			first := r.at.Batch * c.Batch
			last := min(first+c.Batch, n)
			if last-first >= 2 { // batch normalisation needs two
				step := r.at.Epoch*batches + r.at.Batch
				if err := r.t.runBatch(ctx, p, r.train, rows[first:last], augment, rate(step), &r.at.Sums); err != nil {
					return err
				}
			}
			r.report(p.name, r.at.Epoch+1, epochs, done+r.at.Epoch*n+last, r.at.Sums[0]/float64(r.at.Batch+1))
			if every := r.o.CheckpointSteps; every > 0 && (r.at.Batch+1)%every == 0 && r.at.Batch+1 < batches {
				if err := r.saveAt(position{p.name, r.at.Epoch, r.at.Batch + 1, r.at.Sums}); err != nil {
					return err
				}
			}
		}
		s := r.at.Sums
		for i := range s {
			s[i] /= float64(batches)
		}
		r.t.m.History = append(r.t.m.History, EpochStats{p.name, r.at.Epoch + 1, s[0], s[1], s[2], s[3], s[4]})
		r.at.Batch, r.at.Sums = 0, [5]float64{}
		if err := r.saveAt(position{Phase: p.name, Epoch: r.at.Epoch + 1}); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) save() error { return r.saveAt(r.at) }

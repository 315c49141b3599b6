package sdm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/credence-ml/credence/models/internal/optim"
	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime"
)

// trainLoss records the mean over the batch of -log_{o+q} SDM(z)_label, with scale = d ln(o+q) and weight =
// 1 / (N ln(o+q)) of every row, o the offset. q and d are data: no gradient flows through the search. That of z is d (SDM - [label]) / N.
func trainLoss(logits, labels, scale, weight ops.Tensor) ops.Tensor {
	z := ops.Mul(logits, ops.Reshape(scale, logits.Dim(0), ops.N(1)))
	return ops.Sum(ops.Mul(ops.CrossEntropy(z, labels), weight))
}

// scales are what trainLoss needs of one of n rows.
func scales(q, d float32, n int, offset float64) (scale, weight float32) {
	base := math.Log(offset + float64(q))
	return float32(float64(d) * base), float32(1 / (float64(n) * base))
}

// A trainer is the training plan of a network with its optimiser.
type trainer struct {
	session  *runtime.Session
	adam     *optim.Adam
	plan     *runtime.Plan
	binding  *runtime.Binding
	batch    ops.IntArg
	features ops.Tensor
	labels   ops.Tensor
	scale    ops.Tensor
	weight   ops.Tensor
	loss     ops.Tensor

	x []float32 // one batch
	y []int32
	s []float32
	w []float32
}

func newTrainer(n *network, s *runtime.Session, batch int) (t *trainer, err error) {
	d := int(n.g.Dims[1])
	t = &trainer{session: s, x: make([]float32, batch*d), y: make([]int32, batch), s: make([]float32, batch), w: make([]float32, batch)}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if t.adam, err = optim.NewAdam(n.rt, s, n.params, optim.AdamConfig{}); err != nil {
		return t, err
	}
	g := ops.NewGraph()
	t.batch = g.IntArg("batch", 1, int64(batch))
	rows := t.batch.Of(1)
	t.features = g.Input("features", ops.F32, ops.Shape{rows, ops.N(int64(d))})
	t.labels = g.Input("labels", ops.I32, ops.Shape{rows})
	t.scale, t.weight = g.Input("scale", ops.F32, ops.Shape{rows}), g.Input("weight", ops.F32, ops.Shape{rows})
	_, logits := n.forward(g, t.features)
	t.loss = trainLoss(logits, t.labels, t.scale, t.weight)
	g.Output(t.loss)
	var parameters []ops.Tensor
	for _, v := range n.vars() {
		parameters = append(parameters, g.Use(v))
	}
	for i, gradient := range ops.Gradients(t.loss, parameters...) {
		ops.StoreInto(n.vars()[i].Twin(t.adam.Grads), gradient)
	}
	if t.plan, err = n.rt.Compile(g, "sdm train"); err != nil {
		return t, err
	}
	t.binding, err = s.Bind(t.plan, n.params, t.adam.GradMemory())
	return t, err
}

func (t *trainer) close() {
	if t.binding != nil {
		t.binding.Close()
	}
	if t.plan != nil {
		t.plan.Close()
	}
	if t.adam != nil {
		t.adam.Close()
	}
}

// epoch takes one step for each batch of the rows in a shuffled order, which seed and epoch alone decide, and returns
// the mean loss. progress hears of every row once.
func (t *trainer) epoch(ctx context.Context, r *round, q, d []float32, rate float64, seed uint64, epoch int, progress func(rows int)) (float64, error) {
	order := rand.New(rand.NewPCG(seed^0x5d3, uint64(epoch))).Perm(len(q))
	width := r.config.Dimension
	sum := 0.0
	for at := 0; at < len(order); at += len(t.y) {
		n := min(len(t.y), len(order)-at)
		for i, row := range order[at : at+n] {
			copy(t.x[i*width:], r.train.Features[row*width:(row+1)*width])
			t.y[i] = r.train.Labels[row]
			t.s[i], t.w[i] = scales(q[row], d[row], n, r.config.QOffset)
		}
		loss, err := t.step(ctx, n, width, rate)
		if err != nil {
			return 0, err
		}
		sum += loss * float64(n)
		progress(n)
	}
	return sum / float64(len(order)), nil
}

func (t *trainer) step(ctx context.Context, n, width int, rate float64) (float64, error) {
	b := t.binding
	b.SetInt(t.batch, int64(n))
	if err := errors.Join(b.Write(t.features, t.x[:n*width]), b.WriteInt32(t.labels, t.y[:n]), b.Write(t.scale, t.s[:n]), b.Write(t.weight, t.w[:n])); err != nil {
		return 0, err
	}
	if err := b.Run(ctx); err != nil {
		return 0, err
	}
	var v [1]float32
	if err := b.Read(t.loss, v[:]); err != nil {
		return 0, err
	}
	if loss := float64(v[0]); math.IsNaN(loss) || math.IsInf(loss, 0) {
		return 0, fmt.Errorf("sdm: the loss is %v; a smaller learning rate is needed", v[0])
	}
	return float64(v[0]), t.adam.Step(rate)
}

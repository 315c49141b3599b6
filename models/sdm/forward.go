package sdm

import (
	"context"

	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime"
)

// A forward is the plan of the adaptor alone.
type forward struct {
	n                          *network
	plan                       *runtime.Plan
	binding                    *runtime.Binding
	batch                      ops.IntArg
	features, exemplar, logits ops.Tensor
}

func newForward(n *network, s *runtime.Session) (*forward, error) {
	f := &forward{n: n}
	g := ops.NewGraph()
	f.batch = g.IntArg("batch", 0, maxBatch)
	f.features = g.Input("features", ops.F32, ops.Shape{f.batch.Of(1), ops.N(n.g.Dims[1])})
	f.exemplar, f.logits = n.forward(g, f.features)
	g.Output(f.exemplar, f.logits)
	var err error
	if f.plan, err = n.rt.Compile(g, "sdm adaptor"); err != nil {
		return nil, err
	}
	if f.binding, err = s.Bind(f.plan, n.params); err != nil {
		f.plan.Close()
		return nil, err
	}
	return f, nil
}

// run gives the logits of rows x, and their exemplars where asked for.
func (f *forward) run(ctx context.Context, x []float32, wantExemplars bool) (exemplars, logits []float32, err error) {
	d, m, c := int(f.n.g.Dims[1]), int(f.n.g.Dims[0]), int(f.n.w.Dims[0])
	rows := len(x) / d
	logits = make([]float32, rows*c)
	if wantExemplars {
		exemplars = make([]float32, rows*m)
	}
	for at := 0; at < rows; at += maxBatch {
		end := min(at+maxBatch, rows)
		f.binding.SetInt(f.batch, int64(end-at))
		if err := f.binding.Write(f.features, x[at*d:end*d]); err != nil {
			return nil, nil, err
		}
		if err := f.binding.Run(ctx); err != nil {
			return nil, nil, err
		}
		if err := f.binding.Read(f.logits, logits[at*c:end*c]); err != nil {
			return nil, nil, err
		}
		if wantExemplars {
			if err := f.binding.Read(f.exemplar, exemplars[at*m:end*m]); err != nil {
				return nil, nil, err
			}
		}
	}
	return exemplars, logits, nil
}

func (f *forward) close() {
	f.binding.Close()
	f.plan.Close()
}

package sdm

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"

	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime"
)

// distancesHeld bounds the distances that a submission of the nearest rows holds: 32 MiB of them.
const distancesHeld = 8 << 20

// nearestPlan computes all distances from few rows, for those who want to see the nearest.
type nearestPlan struct {
	once     sync.Once
	err      error
	plan     *runtime.Plan
	rows     int // in one submission
	batch    ops.IntArg
	features ops.Tensor
	distance []ops.Tensor // [B, S] for each part
}

func (p *nearestPlan) close() {
	if p.plan != nil {
		p.plan.Close()
	}
}

// nearestPlan is compiled when the first row asks for it.
func (e *engine) nearestPlan() (*nearestPlan, error) {
	p := &e.near
	p.once.Do(func() {
		support := int64(0)
		for _, part := range e.parts {
			support += part.rows.Dims[0]
		}
		p.rows = int(min(max(distancesHeld/support, 1), maxBatch))
		g := ops.NewGraph()
		p.batch = g.IntArg("batch", 0, int64(p.rows))
		p.features = g.Input("features", ops.F32, ops.Shape{p.batch.Of(1), ops.N(e.n.g.Dims[1])})
		exemplar, _ := e.n.forward(g, p.features)
		for _, part := range e.parts {
			d := ops.PairwiseSqdist(exemplar, g.Use(part.rows))
			g.Output(d)
			p.distance = append(p.distance, d)
		}
		p.plan, p.err = e.n.rt.Compile(g, "sdm nearest")
	})
	return p, p.err
}

// nearest finds the count nearest support rows of every row x, by distance and then by number: the order of the match,
// whose distances these are, bit for bit.
func (m *Model) nearest(ctx context.Context, st *state, x []float32, exclude []int32, count int, scores []Score) error {
	p, err := st.engine.nearestPlan()
	if err != nil {
		return err
	}
	d := m.config.Dimension
	for at := 0; at < len(scores); at += p.rows {
		end := min(at+p.rows, len(scores))
		err := m.scheduler.Do(ctx, func(ctx context.Context, s *runtime.Session) error {
			b, err := st.engine.bind(s, p.plan)
			if err != nil {
				return err
			}
			defer b.Close()
			b.SetInt(p.batch, int64(end-at))
			if err := b.Write(p.features, x[at*d:end*d]); err != nil {
				return err
			}
			if err := b.Run(ctx); err != nil {
				return err
			}
			var distances [][]float32
			for i, t := range p.distance {
				v := make([]float32, (end-at)*len(st.classes[i]))
				if err := b.Read(t, v); err != nil {
					return err
				}
				distances = append(distances, v)
			}
			for i := at; i < end; i++ {
				scores[i].Nearest = st.nearestOf(distances, i-at, int(exclude[i]), count)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// nearestOf picks from the distances of one row of a submission.
func (s *state) nearestOf(distances [][]float32, row, exclude, count int) []Match {
	type place struct {
		d  float32
		at int
	}
	order := func(a, b place) int { return cmp.Or(cmp.Compare(a.d, b.d), a.at-b.at) }
	var best []place // candidates: sorted and cut to the nearest whenever there are twice as many
	limit := float32(math.Inf(1))
	base := 0
	for i, classes := range s.classes {
		for k, d := range distances[i][row*len(classes) : (row+1)*len(classes)] {
			if classes[k] == removed || base+k == exclude || len(best) >= count && d >= limit {
				continue
			}
			best = append(best, place{max(d, 0), base + k})
			if len(best) >= 2*count {
				slices.SortFunc(best, order)
				best = best[:count]
				limit = best[count-1].d
			}
		}
		base += len(classes)
	}
	slices.SortFunc(best, order)
	best = best[:min(count, len(best))]
	found := make([]Match, len(best))
	for i, p := range best {
		r := &s.records[p.at]
		found[i] = Match{s.number(p.at), r.ID, int(r.Label), int(r.Predicted), p.d, r.Document}
	}
	return found
}

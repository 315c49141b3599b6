package sdm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/credence-ml/credence/runtime"
)

// Edits of the support take effect at once and as a whole: a row that is being scored sees all of an edit or nothing.
// They change q, d and the nearest rows, never a prediction, and they make the calibration stale.

// tailShare: the second part, which every addition copies, is joined with the first when it is larger than this share.
const tailShare = .25

// AddSupport adds labelled rows at the end of the support. A label is a class, or OutOfDistribution for a row that is
// known to be like none. Every row needs an id that the support does not have.
func (m *Model) AddSupport(ctx context.Context, data Data) error {
	if err := data.check("support rows", m.config.Dimension); err != nil {
		return err
	}
	if err := checkLabels("support rows", data.Labels, m.config.Classes, OutOfDistribution); err != nil {
		return err
	}
	if data.IDs == nil && len(data.Labels) > 0 {
		return errors.New("sdm: support rows need ids")
	}
	return m.change(func(old, st *state) error {
		if err := newIDs(old, data.IDs); err != nil || len(data.Labels) == 0 {
			return err
		}
		exemplars, predictions, err := m.adapt(ctx, data.Features)
		if err != nil {
			return err
		}
		for i, label := range data.Labels {
			st.records = append(st.records, Record{ID: data.IDs[i], Label: label, Predicted: predictions[i], Document: data.document(i)})
		}
		if err := m.grow(st, exemplars, supportClasses(data.Labels, predictions)); err != nil {
			return err
		}
		return st.identify(old.id, "add", data.IDs, data.Labels, data.Features)
	})
}

// RemoveSupport takes rows out of the support. At least one must be left.
func (m *Model) RemoveSupport(ids ...string) error {
	return m.change(func(old, st *state) error {
		rows, err := find(st, ids)
		if err != nil {
			return err
		}
		if len(rows) == st.live() {
			return fmt.Errorf("sdm: all %d rows of the support would be removed; one must be left", len(rows))
		}
		for _, row := range rows {
			*st.classAt(row) = removed
		}
		st.limit(float32(min(m.config.MaxNeighbors, st.count())))
		return st.identify(old.id, "remove", ids)
	})
}

// RelabelSupport gives rows of the support other labels, one for each id: a class, or OutOfDistribution.
func (m *Model) RelabelSupport(ids []string, labels []int32) error {
	if len(ids) != len(labels) {
		return fmt.Errorf("sdm: %d labels for %d ids", len(labels), len(ids))
	}
	if err := checkLabels("support rows", labels, m.config.Classes, OutOfDistribution); err != nil {
		return err
	}
	return m.change(func(old, st *state) error {
		rows, err := find(st, ids)
		if err != nil {
			return err
		}
		for i, row := range rows {
			st.records[row].Label = labels[i]
			*st.classAt(row) = supportClass(labels[i], st.records[row].Predicted)
		}
		return st.identify(old.id, "relabel", ids, labels)
	})
}

// change publishes what edit makes of a copy of the state; nothing if it fails.
func (m *Model) change(edit func(old, st *state) error) error {
	m.edit.Lock()
	defer m.edit.Unlock()
	old := m.state.Load()
	if old == nil {
		return errors.New("sdm: the model is closed")
	}
	st := old.copy()
	st.stale = true
	if err := edit(old, st); err != nil {
		if st.engine != old.engine {
			st.engine.release()
		}
		return err
	}
	if st.id == old.id { // nothing was asked for
		return nil
	}
	st.count()
	m.publish(st)
	return nil
}

// find gives the rows of ids, each of which must be there and named once.
func find(st *state, ids []string) ([]int, error) {
	at := make(map[string]int, len(ids))
	for _, id := range ids {
		if _, twice := at[id]; twice {
			return nil, fmt.Errorf("sdm: the id %q is given twice", id)
		}
		at[id] = -1
	}
	for row := range st.records {
		if _, wanted := at[st.records[row].ID]; wanted && *st.classAt(row) != removed {
			at[st.records[row].ID] = row
		}
	}
	rows := make([]int, len(ids))
	for i, id := range ids {
		if rows[i] = at[id]; rows[i] < 0 {
			return nil, fmt.Errorf("sdm: the support has no row %q", id)
		}
	}
	return rows, nil
}

// newIDs demands ids that occur once and are not in the support.
func newIDs(st *state, ids []string) error {
	fresh := names{}
	if err := fresh.add("support rows", ids); err != nil {
		return err
	}
	for row := range st.records {
		if id := st.records[row].ID; fresh.has(id) && *st.classAt(row) != removed {
			return fmt.Errorf("sdm: the support already has a row %q", id)
		}
	}
	return nil
}

// adapt gives the exemplars and predictions of features.
func (m *Model) adapt(ctx context.Context, features []float32) (exemplars []float32, predictions []int32, err error) {
	err = m.scheduler.Do(ctx, func(ctx context.Context, s *runtime.Session) error {
		f, err := newForward(m.n, s)
		if err != nil {
			return err
		}
		defer f.close()
		var logits []float32
		if exemplars, logits, err = f.run(ctx, features, true); err != nil {
			return err
		}
		for at := 0; at < len(logits); at += m.config.Classes {
			predictions = append(predictions, int32(argMax(logits[at:at+m.config.Classes])))
		}
		return nil
	})
	return exemplars, predictions, err
}

// grow puts vectors, whose records st has already, behind those of st, and gives st an engine of its own. What is copied
// on the way leaves removed rows behind.
func (m *Model) grow(st *state, vectors []float32, classes []int32) error {
	parts := st.engine.parts
	kept := len(parts) // parts that stay as they are
	size := len(classes)
	if kept > 1 {
		kept, size = 1, size+len(st.classes[1])
	}
	if float64(size) > tailShare*float64(len(st.classes[0])) {
		kept = 0
	}
	first := 0 // row of the new part
	for i := range kept {
		first += len(st.classes[i])
	}
	records := st.records[first:]
	st.records = st.records[:first:first]
	var rows []float32
	var rowClasses []int32
	for i := kept; i < len(parts); i++ {
		v, err := parts[i].read()
		if err != nil {
			return err
		}
		w := m.config.ExemplarDimension
		for k, class := range st.classes[i] {
			if class != removed {
				rows, rowClasses = append(rows, v[k*w:(k+1)*w]...), append(rowClasses, class)
				st.records = append(st.records, records[k])
			}
		}
		records = records[len(st.classes[i]):]
	}
	st.records = append(st.records, records...)
	st.classes = append(st.classes[:kept:kept], append(rowClasses, classes...))
	p, err := newPartOf(m.rt, append(rows, vectors...), m.config.ExemplarDimension)
	if err != nil {
		return err
	}
	defer p.release() // the engine is its user
	e, err := newEngine(m.n, m.config.MaxNeighbors, append(parts[:kept:kept], p)...)
	if err != nil {
		return err
	}
	st.engine = e
	return nil
}

// vectors are those of the rows that are there, in order.
func (s *state) vectors() ([]float32, error) {
	var all []float32
	for i, p := range s.engine.parts {
		v, err := p.read()
		if err != nil {
			return nil, err
		}
		m := int(p.rows.Dims[1])
		for k, class := range s.classes[i] {
			if class != removed {
				all = append(all, v[k*m:(k+1)*m]...)
			}
		}
	}
	return all, nil
}

// Recalibrate matches labelled rows, which must not be in the support, against the support as it is now, and finds
// distributions and regions anew. resolution 0 leaves the alpha resolution as it is.
func (m *Model) Recalibrate(ctx context.Context, data Data, resolution float64) error {
	c := m.Config()
	if err := data.check("calibration rows", c.Dimension); err != nil {
		return err
	}
	if err := checkLabels("calibration rows", data.Labels, c.Classes); err != nil {
		return err
	}
	if err := checkClasses("the calibration rows", data.Labels, c.Classes); err != nil {
		return err
	}
	return m.change(func(old, st *state) error {
		exclude := make([]int32, len(data.Labels))
		for i := range exclude {
			exclude[i] = -1
		}
		found, err := m.match(ctx, old, data.Features, exclude)
		if err != nil {
			return err
		}
		if resolution != 0 {
			c.AlphaResolution = resolution
		}
		if err := st.calibrate(&c, &data, measured(&c, data.Labels, found)); err != nil {
			return err
		}
		return st.identify(old.id, "recalibrate", st.calibration, st.regions)
	})
}

// RecalibrateAt finds the regions anew at another alpha resolution, from the stored calibration rows. What is stale
// stays so.
func (m *Model) RecalibrateAt(resolution float64) error {
	return m.change(func(old, st *state) error {
		if len(old.calibration) == 0 {
			return errors.New("sdm: the model has no stored calibration rows; calibrate it on labelled rows")
		}
		st.stale = old.stale
		if err := st.setRegions(&m.config, resolution); err != nil {
			return err
		}
		return st.identify(old.id, "resolution", json.Number(fmt.Sprint(resolution)))
	})
}

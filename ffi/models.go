package main

import (
	"context"
	goruntime "runtime"
	"sync"

	"github.com/credence-ml/credence/models/probpsenn"
	"github.com/credence-ml/credence/runtime"
)

// handles are all that C programs have open.
var handles table

// An openRuntime is a runtime that C programs have open.
type openRuntime struct {
	*runtime.Runtime
	models sync.WaitGroup // loaded and not closed; grows only while the handle is in use
}

// close closes the models too. The handle is released, so no new ones come.
func (r *openRuntime) close() {
	ours := func(value any) bool {
		m, ok := value.(*openModel)
		return ok && m.owner == r
	}
	for _, handle := range handles.those(ours) {
		if m, err := release[*openModel](&handles, handle); err == nil { // or else another thread closes it
			m.close()
		}
	}
	r.models.Wait()
	r.Close()
}

// An openModel is a model that C programs have open.
type openModel struct {
	owner *openRuntime
	model *probpsenn.Model
	// A predictor is for one call at a time; further calls wait for one of these. nil: not made yet.
	predictors chan *probpsenn.Predictor
}

// load reads a model's file.
func (r *openRuntime) load(path string) (*openModel, error) {
	model, err := probpsenn.Load(r.Runtime, path)
	if err != nil {
		if statusOf(err) == statusInternal {
			err = &fileError{err}
		}
		return nil, err
	}
	r.models.Add(1)
	m := &openModel{owner: r, model: model, predictors: make(chan *probpsenn.Predictor, goruntime.GOMAXPROCS(0))}
	for range cap(m.predictors) {
		m.predictors <- nil
	}
	return m, nil
}

// close frees the model. The handle is released: no call is under way and no new ones come.
func (m *openModel) close() {
	for range cap(m.predictors) {
		if p := <-m.predictors; p != nil {
			p.Close()
		}
	}
	m.model.Close()
	m.owner.models.Done()
}

// predict answers count inputs that lie one after the other.
func (m *openModel) predict(x []float32, count int) ([]probpsenn.Prediction, error) {
	p := <-m.predictors
	defer func() { m.predictors <- p }()
	if p == nil {
		made, err := m.model.NewPredictor(probpsenn.PredictorOptions{})
		if err != nil {
			return nil, err
		}
		p = made
	}
	out := make([]probpsenn.Prediction, count)
	return out, p.PredictInto(context.Background(), out, x)
}

// modelInfo is what credence_model_json tells.
type modelInfo struct {
	Kind        string           `json:"kind"`
	InputValues int              `json:"input_values"`
	Classes     int              `json:"classes"`
	Calibrated  bool             `json:"calibrated"`
	Config      probpsenn.Config `json:"config"`
}

func (m *openModel) info() modelInfo {
	c := m.model.Config
	return modelInfo{"prob-psenn", c.InputSize(), c.Classes, m.model.Calibration != nil, c}
}

package sdm

import (
	"fmt"
	"slices"
	"time"

	"github.com/credence-ml/credence/models/sdm/artifact"
	"github.com/credence-ml/credence/runtime"
)

// Keys of a model's metadata.
const (
	keyTraining = "trainingRun"
	keyStale    = "calibrationStale"
	keySource   = "sourceData" // digests of the features of every support row and calibration row
)

// Save publishes the model at path, a directory whose name ends in .sdmkitmodel by custom: whoever reads the path finds
// the old model or the new one as a whole. Removed support rows are left out.
func (m *Model) Save(path string) error {
	a, err := m.Artifact()
	if err != nil {
		return err
	}
	return a.Write(path)
}

// Artifact is the model as its file holds it.
func (m *Model) Artifact() (*artifact.Artifact, error) {
	st, err := m.take()
	if err != nil {
		return nil, err
	}
	defer st.engine.release()
	c := &m.config
	a := &artifact.Artifact{ID: st.id, Created: time.Now().UTC(), Producer: artifact.Producer{Name: "credence", Version: runtime.Build().Version},
		Config: artifact.Config{ClassNames: c.ClassNames, EmbeddingDimension: c.Dimension, ExemplarDimension: c.ExemplarDimension, MaxNeighbors: c.MaxNeighbors,
			QOffset: float32(c.QOffset), OODLimit: c.OODLimit, AlphaResolution: st.resolution},
		Normalization: artifact.Normalization{Mean: m.n.mean, StandardDeviation: m.n.deviation}, Representation: c.Representation,
		DistanceCDFs: st.distances, SimilarityCDFs: st.similarities, Regions: st.regions, Calibration: st.calibration}
	weights, err := m.n.weights()
	if err != nil {
		return nil, err
	}
	for i, part := range []*[]float32{&a.ProjectionWeight, &a.ProjectionBias, &a.ClassifierWeight, &a.ClassifierBias} {
		n := m.n.vars()[i].Count()
		*part, weights = weights[:n:n], weights[n:]
	}
	if a.Support, err = st.vectors(); err != nil {
		return nil, err
	}
	a.Records = st.present()
	a.Metadata = slices.Clone(m.metadata)
	a.Metadata.Take(keyStale)
	if st.id != m.loaded { // the rows may be others
		a.Metadata.Take(keySource)
	}
	if m.training != nil && err == nil {
		err = a.SetMeta(keyTraining, m.training)
	}
	if st.stale && err == nil {
		err = a.SetMeta(keyStale, true)
	}
	return a, err
}

// Load reads a model and puts it on a device.
func Load(rt *runtime.Runtime, path string) (*Model, error) {
	a, err := artifact.Read(path)
	if err != nil {
		return nil, err
	}
	m, err := FromArtifact(rt, a)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// FromArtifact puts a model on a device, and keeps what it can of a without a copy: a is not to be changed afterwards.
func FromArtifact(rt *runtime.Runtime, a *artifact.Artifact) (*Model, error) {
	if err := a.Validate(); err != nil {
		return nil, err
	}
	c := Config{Dimension: a.Config.EmbeddingDimension, Classes: a.Config.Classes(), ClassNames: a.Config.ClassNames, ExemplarDimension: a.Config.ExemplarDimension,
		MaxNeighbors: a.Config.MaxNeighbors, AlphaResolution: a.Config.AlphaResolution, QOffset: float64(a.Config.QOffset), OODLimit: a.Config.OODLimit, Representation: a.Representation}
	var weights []float32
	for _, part := range [][]float32{a.ProjectionWeight, a.ProjectionBias, a.ClassifierWeight, a.ClassifierBias} {
		weights = append(weights, part...)
	}
	st := &state{id: a.ID, records: a.Records, distances: a.DistanceCDFs, similarities: a.SimilarityCDFs, regions: a.Regions, resolution: a.Config.AlphaResolution,
		calibration: a.Calibration, stale: string(a.Metadata.Get(keyStale)) == "true"}
	m, err := assemble(rt, c, a.Normalization.Mean, a.Normalization.StandardDeviation, weights, a.Support, st)
	if err != nil {
		return nil, err
	}
	m.metadata, m.loaded = a.Metadata, a.ID
	return m, nil
}

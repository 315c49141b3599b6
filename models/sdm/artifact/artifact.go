// Package artifact reads and writes SDM models as directories NAME.sdmkitmodel, version 1 of the form that other SDM
// software keeps: a manifest, the weights and the support as raw float32, and records in JSON Lines.
//
// Validate holds a model to every rule of the form, and Read and Write both call it: what other programs would refuse is
// neither taken nor given. Checksums are verified where the manifest has them, and always written.
package artifact

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/credence-ml/credence/models/internal/strictjson"
)

// Artifact is a model. C classes, D features, M exemplar dimensions, N support rows.
type Artifact struct {
	ID             string
	Created        time.Time
	Producer       Producer
	Config         Config
	Normalization  Normalization
	Representation Representation

	ProjectionWeight []float32 // [M, D]
	ProjectionBias   []float32 // [M]
	ClassifierWeight []float32 // [C, M]
	ClassifierBias   []float32 // [C]

	Support []float32 // [N, M], exemplar vectors
	Records []Record  // [N], of the same rows

	DistanceCDFs   [][]float32 // [C], ascending; an empty class has none
	SimilarityCDFs [][]float32 // [C], of rescaled similarities q', ascending
	Regions        []Region    // by descending alpha

	Calibration []Calibrated // what recalibration at other alphas needs; nil if not kept

	// Metadata is free; trainingRun in it is the history of the training. Meta and SetMeta reach its fields.
	Metadata strictjson.Object
}

// Meta reads a field of the metadata into value as encoding/json does. It reports whether there is one.
func (a *Artifact) Meta(key string, value any) (bool, error) {
	text := a.Metadata.Get(key)
	if text == nil {
		return false, nil
	}
	if err := json.Unmarshal(text, value); err != nil {
		return true, fmt.Errorf("metadata: %s: %w", key, err)
	}
	return true, nil
}

// SetMeta puts a field into the metadata in place of one of the same key; nil takes it out.
func (a *Artifact) SetMeta(key string, value any) error {
	a.Metadata.Take(key)
	if value == nil {
		return nil
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("metadata: %s: %w", key, err)
	}
	a.Metadata = append(a.Metadata, strictjson.Field{Key: key, Value: text})
	return nil
}

// Producer is the program that made the model.
type Producer struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Config is the shape of the model and the constants of its estimator.
type Config struct {
	ClassNames         []string `json:"classNames"`         // [C], at least two
	EmbeddingDimension int      `json:"embeddingDimension"` // D
	ExemplarDimension  int      `json:"exemplarDimension"`  // M
	MaxNeighbors       int      `json:"maxNeighbors"`       // K, where counts of neighbours stop
	QOffset            float32  `json:"qOffset"`            // 2, the base of the activation without any similar neighbour
	OODLimit           int      `json:"oodLimit"`           // 0; rows whose floor(q') does not exceed it are never accepted
	AlphaResolution    float64  `json:"alphaResolution"`    // step of the ladder of alphas
}

// Classes is C.
func (c *Config) Classes() int { return len(c.ClassNames) }

// Normalization is applied to every feature alike: (x - Mean) / StandardDeviation.
type Normalization struct {
	Mean              float32 `json:"mean"`
	StandardDeviation float32 `json:"standardDeviation"`
}

// Representation says which encoder made the features; nil where that is not known.
type Representation struct {
	Provider      string  `json:"provider"`
	Model         *string `json:"model"`
	Revision      *string `json:"revision"`
	InputTemplate *string `json:"inputTemplate"`
	Fingerprint   string  `json:"fingerprint"`
}

// OutOfDistribution is the label of support rows that are known to be unlike every class.
const OutOfDistribution = -99

// Record is a support row besides its vector.
type Record struct {
	ID        string
	Label     int32 // a class or OutOfDistribution
	Predicted int32 // the class that the model itself gives
	Document  *string
	Metadata  json.RawMessage // an object; nil if there is none
}

// Region is where predictions are right at a rate of at least Alpha for every class.
type Region struct {
	Alpha             float64   `json:"alpha"`
	MinimumSimilarity float32   `json:"minimumRescaledSimilarity"` // of q'
	Thresholds        []float32 `json:"outputThresholds"`          // [C], of the output for the predicted class
}

// Calibrated is what the model says of a calibration row. Q, D0, D and ZPrime are not always kept.
type Calibrated struct {
	ID                string
	Label, Prediction int32
	SDM               []float32 // [C], sums to one
	QPrime            float32
	Q                 *int32
	D0, D             *float32
	ZPrime            []float32 // [C] logits
}

// The files of a model.
const (
	manifestFile    = "manifest.json"
	weightsFile     = "weights.f32"
	vectorsFile     = "support.f32"
	recordsFile     = "support.jsonl"
	calibrationFile = "calibration.jsonl"
)

const (
	maxManifest = 64 << 20
	maxElements = 2_000_000_000 // of the weights, and of the support
)

// weights are the parts of the weights' file in their order.
func (a *Artifact) weights() [4]*[]float32 {
	return [4]*[]float32{&a.ProjectionWeight, &a.ProjectionBias, &a.ClassifierWeight, &a.ClassifierBias}
}

// weightSizes are the sizes of these parts.
func (c *Config) weightSizes() [4]int {
	return [4]int{c.ExemplarDimension * c.EmbeddingDimension, c.ExemplarDimension, c.Classes() * c.ExemplarDimension, c.Classes()}
}

package sdm

import (
	"encoding/json"
	"strconv"
)

// Figures are means over classes on a set of labelled rows.
type Figures struct{ SDMLoss, CELoss, Accuracy, MeanQ float64 }

// An EpochStats is what one epoch of training came to.
type EpochStats struct {
	Round, Epoch          int     // from 1
	Loss                  float64 // mean over the steps
	Training, Calibration Figures
	Matched               bool // SDMLoss and MeanQ were computed
	CrossEntropy          bool // trained with q = e-2 and d = 1
	Best                  bool // the best so far of its kind
}

// A Training tells how a model came about.
type Training struct {
	Config               Config
	Epochs, Batch        int
	LearningRate         float64
	CrossEntropyEpochs   int
	Shuffles             int
	KeepSplit            bool
	Seed                 uint64
	InitialID            string // of the model that it went on from, "" where it began anew
	History              []EpochStats
	BestRound, BestEpoch int // from 1
}

// record is what the fit has to tell.
func (f *fit) record() *Training {
	t := &Training{Config: f.config, Epochs: f.o.Epochs, Batch: f.o.Batch, LearningRate: f.o.LearningRate, CrossEntropyEpochs: min(f.o.CrossEntropyEpochs, f.o.Epochs),
		Shuffles: f.o.Shuffles, KeepSplit: f.o.KeepSplit, Seed: f.o.Seed, History: f.history, BestRound: f.best.round, BestEpoch: f.best.epoch}
	if f.o.Initial != nil {
		t.InitialID = f.o.Initial.ID()
	}
	return t
}

// best is the epoch whose weights were kept.
func (t *Training) best() *EpochStats { return &t.History[(t.BestRound-1)*t.Epochs+t.BestEpoch-1] }

// MarshalJSON gives the metadata.trainingRun of the file's form.
func (t *Training) MarshalJSON() ([]byte, error) {
	type object = map[string]any
	var history []object
	for i := range t.History {
		s := &t.History[i]
		row := object{"iteration": s.Round, "epoch": s.Epoch, "marginalTrainingLoss": s.Loss, "isBest": s.Best, "durationSeconds": nil}
		for name, figures := range map[string]*Figures{"Training": &s.Training, "Calibration": &s.Calibration} {
			row["balanced"+name+"CELoss"], row["balanced"+name+"Accuracy"] = figures.CELoss, figures.Accuracy
			row["balanced"+name+"SDMLoss"], row["balancedMean"+name+"Q"] = nil, nil
			if s.Matched {
				row["balanced"+name+"SDMLoss"], row["balancedMean"+name+"Q"] = figures.SDMLoss, figures.MeanQ
			}
		}
		history = append(history, row)
	}
	initialization, source := "fresh", any(nil)
	if t.InitialID != "" {
		initialization, source = "activeModel", t.InitialID
	}
	return json.Marshal(object{
		"schemaVersion": 1,
		"configuration": object{"epochs": t.Epochs, "batchSize": t.Batch, "learningRate": t.LearningRate, "exemplarDimension": t.Config.ExemplarDimension,
			"maximumNeighbors": t.Config.MaxNeighbors, "alphaResolution": t.Config.AlphaResolution, "seed": strconv.FormatUint(t.Seed, 10),
			"crossEntropyEpochs": t.CrossEntropyEpochs, "iterations": t.Shuffles, "shuffleTrainingAndCalibration": !t.KeepSplit, "initialization": initialization},
		"backend": "credence", "history": history, "bestIteration": t.BestRound, "iterationCount": t.Shuffles, "bestEpoch": t.BestEpoch,
		"bestBalancedCalibrationLoss": t.best().Calibration.SDMLoss, "sourceModelID": source, "stoppedEarly": false, "durationSeconds": nil,
	})
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"

	"github.com/credence-ml/credence/models/mlp"
	"github.com/credence-ml/credence/runtime"
)

const (
	classes   = 2
	maxPoints = 1024    // of one request
	maxBody   = 1 << 20 // bytes of one request
)

// A service answers requests with a model on a runtime.
type service struct {
	rt    *runtime.Runtime
	model *mlp.Model // requests take turns in it
}

// newService trains the model.
func newService(ctx context.Context, rt *runtime.Runtime) (*service, error) {
	model, err := mlp.New(rt, mlp.Config{Inputs: 2, Hidden: []int{32, 32}, Classes: classes, MaxBatch: 64, Seed: 1})
	if err != nil {
		return nil, err
	}
	points, labels := moons(512, 1)
	if err := model.Train(ctx, points, labels, mlp.TrainOptions{Epochs: 40, LearningRate: 1e-2}); err != nil {
		model.Close()
		return nil, err
	}
	return &service{rt: rt, model: model}, nil
}

func (s *service) close() { s.model.Close() }

func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /predict", s.predict)
	mux.HandleFunc("GET /devices", s.devices)
	return mux
}

type predictRequest struct {
	Points [][2]float32 `json:"points"`
}

type predictResponse struct {
	Probabilities [][classes]float32 `json:"probabilities"`
}

// predict answers with the probability of each class for each point. The request's context reaches the runtime: when
// the client goes away, the work stops.
func (s *service) predict(w http.ResponseWriter, r *http.Request) {
	var request predictRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if n := len(request.Points); n > maxPoints {
		http.Error(w, fmt.Sprintf("%d points; at most %d in one request", n, maxPoints), http.StatusBadRequest)
		return
	}
	features := make([]float32, 0, 2*len(request.Points))
	for _, p := range request.Points {
		features = append(features, p[:]...)
	}
	flat := make([]float32, classes*len(request.Points))
	err := s.model.PredictInto(r.Context(), flat, features)
	switch {
	case r.Context().Err() != nil:
		return // nobody listens
	case err != nil:
		log.Print(err)
		http.Error(w, "the prediction failed", http.StatusInternalServerError)
		return
	}
	response := predictResponse{Probabilities: make([][classes]float32, len(request.Points))}
	for i := range response.Probabilities {
		copy(response.Probabilities[i][:], flat[i*classes:])
	}
	reply(w, response)
}

// devices tells what the runtime runs on and why.
func (s *service) devices(w http.ResponseWriter, _ *http.Request) { reply(w, s.rt.Report()) }

func reply(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(value); err != nil {
		log.Print(err)
	}
}

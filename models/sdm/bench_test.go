package sdm

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/runtime"
	"github.com/credence-ml/credence/runtime/testenv"
)

var serveBench = flag.Bool("credence.bench", false, "answer timing requests on standard input (ci/bench/sdm_train.sh)")

// benchRequest asks for the times of one thing; benchReply answers it.
type benchRequest struct {
	Kind      string `json:"kind"`      // "epoch": steps, and the match of training and calibration rows; "serve": single rows
	Rows      int    `json:"rows"`      // of the support; an epoch has as many calibration rows
	Dimension int    `json:"dimension"` // features
	Exemplar  int    `json:"exemplar"`
	Batch     int    `json:"batch"`      // rows per step
	Callers   int    `json:"goroutines"` // that score one row after the other
	Repeat    int    `json:"repeat"`     // epochs, or rows per goroutine
}

type benchReply struct {
	Device  string    `json:"device"`
	Seconds []float64 `json:"seconds"` // of each repetition, or of each row, ascending
	Total   float64   `json:"total"`
}

// TestServeBenchmarks is the Credence side of ci/bench/sdm_train.sh: it answers requests, one JSON object per line, until
// standard input ends, so that the other side can take turns with it. CREDENCE_THREADS sets the threads.
func TestServeBenchmarks(t *testing.T) {
	if !*serveBench {
		t.Skip("with -credence.bench")
	}
	rt, err := runtime.Open(runtime.WithBackendDir(testenv.BackendDir()), runtime.WithDevice("cpu"))
	require.NoError(t, err)
	defer rt.Close()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var r benchRequest
		require.NoError(t, json.Unmarshal(lines.Bytes(), &r))
		reply := benchReply{Device: rt.Device().Detail}
		switch r.Kind {
		case "epoch":
			benchEpochs(t, rt, &r, &reply)
		case "serve":
			benchServing(t, rt, &r, &reply)
		default:
			t.Fatalf("no kind %q", r.Kind)
		}
		text, err := json.Marshal(reply)
		require.NoError(t, err)
		fmt.Println(string(text))
	}
}

func benchEpochs(t *testing.T, rt *runtime.Runtime, r *benchRequest, reply *benchReply) {
	train, calibration := mixture(r.Rows, r.Dimension, 2, 1, 0, 1), mixture(r.Rows, r.Dimension, 2, 1, 0, 2)
	f := &fit{rt: rt, config: Config{Dimension: r.Dimension, Classes: 2, ExemplarDimension: r.Exemplar}, train: &train, calibration: &calibration,
		o: TrainOptions{Batch: r.Batch, KeepSplit: true}, best: candidate{loss: 1e30}}
	require.NoError(t, f.check())
	round, err := f.open(0)
	require.NoError(t, err)
	defer round.close()
	steps, err := newTrainer(round.n, round.session, r.Batch)
	require.NoError(t, err)
	defer steps.close()
	ctx, none := context.Background(), func(int) {}
	q, d, err := f.matchedEpoch(ctx, round, &EpochStats{}, none)
	require.NoError(t, err)
	for e := range r.Repeat {
		start := time.Now()
		_, err := steps.epoch(ctx, round, q, d, 1e-5, 0, e, none)
		require.NoError(t, err)
		q, d, err = f.matchedEpoch(ctx, round, &EpochStats{}, none)
		require.NoError(t, err)
		reply.Seconds = append(reply.Seconds, time.Since(start).Seconds())
		reply.Total += time.Since(start).Seconds()
	}
}

func benchServing(t *testing.T, rt *runtime.Runtime, r *benchRequest, reply *benchReply) {
	train, calibration := mixture(r.Rows, r.Dimension, 2, 1, 0, 1), mixture(500, r.Dimension, 2, 1, 0, 2)
	m, err := Train(context.Background(), rt, Config{Dimension: r.Dimension, Classes: 2, ExemplarDimension: r.Exemplar}, train, calibration, TrainOptions{Epochs: 1, KeepSplit: true})
	require.NoError(t, err)
	defer m.Close()
	x := mixture(r.Callers, r.Dimension, 2, 1, 0, 3)
	var mu sync.Mutex
	var wait sync.WaitGroup
	start := time.Now()
	for g := range r.Callers {
		wait.Go(func() {
			row := x.Features[g*r.Dimension : (g+1)*r.Dimension]
			var took []float64
			for range r.Repeat {
				begin := time.Now()
				if _, err := m.ScoreOne(context.Background(), row); err != nil {
					t.Error(err)
					return
				}
				took = append(took, time.Since(begin).Seconds())
			}
			mu.Lock()
			defer mu.Unlock()
			reply.Seconds = append(reply.Seconds, took...)
		})
	}
	wait.Wait()
	reply.Total = time.Since(start).Seconds()
	slices.Sort(reply.Seconds)
}

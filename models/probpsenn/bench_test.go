package probpsenn

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/runtime"
	"github.com/credence-ml/credence/runtime/testenv"
)

var serveBench = flag.Bool("credence.bench", false, "answer timing requests on standard input (ci/bench/probpsenn.sh)")

// benchRequest asks for the times of one thing; benchReply answers it.
type benchRequest struct {
	Kind       string        `json:"kind"` // "train": joint steps; "predict": single pictures
	Prototypes PrototypeKind `json:"prototypes"`
	Batch      int           `json:"batch"`
	Samples    int           `json:"samples"`
	PerClass   int           `json:"per_class"`
	Latent     int           `json:"latent"`
	LabelsOnly bool          `json:"labels_only"`
	Repeat     int           `json:"repeat"`
}

type benchReply struct {
	Device  string    `json:"device"`
	Seconds []float64 `json:"seconds"` // of each repetition
}

// TestServeBenchmarks is the Credence side of ci/bench/probpsenn.sh: it answers requests, one JSON object per line, until
// standard input ends. The other side can so take turns with it without paying for its start. CREDENCE_THREADS sets the
// threads, CREDENCE_DEVICE a device other than the CPU; BENCH_GRAPHS=off keeps a GPU from replaying plans as graphs.
func TestServeBenchmarks(t *testing.T) {
	if !*serveBench {
		t.Skip("with -credence.bench")
	}
	options := []runtime.Option{runtime.WithBackendDir(testenv.CUDADir(), testenv.BackendDir())}
	if os.Getenv("CREDENCE_DEVICE") == "" {
		options = append(options, runtime.WithDevice("cpu"))
	}
	if os.Getenv("BENCH_GRAPHS") == "off" {
		options = append(options, runtime.WithoutGraphs())
	}
	rt, err := runtime.Open(options...)
	require.NoError(t, err)
	defer rt.Close()
	things := map[benchRequest]func() error{}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var r benchRequest
		require.NoError(t, json.Unmarshal(lines.Bytes(), &r))
		reply := benchReply{Device: rt.Device().Detail}
		repeat := r.Repeat
		r.Repeat = 0
		if things[r] == nil {
			things[r], err = benchThing(rt, r)
			require.NoError(t, err)
			require.NoError(t, things[r]()) // caches and pages warm up
		}
		for range repeat {
			start := time.Now()
			require.NoError(t, things[r]())
			reply.Seconds = append(reply.Seconds, time.Since(start).Seconds())
		}
		text, err := json.Marshal(reply)
		require.NoError(t, err)
		fmt.Printf("%s\n", text)
	}
}

// benchThing makes what a request asks to time.
func benchThing(rt *runtime.Runtime, r benchRequest) (func() error, error) {
	c := DefaultConfig()
	c.Prototypes, c.Batch, c.Samples, c.EvalSamples, c.PerClass, c.Latent = r.Prototypes, r.Batch, r.Samples, r.Samples, r.PerClass, r.Latent
	m, err := newModel(rt, c)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	images := &data.Images{N: r.Batch, Height: 28, Width: 28, Channels: 1}
	random := rand.New(rand.NewPCG(1, 1))
	rows := make([]int, r.Batch)
	for i := range rows {
		rows[i] = i
		images.Labels = append(images.Labels, int32(random.IntN(10)))
		for range 28 * 28 {
			images.Pixels = append(images.Pixels, float32(2*random.Float64()-1))
		}
	}
	switch r.Kind {
	case "train":
		tr, err := m.newTrainer()
		if err != nil {
			return nil, err
		}
		augment := newAugmenter(&c)
		return func() error {
			var sums [5]float64
			return tr.runBatch(ctx, tr.joint, images, rows, augment, 1e-3, &sums)
		}, nil
	case "predict":
		if !r.LabelsOnly { // ranks and a verdict are part of the answer
			scores := toyScores(600)
			if m.Calibration, err = newCalibration(&c, scores); err != nil {
				return nil, err
			}
		}
		p, err := m.NewPredictor(PredictorOptions{MaxBatch: 1, LabelsOnly: r.LabelsOnly})
		if err != nil {
			return nil, err
		}
		out, next := make([]Prediction, 1), 0
		return func() error {
			next = (next + 1) % images.N
			return p.PredictInto(ctx, out, images.Image(next))
		}, nil
	}
	return nil, fmt.Errorf("kind %q: want train or predict", r.Kind)
}

// toyScores are predictions with n scores for each of ten classes.
func toyScores(n int) []Prediction {
	r := rand.New(rand.NewPCG(2, 2))
	var out []Prediction
	for i := range 10 * n {
		p := Prediction{Label: i % 10, PredictiveEntropy: r.ExpFloat64()}
		p.Scores = Scores{Distance: r.ExpFloat64(), Mahalanobis: r.ExpFloat64(), Reconstruction: r.ExpFloat64()}
		out = append(out, p)
	}
	return out
}

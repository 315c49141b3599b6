// Command expect writes what the C library's clients must get, to the bit, from the Go package itself:
//
//	expect DIR DEVICE...
//
// DIR gets a small model, model.safetensors, trained on pictures of bars and crosses; inputs, some of them like those of
// training and some noise, as float32; and for each device what Go answers there: DEVICE.predictions and
// DEVICE.probabilities as float64, DEVICE.json the explanation of the first input. All numbers are in the machine's order.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/probpsenn"
	"github.com/credence-ml/credence/runtime"
)

const side = 12

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: expect DIR DEVICE...")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "expect:", err)
		os.Exit(1)
	}
}

func write(dir string, devices []string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	model := filepath.Join(dir, "model.safetensors")
	if err := train(model); err != nil {
		return err
	}
	inputs := append(pictures(4, 3).Pixels, noise(2)...)
	if err := save(filepath.Join(dir, "inputs"), inputs); err != nil {
		return err
	}
	for _, device := range devices {
		if err := answer(dir, device, model, inputs); err != nil {
			return err
		}
	}
	return nil
}

func train(path string) error {
	rt, err := runtime.Open()
	if err != nil {
		return err
	}
	defer rt.Close()
	c := probpsenn.DefaultConfig()
	c.Classes, c.Height, c.Width, c.Latent, c.EvalSamples = 3, side, side, 4, 8
	c.PretrainEpochs, c.Epochs, c.Batch, c.HoldOut, c.LearningRate = 1, 20, 16, .4, 3e-3
	m, err := probpsenn.Train(context.Background(), rt, c, pictures(240, 1), probpsenn.TrainOptions{})
	if err != nil {
		return err
	}
	defer m.Close()
	return m.Save(path)
}

// answer writes the answers of one device.
func answer(dir, device, path string, inputs []float32) error {
	rt, err := runtime.Open(runtime.WithDevice(device))
	if err != nil {
		return err
	}
	defer rt.Close()
	m, err := probpsenn.Load(rt, path)
	if err != nil {
		return err
	}
	defer m.Close()
	p, err := m.NewPredictor(probpsenn.PredictorOptions{})
	if err != nil {
		return err
	}
	defer p.Close()
	out, err := p.Predict(context.Background(), inputs)
	if err != nil {
		return err
	}
	verdicts := map[probpsenn.Verdict]float64{probpsenn.Trusted: 1, probpsenn.Ambiguous: 2, probpsenn.Unfamiliar: 3}
	var predictions, probabilities []float64
	for i := range out {
		q, s := &out[i], &out[i].Scores
		predictions = append(predictions, float64(q.Label), verdicts[q.Verdict], q.Probability, q.PredictiveEntropy, q.AleatoricEntropy,
			q.MutualInformation, s.Distance, s.ExplanationPercentile, s.Mahalanobis, s.ChiSquare, s.Reconstruction, s.Combined,
			s.Unfamiliarity, s.Ambiguity)
		probabilities = append(probabilities, q.Probabilities...)
	}
	if err := save(filepath.Join(dir, device+".predictions"), predictions); err != nil {
		return err
	}
	if err := save(filepath.Join(dir, device+".probabilities"), probabilities); err != nil {
		return err
	}
	e, err := m.Explain(context.Background(), probpsenn.ExplainOptions{}, inputs[:side*side])
	if err != nil {
		return err
	}
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, device+".json"), text, 0o644)
}

// save writes numbers and nothing else.
func save(path string, numbers any) error {
	text, err := binary.Append(nil, binary.NativeEndian, numbers)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// pictures are n in turn of three classes: a horizontal bar, a vertical bar, a cross.
func pictures(n int, seed uint64) *data.Images {
	r := rand.New(rand.NewPCG(seed, 1))
	im := &data.Images{N: n, Height: side, Width: side, Channels: 1}
	for i := range n {
		class := i % 3
		im.Labels = append(im.Labels, int32(class))
		row, column := 4+r.IntN(4), 4+r.IntN(4)
		for y := range side {
			for x := range side {
				v := -.8
				if class != 1 && y == row || class != 0 && x == column {
					v = .7
				}
				im.Pixels = append(im.Pixels, float32(v+.2*r.Float64()))
			}
		}
	}
	return im
}

// noise is n pictures of nothing.
func noise(n int) []float32 {
	r := rand.New(rand.NewPCG(2, 2))
	x := make([]float32, n*side*side)
	for i := range x {
		x[i] = 2*r.Float32() - 1
	}
	return x
}

package sdm_test

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"

	"github.com/credence-ml/credence/models/sdm"
	"github.com/credence-ml/credence/runtime"
)

// Somebody else's encoder makes features; the verifier says of each input whether the answer can be relied on.
func Example() {
	rt, err := runtime.Open(runtime.WithDevice("go")) // "auto" in earnest
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()

	r := rand.New(rand.NewPCG(1, 2))
	encode := func(class int) []float32 {
		return []float32{float32(3-6*class) + float32(r.NormFloat64()), float32(r.NormFloat64())}
	}
	labelled := func(n int, name string) (data sdm.Data) {
		for i := range n {
			data.Features = append(data.Features, encode(i%2)...)
			data.Labels = append(data.Labels, int32(i%2))
			data.IDs = append(data.IDs, fmt.Sprint(name, i))
		}
		return data
	}
	ctx := context.Background()
	config := sdm.Config{Dimension: 2, Classes: 2, ClassNames: []string{"right", "left"}, ExemplarDimension: 4}
	model, err := sdm.Train(ctx, rt, config, labelled(300, "t"), labelled(300, "c"), sdm.TrainOptions{Epochs: 5, LearningRate: 1e-2})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	features := func(_ context.Context, batch [][]float32) ([]float32, error) { // here a network would run
		var rows []float32
		for _, x := range batch {
			rows = append(rows, x...)
		}
		return rows, nil
	}
	verifier, err := sdm.NewVerifier(model, features, sdm.VerifierOptions{Alpha: .9, Rule: sdm.Centroid})
	if err != nil {
		log.Fatal(err)
	}
	verdicts, err := verifier.Verify(ctx, [][]float32{
		{3.2, 0},  // as like its class as can be
		{.1, 0},   // between the classes
		{40, -90}, // unlike anything
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, v := range verdicts {
		fmt.Printf("%s %t %q\n", config.ClassNames[v.Prediction], v.Accepted, v.Reason)
	}
	// Output:
	// right true ""
	// left false "unlike"
	// right false "far"
}

package probpsenn_test

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/probpsenn"
	"github.com/credence-ml/credence/runtime"
)

// Somebody else's encoder gave feature vectors; prototypes over them classify, and say when they do not know.
func Example() {
	rt, err := runtime.Open(runtime.WithDevice("go")) // "auto" in earnest
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()

	// two classes around (2, 0) and (-2, 0)
	r := rand.New(rand.NewPCG(1, 2))
	features := &data.Images{N: 400, Height: 1, Width: 2, Channels: 1}
	for i := range features.N {
		class := i % 2
		features.Labels = append(features.Labels, int32(class))
		features.Pixels = append(features.Pixels, float32(2-4*class)+.5*float32(r.NormFloat64()), .5*float32(r.NormFloat64()))
	}
	config := probpsenn.DefaultConfig()
	config.Network, config.Latent, config.Classes, config.ClassNames = "features", 2, 2, []string{"right", "left"}
	config.Epochs, config.HoldOut = 2, .25
	ctx := context.Background()
	model, err := probpsenn.Train(ctx, rt, config, features, probpsenn.TrainOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := model.Save(filepath.Join(dir, "model.safetensors")); err != nil {
		log.Fatal(err)
	}

	predictor, err := model.NewPredictor(probpsenn.PredictorOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer predictor.Close()
	answers, err := predictor.Predict(ctx, []float32{
		2, 0, // as like its class as can be
		0, 30, // unlike anything
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(config.ClassNames[answers[0].Label], answers[0].Verdict)
	fmt.Println(answers[1].Verdict, "because it is", answers[1].Reason)
	// Output:
	// right trusted
	// unfamiliar because it is stranger than 95 % of held-out inputs of its class
}

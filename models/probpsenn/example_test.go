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

// halve is somebody's encoder: the means of neighbouring values.
type halve struct{}

func (halve) InputSize() int { return 4 }

func (halve) Encode(_ context.Context, inputs []float32) (vectors []float32, err error) {
	for i := 0; i < len(inputs); i += 2 {
		vectors = append(vectors, (inputs[i]+inputs[i+1])/2)
	}
	return vectors, nil
}

// An encoder of your own in front: the model is trained on its vectors, and the predictor takes what the encoder takes.
func ExampleEncoder() {
	rt, err := runtime.Open(runtime.WithDevice("go"))
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	r := rand.New(rand.NewPCG(1, 2))
	inputs := &data.Images{N: 400, Height: 1, Width: 4, Channels: 1}
	for i := range inputs.N {
		class := i % 2
		inputs.Labels = append(inputs.Labels, int32(class))
		for range 4 {
			inputs.Pixels = append(inputs.Pixels, float32(2-4*class)+.5*float32(r.NormFloat64()))
		}
	}
	ctx := context.Background()
	vectors, err := probpsenn.EncodeImages(ctx, halve{}, inputs)
	if err != nil {
		log.Fatal(err)
	}
	config := probpsenn.DefaultConfig()
	config.Network, config.Latent, config.Classes, config.Epochs, config.HoldOut = "features", 2, 2, 2, .25
	model, err := probpsenn.Train(ctx, rt, config, vectors, probpsenn.TrainOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	predictor, err := model.NewPredictor(probpsenn.PredictorOptions{Encoder: halve{}})
	if err != nil {
		log.Fatal(err)
	}
	defer predictor.Close()
	answers, err := predictor.Predict(ctx, []float32{
		2, 2, 2, 2,
		-2, -2, -2, -2,
		2, 2, 30, 30,
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range answers {
		fmt.Println(a.Label, a.Verdict)
	}
	// Output:
	// 0 trusted
	// 1 trusted
	// 0 unfamiliar
}

// Why an input got its answer: how far it is from each class's prototype, and what that adds to the class's score.
func ExampleModel_Explain() {
	rt, err := runtime.Open(runtime.WithDevice("go"))
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	r := rand.New(rand.NewPCG(3, 4))
	features := &data.Images{N: 600, Height: 1, Width: 2, Channels: 1}
	for i := range features.N { // three classes around (3, 0), (-3, 0) and (0, 3)
		at := [][2]float32{{3, 0}, {-3, 0}, {0, 3}}[i%3]
		features.Labels = append(features.Labels, int32(i%3))
		features.Pixels = append(features.Pixels, at[0]+.5*float32(r.NormFloat64()), at[1]+.5*float32(r.NormFloat64()))
	}
	config := probpsenn.DefaultConfig()
	config.Network, config.Latent, config.Classes, config.ClassNames = "features", 2, 3, []string{"right", "left", "top"}
	config.Epochs, config.HoldOut = 2, .25
	model, err := probpsenn.Train(context.Background(), rt, config, features, probpsenn.TrainOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	e, err := model.Explain(context.Background(), probpsenn.ExplainOptions{}, []float32{1.6, 1.5})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(e.Class, e.Prediction.Verdict)
	for _, c := range e.Classes {
		fmt.Printf("%-6s distance %2.0f  %s\n", c.Name, c.Distance, c.Role)
	}
	// Output:
	// right unfamiliar
	// right  distance  4  predicted
	// top    distance  6  contrast
	// left   distance 24
}

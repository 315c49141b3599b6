package metrics_test

import (
	"fmt"

	"github.com/credence-ml/credence/models/metrics"
)

func ExampleNewClassification() {
	probabilities := []float32{ // three answers about two classes
		.9, .1,
		.6, .4,
		.2, .8,
	}
	c, err := metrics.NewClassification(probabilities, 2, []int32{0, 1, 1})
	if err != nil {
		panic(err)
	}
	fmt.Printf("accuracy %.3f, NLL %.3f, Brier %.3f, ECE %.3f, AURC %.3f\n", c.Accuracy(), c.NLL(), c.Brier(), c.ECE(15), c.AURC())
	// Output: accuracy 0.667, NLL 0.415, Brier 0.273, ECE 0.300, AURC 0.111
}

// Scores of held-out examples decide from where on a new example counts as unfamiliar.
func ExampleReference() {
	var heldOut []float64
	for i := range 99 {
		heldOut = append(heldOut, float64(i))
	}
	r, err := metrics.NewReference(heldOut)
	if err != nil {
		panic(err)
	}
	fmt.Println("flag above", r.Threshold(.05))
	fmt.Println("p-value of 97.5:", r.PValue(97.5))
	// Output:
	// flag above 94
	// p-value of 97.5: 0.02
}

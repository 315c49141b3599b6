package sparse

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
)

var references = []string{"llama", "llama3", "minicpm", "opt", "bf16", "text"}

// The logits are those that Hugging Face transformers computes (testdata/reference.py).
func TestLogitsOfReference(t *testing.T) {
	rt := openRuntime(t)
	for _, name := range references {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("testdata", name)
			want := reference(t, filepath.Join(dir, "logits.npy"))
			for _, dense := range []bool{false, true} {
				m := load(t, rt, dir, Options{Dense: dense})
				d := maxDifference(t, want, logits(t, m, tokens(t)))
				t.Logf("dense %v: max difference %.2g", dense, d)
				assert.LessOrEqual(t, d, 1e-4)
			}
		})
	}
}

// Hugging Face's bfloat16 arithmetic rounds every intermediate result, and is as far from these logits as from its own
// in float32.
func TestBFloat16(t *testing.T) {
	rt := openRuntime(t)
	dir := filepath.Join("testdata", "bf16")
	got := logits(t, load(t, rt, dir, Options{}), tokens(t))
	exact, rounded := reference(t, filepath.Join(dir, "logits.npy")), reference(t, filepath.Join(dir, "logits_bf16.npy"))
	ours, theirs := rms(got, rounded), rms(exact, rounded)
	t.Logf("root mean square %.3g from the bfloat16 reference, which is %.3g from float32", ours, theirs)
	assert.InEpsilon(t, theirs, ours, 1e-3)
	assert.Less(t, ours, .1*rms(exact, make([]float32, len(exact))))
}

// rms is the root mean square difference.
func rms(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return math.Sqrt(sum / float64(len(a)))
}

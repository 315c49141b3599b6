package sparse

import (
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

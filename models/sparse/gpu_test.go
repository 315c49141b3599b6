package sparse

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/credence-ml/credence/runtime"
	"github.com/credence-ml/credence/runtime/testenv"
)

// The logits on a GPU are those that Hugging Face transformers computes, and those of the CPU.
func TestLogitsOnAGPU(t *testing.T) {
	testenv.NeedCUDA(t)
	cpu := openRuntime(t)
	gpu := openRuntime(t, runtime.WithBackendDir(testenv.CUDADir()), runtime.WithDevice("cuda"))
	for _, name := range references {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("testdata", name)
			got := logits(t, load(t, gpu, dir, Options{}), tokens(t))
			d := maxDifference(t, reference(t, filepath.Join(dir, "logits.npy")), got)
			t.Logf("max difference %.2g from the reference, %.2g from the CPU", d, maxDifference(t, logits(t, load(t, cpu, dir, Options{}), tokens(t)), got))
			assert.LessOrEqual(t, d, 1e-4)
		})
	}
}

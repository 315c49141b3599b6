package probpsenn

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/internal/safetensors"
	"github.com/credence-ml/credence/runtime"
)

// rewrite copies a file with its tensors or metadata changed.
func rewrite(t testing.TB, from, to string, change func(tensors map[string]safetensors.Tensor, metadata map[string]string)) {
	t.Helper()
	f, err := safetensors.Load(from, maxModelBytes)
	require.NoError(t, err)
	tensors := map[string]safetensors.Tensor{}
	for _, name := range f.Names() {
		tensors[name], err = f.Tensor(name)
		require.NoError(t, err)
	}
	metadata := f.Metadata()
	change(tensors, metadata)
	var list []safetensors.Tensor
	for _, x := range tensors {
		list = append(list, x)
	}
	require.NoError(t, safetensors.Write(to, list, metadata))
}

// smallModel is a trained model over vectors and the file it was saved to.
func smallModel(t testing.TB) (*runtime.Runtime, *Model, string) {
	rt := openToy(t, runtime.WithDevice("go"))
	c := vectorConfig(3, 3)
	c.Epochs = 1
	m := trainToy(t, rt, c, toyVectors(90, 3, 3, 1))
	path := filepath.Join(t.TempDir(), "model.safetensors")
	require.NoError(t, m.Save(path))
	return rt, m, path
}

// A model that was saved and loaded is the same: its predictions to the bit, its file to the byte.
func TestSaveAndLoad(t *testing.T) {
	for _, kind := range PrototypeKinds {
		t.Run(string(kind), func(t *testing.T) {
			c, x := vectorConfig(4, 3), toyVectors(120, 4, 3, 1)
			if hasCPU(t) {
				c, x = toyConfig(), toyImages(120, 1)
			}
			c.Prototypes, c.PerClass, c.ClassNames = kind, 2, []string{"–", "|", "+"}
			rt := openToy(t)
			m := trainToy(t, rt, c, x)
			path := filepath.Join(t.TempDir(), "model.safetensors")
			require.NoError(t, m.Save(path))
			loaded, err := Load(rt, path)
			require.NoError(t, err)
			defer loaded.Close()
			assert.Equal(t, m.Config, loaded.Config)
			assert.Equal(t, m.Calibration, loaded.Calibration)
			assert.Equal(t, m.History, loaded.History)
			assert.Equal(t, m.Examples, loaded.Examples)
			require.True(t, bytes.Equal(savedBytes(t, m), savedBytes(t, loaded)))
			want, got := predictAll(t, m, PredictorOptions{}, x.Pixels), predictAll(t, loaded, PredictorOptions{}, x.Pixels)
			assert.Equal(t, fmt.Sprintf("%v", want), fmt.Sprintf("%v", got)) // as text, since NaN is not equal to itself
		})
	}
}

// The file is readable by others: plain float32 tensors, and metadata that is JSON.
func TestFileIsPlainSafetensors(t *testing.T) {
	_, m, path := smallModel(t)
	f, err := safetensors.Load(path, maxModelBytes)
	require.NoError(t, err)
	assert.Equal(t, []string{"head.weight", "prototypes.mean", "prototypes.scale"}, f.Names())
	for _, key := range []string{"config", "calibration", "history", "examples"} {
		assert.True(t, json.Valid([]byte(f.Metadata()[key])), key)
	}
	mean, err := f.Tensor("prototypes.mean")
	require.NoError(t, err)
	assert.Equal(t, []int64{3, 3}, mean.Shape)
	assert.Error(t, m.Save(filepath.Join(t.TempDir(), "no", "such", "directory")))
}

// refusedFiles are ways to spoil a model's file, by the error that says so.
func refusedFiles() map[string]func(tensors map[string]safetensors.Tensor, metadata map[string]string) {
	config := func(old, new string) func(map[string]safetensors.Tensor, map[string]string) {
		return func(_ map[string]safetensors.Tensor, metadata map[string]string) {
			if !strings.Contains(metadata["config"], old) {
				panic(old + " is not in " + metadata["config"])
			}
			metadata["config"] = strings.Replace(metadata["config"], old, new, 1)
		}
	}
	set := func(key, value string) func(map[string]safetensors.Tensor, map[string]string) {
		return func(_ map[string]safetensors.Tensor, metadata map[string]string) { metadata[key] = value }
	}
	tensor := func(x safetensors.Tensor) func(map[string]safetensors.Tensor, map[string]string) {
		return func(tensors map[string]safetensors.Tensor, _ map[string]string) { tensors[x.Name] = x }
	}
	calibration := func(change func(c *Calibration)) func(map[string]safetensors.Tensor, map[string]string) {
		return func(_ map[string]safetensors.Tensor, metadata map[string]string) {
			var c Calibration
			if err := json.Unmarshal([]byte(metadata["calibration"]), &c); err != nil {
				panic(err)
			}
			change(&c)
			text, err := json.Marshal(c)
			if err != nil {
				panic(err)
			}
			metadata["calibration"] = string(text)
		}
	}
	nan := float32(math.NaN())
	return map[string]func(tensors map[string]safetensors.Tensor, metadata map[string]string){
		"its metadata names no format":        set("format", ""),
		`holds "credence.sdm"`:                set("format", "credence.sdm"),
		`format version "2"`:                  set("version", "2"),
		`metadata "config" is missing`:        func(_ map[string]safetensors.Tensor, m map[string]string) { delete(m, "config") },
		`metadata "calibration" is missing`:   func(_ map[string]safetensors.Tensor, m map[string]string) { delete(m, "calibration") },
		`metadata "history": unexpected EOF`:  set("history", "["),
		`metadata "history": something`:       set("history", "[] []"),
		`metadata "config": json: unknown fi`: set("config", `{"classez":3}`),
		`metadata "config": json: cannot`:     set("config", `[]`),
		`classes is 0`:                        set("config", `{}`),
		`classes is 1000000000; 2 to 65536`:   config(`"classes":3`, `"classes":1000000000`),
		// legal by themselves, but the tensors are not there: refused before 2 GB are taken for them
		`tensor prototypes.mean is F32[3 3]; the configuration makes it F32[192 512]`: func(t map[string]safetensors.Tensor, m map[string]string) {
			config(`"latent":3`, `"latent":512`)(t, m)
			config(`"per_class":1`, `"per_class":64`)(t, m)
		},
		`tensor prototypes.scale is F32[3 3 3]; the configuration makes it F32[3 3]`:        config(`"prototypes":"full"`, `"prototypes":"diag"`),
		`3 tensors; the configuration has 2`:                                                config(`"prototypes":"full"`, `"prototypes":"point"`),
		`no tensor "encoder.0.weight" among 3`:                                              config(`"network":"features"`, `"network":"grey32"`),
		`tensor head.weight is F32[9]; the configuration makes it F32[3 3]`:                 tensor(safetensors.New("head.weight", []int64{9}, make([]float32, 9))),
		`tensor head.weight is F64[3 3]`:                                                    tensor(safetensors.New("head.weight", []int64{3, 3}, make([]float64, 9))),
		`tensor head.weight: element 4 is NaN`:                                              tensor(safetensors.New("head.weight", []int64{3, 3}, []float32{4: nan, 8: 0})),
		`tensor prototypes.mean: element 0 is -Inf`:                                         tensor(safetensors.New("prototypes.mean", []int64{3, 3}, []float32{0: float32(math.Inf(-1)), 8: 0})),
		`no tensor "head.weight" among 2`:                                                   func(t map[string]safetensors.Tensor, _ map[string]string) { delete(t, "head.weight") },
		`4 tensors; the configuration has 3`:                                                tensor(safetensors.New("more", []int64{1}, []float32{1})),
		"calibration of 2 classes; the configuration has 3":                                 calibration(func(c *Calibration) { c.Classes = c.Classes[:2] }),
		"calibration of class 1: distance has 0 scores":                                     calibration(func(c *Calibration) { c.Classes[1] = ClassCalibration{} }),
		"calibration of class 2: entropy has 21 scores":                                     calibration(func(c *Calibration) { c.Classes[2].Entropy = c.Classes[2].Entropy[:21] }),
		"calibration of class 0: combined has 23 scores, sorted is false; 23 ascending":     calibration(func(c *Calibration) { c.Classes[0].Combined[0] = 1e9 }),
		"calibration of class 0: reconstruction has 1 scores, sorted is true; 23 ascending": calibration(func(c *Calibration) { c.Classes[0].Reconstruction = []float64{1} }),
		"calibration of class 0: mahalanobis begins with -1":                                calibration(func(c *Calibration) { c.Classes[0].Mahalanobis[0] = -1 }),
		"examples of 0 prototypes; the configuration has 3":                                 set("examples", `{"data":"`+strings.Repeat("00", 32)+`"}`),
	}
}

// What is not a whole model of this kind is refused in one line that says why, without a leak, and without memory taken
// on the file's word.
func TestLoadRefuses(t *testing.T) {
	rt, _, path := smallModel(t)
	before := runtime.Live()
	broken := filepath.Join(t.TempDir(), "broken.safetensors")
	refused := func(want string) {
		t.Helper()
		var m0, m1 goruntime.MemStats
		goruntime.ReadMemStats(&m0)
		m, err := Load(rt, broken)
		goruntime.ReadMemStats(&m1)
		if m != nil {
			m.Close()
		}
		require.Error(t, err, want)
		require.Contains(t, err.Error(), want)
		require.Contains(t, err.Error(), broken)
		require.NotContains(t, err.Error(), "\n")
		require.Equal(t, before, runtime.Live())
		require.Less(t, m1.TotalAlloc-m0.TotalAlloc, uint64(16<<20), want)
	}
	for want, change := range refusedFiles() {
		rewrite(t, path, broken, change)
		refused(want)
	}
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, n := range []int{0, 1, 7, 8, 9, 100, len(whole) / 2, len(whole) - 1} {
		require.NoError(t, os.WriteFile(broken, whole[:n], 0o600))
		refused("")
	}
	require.NoError(t, os.WriteFile(broken, append(bytes.Clone(whole), 0), 0o600))
	refused("")
	hostile := bytes.Clone(whole)
	binary.LittleEndian.PutUint64(hostile, math.MaxUint64/2)
	require.NoError(t, os.WriteFile(broken, hostile, 0o600))
	refused("")
	require.NoError(t, os.WriteFile(broken, []byte("\x89PNG\r\n\x1a\n0000000000000000"), 0o600))
	refused("")
	require.NoError(t, os.Remove(broken))
	refused("no such file")
	require.NoError(t, os.Mkdir(broken, 0o700))
	refused("not a regular file")
}

// Whatever bytes come, Load returns, takes no more memory than the file gives reason for, and leaves nothing open; and
// what it accepts predicts.
func FuzzLoad(f *testing.F) {
	_, _, path := smallModel(f)
	whole, err := os.ReadFile(path)
	require.NoError(f, err)
	f.Add(whole)
	f.Add(whole[:len(whole)-4])
	f.Add(whole[:200])
	other := filepath.Join(f.TempDir(), "other")
	for _, change := range refusedFiles() {
		rewrite(f, path, other, change)
		text, err := os.ReadFile(other)
		require.NoError(f, err)
		f.Add(text)
	}
	rt, err := runtime.Open(runtime.WithDevice("go"))
	require.NoError(f, err)
	f.Cleanup(rt.Close)
	to := filepath.Join(f.TempDir(), "fuzz")
	f.Fuzz(func(t *testing.T, text []byte) {
		before := runtime.Live()
		require.NoError(t, os.WriteFile(to, text, 0o600))
		var m0, m1 goruntime.MemStats
		goruntime.ReadMemStats(&m0)
		m, err := Load(rt, to)
		goruntime.ReadMemStats(&m1)
		require.Less(t, m1.TotalAlloc-m0.TotalAlloc, uint64(16<<20+100*len(text)))
		if err == nil {
			if c := &m.Config; c.Network == "features" && c.EvalSamples*c.prototypes()*c.Latent < 1<<16 {
				predictAll(t, m, PredictorOptions{MaxBatch: 2}, make([]float32, 3*c.Latent))
			}
			m.Close()
		} else {
			require.NotContains(t, err.Error(), "\n")
		}
		require.Equal(t, before, runtime.Live())
	})
}

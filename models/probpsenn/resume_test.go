package probpsenn

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/internal/safetensors"
)

var kills = flag.Int("credence.kills", 24, "how many times TestKilledTraining kills (the whole check: 200)")

// Resumed from any checkpoint, of an epoch or from the midst of one, training ends with the same file to the byte.
func TestResume(t *testing.T) {
	needCPU(t)
	images := toyImages(60, 1)
	for name, set := range map[string]func(c *Config){
		"full, augmented, cosine": func(c *Config) {
			c.Augment, c.Schedule = Augmentation{Elastic: 20, Turn: .15, Scale: .1, Shift: 1.5, Mirror: true}, "cosine"
		},
		"mixture VAE": func(c *Config) { c.Prototypes, c.VAE = Mixture, true },
		"features":    func(c *Config) { *c = vectorConfig(4, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			rt := openToy(t)
			c := toyConfig()
			set(&c)
			c.HoldOut = .4
			images := images
			if c.Network == "features" {
				images = toyVectors(60, 4, 3, 1)
			}
			dir := t.TempDir()
			path := filepath.Join(dir, "checkpoint")
			var checkpoints []string // one copy of each that was there for a while
			keep := func() {
				text, err := os.ReadFile(path)
				if err != nil {
					return
				}
				if len(checkpoints) > 0 {
					last, err := os.ReadFile(checkpoints[len(checkpoints)-1])
					require.NoError(t, err)
					if string(last) == string(text) {
						return
					}
				}
				to := filepath.Join(dir, fmt.Sprint(len(checkpoints)))
				require.NoError(t, os.WriteFile(to, text, 0o600))
				checkpoints = append(checkpoints, to)
			}
			m, err := Train(context.Background(), rt, c, images, TrainOptions{Checkpoint: path, CheckpointSteps: 2, Progress: func(Progress) { keep() }})
			require.NoError(t, err)
			defer m.Close()
			want := savedBytes(t, m)
			require.True(t, string(want) == string(savedBytes(t, trainToy(t, rt, c, images))), "checkpoints change nothing")
			steps := (36 + c.Batch - 1) / c.Batch
			epochs := c.Epochs
			if m.hasDecoder() {
				epochs += c.PretrainEpochs
			}
			require.GreaterOrEqual(t, len(checkpoints), epochs*(steps/2)) // every second step and after every epoch
			for i, checkpoint := range checkpoints {
				again, err := Train(context.Background(), rt, c, images, TrainOptions{Resume: checkpoint})
				require.NoError(t, err)
				got := savedBytes(t, again)
				again.Close()
				require.True(t, string(want) == string(got), "from checkpoint %d of %d", i, len(checkpoints))
			}
		})
	}
}

// What the process that gets killed trains.
func killedConfig() Config {
	c := toyConfig()
	c.PretrainEpochs, c.Epochs = 3, 6
	return c
}

const trainerVariable = "CREDENCE_TEST_TRAINER"

// TestTrainer is no test: it is the process that TestKilledTraining kills. It trains with a checkpoint after every step,
// from the last one if there is one, and saves the model.
func TestTrainer(t *testing.T) {
	dir := os.Getenv(trainerVariable)
	if dir == "" {
		t.Skip("run by TestKilledTraining")
	}
	o := TrainOptions{Checkpoint: filepath.Join(dir, "checkpoint"), CheckpointSteps: 1}
	if _, err := os.Stat(o.Checkpoint); err == nil {
		o.Resume = o.Checkpoint
	}
	m, err := Train(context.Background(), openToy(t), killedConfig(), toyImages(200, 1), o)
	require.NoError(t, err)
	defer m.Close()
	require.NoError(t, m.Save(filepath.Join(dir, "model")))
}

// A training that is killed at random moments, again and again, ends with the same file as one that is left alone, and
// at no moment is a checkpoint or a model broken.
func TestKilledTraining(t *testing.T) {
	needCPU(t)
	if testing.Short() {
		t.Skip("a few seconds")
	}
	want := savedBytes(t, trainToy(t, openToy(t), killedConfig(), toyImages(200, 1)))
	dir := t.TempDir()
	checkpoint, model := filepath.Join(dir, "checkpoint"), filepath.Join(dir, "model")
	random := rand.New(rand.NewPCG(1, 2))
	killed, resumed, finished := 0, 0, 0
	for killed < *kills || finished == 0 {
		trainer := exec.Command(os.Args[0], "-test.run=^TestTrainer$", "-test.count=1")
		trainer.Env = append(os.Environ(), trainerVariable+"="+dir)
		require.NoError(t, trainer.Start())
		patience := time.Duration(20+random.IntN(300)) * time.Millisecond
		if killed >= *kills {
			patience = time.Minute
		}
		timer := time.AfterFunc(patience, func() { _ = trainer.Process.Kill() }) // in vain if it has just finished
		err := trainer.Wait()
		timer.Stop()
		if err == nil {
			got, err := os.ReadFile(model)
			require.NoError(t, err)
			require.True(t, string(want) == string(got), "after %d kills", killed)
			finished++
			require.NoError(t, os.Remove(model))
			require.NoError(t, os.Remove(checkpoint))
			continue
		}
		require.Equal(t, -1, trainer.ProcessState.ExitCode(), "ended by itself")
		killed++
		if f, err := safetensors.Load(checkpoint, maxModelBytes); err == nil {
			resumed++
			assert.Equal(t, checkpointFormat, f.Metadata()["format"])
			require.NoError(t, f.Close())
		} else {
			require.ErrorIs(t, err, fs.ErrNotExist)
		}
		if got, err := os.ReadFile(model); err == nil {
			require.True(t, string(want) == string(got))
		} else {
			require.ErrorIs(t, err, fs.ErrNotExist)
		}
	}
	t.Logf("killed %d times, %d of them with a checkpoint there; finished %d times", killed, resumed, finished)
	assert.Greater(t, resumed, killed/4)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.LessOrEqual(t, len(entries), 4, "what killed writers left behind is cleared up by the next")
}

// A checkpoint is taken up only by the training it is of, and only where it can have been written.
func TestCheckpointsThatDoNotFit(t *testing.T) {
	needCPU(t)
	rt := openToy(t)
	ctx := context.Background()
	c, images := toyConfig(), toyImages(60, 1)
	c.HoldOut = .4
	dir := t.TempDir()
	path := filepath.Join(dir, "checkpoint")
	m, err := Train(ctx, rt, c, images, TrainOptions{Checkpoint: path})
	require.NoError(t, err)
	defer m.Close()
	refused := func(c Config, images *data.Images, path, want string) {
		t.Helper()
		_, err := Train(ctx, rt, c, images, TrainOptions{Resume: path})
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
	}
	other := c
	other.Seed++
	refused(other, images, path, "the checkpoint was made with the configuration {")
	refused(c, toyImages(60, 2), path, "the checkpoint was made on other training data")
	relabelled := *images
	relabelled.Labels = append([]int32{1}, images.Labels[1:]...)
	refused(c, &relabelled, path, "the checkpoint was made on other training data")
	refused(c, images, filepath.Join(dir, "none"), "no such file")

	model := filepath.Join(dir, "model")
	require.NoError(t, m.Save(model))
	refused(c, images, model, `resume `+model+`: holds "credence.prob-psenn", not "credence.prob-psenn.checkpoint"`)
	_, err = Load(rt, path)
	require.ErrorContains(t, err, `holds "credence.prob-psenn.checkpoint", not "credence.prob-psenn"`)

	broken := filepath.Join(dir, "broken")
	for state, want := range map[string]string{
		`{"position":{"phase":"joint","epoch":-1}}`:                     "is nowhere in a training of 2 and 2 epochs with 5 batches",
		`{"position":{"phase":"joint","epoch":3}}`:                      "is nowhere",
		`{"position":{"phase":"joint","epoch":2,"batch":1}}`:            "is nowhere",
		`{"position":{"phase":"joint","epoch":1,"batch":5}}`:            "is nowhere",
		`{"position":{"phase":"joint","epoch":1,"batch":-1}}`:           "is nowhere",
		`{"position":{"phase":"pretrain","epoch":9223372036854775807}}`: "is nowhere",
		`{"position":{"phase":"later"}}`:                                "is nowhere",
		`{"position":{"phase":"joint"},"step":-1}`:                      "is nowhere",
		`{"position":{"phase":"joint"},"step":21}`:                      "is nowhere",
		`{"position":{"phase":"joint"},"step":1,"adam_steps":2}`:        "is nowhere",
		`{"position":{"phase":"joint","epoch":1e3}}`:                    "cannot unmarshal",
		`{"position":{"phase":"joint"},"speed":1}`:                      `unknown field "speed"`,
		`{"position":{"phase":"joint"}}]`:                               "something follows the value",
		`{"position":`:                                                  "unexpected EOF",
	} {
		if strings.HasPrefix(state, `{"position":{`) {
			state = strings.Replace(state, `{"position"`, fmt.Sprintf(`{"data":%q,"position"`, digestOf(trainingPart(t, &c, images))), 1)
		}
		rewrite(t, path, broken, func(tensors map[string]safetensors.Tensor, metadata map[string]string) { metadata["state"] = state })
		refused(c, images, broken, want)
	}
	for name, change := range map[string]func(tensors map[string]safetensors.Tensor, metadata map[string]string){
		"132 tensors; the configuration has 133": func(tensors map[string]safetensors.Tensor, _ map[string]string) {
			delete(tensors, "moments1/head.weight")
		},
		"134 tensors; the configuration has 133": func(tensors map[string]safetensors.Tensor, _ map[string]string) {
			tensors["x"] = safetensors.New("x", []int64{1}, []float32{0})
		},
		"tensor moments2/head.weight: element 3 is +Inf": func(tensors map[string]safetensors.Tensor, _ map[string]string) {
			tensors["moments2/head.weight"] = safetensors.New("moments2/head.weight", []int64{3, 3}, []float32{3: float32(math.Inf(1)), 8: 0})
		},
		`metadata "state" is missing`: func(_ map[string]safetensors.Tensor, metadata map[string]string) { delete(metadata, "state") },
	} {
		rewrite(t, path, broken, change)
		refused(c, images, broken, name)
	}
}

// trainingPart is what Train keeps of the data after the hold-out.
func trainingPart(t *testing.T, c *Config, images *data.Images) *data.Images {
	rest, _, err := data.StratifiedSplit(images.Labels, c.HoldOut, c.Seed)
	require.NoError(t, err)
	return images.Subset(rest)
}

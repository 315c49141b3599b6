package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/mlp"
	"github.com/credence-ml/credence/models/probpsenn"
	"github.com/credence-ml/credence/runtime"
)

func newTrain(s *settings) *cobra.Command {
	c := group(&cobra.Command{Use: "train", Short: "Train a model on labelled data"})
	c.AddCommand(newTrainProbPSENN(s), newTrainMLP(s))
	return c
}

// whereItRan is the line that tells the device and why it was chosen.
func whereItRan(rt *runtime.Runtime) string {
	d := rt.Device()
	return fmt.Sprintf("device: %s (%s, %s), %s", d.Name, d.Backend, d.Arch, rt.Report().Reason)
}

// writePlacements tells where models went, where there was something to choose.
func writePlacements(w io.Writer, rt *runtime.Runtime) {
	for _, p := range rt.Report().Placements {
		fmt.Fprintf(w, "%s: on %s (%s), %s\n", p.Name, p.Device, p.Backend, p.Reason)
	}
}

func newTrainProbPSENN(s *settings) *cobra.Command {
	config := probpsenn.DefaultConfig()
	var dir, out, file, prototypes string
	var o probpsenn.TrainOptions
	c := &cobra.Command{
		Use:   "probpsenn --data DIR --out M.safetensors",
		Short: "Train a self-explaining classifier with prototypes that are probability distributions",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if dir == "" || out == "" {
				return errors.New("--data and --out are needed")
			}
			if file != "" {
				// the file comes before the flags: a flag that was given overrides it
				base := probpsenn.DefaultConfig()
				if err := readConfig(file, &base); err != nil {
					return err
				}
				config = overrideConfig(c, base, config)
			}
			if file == "" || c.Flags().Changed("prototypes") {
				config.Prototypes = probpsenn.PrototypeKind(prototypes)
			}
			return trainProbPSENN(c, s, dir, out, config, o)
		},
	}
	f := c.Flags()
	f.StringVar(&dir, "data", "", "directory of the training data: IDX files under their usual names, or x.npy and y.npy (pictures, or feature vectors [N, D] with \"network\": \"features\" in the configuration)")
	f.StringVar(&out, "out", "", "where the model goes, one safetensors file")
	f.StringVar(&file, "config", "", "JSON file of the configuration; flags that are given override it")
	f.StringVar(&prototypes, "prototypes", string(probpsenn.Full), "full, diag, mixture or point")
	f.IntVar(&config.Latent, "latent", config.Latent, "latent dimensions")
	f.IntVar(&config.Samples, "samples", config.Samples, "prototype samples per training step")
	f.IntVar(&config.PretrainEpochs, "pretrain-epochs", config.PretrainEpochs, "epochs of the autoencoder alone")
	f.IntVar(&config.Epochs, "epochs", config.Epochs, "epochs of joint training")
	f.IntVar(&config.Batch, "batch", config.Batch, "inputs per step")
	f.Uint64Var(&config.Seed, "seed", config.Seed, "of everything random: the same seed gives the same bits")
	f.BoolVar(&config.VAE, "vae", false, "variational encoder")
	f.StringVar(&o.Checkpoint, "checkpoint", "", "file for the state of training, published by rename")
	f.IntVar(&o.CheckpointSteps, "checkpoint-steps", 0, "also after this many steps, not only after epochs")
	f.StringVar(&o.Resume, "resume", "", "checkpoint to go on from, bit-equal to a run without the interruption")
	return c
}

// overrideConfig takes base, and from flags what was given on the command line.
func overrideConfig(c *cobra.Command, base, flags probpsenn.Config) probpsenn.Config {
	for name, set := range map[string]func(){
		"latent":          func() { base.Latent = flags.Latent },
		"samples":         func() { base.Samples = flags.Samples },
		"pretrain-epochs": func() { base.PretrainEpochs = flags.PretrainEpochs },
		"epochs":          func() { base.Epochs = flags.Epochs },
		"batch":           func() { base.Batch = flags.Batch },
		"seed":            func() { base.Seed = flags.Seed },
		"vae":             func() { base.VAE = flags.VAE },
	} {
		if c.Flags().Changed(name) {
			set()
		}
	}
	return base
}

func readConfig(path string, config *probpsenn.Config) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	d := json.NewDecoder(f)
	d.DisallowUnknownFields()
	if err := d.Decode(config); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func trainProbPSENN(c *cobra.Command, s *settings, dir, out string, config probpsenn.Config, o probpsenn.TrainOptions) error {
	if err := errors.Join(checkDestination("--out", out), checkDestination("--checkpoint", o.Checkpoint)); err != nil {
		return err
	}
	images, err := loadLabelled(&config, dir, "train")
	if err != nil {
		return err
	}
	fitConfig(c, &config, images)
	rt, err := runtime.Open(s.options()...)
	if err != nil {
		return err
	}
	defer rt.Close()
	fmt.Fprintln(c.OutOrStdout(), whereItRan(rt))
	bar := newProgress(c.ErrOrStderr(), 1, "train")
	start := time.Now()
	o.Progress = func(p probpsenn.Progress) {
		bar.SetTotal(p.Total)
		text := p.Phase
		if p.Epochs > 1 {
			text = fmt.Sprintf("%s %d/%d", p.Phase, p.Epoch, p.Epochs)
		}
		if p.Loss != 0 {
			text += fmt.Sprintf(" loss %.3f", p.Loss)
		}
		bar.Describe(text)
		bar.Set(p.Done)
	}
	m, err := probpsenn.Train(c.Context(), rt, config, images, o)
	bar.Finish()
	if err != nil {
		return err
	}
	defer m.Close()
	writePlacements(c.OutOrStdout(), rt)
	if err := m.Save(out); err != nil {
		return err
	}
	fmt.Fprintf(c.OutOrStdout(), "trained on %d inputs in %.0f s; the model is %s\n", images.N, time.Since(start).Seconds(), out)
	if k := m.Calibration; k != nil {
		fmt.Fprintf(c.OutOrStdout(), "accuracy %.4f on %d of them that were held out from training, for calibration\n", k.Accuracy, k.N)
	}
	return nil
}

// loadLabelled reads a split that must have labels; config tells pictures from feature vectors.
func loadLabelled(config *probpsenn.Config, dir, split string) (*data.Images, error) {
	images, err := loadSplit(config, dir, split)
	if err != nil {
		return nil, err
	}
	if images.Labels == nil {
		return nil, fmt.Errorf("%s has no labels beside its %s inputs", dir, split)
	}
	return images, nil
}

// fitConfig takes sizes from the data where the configuration was made for other data.
func fitConfig(c *cobra.Command, config *probpsenn.Config, images *data.Images) {
	for _, label := range images.Labels {
		config.Classes = max(config.Classes, int(label)+1)
	}
	if config.Network == "features" {
		if !c.Flags().Changed("latent") {
			config.Latent = images.Width
		}
		return
	}
	config.Height, config.Width, config.Channels = images.Height, images.Width, images.Channels
	if images.Channels == 3 && config.Network == "grey32" {
		config.Network = "colour32"
	}
}

func newTrainMLP(s *settings) *cobra.Command {
	var dir, hidden string
	config := mlp.Config{}
	o := mlp.TrainOptions{}
	c := &cobra.Command{
		Use:   "mlp --data DIR",
		Short: "Train a small multilayer perceptron and print its accuracy: the smallest job through the whole stack",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if dir == "" {
				return errors.New("--data is needed")
			}
			for part := range strings.SplitSeq(hidden, ",") {
				var n int
				if _, err := fmt.Sscanf(part, "%d", &n); err != nil || n < 1 {
					return fmt.Errorf("--hidden %q: widths of at least 1 are needed, for example 256,128", hidden)
				}
				config.Hidden = append(config.Hidden, n)
			}
			return trainMLP(c, s, dir, config, o)
		},
	}
	f := c.Flags()
	f.StringVar(&dir, "data", "", "directory of the data: IDX files under their usual names")
	f.StringVar(&hidden, "hidden", "256,128", "widths of the hidden layers")
	f.IntVar(&o.Epochs, "epochs", 5, "epochs")
	f.IntVar(&config.MaxBatch, "batch", 128, "rows per step")
	f.Float64Var(&o.LearningRate, "learning-rate", 1e-3, "of Adam")
	f.Uint64Var(&config.Seed, "seed", 0, "of weights and order")
	return c
}

func trainMLP(c *cobra.Command, s *settings, dir string, config mlp.Config, o mlp.TrainOptions) error {
	pictures := probpsenn.DefaultConfig()
	train, err := loadLabelled(&pictures, dir, "train")
	if err != nil {
		return err
	}
	test, err := loadLabelled(&pictures, dir, "test")
	if err != nil {
		return err
	}
	rt, err := runtime.Open(s.options()...)
	if err != nil {
		return err
	}
	defer rt.Close()
	fmt.Fprintln(c.OutOrStdout(), whereItRan(rt))
	config.Inputs = train.ImageSize()
	for _, label := range train.Labels {
		config.Classes = max(config.Classes, int(label)+1)
	}
	m, err := mlp.New(rt, config)
	if err != nil {
		return err
	}
	defer m.Close()
	writePlacements(c.OutOrStdout(), rt)
	bar := newProgress(c.ErrOrStderr(), 1, "train")
	start := time.Now()
	rows := 0
	o.Progress = func(step, steps int, loss float64) {
		bar.SetTotal(train.N * o.Epochs)
		bar.Describe(fmt.Sprintf("loss %.3f", loss))
		rows = min(rows+config.MaxBatch, train.N*o.Epochs)
		bar.Set(rows)
	}
	err = m.Train(c.Context(), train.Pixels, train.Labels, o)
	bar.Finish()
	if err != nil {
		return err
	}
	took := time.Since(start)
	accuracy, err := m.Accuracy(context.WithoutCancel(c.Context()), test.Pixels, test.Labels)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.OutOrStdout(), "trained on %d inputs, %d epochs in %.1f s; test accuracy %.2f %% of %d\n", train.N, o.Epochs,
		took.Seconds(), 100*accuracy, test.N)
	return nil
}

package probpsenn

import (
	"fmt"
	"slices"
)

// PrototypeKind is the family of the prototype distributions.
type PrototypeKind string

// The families of the paper (section 1.2 of its code's notes), and the point prototypes of Li et al. 2018 as baseline.
const (
	Full    PrototypeKind = "full"    // N(mu, L L')
	Diag    PrototypeKind = "diag"    // N(mu, diag(sigma^2))
	Mixture PrototypeKind = "mixture" // two full Gaussians
	Point   PrototypeKind = "point"   // mu alone: PSENN
)

// PrototypeKinds lists the families.
var PrototypeKinds = []PrototypeKind{Full, Diag, Mixture, Point}

// The laws of the first weights of a network, uniform in both cases: within sqrt(6 / (fan-in + fan-out)), as in the
// original, or within sqrt(1 / fan-in), as in PyTorch. The latter's latent vectors begin smaller: with little data and
// few epochs the densities of the classes come sooner to where the interpretation term wants them, but with next to none
// they stay too close together.
const (
	Glorot = "glorot" // Glorot and Bengio 2010
	FanIn  = "fan_in"
)

// Config describes a model and its training. The zero value of a field means its default.
type Config struct {
	Classes    int           `json:"classes"`
	ClassNames []string      `json:"class_names,omitempty"`
	Network    string        `json:"network"` // "grey32", "colour32", "features"
	Height     int           `json:"height"`  // of the pictures given; they are resized to 32 x 32
	Width      int           `json:"width"`
	Channels   int           `json:"channels"`
	Prototypes PrototypeKind `json:"prototypes"`
	PerClass   int           `json:"per_class"` // prototype distributions per class; the paper has 1
	Latent     int           `json:"latent"`    // D; for "features" the length of the vectors
	VAE        bool          `json:"vae"`

	Samples     int `json:"samples"`      // S joint prototype samples per training step
	EvalSamples int `json:"eval_samples"` // S at prediction

	PretrainEpochs int          `json:"pretrain_epochs"`
	Epochs         int          `json:"epochs"`
	Batch          int          `json:"batch"`
	LearningRate   float64      `json:"learning_rate"`
	Schedule       string       `json:"schedule"` // "constant" or "cosine" (to 1 % of the rate, over the joint epochs)
	Loss           LossWeights  `json:"loss"`
	Initial        string       `json:"initial,omitempty"` // law of the first weights: "fan_in", or "glorot", which "" means too
	FreezeHead     bool         `json:"freeze_head"`       // keep W at its start, -1/2 I
	Augment        Augmentation `json:"augment"`           // of training pictures
	HoldOut        float64      `json:"hold_out"`          // share of the training data kept for calibration
	Seed           uint64       `json:"seed"`
}

// LossWeights weigh the terms of the loss (section 1.5 of the specification).
type LossWeights struct {
	NLL            float64 `json:"nll"`            // classification
	Reconstruction float64 `json:"reconstruction"` // mean squared error per pixel
	Nearest        float64 `json:"nearest"`        // R1: every distribution has a likely input in the batch
	Interpretation float64 `json:"interpretation"` // R2, "INT": an input is likely under its own class
	KL             float64 `json:"kl"`             // of the encoder, VAE only
	PriorKL        float64 `json:"prior_kl"`       // of the prototype distributions from N(0, I); the paper's code defines it and never uses it
	// Pre-training has weights of its own: reconstruction 1 with KL 0.05 lets a VAE's posterior collapse (trap T3).
	PretrainReconstruction float64 `json:"pretrain_reconstruction"`
	PretrainKL             float64 `json:"pretrain_kl"`
}

// DefaultConfig is the paper's model: full Gaussians, latent size 40, batch 128, Adam at 1e-3, and the loss weights of
// its code, with pre-training reconstruction weighed like the joint phase. The paper states no schedule of the learning
// rate; falling along a cosine gives the same accuracy in fewer epochs than a constant rate.
func DefaultConfig() Config {
	return Config{Classes: 10, Network: "grey32", Height: 28, Width: 28, Channels: 1, Prototypes: Full, PerClass: 1, Latent: 40,
		Samples: 10, EvalSamples: 50, PretrainEpochs: 2, Epochs: 8, Batch: 128, LearningRate: 1e-3, Schedule: "cosine", Initial: Glorot,
		Loss:    LossWeights{NLL: 1, Reconstruction: 10, Interpretation: .05, KL: .05, PretrainReconstruction: 10, PretrainKL: .05},
		HoldOut: .1}
}

// The limits of what a configuration may ask for; a file's word for it is not enough to take memory.
const (
	maxClasses  = 1 << 16
	maxElements = 1 << 28 // of one tensor: a gigabyte
)

// Check reports the first field that cannot be, with the legal values.
func (c *Config) Check() error {
	switch {
	case c.Classes < 2 || c.Classes > maxClasses:
		return fmt.Errorf("classes is %d; 2 to %d", c.Classes, maxClasses)
	case len(c.ClassNames) > 0 && len(c.ClassNames) != c.Classes:
		return fmt.Errorf("%d class names for %d classes", len(c.ClassNames), c.Classes)
	case !slices.Contains(PrototypeKinds, c.Prototypes):
		return fmt.Errorf("prototypes is %q; one of %v", c.Prototypes, PrototypeKinds)
	case networks[c.Network] == nil:
		return fmt.Errorf("network is %q; one of %v", c.Network, networkNames())
	case c.PerClass < 1 || c.PerClass > 64:
		return fmt.Errorf("per_class is %d; 1 to 64", c.PerClass)
	case c.Latent < 1 || c.Latent > 512:
		return fmt.Errorf("latent is %d; 1 to 512", c.Latent)
	case c.Samples < 1 || c.Samples > 1000 || c.EvalSamples < 1 || c.EvalSamples > 10000:
		return fmt.Errorf("samples is %d (1 to 1000), eval_samples %d (1 to 10000)", c.Samples, c.EvalSamples)
	case c.PretrainEpochs < 0 || c.Epochs < 0:
		return fmt.Errorf("pretrain_epochs is %d, epochs %d; neither may be negative", c.PretrainEpochs, c.Epochs)
	case c.Batch < 2 || c.Batch > 65536:
		return fmt.Errorf("batch is %d; 2 to 65536 (batch normalisation needs two)", c.Batch)
	case !(c.LearningRate > 0 && c.LearningRate <= 1):
		return fmt.Errorf("learning_rate is %v; above 0, at most 1", c.LearningRate)
	case c.Schedule != "constant" && c.Schedule != "cosine":
		return fmt.Errorf("schedule is %q; constant or cosine", c.Schedule)
	case c.Initial != "" && c.Initial != Glorot && c.Initial != FanIn:
		return fmt.Errorf("initial is %q; %s or %s", c.Initial, FanIn, Glorot)
	case !(c.HoldOut >= 0 && c.HoldOut < .9):
		return fmt.Errorf("hold_out is %v; 0 to 0.9", c.HoldOut)
	case c.Network != "features" && (c.Height < 4 || c.Width < 4 || c.Height > 1024 || c.Width > 1024):
		return fmt.Errorf("pictures of %d x %d; sides of 4 to 1024 are resized to 32", c.Height, c.Width)
	case c.Network == "grey32" && c.Channels != 1 || c.Network == "colour32" && c.Channels != 3:
		return fmt.Errorf("network %s takes %d channels, the pictures have %d", c.Network, networks[c.Network]().channels(), c.Channels)
	case c.Network == "features" && c.VAE:
		return fmt.Errorf("a VAE needs an encoder; the network is \"features\"")
	}
	for _, w := range []struct {
		name  string
		value float64
	}{{"nll", c.Loss.NLL}, {"reconstruction", c.Loss.Reconstruction}, {"nearest", c.Loss.Nearest},
		{"interpretation", c.Loss.Interpretation}, {"kl", c.Loss.KL}, {"prior_kl", c.Loss.PriorKL},
		{"pretrain_reconstruction", c.Loss.PretrainReconstruction}, {"pretrain_kl", c.Loss.PretrainKL}} {
		if !(w.value >= 0 && w.value <= 1e6) {
			return fmt.Errorf("loss weight %s is %v; 0 to 1e6", w.name, w.value)
		}
	}
	if err := c.Augment.check(); err != nil {
		return err
	}
	return c.checkSizes()
}

// checkSizes bounds the tensors whose sizes are products of fields, each of which is in its range.
func (c *Config) checkSizes() error {
	gaussians := c.prototypes() * c.components()
	if n := gaussians * c.Latent * c.Latent; n > maxElements {
		return fmt.Errorf("%d Gaussians in %d latent dimensions have %d covariances; at most %d", gaussians, c.Latent, n, maxElements)
	}
	if s := max(c.Samples, c.EvalSamples); s*gaussians*c.Latent > maxElements {
		return fmt.Errorf("%d samples of %d prototypes in %d latent dimensions are %d values; at most %d", s, gaussians, c.Latent,
			s*gaussians*c.Latent, maxElements)
	}
	if n := c.InputSize(); c.Batch*n > maxElements {
		return fmt.Errorf("a batch of %d inputs of %d values has %d; at most %d", c.Batch, n, c.Batch*n, maxElements)
	}
	return nil
}

// InputSize is the number of values of one input.
func (c *Config) InputSize() int {
	if c.Network == "features" {
		return c.Latent
	}
	return c.Height * c.Width * c.Channels
}

// prototypes is the number of distributions, K.
func (c *Config) prototypes() int { return c.Classes * c.PerClass }

// components is the number of Gaussians per distribution.
func (c *Config) components() int {
	if c.Prototypes == Mixture {
		return 2
	}
	return 1
}

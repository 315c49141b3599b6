package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/models/sdm"
	"github.com/credence-ml/credence/models/sdm/dataset"
	"github.com/credence-ml/credence/runtime"
)

func newSDMTrain(s *settings) *cobra.Command {
	var training, calibration, out, initial, composition string
	var config sdm.Config
	var o sdm.TrainOptions
	c := &cobra.Command{
		Use:   "train --training T --calibration C --out M.sdmkitmodel",
		Short: "Train a model on labelled features, and find where its predictions can be relied on",
		Long: "train fits the adaptor, keeps the training rows as the support that later rows are held against, and finds, on the\n" +
			"calibration rows, the regions in which a share of at least alpha of every class is right. By default the rows of\n" +
			"both files are pooled and split in halves anew, --shuffles times, and the best split is kept.\n\n" +
			"The guarantee is as good as the calibration rows are like those to come: rows that the encoder itself was\n" +
			"trained on look better than new ones will.",
		Example: "  credence sdm train --training t.sdmdataset --calibration c.jsonl --out m.sdmkitmodel --shuffles 5",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := needed([2]string{"training", training}, [2]string{"calibration", calibration}, [2]string{"out", out}); err != nil {
				return err
			}
			if err := checkModelDestination("--out", out); err != nil {
				return err
			}
			t, err := loadSDMRows(training, dataset.Composition(composition), nil)
			if err != nil {
				return err
			}
			k, err := loadSDMRows(calibration, dataset.Composition(composition), nil)
			if err != nil {
				return err
			}
			rt, err := runtime.Open(s.options()...)
			if err != nil {
				return err
			}
			defer rt.Close()
			if initial != "" {
				if o.Initial, err = sdm.Load(rt, initial); err != nil {
					return err
				}
				defer o.Initial.Close()
				if !c.Flags().Changed("exemplar-dimension") {
					config.ExemplarDimension = 0
				}
			}
			if err := sdmClasses(&config, t, k, o.Initial); err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), whereItRan(rt))
			return trainSDM(c.Context(), c, rt, config, t, k, out, o)
		},
	}
	f := c.Flags()
	f.StringVar(&training, "training", "", "labelled rows, .sdmdataset or .jsonl; rows labelled -99 join the support as known to be like no class")
	f.StringVar(&calibration, "calibration", "", "labelled rows that the encoder and the training have not seen")
	f.StringVar(&out, "out", "", "where the model goes, published as a whole")
	f.StringVar(&initial, "initial", "", "model to go on from: its weights and its normalisation")
	f.StringVar(&composition, "composition", string(dataset.Auto), compositionFlag)
	f.IntVar(&o.Epochs, "epochs", 20, "epochs of training")
	f.IntVar(&o.CrossEntropyEpochs, "cross-entropy-epochs", 1, "the first so many are plain cross-entropy; with more than one they match nothing and are quick")
	f.IntVar(&o.Batch, "batch", 64, "rows per step")
	f.Float64Var(&o.LearningRate, "learning-rate", 1e-5, "of Adam")
	f.IntVar(&config.ExemplarDimension, "exemplar-dimension", 1000, "numbers in an exemplar, the vector by which rows are compared")
	f.IntVar(&config.MaxNeighbors, "max-neighbors", 2048, "where the count of agreeing neighbours stops")
	f.IntVar(&o.Shuffles, "shuffles", 1, "splits that are tried")
	f.BoolVar(&o.KeepSplit, "keep-split", false, "keep the two files apart as they are")
	f.Float64Var(&config.AlphaResolution, "alpha-resolution", .05, "step between the levels at which regions are sought, from 1 down to 0.5")
	f.Uint64Var(&o.Seed, "seed", 0, "of everything random: the same seed gives the same bits")
	return c
}

// sdmClasses fills what data and the initial model say of the features.
func sdmClasses(config *sdm.Config, t, k *sdmRows, initial *sdm.Model) error {
	h := t.header
	if h.ClassNames == nil {
		h.ClassNames = k.header.ClassNames
	}
	if h.Representation == nil {
		h.Representation = k.header.Representation
	}
	if initial != nil {
		c := initial.Config()
		if h.ClassNames == nil {
			h.ClassNames = c.ClassNames
		}
		config.Representation = c.Representation
		if f := h.Fingerprint(); f != "" && f != c.Representation.Fingerprint {
			return fmt.Errorf("%s: its features are of the representation %q, the initial model's of %q", t.path, f, c.Representation.Fingerprint)
		}
		if h.ClassNames != nil && !slices.Equal(h.ClassNames, c.ClassNames) {
			return fmt.Errorf("%s: its classes are %q, the initial model's %q", t.path, h.ClassNames, c.ClassNames)
		}
	} else if h.Representation != nil {
		config.Representation = representation(h.Representation)
	}
	config.ClassNames, config.Dimension = h.ClassNames, t.dimension
	if config.Classes = len(h.ClassNames); h.ClassNames == nil {
		for _, labels := range [][]int32{t.Labels, k.Labels} {
			for _, label := range labels {
				config.Classes = max(config.Classes, int(label)+1)
			}
		}
	}
	same := *config // what is not stated yet takes its default on both sides
	if same.ClassNames == nil {
		same.ClassNames = k.header.ClassNames
	}
	if same.Representation.Fingerprint == "" {
		same.Representation.Fingerprint = k.header.Fingerprint()
	}
	return agrees(k.path, &k.header, k.dimension, &same)
}

// representation is what data say of their features, in the words of a model.
func representation(r *dataset.Representation) sdm.Representation {
	text := func(key string) *string {
		if v := r.Text(key); v != "" {
			return &v
		}
		return nil
	}
	return sdm.Representation{Provider: r.Text("provider"), Fingerprint: r.Fingerprint, Model: text("model"), Revision: text("revision"), InputTemplate: text("inputTemplate")}
}

func trainSDM(ctx context.Context, c *cobra.Command, rt *runtime.Runtime, config sdm.Config, t, k *sdmRows, out string, o sdm.TrainOptions) error {
	bar := newProgress(c.ErrOrStderr(), 1, "train")
	start := time.Now()
	o.Progress = func(p sdm.Progress) {
		bar.SetTotal(p.Total)
		text := fmt.Sprintf("epoch %d/%d", p.Epoch, p.Epochs)
		if p.Rounds > 1 {
			text = fmt.Sprintf("split %d/%d, %s", p.Round, p.Rounds, text)
		}
		if p.Loss != 0 {
			text += fmt.Sprintf(" loss %.3f", p.Loss)
		}
		bar.Describe(text)
		bar.Set(p.Done)
	}
	m, err := sdm.Train(ctx, rt, config, t.Data, k.Data, o)
	bar.Finish()
	if err != nil {
		return err
	}
	defer m.Close()
	writePlacements(c.OutOrStdout(), rt)
	if err := m.Save(out); err != nil {
		return err
	}
	h := m.Training()
	best := h.History[(h.BestRound-1)*h.Epochs+h.BestEpoch-1]
	fmt.Fprintf(c.OutOrStdout(), "trained on %d rows in %.0f s; epoch %d of split %d is kept: balanced accuracy %.4f, q %.0f on calibration rows\n", len(t.Labels)+len(k.Labels),
		time.Since(start).Seconds(), h.BestEpoch, h.BestRound, best.Calibration.Accuracy, best.Calibration.MeanQ)
	printRegions(c, m)
	fmt.Fprintln(c.OutOrStdout(), "the model is", out)
	return nil
}

// printRegions tells the alphas that rows can be accepted at.
func printRegions(c *cobra.Command, m *sdm.Model) {
	regions := m.Regions()
	if len(regions) == 0 {
		fmt.Fprintln(c.OutOrStdout(), "no region was found at any alpha: every row will be rejected. The model is too weak, or the rows too few")
		return
	}
	fmt.Fprintf(c.OutOrStdout(), "%d regions, at alpha", len(regions))
	for i, r := range regions {
		if i == 8 {
			fmt.Fprintf(c.OutOrStdout(), " .. %.6g", regions[len(regions)-1].Alpha)
			break
		}
		fmt.Fprintf(c.OutOrStdout(), " %.6g", r.Alpha)
	}
	fmt.Fprintln(c.OutOrStdout())
}

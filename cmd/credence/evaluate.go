package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/models/probpsenn"
)

func newEvaluate(s *settings) *cobra.Command {
	var model, dir, split, out string
	var foreign []string
	c := &cobra.Command{
		Use:   "evaluate --model M --data DIR",
		Short: "Measure a model: accuracy, calibration, verdicts, and how well its scores tell foreign data apart",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if model == "" || dir == "" {
				return errors.New("--model and --data are needed")
			}
			if err := checkDestination("--json", out); err != nil {
				return err
			}
			return withModel(s, model, func(m *probpsenn.Model) error { return evaluate(c, m, dir, split, foreign, out) })
		},
	}
	f := c.Flags()
	f.StringVar(&model, "model", "", "model file")
	f.StringVar(&dir, "data", "", "directory of labelled data")
	f.StringVar(&split, "split", "test", "test or train")
	f.StringArrayVar(&foreign, "ood", nil, "NAME=DIR of data unlike that of training; may be given several times")
	f.StringVar(&out, "json", "", "also write the figures to this file")
	return c
}

func evaluate(c *cobra.Command, m *probpsenn.Model, dir, split string, foreign []string, out string) error {
	images, err := loadLabelled(&m.Config, dir, split)
	if err != nil {
		return err
	}
	others, err := loadForeign(&m.Config, foreign, split)
	if err != nil {
		return err
	}
	bar := newProgress(c.ErrOrStderr(), 1, "evaluate")
	e, err := m.Evaluate(c.Context(), images, others, func(done, total int) {
		bar.SetTotal(total)
		bar.Set(done)
	})
	bar.Finish()
	if err != nil {
		return err
	}
	if err := printEvaluation(c, e); err != nil || out == "" {
		return err
	}
	return e.Save(out)
}

// loadForeign reads the sets named NAME=DIR.
func loadForeign(config *probpsenn.Config, pairs []string, split string) ([]probpsenn.Foreign, error) {
	var r []probpsenn.Foreign
	for _, pair := range pairs {
		name, dir, ok := strings.Cut(pair, "=")
		if !ok || name == "" || dir == "" {
			return nil, fmt.Errorf("--ood %q: NAME=DIR is needed", pair)
		}
		for _, f := range r {
			if f.Name == name {
				return nil, fmt.Errorf("--ood: two sets are called %q", name)
			}
		}
		images, err := loadSplit(config, dir, split)
		if err != nil {
			return nil, err
		}
		r = append(r, probpsenn.Foreign{Name: name, Images: images})
	}
	return r, nil
}

func printEvaluation(c *cobra.Command, e *probpsenn.Evaluation) error {
	t := &table{}
	t.add("n", "accuracy", "nll", "brier", "ece15", "aurc", "trusted", "ambiguous", "unfamiliar")
	t.add(fmt.Sprint(e.N), figure(e.Accuracy), figure(e.NLL), figure(e.Brier), figure(e.ECE15), figure(e.AURC), figure(e.Verdicts.Trusted),
		figure(e.Verdicts.Ambiguous), figure(e.Verdicts.Unfamiliar))
	if err := t.write(c.OutOrStdout()); err != nil || len(e.OOD) == 0 {
		return err
	}
	fmt.Fprintln(c.OutOrStdout(), "\nagainst foreign data (area under the ROC curve of each score), and the verdicts there")
	t = &table{}
	head := []string{"score"}
	names := slices.Sorted(maps.Keys(e.OOD))
	t.add(append(head, names...)...)
	row := func(name string, value func(o probpsenn.OODEvaluation) float64) {
		cells := []string{name}
		for _, n := range names {
			cells = append(cells, figure(value(e.OOD[n])))
		}
		t.add(cells...)
	}
	row("predictive entropy", func(o probpsenn.OODEvaluation) float64 { return o.AUROC.PredictiveEntropy })
	row("mutual information", func(o probpsenn.OODEvaluation) float64 { return o.AUROC.MutualInformation })
	row("explanation percentile", func(o probpsenn.OODEvaluation) float64 { return o.AUROC.ExplanationPercentile })
	row("explanation overlap", func(o probpsenn.OODEvaluation) float64 { return o.AUROC.ExplanationOverlap })
	row("reconstruction", func(o probpsenn.OODEvaluation) float64 { return o.AUROC.Reconstruction })
	row("chi-square", func(o probpsenn.OODEvaluation) float64 { return o.AUROC.ChiSquare })
	row("combined", func(o probpsenn.OODEvaluation) float64 { return o.AUROC.Combined })
	row("share trusted", func(o probpsenn.OODEvaluation) float64 { return o.Verdicts.Trusted })
	row("share ambiguous", func(o probpsenn.OODEvaluation) float64 { return o.Verdicts.Ambiguous })
	row("share unfamiliar", func(o probpsenn.OODEvaluation) float64 { return o.Verdicts.Unfamiliar })
	return t.write(c.OutOrStdout())
}

func figure(v float64) string { return fmt.Sprintf("%.4f", v) }

package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/models/probpsenn"
	"github.com/credence-ml/credence/models/report"
)

func newReport(s *settings) *cobra.Command {
	var model, dir, split, html, asJSON string
	c := &cobra.Command{
		Use:   "report --model M --data DIR --html OUT.html",
		Short: "Show a whole model: prototypes, verdicts, calibration, latent space, training",
		Long: "report writes a self-contained page, and the same as JSON, on a model and its answers to labelled data that it\n" +
			"was not trained on: each class's prototype in pictures with the nearest training examples, what each verdict is\n" +
			"worth, reliability and risk against coverage, the latent space with the prototypes' covariances, signs of\n" +
			"collapse, the last layer's weights and the history of training.",
		Example: "  credence report --model digits.safetensors --data data/mnist --html report.html",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := needed([2]string{"model", model}, [2]string{"data", dir}, [2]string{"html", html}); err != nil {
				return err
			}
			return withModel(s, model, func(m *probpsenn.Model) error {
				images, err := loadSplit(&m.Config, dir, split)
				if err != nil {
					return err
				}
				if images.Labels == nil {
					return fmt.Errorf("%s has no labels beside its %s inputs", dir, split)
				}
				bar := newProgress(c.ErrOrStderr(), images.N, "report")
				r, err := m.Report(c.Context(), probpsenn.ReportOptions{Data: images, Source: filepath.Base(filepath.Clean(dir)) + ", " + split,
					Training: trainingData(c, m, dir), Progress: func(done, _ int) { bar.Set(done) }})
				bar.Finish()
				if err != nil {
					return err
				}
				if err := saveReport(r.Page(report.Fact{Name: "model", Value: filepath.Base(model)}), html, r, asJSON); err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "accuracy %.4f on %d inputs; the page is %s\n", r.Evaluation.Accuracy, r.Evaluation.N, html)
				return nil
			})
		},
	}
	f := c.Flags()
	f.StringVar(&model, "model", "", "model file")
	f.StringVar(&dir, "data", "", "directory of labelled data; its training split gives the pictures of training examples")
	f.StringVar(&split, "split", "test", "test or train: what the model is measured on")
	f.StringVar(&html, "html", "", "where the page goes")
	f.StringVar(&asJSON, "json", "", "also write the report to this file as JSON")
	return c
}

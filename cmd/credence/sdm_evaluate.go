package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/models/report"
	"github.com/credence-ml/credence/models/sdm"
	"github.com/credence-ml/credence/models/sdm/dataset"
)

func newSDMEvaluate(s *settings) *cobra.Command {
	var model, in, out, composition string
	c := &cobra.Command{
		Use:   "evaluate --model M --in X [--json FILE]",
		Short: "Measure a model on labelled rows: what each alpha accepts, and how much of it is right, by class",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := needed([2]string{"model", model}, [2]string{"in", in}); err != nil {
				return err
			}
			if err := checkDestination("--json", out); err != nil {
				return err
			}
			return withSDM(s, model, func(m *sdm.Model) error {
				var scores []sdm.Score
				err := eachScored(c, sdm.Ensemble{m}, in, dataset.Composition(composition), 0, func(s [][]sdm.Score) error {
					scores = append(scores, s[0]...)
					return nil
				})
				if err != nil {
					return err
				}
				e, err := m.Evaluate(scores)
				if err != nil {
					return err
				}
				if err := printSDMEvaluation(c, e); err != nil || out == "" {
					return err
				}
				return report.SaveFile(out, func(w io.Writer) error { return writeJSON(w, e) })
			})
		},
	}
	f := c.Flags()
	f.StringVar(&model, "model", "", "model")
	f.StringVar(&in, "in", "", "labelled rows, .sdmdataset or .jsonl; rows labelled -1 or -99 are counted apart")
	f.StringVar(&out, "json", "", "also write all figures to this file")
	f.StringVar(&composition, "composition", string(dataset.Auto), compositionFlag)
	return c
}

func printSDMEvaluation(c *cobra.Command, e *sdm.Evaluation) error {
	if e.Rows > 0 {
		fmt.Fprintf(c.OutOrStdout(), "%d rows, accuracy %s without rejection, AURC %s\n", e.Rows, figureOf(e.Accuracy), figureOf(e.AURC))
	}
	t := &table{}
	t.add("alpha", "rule", "accepted", "accuracy", "least by true class", "least by prediction", "of rows -99", "of rows -1")
	for _, rule := range []struct {
		name    string
		e       sdm.RuleEvaluation
		foreign []int
		unknown []int
	}{{"centroid", e.Centroid, e.OutOfDistribution.Centroid, e.Unlabeled.Centroid}, {"lower", e.Lower, e.OutOfDistribution.Lower, e.Unlabeled.Lower}} {
		for i, a := range rule.e.Alphas {
			t.add(fmt.Sprint(a.Alpha), rule.name, shareOf(a.Count, e.Rows), figureOf(a.Accuracy), leastOf(a.ByTrueClass), leastOf(a.ByPrediction),
				shareOf(rule.foreign[i], e.OutOfDistribution.Rows), shareOf(rule.unknown[i], e.Unlabeled.Rows))
		}
	}
	if len(t.rows) == 1 {
		fmt.Fprintln(c.OutOrStdout(), "the model has no region: it accepts nothing")
		return nil
	}
	return t.write(c.OutOrStdout())
}

// shareOf is a share as a figure, "" of nothing.
func shareOf(n, all int) string {
	if all == 0 {
		return ""
	}
	return figure(float64(n) / float64(all))
}

// figureOf is a figure, "" where there is none.
func figureOf(v *float64) string {
	if v == nil {
		return ""
	}
	return figure(*v)
}

// leastOf is the least accuracy of the classes of which there are rows.
func leastOf(cells []sdm.Cell) string {
	var least *float64
	for i := range cells {
		if a := cells[i].Accuracy; a != nil && (least == nil || *a < *least) {
			least = a
		}
	}
	return figureOf(least)
}

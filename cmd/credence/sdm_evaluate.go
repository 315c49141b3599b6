package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/models/report"
	"github.com/credence-ml/credence/models/sdm"
	"github.com/credence-ml/credence/models/sdm/alternatives"
	"github.com/credence-ml/credence/models/sdm/dataset"
	"github.com/credence-ml/credence/models/sdm/sdmreport"
)

// sdmEvaluateFlags are those of `credence sdm evaluate`.
type sdmEvaluateFlags struct {
	model, in, json, html, training, calibration, composition string
	foreign                                                   []string
	alphas                                                    []float64
}

func newSDMEvaluate(s *settings) *cobra.Command {
	var x sdmEvaluateFlags
	c := &cobra.Command{
		Use:   "evaluate --model M --in X [--html FILE] [--json FILE]",
		Short: "Measure a model on labelled rows: what each alpha accepts, and how much of it is right, by class",
		Long: "evaluate prints what every alpha accepts of the rows. --html makes a page of it: accuracy by class, why rows are\n" +
			"rejected, reliability, risk against coverage, and what is accepted of rows unlike those of training (--ood).\n" +
			"With the rows of training and calibration, simple alternatives are fitted to the same features and compared: softmax,\n" +
			"temperature scaling, conformal sets, k-NN distance, Mahalanobis distance, trust score.",
		Example: "  credence sdm evaluate --model m.sdmkitmodel --in test.sdmdataset --ood clothes=fashion.sdmdataset \\\n" +
			"    --training t.sdmdataset --calibration c.sdmdataset --html report.html",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := needed([2]string{"model", x.model}, [2]string{"in", x.in}); err != nil {
				return err
			}
			if (x.training == "") != (x.calibration == "") {
				return errors.New("--training and --calibration go together: alternatives are fitted to the one and get their thresholds from the other")
			}
			if err := errors.Join(checkDestination("--json", x.json), checkDestination("--html", x.html)); err != nil {
				return err
			}
			return withSDM(s, x.model, func(m *sdm.Model) error { return x.run(c, m) })
		},
	}
	f := c.Flags()
	f.StringVar(&x.model, "model", "", "model")
	f.StringVar(&x.in, "in", "", "labelled rows, .sdmdataset or .jsonl; rows labelled -1 or -99 are counted apart")
	f.StringVar(&x.json, "json", "", "also write all figures to this file")
	f.StringVar(&x.html, "html", "", "also write a page to this file")
	f.StringArrayVar(&x.foreign, "ood", nil, "NAME=X of rows unlike those of training; may be given several times")
	f.StringVar(&x.training, "training", "", "rows to fit alternatives to, those of the model's training")
	f.StringVar(&x.calibration, "calibration", "", "rows for the thresholds of the alternatives, those of the model's calibration")
	f.Float64SliceVar(&x.alphas, "alphas", nil, "where methods are compared (default 0.99,0.95,0.9)")
	f.StringVar(&x.composition, "composition", string(dataset.Auto), compositionFlag)
	return c
}

func (x *sdmEvaluateFlags) run(c *cobra.Command, m *sdm.Model) error {
	if x.html == "" && x.foreign == nil && x.training == "" {
		e, err := x.stream(c, m)
		if err != nil {
			return err
		}
		if err := printSDMEvaluation(c, e); err != nil || x.json == "" {
			return err
		}
		return report.SaveFile(x.json, func(w io.Writer) error { return writeJSON(w, e) })
	}
	r, err := x.report(c, m)
	if err != nil {
		return err
	}
	if err := errors.Join(printSDMEvaluation(c, r.Evaluation), printComparison(c, r)); err != nil {
		return err
	}
	if x.html != "" {
		page := r.Page(report.Fact{Name: "model", Value: filepath.Base(filepath.Clean(x.model))}, report.Fact{Name: "rows", Value: filepath.Base(filepath.Clean(x.in))})
		return saveReport(page, x.html, r, x.json)
	}
	if x.json == "" {
		return nil
	}
	return report.SaveFile(x.json, func(w io.Writer) error { return writeJSON(w, r) })
}

// stream evaluates rows without keeping their features.
func (x *sdmEvaluateFlags) stream(c *cobra.Command, m *sdm.Model) (*sdm.Evaluation, error) {
	var scores []sdm.Score
	err := eachScored(c, sdm.Ensemble{m}, x.in, dataset.Composition(x.composition), 0, nil, func(s [][]sdm.Score) error {
		scores = append(scores, s[0]...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m.Evaluate(scores)
}

// report measures all that the flags ask for.
func (x *sdmEvaluateFlags) report(c *cobra.Command, m *sdm.Model) (*sdmreport.Report, error) {
	for _, alpha := range x.alphas {
		if !(alpha > .5 && alpha < 1) {
			return nil, fmt.Errorf("--alphas %v: above 0.5 and below 1 is needed", alpha)
		}
	}
	o := sdmreport.Options{Model: m, Alphas: x.alphas}
	rows, err := x.load(x.in, m)
	if err != nil {
		return nil, err
	}
	o.Features = rows.Features
	if o.Scores, err = scoreRows(c, m, rows); err != nil {
		return nil, err
	}
	for _, pair := range x.foreign {
		name, path, ok := strings.Cut(pair, "=")
		if !ok || name == "" || path == "" {
			return nil, fmt.Errorf("--ood %q: NAME=X is needed", pair)
		}
		rows, err := x.load(path, m)
		if err != nil {
			return nil, err
		}
		scores, err := scoreRows(c, m, rows)
		if err != nil {
			return nil, err
		}
		o.Foreign = append(o.Foreign, sdmreport.Foreign{Name: name, Scores: scores, Features: rows.Features})
	}
	if x.training != "" {
		if o.Alternatives, err = x.alternatives(c, m); err != nil {
			return nil, err
		}
	}
	return sdmreport.New(o)
}

func (x *sdmEvaluateFlags) load(path string, m *sdm.Model) (*sdmRows, error) {
	config := m.Config()
	return loadSDMRows(path, dataset.Composition(x.composition), &config)
}

// scoreRows scores rows that are in memory, with a bar.
func scoreRows(c *cobra.Command, m *sdm.Model, rows *sdmRows) ([]sdm.Score, error) {
	config := m.Config()
	if err := checkLabelsIn(rows.path, 0, rows.Labels, config.Classes); err != nil {
		return nil, err
	}
	n, d := len(rows.IDs), config.Dimension
	bar := newProgress(c.ErrOrStderr(), n, "score "+filepath.Base(filepath.Clean(rows.path)))
	defer bar.Finish()
	all := make([]sdm.Score, 0, n)
	for at := 0; at < n; at += scoredAtOnce {
		end := min(at+scoredAtOnce, n)
		scores, err := m.Score(c.Context(), rows.Features[at*d:end*d], sdm.ScoreOptions{IDs: rows.IDs[at:end], Labels: rows.Labels[at:end]})
		if err != nil {
			return nil, err
		}
		all = append(all, scores...)
		bar.Set(end)
	}
	return all, nil
}

// alternatives are fitted to the rows that the flags name.
func (x *sdmEvaluateFlags) alternatives(c *cobra.Command, m *sdm.Model) (*alternatives.Fitted, error) {
	training, err := x.load(x.training, m)
	if err != nil {
		return nil, err
	}
	calibration, err := x.load(x.calibration, m)
	if err != nil {
		return nil, err
	}
	scores, err := scoreRows(c, m, calibration)
	if err != nil {
		return nil, err
	}
	held := alternatives.Data{X: calibration.Features, Labels: calibration.Labels}
	for i := range scores {
		held.Logits = append(held.Logits, scores[i].ZPrime...)
	}
	config := m.Config()
	return alternatives.Fit(alternatives.Data{X: training.Features, Labels: training.Labels}, held, config.Dimension, config.Classes)
}

// printComparison prints SDM and the alternatives at each alpha.
func printComparison(c *cobra.Command, r *sdmreport.Report) error {
	for _, at := range r.Comparison {
		fmt.Fprintf(c.OutOrStdout(), "\nat alpha %v\n", at.Alpha)
		t := &table{}
		head := []string{"method", "accepted", "accuracy", "least by true class", "least by prediction", "keeps alpha"}
		for _, f := range r.Foreign {
			head = append(head, "of "+f.Name)
		}
		t.add(head...)
		for _, s := range at.Methods {
			row := []string{s.Method, figure(s.Share), figureOf(s.Accuracy), figureOf(s.LeastByTrueClass()), figureOf(s.LeastByPrediction()), map[bool]string{true: "yes", false: "no"}[s.Kept]}
			if s.Admitted == 0 {
				row[5] = ""
			}
			for _, share := range s.Foreign {
				row = append(row, figure(share))
			}
			t.add(row...)
		}
		if err := t.write(c.OutOrStdout()); err != nil {
			return err
		}
	}
	return nil
}

// leastPrinted: lower levels than this are in the JSON and on the page only, beside the highest there is.
const leastPrinted = .9

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
			if a.Alpha < leastPrinted && i > 0 {
				continue
			}
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

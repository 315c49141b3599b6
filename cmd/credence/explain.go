package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/probpsenn"
	"github.com/credence-ml/credence/models/report"
)

// explainFlags are those of `credence explain`.
type explainFlags struct {
	model, in, dir, split, html, json string
	index, samples                    int
	invert                            bool
}

func newExplain(s *settings) *cobra.Command {
	var x explainFlags
	c := &cobra.Command{
		Use:   "explain --model M (--in FILE | --index I --data DIR) --html OUT.html",
		Short: "Explain one prediction in pictures: prototypes, distances, uncertainty, verdict",
		Long: "explain writes a self-contained page, and the same as JSON, on one input: the answer with its verdict and the\n" +
			"reasons, decoded samples of the prototypes of the classes that matter, the distances from them, what each adds\n" +
			"to the scores of the classes, and the nearest training examples. Their pictures need --data with the training\n" +
			"data; without it they are given by number.",
		Example: "  credence explain --model digits.safetensors --data data/mnist --index 12 --html why.html",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := needed([2]string{"model", x.model}, [2]string{"html", x.html}); err != nil {
				return err
			}
			if x.in == "" && (x.dir == "" || !c.Flags().Changed("index")) {
				return errors.New("--in FILE, or --index I with --data DIR, is needed")
			}
			return withModel(s, x.model, func(m *probpsenn.Model) error { return x.run(c, m) })
		},
	}
	f := c.Flags()
	f.StringVar(&x.model, "model", "", "model file")
	f.StringVar(&x.in, "in", "", "the input: a PNG picture, or an IDX or NPY file of which --index is explained")
	f.IntVar(&x.index, "index", 0, "which input of the file or data set, from 0")
	f.StringVar(&x.dir, "data", "", "directory of the data: of the input without --in, and of the training examples shown")
	f.StringVar(&x.split, "split", "test", "test or train: what --index counts in")
	f.StringVar(&x.html, "html", "", "where the page goes")
	f.StringVar(&x.json, "json", "", "also write the explanation to this file as JSON")
	f.IntVar(&x.samples, "samples", 0, "prototype samples; 0: as the model was configured")
	f.BoolVar(&x.invert, "invert", false, "swap dark and bright, for pictures drawn the other way round (with --in)")
	return c
}

func (x *explainFlags) run(c *cobra.Command, m *probpsenn.Model) error {
	o := probpsenn.ExplainOptions{Samples: x.samples, Input: probpsenn.InputOrigin{Index: x.index}}
	var inputs *data.Images
	var err error
	if x.in != "" {
		inputs, err = loadInputs(c, &m.Config, x.in, x.invert)
		o.Input.Source = filepath.Base(x.in)
	} else {
		inputs, err = loadSplit(&m.Config, x.dir, x.split)
		o.Input.Source = filepath.Base(filepath.Clean(x.dir)) + ", " + x.split
	}
	if err != nil {
		return err
	}
	if x.index < 0 || x.index >= inputs.N {
		return fmt.Errorf("--index %d: %s has inputs 0 to %d", x.index, o.Input.Source, inputs.N-1)
	}
	if inputs.Labels != nil {
		label := int(inputs.Labels[x.index])
		o.Input.Label = &label
	}
	input := inputs.Image(x.index)
	if x.dir != "" {
		if o.Training = inputs; x.in != "" || x.split != "train" {
			o.Training = trainingData(c, m, x.dir)
		}
	}
	e, err := m.Explain(c.Context(), o, input)
	if err != nil {
		return err
	}
	if err := saveReport(e.Page(report.Fact{Name: "model", Value: filepath.Base(x.model)}), x.html, e, x.json); err != nil {
		return err
	}
	fmt.Fprintf(c.OutOrStdout(), "class %s, probability %.4f, verdict %s; the page is %s\n", e.Class, e.Prediction.Probability, verdictName(e.Prediction.Verdict), x.html)
	return nil
}

// trainingData is for the pictures of training examples alone; without it a report says that they are missing.
func trainingData(c *cobra.Command, m *probpsenn.Model, dir string) *data.Images {
	if m.Examples == nil {
		return nil
	}
	training, err := loadSplit(&m.Config, dir, "train")
	if err != nil {
		warn(c, "no pictures of training examples: %v", err)
		return nil
	}
	return training
}

func verdictName(v probpsenn.Verdict) string {
	if v == probpsenn.Uncertain {
		return "none (the model is not calibrated)"
	}
	return string(v)
}

// className is the name of a class, its number if it has none.
func className(names []string, class int) string {
	if len(names) > class {
		return names[class]
	}
	return fmt.Sprint(class)
}

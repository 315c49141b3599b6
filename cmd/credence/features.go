package main

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/probpsenn"
	"github.com/credence-ml/credence/models/sdm/dataset"
)

// featureOptions are the flags of `credence features`.
type featureOptions struct {
	model, dir, split, out, rows, part, labels, scores string
}

func newFeatures(s *settings) *cobra.Command {
	var o featureOptions
	c := &cobra.Command{
		Use:   "features --model M.safetensors --data DIR --out X.sdmdataset",
		Short: "Turn inputs into a data set of feature vectors, for credence sdm and other programs",
		Long: "features writes what a Prob-PSENN knows of its inputs: the latent vectors as embedding, and scores of strangeness\n" +
			"that need no label as attributes, on the scale of the latent vectors. The result names the model by a fingerprint,\n" +
			"so that features of another model are not mistaken for it.\n\n" +
			"Features of inputs that the model was trained on look better than those of fresh ones. --part held takes only\n" +
			"training inputs that were held out (hold_out of the configuration), --rows a range of what is left, from:to,\n" +
			"counted from 0 and without the last.",
		Example: "  credence features --model digits.safetensors --data mnist --split train --part held --rows 0:3000 --out support.sdmdataset\n" +
			"  credence features --model digits.safetensors --data fashion-mnist --labels ood --out foreign.sdmdataset",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := needed([2]string{"model", o.model}, [2]string{"data", o.dir}, [2]string{"out", o.out}); err != nil {
				return err
			}
			if !dataset.IsBundle(o.out) && !dataset.IsLines(o.out) {
				return fmt.Errorf("--out %s: want a name that ends in .sdmdataset, .jsonl or .ndjson", o.out)
			}
			return withModel(s, o.model, func(m *probpsenn.Model) error { return writeFeatures(c, m, &o) })
		},
	}
	f := c.Flags()
	f.StringVar(&o.model, "model", "", "model file")
	f.StringVar(&o.dir, "data", "", "directory of inputs")
	f.StringVar(&o.split, "split", "test", "test or train")
	f.StringVar(&o.out, "out", "", "where the data set goes: NAME.sdmdataset, or NAME.jsonl")
	f.StringVar(&o.part, "part", "all", "of the train split: all, trained (what the weights were fitted to) or held (what was held out)")
	f.StringVar(&o.rows, "rows", "", "from:to, a range of the rows of that part; either end may be left out")
	f.StringVar(&o.labels, "labels", "data", "data, none (unlabelled) or ood (known to be unlike every class)")
	f.StringVar(&o.scores, "scores", "reconstruction", "attributes, a comma list of "+strings.Join(probpsenn.FeatureScores, ", ")+"; or none")
	return c
}

func writeFeatures(c *cobra.Command, m *probpsenn.Model, o *featureOptions) error {
	images, err := loadSplit(&m.Config, o.dir, o.split)
	if err != nil {
		return err
	}
	rows, err := o.chosen(m, images)
	if err != nil {
		return err
	}
	label, err := labelling(o.labels, images)
	if err != nil {
		return err
	}
	var scores []string
	if o.scores != "none" && o.scores != "" {
		scores = strings.Split(o.scores, ",")
	}
	e, err := m.NewExtractor(scores)
	if err != nil {
		return err
	}
	defer e.Close()
	fingerprint, err := e.Fingerprint()
	if err != nil {
		return err
	}
	header := &dataset.Header{Representation: &dataset.Representation{Fingerprint: fingerprint}}
	kind := "latent vector"
	if len(scores) > 0 {
		kind += "; attributes: " + strings.Join(scores, ", ")
	}
	for _, f := range [][2]string{{"provider", "credence"}, {"model", "prob-psenn"}, {"inputTemplate", kind}} {
		if err := header.Representation.Set(f[0], f[1]); err != nil {
			return err
		}
	}
	if o.labels == "data" && len(m.Config.ClassNames) > 0 {
		header.ClassNames = m.Config.ClassNames
	}
	bar := newProgress(c.ErrOrStderr(), len(rows), "features")
	defer bar.Finish()
	name := filepath.Base(filepath.Clean(o.dir)) + "/" + o.split + "/"
	if err := dataset.Write(o.out, header, extracted(c.Context(), e, images, rows, name, label, bar.Set)); err != nil {
		return err
	}
	bar.Finish()
	fmt.Fprintf(c.OutOrStdout(), "%d rows, embedding of %d and %d attributes, are in %s\n", len(rows), m.Config.Latent, len(scores), o.out)
	return nil
}

// chosen are the rows that --part and --rows leave.
func (o *featureOptions) chosen(m *probpsenn.Model, images *data.Images) (rows []int, err error) {
	switch o.part {
	case "all":
		rows = make([]int, images.N)
		for i := range rows {
			rows[i] = i
		}
	case "trained", "held":
		if o.split != "train" || images.Labels == nil {
			return nil, fmt.Errorf("--part %s is a part of the labelled data that the model was trained on: --split train", o.part)
		}
		trained, held, err := m.HeldOut(images.Labels)
		if err != nil {
			return nil, err
		}
		if rows = trained; o.part == "held" {
			rows = held
		}
	default:
		return nil, fmt.Errorf("--part %q: want all, trained or held", o.part)
	}
	from, to, err := parseRange(o.rows, len(rows))
	if err != nil {
		return nil, err
	}
	if from == to {
		return nil, fmt.Errorf("no rows: part %s has %d, and --rows is %q", o.part, len(rows), o.rows)
	}
	return rows[from:to], nil
}

// parseRange reads from:to within 0:n; what is left out is an end.
func parseRange(text string, n int) (from, to int, err error) {
	if text == "" {
		return 0, n, nil
	}
	a, b, ok := strings.Cut(text, ":")
	to = n
	if ok && a != "" {
		from, err = strconv.Atoi(a)
	}
	if ok && err == nil && b != "" {
		to, err = strconv.Atoi(b)
	}
	if !ok || err != nil || from < 0 || from > to || to > n {
		return 0, 0, fmt.Errorf("--rows %q: want from:to with 0 <= from <= to <= %d", text, n)
	}
	return from, to, nil
}

// labelling is the label of a row by the flag's word.
func labelling(word string, images *data.Images) (func(row int) int32, error) {
	switch {
	case word == "ood":
		return func(int) int32 { return dataset.OutOfDistribution }, nil
	case word == "none" || word == "data" && images.Labels == nil:
		return func(int) int32 { return dataset.Unlabeled }, nil
	case word == "data":
		return func(row int) int32 { return images.Labels[row] }, nil
	}
	return nil, fmt.Errorf("--labels %q: want data, none or ood", word)
}

// extractBatch inputs go through the model at once.
const extractBatch = 256

func extracted(ctx context.Context, e *probpsenn.Extractor, images *data.Images, rows []int, name string, label func(row int) int32,
	progress func(done int)) iter.Seq2[*dataset.Row, error] {
	return func(yield func(*dataset.Row, error) bool) {
		var x, latents, scores []float32
		for at := 0; at < len(rows); at += extractBatch {
			batch := rows[at:min(at+extractBatch, len(rows))]
			x = x[:0]
			for _, row := range batch {
				x = append(x, images.Image(row)...)
			}
			var err error
			if latents, scores, err = e.Extract(ctx, latents[:0], scores[:0], x); err != nil {
				yield(nil, err)
				return
			}
			for i, row := range batch {
				r := &dataset.Row{ID: name + strconv.Itoa(row), Label: label(row), Embedding: part(latents, i, len(batch)), Attributes: part(scores, i, len(batch))}
				if !yield(r, nil) {
					return
				}
			}
			progress(at + len(batch))
		}
	}
}

// part is the i-th of n equal parts, nil if there is nothing.
func part(values []float32, i, n int) []float32 {
	if len(values) == 0 {
		return nil
	}
	size := len(values) / n
	return values[i*size : (i+1)*size]
}

package main

import (
	"bufio"
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/probpsenn"
	"github.com/credence-ml/credence/models/report"
)

// prediction is a line of `credence predict`.
type prediction struct {
	Source string `json:"source"`
	Index  int    `json:"index"` // in the source, from 0
	Class  string `json:"class"` // the name of Label
	probpsenn.Prediction
	SDM *sdmVerdict `json:"sdm,omitempty"` // with --sdm
}

func newPredict(s *settings) *cobra.Command {
	var model, in, out string
	var invert bool
	var samples int
	var verifier sdmFlags
	c := &cobra.Command{
		Use:   "predict --model M --in FILE",
		Short: "Classify inputs, with probabilities, uncertainty and a verdict on each",
		Long: "predict classifies the pictures of an IDX, NPY or PNG file, or the feature vectors of an NPY file, and writes\n" +
			"one JSON object per input: label, probabilities, uncertainty (predictive_entropy, of which aleatoric_entropy\n" +
			"and mutual_information), distances, scores, and the verdict with its reason. A score that the model cannot\n" +
			"give is null. A PNG picture of another size is fitted to the model's, in grey if the model is.\n\n" +
			"With --sdm every line also carries the verdict of an SDM model of the same network's features (credence features,\n" +
			"credence sdm train): whether the answer can be relied on at --alpha, why not, and the nearest examples.",
		Example: "  credence predict --model digits.safetensors --in seven.png\n  credence predict --model digits.safetensors --in t10k-images-idx3-ubyte.gz --out answers.jsonl",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := needed([2]string{"model", model}, [2]string{"in", in}); err != nil {
				return err
			}
			return withModel(s, model, func(m *probpsenn.Model) error {
				inputs, err := loadInputs(c, &m.Config, in, invert)
				if err != nil {
					return err
				}
				bar := newProgress(c.ErrOrStderr(), inputs.N, "predict")
				defer bar.Finish()
				verify, err := verifier.open(s, m)
				if err != nil {
					return err
				}
				defer verify.close()
				write := func(w io.Writer) error { return predict(c.Context(), w, m, verify, inputs, in, samples, bar.Set) }
				if out != "" {
					return report.SaveFile(out, write)
				}
				w := bufio.NewWriter(c.OutOrStdout())
				if err := write(w); err != nil {
					return err
				}
				return w.Flush()
			})
		},
	}
	f := c.Flags()
	f.StringVar(&model, "model", "", "model file")
	f.StringVar(&in, "in", "", "inputs: an IDX, NPY or PNG file")
	f.StringVar(&out, "out", "", "where the lines go, published as a whole; without it they are printed")
	f.IntVar(&samples, "samples", 0, "prototype samples; 0: as the model was configured")
	f.BoolVar(&invert, "invert", false, "swap dark and bright, for pictures drawn the other way round")
	verifier.declare(c)
	return c
}

// predictBatch inputs go through the model at once.
const predictBatch = 256

func predict(ctx context.Context, w io.Writer, m *probpsenn.Model, verify *sdmVerifier, inputs *data.Images, source string, samples int, progress func(done int)) error {
	p, err := m.NewPredictor(probpsenn.PredictorOptions{MaxBatch: min(predictBatch, inputs.N), Samples: samples, Overlap: true})
	if err != nil {
		return err
	}
	defer p.Close()
	names := m.Config.ClassNames
	size := inputs.ImageSize()
	all := make([]probpsenn.Prediction, predictBatch)
	for at := 0; at < inputs.N; at += predictBatch {
		n := min(predictBatch, inputs.N-at)
		if err := p.PredictInto(ctx, all[:n], inputs.Pixels[at*size:(at+n)*size]); err != nil {
			return err
		}
		verdicts, err := verify.of(ctx, inputs.Pixels[at*size:(at+n)*size], all[:n])
		if err != nil {
			return err
		}
		for i := range all[:n] {
			line := prediction{Source: source, Index: at + i, Class: className(names, all[i].Label), Prediction: all[i]}
			if verdicts != nil {
				line.SDM = &verdicts[i]
			}
			if err := jsonLine(w, line); err != nil {
				return err
			}
		}
		progress(at + n)
	}
	return nil
}

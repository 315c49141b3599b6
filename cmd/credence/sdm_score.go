package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/models/report"
	"github.com/credence-ml/credence/models/sdm"
	"github.com/credence-ml/credence/models/sdm/dataset"
	"github.com/credence-ml/credence/runtime"
)

// sdmScoreFlags are those of `credence sdm score`.
type sdmScoreFlags struct {
	model, in, out, detail, composition string
	agree                               []string
	nearest                             int
	excludeSelf                         bool
}

func newSDMScore(s *settings) *cobra.Command {
	var x sdmScoreFlags
	c := &cobra.Command{
		Use:   "score --model M --in X [--out S.jsonl]",
		Short: "Score rows: prediction, probability, similarity, distance, regions and nearest examples, one JSON object per row",
		Long: "score writes, for every row, the prediction, q (how many of the nearest support rows agree), d (how near they lie\n" +
			"among calibration distances), the probabilities, and the alpha of the region that accepts the prediction, 0 if it is\n" +
			"rejected: centroidRegionAlpha, and lowerRegionAlpha, which also allows for the number of calibration rows.\n\n" +
			"With --agree, agreementAlpha and agreementLowerAlpha are the least of the alphas of all the models, where they predict\n" +
			"the same, and 0 otherwise.",
		Example: "  credence sdm score --model m.sdmkitmodel --in x.sdmdataset --out scores.jsonl --nearest 3",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := needed([2]string{"model", x.model}, [2]string{"in", x.in}); err != nil {
				return err
			}
			if x.detail != "full" && x.detail != "compact" {
				return fmt.Errorf("--detail %q: full or compact", x.detail)
			}
			if x.nearest < 0 {
				return fmt.Errorf("--nearest %d: 0 or more", x.nearest)
			}
			if x.detail == "compact" && !c.Flags().Changed("nearest") {
				x.nearest = 0
			}
			if err := checkDestination("--out", x.out); err != nil {
				return err
			}
			return withSDM(s, x.model, func(m *sdm.Model) error { return x.run(c, s, m) })
		},
	}
	f := c.Flags()
	f.StringVar(&x.model, "model", "", "model")
	f.StringVar(&x.in, "in", "", "rows, .sdmdataset or .jsonl; labels are not needed")
	f.StringVar(&x.out, "out", "", "where the lines go, published as a whole; without it they are printed")
	f.IntVar(&x.nearest, "nearest", 25, "so many nearest support rows with each score (compact: 0)")
	f.StringVar(&x.detail, "detail", "full", "full, or compact: without logits, probabilities and bands")
	f.StringVar(&x.composition, "composition", string(dataset.Auto), compositionFlag)
	f.BoolVar(&x.excludeSelf, "exclude-self", false, "score a row that is in the support, by its id, without itself")
	f.StringArrayVar(&x.agree, "agree", nil, "model that has to agree; may be given several times")
	return c
}

func (x *sdmScoreFlags) run(c *cobra.Command, s *settings, m *sdm.Model) error {
	models := sdm.Ensemble{m}
	if len(x.agree) > 0 {
		rt, err := runtime.Open(s.options()...)
		if err != nil {
			return err
		}
		defer rt.Close()
		for _, path := range x.agree {
			other, err := sdm.Load(rt, path)
			if err != nil {
				return err
			}
			defer other.Close()
			models = append(models, other)
		}
	}
	if m.CalibrationStale() {
		warn(c, "the support was edited after the calibration; credence sdm recalibrate --calibration brings it up to date")
	}
	var self map[string]int
	if x.excludeSelf {
		if len(models) > 1 {
			return errors.New("--exclude-self goes with one model: each has a support of its own")
		}
		self = map[string]int{}
		for i, r := range m.Support() {
			self[r.ID] = i
		}
	}
	write := func(w io.Writer) error {
		return eachScored(c, models, x.in, dataset.Composition(x.composition), x.nearest, self, func(scores [][]sdm.Score) error {
			for i := range scores[0] {
				if err := jsonLine(w, x.line(scores, i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if x.out != "" {
		return report.SaveFile(x.out, write)
	}
	w := bufio.NewWriter(c.OutOrStdout())
	if err := write(w); err != nil {
		return err
	}
	return w.Flush()
}

// compactScore is a score row without what only an expert reads.
type compactScore struct {
	ID                    string      `json:"id"`
	Label                 int         `json:"label"`
	Prediction            int         `json:"prediction"`
	Q                     int         `json:"q"`
	D0                    float32     `json:"d0"`
	D                     float32     `json:"d"`
	QPrime                float32     `json:"qPrime"`
	NearestIndex          int         `json:"nearestSupportIndex"`
	NearestID             string      `json:"nearestSupportID"`
	CentroidAlpha         float64     `json:"centroidRegionAlpha"`
	LowerAlpha            float64     `json:"lowerRegionAlpha"`
	MostConservative      bool        `json:"isInMostConservativeRegion"`
	MostConservativeLower bool        `json:"isInMostConservativeRegionLower"`
	Nearest               []sdm.Match `json:"nearestSupportMatches,omitempty"`
	ModelID               string      `json:"modelID"`
}

// agreed is what several models make of a row together.
type agreed struct {
	Alpha      *float64 `json:"agreementAlpha,omitempty"`
	LowerAlpha *float64 `json:"agreementLowerAlpha,omitempty"`
}

// line is what is written of row i.
func (x *sdmScoreFlags) line(scores [][]sdm.Score, i int) any {
	s := &scores[0][i]
	var a agreed
	if len(scores) > 1 {
		alpha, lower := sdm.Agreement(scores, i, sdm.Centroid), sdm.Agreement(scores, i, sdm.Lower)
		a = agreed{&alpha, &lower}
	}
	if x.detail == "compact" {
		return struct {
			compactScore
			agreed
		}{compactScore{s.ID, s.Label, s.Prediction, s.Q, s.D0, s.D, s.QPrime, s.NearestIndex, s.NearestID, s.CentroidAlpha, s.LowerAlpha,
			s.MostConservative, s.MostConservativeLower, s.Nearest, s.ModelID}, a}
	}
	return struct {
		*sdm.Score
		agreed
	}{s, a}
}

// scoredAtOnce rows are read, scored and handed on together.
const scoredAtOnce = 1024

// eachScored streams rows through the models. self names the support rows that rows of these ids are; nil: none.
func eachScored(c *cobra.Command, models sdm.Ensemble, path string, composition dataset.Composition, nearest int, self map[string]int, f func(scores [][]sdm.Score) error) error {
	r, err := dataset.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	config := models[0].Config()
	composer := dataset.NewComposer(composition)
	bar := newProgress(c.ErrOrStderr(), -1, "score")
	defer bar.Finish()
	done := 0
	var features []float32
	o := sdm.ScoreOptions{Nearest: nearest}
	flush := func() error {
		if len(o.IDs) == 0 {
			return nil
		}
		for _, m := range models {
			config := m.Config()
			if err := agrees(path, r.Header(), composer.Size(), &config); err != nil {
				return err
			}
		}
		if err := checkLabelsIn(path, done, o.Labels, config.Classes); err != nil {
			return err
		}
		scores, err := models.Score(c.Context(), features, o)
		if err != nil {
			return err
		}
		done += len(o.IDs)
		bar.Set(done)
		features, o.IDs, o.Labels, o.Exclude = features[:0], o.IDs[:0], o.Labels[:0], o.Exclude[:0]
		return f(scores)
	}
	for row, err := range r.All() {
		if err != nil {
			return err
		}
		if features, err = composer.Append(features, row); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		o.IDs, o.Labels = append(o.IDs, row.ID), append(o.Labels, row.Label)
		if self != nil {
			at, in := self[row.ID]
			if !in {
				at = -1
			}
			o.Exclude = append(o.Exclude, at)
		}
		if len(o.IDs) == scoredAtOnce {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if done == 0 {
		return errors.New(path + " has no rows")
	}
	return nil
}

// checkLabelsIn demands labels that the model knows, or none.
func checkLabelsIn(path string, first int, labels []int32, classes int) error {
	for i, label := range labels {
		if int(label) >= classes {
			return fmt.Errorf("%s: label %d of row %d; the model has classes 0 to %d", path, label, first+i, classes-1)
		}
	}
	return nil
}

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/models/probpsenn"
	"github.com/credence-ml/credence/models/sdm"
	"github.com/credence-ml/credence/runtime"
)

// sdmFlags are those of a command whose predictions can carry an SDM verdict.
type sdmFlags struct {
	model, scores, rule string
	alpha               float64
}

func (x *sdmFlags) declare(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&x.model, "sdm", "", "SDM model of this model's features: every line carries its verdict")
	f.StringVar(&x.scores, "sdm-scores", "reconstruction", "the --scores that its features were made with")
	f.StringVar(&x.rule, "sdm-rule", string(sdm.Lower), "lower, or centroid: without allowing for the number of calibration rows")
	f.Float64Var(&x.alpha, "alpha", .95, "with --sdm: the least share of right answers, in every class, among those that are accepted")
}

// sdmVerdict is what an SDM model says of a prediction.
type sdmVerdict struct {
	Accepted    bool        `json:"accepted"`
	Alpha       float64     `json:"alpha"` // of the region that accepts it, 0 if none does
	Reason      sdm.Reason  `json:"reason,omitempty"`
	Class       string      `json:"class"` // that the SDM model gives
	Probability float32     `json:"probability"`
	Q           int         `json:"q"`
	D           float32     `json:"d"`
	Nearest     []sdm.Match `json:"nearest"`
}

// sdmVerifier joins a classifier with an SDM model of its features. A nil one has nothing to say.
type sdmVerifier struct {
	verifier *sdm.Verifier[[]float32]
	names    []string
	closers  []func()
}

// open loads the SDM model, which must be of this model's features; nil where none was asked for.
func (x *sdmFlags) open(s *settings, m *probpsenn.Model) (_ *sdmVerifier, err error) {
	if x.model == "" {
		return nil, nil
	}
	v := &sdmVerifier{}
	defer func() {
		if err != nil {
			v.close()
		}
	}()
	var scores []string
	if x.scores != "none" && x.scores != "" {
		scores = strings.Split(x.scores, ",")
	}
	e, err := m.NewExtractor(scores)
	if err != nil {
		return nil, err
	}
	v.closers = append(v.closers, e.Close)
	rt, err := runtime.Open(s.options()...)
	if err != nil {
		return nil, err
	}
	v.closers = append(v.closers, rt.Close)
	model, err := sdm.Load(rt, x.model)
	if err != nil {
		return nil, err
	}
	v.closers = append(v.closers, model.Close)
	fingerprint, err := e.Fingerprint()
	if err != nil {
		return nil, err
	}
	config := model.Config()
	if config.Representation.Fingerprint != fingerprint || config.Dimension != m.Config.Latent+len(scores) {
		return nil, fmt.Errorf("--sdm %s: its %d features are not the %d of this model with the scores %q", x.model, config.Dimension, m.Config.Latent+len(scores), x.scores)
	}
	v.names = config.ClassNames
	features := func(ctx context.Context, x []float32) ([]float32, error) {
		latents, extra, err := e.Extract(ctx, nil, nil, x)
		if err != nil || len(extra) == 0 {
			return latents, err
		}
		var rows []float32
		for at, i := 0, 0; at < len(latents); at, i = at+m.Config.Latent, i+len(scores) {
			rows = append(append(rows, latents[at:at+m.Config.Latent]...), extra[i:i+len(scores)]...)
		}
		return rows, nil
	}
	v.verifier, err = sdm.NewVerifier(model, features, sdm.VerifierOptions{Alpha: x.alpha, Rule: sdm.Rule(x.rule), Nearest: 3})
	return v, err
}

// of judges the answers to a batch of inputs: only the answer that the SDM model gives too can be relied on.
func (v *sdmVerifier) of(ctx context.Context, x []float32, answers []probpsenn.Prediction) ([]sdmVerdict, error) {
	if v == nil {
		return nil, nil
	}
	verdicts, err := v.verifier.Verify(ctx, x)
	if err != nil {
		return nil, err
	}
	out := make([]sdmVerdict, len(verdicts))
	for i := range verdicts {
		d := &verdicts[i]
		if d.Accepted && d.Prediction != answers[i].Label {
			d.Accepted, d.Reason = false, sdm.ReasonDisagreement
		}
		out[i] = sdmVerdict{d.Accepted, d.Decision.Alpha, d.Reason, v.names[d.Prediction], d.SDM[d.Prediction], d.Q, d.D, d.Nearest}
	}
	return out, nil
}

func (v *sdmVerifier) close() {
	if v == nil {
		return
	}
	for i := len(v.closers) - 1; i >= 0; i-- {
		v.closers[i]()
	}
}

package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/credence-ml/credence/models/sdm"
	"github.com/credence-ml/credence/models/sparse"
)

// verifyFlags are those of `credence lm generate --verify`.
type verifyFlags struct {
	model   string
	alpha   float64
	nearest int
}

// verifier judges sequences of tokens by their features, as `credence lm features` makes them of documents.
type verifier struct {
	model *sdm.Model
	*sdm.Verifier[[]int]
}

// open loads the SDM model; nil if none is asked for.
func (f *verifyFlags) open(m *sparse.Model, s *sparse.Session) (*verifier, error) {
	if f.model == "" {
		return nil, nil
	}
	model, err := sdm.Load(m.Runtime(), f.model)
	if err != nil {
		return nil, err
	}
	v := &verifier{model: model}
	c := model.Config()
	if have, want := m.Checkpoint().Fingerprint(), c.Representation.Fingerprint; want != sdm.DefaultFingerprint && want != have {
		err = fmt.Errorf("%s: trained on features of the representation %q; this language model makes %q", f.model, want, have)
	} else if c.Dimension != 2*m.Config.Hidden {
		err = fmt.Errorf("%s: trained on %d features; this language model makes %d", f.model, c.Dimension, 2*m.Config.Hidden)
	} else {
		v.Verifier, err = sdm.NewVerifier(model, func(ctx context.Context, tokens []int) ([]float32, error) {
			features := make([]float32, c.Dimension)
			return features, s.Features(ctx, tokens, features)
		}, sdm.VerifierOptions{Alpha: f.alpha, Nearest: f.nearest})
	}
	if err != nil {
		model.Close()
		return nil, err
	}
	return v, nil
}

// report prints the verdict on a sequence and the examples that it rests on.
func (v *verifier) report(ctx context.Context, w io.Writer, tokens []int) error {
	verdicts, err := v.Verify(ctx, tokens)
	if err != nil {
		return err
	}
	verdict := &verdicts[0]
	name := v.model.Config().ClassNames[verdict.Prediction]
	answer := fmt.Sprintf("accepted at alpha %.2f", verdict.Alpha)
	if !verdict.Accepted {
		answer = "not accepted: " + string(verdict.Reason)
	}
	fmt.Fprintf(w, "verdict: %s, %s (probability %.3f, %d of the nearest agree, distance quantile %.3f)\n",
		name, answer, verdict.SDM[verdict.Prediction], verdict.Q, verdict.D)
	if len(verdict.Nearest) == 0 {
		return nil
	}
	t := &table{}
	t.add("nearest", "class", "distance", "document")
	for _, n := range verdict.Nearest {
		class := fmt.Sprint(n.Label)
		if n.Label >= 0 {
			class = v.model.Config().ClassNames[n.Label]
		}
		t.add(n.ID, class, fmt.Sprintf("%.4g", n.SquaredDistance), excerpt(n.Document))
	}
	return t.write(w)
}

// excerpt is the beginning of a document, on one line.
func excerpt(document *string) string {
	if document == nil {
		return ""
	}
	const most = 60
	text := []rune(strings.Join(strings.Fields(*document), " "))
	if len(text) > most {
		return string(text[:most-3]) + "..."
	}
	return string(text)
}

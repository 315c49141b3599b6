package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/models/report"
	"github.com/credence-ml/credence/models/sparse"
)

func newLMGenerate(s *settings) *cobra.Command {
	x := &lmGeneration{}
	f, o := &x.f, &x.o
	var activity string
	c := &cobra.Command{
		Use:   "generate --model DIR|F.gguf --prompt P",
		Short: "Continue a text",
		Long: "generate prints the text that the model continues the prompt with as it comes, and at the end the rate and the share of\n" +
			"neurons that were inactive. Without --temperature it takes the most likely token each time. The same seed gives the\n" +
			"same text, at any number of threads.\n\n" +
			"With --verify an SDM model judges prompt and answer together by the features that `credence lm features` makes, and\n" +
			"names the nearest training examples.",
		Example: "  credence lm generate --model prosparse-7b --prompt 'The harbour' --max-tokens 100 --temperature 0.8 --top-p 0.95 --seed 1",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := needed([2]string{"model", f.model}, [2]string{"prompt", x.prompt}); err != nil {
				return err
			}
			if o.MaxTokens < 1 {
				return fmt.Errorf("--max-tokens %d; at least 1 is needed", o.MaxTokens)
			}
			if err := checkDestination("--activity", activity); err != nil {
				return err
			}
			return f.with(s, func(m *sparse.Model) error {
				run := func(lines io.Writer) error { return x.run(c.Context(), c.OutOrStdout(), lines, m) }
				if activity == "" {
					return run(nil)
				}
				return report.SaveFile(activity, run)
			})
		},
	}
	f.addRun(c)
	flags := c.Flags()
	flags.StringVar(&x.prompt, "prompt", "", "text to continue")
	flags.IntVar(&o.MaxTokens, "max-tokens", 256, "most tokens to generate")
	flags.Float64Var(&o.Sampling.Temperature, "temperature", 0, "0: always the most likely token; 1: as likely as the model says; between and above: bolder")
	flags.IntVar(&o.Sampling.TopK, "top-k", 0, "choose among that many of the most likely tokens; 0: all")
	flags.Float64Var(&o.Sampling.TopP, "top-p", 1, "choose among the fewest tokens that have this probability together")
	flags.Uint64Var(&o.Sampling.Seed, "seed", 0, "of the choices")
	flags.BoolVar(&o.IgnoreEnd, "ignore-end", false, "go on after a token that ends the text")
	flags.StringVar(&activity, "activity", "", "where to write, for each token, the share of inactive neurons of each layer, one JSON object per line")
	flags.BoolVar(&x.quiet, "quiet", false, "print the text alone, and the verdict")
	flags.StringVar(&x.verify.model, "verify", "", "SDM model (.sdmkitmodel) that judges the answer")
	flags.Float64Var(&x.verify.alpha, "alpha", .9, "least share of right answers, of every class, among those that --verify accepts")
	flags.IntVar(&x.verify.nearest, "nearest", 3, "so many nearest training examples with the verdict")
	return c
}

// tokenActivity is a line of --activity.
type tokenActivity struct {
	Token    int       `json:"token"`
	Inactive []float64 `json:"inactive"` // by layer, when the token was chosen
}

// lmGeneration is what `credence lm generate` does.
type lmGeneration struct {
	f      lmFlags
	o      sparse.GenerateOptions
	verify verifyFlags
	prompt string
	quiet  bool
}

// run prints the text to out, and the activity of each token to lines unless that is nil.
func (x *lmGeneration) run(ctx context.Context, out, lines io.Writer, m *sparse.Model) error {
	t, err := m.Checkpoint().Tokenizer()
	if err != nil {
		return err
	}
	tokens, err := encode(t, x.prompt)
	if err != nil {
		return err
	}
	s, err := x.f.session(m, min(len(tokens)+x.o.MaxTokens, m.Config.Positions))
	if err != nil {
		return err
	}
	defer s.Close()
	v, err := x.verify.open(m, s)
	if err != nil {
		return err
	}
	if v != nil {
		defer v.model.Close()
	}
	text := &textStream{w: out}
	g, err := s.Generate(ctx, tokens, x.o, func(token int) error {
		if lines != nil {
			if err := jsonLine(lines, inactive(s.Activity(), token)); err != nil {
				return err
			}
		}
		return text.write(t.Piece(token))
	})
	if g == nil || len(g.Tokens) == 0 && err != nil {
		return err
	}
	err = errors.Join(err, text.end("\n"))
	if !x.quiet {
		err = errors.Join(err, summarise(out, g, s.Activity()))
	}
	if err != nil || v == nil {
		return err
	}
	fmt.Fprintln(out)
	all := append(tokens, g.Tokens...) // one more than fits, if the model's longest sequence is full
	return v.report(ctx, out, all[:min(len(all), s.Capacity())])
}

func inactive(a *sparse.Activity, token int) tokenActivity {
	line := tokenActivity{Token: token, Inactive: []float64{}}
	if a.Tokens > 0 {
		for _, n := range a.Last {
			line.Inactive = append(line.Inactive, 1-float64(n)/float64(a.Neurons))
		}
	}
	return line
}

func summarise(w io.Writer, g *sparse.Generation, a *sparse.Activity) error {
	text := fmt.Sprintf("%d tokens after a prompt of %d (%s)", len(g.Tokens), g.Prompt, g.Stop)
	if g.Stop == "" {
		text = fmt.Sprintf("%d tokens after a prompt of %d (interrupted)", len(g.Tokens), g.Prompt)
	}
	if rate := g.Rate(); rate > 0 {
		text += fmt.Sprintf(", %.1f tokens/s; the prompt took %.2f s", rate, g.FeedTime.Seconds())
	}
	if activity := activityText(a); activity != "" {
		text += "\n" + activity
	}
	_, err := fmt.Fprintln(w, "\n"+text)
	return err
}

// textStream prints pieces of text as soon as their characters are whole.
type textStream struct {
	w    io.Writer
	held []byte
}

func (t *textStream) write(piece []byte) error {
	t.held = append(t.held, piece...)
	whole := 0
	for whole < len(t.held) && (utf8.FullRune(t.held[whole:])) {
		_, size := utf8.DecodeRune(t.held[whole:])
		whole += size
	}
	_, err := t.w.Write(t.held[:whole])
	t.held = append(t.held[:0], t.held[whole:]...)
	return err
}

// end prints what is left, and after.
func (t *textStream) end(after string) error {
	_, err := t.w.Write(append(t.held, after...))
	return err
}

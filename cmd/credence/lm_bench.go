package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/models/sparse"
)

func newLMBench(s *settings) *cobra.Command {
	var f lmFlags
	var prompt, count int
	var asJSON bool
	c := &cobra.Command{
		Use:   "bench --model DIR|F.gguf",
		Short: "Measure how fast a model reads a prompt and generates",
		Long: "bench feeds random tokens and then generates, without a tokenizer and past tokens that end a text. It prints the\n" +
			"rates, the share of neurons that were inactive, and the most that skipping them could give if time went with the bytes\n" +
			"of weights read. --dense reads them all, for comparison.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if prompt < 1 || count < 2 {
				return fmt.Errorf("--prompt-tokens %d, --tokens %d: at least 1 and 2 are needed", prompt, count)
			}
			return f.with(s, func(m *sparse.Model) error {
				session, err := f.session(m, min(prompt+count, m.Config.Positions))
				if err != nil {
					return err
				}
				defer session.Close()
				r := rand.New(rand.NewPCG(1, 1))
				tokens := make([]int, prompt)
				for i := range tokens {
					tokens[i] = r.IntN(m.Config.Vocab)
				}
				// once before the clock runs, so that files are read and plans compiled
				if err := session.Next(c.Context(), tokens[:1], make([]float32, m.Config.Vocab)); err != nil {
					return err
				}
				if err := session.Truncate(0); err != nil {
					return err
				}
				o := sparse.GenerateOptions{MaxTokens: count, IgnoreEnd: true}
				g, err := session.Generate(c.Context(), tokens, o, func(int) error { return nil })
				if err != nil {
					return err
				}
				result := newLMRates(m, session.Activity(), g)
				if asJSON {
					return writeJSON(c.OutOrStdout(), result)
				}
				t := &table{}
				t.add("prompt", fmt.Sprintf("%d tokens, %.2f tokens/s", g.Prompt, result.Prompt))
				t.add("generation", fmt.Sprintf("%d tokens, %.2f tokens/s", len(g.Tokens), result.Generation))
				if result.Inactive > 0 {
					t.add("inactive", fmt.Sprintf("%.1f %% of the neurons, which bounds the gain at %.2f", 100*result.Inactive, result.Bound))
				}
				return t.write(c.OutOrStdout())
			})
		},
	}
	f.addRun(c)
	c.Flags().IntVar(&prompt, "prompt-tokens", 16, "random tokens to feed")
	c.Flags().IntVar(&count, "tokens", 64, "tokens to generate")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// lmRates is what was measured, in tokens per second.
type lmRates struct {
	Prompt     float64 `json:"prompt"`
	Generation float64 `json:"generation"`
	Inactive   float64 `json:"inactive"` // share of the neurons
	Bound      float64 `json:"bound"`    // see sparse.Summary.Bound
}

func newLMRates(m *sparse.Model, a *sparse.Activity, g *sparse.Generation) lmRates {
	inactive := a.Mean(a.Sparsity)
	return lmRates{Prompt: float64(g.Prompt) / max(g.FeedTime, time.Nanosecond).Seconds(), Generation: g.Rate(), Inactive: inactive,
		Bound: m.Checkpoint().Summary().Bound(inactive)}
}

package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/models/sparse"
	"github.com/credence-ml/credence/models/sparse/tokenizer"
	"github.com/credence-ml/credence/runtime"
)

func newLM(s *settings) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "lm",
		Short: "Run language models whose inactive neurons are not read",
		Long: "lm runs decoder-only transformers (LLaMA's family, MiniCPM, OPT) from a directory with config.json and safetensors,\n" +
			"or from a GGUF file. Where the activation leaves neurons at zero (ReLU and its relatives), their weights are not\n" +
			"read, and the results are the same to the bit. The activation is read from the model, or given with --activation:\n" +
			"it is never guessed.",
	})
	c.AddCommand(newLMGenerate(s), newLMLogits(s), newLMPerplexity(s), newLMFeatures(s), newLMConvert(), newLMInspect(), newLMBench(s))
	return c
}

// lmFlags are the flags of all commands that open a language model.
type lmFlags struct {
	model, activation, cache string
	dense                    bool
}

func (f *lmFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.model, "model", "", "directory with config.json and safetensors, or a GGUF file")
	c.Flags().StringVar(&f.activation, "activation", "", "activation of the feed-forward layers, where the model does not say: relu, fatrelu:T, shifted_relu:T, relu_squared, silu or gelu")
}

// addRun adds the flags of those that run it.
func (f *lmFlags) addRun(c *cobra.Command) {
	f.add(c)
	c.Flags().BoolVar(&f.dense, "dense", false, "read every neuron's weights, for comparison")
	c.Flags().StringVar(&f.cache, "cache", "f32", "type of the keys and values kept: f32, f16 or bf16")
}

func (f *lmFlags) open() (*sparse.Checkpoint, error) {
	if f.model == "" {
		return nil, errors.New("--model is needed")
	}
	return sparse.Open(f.model, sparse.OpenOptions{Activation: f.activation})
}

// with loads the model for the time of run.
func (f *lmFlags) with(s *settings, run func(m *sparse.Model) error) (err error) {
	checkpoint, err := f.open()
	if err != nil {
		return err
	}
	rt, err := runtime.Open(s.options()...)
	if err != nil {
		return errors.Join(err, checkpoint.Close())
	}
	defer rt.Close()
	m, err := sparse.Load(rt, checkpoint, sparse.Options{Dense: f.dense})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	return run(m)
}

// session opens a sequence of that many tokens at most; 0: as long as the model allows, within reason.
func (f *lmFlags) session(m *sparse.Model, capacity int) (*sparse.Session, error) {
	return m.NewSession(sparse.SessionOptions{Capacity: capacity, Cache: sparse.CacheType(f.cache)})
}

// encode is the tokens of a text, which there must be.
func encode(t tokenizer.Tokenizer, text string) ([]int, error) {
	tokens, err := t.Encode(text, true)
	if err == nil && len(tokens) == 0 {
		err = errors.New("the text has no tokens")
	}
	return tokens, err
}

// parseTokens reads a list such as 1,2,3.
func parseTokens(text string) ([]int, error) {
	var tokens []int
	for _, field := range strings.Split(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < 0 {
			return nil, fmt.Errorf("--tokens %s: %q is not a token; numbers with commas between them are needed", text, field)
		}
		tokens = append(tokens, n)
	}
	return tokens, nil
}

// activityText is what a run says of inactive neurons; "" for a model that has none.
func activityText(a *sparse.Activity) string {
	if a.Tokens == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f %% of the neurons inactive, %.1f %% not read", 100*a.Mean(a.Sparsity), 100*a.Mean(a.Skipped))
}

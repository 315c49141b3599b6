package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/credence-ml/credence/models/data"
	"github.com/credence-ml/credence/models/report"
	"github.com/credence-ml/credence/models/sparse"
)

func newLMLogits(s *settings) *cobra.Command {
	var f lmFlags
	var list, out string
	c := &cobra.Command{
		Use:     "logits --model DIR|F.gguf --tokens 1,2,3 --out L.npy",
		Short:   "Write what the model predicts after each of some tokens",
		Long:    "logits writes an NPY file [T, vocabulary] of float32: row i is what follows token i. No tokenizer is needed.",
		Example: "  credence lm logits --model DIR --tokens 1,15043,3186 --out logits.npy",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := needed([2]string{"model", f.model}, [2]string{"tokens", list}, [2]string{"out", out}); err != nil {
				return err
			}
			tokens, err := parseTokens(list)
			if err != nil {
				return err
			}
			if err := checkDestination("--out", out); err != nil {
				return err
			}
			return f.with(s, func(m *sparse.Model) error {
				session, err := f.session(m, len(tokens))
				if err != nil {
					return err
				}
				defer session.Close()
				logits := make([]float32, len(tokens)*m.Config.Vocab)
				if err := session.Logits(c.Context(), tokens, logits); err != nil {
					return err
				}
				return report.SaveFile(out, func(w io.Writer) error {
					return data.WriteNPY(w, []int{len(tokens), m.Config.Vocab}, logits)
				})
			})
		},
	}
	f.addRun(c)
	c.Flags().StringVar(&list, "tokens", "", "numbers of tokens, with commas between them")
	c.Flags().StringVar(&out, "out", "", "NPY file to write")
	return c
}

func newLMPerplexity(s *settings) *cobra.Command {
	var f lmFlags
	var in string
	var window, stride int
	c := &cobra.Command{
		Use:   "perplexity --model DIR|F.gguf --in TEXT",
		Short: "Measure how well a model predicts a text",
		Long: "perplexity reads a text in windows of --context tokens, each of which begins --stride tokens after the one before, and\n" +
			"counts every token but the first once, with what comes before it in the first window that has it.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := needed([2]string{"model", f.model}, [2]string{"in", in}); err != nil {
				return err
			}
			text, err := os.ReadFile(in)
			if err != nil {
				return err
			}
			return f.with(s, func(m *sparse.Model) error {
				t, err := m.Checkpoint().Tokenizer()
				if err != nil {
					return err
				}
				tokens, err := encode(t, string(text))
				if err != nil {
					return err
				}
				if window == 0 {
					window = min(2048, m.Config.Positions, len(tokens))
				}
				if stride == 0 {
					stride = max(1, window/2)
				}
				session, err := f.session(m, window)
				if err != nil {
					return err
				}
				defer session.Close()
				bar := newProgress(c.ErrOrStderr(), len(tokens), "perplexity")
				defer bar.Finish()
				begin := time.Now()
				p, err := session.Perplexity(c.Context(), tokens, stride, bar.Set)
				if err != nil {
					return err
				}
				bar.Finish()
				text := fmt.Sprintf("perplexity %.4f over %d tokens (mean loss %.4f), %.1f tokens/s", p.Value(), p.Tokens, p.Loss, float64(p.Tokens)/time.Since(begin).Seconds())
				if a := activityText(session.Activity()); a != "" {
					text += "\n" + a
				}
				_, err = fmt.Fprintln(c.OutOrStdout(), text)
				return err
			})
		},
	}
	f.addRun(c)
	c.Flags().StringVar(&in, "in", "", "text file")
	c.Flags().IntVar(&window, "context", 0, "tokens of a window; 0: 2048, or as many as the model or the text has")
	c.Flags().IntVar(&stride, "stride", 0, "tokens from one window to the next; 0: half a window")
	return c
}

func newLMFeatures(s *settings) *cobra.Command {
	var f lmFlags
	var in, out string
	var window int
	var o sparse.FeatureOptions
	c := &cobra.Command{
		Use:   "features --model DIR|F.gguf --in TEXT.jsonl --out X.sdmdataset",
		Short: "Turn documents into the features that SDM verifies",
		Long: "features reads rows with id, label and document, and writes them with an embedding: the final hidden state at the last\n" +
			"position, then the mean over all positions.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := needed([2]string{"model", f.model}, [2]string{"in", in}, [2]string{"out", out}); err != nil {
				return err
			}
			return f.with(s, func(m *sparse.Model) error {
				t, err := m.Checkpoint().Tokenizer()
				if err != nil {
					return err
				}
				session, err := f.session(m, window)
				if err != nil {
					return err
				}
				defer session.Close()
				bar := newProgress(c.ErrOrStderr(), -1, "documents")
				defer bar.Finish()
				rows := 0
				o.Progress = func(done int) {
					rows = done
					bar.Set(done)
				}
				if err := session.WriteFeatures(c.Context(), t, in, out, o); err != nil {
					return err
				}
				bar.Finish()
				_, err = fmt.Fprintf(c.OutOrStdout(), "%d rows of %d features: %s\n", rows, 2*m.Config.Hidden, out)
				return err
			})
		},
	}
	f.addRun(c)
	c.Flags().StringVar(&in, "in", "", "rows with documents: JSON Lines, or an .sdmdataset")
	c.Flags().StringVar(&out, "out", "", "data set to write: a name that ends in .sdmdataset, .jsonl or .ndjson")
	c.Flags().IntVar(&window, "context", 0, "most tokens of a document; 0: 4096, or as many as the model takes")
	c.Flags().BoolVar(&o.Truncate, "truncate", false, "cut longer documents, instead of failing")
	return c
}

func newLMConvert() *cobra.Command {
	var f lmFlags
	var o sparse.ConvertOptions
	var out string
	c := &cobra.Command{
		Use:   "convert --model DIR --dtype q8_0 --out F.gguf",
		Short: "Write a model as one GGUF file, in a smaller type if wanted",
		Long: "convert writes matrices as --dtype (f32, f16, bf16, q8_0 or q4_0) and vectors as f32, with the activation and the\n" +
			"tokenizer. Where the activation leaves neurons at zero, down matrices get a row per neuron (ffn_down_t).",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if err := needed([2]string{"model", f.model}, [2]string{"dtype", o.Type}, [2]string{"out", out}); err != nil {
				return err
			}
			if err := checkDestination("--out", out); err != nil {
				return err
			}
			checkpoint, err := f.open()
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, checkpoint.Close()) }()
			bar := newProgress(c.ErrOrStderr(), 0, "convert")
			defer bar.Finish()
			o.Progress = func(done, total int) {
				bar.SetTotal(total)
				bar.Set(done)
			}
			if err := sparse.Convert(c.Context(), checkpoint, out, o); err != nil {
				return err
			}
			bar.Finish()
			info, err := os.Stat(out)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %s, from %s\n", out, size(uint64(info.Size())), size(uint64(checkpoint.Summary().Bytes)))
			return err
		},
	}
	f.add(c)
	c.Flags().StringVar(&o.Type, "dtype", "", "type of the matrices: f32, f16, bf16, q8_0 or q4_0")
	c.Flags().StringVar(&out, "out", "", "GGUF file to write")
	return c
}

func newLMInspect() *cobra.Command {
	var f lmFlags
	var asJSON, tensors bool
	c := &cobra.Command{
		Use:   "inspect --model DIR|F.gguf",
		Short: "Show what a model is, without reading its weights",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			checkpoint, err := f.open()
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, checkpoint.Close()) }()
			summary := checkpoint.Summary()
			if asJSON {
				return writeJSON(c.OutOrStdout(), summary)
			}
			w := bufio.NewWriter(c.OutOrStdout())
			if err := inspect(w, checkpoint, summary, tensors); err != nil {
				return err
			}
			return w.Flush()
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print everything as one JSON object")
	c.Flags().BoolVar(&tensors, "tensors", false, "list the tensors")
	return c
}

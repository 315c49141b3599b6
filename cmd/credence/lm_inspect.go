package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/credence-ml/credence/models/sparse"
)

// inspect prints a model's summary for a person.
func inspect(w io.Writer, c *sparse.Checkpoint, s *sparse.Summary, tensors bool) error {
	t := &table{}
	t.add("model", s.Path)
	t.add("format", s.Format)
	t.add("type", fmt.Sprintf("%s (%s family), %.1f million parameters, %s", s.ModelType, s.Family, float64(s.Parameters)/1e6, size(uint64(s.Bytes))))
	t.add("sizes", fmt.Sprintf("%d layers, hidden %d, feed-forward %d, vocabulary %d, %d positions", s.Layers, s.Hidden, s.Intermediate, s.Vocab, s.Positions))
	t.add("attention", fmt.Sprintf("%d heads of %d, %d of keys and values", s.Heads, s.HeadDim, s.KVHeads))
	t.add("activation", fmt.Sprintf("%s (%s)", s.Activation, s.ActivationSource))
	var types []string
	for _, k := range s.Types {
		types = append(types, fmt.Sprintf("%s %s in %d", k.Type, size(uint64(k.Bytes)), k.Tensors))
	}
	t.add("tensors", strings.Join(types, ", "))
	if s.Predictors > 0 {
		t.add("predictors", fmt.Sprintf("%d tensors that guess active neurons, which are not used: skipping here is exact", s.Predictors))
	}
	tokens, err := c.Tokenizer()
	if err != nil {
		t.add("tokenizer", err.Error())
	} else {
		t.add("tokenizer", fmt.Sprintf("%d tokens", tokens.Size()))
	}
	t.add("per token", fmt.Sprintf("%s of weights, of which feed-forward %s", size(uint64(s.TokenBytes)), size(uint64(s.FFNBytes))))
	if c.Config.CanSkip() {
		t.add("bound", fmt.Sprintf("%.2f, %.2f, %.2f times as fast with 50, 90, 99 %% of the neurons inactive, if time goes with bytes", s.Bound(.5), s.Bound(.9), s.Bound(.99)))
	} else {
		t.add("bound", "1: the activation is never zero, so nothing can be skipped")
	}
	if err := t.write(w); err != nil || !tensors {
		return err
	}
	list := &table{}
	list.add("tensor", "type", "shape", "size")
	for _, x := range s.Tensors {
		list.add(x.Name, x.Type, strings.Trim(fmt.Sprint(x.Shape), "[]"), size(uint64(x.Bytes)))
	}
	fmt.Fprintln(w)
	return list.write(w)
}

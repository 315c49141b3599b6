package sparse

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// GenerateOptions steer Generate.
type GenerateOptions struct {
	MaxTokens int // most tokens to generate; 0: until the session is full
	Sampling  Sampling
	IgnoreEnd bool // go on after a token that ends a text
}

// A Generation tells what Generate did.
type Generation struct {
	Prompt    int           // tokens fed
	Tokens    []int         // tokens generated; one that ends the text is not among them
	Stop      string        // "end", "length" or "capacity"
	FeedTime  time.Duration // for the prompt, up to the first token
	TokenTime time.Duration // for the tokens after the first
}

// Rate is how many tokens per second came after the first; 0 if there was none.
func (g *Generation) Rate() float64 {
	if len(g.Tokens) < 2 || g.TokenTime <= 0 {
		return 0
	}
	return float64(len(g.Tokens)-1) / g.TokenTime.Seconds()
}

// Generate appends a prompt to the sequence and then the tokens that the model gives, one by one; each is handed to
// emit, whose error ends the generation. When ctx ends, what was generated so far is returned with ctx.Err(), at most
// one token later. The sequence ends with the last token but one: the last was not fed yet.
func (s *Session) Generate(ctx context.Context, prompt []int, o GenerateOptions, emit func(token int) error) (*Generation, error) {
	if o.MaxTokens < 0 {
		return nil, fmt.Errorf("%d tokens to generate", o.MaxTokens)
	}
	sampler, err := newSampler(o.Sampling)
	if err != nil {
		return nil, err
	}
	g := &Generation{Prompt: len(prompt)}
	logits := make([]float32, s.m.Config.Vocab)
	begin := time.Now()
	feed := prompt
	for {
		if err := s.Next(ctx, feed, logits); err != nil {
			return g, err
		}
		token, err := sampler.next(logits)
		if err != nil {
			return g, err
		}
		if len(g.Tokens) == 0 {
			g.FeedTime = time.Since(begin)
			begin = time.Now()
		} else {
			g.TokenTime = time.Since(begin)
		}
		if !o.IgnoreEnd && slices.Contains(s.m.Config.EOS, token) {
			g.Stop = "end"
			return g, nil
		}
		g.Tokens = append(g.Tokens, token)
		if err := emit(token); err != nil {
			return g, err
		}
		switch {
		case len(g.Tokens) == o.MaxTokens:
			g.Stop = "length"
			return g, nil
		case s.length == s.capacity:
			g.Stop = "capacity"
			return g, nil
		}
		feed = g.Tokens[len(g.Tokens)-1:]
	}
}

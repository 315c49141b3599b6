package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// file is a tokenizer.json.
type file struct {
	Added         []addedToken    `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage `json:"decoder"`
	Model         struct {
		Type             string            `json:"type"`
		Dropout          *float64          `json:"dropout"`
		Unknown          *string           `json:"unk_token"`
		ContinuingPrefix *string           `json:"continuing_subword_prefix"`
		EndOfWordSuffix  *string           `json:"end_of_word_suffix"`
		FuseUnknown      bool              `json:"fuse_unk"`
		ByteFallback     bool              `json:"byte_fallback"`
		IgnoreMerges     bool              `json:"ignore_merges"`
		Vocab            map[string]int    `json:"vocab"`
		Merges           []json.RawMessage `json:"merges"`
	} `json:"model"`
}

type addedToken struct {
	ID         int    `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
	hidden     bool   // not recognised in texts
}

// ParseJSON reads a tokenizer.json whose model is BPE.
func ParseJSON(text []byte) (Tokenizer, error) {
	var kind struct {
		Model struct {
			Type string `json:"type"`
		} `json:"model"`
	}
	if err := json.Unmarshal(text, &kind); err != nil {
		return nil, err
	}
	if t := kind.Model.Type; t != "BPE" && t != "" {
		return nil, fmt.Errorf("a tokenizer of type %s; BPE is supported", t)
	}
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, err
	}
	return f.build()
}

func (f *file) build() (*bpe, error) {
	m := &f.Model
	for _, s := range []struct {
		name  string
		value *string
	}{{"continuing_subword_prefix", m.ContinuingPrefix}, {"end_of_word_suffix", m.EndOfWordSuffix}} {
		if s.value != nil && *s.value != "" {
			return nil, fmt.Errorf("%s %q is not supported", s.name, *s.value)
		}
	}
	if m.Dropout != nil && *m.Dropout != 0 {
		return nil, fmt.Errorf("dropout %g is not supported", *m.Dropout)
	}
	t := &bpe{vocab: m.Vocab, ignoreMerges: m.IgnoreMerges, byteFallback: m.ByteFallback, fuseUnknown: m.FuseUnknown, unknown: -1}
	if err := t.names(f.Added); err != nil {
		return nil, err
	}
	if m.Unknown != nil {
		id, ok := m.Vocab[*m.Unknown]
		if !ok {
			return nil, fmt.Errorf("the unknown token %q is not in the vocabulary", *m.Unknown)
		}
		t.unknown = id
	}
	pairs := make([][2]string, len(m.Merges))
	for i, raw := range m.Merges {
		if err := json.Unmarshal(raw, &pairs[i]); err == nil {
			continue
		}
		var line string
		if err := json.Unmarshal(raw, &line); err != nil {
			return nil, fmt.Errorf("merge %d: %w", i, err)
		}
		left, right, ok := strings.Cut(line, " ")
		if !ok {
			return nil, fmt.Errorf("merge %d: %q is not two tokens", i, line)
		}
		pairs[i] = [2]string{left, right}
	}
	if err := t.learn(pairs); err != nil {
		return nil, err
	}
	if err := t.readSteps(f.Normalizer, f.PreTokenizer); err != nil {
		return nil, err
	}
	if err := t.readTemplate(f.PostProcessor); err != nil {
		return nil, fmt.Errorf("post_processor: %w", err)
	}
	if err := t.readDecoder(f.Decoder); err != nil {
		return nil, fmt.Errorf("decoder: %w", err)
	}
	return t, nil
}

// names makes the table of tokens by number.
func (t *bpe) names(added []addedToken) error {
	most := len(t.vocab) + len(added)
	t.tokens = make([]string, most)
	taken := make([]bool, most)
	for name, id := range t.vocab {
		if id < 0 || id >= most {
			return fmt.Errorf("token %q has the number %d, but there are %d", name, id, most)
		}
		if taken[id] {
			return fmt.Errorf("token %q has the number %d of %q", name, id, t.tokens[id])
		}
		t.tokens[id], taken[id] = name, true
	}
	t.added = map[int]addedToken{}
	for _, a := range added {
		switch {
		case a.ID < 0 || a.ID >= most || a.Content == "":
			return fmt.Errorf("added token %q has the number %d; one of 0 to %d is needed", a.Content, a.ID, most-1)
		case a.SingleWord:
			return fmt.Errorf("added token %q: single_word is not supported", a.Content)
		case taken[a.ID] && t.tokens[a.ID] != a.Content:
			return fmt.Errorf("added token %q has the number %d of %q", a.Content, a.ID, t.tokens[a.ID])
		}
		t.tokens[a.ID], taken[a.ID] = a.Content, true
		t.added[a.ID] = a
		t.addedOrder = append(t.addedOrder, a)
	}
	// the longest that fits wins
	slices.SortStableFunc(t.addedOrder, func(a, b addedToken) int { return len(b.Content) - len(a.Content) })
	for len(t.tokens) > 0 && !taken[len(t.tokens)-1] {
		t.tokens, taken = t.tokens[:len(t.tokens)-1], taken[:len(taken)-1]
	}
	return nil
}

// learn reads the merges, the earliest first.
func (t *bpe) learn(pairs [][2]string) error {
	t.merges = make(map[pair]merge, len(pairs))
	for rank, p := range pairs {
		left, ok := t.vocab[p[0]]
		right, ok2 := t.vocab[p[1]]
		joined, ok3 := t.vocab[p[0]+p[1]]
		if !ok || !ok2 || !ok3 {
			return fmt.Errorf("merge %d joins %q and %q, which are not in the vocabulary with what they make", rank, p[0], p[1])
		}
		key := pair{left, right}
		if _, ok := t.merges[key]; !ok {
			t.merges[key] = merge{rank, joined}
		}
	}
	return nil
}

package tokenizer

import (
	"encoding/json"
	"fmt"
)

// template is a post-processor: what is put around a text.
type template struct {
	Type       string            `json:"type"`
	Processors []json.RawMessage `json:"processors"`
	Single     []struct {
		Special *struct {
			ID string `json:"id"`
		} `json:"SpecialToken"`
		Sequence *struct {
			ID string `json:"id"`
		} `json:"Sequence"`
	} `json:"single"`
	Tokens map[string]struct {
		IDs []int `json:"ids"`
	} `json:"special_tokens"`
}

func (t *bpe) readTemplate(raw json.RawMessage) error {
	if absent(raw) {
		return nil
	}
	var p template
	if err := json.Unmarshal(raw, &p); err != nil {
		return err
	}
	switch p.Type {
	case "ByteLevel": // moves offsets, which are not kept here
		return nil
	case "Sequence":
		for _, r := range p.Processors {
			if err := t.readTemplate(r); err != nil {
				return err
			}
		}
		return nil
	case "TemplateProcessing":
	default:
		return fmt.Errorf("%q is not supported", p.Type)
	}
	texts := 0
	for _, part := range p.Single {
		if part.Special == nil {
			texts++
			continue
		}
		ids := p.Tokens[part.Special.ID].IDs
		for _, id := range ids {
			if id < 0 || id >= len(t.tokens) {
				return fmt.Errorf("special token %q is number %d of %d", part.Special.ID, id, len(t.tokens))
			}
		}
		if len(ids) == 0 {
			return fmt.Errorf("special token %q has no number", part.Special.ID)
		}
		if texts == 0 {
			t.before = append(t.before, ids...)
		} else {
			t.after = append(t.after, ids...)
		}
	}
	if texts != 1 {
		return fmt.Errorf("a template with %d texts", texts)
	}
	return nil
}

func (t *bpe) readDecoder(raw json.RawMessage) error {
	if absent(raw) {
		return fmt.Errorf("none is given")
	}
	s, err := readStep(raw)
	if err != nil {
		return err
	}
	switch s.Type {
	case "Sequence":
		for _, r := range s.Decoders {
			if err := t.readDecoder(r); err != nil {
				return err
			}
		}
		return nil
	case "ByteLevel":
		t.byteLevel = true
		t.spaceBefore = false // what was put before a text is not taken away
		return nil
	case "Replace":
		if s.Pattern.String == nil || *s.Pattern.String != wordMark || s.Content != " " {
			return fmt.Errorf("Replace is supported from %q to a space", wordMark)
		}
		t.wordSpace = true
		return nil
	case "Metaspace":
		t.wordSpace, t.spaceBefore = true, s.PrependScheme != "never" && value(s.AddPrefixSpace, true)
		return nil
	case "Strip":
		if s.Content != " " || s.Start != 1 || s.Stop != 0 {
			return fmt.Errorf("Strip is supported for one space at the start")
		}
		t.spaceBefore = true
		return nil
	case "ByteFallback", "Fuse":
		return nil
	}
	return fmt.Errorf("%q is not supported", s.Type)
}

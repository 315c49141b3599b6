package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/dlclark/regexp2"
	"golang.org/x/text/unicode/norm"
)

// splitter cuts a text into parts; first tells that it is the beginning of the whole.
type splitter func(text string, first bool) ([]string, error)

// step is a normaliser, pre-tokenizer or decoder.
type step struct {
	Type          string            `json:"type"`
	Normalizers   []json.RawMessage `json:"normalizers"`
	PreTokenizers []json.RawMessage `json:"pretokenizers"`
	Decoders      []json.RawMessage `json:"decoders"`

	Prepend        string          `json:"prepend"`
	Content        string          `json:"content"`
	Pattern        pattern         `json:"pattern"`
	Behavior       string          `json:"behavior"`
	Invert         bool            `json:"invert"`
	AddPrefixSpace *bool           `json:"add_prefix_space"`
	UseRegex       *bool           `json:"use_regex"`
	Individual     bool            `json:"individual_digits"`
	Replacement    string          `json:"replacement"`
	PrependScheme  string          `json:"prepend_scheme"`
	Split          *bool           `json:"split"`
	Start          int             `json:"start"`
	Stop           int             `json:"stop"`
	Left           bool            `json:"strip_left"`
	Right          bool            `json:"strip_right"`
	Single         json.RawMessage `json:"single"`
}

// pattern is {"String": ...} or {"Regex": ...}.
type pattern struct{ String, Regex *string }

func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

func readStep(raw json.RawMessage) (step, error) {
	var s step
	return s, json.Unmarshal(raw, &s)
}

func (t *bpe) readSteps(normalizer, preTokenizer json.RawMessage) error {
	if !absent(normalizer) {
		n, err := readNormalizer(normalizer)
		if err != nil {
			return fmt.Errorf("normalizer: %w", err)
		}
		for _, a := range t.addedOrder {
			if a.Normalized && n(a.Content) != a.Content {
				return fmt.Errorf("added token %q is to be found in normalised text, which changes it: not supported", a.Content)
			}
		}
		t.normalize = n
	}
	if !absent(preTokenizer) {
		if err := t.readPreTokenizer(preTokenizer); err != nil {
			return fmt.Errorf("pre_tokenizer: %w", err)
		}
	}
	return nil
}

func readNormalizer(raw json.RawMessage) (func(string) string, error) {
	s, err := readStep(raw)
	if err != nil {
		return nil, err
	}
	switch s.Type {
	case "Sequence":
		var all []func(string) string
		for _, r := range s.Normalizers {
			n, err := readNormalizer(r)
			if err != nil {
				return nil, err
			}
			all = append(all, n)
		}
		return func(text string) string {
			for _, n := range all {
				text = n(text)
			}
			return text
		}, nil
	case "NFC":
		return norm.NFC.String, nil
	case "NFD":
		return norm.NFD.String, nil
	case "NFKC":
		return norm.NFKC.String, nil
	case "NFKD":
		return norm.NFKD.String, nil
	case "Prepend":
		return func(text string) string {
			if text == "" {
				return text
			}
			return s.Prepend + text
		}, nil
	case "Replace":
		if s.Pattern.String == nil {
			return nil, fmt.Errorf("Replace with a regular expression is not supported")
		}
		return func(text string) string { return strings.ReplaceAll(text, *s.Pattern.String, s.Content) }, nil
	}
	return nil, fmt.Errorf("%q is not supported", s.Type)
}

func (t *bpe) readPreTokenizer(raw json.RawMessage) error {
	s, err := readStep(raw)
	if err != nil {
		return err
	}
	switch s.Type {
	case "Sequence":
		for _, r := range s.PreTokenizers {
			if err := t.readPreTokenizer(r); err != nil {
				return err
			}
		}
		return nil
	case "ByteLevel":
		return t.addByteLevel(value(s.AddPrefixSpace, true), value(s.UseRegex, true))
	case "Split":
		return t.addSplit(s)
	case "Digits":
		t.split = append(t.split, digits(s.Individual))
		return nil
	case "Metaspace":
		t.wordSpace = true
		t.split = append(t.split, metaspace(s))
		return nil
	}
	return fmt.Errorf("%q is not supported", s.Type)
}

// gpt2 is the pattern of GPT-2's words.
const gpt2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

func (t *bpe) addByteLevel(prefixSpace, words bool) error {
	if prefixSpace {
		t.spaceBefore = true
		t.split = append(t.split, func(text string, _ bool) ([]string, error) {
			if !strings.HasPrefix(text, " ") {
				text = " " + text
			}
			return []string{text}, nil
		})
	}
	if words {
		if err := t.addSplit(step{Pattern: pattern{Regex: new(gpt2)}, Behavior: "Isolated"}); err != nil {
			return err
		}
	}
	t.split = append(t.split, func(text string, _ bool) ([]string, error) { return []string{toLetters(text)}, nil })
	return nil
}

// slowest is how long one text may take a pattern, which may go back and forth without end.
const slowest = 30 * time.Second

func (t *bpe) addSplit(s step) error {
	if s.Invert || s.Behavior != "Isolated" {
		return fmt.Errorf("Split with behavior %q, invert %v is not supported; Isolated without invert is", s.Behavior, s.Invert)
	}
	var source string
	switch {
	case s.Pattern.Regex != nil:
		source = *s.Pattern.Regex
	case s.Pattern.String != nil && *s.Pattern.String != "":
		source = regexp2.Escape(*s.Pattern.String)
	default:
		return fmt.Errorf("Split without a pattern")
	}
	re, err := regexp2.Compile(source, regexp2.None)
	if err != nil {
		return err
	}
	re.MatchTimeout = slowest
	t.split = append(t.split, func(text string, _ bool) ([]string, error) {
		var parts []string
		runes := []rune(text)
		at := 0
		m, err := re.FindRunesMatch(runes)
		for ; m != nil && err == nil; m, err = re.FindNextMatch(m) {
			if m.Index > at {
				parts = append(parts, string(runes[at:m.Index]))
			}
			parts = append(parts, string(runes[m.Index:m.Index+m.Length]))
			at = m.Index + m.Length
		}
		if err == nil && at < len(runes) {
			parts = append(parts, string(runes[at:]))
		}
		return parts, err
	})
	return nil
}

// digits sets numbers apart, or every digit.
func digits(individual bool) splitter {
	return func(text string, _ bool) ([]string, error) {
		var parts []string
		inNumber := false
		for _, r := range text {
			number := unicode.IsNumber(r)
			if len(parts) == 0 || number != inNumber || number && individual {
				parts = append(parts, "")
			}
			parts[len(parts)-1] += string(r)
			inNumber = number
		}
		return parts, nil
	}
}

// metaspace writes spaces as a mark, puts one first, and begins a word at each.
func metaspace(s step) splitter {
	mark := s.Replacement
	scheme := s.PrependScheme
	if scheme == "" {
		scheme = "always"
		if !value(s.AddPrefixSpace, true) {
			scheme = "never"
		}
	}
	return func(text string, first bool) ([]string, error) {
		text = strings.ReplaceAll(text, " ", mark)
		if (scheme == "always" || scheme == "first" && first) && !strings.HasPrefix(text, mark) {
			text = mark + text
		}
		if !value(s.Split, true) {
			return []string{text}, nil
		}
		var parts []string
		for text != "" {
			end := strings.Index(text[min(len(mark), len(text)):], mark)
			if !strings.HasPrefix(text, mark) {
				end = strings.Index(text, mark)
			} else if end >= 0 {
				end += len(mark)
			}
			if end < 0 {
				end = len(text)
			}
			parts = append(parts, text[:end])
			text = text[end:]
		}
		return parts, nil
	}
}

func value[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

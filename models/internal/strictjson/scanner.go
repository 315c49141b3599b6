package strictjson

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner walks over JSON (RFC 8259) and proves it.
type scanner struct {
	text      []byte
	at, depth int
}

func (s *scanner) problem(format string, args ...any) error {
	return fmt.Errorf("at byte %d: "+format, append([]any{s.at}, args...)...)
}

func (s *scanner) space() {
	for s.at < len(s.text) && (s.text[s.at] == ' ' || s.text[s.at] == '\t' || s.text[s.at] == '\n' || s.text[s.at] == '\r') {
		s.at++
	}
}

// end makes sure that nothing but white space follows.
func (s *scanner) end() error {
	s.space()
	if s.at < len(s.text) {
		return s.problem("something follows: %q", s.text[s.at])
	}
	return nil
}

// next takes a punctuation mark, after white space, if it comes next.
func (s *scanner) next(mark byte) bool {
	s.space()
	if s.at < len(s.text) && s.text[s.at] == mark {
		s.at++
		return true
	}
	return false
}

func (s *scanner) value() error {
	s.space()
	if s.at == len(s.text) {
		return s.problem("the text ends where a value was due")
	}
	switch c := s.text[s.at]; {
	case c == '{':
		return s.object(nil)
	case c == '[':
		return s.array(nil)
	case c == '"':
		_, err := s.string()
		return err
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if len(s.text)-s.at >= len(word) && string(s.text[s.at:s.at+len(word)]) == word {
			s.at += len(word)
			return nil
		}
	}
	return s.problem("%q where a value was due", s.text[s.at])
}

func (s *scanner) enter() error {
	s.at++
	if s.depth++; s.depth > MaxDepth {
		return s.problem("nested deeper than %d", MaxDepth)
	}
	return nil
}

// object walks over an object; field, if there is one, gets its keys and values.
func (s *scanner) object(field func(key string, value []byte)) error {
	if err := s.enter(); err != nil {
		return err
	}
	var few []string         // keys seen; objects are small as a rule
	var many map[string]bool // where they are not
	for first := true; !s.next('}'); first = false {
		if !first && !s.next(',') {
			return s.problem("no comma or } after a field")
		}
		if s.space(); s.at == len(s.text) || s.text[s.at] != '"' {
			return s.problem("no key where one was due")
		}
		key, err := s.string()
		if err != nil {
			return err
		}
		if few, many, err = s.unseen(key, few, many); err != nil {
			return err
		}
		if !s.next(':') {
			return s.problem("no colon after key %q", key)
		}
		s.space()
		begin := s.at
		if err := s.value(); err != nil {
			return err
		}
		if field != nil {
			field(key, s.text[begin:s.at:s.at])
		}
	}
	s.depth--
	return nil
}

func (s *scanner) unseen(key string, few []string, many map[string]bool) ([]string, map[string]bool, error) {
	again := many[key]
	if many == nil {
		for _, k := range few {
			again = again || k == key
		}
	}
	if again {
		return nil, nil, s.problem("key %q appears twice", key)
	}
	few = append(few, key)
	if many == nil && len(few) > 32 {
		many = make(map[string]bool, 2*len(few))
		for _, k := range few {
			many[k] = true
		}
	}
	if many != nil {
		many[key] = true
	}
	return few, many, nil
}

// array walks over an array; element, if there is one, gets its values.
func (s *scanner) array(element func(value []byte) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	for first := true; !s.next(']'); first = false {
		if !first && !s.next(',') {
			return s.problem("no comma or ] after an element")
		}
		s.space()
		begin := s.at
		if err := s.value(); err != nil {
			return err
		}
		if element != nil {
			if err := element(s.text[begin:s.at:s.at]); err != nil {
				return err
			}
		}
	}
	s.depth--
	return nil
}

// string takes a string and returns what it says.
func (s *scanner) string() (string, error) {
	begin, plain := s.at, true
	s.at++
	for {
		if s.at == len(s.text) {
			return "", s.problem("a string without end")
		}
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			if plain {
				return string(s.text[begin+1 : s.at-1]), nil
			}
			var text string
			err := json.Unmarshal(s.text[begin:s.at], &text)
			return text, err
		case c == '\\':
			plain = false
			if err := s.escape(); err != nil {
				return "", err
			}
		case c < ' ':
			return "", s.problem("control character %#02x in a string", c)
		case c < utf8.RuneSelf:
			s.at++
		default:
			r, size := utf8.DecodeRune(s.text[s.at:])
			if r == utf8.RuneError && size == 1 {
				return "", s.problem("byte %#02x is not UTF-8", c)
			}
			s.at += size
		}
	}
}

func (s *scanner) escape() error {
	if s.at+1 < len(s.text) {
		switch s.text[s.at+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			s.at += 2
			return nil
		case 'u':
			r, ok := s.unit(s.at)
			if ok && utf16.IsSurrogate(r) {
				low, paired := s.unit(s.at + 6)
				if !paired || utf16.DecodeRune(r, low) == utf8.RuneError {
					return s.problem("half of a surrogate pair: no character")
				}
				s.at += 6
			}
			if ok {
				s.at += 6
				return nil
			}
		}
	}
	return s.problem("an escape that JSON does not know")
}

// unit reads the four digits of a \u escape that begins at a place.
func (s *scanner) unit(at int) (rune, bool) {
	if at+6 > len(s.text) || s.text[at] != '\\' || s.text[at+1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(s.text[at+2:at+6]), 16, 16)
	return rune(v), err == nil
}

func (s *scanner) digits() int {
	begin := s.at
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		s.at++
	}
	return s.at - begin
}

func (s *scanner) number() error {
	begin, integer := s.at, true
	if s.text[s.at] == '-' {
		s.at++
	}
	whole := s.at
	if n := s.digits(); n == 0 || n > 1 && s.text[whole] == '0' {
		return s.problem("a number that JSON does not know: %s", shorten(s.text[begin:s.at]))
	}
	if s.at < len(s.text) && s.text[s.at] == '.' {
		s.at++
		if integer = false; s.digits() == 0 {
			return s.problem("a number without digits after its point")
		}
	}
	exponent := false
	if s.at < len(s.text) && (s.text[s.at] == 'e' || s.text[s.at] == 'E') {
		s.at++
		if s.at < len(s.text) && (s.text[s.at] == '+' || s.text[s.at] == '-') {
			s.at++
		}
		if integer, exponent = false, true; s.digits() == 0 {
			return s.problem("a number without digits in its exponent")
		}
	}
	text := s.text[begin:s.at]
	switch {
	case integer && len(text) > 18: // 10^18 < 2^63
		_, unsigned := strconv.ParseUint(string(text), 10, 64)
		_, signed := strconv.ParseInt(string(text), 10, 64)
		if unsigned != nil && signed != nil {
			return s.problem("integer %s is outside [-2^63, 2^64-1]", shorten(text))
		}
	case exponent || len(text) > 300:
		if v, err := number(text); err != nil || math.IsInf(v, 0) {
			return s.problem("number %s is not finite", shorten(text))
		}
	}
	return nil
}

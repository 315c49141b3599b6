package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// bpe is a byte-pair tokenizer as tokenizer.json describes it.
type bpe struct {
	vocab      map[string]int
	tokens     []string // by number
	merges     map[pair]merge
	added      map[int]addedToken
	addedOrder []addedToken

	unknown                                 int // -1: none
	ignoreMerges, byteFallback, fuseUnknown bool

	unknownText string // how the unknown token is written; "": by its name

	prepare     func(string) string // of a whole text
	normalize   func(string) string // of what lies between added tokens
	split       []splitter
	before      []int // special tokens around every text
	after       []int
	byteLevel   bool // pieces are letters that stand for bytes
	wordSpace   bool // U+2581 stands for a space
	spaceBefore bool // see SpaceFirst
}

// Size is the number of tokens.
func (t *bpe) Size() int { return len(t.tokens) }

// SpaceFirst reports whether encoding puts a space before a text.
func (t *bpe) SpaceFirst() bool { return t.spaceBefore }

// Encode is the tokens of a text.
func (t *bpe) Encode(text string, special bool) ([]int, error) {
	var ids []int
	if special {
		ids = append(ids, t.before...)
	}
	if t.prepare != nil {
		text = t.prepare(text)
	}
	first := true
	for text != "" {
		at, token := t.nextAdded(text, special)
		part := text[:at]
		rest := text[at+len(token.Content):]
		if token.LStrip {
			part = strings.TrimRightFunc(part, unicode.IsSpace)
		}
		if token.RStrip {
			rest = strings.TrimLeftFunc(rest, unicode.IsSpace)
		}
		if part != "" {
			var err error
			if ids, err = t.encodePart(ids, part, first); err != nil {
				return nil, err
			}
		}
		if token.Content != "" {
			ids = append(ids, token.ID)
		}
		text, first = rest, false
	}
	if special {
		ids = append(ids, t.after...)
	}
	return ids, nil
}

// nextAdded is the first added token written in a text and where it begins; the end, if there is none.
func (t *bpe) nextAdded(text string, special bool) (int, addedToken) {
	at, found := len(text), addedToken{}
	for _, a := range t.addedOrder { // the longest first
		if a.Special && (!special || a.hidden) {
			continue
		}
		if i := strings.Index(text, a.Content); i >= 0 && i < at {
			at, found = i, a
		}
	}
	return at, found
}

// encodePart appends the tokens of a text without added tokens.
func (t *bpe) encodePart(ids []int, text string, first bool) ([]int, error) {
	if t.normalize != nil {
		text = t.normalize(text)
	}
	words := []string{text}
	for _, s := range t.split {
		var next []string
		for i, w := range words {
			parts, err := s(w, first && i == 0)
			if err != nil {
				return nil, err
			}
			next = append(next, parts...)
		}
		words = next
	}
	for _, w := range words {
		if w != "" {
			ids = append(ids, t.encodeWord(w)...)
		}
	}
	return ids, nil
}

// encodeWord is the tokens of what merges do not cross.
func (t *bpe) encodeWord(word string) []int {
	if t.ignoreMerges {
		if id, ok := t.vocab[word]; ok {
			return []int{id}
		}
	}
	var ids []int
	unknown := false // the last was
	for at := 0; at < len(word); {
		_, size := utf8.DecodeRuneInString(word[at:])
		c := word[at : at+size]
		at += size
		if id, ok := t.vocab[c]; ok {
			ids, unknown = append(ids, id), false
			continue
		}
		if bytes, ok := t.fallBack(c); ok {
			ids, unknown = append(ids, bytes...), false
			continue
		}
		if t.unknown >= 0 && !(unknown && t.fuseUnknown) {
			ids = append(ids, t.unknown)
		}
		unknown = true
	}
	return mergeAll(ids, t.merges)
}

// fallBack is the byte tokens of a character, if the model has them all.
func (t *bpe) fallBack(c string) ([]int, bool) {
	if !t.byteFallback {
		return nil, false
	}
	ids := make([]int, len(c))
	for i := range len(c) {
		id, ok := t.vocab[byteToken(c[i])]
		if !ok {
			return nil, false
		}
		ids[i] = id
	}
	return ids, true
}

// Piece is the text of a token.
func (t *bpe) Piece(id int) []byte {
	if id < 0 || id >= len(t.tokens) {
		return nil
	}
	if a, ok := t.added[id]; ok {
		if a.Special {
			return nil
		}
		return []byte(t.spaces(a.Content))
	}
	token := t.tokens[id]
	if id == t.unknown && t.unknownText != "" {
		return []byte(t.unknownText)
	}
	if t.byteLevel {
		return fromLetters(token)
	}
	if b, ok := byteOf(token); ok && t.byteFallback {
		return []byte{b}
	}
	return []byte(t.spaces(token))
}

// spaces puts spaces where the vocabulary has marks for them.
func (t *bpe) spaces(token string) string {
	if !t.wordSpace {
		return token
	}
	return strings.ReplaceAll(token, wordMark, " ")
}

// wordMark is the character that SentencePiece writes for a space.
const wordMark = "\u2581"

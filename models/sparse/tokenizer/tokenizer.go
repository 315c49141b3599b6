// Package tokenizer turns text into a model's tokens and back. It reads tokenizer.json files with a BPE model, SentencePiece
// models of type BPE, and the vocabularies inside GGUF files. What a file asks for and is not known here is refused by
// name: a tokenizer that is almost right gives answers that are quietly worse.
package tokenizer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A Tokenizer is safe for concurrent use.
type Tokenizer interface {
	// Encode is the tokens of a text. special adds those that the file puts around every text, and of a tokenizer.json
	// recognises special tokens written in the text; otherwise they are text like any other.
	Encode(text string, special bool) ([]int, error)
	// Piece is the text of a token; nil for a special one. Only whole sequences need be UTF-8.
	Piece(id int) []byte
	// SpaceFirst reports whether encoding puts a space before a text, which decoding takes away.
	SpaceFirst() bool
	// Size is the number of tokens.
	Size() int
}

// Decode is the text of a whole sequence.
func Decode(t Tokenizer, ids []int) string {
	var text strings.Builder
	for _, id := range ids {
		text.Write(t.Piece(id))
	}
	if s := text.String(); t.SpaceFirst() {
		return strings.TrimPrefix(s, " ")
	}
	return text.String()
}

// ErrNone is the error of a directory without a tokenizer.
var ErrNone = errors.New("no tokenizer: neither tokenizer.json nor tokenizer.model is there")

// OpenDirectory reads tokenizer.json of a directory, or if it has none tokenizer.model.
func OpenDirectory(dir string) (Tokenizer, error) {
	path := filepath.Join(dir, "tokenizer.json")
	text, err := os.ReadFile(path)
	if err == nil {
		t, err := ParseJSON(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return t, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	path = filepath.Join(dir, "tokenizer.model")
	if text, err = os.ReadFile(path); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNone)
	}
	if err != nil {
		return nil, err
	}
	begin, err := addsBegin(filepath.Join(dir, "tokenizer_config.json"))
	if err != nil {
		return nil, err
	}
	t, err := ParseSentencePiece(text, begin)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

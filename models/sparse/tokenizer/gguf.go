package tokenizer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/credence-ml/credence/models/sparse/gguf"
)

// The keys of a vocabulary inside a GGUF file.
const (
	keyJSON       = "tokenizer.huggingface.json" // a whole tokenizer.json
	keyModel      = "tokenizer.ggml.model"
	keyPre        = "tokenizer.ggml.pre"
	keyTokens     = "tokenizer.ggml.tokens"
	keyScores     = "tokenizer.ggml.scores"
	keyTypes      = "tokenizer.ggml.token_type"
	keyMerges     = "tokenizer.ggml.merges"
	keyBegin      = "tokenizer.ggml.bos_token_id"
	keyAddBegin   = "tokenizer.ggml.add_bos_token"
	keyAddSpace   = "tokenizer.ggml.add_space_prefix"
	llama3Pattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	qwen2Pattern  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// modelNone is how a file says that it has no vocabulary.
const modelNone = "no_vocab"

// wordPatterns are the words that byte-level vocabularies do not merge across, by the name that files give them.
var wordPatterns = map[string]string{"gpt-2": gpt2, "llama-bpe": llama3Pattern, "llama3": llama3Pattern, "llama-v3": llama3Pattern, "qwen2": qwen2Pattern}

// FromGGUF reads the vocabulary inside a GGUF file.
func FromGGUF(f *gguf.File) (Tokenizer, error) {
	if f.Has(keyJSON) {
		text, err := f.String(keyJSON)
		if err != nil {
			return nil, err
		}
		t, err := ParseJSON([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", keyJSON, err)
		}
		return t, nil
	}
	model, err := f.String(keyModel)
	if errors.Is(err, gguf.ErrNoKey) || model == modelNone {
		return nil, errors.New("no tokenizer: the file has no vocabulary")
	}
	if err != nil {
		return nil, err
	}
	v := vocabulary{}
	if v.pieces, err = f.Strings(keyTokens); err != nil {
		return nil, err
	}
	if v.types, err = f.Int32s(keyTypes); err != nil && !errors.Is(err, gguf.ErrNoKey) {
		return nil, err
	}
	switch model {
	case "llama":
		return v.sentencePiece(f)
	case "gpt2":
		return v.byteLevel(f)
	}
	return nil, fmt.Errorf("a vocabulary of type %q; llama and gpt2 are supported", model)
}

// flag is a bool of the file, or its default.
func flag(f *gguf.File, key string, otherwise bool) (bool, error) {
	v, err := f.Bool(key)
	if errors.Is(err, gguf.ErrNoKey) {
		return otherwise, nil
	}
	return v, err
}

// beginToken is the token that the file puts before every text; -1: none.
func beginToken(f *gguf.File, otherwise bool, size int) (int, error) {
	add, err := flag(f, keyAddBegin, otherwise)
	if err != nil || !add || !f.Has(keyBegin) {
		return -1, err
	}
	id, err := f.Int(keyBegin)
	if err == nil && (id < 0 || id >= int64(size)) {
		err = fmt.Errorf("%s is %d of %d", keyBegin, id, size)
	}
	return int(id), err
}

func (v *vocabulary) sentencePiece(f *gguf.File) (Tokenizer, error) {
	p := &pieces{vocabulary: *v}
	var err error
	if p.scores, err = f.Float32s(keyScores); err != nil {
		return nil, err
	}
	if p.begin, err = beginToken(f, true, len(p.pieces)); err != nil {
		return nil, err
	}
	if p.prefixSpace, err = flag(f, keyAddSpace, true); err != nil {
		return nil, err
	}
	return p.tokenizer()
}

func (v *vocabulary) byteLevel(f *gguf.File) (Tokenizer, error) {
	pre, err := f.String(keyPre)
	if err != nil {
		return nil, err
	}
	words, ok := wordPatterns[pre]
	if !ok {
		return nil, fmt.Errorf("%s %q is not known; gpt-2, llama-bpe and qwen2 are", keyPre, pre)
	}
	lines, err := f.Strings(keyMerges)
	if err != nil {
		return nil, err
	}
	t := &bpe{vocab: make(map[string]int, len(v.pieces)), unknown: -1, byteLevel: true, ignoreMerges: pre != "gpt-2" && pre != "qwen2"}
	var added []addedToken
	for id, text := range v.pieces {
		if _, ok := t.vocab[text]; ok {
			return nil, fmt.Errorf("token %d: %q is there twice", id, text)
		}
		t.vocab[text] = id
		if id < len(v.types) && (v.types[id] == typeControl || v.types[id] == typeUserDefined) {
			added = append(added, addedToken{ID: id, Content: text, Special: v.types[id] == typeControl})
		}
	}
	if err := t.names(added); err != nil {
		return nil, err
	}
	pairs := make([][2]string, len(lines))
	for i, line := range lines {
		left, right, ok := strings.Cut(line, " ")
		if !ok {
			return nil, fmt.Errorf("merge %d: %q is not two tokens", i, line)
		}
		pairs[i] = [2]string{left, right}
	}
	if err := t.learn(pairs); err != nil {
		return nil, err
	}
	begin, err := beginToken(f, false, len(v.pieces))
	if err != nil {
		return nil, err
	}
	if begin >= 0 {
		t.before = []int{begin}
	}
	if err := t.addSplit(step{Pattern: pattern{Regex: &words}, Behavior: "Isolated"}); err != nil {
		return nil, err
	}
	return t, t.addByteLevel(false, false)
}

// GGUFKeys are the keys that put the tokenizer of a directory into a GGUF file, or say that there is none.
func GGUFKeys(dir string) ([]gguf.Key, error) {
	if _, err := OpenDirectory(dir); errors.Is(err, ErrNone) {
		return []gguf.Key{{Name: keyModel, Value: modelNone}}, nil
	} else if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "tokenizer.json"))
	if err == nil {
		return []gguf.Key{{Name: keyJSON, Value: string(text)}}, nil
	}
	if text, err = os.ReadFile(filepath.Join(dir, "tokenizer.model")); err != nil {
		return nil, err
	}
	begin, err := addsBegin(filepath.Join(dir, "tokenizer_config.json"))
	if err != nil {
		return nil, err
	}
	p, err := readSentencePiece(text)
	if err != nil {
		return nil, err
	}
	if p.singleSpaces {
		return nil, errors.New("a SentencePiece model that removes extra spaces cannot be put into a GGUF file")
	}
	return []gguf.Key{{Name: keyModel, Value: "llama"}, {Name: keyTokens, Value: p.pieces}, {Name: keyScores, Value: p.scores},
		{Name: keyTypes, Value: p.types}, {Name: keyAddSpace, Value: p.prefixSpace}, {Name: keyAddBegin, Value: begin}}, nil
}

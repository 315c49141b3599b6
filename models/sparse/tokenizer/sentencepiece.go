package tokenizer

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// pieces is a SentencePiece model: its vocabulary, and what it does to spaces.
type pieces struct {
	vocabulary
	begin        int  // the token that begins a text
	prefixSpace  bool // one is put before every text
	singleSpaces bool // others are removed at both ends, and where there are several
}

// vocabulary is a list of pieces, by number. Pieces merge in the order of their scores, the highest first.
type vocabulary struct {
	pieces []string
	scores []float32
	types  []int32 // see the constants below
}

// The types of pieces, the same in SentencePiece and GGUF.
const (
	typeNormal      = 1
	typeUnknown     = 2
	typeControl     = 3
	typeUserDefined = 4
	typeByte        = 6
)

// Numbers of fields in sentencepiece_model.proto.
const (
	fieldPiece      = 1
	fieldTrainer    = 2
	fieldNormalizer = 3

	pieceText, pieceScore, pieceType = 1, 2, 3

	trainerType, trainerSuffix, trainerBegin = 3, 24, 41

	normalizerName, normalizerMap, normalizerPrefix, normalizerExtra, normalizerEscape = 1, 2, 3, 4, 5
)

const modelBPE = 2

// ParseSentencePiece reads a SentencePiece model (tokenizer.model). begin tells whether its token of that name is put
// before every text.
func ParseSentencePiece(model []byte, begin bool) (Tokenizer, error) {
	p, err := readSentencePiece(model)
	if err != nil {
		return nil, err
	}
	if !begin {
		p.begin = -1
	}
	return p.tokenizer()
}

func readSentencePiece(model []byte) (*pieces, error) {
	p := &pieces{begin: 1, prefixSpace: true, singleSpaces: true} // the format's defaults
	return p, p.read(model)
}

// tokenizer turns scores into the merges that they imply: a piece is made of any two pieces that join to it, as early as
// its score is high.
func (p *pieces) tokenizer() (*bpe, error) {
	n := len(p.pieces)
	if len(p.scores) != n || len(p.types) != n {
		return nil, fmt.Errorf("%d tokens, %d scores and %d types", n, len(p.scores), len(p.types))
	}
	t := &bpe{vocab: make(map[string]int, n), unknown: -1, fuseUnknown: true, wordSpace: true, spaceBefore: p.prefixSpace,
		unknownText: " \u2047 ", prepare: p.prepare} // as SentencePiece writes what it does not know
	var added []addedToken
	for id, text := range p.pieces {
		switch p.types[id] {
		case typeUnknown:
			t.unknown = id
		case typeControl:
			added = append(added, addedToken{ID: id, Content: text, Special: true, hidden: true})
		case typeUserDefined:
			added = append(added, addedToken{ID: id, Content: text})
		case typeNormal, typeByte:
			t.byteFallback = t.byteFallback || p.types[id] == typeByte
		default:
			return nil, fmt.Errorf("token %d, %q, is of type %d, which is not supported", id, text, p.types[id])
		}
		if _, ok := t.vocab[text]; ok {
			return nil, fmt.Errorf("token %d, %q, is there twice", id, text)
		}
		t.vocab[text] = id
	}
	if err := t.names(added); err != nil {
		return nil, err
	}
	p.learn(t)
	if p.begin >= n {
		return nil, fmt.Errorf("a text begins with token %d of %d", p.begin, n)
	}
	if p.begin >= 0 {
		t.before = []int{p.begin}
	}
	return t, nil
}

// learn makes the merges. Equal scores have equal ranks: then the leftmost pair comes first.
func (p *pieces) learn(t *bpe) {
	order := slices.Clone(p.scores)
	slices.SortFunc(order, func(a, b float32) int { return cmp.Compare(b, a) })
	order = slices.Compact(order)
	rank := make(map[float32]int, len(order))
	for i, score := range order {
		rank[score] = i
	}
	t.merges = map[pair]merge{}
	for id, text := range p.pieces {
		if p.types[id] != typeNormal {
			continue
		}
		for k := 1; k < len(text); k++ {
			left, ok := t.vocab[text[:k]]
			right, ok2 := t.vocab[text[k:]]
			if ok && ok2 && p.types[left] == typeNormal && p.types[right] == typeNormal {
				t.merges[pair{left, right}] = merge{rank[p.scores[id]], id}
			}
		}
	}
}

// prepare does to a text's spaces what the model asks for.
func (p *pieces) prepare(text string) string {
	if p.singleSpaces {
		text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == ' ' }), " ")
	}
	if text != "" && p.prefixSpace {
		text = " " + text
	}
	return strings.ReplaceAll(text, " ", wordMark)
}

// read takes a model apart, and refuses what is not known.
func (p *pieces) read(model []byte) error {
	kind := uint64(1) // the format's default: unigram
	err := eachField(model, func(number protowire.Number, _ uint64, content []byte) error {
		switch number {
		case fieldPiece:
			return p.readPiece(content)
		case fieldTrainer:
			return eachField(content, func(number protowire.Number, v uint64, _ []byte) error {
				switch number {
				case trainerType:
					kind = v
				case trainerBegin:
					p.begin = int(int32(v))
				case trainerSuffix:
					if v != 0 {
						return errors.New("treat_whitespace_as_suffix is not supported")
					}
				}
				return nil
			})
		case fieldNormalizer:
			return eachField(content, func(number protowire.Number, v uint64, content []byte) error {
				switch number {
				case normalizerMap:
					if len(content) > 0 {
						return errors.New("a model with a normalisation rule is not supported; identity is")
					}
				case normalizerPrefix:
					p.prefixSpace = v != 0
				case normalizerExtra:
					p.singleSpaces = v != 0
				case normalizerEscape:
					if v == 0 {
						return errors.New("escape_whitespaces=false is not supported")
					}
				}
				return nil
			})
		}
		return nil
	})
	if err == nil && kind != modelBPE {
		err = fmt.Errorf("a SentencePiece model of type %d (1 is unigram); BPE, which is 2, is supported", kind)
	}
	return err
}

func (p *pieces) readPiece(content []byte) error {
	text, score, kind := "", float32(0), int32(typeNormal)
	err := eachField(content, func(number protowire.Number, v uint64, content []byte) error {
		switch number {
		case pieceText:
			text = string(content)
		case pieceScore:
			score = math.Float32frombits(uint32(v))
		case pieceType:
			kind = int32(v)
		}
		return nil
	})
	p.pieces, p.scores, p.types = append(p.pieces, text), append(p.scores, score), append(p.types, kind)
	return err
}

// eachField visits the fields of a message: numbers as v, bytes as content.
func eachField(message []byte, visit func(number protowire.Number, v uint64, content []byte) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return fmt.Errorf("not a SentencePiece model: %w", protowire.ParseError(n))
		}
		message = message[n:]
		var v uint64
		var content []byte
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(message)
		case protowire.Fixed32Type:
			var v32 uint32
			v32, n = protowire.ConsumeFixed32(message)
			v = uint64(v32)
		case protowire.BytesType:
			content, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return fmt.Errorf("not a SentencePiece model: %w", protowire.ParseError(n))
		}
		message = message[n:]
		if err := visit(number, v, content); err != nil {
			return err
		}
	}
	return nil
}

// addsBegin reads whether a tokenizer_config.json wants the first token put before every text, which is the default.
func addsBegin(path string) (bool, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	var c struct {
		Add *bool `json:"add_bos_token"`
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return value(c.Add, true), nil
}

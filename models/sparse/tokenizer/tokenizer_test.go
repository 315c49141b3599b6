package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/credence-ml/credence/models/sparse/gguf"
)

// expected is what a tokenizer's own library makes of the samples (testdata/reference.py).
type expected struct {
	IDs   [][]int  `json:"ids"`
	Plain [][]int  `json:"plain"`
	Text  []string `json:"text"`
}

func references(t *testing.T) (samples []string, of map[string]expected) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "reference.json"))
	require.NoError(t, err)
	var raw map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(text, &raw))
	of = map[string]expected{}
	for name, r := range raw {
		if name == "samples" {
			require.NoError(t, json.Unmarshal(r, &samples))
			continue
		}
		var e expected
		require.NoError(t, json.Unmarshal(r, &e))
		of[name] = e
	}
	return samples, of
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return text
}

func check(t *testing.T, tok Tokenizer, samples []string, want expected) {
	t.Helper()
	for i, s := range samples {
		if strings.Contains(s, "<mask>") && strings.HasPrefix(t.Name(), "TestTokensOfReference/gguf") {
			continue // that spaces before it are dropped has no place in a GGUF file
		}
		got, err := tok.Encode(s, true)
		require.NoError(t, err)
		assert.Equal(t, append([]int{}, want.IDs[i]...), append([]int{}, got...), "%q", s)
		assert.Equal(t, want.Text[i], Decode(tok, got), "%q", s)
	}
}

func TestTokensOfReference(t *testing.T) {
	samples, of := references(t)
	for _, name := range []string{"gpt2", "llama3", "qwen2", "llama2", "metaspace"} {
		t.Run(name, func(t *testing.T) {
			tok, err := ParseJSON(read(t, name+".json"))
			require.NoError(t, err)
			check(t, tok, samples, of[name])
		})
	}
	t.Run("sentencepiece", func(t *testing.T) {
		tok, err := ParseSentencePiece(read(t, "llama2.model"), true)
		require.NoError(t, err)
		check(t, tok, samples, of["llama2.model"])
		for i, s := range samples {
			got, err := tok.Encode(s, false)
			require.NoError(t, err)
			assert.Equal(t, append([]int{}, of["llama2.model"].Plain[i]...), append([]int{}, got...), "%q", s)
		}
	})
	for name, like := range map[string]string{"llama": "llama2.model", "gpt2": "llama3"} {
		t.Run("gguf "+name, func(t *testing.T) {
			f, err := gguf.Open(filepath.Join("testdata", "vocab-"+name+".gguf"))
			require.NoError(t, err)
			defer f.Close()
			tok, err := FromGGUF(f)
			require.NoError(t, err)
			check(t, tok, samples, of[like])
		})
	}
}

func TestRefusals(t *testing.T) {
	good := func(change func(m map[string]any)) []byte {
		var m map[string]any
		require.NoError(t, json.Unmarshal(read(t, "llama3.json"), &m))
		change(m)
		text, err := json.Marshal(m)
		require.NoError(t, err)
		return text
	}
	model := func(m map[string]any) map[string]any { return m["model"].(map[string]any) }
	for want, change := range map[string]func(m map[string]any){
		"type Unigram; BPE":                      func(m map[string]any) { model(m)["type"] = "Unigram" },
		"end_of_word_suffix":                     func(m map[string]any) { model(m)["end_of_word_suffix"] = "</w>" },
		"dropout 0.1":                            func(m map[string]any) { model(m)["dropout"] = .1 },
		`pre_tokenizer: "BertPreTokenizer"`:      func(m map[string]any) { m["pre_tokenizer"] = map[string]any{"type": "BertPreTokenizer"} },
		`normalizer: "Lowercase" is not`:         func(m map[string]any) { m["normalizer"] = map[string]any{"type": "Lowercase"} },
		`post_processor: "RobertaProcessing" is`: func(m map[string]any) { m["post_processor"] = map[string]any{"type": "RobertaProcessing"} },
		"decoder: none is given":                 func(m map[string]any) { delete(m, "decoder") },
		"which are not in the vocabulary":        func(m map[string]any) { model(m)["merges"] = []any{"q zzz"} },
		`"qzzz" is not two tokens`:               func(m map[string]any) { model(m)["merges"] = []any{"qzzz"} },
		`the unknown token "?!" is not in`:       func(m map[string]any) { model(m)["unk_token"] = "?!" },
		"has the number 5000":                    func(m map[string]any) { model(m)["vocab"].(map[string]any)["!"] = 5000 },
		"has the number 7 of":                    func(m map[string]any) { model(m)["vocab"].(map[string]any)["!"] = 7 },
		`single_word is not supported`:           func(m map[string]any) { m["added_tokens"].([]any)[0].(map[string]any)["single_word"] = true },
		`Split with behavior "Removed"`:          func(m map[string]any) { m["pre_tokenizer"] = map[string]any{"type": "Split", "behavior": "Removed"} },
		"cannot unmarshal string":                func(m map[string]any) { m["added_tokens"] = "all" },
		`special token "<s>" is number 999999 of`: func(m map[string]any) {
			m["post_processor"] = json.RawMessage(`{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"ids":[999999]}}}`)
		},
	} {
		_, err := ParseJSON(good(change))
		assert.ErrorContains(t, err, want)
	}
	_, err := ParseSentencePiece([]byte("hello"), true)
	assert.ErrorContains(t, err, "not a SentencePiece model")
	_, err = ParseSentencePiece(nil, true)
	assert.ErrorContains(t, err, "type 1 (1 is unigram); BPE, which is 2, is supported")
	_, err = OpenDirectory(t.TempDir())
	assert.ErrorIs(t, err, ErrNone)
}

// A directory's tokenizer, put into a GGUF file, is the same tokenizer.
func TestGGUFKeys(t *testing.T) {
	samples, of := references(t)
	for name, like := range map[string]string{"llama3.json": "llama3", "llama2.model": "llama2.model"} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer"+filepath.Ext(name)), read(t, name), 0o666))
		keys, err := GGUFKeys(dir)
		require.NoError(t, err)
		keys = append(keys, gguf.Key{Name: keyBegin, Value: uint32(1)})
		path := filepath.Join(dir, "v.gguf")
		require.NoError(t, gguf.Write(path, keys, nil))
		f, err := gguf.Open(path)
		require.NoError(t, err)
		defer f.Close()
		tok, err := FromGGUF(f)
		require.NoError(t, err)
		check(t, tok, samples, of[like])
	}
	keys, err := GGUFKeys(t.TempDir())
	assert.NoError(t, err)
	path := filepath.Join(t.TempDir(), "v.gguf")
	require.NoError(t, gguf.Write(path, keys, nil))
	f, err := gguf.Open(path)
	require.NoError(t, err)
	defer f.Close()
	_, err = FromGGUF(f)
	assert.ErrorContains(t, err, "no tokenizer")
}

// Whatever bytes come, readers return, and what they accept takes any text.
func FuzzJSON(f *testing.F) {
	for _, name := range []string{"gpt2.json", "llama3.json", "llama2.json", "metaspace.json"} {
		f.Add(read(f, name), "it's 1,000 <s>é")
	}
	f.Fuzz(func(t *testing.T, model []byte, text string) {
		if tok, err := ParseJSON(model); err == nil {
			useTokenizer(t, tok, text)
		}
	})
}

func FuzzSentencePiece(f *testing.F) {
	f.Add(read(f, "llama2.model"), "it's 1,000 <s>é")
	f.Fuzz(func(t *testing.T, model []byte, text string) {
		if tok, err := ParseSentencePiece(model, true); err == nil {
			useTokenizer(t, tok, text)
		}
	})
}

func useTokenizer(t *testing.T, tok Tokenizer, text string) {
	ids, err := tok.Encode(text, true)
	if err != nil {
		return
	}
	for _, id := range ids {
		require.True(t, id >= 0 && id < tok.Size(), "token %d of %d", id, tok.Size())
	}
	_ = Decode(tok, append(ids, -1, tok.Size()))
}

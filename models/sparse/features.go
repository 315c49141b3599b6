package sparse

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/credence-ml/credence/models/internal/strictjson"
	"github.com/credence-ml/credence/models/sdm/dataset"
	"github.com/credence-ml/credence/models/sparse/tokenizer"
)

// Features is what SDM verifies of a text: the final hidden state at the last position, then the mean over positions,
// [2 Hidden]. The session is emptied before.
func (s *Session) Features(ctx context.Context, tokens []int, features []float32) error {
	d := s.m.Config.Hidden
	if len(features) != 2*d {
		return fmt.Errorf("room for %d features, %d are made", len(features), 2*d)
	}
	if err := s.Truncate(0); err != nil {
		return err
	}
	hidden := make([]float32, len(tokens)*d)
	if err := s.Hidden(ctx, tokens, hidden); err != nil {
		return err
	}
	copy(features, hidden[len(hidden)-d:])
	mean := make([]float64, d)
	for i, v := range hidden {
		mean[i%d] += float64(v)
	}
	for i, v := range mean {
		features[d+i] = float32(v / float64(len(tokens)))
	}
	return nil
}

// FeatureOptions steer WriteFeatures.
type FeatureOptions struct {
	Truncate bool           // cut documents that are longer than the session, instead of failing
	Progress func(done int) // called after every row; may be nil
}

// WriteFeatures reads rows with documents (JSON Lines, or an .sdmdataset) and writes them with their features as
// embeddings. The rows' other fields are kept.
func (s *Session) WriteFeatures(ctx context.Context, t tokenizer.Tokenizer, in, out string, o FeatureOptions) (err error) {
	reader, err := dataset.Open(in)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	header := *reader.Header()
	if header.Representation, err = s.m.representation(); err != nil {
		return err
	}
	return dataset.Write(out, &header, s.withFeatures(ctx, t, reader, in, o))
}

func (s *Session) withFeatures(ctx context.Context, t tokenizer.Tokenizer, reader *dataset.Reader, in string, o FeatureOptions) iter.Seq2[*dataset.Row, error] {
	return func(yield func(*dataset.Row, error) bool) {
		done := 0
		for row, err := range reader.All() {
			if err == nil {
				err = s.addFeatures(ctx, t, row, o)
			}
			if err != nil {
				yield(nil, fmt.Errorf("%s: row %d: %w", in, done+1, err))
				return
			}
			if !yield(row, nil) {
				return
			}
			if done++; o.Progress != nil {
				o.Progress(done)
			}
		}
	}
}

func (s *Session) addFeatures(ctx context.Context, t tokenizer.Tokenizer, row *dataset.Row, o FeatureOptions) error {
	if row.Document == nil {
		return fmt.Errorf("%q has no document", row.ID)
	}
	tokens, err := t.Encode(*row.Document, true)
	if err != nil {
		return err
	}
	if len(tokens) == 0 {
		return fmt.Errorf("%q: the document is empty", row.ID)
	}
	if len(tokens) > s.capacity {
		if !o.Truncate {
			return fmt.Errorf("%q: %d tokens; the session has room for %d", row.ID, len(tokens), s.capacity)
		}
		tokens = tokens[:s.capacity]
	}
	row.Embedding, row.Attributes = make([]float32, 2*s.m.Config.Hidden), nil
	return s.Features(ctx, tokens, row.Embedding)
}

// representation names the encoder, so that features of different models are not mixed up.
func (m *Model) representation() (*dataset.Representation, error) {
	fields := dataset.Fields{}
	for _, f := range [][2]string{{"provider", "credence"}, {"model", m.Config.ModelType}, {"features", "last hidden state, mean hidden state"}} {
		value, err := json.Marshal(f[1])
		if err != nil {
			return nil, err
		}
		fields = append(fields, strictjson.Field{Key: f[0], Value: value})
	}
	return &dataset.Representation{Fingerprint: m.checkpoint.Fingerprint(), Fields: fields}, nil
}

// Fingerprint tells models apart by their configuration and by every tensor's name, type, shape and first 4 KiB, so
// that a large model need not be read as a whole.
func (c *Checkpoint) Fingerprint() string {
	h := sha256.New()
	fmt.Fprintf(h, "%+v\n", c.Config.identity())
	for _, w := range c.Config.wants() {
		t, _, _ := c.find(w) // there, as Open has proved
		fmt.Fprintf(h, "%s %v %v\n", w.role, t.dtype, t.shape)
		h.Write(t.data[:min(4096, len(t.data))])
	}
	return "sparse-" + hex.EncodeToString(h.Sum(nil)[:16])
}

// identity is the configuration without where it came from.
func (c *Config) identity() Config {
	i := *c
	i.ActivationSource = ""
	return i
}

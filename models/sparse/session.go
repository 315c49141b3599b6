package sparse

import (
	"context"
	"errors"
	"fmt"

	"github.com/credence-ml/credence/ops"
	"github.com/credence-ml/credence/runtime"
)

// SessionOptions choose a session's memory.
type SessionOptions struct {
	Capacity int       // longest sequence; 0: the model's longest, or 4096 if that is longer
	Cache    CacheType // of the keys and values kept; "": F32
}

// CacheType is the storage type of kept keys and values.
type CacheType string

// The types of a cache. Half precision takes half the memory and rounds every key and value.
const (
	CacheF32  CacheType = "f32"
	CacheF16  CacheType = "f16"
	CacheBF16 CacheType = "bf16"
)

var cacheTypes = map[CacheType]ops.DType{"": ops.F32, CacheF32: ops.F32, CacheF16: ops.F16, CacheBF16: ops.BF16}

const defaultCapacity = 4096

// A Session is one sequence of tokens with the keys and values that the model keeps of it. It is not for concurrent
// use; sessions of one model run concurrently and share its weights.
type Session struct {
	m        *Model
	cache    *cache
	session  *runtime.Session
	memory   *runtime.Memory
	bindings map[pass]*bound
	capacity int
	length   int
	ids      [chunk]int32
	rows     [chunk]int32
	counts   [chunk]int32
	activity Activity
}

type bound struct {
	*runtime.Binding
	*plan
}

// NewSession makes an empty sequence.
func (m *Model) NewSession(o SessionOptions) (*Session, error) {
	dtype, ok := cacheTypes[o.Cache]
	if !ok {
		return nil, fmt.Errorf("cache type %q; f32, f16 or bf16 is needed", o.Cache)
	}
	if o.Capacity == 0 {
		o.Capacity = min(defaultCapacity, m.Config.Positions)
	}
	if o.Capacity < 1 || o.Capacity > m.Config.Positions {
		return nil, fmt.Errorf("a sequence of %d tokens; the model takes 1 to %d", o.Capacity, m.Config.Positions)
	}
	shape := cacheShape{roundUp(o.Capacity), dtype}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errors.New("the model is closed")
	}
	c, ok := m.caches[shape]
	if !ok {
		c = m.newCache(shape)
		m.caches[shape] = c
	}
	s := &Session{m: m, cache: c, bindings: map[pass]*bound{}, capacity: o.Capacity, activity: newActivity(&m.Config)}
	var err error
	if s.memory, err = m.rt.Allocate(c.segment); err != nil {
		return nil, err
	}
	if s.session, err = m.rt.NewSession(); err != nil {
		s.memory.Close()
		return nil, err
	}
	m.sessions[s] = struct{}{}
	return s, nil
}

// roundUp brings capacities to a few values, so that plans are shared.
func roundUp(n int) int {
	size := 256
	for size < n {
		size *= 2
	}
	return size
}

// Close frees the session. Closing twice does nothing.
func (s *Session) Close() {
	s.m.mu.Lock()
	delete(s.m.sessions, s)
	s.m.mu.Unlock()
	s.session.Close()
	s.memory.Close()
}

// Len is the number of tokens in the sequence.
func (s *Session) Len() int { return s.length }

// Capacity is the most tokens that the sequence can have.
func (s *Session) Capacity() int { return s.capacity }

// Truncate shortens the sequence to its first n tokens; the keys and values of these are kept.
func (s *Session) Truncate(n int) error {
	if n < 0 || n > s.length {
		return fmt.Errorf("a sequence of %d tokens cannot be shortened to %d", s.length, n)
	}
	s.length = n
	return nil
}

// Activity tells how many neurons of the feed-forward layers were active since the session was made.
func (s *Session) Activity() *Activity { return &s.activity }

// Next appends tokens and fills logits [Vocab] with those of the token after the last. When ctx ends it returns before
// the next operation, with the tokens of the chunks that were done appended.
func (s *Session) Next(ctx context.Context, tokens []int, logits []float32) error {
	if err := s.room(tokens, len(logits), s.m.Config.Vocab, "logits"); err != nil {
		return err
	}
	b, err := s.run(ctx, passNext, tokens, nil)
	if err != nil {
		return err
	}
	return b.Read(b.out, logits)
}

// Logits appends tokens and fills logits [len(tokens), Vocab]: row i is what follows token i.
func (s *Session) Logits(ctx context.Context, tokens []int, logits []float32) error {
	if err := s.room(tokens, len(logits), len(tokens)*s.m.Config.Vocab, "logits"); err != nil {
		return err
	}
	_, err := s.run(ctx, passAll, tokens, func(b *bound, at, n int) error {
		return b.Read(b.out, logits[at*s.m.Config.Vocab:(at+n)*s.m.Config.Vocab])
	})
	return err
}

// Hidden appends tokens and fills hidden [len(tokens), Hidden] with their final states, after the last norm.
func (s *Session) Hidden(ctx context.Context, tokens []int, hidden []float32) error {
	if err := s.room(tokens, len(hidden), len(tokens)*s.m.Config.Hidden, "numbers"); err != nil {
		return err
	}
	_, err := s.run(ctx, passHidden, tokens, func(b *bound, at, n int) error {
		return b.Read(b.out, hidden[at*s.m.Config.Hidden:(at+n)*s.m.Config.Hidden])
	})
	return err
}

// Losses appends tokens and fills losses [len(tokens)] with -log of the probability that the model gives the token
// labels[i] after token i, in natural units; 0 where the label is -1.
func (s *Session) Losses(ctx context.Context, tokens, labels []int, losses []float32) error {
	if err := s.room(tokens, len(losses), len(tokens), "losses"); err != nil {
		return err
	}
	if len(labels) != len(tokens) {
		return fmt.Errorf("%d labels for %d tokens", len(labels), len(tokens))
	}
	ids := make([]int32, len(labels))
	for i, l := range labels {
		if l < -1 || l >= s.m.Config.Vocab {
			return fmt.Errorf("label %d is %d, outside -1 to %d", i, l, s.m.Config.Vocab-1)
		}
		ids[i] = int32(l)
	}
	b, err := s.bind(passLoss)
	if err != nil {
		return err
	}
	for at := 0; at < len(tokens); at += chunk {
		n := min(chunk, len(tokens)-at)
		b.SetInt(b.tokens, int64(n))
		if err := b.WriteInt32(b.labels, ids[at:at+n]); err != nil {
			return err
		}
		if err := s.step(ctx, b, tokens[at:at+n]); err != nil {
			return err
		}
		if err := b.Read(b.out, losses[at:at+n]); err != nil {
			return err
		}
	}
	return nil
}

// room proves that tokens can be appended, and that a result fits where it is wanted.
func (s *Session) room(tokens []int, have, want int, what string) error {
	if len(tokens) == 0 {
		return fmt.Errorf("no tokens")
	}
	if have != want {
		return fmt.Errorf("room for %d %s, %d are made", have, what, want)
	}
	if left := s.capacity - s.length; len(tokens) > left {
		return fmt.Errorf("%d tokens after %d; the session has room for %d in all, the model for %d", len(tokens), s.length, s.capacity, s.m.Config.Positions)
	}
	for i, t := range tokens {
		if t < 0 || t >= s.m.Config.Vocab {
			return fmt.Errorf("token %d is %d, outside 0 to %d", i, t, s.m.Config.Vocab-1)
		}
	}
	return nil
}

// run feeds tokens chunk by chunk, calling after, if it is given, behind each.
func (s *Session) run(ctx context.Context, kind pass, tokens []int, after func(b *bound, at, n int) error) (*bound, error) {
	b, err := s.bind(kind)
	if err != nil {
		return nil, err
	}
	for at := 0; at < len(tokens); at += chunk {
		n := min(chunk, len(tokens)-at)
		if err := s.step(ctx, b, tokens[at:at+n]); err != nil {
			return nil, err
		}
		if after != nil {
			if err := after(b, at, n); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

// step runs one submission. Keys and values of a submission that was cut off lie beyond the sequence's end.
func (s *Session) step(ctx context.Context, b *bound, tokens []int) error {
	for i, t := range tokens {
		s.ids[i] = int32(t)
		s.rows[i] = int32(s.length + i + s.m.Config.PositionOffset)
	}
	n := len(tokens)
	b.SetInt(b.tokens, int64(n))
	b.SetInt(b.position, int64(s.length))
	if b.last != 0 {
		b.SetInt(b.last, int64(n-1))
	}
	if err := b.WriteInt32(b.ids, s.ids[:n]); err != nil {
		return err
	}
	if b.rows.Valid() {
		if err := b.WriteInt32(b.rows, s.rows[:n]); err != nil {
			return err
		}
	}
	if err := b.Run(ctx); err != nil {
		return err
	}
	s.length += n
	return s.count(b, n)
}

// count adds up what the layers' by-products say of n tokens.
func (s *Session) count(b *bound, n int) error {
	for layer, t := range b.counts {
		if err := b.ReadInt32(t, s.counts[:n]); err != nil {
			return err
		}
		s.activity.add(layer, s.counts[:n])
	}
	for layer, t := range b.reads {
		if err := b.ReadInt32(t, s.counts[:2]); err != nil {
			return err
		}
		s.activity.addRead(layer, s.counts[:2])
	}
	if len(b.counts) > 0 {
		s.activity.Tokens += int64(n)
		s.activity.Submissions++
	}
	return nil
}

func (s *Session) bind(kind pass) (*bound, error) {
	if b, ok := s.bindings[kind]; ok {
		return b, nil
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.m.closed {
		return nil, errors.New("the model is closed")
	}
	p, err := s.cache.plan(kind)
	if err != nil {
		return nil, err
	}
	b, err := s.session.Bind(p.Plan, append([]*runtime.Memory{s.memory}, s.m.memories...)...)
	if err != nil {
		return nil, err
	}
	s.bindings[kind] = &bound{b, p}
	return s.bindings[kind], nil
}

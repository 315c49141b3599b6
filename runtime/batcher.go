package runtime

import (
	"context"
	"sync"
)

// A Batcher joins single requests that arrive together into one run: while all sessions are busy, requests queue, and
// the next free session takes up to MaxBatch of them. No request waits for company.
type Batcher[Request, Result any] struct {
	scheduler *Scheduler
	maxBatch  int
	run       func(ctx context.Context, s *Session, batch []Request, results []Result) error

	mu     sync.Mutex
	queue  []*batched[Request, Result]
	active int
}

type batched[Request, Result any] struct {
	ctx     context.Context
	request Request
	result  Result
	err     error
	done    chan struct{}
}

// NewBatcher makes a batcher. run fills results[i] for batch[i]; its context ends only when the contexts of all the
// callers in the batch have ended.
func NewBatcher[Request, Result any](s *Scheduler, maxBatch int,
	run func(ctx context.Context, s *Session, batch []Request, results []Result) error) *Batcher[Request, Result] {
	return &Batcher[Request, Result]{scheduler: s, maxBatch: max(1, maxBatch), run: run}
}

// Do runs one request, in a batch with whatever else is waiting. It returns early with ctx's error when ctx ends.
func (b *Batcher[Request, Result]) Do(ctx context.Context, r Request) (Result, error) {
	var none Result
	if err := ctx.Err(); err != nil {
		return none, cancelled("batch", ctx)
	}
	// inside a session the request is run there and then: waiting for another session could be for ever
	if session, ok := ctx.Value(sessionKey{b.scheduler}).(*Session); ok {
		results := make([]Result, 1)
		err := b.run(ctx, session, []Request{r}, results)
		return results[0], err
	}
	item := &batched[Request, Result]{ctx: ctx, request: r, done: make(chan struct{})}
	b.mu.Lock()
	b.queue = append(b.queue, item)
	if b.active < b.scheduler.n {
		b.active++
		go b.drain()
	}
	b.mu.Unlock()
	select {
	case <-item.done:
		return item.result, item.err
	case <-ctx.Done():
		return none, cancelled("batch", ctx)
	}
}

// drain runs batches until nothing waits.
func (b *Batcher[Request, Result]) drain() {
	for {
		var batch []*batched[Request, Result]
		// the batch is taken when a session is there, so that it is as full as can be
		err := b.scheduler.Do(context.Background(), func(_ context.Context, s *Session) error {
			if batch = b.take(); len(batch) > 0 {
				b.runBatch(s, batch)
			}
			return nil
		})
		b.mu.Lock()
		if err != nil { // the scheduler is closed
			for _, item := range b.queue {
				item.err = err
				close(item.done)
			}
			b.queue = nil
		}
		if len(b.queue) == 0 {
			b.active--
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
	}
}

// take removes up to maxBatch requests from the queue, passing over those whose callers have gone.
func (b *Batcher[Request, Result]) take() []*batched[Request, Result] {
	b.mu.Lock()
	defer b.mu.Unlock()
	var batch []*batched[Request, Result]
	for len(b.queue) > 0 && len(batch) < b.maxBatch {
		item := b.queue[0]
		b.queue[0] = nil
		b.queue = b.queue[1:]
		if item.ctx.Err() == nil {
			batch = append(batch, item)
		} else {
			item.err = cancelled("batch", item.ctx)
			close(item.done)
		}
	}
	return batch
}

func (b *Batcher[Request, Result]) runBatch(s *Session, batch []*batched[Request, Result]) {
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), sessionKey{b.scheduler}, s))
	defer cancel()
	var mu sync.Mutex
	waiting := len(batch)
	requests, results := make([]Request, len(batch)), make([]Result, len(batch))
	for i, item := range batch {
		requests[i] = item.request
		stop := context.AfterFunc(item.ctx, func() {
			mu.Lock()
			defer mu.Unlock()
			if waiting--; waiting == 0 {
				cancel()
			}
		})
		defer stop()
	}
	err := b.run(ctx, s, requests, results)
	for i, item := range batch {
		item.result, item.err = results[i], err
		close(item.done)
	}
}

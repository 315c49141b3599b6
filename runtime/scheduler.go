package runtime

import (
	"context"
	"sync"
)

// A Scheduler shares a bounded number of sessions among any number of goroutines.
type Scheduler struct {
	rt   *Runtime
	free chan *Session
	n    int

	closing sync.Mutex // two closers must not share the sessions between them and wait for the rest
}

// NewScheduler opens n sessions; n <= 0: one per two threads of the budget, at least one, and on a GPU two: one computes
// while the other's inputs and outputs are on their way, and whoever else waits is joined to larger batches.
func (rt *Runtime) NewScheduler(n int) (*Scheduler, error) {
	switch {
	case n > 0:
	case rt.separate():
		n = 2
	default:
		n = max(1, rt.config.Threads/2)
	}
	s := &Scheduler{rt: rt, free: make(chan *Session, n), n: n}
	for range n {
		session, err := rt.NewSession()
		if err != nil {
			for len(s.free) > 0 {
				(<-s.free).Close()
			}
			return nil, err
		}
		s.free <- session
	}
	return s, nil
}

type sessionKey struct{ s *Scheduler }

// Do calls f with a session of its own, waiting for one while ctx lasts. A Do inside f with the context that f was given
// uses the same session instead of waiting for another, so that one model may call another without deadlock.
func (s *Scheduler) Do(ctx context.Context, f func(ctx context.Context, session *Session) error) error {
	if session, ok := ctx.Value(sessionKey{s}).(*Session); ok {
		return f(ctx, session)
	}
	var session *Session
	select { // without a wait if one is free
	case session = <-s.free:
	default:
		select {
		case session = <-s.free:
		case <-ctx.Done():
			return cancelled("wait for a session", ctx)
		}
	}
	if session == nil { // closed
		s.free <- nil
		return newError("scheduler", ErrClosed, "")
	}
	defer func() { s.free <- session }()
	return f(context.WithValue(ctx, sessionKey{s}, session), session)
}

// Close waits for the sessions in use and closes all. Do returns ErrClosed from then on.
func (s *Scheduler) Close() {
	s.closing.Lock()
	defer s.closing.Unlock()
	for range s.n {
		if session := <-s.free; session != nil {
			session.Close()
		}
	}
	for range s.n {
		s.free <- nil // wakes those who wait, now and later
	}
}

// Sessions is the number of sessions.
func (s *Scheduler) Sessions() int { return s.n }

package runtime

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A binding may be closed before or after its session, once or twice: its plan and memory are let go of once, and
// another session goes on with them.
func TestBindingClosedAfterItsSession(t *testing.T) {
	eachDevice(t, func(t *testing.T, device string) {
		rt := openTest(t, on(device))
		d := newDoubler()
		p, m, s, b := d.bind(t, rt)
		other, err := rt.NewSession()
		require.NoError(t, err)
		second, err := other.Bind(p, m)
		require.NoError(t, err)
		s.Close()
		b.Close()
		b.Close()
		assert.Equal(t, int64(2), p.refs.n.Load(), "the owner and the other session")
		p.Close()
		m.Close()
		_, err = d.run(second, []float32{1, 2, 3})
		assert.ErrorIs(t, err, ErrClosed)
		assert.Equal(t, int64(1), p.refs.n.Load())
		second.Close()
		assert.Zero(t, p.refs.n.Load())
		other.Close()
	})
}

// slowDevice makes opening a stream wait, and tells when it began.
type slowDevice struct {
	device
	begun, gate chan struct{}
}

func (d slowDevice) openStream() (stream, error) {
	close(d.begun)
	<-d.gate
	return d.device.openStream()
}

// What was being made when the runtime was closed is closed too.
func TestCloseWhileASessionIsMade(t *testing.T) {
	rt := openTest(t, WithDevice("go"))
	slow := slowDevice{rt.dev, make(chan struct{}), make(chan struct{})}
	rt.dev = slow
	made := make(chan *Session)
	go func() {
		s, err := rt.NewSession()
		assert.NoError(t, err)
		made <- s
	}()
	<-slow.begun
	closed := make(chan struct{})
	go func() {
		rt.Close()
		close(closed)
	}()
	for { // until the closer waits for the session
		rt.mu.Lock()
		closing := rt.closing
		rt.mu.Unlock()
		if closing {
			break
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(10 * time.Millisecond)
	close(slow.gate)
	s := <-made
	<-closed
	s.mu.Lock()
	defer s.mu.Unlock()
	assert.True(t, s.closed)
}

// Any number of goroutines may close a scheduler at once, while others use it.
func TestSchedulerClosedByManyAtOnce(t *testing.T) {
	rt := openTest(t, WithDevice("go"))
	const sessions, closers = 4, 3
	sched, err := rt.NewScheduler(sessions)
	require.NoError(t, err)
	var users, group sync.WaitGroup
	hold := make(chan struct{})
	users.Add(sessions)
	for range sessions {
		group.Go(func() {
			assert.NoError(t, sched.Do(context.Background(), func(context.Context, *Session) error {
				users.Done()
				<-hold
				return nil
			}))
		})
	}
	users.Wait()
	for range closers {
		group.Go(sched.Close)
	}
	time.Sleep(20 * time.Millisecond) // now all closers wait for sessions
	close(hold)
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("closers wait for each other")
	}
	err = sched.Do(context.Background(), func(context.Context, *Session) error { return nil })
	assert.ErrorIs(t, err, ErrClosed)
}

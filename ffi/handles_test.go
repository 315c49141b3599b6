package main

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHandleLife(t *testing.T) {
	var tab table
	value := new(int)
	h := tab.add(value)
	assert.NotZero(t, h)
	assert.Equal(t, 1, tab.live())

	got, done, err := use[*int](&tab, h)
	require.NoError(t, err)
	assert.Same(t, value, got)
	done()

	got, err = release[*int](&tab, h)
	require.NoError(t, err)
	assert.Same(t, value, got)
	assert.Zero(t, tab.live())
}

// What C may hand in: zero, noise, a handle closed before, one whose slot serves another value by now, another kind.
func TestHandlesThatAreNot(t *testing.T) {
	var tab table
	closed := tab.add(new(int))
	_, err := release[*int](&tab, closed)
	require.NoError(t, err)
	live := tab.add(new(int))
	require.Equal(t, uint32(closed), uint32(live), "the slot is used again")
	require.NotEqual(t, closed, live, "in another generation")
	other := tab.add("text")

	for _, c := range []struct {
		name   string
		handle uint64
		text   string
	}{
		{"zero", 0, "the handle is zero"},
		{"no generation", uint64(uint32(live)), "was never a handle"},
		{"generation of the future", live + 1<<32, "was never a handle"},
		{"no such slot", 1<<32 | 99, "was never a handle"},
		{"slot zero", 1 << 32, "was never a handle"},
		{"all bits", 1<<64 - 1, "was never a handle"},
		{"closed", closed, "is closed already"},
		{"another kind", other, "is a string, a *int is needed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var bad *handleError
			_, _, err := use[*int](&tab, c.handle)
			require.ErrorAs(t, err, &bad)
			assert.ErrorContains(t, err, c.text)
			_, err = release[*int](&tab, c.handle)
			require.ErrorAs(t, err, &bad)
			assert.ErrorContains(t, err, c.text)
		})
	}
	assert.Equal(t, 2, tab.live())
}

func TestHandleGenerationsRunOut(t *testing.T) {
	var tab table
	first := tab.add(new(int))
	tab.slots[0].generation = maxGeneration
	last := uint64(maxGeneration)<<32 | uint64(uint32(first))
	_, err := release[*int](&tab, last)
	require.NoError(t, err)
	_, _, err = use[*int](&tab, last)
	assert.ErrorContains(t, err, "is closed already")
	assert.NotEqual(t, uint32(first), uint32(tab.add(new(int))), "the slot is retired")
}

// A value is handed to its closer only when the last call that uses it has ended.
func TestReleaseWaitsForCalls(t *testing.T) {
	var tab table
	h := tab.add(new(int))
	_, done, err := use[*int](&tab, h)
	require.NoError(t, err)

	var ended atomic.Bool
	released := make(chan error)
	go func() {
		_, err := release[*int](&tab, h)
		if !ended.Load() {
			t.Error("released while a call was under way")
		}
		released <- err
	}()
	require.Eventually(t, func() bool {
		_, done, err := use[*int](&tab, h)
		if err == nil {
			done()
		}
		return err != nil
	}, 10*time.Second, time.Millisecond, "the handle is stale as soon as its release began")
	time.Sleep(10 * time.Millisecond)
	ended.Store(true)
	done()
	require.NoError(t, <-released)
}

// Of many threads that close one handle, one succeeds, and no user meets a closed value.
func TestHandlesConcurrently(t *testing.T) {
	var tab table
	for range 50 {
		var closed atomic.Bool
		var closes atomic.Int32
		h := tab.add(&closed)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					v, done, err := use[*atomic.Bool](&tab, h)
					if err != nil {
						return
					}
					if v.Load() {
						t.Error("a call uses a closed value")
					}
					done()
				}
			})
			wg.Go(func() {
				if v, err := release[*atomic.Bool](&tab, h); err == nil {
					v.Store(true)
					closes.Add(1)
				}
			})
		}
		wg.Wait()
		assert.EqualValues(t, 1, closes.Load())
	}
	assert.Zero(t, tab.live())
}

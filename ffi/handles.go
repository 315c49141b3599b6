package main

import (
	"fmt"
	"math"
	"sync"
)

// A table gives out numbers for Go values, so that C never holds a Go pointer and a number that was given back is
// recognised for ever: a handle is its slot's generation in the upper half and the slot's index plus one in the lower,
// and a slot's generation grows with every release. Zero is no handle.
//
// The zero table is ready. It is safe for concurrent use.
type table struct {
	mu    sync.Mutex
	slots []*slot
	free  []uint32
}

type slot struct {
	calls      sync.WaitGroup // under way with the value; grows only under table.mu while the value is there
	generation uint32         // guarded by table.mu
	value      any            // guarded by table.mu; nil: free, or waiting for its last call
}

const maxGeneration = math.MaxUint32

// A handleError is a number that is no live handle of the kind that was asked for.
type handleError struct{ text string }

func (e *handleError) Error() string { return e.text }

func handleErrorf(format string, a ...any) error { return &handleError{fmt.Sprintf(format, a...)} }

// kindOf names what a handle stands for.
func kindOf(value any) string {
	switch value.(type) {
	case *openRuntime:
		return "runtime"
	case *openModel:
		return "model"
	}
	return fmt.Sprintf("%T", value)
}

// add stores a value that is not nil and returns its handle.
func (t *table) add(value any) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.free) == 0 {
		t.slots = append(t.slots, &slot{generation: 1})
		t.free = append(t.free, uint32(len(t.slots)-1))
	}
	index := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	s := t.slots[index]
	s.value = value
	return uint64(s.generation)<<32 | uint64(index+1)
}

// find is the live slot of a handle. The table is locked.
func (t *table) find(handle uint64) (uint32, *slot, error) {
	generation, number := uint32(handle>>32), uint32(handle)
	if handle == 0 {
		return 0, nil, handleErrorf("the handle is zero; a handle comes from an open function")
	}
	if number == 0 || uint64(number) > uint64(len(t.slots)) || generation == 0 ||
		generation > t.slots[number-1].generation {
		return 0, nil, handleErrorf("%#x was never a handle", handle)
	}
	s := t.slots[number-1]
	if generation != s.generation || s.value == nil {
		return 0, nil, handleErrorf("handle %#x is closed already", handle)
	}
	return number - 1, s, nil
}

// use returns the value of a handle and a function that ends its use; until then the handle can be released but its
// value is not closed.
func use[T any](t *table, handle uint64) (T, func(), error) {
	var none T
	t.mu.Lock()
	defer t.mu.Unlock()
	_, s, err := t.find(handle)
	if err != nil {
		return none, nil, err
	}
	value, ok := s.value.(T)
	if !ok {
		return none, nil, handleErrorf("handle %#x is a %s, a %s is needed", handle, kindOf(s.value), kindOf(none))
	}
	s.calls.Add(1)
	return value, s.calls.Done, nil
}

// release makes the handle stale at once, waits for the calls that use its value, and returns the value to be closed.
func release[T any](t *table, handle uint64) (T, error) {
	var none T
	t.mu.Lock()
	index, s, err := t.find(handle)
	if err != nil {
		t.mu.Unlock()
		return none, err
	}
	value, ok := s.value.(T)
	if !ok {
		t.mu.Unlock()
		return none, handleErrorf("handle %#x is a %s, a %s is needed", handle, kindOf(s.value), kindOf(none))
	}
	s.value = nil
	t.mu.Unlock()

	s.calls.Wait()

	t.mu.Lock()
	defer t.mu.Unlock()
	if s.generation < maxGeneration { // a slot out of generations is never used again
		s.generation++
		t.free = append(t.free, index)
	}
	return value, nil
}

// those are the live handles whose values are chosen.
func (t *table) those(chosen func(value any) bool) []uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []uint64
	for i, s := range t.slots {
		if s.value != nil && chosen(s.value) {
			found = append(found, uint64(s.generation)<<32|uint64(i+1))
		}
	}
	return found
}

// live is how many handles are open.
func (t *table) live() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, s := range t.slots {
		if s.value != nil {
			n++
		}
	}
	return n
}

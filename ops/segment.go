package ops

import (
	"errors"
	"fmt"
)

// Align is the alignment of every tensor in memory, in bytes: a cache line, and the widest vector.
const Align = 64

func alignUp(n int64) int64 { return (n + Align - 1) / Align * Align }

// A Segment is a named piece of memory that outlives a submission: parameters, their gradients, optimiser moments,
// running statistics, a mapped weight file, a support set. It lists its variables with their places. Several graphs
// share a segment: what one plan writes, another reads. Memory is bound to it when a session binds the plan.
type Segment struct {
	Name string
	vars []*Var
	size int64
}

// A Var is one tensor of a segment.
type Var struct {
	Segment *Segment
	Name    string
	DType   DType
	Dims    []int64
	Offset  int64 // bytes from the start of the segment
	index   int
}

// NewSegment makes an empty segment.
func NewSegment(name string) *Segment { return &Segment{Name: name} }

// Add appends a variable. Gaps between variables (alignment) stay zero, so that a whole segment can be treated as one
// flat vector. It panics on a shape or type that cannot be, which is a mistake in the program.
func (s *Segment) Add(name string, t DType, dims ...int64) *Var {
	n := int64(1)
	for _, d := range dims {
		if d < 0 {
			panic(fmt.Sprintf("ops: variable %s.%s has a negative dimension: %v", s.Name, name, dims))
		}
		n *= d
	}
	if !t.Valid() || n%t.Block() != 0 {
		panic(fmt.Sprintf("ops: variable %s.%s: %d elements are not whole blocks of %v", s.Name, name, n, t))
	}
	v := &Var{Segment: s, Name: name, DType: t, Dims: dims, Offset: alignUp(s.size), index: len(s.vars)}
	s.size = v.Offset + t.RowBytes(n)
	s.vars = append(s.vars, v)
	return v
}

// AddAt appends a variable at a given byte offset, as in a mapped file whose layout is not ours.
func (s *Segment) AddAt(offset int64, name string, t DType, dims ...int64) (*Var, error) {
	n := int64(1)
	for _, d := range dims {
		if d < 0 || (d > 0 && n > (1<<62)/d) {
			return nil, fmt.Errorf("variable %s.%s: the size of %v overflows", s.Name, name, dims)
		}
		n *= d
	}
	if !t.Valid() {
		return nil, fmt.Errorf("variable %s.%s: unknown type %v", s.Name, name, t)
	}
	if offset < 0 || n%t.Block() != 0 {
		return nil, errors.New("variable " + s.Name + "." + name + ": bad offset or partial block")
	}
	v := &Var{Segment: s, Name: name, DType: t, Dims: dims, Offset: offset, index: len(s.vars)}
	s.size = max(s.size, offset+t.RowBytes(n))
	s.vars = append(s.vars, v)
	return v, nil
}

// Like returns a new segment with the same variables at the same places: gradients or moments of parameters.
func (s *Segment) Like(name string) *Segment {
	c := &Segment{Name: name, size: s.size}
	for _, v := range s.vars {
		w := *v
		w.Segment = c
		c.vars = append(c.vars, &w)
	}
	return c
}

// Twin is the variable of t that has the place of v in its own segment; t was made by Like.
func (v *Var) Twin(t *Segment) *Var { return t.vars[v.index] }

// Vars lists the variables in order.
func (s *Segment) Vars() []*Var { return s.vars }

// Bytes is the size of the segment, a multiple of Align.
func (s *Segment) Bytes() int64 { return alignUp(s.size) }

// Count is the number of elements of v.
func (v *Var) Count() int64 {
	n := int64(1)
	for _, d := range v.Dims {
		n *= d
	}
	return n
}

// Bytes is the size of v.
func (v *Var) Bytes() int64 { return v.DType.RowBytes(v.Count()) }

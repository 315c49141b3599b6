package data

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// NPYType is an element type of NPY files, under the name NumPy writes.
type NPYType string

// The element types that are read and written.
const (
	NPYUint8   NPYType = "|u1"
	NPYInt32   NPYType = "<i4"
	NPYInt64   NPYType = "<i8"
	NPYFloat32 NPYType = "<f4"
	NPYFloat64 NPYType = "<f8"
)

var npySizes = map[NPYType]int64{NPYUint8: 1, NPYInt32: 4, NPYInt64: 8, NPYFloat32: 4, NPYFloat64: 8}

// maxNPYHeader bounds the header's text; real ones have about a hundred bytes.
const maxNPYHeader = 65_536

const npyMagic = "\x93NUMPY"

// Array is the content of an NPY file: row-major, little-endian.
type Array struct {
	Type   NPYType
	Shape  []int
	Data   []byte
	Source string
}

// ReadNPY reads a file of format version 1.0 to 3.0 in C order with at most MaxPixels elements, which must end where
// its header says. The file may be gzipped.
func ReadNPY(path string) (*Array, error) {
	s, err := openSource(path)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.npy()
}

func (s *source) npy() (*Array, error) {
	l, err := s.npyHeader(MaxPixels)
	if err != nil {
		return nil, err
	}
	a := &Array{Type: l.kind, Shape: l.shape, Source: s.name}
	if a.Data, err = s.exactly(l.count*npySizes[l.kind], "elements"); err == nil {
		err = s.end("elements")
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// npyLayout is what an NPY file says of itself.
type npyLayout struct {
	kind          NPYType
	shape         []int
	offset, count int64 // of the elements: where they begin, and how many there are
}

// npyHeader reads up to the first element. More than limit elements are refused.
func (s *source) npyHeader(limit uint64) (l npyLayout, err error) {
	head, err := s.exactly(8, "NPY magic and version")
	if err != nil {
		return l, err
	}
	if string(head[:6]) != npyMagic {
		return l, s.expected("the NPY magic "+fmt.Sprintf("%q", npyMagic), "%q", head[:6])
	}
	lengthBytes := int64(4)
	switch {
	case head[6] < 1 || head[6] > 3 || head[7] != 0:
		return l, s.expected("NPY version 1.0, 2.0 or 3.0", "%d.%d", head[6], head[7])
	case head[6] == 1:
		lengthBytes = 2
	}
	if head, err = s.exactly(lengthBytes, "NPY header length"); err != nil {
		return l, err
	}
	length := binary.LittleEndian.Uint32(append(head, 0, 0))
	if length > maxNPYHeader {
		return l, s.expected(fmt.Sprintf("an NPY header of at most %d bytes", maxNPYHeader), "%d", length)
	}
	if head, err = s.exactly(int64(length), "NPY header"); err != nil {
		return l, err
	}
	h, err := parseNPYHeader(string(head))
	if err != nil {
		return l, s.expected("an NPY header with descr, fortran_order and shape", "%q (%v)", shorten(string(head)), err)
	}
	if _, known := npySizes[NPYType(h.descr)]; !known {
		return l, s.expected("one of the types |u1, <i4, <i8, <f4, <f8", "%q", h.descr)
	}
	if h.fortran {
		return l, s.expected("C order", "Fortran order (save numpy.ascontiguousarray(x))")
	}
	count := uint64(1)
	for _, d := range h.shape {
		high, low := bits.Mul64(count, uint64(d))
		if count = low; high != 0 || low > limit {
			return l, s.expected(fmt.Sprintf("at most %d elements", limit), "shape %v", h.shape)
		}
	}
	return npyLayout{NPYType(h.descr), h.shape, 8 + lengthBytes + int64(length), int64(count)}, nil
}

func shorten(text string) string {
	if len(text) > 80 {
		return text[:77] + "..."
	}
	return text
}

// Len is the number of elements.
func (a *Array) Len() int { return len(a.Data) / int(npySizes[a.Type]) }

// Float32s copies the elements as float32; float64 is rounded. Integers are refused.
func (a *Array) Float32s() ([]float32, error) {
	values := make([]float32, a.Len())
	switch a.Type {
	case NPYFloat32:
		for i := range values {
			values[i] = math.Float32frombits(binary.LittleEndian.Uint32(a.Data[4*i:]))
		}
	case NPYFloat64:
		for i := range values {
			values[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(a.Data[8*i:])))
		}
	default:
		return nil, a.expected("floating-point elements (<f4 or <f8)", "%s", a.Type)
	}
	return values, nil
}

// Int64s copies the elements of an array of integers.
func (a *Array) Int64s() ([]int64, error) {
	values := make([]int64, a.Len())
	switch a.Type {
	case NPYUint8:
		for i, b := range a.Data {
			values[i] = int64(b)
		}
	case NPYInt32:
		for i := range values {
			values[i] = int64(int32(binary.LittleEndian.Uint32(a.Data[4*i:])))
		}
	case NPYInt64:
		for i := range values {
			values[i] = int64(binary.LittleEndian.Uint64(a.Data[8*i:]))
		}
	default:
		return nil, a.expected("integer elements (|u1, <i4 or <i8)", "%s", a.Type)
	}
	return values, nil
}

func (a *Array) expected(what, found string, args ...any) error {
	return &FormatError{a.Source, what, fmt.Sprintf(found, args...)}
}

// images takes [N, H, W] or [N, H, W, C]: bytes from 0 to 255, or floating-point values from -1 to 1.
func (a *Array) images() (*Images, error) {
	shape := a.Shape
	if len(shape) == 3 {
		shape = append(append([]int{}, shape...), 1)
	}
	if len(shape) != 4 {
		return nil, a.expected("images [N, height, width] or [N, height, width, channels]", "shape %v", a.Shape)
	}
	s := source{name: a.Source}
	im, err := s.newImages(int64(shape[0]), int64(shape[1]), int64(shape[2]), int64(shape[3]))
	if err != nil {
		return nil, err
	}
	if a.Type == NPYUint8 {
		im.Pixels = scaleBytes(a.Data)
		return im, nil
	}
	if im.Pixels, err = a.Float32s(); err != nil {
		return nil, a.expected("bytes (|u1) from 0 to 255 or floating-point values (<f4, <f8) from -1 to 1", "%s", a.Type)
	}
	for i, v := range im.Pixels {
		if !(v >= -1 && v <= 1) {
			return nil, a.expected("pixels from -1 to 1 (or bytes from 0 to 255)", "%v in image %d", v, i/im.ImageSize())
		}
	}
	return im, nil
}

// labels takes [N] integers that are not negative.
func (a *Array) labels() ([]int32, error) {
	if len(a.Shape) != 1 {
		return nil, a.expected("labels [N]", "shape %v", a.Shape)
	}
	wide, err := a.Int64s()
	if err != nil {
		return nil, err
	}
	labels := make([]int32, len(wide))
	for i, v := range wide {
		if v < 0 || v > math.MaxInt32 {
			return nil, a.expected("labels from 0 upwards", "%d at %d", v, i)
		}
		labels[i] = int32(v)
	}
	return labels, nil
}

// vectors takes [N, D] finite floating-point values.
func (a *Array) vectors() (*Vectors, error) {
	if len(a.Shape) != 2 || a.Shape[0] < 1 || a.Shape[1] < 1 {
		return nil, a.expected("feature vectors [N, D]", "shape %v", a.Shape)
	}
	values, err := a.Float32s()
	if err != nil {
		return nil, err
	}
	for i, v := range values {
		if !finite(v) {
			return nil, a.expected("finite values", "%v in vector %d", v, i/a.Shape[1])
		}
	}
	return &Vectors{N: a.Shape[0], D: a.Shape[1], Values: values, Source: a.Source}, nil
}

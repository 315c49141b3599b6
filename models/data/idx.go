package data

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The IDX format of the MNIST files: two zero bytes, the element type (8 is a byte), the number of dimensions, then
// each dimension as a big-endian 32-bit number, then the elements.

func (s *source) idxSizes(dims int, what string) ([]int64, error) {
	magic := [4]byte{0, 0, 8, byte(dims)}
	head, err := s.exactly(4, "IDX magic")
	if err != nil {
		return nil, err
	}
	if [4]byte(head) != magic {
		return nil, s.expected(fmt.Sprintf("the IDX magic %x of %s", magic, what), "%x", head)
	}
	if head, err = s.exactly(int64(4*dims), "IDX sizes"); err != nil {
		return nil, err
	}
	sizes := make([]int64, dims)
	for i := range sizes {
		sizes[i] = int64(binary.BigEndian.Uint32(head[4*i:]))
	}
	return sizes, nil
}

func readIDXImages(path string) (*Images, error) {
	s, err := openSource(path)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.idxImages()
}

func (s *source) idxImages() (*Images, error) {
	sizes, err := s.idxSizes(3, "images")
	if err != nil {
		return nil, err
	}
	im, err := s.newImages(sizes[0], sizes[1], sizes[2], 1)
	if err != nil {
		return nil, err
	}
	bytes, err := s.exactly(sizes[0]*sizes[1]*sizes[2], "pixels")
	if err == nil {
		err = s.end("pixels")
	}
	if err != nil {
		return nil, err
	}
	im.Pixels = scaleBytes(bytes)
	return im, nil
}

// newImages checks the sizes against the limits; the pixels are still to come.
func (s *source) newImages(n, height, width, channels int64) (*Images, error) {
	if n < 1 || height < 1 || width < 1 || height > MaxSide || width > MaxSide {
		return nil, s.expected(fmt.Sprintf("one or more images of 1x1 to %dx%d pixels", MaxSide, MaxSide), "%d of %dx%d", n, height, width)
	}
	if channels != 1 && channels != 3 {
		return nil, s.expected("1 or 3 channels", "%d", channels)
	}
	if n > MaxPixels/(height*width*channels) {
		return nil, s.expected(fmt.Sprintf("at most %d values", MaxPixels), "%d images of %dx%dx%d", n, height, width, channels)
	}
	return &Images{N: int(n), Height: int(height), Width: int(width), Channels: int(channels), Source: s.name}, nil
}

func readIDXLabels(path string) ([]int32, error) {
	s, err := openSource(path)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	sizes, err := s.idxSizes(1, "labels")
	if err != nil {
		return nil, err
	}
	if sizes[0] > math.MaxInt32 {
		return nil, s.expected(fmt.Sprintf("at most %d labels", math.MaxInt32), "%d", sizes[0])
	}
	bytes, err := s.exactly(sizes[0], "labels")
	if err == nil {
		err = s.end("labels")
	}
	if err != nil {
		return nil, err
	}
	labels := make([]int32, len(bytes))
	for i, b := range bytes {
		labels[i] = int32(b)
	}
	return labels, nil
}

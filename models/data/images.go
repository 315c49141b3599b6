// Package data reads images, feature vectors and labels from the files people have (IDX, NPY, PNG), and divides and
// shuffles them reproducibly.
//
// Nothing is allocated on a header's word: memory grows with the bytes that arrive, up to stated limits. What does not
// fit its format is a *FormatError with the file, what was expected and what was found.
package data

import (
	"fmt"
	"math"
)

// Images is a set of pictures of one size, with labels where they are known.
type Images struct {
	N, Height, Width, Channels int
	Pixels                     []float32 // [N, Height, Width, Channels], from -1 (0 in a byte) to 1 (255)
	Labels                     []int32   // one per image, not negative; nil if there are none
	Names                      []string  // one per image; nil if the source has no names
	Source                     string    // the file of the pixels
}

// The limits of what the readers accept.
const (
	MaxPixels = 1 << 30 // values in all
	MaxSide   = 1 << 14 // height and width
)

// fromByte is 2x/255 - 1.
var fromByte = func() (table [256]float32) {
	for i := range table {
		table[i] = float32(2*float64(i)/255 - 1)
	}
	return table
}()

func scaleBytes(bytes []byte) []float32 {
	pixels := make([]float32, len(bytes))
	for i, b := range bytes {
		pixels[i] = fromByte[b]
	}
	return pixels
}

// ImageSize is the number of values in one image.
func (im *Images) ImageSize() int { return im.Height * im.Width * im.Channels }

// Image is the pixels of image i, in place.
func (im *Images) Image(i int) []float32 {
	n := im.ImageSize()
	return im.Pixels[i*n : (i+1)*n : (i+1)*n]
}

// Subset copies the images with these indices, in this order.
func (im *Images) Subset(indices []int) *Images {
	sub := *im
	sub.N, sub.Labels, sub.Names = len(indices), subset(im.Labels, indices), subset(im.Names, indices)
	sub.Pixels = make([]float32, 0, len(indices)*im.ImageSize())
	for _, i := range indices {
		sub.Pixels = append(sub.Pixels, im.Image(i)...)
	}
	return &sub
}

func subset[T any](all []T, indices []int) []T {
	if all == nil {
		return nil
	}
	part := make([]T, len(indices))
	for i, j := range indices {
		part[i] = all[j]
	}
	return part
}

// ClassCounts counts the labels of each of the classes 0 to classes-1. A label outside is an error.
func ClassCounts(labels []int32, classes int) ([]int, error) {
	counts := make([]int, classes)
	for i, l := range labels {
		if l < 0 || int(l) >= classes {
			return nil, fmt.Errorf("label %d of example %d is outside 0..%d", l, i, classes-1)
		}
		counts[l]++
	}
	return counts, nil
}

// Classes is the number of classes that labels speak of, which is the largest label plus one.
func Classes(labels []int32) int {
	largest := int32(-1)
	for _, l := range labels {
		largest = max(largest, l)
	}
	return int(largest) + 1
}

// Vectors is a set of feature vectors, with labels where they are known.
type Vectors struct {
	N, D   int
	Values []float32 // [N, D], finite
	Labels []int32   // one per vector, not negative; nil if there are none
	Source string
}

// FormatError says what is wrong with a file.
type FormatError struct {
	File, Expected, Found string
}

// Error is one line.
func (e *FormatError) Error() string {
	return fmt.Sprintf("%s: expected %s, found %s", e.File, e.Expected, e.Found)
}

func finite(v float32) bool { return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) }

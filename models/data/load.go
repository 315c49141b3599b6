package data

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// LoadFile reads images without labels from an IDX, NPY or PNG file, gzipped or not; the content decides which.
func LoadFile(path string) (*Images, error) {
	s, err := openSource(path)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	head, _ := s.Peek(8)
	switch {
	case string(head) == pngMagic:
		return s.png()
	case strings.HasPrefix(string(head), npyMagic):
		a, err := s.npy()
		if err != nil {
			return nil, err
		}
		return a.images()
	case strings.HasPrefix(string(head), "\x00\x00"):
		return s.idxImages()
	}
	return nil, s.expected("IDX, NPY or PNG", "a file that starts with %q", head)
}

// LoadDirectory reads the images of a split, "train" or "test", and their labels if there are any. The directory holds
// either the IDX files of MNIST and its relatives under their usual names,
//
//	train-images-idx3-ubyte  train-labels-idx1-ubyte  t10k-images-idx3-ubyte  t10k-labels-idx1-ubyte
//
// with "." or "-" before idx, plain or with .gz; or NPY files train/x.npy, train/y.npy, test/x.npy and test/y.npy; or
// one set x.npy, y.npy, which is then the answer to either split. The first of these that exists is taken.
func LoadDirectory(dir, split string) (*Images, error) {
	files, err := findSplit(dir, split, true)
	if err != nil {
		return nil, err
	}
	var im *Images
	if files.idx {
		im, err = readIDXImages(files.x)
	} else {
		var a *Array
		if a, err = ReadNPY(files.x); err == nil {
			im, err = a.images()
		}
	}
	if err != nil {
		return nil, err
	}
	im.Labels, err = files.labels(im.N)
	return im, err
}

// LoadVectors reads the feature vectors [N, D] of a split and their labels if there are any, from the NPY files that
// LoadDirectory describes.
func LoadVectors(dir, split string) (*Vectors, error) {
	files, err := findSplit(dir, split, false)
	if err != nil {
		return nil, err
	}
	a, err := ReadNPY(files.x)
	if err != nil {
		return nil, err
	}
	v, err := a.vectors()
	if err != nil {
		return nil, err
	}
	v.Labels, err = files.labels(v.N)
	return v, err
}

// splitFiles is where a split lies; y is empty if there are no labels.
type splitFiles struct {
	x, y string
	idx  bool
}

func findSplit(dir, split string, idx bool) (splitFiles, error) {
	prefix, ok := map[string]string{"train": "train", "test": "t10k"}[split]
	if !ok {
		return splitFiles{}, fmt.Errorf("split %q: want train or test", split)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return splitFiles{}, err
	}
	if idx {
		x, err := firstOf(dir, idxNames(prefix, "images", 3)...)
		if err == nil && x != "" {
			var y string
			y, err = firstOf(dir, idxNames(prefix, "labels", 1)...)
			return splitFiles{x, y, true}, err
		}
		if err != nil {
			return splitFiles{}, err
		}
	}
	for _, sub := range []string{split, "."} {
		x, err := firstOf(dir, filepath.Join(sub, "x.npy"))
		if err != nil {
			return splitFiles{}, err
		}
		if x != "" {
			y, err := firstOf(dir, filepath.Join(sub, "y.npy"))
			return splitFiles{x, y, false}, err
		}
	}
	wanted := split + "/x.npy or x.npy"
	if idx {
		wanted = prefix + "-images-idx3-ubyte[.gz], " + wanted
	}
	return splitFiles{}, &FormatError{dir, wanted, listing(entries)}
}

func listing(entries []fs.DirEntry) string {
	if len(entries) == 0 {
		return "an empty directory"
	}
	var names []string
	for _, e := range entries[:min(len(entries), 8)] {
		names = append(names, e.Name())
	}
	if len(entries) > 8 {
		names = append(names, fmt.Sprintf("and %d more", len(entries)-8))
	}
	return strings.Join(names, ", ")
}

func idxNames(prefix, kind string, dims int) (names []string) {
	for _, separator := range []string{"-", "."} {
		name := fmt.Sprintf("%s-%s%sidx%d-ubyte", prefix, kind, separator, dims)
		names = append(names, name, name+".gz")
	}
	return names
}

// firstOf is the first of the names that exists in dir, or "".
func firstOf(dir string, names ...string) (string, error) {
	for _, name := range names {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", nil
}

// labels reads the labels of n examples.
func (f splitFiles) labels(n int) (labels []int32, err error) {
	switch {
	case f.y == "":
		return nil, nil
	case f.idx:
		labels, err = readIDXLabels(f.y)
	default:
		var a *Array
		if a, err = ReadNPY(f.y); err == nil {
			labels, err = a.labels()
		}
	}
	if err == nil && len(labels) != n {
		err = &FormatError{f.y, fmt.Sprintf("%d labels, one for each example of %s", n, f.x), fmt.Sprint(len(labels))}
	}
	return labels, err
}

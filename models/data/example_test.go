package data_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/credence-ml/credence/models/data"
)

// Colour images of any size come as NPY files, here written by the package itself.
func ExampleLoadDirectory() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	var x, y bytes.Buffer
	if err := data.WriteNPY(&x, []int{2, 1, 1, 3}, []uint8{255, 0, 0, 0, 0, 255}); err != nil {
		panic(err)
	}
	if err := data.WriteNPY(&y, []int{2}, []int64{1, 0}); err != nil {
		panic(err)
	}
	os.WriteFile(filepath.Join(dir, "x.npy"), x.Bytes(), 0o666)
	os.WriteFile(filepath.Join(dir, "y.npy"), y.Bytes(), 0o666)

	images, err := data.LoadDirectory(dir, "train")
	if err != nil {
		panic(err)
	}
	fmt.Println(images.N, images.Height, images.Width, images.Channels, images.Image(0), images.Labels)
	// Output: 2 1 1 3 [1 -1 -1] [1 0]
}

func ExampleStratifiedSplit() {
	labels := []int32{0, 0, 0, 0, 1, 1, 1, 1}
	rest, held, err := data.StratifiedSplit(labels, .25, 1)
	if err != nil {
		panic(err)
	}
	fmt.Println(len(rest), "to train on,", len(held), "held out of classes", labels[held[0]], labels[held[1]])
	// Output: 6 to train on, 2 held out of classes 0 1
}

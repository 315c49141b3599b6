// Package safetensors reads and writes model files of the safetensors format: a length, a JSON header with names, types,
// shapes and offsets, then the raw little-endian data (https://github.com/huggingface/safetensors).
//
// The reader takes nothing on trust: a file it accepts has every byte of its data in exactly one tensor, whose size is
// what type and shape say. The writer publishes by rename, so a file is whole or not there.
package safetensors

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/credence-ml/credence/models/internal/mapped"
)

// FormatError says why a file is not a safetensors file, or a broken one.
type FormatError struct {
	Path   string // empty for data in memory
	Reason error
}

// Error names the file and what is wrong.
func (e *FormatError) Error() string {
	if e.Path == "" {
		return "safetensors: " + e.Reason.Error()
	}
	return e.Path + ": " + e.Reason.Error()
}

// Unwrap is the reason.
func (e *FormatError) Unwrap() error { return e.Reason }

// File is an open model file, or the files of a sharded model taken together. Its methods may be called concurrently.
type File struct {
	tensors  map[string]Tensor
	metadata map[string]string
	parts    []*mapped.File
}

// Parse reads a file that is in memory. The tensors share data's memory.
func Parse(data []byte) (*File, error) {
	tensors, metadata, err := parse(data)
	if err != nil {
		return nil, &FormatError{Reason: err}
	}
	return &File{tensors: tensors, metadata: metadata}, nil
}

// Load reads a file of at most limit bytes into memory. What is read is safe from later changes of the file.
func Load(path string, limit int64) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := mapped.RegularSize(f)
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, &FormatError{path, fmt.Errorf("%d bytes, more than the limit of %d", size, limit)}
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	tensors, metadata, err := parse(data)
	if err != nil {
		return nil, &FormatError{path, err}
	}
	return &File{tensors: tensors, metadata: metadata}, nil
}

// Open maps a file into memory, read-only, so that only what is used is read. The path may also be an index of a
// sharded model (NAME.safetensors.index.json), or a directory with a model.safetensors or its index.
//
// The tensors' Data is the mapped memory: it must not be touched after Close, and as with every mapping the process
// is at the mercy of whoever truncates the file meanwhile (replacing it by rename is harmless). Load has neither trap.
func Open(path string) (*File, error) {
	path, index, err := find(path)
	if err != nil {
		return nil, err
	}
	if index {
		return openSharded(path)
	}
	part, err := mapped.Open(path)
	if err != nil {
		return nil, err
	}
	tensors, metadata, err := parse(part.Data)
	if err != nil {
		return nil, errors.Join(&FormatError{path, err}, part.Close())
	}
	return &File{tensors: tensors, metadata: metadata, parts: []*mapped.File{part}}, nil
}

// Names are the tensors' names in ascending order.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.tensors)) }

// Tensor is the tensor of that name.
func (f *File) Tensor(name string) (Tensor, error) {
	t, ok := f.tensors[name]
	if !ok {
		return Tensor{}, fmt.Errorf("no tensor %q among %d", name, len(f.tensors))
	}
	return t, nil
}

// Metadata is the file's string map, nil if it has none; of a sharded model its index's string values.
func (f *File) Metadata() map[string]string { return f.metadata }

// Parts are the mapped files that the tensors lie in: one, or those of a sharded model; none for data in memory.
func (f *File) Parts() []*mapped.File { return f.parts }

// Close gives the mapped memory back. A second call does nothing.
func (f *File) Close() error {
	var err error
	for _, part := range f.parts {
		err = errors.Join(err, part.Close())
	}
	f.parts, f.tensors = nil, nil
	return err
}

// find completes a directory to the file in it.
func find(path string) (string, bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", false, err
	}
	if !info.IsDir() {
		return path, filepath.Ext(path) == ".json", nil
	}
	single := filepath.Join(path, "model.safetensors")
	if _, err := os.Stat(single); err == nil {
		return single, false, nil
	}
	index := single + ".index.json"
	if _, err := os.Stat(index); err == nil {
		return index, true, nil
	}
	return "", false, fmt.Errorf("%s: neither model.safetensors nor model.safetensors.index.json is there: %w", path, fs.ErrNotExist)
}

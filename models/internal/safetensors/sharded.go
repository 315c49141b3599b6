package safetensors

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"github.com/credence-ml/credence/models/internal/mapped"
)

// openSharded opens the files that an index names: {"metadata": {...}, "weight_map": {tensor: file}}. Tensors of a
// shard that the index does not name stay unseen.
func openSharded(path string) (f *File, err error) {
	weights, metadata, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	f = &File{tensors: make(map[string]Tensor, len(weights)), metadata: metadata}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
			f = nil
		}
	}()
	shards := map[string]map[string]Tensor{}
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		file := weights[name]
		shard, ok := shards[file]
		if !ok {
			// An index comes from elsewhere, and must not reach outside its directory.
			if file == "" || file == "." || file == ".." || filepath.Base(file) != file {
				return f, &FormatError{path, fmt.Errorf("tensor %q: %q is not the name of a file beside the index", name, file)}
			}
			shardPath := filepath.Join(filepath.Dir(path), file)
			part, err := mapped.Open(shardPath)
			if err != nil {
				return f, fmt.Errorf("%s: tensor %q: %w", path, name, err)
			}
			f.parts = append(f.parts, part)
			if shard, _, err = parse(part.Data); err != nil {
				return f, &FormatError{shardPath, err}
			}
			for name, t := range shard {
				t.Part = len(f.parts) - 1
				shard[name] = t
			}
			shards[file] = shard
		}
		t, ok := shard[name]
		if !ok {
			return f, &FormatError{path, fmt.Errorf("tensor %q is not in %s", name, file)}
		}
		f.tensors[name] = t
	}
	return f, nil
}

func readIndex(path string) (weights, metadata map[string]string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if size, err := mapped.RegularSize(f); err != nil {
		return nil, nil, err
	} else if size > MaxHeader {
		return nil, nil, &FormatError{path, fmt.Errorf("the index has %d bytes, at most %d are allowed", size, MaxHeader)}
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxHeader+1))
	if err != nil {
		return nil, nil, err
	}
	weights, metadata, err = parseIndex(data)
	if err != nil {
		return nil, nil, &FormatError{path, err}
	}
	return weights, metadata, nil
}

func parseIndex(data []byte) (weights, metadata map[string]string, err error) {
	if !utf8.Valid(data) {
		return nil, nil, fmt.Errorf("index: not UTF-8")
	}
	r := newHeaderReader(data)
	err = r.object(func(key string) error {
		switch key {
		case "weight_map":
			weights = map[string]string{}
			return r.object(func(name string) error {
				file, err := next[string](r)
				weights[name] = file
				return err
			})
		case "metadata":
			metadata = map[string]string{}
			return r.object(func(name string) error {
				var value json.RawMessage
				if err := r.Decode(&value); err != nil {
					return err
				}
				var text string
				if json.Unmarshal(value, &text) == nil { // numbers and the like have no place in a string map
					metadata[name] = text
				}
				return nil
			})
		}
		return fmt.Errorf("not a field of an index")
	})
	if err == nil {
		err = r.end()
	}
	if err == nil && len(weights) == 0 {
		err = fmt.Errorf("weight_map is missing or empty")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("index: %w", err)
	}
	return weights, metadata, nil
}

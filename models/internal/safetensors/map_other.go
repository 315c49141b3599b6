//go:build !unix

package safetensors

import "os"

func mapFile(path string) (data []byte, unmap func() error, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if _, err := regularSize(f); err != nil {
		return nil, nil, err
	}
	data, err = readWhole(f)
	return data, func() error { return nil }, err
}

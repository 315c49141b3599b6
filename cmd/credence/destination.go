package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// checkDestination proves that a file can be put at the path that a flag names, so that the work of hours is not lost
// to a wrong name. It leaves nothing there. An empty path is that of a flag that was not given.
func checkDestination(flag, path string) error {
	if path == "" {
		return nil
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s %s: not a regular file", flag, path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".credence-*")
	if err != nil {
		return fmt.Errorf("%s %s: %w", flag, path, err)
	}
	f.Close()
	return os.Remove(f.Name())
}

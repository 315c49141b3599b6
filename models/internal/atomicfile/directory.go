package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteDir publishes a whole directory at path: fill puts the files into a temporary sibling, which takes the path's
// place once everything is on the disk. A directory that was there is replaced as a whole, so the caller decides
// beforehand whether that may happen. If fill fails, the path stays as it was.
func WriteDir(path string, fill func(dir string) error) (err error) {
	target, old, err := resolve(path)
	if err != nil {
		return err
	}
	if old != nil && !old.IsDir() {
		return fmt.Errorf("%s is a %s and cannot be replaced by a directory", path, kind(old))
	}
	if target == filepath.Dir(target) {
		return fmt.Errorf("%s cannot be replaced", path)
	}
	removeStale(target)
	var held *os.File
	temp, err := reserve(target, func(temp string) (*os.File, error) {
		if err := os.Mkdir(temp, 0o777); err != nil {
			return nil, err
		}
		if held, err = os.Open(temp); errors.Is(err, fs.ErrNotExist) {
			return nil, errRaced
		}
		return held, err
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp), held.Close()) }()
	if old != nil {
		if err := os.Chmod(temp, old.Mode().Perm()); err != nil {
			return err
		}
	}
	if err := fill(temp); err != nil {
		return err
	}
	if err := syncTree(temp); err != nil {
		return err
	}
	if old == nil {
		err = os.Rename(temp, target)
	} else {
		err = exchange(temp, target)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(target))
}

func syncTree(root string) error {
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			return syncDir(path)
		}
		if !e.Type().IsRegular() {
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

// exchangeByRename is for systems that cannot exchange two names in one step: for a moment nothing is at target.
func exchangeByRename(temp, target string) error {
	aside := temp + "-old"
	if err := os.Rename(target, aside); err != nil {
		return err
	}
	if err := os.Rename(temp, target); err != nil {
		return errors.Join(err, os.Rename(aside, target))
	}
	return os.RemoveAll(aside)
}

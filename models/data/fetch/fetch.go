package fetch

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/credence-ml/credence/models/internal/atomicfile"
)

// ByHandError says why a data set could not be fetched and what a person can do instead.
type ByHandError struct {
	Cause  error
	Advice string
}

// Error is the cause and, on further lines, the advice.
func (e *ByHandError) Error() string { return e.Cause.Error() + "\n" + e.Advice }

// Unwrap is the cause.
func (e *ByHandError) Unwrap() error { return e.Cause }

// Fetch puts the data set's files into the directory out, which appears as a whole or not at all. It reports false if
// they were there already. A directory that holds anything else is left alone. Progress is told in lines through log.
func (d Dataset) Fetch(ctx context.Context, out string, log func(line string)) (fetched bool, err error) {
	if _, err := os.Stat(out); err == nil {
		if d.Verify(out) == nil {
			return false, nil
		}
		if err := d.checkReplaceable(out); err != nil {
			return false, err
		}
	}
	work, err := os.MkdirTemp("", "credence-data-")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	from, err := d.source.locate(ctx, work, log)
	if err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		return false, &ByHandError{fmt.Errorf("%s: %w", d.Name, err), d.advice(out)}
	}
	log("verifying")
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(out)), 0o777); err != nil {
		return false, err
	}
	return true, atomicfile.WriteDir(out, func(dir string) error {
		for _, f := range d.Files {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := copyFile(filepath.Join(dir, f.Name), filepath.Join(from, f.Name)); err != nil {
				return err
			}
			if err := f.verify(filepath.Join(dir, f.Name), filepath.Join(from, f.Name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Verify compares the files in dir with the data set's sizes and sums.
func (d Dataset) Verify(dir string) error {
	for _, f := range d.Files {
		path := filepath.Join(dir, f.Name)
		if err := f.verify(path, path); err != nil {
			return err
		}
	}
	return nil
}

// verify reads the file at path; messages speak of the file under the given name.
func (f File) verify(path, name string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		return fmt.Errorf("%s: expected a gzip stream: %w", name, err)
	}
	sum := sha256.New()
	// One byte more than expected tells too long from right, and a stream that unpacks for ever ends.
	size, err := io.Copy(sum, io.LimitReader(unpacked, f.Size+1))
	if err != nil {
		return fmt.Errorf("%s: expected %d bytes: %w after %d", name, f.Size, err, size)
	}
	if size > f.Size {
		return fmt.Errorf("%s: expected %d bytes unpacked, found more", name, f.Size)
	}
	if size < f.Size {
		return fmt.Errorf("%s: expected %d bytes unpacked, found %d", name, f.Size, size)
	}
	if found := hex.EncodeToString(sum.Sum(nil)); found != f.SHA256 {
		return fmt.Errorf("%s: expected content with SHA-256 %s, found %s", name, f.SHA256, found)
	}
	return nil
}

// checkReplaceable refuses to put anything in the place of files that are not this data set's.
func (d Dataset) checkReplaceable(out string) error {
	entries, err := os.ReadDir(out)
	if err != nil {
		return err
	}
	var foreign []string
	for _, e := range entries {
		if !e.Type().IsRegular() || !slices.ContainsFunc(d.Files, func(f File) bool { return f.Name == e.Name() }) {
			foreign = append(foreign, e.Name())
		}
	}
	if len(foreign) > 5 {
		foreign = append(foreign[:5], "...")
	}
	if foreign != nil {
		return fmt.Errorf("%s holds other files (%s): name a directory that is new or empty", out, strings.Join(foreign, ", "))
	}
	return nil
}

func (d Dataset) advice(out string) string {
	names := make([]string, len(d.Files))
	for i, f := range d.Files {
		names[i] = f.Name
	}
	return fmt.Sprintf("By hand: %s\nThe four files are %s; put them into %s, and this command verifies them.",
		d.source.byHand(), strings.Join(names, ", "), out)
}

func copyFile(to, from string) error {
	source, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is missing from the package: %w", filepath.Base(from), err)
	}
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

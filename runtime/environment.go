package runtime

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
)

// A Variable is one setting that the environment may give.
type Variable struct {
	Name    string `json:"name"`
	Default string `json:"default"`
	Values  string `json:"values"` // the legal ones, in words
	Doc     string `json:"doc"`

	parse func(c *Config, value string) error
}

// Variables lists every environment variable that the runtime reads. It reads them once, in Open.
func Variables() []Variable { return append([]Variable(nil), variables...) }

// variables is the only list of them: parsing, error texts, `credence env` and the documentation all come from here.
var variables = []Variable{
	{
		Name: "CREDENCE_DEVICE", Default: "auto", Values: deviceValues,
		Doc: "Device to run on. One name is strict: an error if it cannot be had. auto is cuda,cpu,go, and the log says " +
			"why the earlier ones were passed over; a model that the GPU cannot take, or that runs faster on the CPU by " +
			"measured speeds, goes there. With cuda,cpu speeds do not count.",
		parse: func(c *Config, v string) (err error) { c.Device, err = ParseDevice(v); return err },
	}, {
		Name: "CREDENCE_BACKEND_DIR", Default: "", Values: "absolute directories separated by " + string(filepath.ListSeparator),
		Doc:   "Where native backends and credence-probe are looked for first.",
		parse: parseBackendDirs,
	}, {
		Name: "CREDENCE_THREADS", Default: "", Values: "an integer from 1 to 1024",
		Doc: "CPU threads for all sessions together. Default: the CPUs that the affinity mask and the cgroup's quota " +
			"leave to this process.",
		parse: parseThreads,
	}, {
		Name: "CREDENCE_CPU_ISA", Default: "auto", Values: "auto, generic, avx2, avx512",
		Doc: "Instruction set of the CPU backend's own kernels, for tests and bug reports. It does not steer OpenBLAS " +
			"(see OPENBLAS_CORETYPE).",
		parse: oneOf(func(c *Config) *string { return &c.CPUISA }, "auto", "generic", "avx2", "avx512"),
	}, {
		Name: "CREDENCE_MATH", Default: "strict", Values: "strict, tf32",
		Doc: "strict: full float32 and a fixed order of reduction. tf32: GPU matrix products may round their inputs to 10 bits " +
			"after the leading one (TensorFloat-32), relative errors of 1e-3 in place of 1e-7; all else stays as it is, and " +
			"on the CPU it changes nothing.",
		parse: oneOf(func(c *Config) *string { return &c.Math }, "strict", "tf32"),
	}, {
		Name: "CREDENCE_VALIDATE", Default: "off", Values: "off, go",
		Doc:   "go: run every operation again on the pure-Go reference and compare. Slow.",
		parse: parseValidate,
	}, {
		Name: "CREDENCE_MEMORY_LIMIT", Default: "none", Values: "none, or a size such as 512MiB, 8G or 1000000",
		Doc:   "Device memory that a runtime may allocate; more is refused with an error.",
		parse: parseMemoryLimit,
	}, {
		Name: "CREDENCE_LOG", Default: "warn", Values: "error, warn, info, debug",
		Doc:   "Least level of log messages.",
		parse: parseLog,
	},
}

// find is the variable with that name, or nil.
func variable(name string) *Variable {
	for i := range variables {
		if variables[i].Name == name {
			return &variables[i]
		}
	}
	return nil
}

var errNotOneOf = errors.New("")

func oneOf(field func(*Config) *string, legal ...string) func(*Config, string) error {
	return func(c *Config, v string) error {
		for _, l := range legal {
			if v == l {
				*field(c) = v
				return nil
			}
		}
		return errNotOneOf
	}
}

func parseBackendDirs(c *Config, v string) error {
	c.BackendDirs = nil
	for _, d := range filepath.SplitList(v) {
		if d == "" {
			continue // an empty entry would mean the working directory
		}
		if !filepath.IsAbs(d) {
			return fmt.Errorf("%q is relative, and nothing is loaded from the working directory", d)
		}
		c.BackendDirs = append(c.BackendDirs, d)
	}
	return nil
}

// maxThreads is what the CPU backend takes.
const maxThreads = 1024

func parseThreads(c *Config, v string) error {
	if v == "" {
		c.Threads = cpuBudget()
		return nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > maxThreads {
		return errNotOneOf
	}
	c.Threads = n
	return nil
}

func parseValidate(c *Config, v string) error {
	var s string
	if err := oneOf(func(*Config) *string { return &s }, "off", "go")(c, v); err != nil {
		return err
	}
	c.Validate = s == "go"
	return nil
}

func parseMemoryLimit(c *Config, v string) error {
	if v == "none" {
		c.MemoryLimit = 0
		return nil
	}
	n, err := parseSize(v)
	if err != nil {
		return err
	}
	c.MemoryLimit = n
	return nil
}

// sizeUnits are powers of 1024, but for those that SI defines as powers of 1000.
var sizeUnits = map[string]int64{
	"": 1, "B": 1,
	"K": 1 << 10, "KiB": 1 << 10, "kB": 1e3, "KB": 1e3,
	"M": 1 << 20, "MiB": 1 << 20, "MB": 1e6,
	"G": 1 << 30, "GiB": 1 << 30, "GB": 1e9,
	"T": 1 << 40, "TiB": 1 << 40, "TB": 1e12,
}

// parseSize reads a positive number of bytes: "1000000", "512MiB", "8G".
func parseSize(v string) (int64, error) {
	i := 0
	for i < len(v) && v[i] >= '0' && v[i] <= '9' {
		i++
	}
	unit, ok := sizeUnits[strings.TrimSpace(v[i:])]
	n, err := strconv.ParseInt(v[:i], 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && ok && n > (1<<63-1)/unit:
		return 0, errors.New("larger than any memory")
	case err != nil || !ok || n == 0:
		return 0, errNotOneOf
	}
	return n * unit, nil
}

func parseLog(c *Config, v string) error {
	level, ok := map[string]slog.Level{"error": slog.LevelError, "warn": slog.LevelWarn, "info": slog.LevelInfo,
		"debug": slog.LevelDebug}[v]
	if !ok {
		return errNotOneOf
	}
	c.LogLevel = level
	return nil
}

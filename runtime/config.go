package runtime

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Config is what a runtime was opened with: options, then the environment, then defaults.
type Config struct {
	Device      DeviceRequest
	BackendDirs []string
	Threads     int    // CPU threads for all sessions together
	CPUISA      string // "auto", "generic", "avx2", "avx512"
	Math        string // "strict", "tf32"
	Validate    bool   // compare every operation with the reference
	MemoryLimit int64  // bytes; 0: none
	LogLevel    slog.Level
	Logger      *slog.Logger
	NoHostBLAS  bool // leave gonum's BLAS as it is
	NoGraphs    bool // run the operations of a plan one by one on a GPU

	settings map[string]Setting
	errs     []string
	faults   *Faults
}

// A Setting is a variable with the value in force.
type Setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Origin string `json:"origin"` // "option", "environment", "default"
	Values string `json:"values"`
	Doc    string `json:"doc"`
}

// The origins of a setting.
const (
	originOption      = "option"
	originEnvironment = "environment"
	originDefault     = "default"
)

// An Option sets one value, whatever the environment says.
type Option func(*Config)

// WithDevice chooses the device: see CREDENCE_DEVICE.
func WithDevice(device string) Option { return WithVariable("CREDENCE_DEVICE", device) }

// WithThreads sets how many CPU threads all sessions together may use: see CREDENCE_THREADS.
func WithThreads(n int) Option { return WithVariable("CREDENCE_THREADS", strconv.Itoa(n)) }

// WithBackendDir sets the directories where backends are looked for first: see CREDENCE_BACKEND_DIR.
func WithBackendDir(dirs ...string) Option {
	return WithVariable("CREDENCE_BACKEND_DIR", strings.Join(dirs, string(filepath.ListSeparator)))
}

// WithMath chooses "strict" or "tf32": see CREDENCE_MATH.
func WithMath(math string) Option { return WithVariable("CREDENCE_MATH", math) }

// WithMemoryLimit sets how many bytes of device memory may be allocated; 0 is no limit. See CREDENCE_MEMORY_LIMIT.
func WithMemoryLimit(bytes int64) Option {
	if bytes == 0 {
		return WithVariable("CREDENCE_MEMORY_LIMIT", "none")
	}
	return WithVariable("CREDENCE_MEMORY_LIMIT", strconv.FormatInt(bytes, 10))
}

// WithCPUISA chooses the instruction set of the CPU backend's kernels: see CREDENCE_CPU_ISA.
func WithCPUISA(isa string) Option { return WithVariable("CREDENCE_CPU_ISA", isa) }

// WithValidate compares every operation with the pure-Go reference: see CREDENCE_VALIDATE.
func WithValidate(on bool) Option {
	if on {
		return WithVariable("CREDENCE_VALIDATE", "go")
	}
	return WithVariable("CREDENCE_VALIDATE", "off")
}

// WithLog sets the least level of log messages: see CREDENCE_LOG.
func WithLog(level slog.Level) Option {
	return WithVariable("CREDENCE_LOG", strings.ToLower(level.String()))
}

// WithLogger sends log messages to l instead of slog.Default().
func WithLogger(l *slog.Logger) Option { return func(c *Config) { c.Logger = l } }

// WithoutHostBLAS leaves gonum's BLAS as it is. By default Open makes OpenBLAS serve gonum on one thread, for the whole
// process; a program that uses gonum itself may not want that.
func WithoutHostBLAS() Option { return func(c *Config) { c.NoHostBLAS = true } }

// WithoutGraphs makes a GPU run the operations of a plan one by one instead of replaying the plan as a graph. The results
// are the same bits; tests compare the two.
func WithoutGraphs() Option { return func(c *Config) { c.NoGraphs = true } }

// WithVariable sets a value by the name of its environment variable, for programs that have flags of their own. An
// unknown name is an error.
func WithVariable(name, value string) Option {
	return func(c *Config) {
		if variable(name) == nil {
			c.errs = append(c.errs, fmt.Sprintf("%s=%s (option): there is no such variable; the nearest is %s", name, value, nearest(name)))
			return
		}
		c.set(name, value, originOption)
	}
}

// NewConfig works out the configuration: what the options say, else the environment, else the defaults. A value that is
// not legal is an error that lists the legal ones; a CREDENCE_ name that means nothing is a warning.
func NewConfig(options ...Option) (Config, error) { return newConfig(os.Environ(), options...) }

func newConfig(environ []string, options ...Option) (Config, error) {
	c := Config{settings: map[string]Setting{}}
	for _, o := range options {
		o(&c)
	}
	given := map[string]string{}
	for _, pair := range environ {
		if name, value, ok := strings.Cut(pair, "="); ok && strings.HasPrefix(name, "CREDENCE_") && value != "" {
			given[name] = value
		}
	}
	for _, v := range variables {
		if _, done := c.settings[v.Name]; done {
			continue
		}
		if value, ok := given[v.Name]; ok {
			c.set(v.Name, value, originEnvironment)
		} else {
			c.set(v.Name, v.Default, originDefault)
		}
	}
	if c.errs != nil {
		return Config{}, newError("configuration", ErrInvalidArgument, strings.Join(c.errs, "; "))
	}
	c.openLog()
	c.warnUnknown(given)
	return c, nil
}

// set parses a value and remembers where it came from.
func (c *Config) set(name, value, origin string) {
	v := variable(name)
	c.settings[name] = Setting{Name: name, Value: value, Origin: origin, Values: v.Values, Doc: v.Doc}
	err := v.parse(c, value)
	if err == nil {
		return
	}
	text := fmt.Sprintf("%s=%s (%s): want %s", name, value, origin, v.Values)
	if err != errNotOneOf {
		text = fmt.Sprintf("%s=%s (%s): %v; want %s", name, value, origin, err, v.Values)
	}
	c.errs = append(c.errs, text)
}

// Origin says where the value of a variable came from: "option", "environment" or "default".
func (c *Config) Origin(name string) string { return c.settings[name].Origin }

// Settings lists every variable with its value and where that came from: what `credence env` prints.
func (c *Config) Settings() []Setting {
	var list []Setting
	for _, v := range variables {
		s := c.settings[v.Name]
		if v.Name == "CREDENCE_THREADS" {
			s.Value = strconv.Itoa(c.Threads) // the default depends on the machine
		}
		list = append(list, s)
	}
	return list
}

// levelHandler drops messages below a level. With force it passes the others on even where the handler behind it would
// not: CREDENCE_LOG=debug must show something in a program that never heard of it.
type levelHandler struct {
	slog.Handler
	level slog.Level
	force bool
}

func (h levelHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level && (h.force || h.Handler.Enabled(ctx, l))
}

func (h levelHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return levelHandler{h.Handler.WithAttrs(attrs), h.level, h.force}
}

func (h levelHandler) WithGroup(name string) slog.Handler {
	return levelHandler{h.Handler.WithGroup(name), h.level, h.force}
}

func (c *Config) openLog() {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Logger = slog.New(levelHandler{c.Logger.Handler(), c.LogLevel, c.Origin("CREDENCE_LOG") != originDefault})
}

// warnUnknown finds misspelt names: they would otherwise do nothing, silently. CREDENCE_TEST_ belongs to tests.
func (c *Config) warnUnknown(given map[string]string) {
	var unknown []string
	for name := range given {
		if variable(name) == nil && !strings.HasPrefix(name, "CREDENCE_TEST_") {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		c.Logger.Warn("unknown environment variable", "name", name, "nearest", nearest(name))
	}
}

// nearest is the variable whose name differs least.
func nearest(name string) string {
	best := variables[0].Name
	for _, v := range variables[1:] {
		if editDistance(name, v.Name) < editDistance(name, best) {
			best = v.Name
		}
	}
	return best
}

// editDistance is the least number of insertions, deletions and replacements that turn a into b (Levenshtein 1966).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

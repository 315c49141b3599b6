package runtime

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDefaults(t *testing.T) {
	c, err := newConfig(nil)
	require.NoError(t, err)
	assert.True(t, c.Device.Auto())
	assert.Equal(t, []DeviceChoice{{Backend: "cuda"}, {Backend: "cpu"}, {Backend: "go"}}, c.Device.Choices())
	assert.Empty(t, c.BackendDirs)
	assert.Equal(t, cpuBudget(), c.Threads)
	assert.Equal(t, "auto", c.CPUISA)
	assert.Equal(t, "strict", c.Math)
	assert.False(t, c.Validate)
	assert.Zero(t, c.MemoryLimit)
	assert.Equal(t, slog.LevelWarn, c.LogLevel)
	assert.False(t, c.NoHostBLAS)
	for _, v := range Variables() {
		assert.Equal(t, "default", c.Origin(v.Name), v.Name)
		assert.NotEmpty(t, v.Doc, v.Name)
		assert.NotEmpty(t, v.Values, v.Name)
	}
}

func TestOptionBeforeEnvironmentBeforeDefault(t *testing.T) {
	environ := []string{"CREDENCE_DEVICE=cuda:1,cpu", "CREDENCE_THREADS=3", "CREDENCE_MEMORY_LIMIT=2G", "CREDENCE_LOG=",
		"CREDENCE_VALIDATE=go", "CREDENCE_MATH=tf32", "CREDENCE_CPU_ISA=avx2", "CREDENCE_BACKEND_DIR=/a::/b"}
	c, err := newConfig(environ, WithThreads(5), WithValidate(false), WithMemoryLimit(0))
	require.NoError(t, err)
	origins := map[string]string{}
	for _, s := range c.Settings() {
		origins[s.Name] = s.Value + " from " + s.Origin
	}
	assert.Equal(t, map[string]string{
		"CREDENCE_DEVICE":       "cuda:1,cpu from environment",
		"CREDENCE_BACKEND_DIR":  "/a::/b from environment",
		"CREDENCE_THREADS":      "5 from option",
		"CREDENCE_CPU_ISA":      "avx2 from environment",
		"CREDENCE_MATH":         "tf32 from environment",
		"CREDENCE_VALIDATE":     "off from option",
		"CREDENCE_MEMORY_LIMIT": "none from option",
		"CREDENCE_LOG":          "warn from default",
	}, origins)
	assert.Equal(t, []DeviceChoice{{Backend: "cuda", Index: 1}, {Backend: "cpu"}}, c.Device.Choices())
	assert.Equal(t, "cuda:1,cpu", c.Device.String())
	assert.False(t, c.Device.Auto())
	assert.Equal(t, []string{"/a", "/b"}, c.BackendDirs)
	assert.Equal(t, 5, c.Threads)
	assert.False(t, c.Validate)
	assert.Zero(t, c.MemoryLimit)
	assert.Equal(t, "tf32", c.Math)

	c, err = newConfig(environ, WithDevice("go"), WithBackendDir("/x", "/y"), WithMath("strict"), WithCPUISA("generic"),
		WithMemoryLimit(123), WithValidate(true), WithLog(slog.LevelDebug), WithoutHostBLAS())
	require.NoError(t, err)
	assert.Equal(t, []DeviceChoice{{Backend: "go"}}, c.Device.Choices())
	assert.Equal(t, []string{"/x", "/y"}, c.BackendDirs)
	assert.Equal(t, "strict", c.Math)
	assert.Equal(t, "generic", c.CPUISA)
	assert.Equal(t, int64(123), c.MemoryLimit)
	assert.True(t, c.Validate)
	assert.Equal(t, slog.LevelDebug, c.LogLevel)
	assert.True(t, c.NoHostBLAS)
	assert.Equal(t, 3, c.Threads)
}

func TestWithVariable(t *testing.T) {
	c, err := newConfig(nil, WithVariable("CREDENCE_THREADS", "7"))
	require.NoError(t, err)
	assert.Equal(t, 7, c.Threads)
	_, err = newConfig(nil, WithVariable("CREDENCE_THREAD", "7"))
	assert.EqualError(t, err, "configuration: invalid argument: CREDENCE_THREAD=7 (option): there is no such variable; "+
		"the nearest is CREDENCE_THREADS")
}

func TestThreadsDefaultIsShownAsANumber(t *testing.T) {
	c, err := newConfig(nil)
	require.NoError(t, err)
	for _, s := range c.Settings() {
		if s.Name == "CREDENCE_THREADS" {
			assert.Regexp(t, `^[1-9][0-9]*$`, s.Value)
		}
	}
}

func TestBadValuesListTheLegalOnes(t *testing.T) {
	for pair, want := range map[string]string{
		"CREDENCE_DEVICE=bogus": `CREDENCE_DEVICE=bogus (environment): no backend is called "bogus"; want auto, go, cpu, cuda, ` +
			`cuda:N, cuda:GPU-uuid-prefix, or several of these (without auto) separated by commas, tried in order`,
		"CREDENCE_THREADS=0":           "CREDENCE_THREADS=0 (environment): want an integer from 1 to 1024",
		"CREDENCE_THREADS=-3":          "CREDENCE_THREADS=-3 (environment): want an integer from 1 to 1024",
		"CREDENCE_THREADS=two":         "CREDENCE_THREADS=two (environment): want an integer from 1 to 1024",
		"CREDENCE_THREADS=5000":        "CREDENCE_THREADS=5000 (environment): want an integer from 1 to 1024",
		"CREDENCE_CPU_ISA=sse2":        "CREDENCE_CPU_ISA=sse2 (environment): want auto, generic, avx2, avx512",
		"CREDENCE_MATH=fast":           "CREDENCE_MATH=fast (environment): want strict, tf32",
		"CREDENCE_VALIDATE=yes":        "CREDENCE_VALIDATE=yes (environment): want off, go",
		"CREDENCE_LOG=loud":            "CREDENCE_LOG=loud (environment): want error, warn, info, debug",
		"CREDENCE_MEMORY_LIMIT=lots":   "CREDENCE_MEMORY_LIMIT=lots (environment): want none, or a size such as 512MiB, 8G or 1000000",
		"CREDENCE_BACKEND_DIR=/a:lib":  `CREDENCE_BACKEND_DIR=/a:lib (environment): "lib" is relative, and nothing is loaded from the working directory; want absolute directories separated by :`,
		"CREDENCE_MEMORY_LIMIT=9e18":   "want none, or a size",
		"CREDENCE_MEMORY_LIMIT=8000PB": "want none, or a size",
	} {
		_, err := newConfig([]string{pair})
		assert.ErrorContains(t, err, want)
		assert.ErrorIs(t, err, ErrInvalidArgument)
	}
	_, err := newConfig([]string{"CREDENCE_THREADS=0"}, WithThreads(2))
	assert.NoError(t, err, "a value that is not used does no harm")
	_, err = newConfig(nil, WithThreads(0), WithMemoryLimit(-1))
	assert.EqualError(t, err, "configuration: invalid argument: CREDENCE_THREADS=0 (option): want an integer from 1 to 1024; "+
		"CREDENCE_MEMORY_LIMIT=-1 (option): want none, or a size such as 512MiB, 8G or 1000000", "all of them at once")
}

func TestParseDevice(t *testing.T) {
	for text, want := range map[string][]DeviceChoice{
		"go":               {{Backend: "go"}},
		"cpu":              {{Backend: "cpu"}},
		"cuda":             {{Backend: "cuda"}},
		"cuda:0":           {{Backend: "cuda"}},
		"cuda:12":          {{Backend: "cuda", Index: 12}},
		"cuda:GPU-8f1e":    {{Backend: "cuda", UUID: "GPU-8f1e"}},
		"cuda:MIG-8f1e-22": {{Backend: "cuda", UUID: "MIG-8f1e-22"}},
		"cuda:1, cpu":      {{Backend: "cuda", Index: 1}, {Backend: "cpu"}},
	} {
		r, err := ParseDevice(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, r.Choices(), text)
		for _, c := range r.Choices() {
			again, err := ParseDevice(c.String())
			require.NoError(t, err)
			assert.Equal(t, []DeviceChoice{c}, again.Choices())
		}
	}
	for text, want := range map[string]string{
		"":                   "the name of a device is empty",
		"cpu,":               "the name of a device is empty",
		"cuda,auto":          "auto stands alone",
		"auto:1":             "auto stands alone",
		"cpu:1":              "cpu has one device and takes no number",
		"CPU":                `no backend is called "CPU"`,
		"cuda:":              `"" is neither the number of a device nor the beginning of a UUID`,
		"cuda:-1":            `"-1" is neither the number of a device nor the beginning of a UUID`,
		"cuda:GPU-":          `"GPU-" is neither the number of a device nor the beginning of a UUID`,
		"cuda:GPU-xyz":       `"GPU-xyz" is neither the number of a device nor the beginning of a UUID`,
		"cuda:9999999999999": `"9999999999999" is neither the number of a device nor the beginning of a UUID`,
	} {
		_, err := ParseDevice(text)
		assert.EqualError(t, err, want, text)
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "1000000": 1e6, "10B": 10, "512MiB": 512 << 20, "8G": 8 << 30,
		"8 GiB": 8 << 30, "3GB": 3e9, "2T": 2 << 40, "1TB": 1e12, "64K": 65536, "64kB": 64000, "64KB": 64000,
		"5M": 5 << 20, "9223372036854775807": 1<<63 - 1} {
		n, err := parseSize(text)
		assert.NoError(t, err, text)
		assert.Equal(t, want, n, text)
	}
	for _, text := range []string{"", "G", "0", "0G", "-1", "1.5G", "8X", "9223372036854775808", "8388608T", "0x10", "1e3"} {
		_, err := parseSize(text)
		assert.Error(t, err, text)
	}
}

// logged collects what a configuration logs.
func logged(t *testing.T, environ []string, options ...Option) (string, Config) {
	var b bytes.Buffer
	behind := slog.New(slog.NewTextHandler(&b, nil)) // this one passes info and above
	c, err := newConfig(environ, append(options, WithLogger(behind))...)
	require.NoError(t, err)
	return b.String(), c
}

func TestUnknownNamesAreWarnedOf(t *testing.T) {
	text, _ := logged(t, []string{"CREDENCE_THREDS=2", "CREDENCE_LOGLEVEL=debug", "CREDENCE_TEST_X=1", "PATH=/bin", "odd"})
	assert.Contains(t, text, "level=WARN")
	assert.Contains(t, text, "name=CREDENCE_THREDS nearest=CREDENCE_THREADS")
	assert.Contains(t, text, "name=CREDENCE_LOGLEVEL nearest=CREDENCE_LOG")
	assert.NotContains(t, text, "CREDENCE_TEST_X")
	text, _ = logged(t, []string{"CREDENCE_THREADS=2", "CREDENCE_LOG=info"})
	assert.Empty(t, text)
}

func TestLogLevel(t *testing.T) {
	says := func(environ []string, options ...Option) string {
		var b bytes.Buffer
		c, err := newConfig(environ, append(options, WithLogger(slog.New(slog.NewTextHandler(&b, nil))))...)
		require.NoError(t, err)
		l := c.Logger.With("a", 1).WithGroup("g")
		l.Debug("D")
		l.Info("I")
		l.Warn("W")
		l.Error("E")
		var letters string
		for _, m := range []string{"D", "I", "W", "E"} {
			if bytes.Contains(b.Bytes(), []byte("msg="+m)) {
				letters += m
			}
		}
		return letters
	}
	assert.Equal(t, "WE", says(nil))
	assert.Equal(t, "DIWE", says([]string{"CREDENCE_LOG=debug"}), "even where the program's own handler drops debug")
	assert.Equal(t, "E", says([]string{"CREDENCE_LOG=debug"}, WithLog(slog.LevelError)))
	assert.Equal(t, "IWE", says([]string{"CREDENCE_LOG=info"}))
}

func TestEditDistance(t *testing.T) {
	assert.Equal(t, 3, editDistance("kitten", "sitting"))
	assert.Equal(t, 0, editDistance("abc", "abc"))
	assert.Equal(t, 3, editDistance("", "abc"))
	assert.Equal(t, 3, editDistance("abc", ""))
}

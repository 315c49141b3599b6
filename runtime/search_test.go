package runtime

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSearchOrder(t *testing.T) {
	assert.Equal(t, []string{
		"/first/x.so",
		"/second/x.so",
		"/python/site/x.so",
		"/python/site/credence/x.so",
		"/opt/bin/x.so",
		"/opt/bin/lib/x.so",
		"/opt/lib/credence/x.so",
		"/usr/lib/credence/x.so",
	}, searchFrom([]string{"/first", "/second"}, "/python/site", "/opt/bin", []string{"/usr/lib/credence"}, "x.so"))

	assert.Equal(t, []string{"/opt/bin/x.so", "/opt/bin/lib/x.so", "/opt/lib/credence/x.so"},
		searchFrom([]string{"/opt/bin"}, "/opt/bin", "/opt/bin", []string{"/opt/lib/credence"}, "x.so"), "each place once")

	assert.Empty(t, searchFrom([]string{".", "lib"}, "", "", []string{"", "build/lib"}, "x.so"),
		"nothing that depends on the working directory")
}

func TestSearchStartsWhereTheProgramIs(t *testing.T) {
	c, err := newConfig(nil)
	require.NoError(t, err)
	exe, err := os.Executable()
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	require.NoError(t, err)
	paths := searchPaths(&c, "libcredence_cpu.so")
	assert.Contains(t, paths, filepath.Join(filepath.Dir(exe), "libcredence_cpu.so"))
	for _, p := range paths {
		assert.True(t, filepath.IsAbs(p), p)
		assert.NotContains(t, p, here)
	}
}

// The version is written twice: here and for the C side.
func TestVersionIsThatOfTheBuildSystem(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "CMakeLists.txt"))
	require.NoError(t, err)
	m := regexp.MustCompile(`project\(credence VERSION ([0-9.]+)`).FindSubmatch(text)
	require.NotNil(t, m)
	assert.Equal(t, Version, string(m[1]))
	b := Build()
	assert.Equal(t, Version, b.Version)
	assert.Equal(t, "1.0", b.ABI)
	assert.NotEmpty(t, b.Go)
}

func TestCounts(t *testing.T) {
	before := Live()
	live.plans.Add(2)
	live.sessions.Add(1)
	defer func() { live.plans.Add(-2); live.sessions.Add(-1) }()
	now := Live()
	assert.Equal(t, before.Plans+2, now.Plans)
	assert.Equal(t, before.Sessions+1, now.Sessions)
	assert.NotEqual(t, before, now)
	assert.Equal(t, "1 devices, 2 buffers, 3 plans, 4 streams, 5 sessions", Counts{1, 2, 3, 4, 5}.String())
}

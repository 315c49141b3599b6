package runtime

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/credence-ml/credence/bindings"
)

// An Attempt is one place where a backend, or the helper credence-probe, was looked for.
type Attempt struct {
	Backend string `json:"backend"`
	Path    string `json:"path"`
	Reason  string `json:"reason"` // "loaded", or why not
}

// installedDirs is a path list of where backends were installed, set at link time:
//
//	-ldflags "-X github.com/credence-ml/credence/runtime.installedDirs=/usr/lib/credence"
var installedDirs string

// searchPaths lists the places of a file that belongs to the runtime, best first:
//
//	CREDENCE_BACKEND_DIR                   or WithBackendDir
//	the library that contains this code    its directory, and credence/ in it
//	the executable                         its directory, lib/ in it, and ../lib/credence
//	where it was installed                 set at link time
//
// Relative directories are left out: what the working directory holds is never loaded, for that is how libraries get
// planted.
func searchPaths(c *Config, file string) []string {
	return searchFrom(c.BackendDirs, bindings.Directory(), executableDir(), filepath.SplitList(installedDirs), file)
}

func searchFrom(configured []string, object, executable string, installed []string, file string) []string {
	dirs := slices.Clone(configured)
	if object != "" && object != executable {
		dirs = append(dirs, object, filepath.Join(object, "credence"))
	}
	if executable != "" {
		dirs = append(dirs, executable, filepath.Join(executable, "lib"), filepath.Join(executable, "..", "lib", "credence"))
	}
	dirs = append(dirs, installed...)
	var paths []string
	for _, d := range dirs {
		if path := filepath.Join(d, file); filepath.IsAbs(d) && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths
}

// executableDir is the directory of the running program, links resolved; "" where it cannot be known.
func executableDir() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return filepath.Dir(path)
}

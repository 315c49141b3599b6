// Package ci holds the repository's checks on itself.
package ci

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/credence-ml/credence"

// mayImport lists, for each room of the repository, the rooms that its packages may import besides itself.
var mayImport = map[string][]string{
	"native":   {}, // headers, a Go package only so that vendoring copies them
	"bindings": {"native"},
	"ops":      {},
	"runtime":  {"bindings", "ops"},
	"models":   {"ops", "runtime"},
	"ffi":      {"models", "runtime"},
	"cmd":      {"models", "runtime"},
	"ci":       {},
}

// onlyIn lists packages that one package alone may import.
var onlyIn = map[string]string{
	"github.com/NVIDIA/go-nvml": module + "/cmd/credence-probe", // an NVML call after a failed Init ends the process
	"gonum.org/v1/netlib":       module + "/bindings/hostblas",  // links OpenBLAS
	"github.com/spf13/cobra":    module + "/cmd/credence",
}

// cgoRooms may contain C; everywhere else a package is pure Go.
var cgoRooms = []string{"bindings", "ffi"}

// ioPackages give a package of ops hands and eyes, which it must not have.
var ioPackages = []string{"os", "os/exec", "io/fs", "io/ioutil", "net", "net/http", "syscall", "log", "log/slog", "plugin"}

// pkg is what `go list -json` tells of a package, as far as it matters here.
type pkg struct {
	ImportPath                         string
	Standard                           bool
	CgoFiles                           []string
	Imports, TestImports, XTestImports []string
}

// room is the first element of the path of one of our packages below the module's, or "".
func room(importPath string) string {
	rest, ours := strings.CutPrefix(importPath, module+"/")
	if !ours {
		return ""
	}
	first, _, _ := strings.Cut(rest, "/")
	return first
}

// within reports whether p is the package or module path tree, or lies below it.
func within(p, tree string) bool { return p == tree || strings.HasPrefix(p, tree+"/") }

// violations are the imports of our packages that break the rules.
func violations(pkgs []pkg) []string {
	var found []string
	for _, p := range pkgs {
		from := room(p.ImportPath)
		if from == "" {
			continue
		}
		allowed, known := mayImport[from]
		if !known {
			found = append(found, p.ImportPath+" is in no room of the plan")
			continue
		}
		all := slices.Concat(p.Imports, p.TestImports, p.XTestImports)
		for _, to := range all {
			if r := room(to); r != "" && r != from && !slices.Contains(allowed, r) {
				found = append(found, p.ImportPath+" imports "+to+": "+from+" may import only "+strings.Join(allowed, ", "))
			}
			for tree, owner := range onlyIn {
				if within(to, tree) && !within(p.ImportPath, owner) {
					found = append(found, p.ImportPath+" imports "+to+": only "+owner+" may")
				}
			}
			if to == "C" && !slices.Contains(cgoRooms, from) {
				found = append(found, p.ImportPath+" uses cgo: only "+strings.Join(cgoRooms, " and ")+" may")
			}
		}
		for _, to := range p.Imports {
			if from == "ops" && slices.Contains(ioPackages, to) {
				found = append(found, p.ImportPath+" imports "+to+": ops does no input or output")
			}
		}
	}
	return found
}

func repository(t *testing.T) string {
	here, err := os.Getwd()
	require.NoError(t, err)
	return filepath.Dir(here)
}

// listed are all packages of the repository and what they depend on.
func listed(t *testing.T, cgo string) []pkg {
	list := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,CgoFiles,Imports,TestImports,XTestImports", "./...")
	list.Dir = repository(t)
	list.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	var stderr bytes.Buffer
	list.Stderr = &stderr
	out, err := list.Output()
	require.NoError(t, err, "go list: %s", stderr.String())
	var pkgs []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else {
			require.NoError(t, err)
		}
		pkgs = append(pkgs, p)
	}
}

func TestImportDirection(t *testing.T) {
	for _, cgo := range []string{"1", "0"} {
		t.Run("CGO_ENABLED="+cgo, func(t *testing.T) {
			pkgs := listed(t, cgo)
			rooms := map[string]bool{}
			for _, p := range pkgs {
				rooms[room(p.ImportPath)] = true
			}
			for _, r := range []string{"bindings", "ops", "runtime", "models", "ffi", "cmd"} {
				assert.True(t, rooms[r], "%s was looked at", r)
			}
			for _, v := range violations(pkgs) {
				t.Error(v)
			}
		})
	}
}

// The rules find what they are for.
func TestViolationsAreFound(t *testing.T) {
	for _, c := range []struct {
		name string
		p    pkg
		want string // "": allowed
	}{
		{"ops imports runtime", pkg{ImportPath: module + "/ops", Imports: []string{module + "/runtime"}}, "may import only"},
		{"a test of ops imports bindings", pkg{ImportPath: module + "/ops", XTestImports: []string{module + "/bindings"}}, "may import only"},
		{"ops reads files", pkg{ImportPath: module + "/ops", Imports: []string{"os"}}, "no input or output"},
		{"a test of ops reads files", pkg{ImportPath: module + "/ops", TestImports: []string{"os"}}, ""},
		{"bindings imports ops", pkg{ImportPath: module + "/bindings", Imports: []string{module + "/ops"}}, "may import only"},
		{"runtime imports models", pkg{ImportPath: module + "/runtime", Imports: []string{module + "/models/mlp"}}, "may import only"},
		{"models import bindings", pkg{ImportPath: module + "/models/sdm", Imports: []string{module + "/bindings"}}, "may import only"},
		{"models use cgo", pkg{ImportPath: module + "/models/sdm", Imports: []string{"C"}}, "uses cgo"},
		{"ffi imports ops", pkg{ImportPath: module + "/ffi", Imports: []string{module + "/ops"}}, "may import only"},
		{"runtime talks to the driver", pkg{ImportPath: module + "/runtime/probe", Imports: []string{"github.com/NVIDIA/go-nvml/pkg/nvml"}}, "only"},
		{"the probe talks to the driver", pkg{ImportPath: module + "/cmd/credence-probe", Imports: []string{"github.com/NVIDIA/go-nvml/pkg/nvml"}}, ""},
		{"a new room", pkg{ImportPath: module + "/utils"}, "in no room"},
		{"a model", pkg{ImportPath: module + "/models/mlp", Imports: []string{module + "/ops", module + "/runtime", module + "/models/data", "os"}}, ""},
		{"somebody else's package", pkg{ImportPath: "example.org/x", Imports: []string{"C"}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := violations([]pkg{c.p})
			if c.want == "" {
				assert.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			assert.Contains(t, found[0], c.want)
		})
	}
}

// The ABI header is read by the backends and by bindings, and by nobody else.
func TestABIHeaderStaysInBindings(t *testing.T) {
	root := repository(t)
	users := map[string]bool{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(name, root+string(filepath.Separator)))
		if d.IsDir() {
			if first, _, _ := strings.Cut(rel, "/"); strings.HasPrefix(first, ".") || strings.HasPrefix(first, "build") {
				return fs.SkipDir
			}
			return nil
		}
		switch path.Ext(rel) {
		case ".go", ".c", ".h", ".cc", ".cpp", ".cu", ".cuh":
		default:
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for line := range bytes.Lines(text) {
			line = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(line), []byte("//")))
			if bytes.HasPrefix(line, []byte("#include")) && bytes.Contains(line, []byte("credence_native.h")) {
				first, _, _ := strings.Cut(rel, "/")
				users[first] = true
				if first != "native" && first != "bindings" {
					t.Errorf("%s includes credence_native.h: only bindings and native may", rel)
				}
			}
		}
		return nil
	})
	require.NoError(t, err)
	assert.True(t, users["bindings"] && users["native"], "the walk found the includes that there are: %v", users)
}

package runtime

import (
	goruntime "runtime"
	"runtime/debug"

	"github.com/credence-ml/credence/bindings"
)

// Version of the runtime. A test compares it with CMakeLists.txt.
const Version = "0.1.0"

// BuildInfo describes a build.
type BuildInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the source, where the go command recorded it
	Modified bool   `json:"modified,omitempty"` // the source had changes on top of the revision
	Go       string `json:"go"`
	System   string `json:"system"` // "linux/amd64"
	Cgo      bool   `json:"cgo"`    // without cgo only the pure-Go device can be used
	ABI      string `json:"abi"`    // of native backends
}

// Build describes this build.
func Build() BuildInfo {
	b := BuildInfo{Version: Version, Go: goruntime.Version(), System: goruntime.GOOS + "/" + goruntime.GOARCH, Cgo: bindings.Native,
		ABI: bindings.FormatABI(bindings.ABIMajor<<16 | bindings.ABIMinor)}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Revision = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	return b
}

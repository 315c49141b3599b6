package runtime

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/credence-ml/credence/runtime/probe"
)

// Health asks the NVIDIA driver about its GPUs through the helper program credence-probe, and tells where the helper
// was looked for. Whatever goes wrong with the helper means that the health is unknown; only an unusable configuration
// is an error.
func Health(ctx context.Context, options ...Option) (probe.Health, []Attempt, error) {
	c, err := NewConfig(options...)
	if err != nil {
		return probe.Health{}, nil, err
	}
	var attempts []Attempt
	for _, path := range searchPaths(&c, "credence-probe") {
		a := Attempt{Backend: "credence-probe", Path: path, Reason: "started"}
		var missing *fs.PathError
		if _, err := os.Stat(path); errors.As(err, &missing) {
			a.Reason = missing.Err.Error()
		}
		attempts = append(attempts, a)
		if a.Reason == "started" {
			return probe.Run(ctx, path), attempts, nil
		}
	}
	return probe.Unknown("the helper program credence-probe was not found"), attempts, nil
}

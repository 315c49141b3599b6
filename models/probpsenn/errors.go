package probpsenn

import (
	"fmt"

	"github.com/credence-ml/credence/runtime"
)

// An argumentError is the caller's mistake; it matches runtime.ErrInvalidArgument.
type argumentError struct{ text string }

func (e *argumentError) Error() string { return "prob-psenn: " + e.text }

func (e *argumentError) Is(target error) bool { return target == runtime.ErrInvalidArgument }

func invalidf(format string, a ...any) error { return &argumentError{fmt.Sprintf(format, a...)} }

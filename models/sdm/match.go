package sdm

import "github.com/credence-ml/credence/ops"

// What a support row stands for in a match, besides a class.
const (
	breaks  int32 = ops.ClassBreaks  // its label is not what was predicted for it
	removed int32 = ops.ClassRemoved // it is no longer there
)

// supportClass is the class of a support row in a match.
func supportClass(label, prediction int32) int32 {
	if label == prediction {
		return label
	}
	return breaks
}

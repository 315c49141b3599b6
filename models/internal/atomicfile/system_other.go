//go:build !unix

package atomicfile

import "os"

func lock(*os.File) {}

func lockStale(*os.File) bool { return false }

//go:build !unix

package mapped

import "os"

func (f *File) mapPages(*os.File, int) bool { return false }

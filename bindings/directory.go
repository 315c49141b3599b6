//go:build cgo && unix

package bindings

/*
#include "forward.h"
*/
import "C"

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Directory is the directory of the object file that contains this code: of libcredence.so inside a Python process,
// where the executable is the interpreter. It is "" where it cannot be known.
func Directory() string {
	var address C.uintptr_t
	name := C.GoString(C.crb_self(&address))
	// The kernel's own table names the file even where the program was started, or the library opened, by a relative
	// name: the dynamic linker reports that name, which may mean another file by now.
	if path := mappedFile(uint64(address)); path != "" {
		return filepath.Dir(path)
	}
	if filepath.IsAbs(name) {
		return filepath.Dir(name)
	}
	return ""
}

// mappedFile is the path of the file mapped at an address, from Linux's /proc/self/maps; "" elsewhere.
func mappedFile(address uint64) string {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// "7f5c8a000000-7f5c8a021000 r-xp 00000000 fe:01 1234    /usr/lib/libcredence.so"
		span, rest, _ := strings.Cut(lines.Text(), " ")
		lo, hi, _ := strings.Cut(span, "-")
		first, err1 := strconv.ParseUint(lo, 16, 64)
		end, err2 := strconv.ParseUint(hi, 16, 64)
		if err1 != nil || err2 != nil || address < first || address >= end {
			continue
		}
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			return strings.TrimSuffix(rest[i:], " (deleted)")
		}
		return ""
	}
	return ""
}

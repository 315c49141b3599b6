//go:build cgo && !nohostblas

package hostblas

/*
#cgo pkg-config: openblas
#include <cblas.h>
*/
import "C"

import (
	"strings"

	"gonum.org/v1/gonum/blas/blas32"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/netlib/blas/netlib"
)

func register() Info {
	C.openblas_set_num_threads(1)
	blas32.Use(netlib.Implementation{})
	blas64.Use(netlib.Implementation{})
	return Info{Native: true, Detail: strings.TrimSpace(C.GoString(C.openblas_get_config())) + ", one thread"}
}

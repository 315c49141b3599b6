// Package hostblas puts OpenBLAS under gonum, for the host's own linear algebra: calibration, covariance and Cholesky
// in float64. It links the same shared library as the native CPU backend, so that a process holds one OpenBLAS.
//
// gonum keeps its BLAS in unsynchronised package variables, so registering is an explicit call made before anybody
// multiplies, and a program that uses gonum itself may leave it out. The build tag nohostblas leaves OpenBLAS out of the
// program altogether.
package hostblas

import "sync"

// Info says which BLAS serves gonum in this process.
type Info struct {
	Native bool   // OpenBLAS rather than gonum's own Go code
	Detail string // one line for a person: version and processor, or why it is not native
}

var registered = sync.OnceValue(register)

// Register makes OpenBLAS serve gonum's blas32 and blas64, on one thread: how it splits work over threads changes the
// bits of its results, and parallelism is the runtime's own. The first call does so, later ones only report; it must
// not run while another goroutine is inside gonum.
func Register() Info { return registered() }

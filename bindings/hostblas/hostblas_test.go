package hostblas

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/blas/gonum"
	"gonum.org/v1/gonum/mat"
)

func TestRegisterReports(t *testing.T) {
	info := Register()
	t.Log(info.Detail)
	assert.NotEmpty(t, info.Detail)
	assert.Equal(t, info, Register())
	assert.Equal(t, info.Native, blas64.Implementation() != blas.Float64(gonum.Implementation{}))
	assert.Equal(t, info.Native, blas32.Implementation() != blas.Float32(gonum.Implementation{}))
}

func normal(r *rand.Rand, n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = r.NormFloat64()
	}
	return v
}

// The bound of a sum of k products is stated as in package ops: 4 sqrt(k) eps sum|a||b|.
func TestGemm(t *testing.T) {
	Register()
	const m, n, k = 37, 23, 129
	r := rand.New(rand.NewPCG(1, 2))
	a, b := normal(r, m*k), normal(r, n*k) // b is used transposed
	c := normal(r, m*n)
	want, sum := make([]float64, m*n), make([]float64, m*n)
	for i := range m {
		for j := range n {
			want[i*n+j] = 0.5 * c[i*n+j]
			sum[i*n+j] = math.Abs(want[i*n+j])
			for l := range k {
				p := 2 * a[i*k+l] * b[j*k+l]
				want[i*n+j] += p
				sum[i*n+j] += math.Abs(p)
			}
		}
	}
	c32 := blas32.General{Rows: m, Cols: n, Stride: n, Data: single(c)}
	blas64.Gemm(blas.NoTrans, blas.Trans, 2, blas64.General{Rows: m, Cols: k, Stride: k, Data: a},
		blas64.General{Rows: n, Cols: k, Stride: k, Data: b}, 0.5, blas64.General{Rows: m, Cols: n, Stride: n, Data: c})
	blas32.Gemm(blas.NoTrans, blas.Trans, 2, blas32.General{Rows: m, Cols: k, Stride: k, Data: single(a)},
		blas32.General{Rows: n, Cols: k, Stride: k, Data: single(b)}, 0.5, c32)
	for i := range want {
		bound := 4 * math.Sqrt(k) * sum[i]
		require.InDelta(t, want[i], c[i], bound*0x1p-53, "float64, element %d", i)
		require.InDelta(t, want[i], c32.Data[i], bound*0x1p-24, "float32, element %d", i)
	}
}

func single(v []float64) []float32 {
	s := make([]float32, len(v))
	for i := range v {
		s[i] = float32(v[i])
	}
	return s
}

// gonum's own LAPACK runs over the registered BLAS: L L^T must give the matrix back, and L must be the unique factor
// with a positive diagonal, whatever BLAS computed it.
func TestCholesky(t *testing.T) {
	Register()
	const n = 65
	r := rand.New(rand.NewPCG(3, 4))
	x := mat.NewDense(2*n, n, normal(r, 2*n*n))
	var gram mat.Dense
	gram.Mul(x.T(), x)
	a := mat.NewSymDense(n, nil)
	for i := range n {
		for j := i; j < n; j++ {
			a.SetSym(i, j, gram.At(i, j))
		}
	}
	var c mat.Cholesky
	require.True(t, c.Factorize(a))
	var l mat.TriDense
	c.LTo(&l)
	plain := cholesky(a)
	scale := mat.Norm(a, 2)
	for i := range n {
		for j := 0; j <= i; j++ {
			// Both factors are within n eps cond of the exact one; cond of this matrix is about 30.
			require.InDelta(t, plain[i*n+j], l.At(i, j), 30*n*0x1p-53*math.Sqrt(scale), "L[%d,%d]", i, j)
		}
	}
	var back mat.Dense
	back.Mul(&l, l.T())
	require.True(t, mat.EqualApprox(&back, a, n*0x1p-53*scale))

	a.SetSym(5, 5, -1)
	assert.False(t, c.Factorize(a), "not positive definite")
}

// cholesky is the textbook factorisation (Golub and Van Loan, Matrix Computations, 4th ed., algorithm 4.2.1).
func cholesky(a *mat.SymDense) []float64 {
	n := a.SymmetricDim()
	l := make([]float64, n*n)
	for j := range n {
		for i := j; i < n; i++ {
			s := a.At(i, j)
			for k := range j {
				s -= l[i*n+k] * l[j*n+k]
			}
			if i == j {
				l[i*n+j] = math.Sqrt(s)
			} else {
				l[i*n+j] = s / l[j*n+j]
			}
		}
	}
	return l
}

func TestOneThreadGivesTheSameBits(t *testing.T) {
	Register()
	const n = 200
	r := rand.New(rand.NewPCG(5, 6))
	a, b := mat.NewDense(n, n, normal(r, n*n)), mat.NewDense(n, n, normal(r, n*n))
	var first, again mat.Dense
	first.Mul(a, b)
	for range 5 {
		again.Reset()
		again.Mul(a, b)
		require.True(t, mat.Equal(&first, &again))
	}
}

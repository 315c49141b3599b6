/* dots.cuh: products of float32 rows with rows of stored weights. A warp makes R x M of them at once, for R rows of
 * weights and M rows of x, with its lanes along the rows.
 *
 * The order of summation is that of one product and does not know R, M or the type: lane l adds the pieces l, l + 32,
 * l + 64 ... (stored.cuh) element by element, and the lanes are then added up as a tree. So a row of the result has the
 * same bits in every batch, and a product the same bits in every op that needs it. */
#ifndef CREDENCE_CUDA_DOTS_CUH
#define CREDENCE_CUDA_DOTS_CUH

#include "stored.cuh"

enum {
  CU_WARP = 32,            /* lanes */
  CU_DOT_WARPS = 8,        /* of a block */
  CU_DOT_MOST = 8,         /* rows of x that share a reading of the weights */
  CU_DOT_LONGEST = 1 << 27 /* elements of a row, if there are several: they are found by 32-bit offsets */
};

/* Pieces of each row of weights that a lane loads before it uses the first: eight 16-byte loads for one row of x. */
template <int32_t T, int M, int R>
struct cu_dot_depth {
  static constexpr int bytes16 = R == 1 ? (M == 1 ? 8 : 4) : 2;
  static constexpr int value = T == CREDENCE_F32 && bytes16 > 1 ? bytes16 / 2 : bytes16;
};

/* A piece of M rows of x, which begin `at` elements behind x, times one of R rows of weights. */
template <int32_t T, bool VECTOR, int M, int R>
__device__ __forceinline__ void cu_dot_step(const float *x, const int32_t (&at)[M], const cu_piece<T> (&w)[R],
                                            float (&sum)[R][M]) {
  float v[R][CU_PIECE];
#pragma unroll
  for (int r = 0; r < R; r++) cu_widen_piece<T>(w[r], v[r]);
#pragma unroll
  for (int m = 0; m < M; m++) {
    float xs[CU_PIECE];
    cu_load_floats<VECTOR>(x + at[m], xs);
#pragma unroll
    for (int r = 0; r < R; r++) sum[r][m] = cu_dot_piece(xs, v[r], sum[r][m]);
  }
}

/* sum[r][m] = row r of w . row m of x, in all lanes. x: rows of k elements, one after the other, of which `rows` >= 1
 * exist; the sums beyond those are meaningless. To be called by whole warps. */
template <int32_t T, bool VECTOR, int M, int R>
__device__ __forceinline__ void cu_dot_rows(const float *x, int64_t rows, const char *const (&w)[R], int64_t k,
                                            float (&sum)[R][M]) {
  constexpr bool kOnce = M < 8; /* eight rows of x are often not all */
  constexpr int kDepth = cu_dot_depth<T, M, R>::value;
  const int64_t whole = k / CU_PIECE;
  int32_t at[M]; /* 64 bits would cost registers */
#pragma unroll
  for (int m = 0; m < M; m++) at[m] = static_cast<int32_t>((m < rows ? m : rows - 1) * k);
#pragma unroll
  for (int r = 0; r < R; r++)
#pragma unroll
    for (int m = 0; m < M; m++) sum[r][m] = 0;

  int64_t p = threadIdx.x % CU_WARP;
#pragma unroll 1
  for (; p + (kDepth - 1) * CU_WARP < whole; p += kDepth * CU_WARP) {
    cu_piece<T> pieces[kDepth][R];
#pragma unroll
    for (int u = 0; u < kDepth; u++)
#pragma unroll
      for (int r = 0; r < R; r++) pieces[u][r] = cu_load_piece<T, VECTOR, kOnce>(w[r], p + u * CU_WARP);
#pragma unroll
    for (int u = 0; u < kDepth; u++) cu_dot_step<T, VECTOR>(x + (p + u * CU_WARP) * CU_PIECE, at, pieces[u], sum);
  }
#pragma unroll 1
  for (; p < whole; p += CU_WARP) {
    cu_piece<T> pieces[R];
#pragma unroll
    for (int r = 0; r < R; r++) pieces[r] = cu_load_piece<T, VECTOR, kOnce>(w[r], p);
    cu_dot_step<T, VECTOR>(x + p * CU_PIECE, at, pieces, sum);
  }
  if (p == whole) { /* the lane whose turn it is takes what is left */
    for (int64_t e = whole * CU_PIECE; e < k; e++) {
#pragma unroll
      for (int r = 0; r < R; r++) {
        const float v = cu_element<T>(w[r], e);
#pragma unroll
        for (int m = 0; m < M; m++) sum[r][m] = fmaf(x[at[m] + e], v, sum[r][m]);
      }
    }
  }
  __syncwarp();
#pragma unroll
  for (int r = 0; r < R; r++)
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
      for (int step = CU_WARP / 2; step > 0; step /= 2) sum[r][m] += __shfl_xor_sync(0xffffffffu, sum[r][m], step);
}

/* sum[lane / M][lane % M], for lanes below R M: each finishes one product. */
template <int M, int R>
__device__ __forceinline__ float cu_dot_own(const float (&sum)[R][M]) {
  const int lane = static_cast<int>(threadIdx.x % CU_WARP);
  float own = 0;
#pragma unroll
  for (int r = 0; r < R; r++)
#pragma unroll
    for (int m = 0; m < M; m++)
      if (lane == r * M + m) own = sum[r][m];
  return own;
}

/* y [m,n] = act(x [m,k] w' [n,k] + bias). */
typedef struct cu_linear {
  const float *x;
  const char *w;
  int32_t dtype, act;
  const float *bias; /* or NULL */
  float *y;
  int64_t m, k, n;
  cu_scalar_value p;
  uint32_t *needed; /* or NULL; for m <= CU_DOT_MOST, k <= CU_DOT_LONGEST: bit n of word n / 32: column n is not 0 in
                       some row */
} cu_linear;

int32_t cu_linear_run(const cr_ctx *ctx, const cu_linear *job, credence_error *err);

#endif

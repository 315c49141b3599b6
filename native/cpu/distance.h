/* distance.h: squared Euclidean distances of a few rows to many, tile by tile, for whatever is to be made of them.
 *
 * A distance is the sum of (x_k - y_k)^2. It is never expanded into |x|^2 + |y|^2 - 2xy, whose error is that of the
 * squared lengths: at an offset of 50 in 1,000 dimensions it is larger than the distances of neighbours. The sum of
 * squares has a relative error, is 0 for equal rows and never negative, needs no centring, and makes equal distances
 * equal bits. Its price is one subtraction per term: it reaches three quarters of the multiply-add rate (86 of 115
 * GFLOP/s at D = 1000; Zen 4, AVX-512).
 *
 * The lanes of a vector run along k, so rows are read as they lie, however few there are. The order of a sum depends
 * on D and the instruction set alone: lanes of every CR_W-th term, added up as a tree, per CR_SQ_DEPTH terms. A lane
 * adds no more than CR_SQ_CHAIN terms: rounding can have a direction (differences of numbers with few bits are whole
 * multiples of one unit, and a whole number's square is 0 or 1 modulo 4), and over a long chain that would be seen. */
#ifndef CREDENCE_CPU_DISTANCE_H
#define CREDENCE_CPU_DISTANCE_H

#include "cr.h"
#include "vec.h"

/* A tile is CR_SQ_ROWS rows of x by CR_SQ_COLS rows of y; CR_SQ_DEPTH terms of both fit the L2 cache. */
enum { CR_SQ_ROWS = 64, CR_SQ_COLS = 64, CR_SQ_CHAIN = 64, CR_SQ_DEPTH = CR_SQ_CHAIN * CR_W };

/* Rows of floats; stride in bytes. */
typedef struct cr_rows {
  const char *data;
  int64_t n, stride;
} cr_rows;

static inline const float *cr_row(const cr_rows *rows, int64_t i) {
  return (const float *)(rows->data + (i < rows->n ? i : rows->n - 1) * rows->stride);
}

/* What is made of a tile: tile[i * CR_SQ_COLS + j] is the distance of row i of x to row col + j of y, for i < rows and
 * j < cols; the rest of the tile is undefined. Tiles come in order of col. */
typedef void (*cr_sq_use)(void *state, const float *tile, int64_t rows, int64_t col, int64_t cols);

/* The innermost block: CR_SQ_RX rows of x against CR_SQ_RY of y, one accumulating vector each. */
#if CR_W == 16
enum { CR_SQ_RX = 4, CR_SQ_RY = 4 };
#else
enum { CR_SQ_RX = 2, CR_SQ_RY = 4 };
#endif

typedef float cr_sq_quad __attribute__((vector_size(16), aligned(4), may_alias));

/* Neighbouring elements, then neighbouring quads, of two vectors next to each other. */
#if CR_W == 16
#define CR_SQ_PAIRS(a, b)                                                                     \
  (__builtin_shufflevector(a, b, 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30) + \
   __builtin_shufflevector(a, b, 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31))
#define CR_SQ_QUADS(a, b)                                                                    \
  (__builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) + \
   __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31))
#elif CR_W == 8
#define CR_SQ_PAIRS(a, b) \
  (__builtin_shufflevector(a, b, 0, 2, 8, 10, 4, 6, 12, 14) + __builtin_shufflevector(a, b, 1, 3, 9, 11, 5, 7, 13, 15))
#define CR_SQ_QUADS(a, b) \
  (__builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11) + __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15))
#else
#define CR_SQ_PAIRS(a, b) (__builtin_shufflevector(a, b, 0, 2, 4, 6) + __builtin_shufflevector(a, b, 1, 3, 5, 7))
#endif

#define CR_SQ_INLINE static inline __attribute__((always_inline)) /* and unrolled: rows is a constant */

/* Adds up the lanes of each accumulator: sums[r * CR_SQ_RY + c] is that of acc[r][c]. */
CR_SQ_INLINE void cr_sq_lanes(vf acc[CR_SQ_RX][CR_SQ_RY], float sums[CR_SQ_RX * CR_SQ_RY], const int rows) {
  vf row[CR_SQ_RX] = {{0}}; /* quads of one element of each column */
  for (int r = 0; r < rows; r++)
    row[r] = CR_SQ_PAIRS(CR_SQ_PAIRS(acc[r][0], acc[r][1]), CR_SQ_PAIRS(acc[r][2], acc[r][3]));
#if CR_W == 16
  vf all = CR_SQ_QUADS(CR_SQ_QUADS(row[0], row[1]), CR_SQ_QUADS(row[2], row[3]));
  memcpy(sums, &all, sizeof all);
#elif CR_W == 8
  vf all = CR_SQ_QUADS(row[0], row[1]);
  memcpy(sums, &all, sizeof all);
#else
  memcpy(sums, row, sizeof row);
#endif
}

CR_SQ_INLINE void cr_sq_step(vf acc[CR_SQ_RX][CR_SQ_RY], const vf x[CR_SQ_RX], const vf y[CR_SQ_RY], const int rows) {
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < CR_SQ_RY; c++) {
      vf t = x[r] - y[c];
      acc[r][c] = vf_fma(t, t, acc[r][c]);
    }
}

/* Terms k .. k+n-1 of the distances of rows i.. of x (CR_SQ_RX, or the only one) to rows j.. of y, into or on top of
 * tile. Rows beyond the last repeat it. */
CR_SQ_INLINE void cr_sq_block(const cr_rows *x, int64_t i, const cr_rows *y, int64_t j, int64_t k, int64_t n,
                              float *tile, const int rows) {
  const float *px[CR_SQ_RX], *py[CR_SQ_RY];
  for (int r = 0; r < rows; r++) px[r] = cr_row(x, i + r) + k;
  for (int c = 0; c < CR_SQ_RY; c++) py[c] = cr_row(y, j + c) + k;
  vf acc[CR_SQ_RX][CR_SQ_RY] = {{{0}}}, vx[CR_SQ_RX], vy[CR_SQ_RY];
  int64_t at = 0;
  for (; at + CR_W <= n; at += CR_W) {
    for (int c = 0; c < CR_SQ_RY; c++) vy[c] = vf_load(py[c] + at);
    for (int r = 0; r < rows; r++) vx[r] = vf_load(px[r] + at);
    cr_sq_step(acc, vx, vy, rows);
  }
  if (at < n) {
    for (int c = 0; c < CR_SQ_RY; c++) vy[c] = vf_load_n(py[c] + at, n - at);
    for (int r = 0; r < rows; r++) vx[r] = vf_load_n(px[r] + at, n - at);
    cr_sq_step(acc, vx, vy, rows);
  }
  float sums[CR_SQ_RX * CR_SQ_RY];
  cr_sq_lanes(acc, sums, rows);
  for (int r = 0; r < rows; r++) {
    cr_sq_quad *to = (cr_sq_quad *)(tile + r * CR_SQ_COLS), sum = *(cr_sq_quad *)(sums + r * CR_SQ_RY);
    if (k > 0) sum = *to + sum;
    *to = sum;
  }
}

/* The sum of the lanes of one accumulator, as cr_sq_lanes adds them. */
static inline float cr_sq_lane_sum(vf acc) {
  for (int n = CR_W / 2; n > 0; n /= 2)
    for (int k = 0; k < n; k++) acc[k] = acc[2 * k] + acc[2 * k + 1];
  return acc[0];
}

/* One distance, to the bit as a tile has it. */
static inline float cr_sqdist_one(const float *x, const float *y, int64_t d) {
  float sum = 0;
  for (int64_t k = 0; k < d; k += CR_SQ_DEPTH) {
    const int64_t n = d - k < CR_SQ_DEPTH ? d - k : CR_SQ_DEPTH;
    vf acc = {0};
    int64_t at = 0;
    for (; at + CR_W <= n; at += CR_W) {
      const vf t = vf_load(x + k + at) - vf_load(y + k + at);
      acc = vf_fma(t, t, acc);
    }
    if (at < n) {
      const vf t = vf_load_n(x + k + at, n - at) - vf_load_n(y + k + at, n - at);
      acc = vf_fma(t, t, acc);
    }
    const float part = cr_sq_lane_sum(acc);
    sum = k > 0 ? sum + part : part;
  }
  return sum;
}

/* Of CR_SQ_RY pairs at once, which takes little longer than of one: additions do not wait for each other. */
static inline void cr_sqdist_pairs(const float *const x[CR_SQ_RY], const float *const y[CR_SQ_RY], int64_t d,
                                   float sums[CR_SQ_RY]) {
  memset(sums, 0, sizeof(float) * CR_SQ_RY);
  for (int64_t k = 0; k < d; k += CR_SQ_DEPTH) {
    const int64_t n = d - k < CR_SQ_DEPTH ? d - k : CR_SQ_DEPTH;
    vf acc[CR_SQ_RX][CR_SQ_RY] = {{{0}}};
    int64_t at = k;
    for (; at + CR_W <= k + n; at += CR_W)
      for (int c = 0; c < CR_SQ_RY; c++) {
        const vf t = vf_load(x[c] + at) - vf_load(y[c] + at);
        acc[0][c] = vf_fma(t, t, acc[0][c]);
      }
    for (int c = 0; c < CR_SQ_RY && at < k + n; c++) {
      const vf t = vf_load_n(x[c] + at, k + n - at) - vf_load_n(y[c] + at, k + n - at);
      acc[0][c] = vf_fma(t, t, acc[0][c]);
    }
    float parts[CR_SQ_RX * CR_SQ_RY];
    cr_sq_lanes(acc, parts, 1);
    for (int c = 0; c < CR_SQ_RY; c++) sums[c] = k > 0 ? sums[c] + parts[c] : parts[c];
  }
}

/* Distances of up to CR_SQ_ROWS rows x to rows from .. to-1 of y, all of d elements, handed to use tile by tile. */
static inline int32_t cr_sqdist_scan(const cr_ctx *ctx, const cr_rows *x, const cr_rows *y, int64_t from, int64_t to,
                                     int64_t d, cr_sq_use use, void *state, credence_error *err) {
  float tile[CR_SQ_ROWS * CR_SQ_COLS] __attribute__((aligned(64)));
  if (d == 0) memset(tile, 0, sizeof tile);
  for (int64_t col = from; col < to; col += CR_SQ_COLS) {
    if (cr_cancelled(ctx)) return cr_fail(err, CREDENCE_CANCELLED, "cancelled");
    int64_t cols = to - col < CR_SQ_COLS ? to - col : CR_SQ_COLS;
    for (int64_t k = 0; k < d; k += CR_SQ_DEPTH) {
      const int64_t n = d - k < CR_SQ_DEPTH ? d - k : CR_SQ_DEPTH;
      for (int64_t j = 0; j < cols && x->n == 1; j += CR_SQ_RY) cr_sq_block(x, 0, y, col + j, k, n, tile + j, 1);
      for (int64_t j = 0; j < cols && x->n > 1; j += CR_SQ_RY)
        for (int64_t i = 0; i < x->n; i += CR_SQ_RX)
          cr_sq_block(x, i, y, col + j, k, n, tile + i * CR_SQ_COLS + j, CR_SQ_RX);
    }
    use(state, tile, x->n, col, cols);
  }
  return CREDENCE_OK;
}

#endif

/* Dot products with stored rows; see stored.h for the order of summation. One row of x is bound by the reading of the
 * weights: rows are widened in registers. Several rows of x share each widened panel. */
#include "stored.h"

enum {
  TILE_ROWS = CR_W == 16 ? 4 : 2, /* two accumulators each: 24 of 32 registers, or 12 of 16 */
  TILE_COLS = 3,
  AT_ONCE = 4 /* rows that are read at once, listed or not: a single stream is too little for the prefetchers */
};

/* Elements k .. k + depth - 1 of x rows times w rows; w is at its own first element. next, unless NULL: what is read
 * after this, and fetched meanwhile. */
CR_INLINE void dot_block(const int32_t dtype, const float *const *x, const char *const *w, const char *const *next,
                         int64_t k, int64_t depth, float *sums, const int rows, const int cols) {
  vf acc[TILE_ROWS][AT_ONCE][2] = {{{{0}}}};
  int64_t at = k;
  const int64_t end = k + depth;
  for (; at + 2 * CR_W <= end; at += 2 * CR_W) {
    if (next != NULL) CR_UNROLL for (int c = 0; c < cols; c++) cr_fetch_stored(dtype, next[c], at - k);
    CR_UNROLL for (int u = 0; u < 2; u++) {
      vf wv[AT_ONCE];
      CR_UNROLL for (int c = 0; c < cols; c++) wv[c] = cr_load_stored(dtype, w[c], at + u * CR_W);
      CR_UNROLL for (int r = 0; r < rows; r++) {
        const vf xv = vf_load(x[r] + at + u * CR_W);
        CR_UNROLL for (int c = 0; c < cols; c++) acc[r][c][u] = vf_fma(xv, wv[c], acc[r][c][u]);
      }
    }
  }
  if (at < end) {
    CR_UNROLL for (int u = 0; u < 2; u++) {
      const int64_t n = end - at - u * CR_W;
      if (n <= 0) break;
      CR_UNROLL for (int c = 0; c < cols; c++) {
        const vf wv =
            n < CR_W ? cr_load_stored_n(dtype, w[c], at + u * CR_W, n) : cr_load_stored(dtype, w[c], at + u * CR_W);
        CR_UNROLL for (int r = 0; r < rows; r++) acc[r][c][u] =
            vf_fma(cr_load_up_to(x[r] + at + u * CR_W, n), wv, acc[r][c][u]);
      }
    }
  }
  CR_UNROLL for (int r = 0; r < rows; r++) CR_UNROLL for (int c = 0; c < cols; c++) sums[r * cols + c] =
      vf_sum(acc[r][c][0] + acc[r][c][1]);
}

static int64_t row_at(const cr_dots *d, int64_t i) { return d->list != NULL ? d->list[i] : i; }

/* ---- one row of x ---- */

/* While a block is read, the rows' next one is fetched, or the first one of the rows that follow (row_at knows those
 * before end): the processor's own prefetchers begin anew with every row and every page. */
CR_INLINE void single(const int32_t dtype, const cr_dots *d, int64_t at, int64_t end, float *y, const int cols) {
  const char *w[AT_ONCE], *after[AT_ONCE], *next[AT_ONCE];
  float total[AT_ONCE] = {0};
  CR_UNROLL for (int c = 0; c < cols; c++) {
    w[c] = d->w.data + row_at(d, at + c) * d->w.stride;
    after[c] = d->w.data + row_at(d, cr_min(at + cols + c, end - 1)) * d->w.stride;
  }
  for (int64_t k = 0; k < d->k; k += CR_DOT_BLOCK) {
    float sums[AT_ONCE];
    const bool more = k + CR_DOT_BLOCK < d->k;
    CR_UNROLL for (int c = 0; c < cols; c++) next[c] = more ? cr_stored_at(dtype, w[c], k + CR_DOT_BLOCK) : after[c];
    dot_block(dtype, &d->x, w, next, k, cr_min(CR_DOT_BLOCK, d->k - k), sums, 1, cols);
    CR_UNROLL for (int c = 0; c < cols; c++) total[c] = k > 0 ? total[c] + sums[c] : sums[c];
  }
  CR_UNROLL for (int c = 0; c < cols; c++) y[c] = d->bias != NULL ? total[c] + d->bias[row_at(d, at + c)] : total[c];
}

CR_INLINE void singles(const int32_t dtype, const cr_dots *d, int64_t from, int64_t to) {
  float *y = d->y;
  const int64_t end = cr_max(to, d->listed);
  for (; from + AT_ONCE <= to; from += AT_ONCE, y += AT_ONCE) single(dtype, d, from, end, y, AT_ONCE);
  for (; from < to; from++, y++) single(dtype, d, from, end, y, 1);
}

/* ---- several ---- */

CR_INLINE void widen(const int32_t dtype, const char *row, int64_t k, int64_t depth, float *to) {
  int64_t j = 0;
  for (; j + CR_W <= depth; j += CR_W) vf_store(to + j, cr_load_stored(dtype, row, k + j));
  if (j < depth) vf_store(to + j, cr_load_stored_n(dtype, row, k + j, depth - j));
}

static void widen_row(const cr_stored *w, int64_t row, int64_t k, int64_t depth, float *to) {
  const char *from = w->data + row * w->stride;
#define WIDEN(dtype) widen(dtype, from, k, depth, to)
  CR_STORED_SWITCH(w->dtype, WIDEN)
}

static void tile(const float *const *x, const char *const *w, int64_t depth, float *sums, int64_t rows) {
  switch (rows) {
    case 1:
      dot_block(CREDENCE_F32, x, w, NULL, 0, depth, sums, 1, TILE_COLS);
      return;
    case 2:
      dot_block(CREDENCE_F32, x, w, NULL, 0, depth, sums, 2, TILE_COLS);
      return;
#if CR_W == 16
    case 3:
      dot_block(CREDENCE_F32, x, w, NULL, 0, depth, sums, 3, TILE_COLS);
      return;
    case 4:
      dot_block(CREDENCE_F32, x, w, NULL, 0, depth, sums, 4, TILE_COLS);
      return;
#endif
    default:
      return;
  }
}

/* A block of K of the n listed rows from at on, whose results begin at column p. */
static void panel(const cr_dots *d, int64_t at, int64_t p, int64_t n, int64_t k, float *scratch) {
  const int64_t depth = cr_min(CR_DOT_BLOCK, d->k - k);
  const bool last = k + depth == d->k;
  for (int64_t c = 0; c < n; c++) widen_row(&d->w, row_at(d, at + c), k, depth, scratch + c * CR_DOT_PANEL_STRIDE);
  for (int64_t i = 0; i < d->m; i += TILE_ROWS) {
    const int64_t rows = cr_min(TILE_ROWS, d->m - i);
    const float *x[TILE_ROWS];
    for (int64_t r = 0; r < rows; r++) x[r] = d->x + (i + r) * d->x_stride + k;
    for (int64_t c = 0; c < n; c += TILE_COLS) {
      const char *w[TILE_COLS];
      float sums[TILE_ROWS * TILE_COLS];
      for (int64_t j = 0; j < TILE_COLS; j++) /* the last ones again, where fewer are left */
        w[j] = (const char *)(scratch + cr_min(c + j, n - 1) * CR_DOT_PANEL_STRIDE);
      tile(x, w, depth, sums, rows);
      for (int64_t j = 0; j < cr_min(TILE_COLS, n - c); j++) {
        for (int64_t r = 0; r < rows; r++) {
          float *y = d->y + (i + r) * d->y_stride + p + c + j, sum = sums[r * TILE_COLS + j];
          if (k > 0) sum = *y + sum;
          *y = last && d->bias != NULL ? sum + d->bias[row_at(d, at + c + j)] : sum;
        }
      }
    }
  }
}

void CR_NAME(cr_dots_run)(const cr_dots *d, int64_t from, int64_t to, float *scratch) {
  if (d->k == 0) {
    for (int64_t i = 0; i < d->m; i++)
      for (int64_t at = from; at < to; at++)
        d->y[i * d->y_stride + at - from] = d->bias != NULL ? d->bias[row_at(d, at)] : 0;
    return;
  }
  if (d->m == 1) {
#define SINGLES(dtype) singles(dtype, d, from, to)
    CR_STORED_SWITCH(d->w.dtype, SINGLES)
    return;
  }
  for (int64_t at = from; at < to; at += CR_DOT_PANEL)
    for (int64_t k = 0; k < d->k; k += CR_DOT_BLOCK) panel(d, at, at - from, cr_min(CR_DOT_PANEL, to - at), k, scratch);
}

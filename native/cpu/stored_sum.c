/* Sums of stored rows; see stored.h for the order of summation. */
#include "stored.h"

enum { DEPTH = 4 }; /* rows that are read at once: a load and a store of y for all of them, and streams to prefetch */

/* depth rows, columns column .. of each, times their coefficients, on top of y or of 0. next, unless NULL: the rows
 * that are read after these, and fetched meanwhile. */
CR_INLINE void sum_step(const int32_t dtype, const char *const *w, const char *const *next, const float *c,
                        int64_t column, int64_t columns, float *y, const bool add, const int depth) {
  vf cv[DEPTH];
  CR_UNROLL for (int d = 0; d < depth; d++) cv[d] = vf_set(c[d]);
  int64_t j = 0;
  for (; j + CR_W <= columns; j += CR_W) {
    vf acc = add ? vf_load(y + j) : (vf){0};
    if (next != NULL) CR_UNROLL for (int d = 0; d < depth; d++) cr_fetch_stored(dtype, next[d], column + j);
    CR_UNROLL for (int d = 0; d < depth; d++) acc = vf_fma(cv[d], cr_load_stored(dtype, w[d], column + j), acc);
    vf_store(y + j, acc);
  }
  if (j < columns) {
    const int64_t n = columns - j;
    vf acc = add ? vf_load_n(y + j, n) : (vf){0};
    CR_UNROLL for (int d = 0; d < depth; d++) acc = vf_fma(cv[d], cr_load_stored_n(dtype, w[d], column + j, n), acc);
    vf_store_n(y + j, acc, n);
  }
}

static int64_t row_at(const cr_sums *s, int64_t i) { return s->list != NULL ? s->list[i] : i; }

CR_INLINE void sum_rows(const int32_t dtype, const cr_sums *s, int64_t from, int64_t to, bool add) {
  const int64_t end = cr_max(to, s->listed);
  while (from < to) {
    const int64_t n = cr_min(DEPTH, to - from);
    const char *w[DEPTH], *next[DEPTH];
    int64_t row[DEPTH];
    for (int64_t d = 0; d < n; d++) {
      row[d] = row_at(s, from + d);
      w[d] = s->w.data + row[d] * s->w.stride;
      next[d] = s->w.data + row_at(s, cr_min(from + n + d, end - 1)) * s->w.stride;
    }
    for (int64_t i = 0; i < s->m; i++) {
      float c[DEPTH], *y = s->y + i * s->y_stride;
      const char *const *fetched = i == 0 ? next : NULL; /* once for all rows of c */
      for (int64_t d = 0; d < n; d++) c[d] = s->c[i * s->c_stride + row[d]];
      switch (n) {
        case 1:
          sum_step(dtype, w, fetched, c, s->column, s->columns, y, add, 1);
          break;
        case 2:
          sum_step(dtype, w, fetched, c, s->column, s->columns, y, add, 2);
          break;
        case 3:
          sum_step(dtype, w, fetched, c, s->column, s->columns, y, add, 3);
          break;
        default:
          sum_step(dtype, w, fetched, c, s->column, s->columns, y, add, DEPTH);
      }
    }
    add = true;
    from += n;
  }
}

void CR_NAME(cr_sums_run)(const cr_sums *s, int64_t from, int64_t to, bool add) {
  if (from >= to) {
    if (!add)
      for (int64_t i = 0; i < s->m; i++) memset(s->y + i * s->y_stride, 0, (size_t)s->columns * sizeof(float));
    return;
  }
#define SUM(dtype) sum_rows(dtype, s, from, to, add)
  CR_STORED_SWITCH(s->w.dtype, SUM)
}

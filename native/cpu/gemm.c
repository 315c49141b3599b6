/* The matrix-product core: micro-kernels, packing, epilogue. See gemm.h for the order of summation. */
#include "gemm.h"

#include "act.h"
#include "stored.h"

/* Out of line: act_row holds every activation, and the kernels are many. */
static __attribute__((noinline)) void activate(float *y, int64_t cols, const cr_epilogue *e) {
  act_row(e->act, e->p, y, cols);
}

/* Ragged columns: what the kernels do not do themselves. */
static __attribute__((noinline)) void finish(const cr_tile *t, const vf *acc, int64_t rows, int64_t vectors) {
  const cr_epilogue *e = t->epilogue;
  const float *bias = e != NULL ? e->bias : NULL;
  const vf alpha = vf_set(e != NULL ? e->alpha : 1);
  const bool scale = e != NULL && e->alpha != 1;
  for (int64_t j = 0; j < vectors; j++) {
    const int64_t n = t->cols - j * CR_W;
    const vf shift = bias != NULL ? cr_load_up_to(bias + t->bias_at + j * CR_W, n) : (vf){0};
    for (int64_t i = 0; i < rows; i++) {
      float *y = t->y[i] + j * CR_W;
      vf v = acc[i * vectors + j];
      if (t->add) v = cr_load_up_to(y, n) + v;
      if (bias != NULL)
        v = vf_fma(alpha, v, shift);
      else if (scale)
        v = alpha * v;
      cr_store_up_to(y, v, n);
    }
  }
}

/* The kernels are written once and specialised for every number of rows; all loops over rows and vectors unroll, so
 * that the accumulators live in registers. */

/* One k: two vectors of b times one element of every row. */
#define STEP(element)                                                                       \
  do {                                                                                      \
    vf bv[2];                                                                               \
    CR_UNROLL for (int j = 0; j < vectors; j++) bv[j] = vf_load(b + j * CR_W);              \
    b += b_stride;                                                                          \
    CR_UNROLL for (int i = 0; i < rows; i++) {                                              \
      const vf av = vf_set(element);                                                        \
      CR_UNROLL for (int j = 0; j < vectors; j++) acc[i][j] = vf_fma(av, bv[j], acc[i][j]); \
    }                                                                                       \
  } while (0)

CR_INLINE void write_tile(const cr_tile *t, vf acc[CR_MR][2], const int rows, const int vectors) {
  const cr_epilogue *e = t->epilogue;
  if (t->cols == vectors * CR_W) {
    if (t->add) {
      CR_UNROLL for (int i = 0; i < rows; i++) CR_UNROLL for (int j = 0; j < vectors; j++) acc[i][j] =
          vf_load(t->y[i] + j * CR_W) + acc[i][j];
    }
    if (e != NULL && e->bias != NULL) {
      const vf alpha = vf_set(e->alpha);
      vf shift[2];
      CR_UNROLL for (int j = 0; j < vectors; j++) shift[j] = vf_load(e->bias + t->bias_at + j * CR_W);
      CR_UNROLL for (int i = 0; i < rows; i++) CR_UNROLL for (int j = 0; j < vectors; j++) acc[i][j] =
          vf_fma(alpha, acc[i][j], shift[j]);
    } else if (e != NULL && e->alpha != 1) {
      const vf alpha = vf_set(e->alpha);
      CR_UNROLL for (int i = 0; i < rows; i++) CR_UNROLL for (int j = 0; j < vectors; j++) acc[i][j] =
          alpha * acc[i][j];
    }
    CR_UNROLL for (int i = 0; i < rows; i++) CR_UNROLL for (int j = 0; j < vectors; j++)
        vf_store(t->y[i] + j * CR_W, acc[i][j]);
  } else {
    vf spilled[CR_MR * 2];
    CR_UNROLL for (int i = 0; i < rows; i++) CR_UNROLL for (int j = 0; j < vectors; j++) spilled[i * vectors + j] =
        acc[i][j];
    finish(t, spilled, rows, vectors);
  }
  if (e != NULL && e->act != CREDENCE_ACT_NONE)
    for (int i = 0; i < rows; i++) activate(t->y[i], t->cols, e);
}

/* a is read by rows: for each k the element at the same offset from every row's pointer. Unrolled by four so that the
 * row pointers, more than there are registers, are fetched again only every fourth k. */
CR_INLINE void tile_rows(const cr_tile *t, const int rows, const int vectors) {
  vf acc[CR_MR][2];
  CR_UNROLL for (int i = 0; i < rows; i++) CR_UNROLL for (int j = 0; j < vectors; j++) acc[i][j] = (vf){0};
  const float *a[CR_MR];
  const int64_t b_stride = t->b_stride;
  CR_UNROLL for (int i = 0; i < rows; i++) a[i] = t->a[i];
  for (int64_t p = 0; p < t->pieces; p++) {
    int64_t k = t->piece[p].offset;
    const int64_t end = k + t->piece[p].length;
    const float *b = t->b + t->piece[p].row * b_stride;
    for (; k + 4 <= end; k += 4) {
      STEP(a[i][k]);
      STEP(a[i][k + 1]);
      STEP(a[i][k + 2]);
      STEP(a[i][k + 3]);
    }
    for (; k < end; k++) STEP(a[i][k]);
  }
  write_tile(t, acc, rows, vectors);
}

/* a is read by columns: for each k a pointer to the elements of all rows, which are adjacent. */
CR_INLINE void tile_columns(const cr_tile *t, const int rows, const int vectors) {
  vf acc[CR_MR][2];
  CR_UNROLL for (int i = 0; i < rows; i++) CR_UNROLL for (int j = 0; j < vectors; j++) acc[i][j] = (vf){0};
  const float *b = t->b;
  const int64_t b_stride = t->b_stride, column = t->column, depth = t->depth;
  for (int64_t k = 0; k < depth; k++) {
    const float *a = t->a[k] + column;
    __asm__("" : "+r"(a)); /* one address with displacements; left alone, gcc keeps rows offsets in registers */
    STEP(a[i]);
  }
  write_tile(t, acc, rows, vectors);
}

#if CR_MR == 12
#define EACH_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#elif CR_MR == 6
#define EACH_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#else
#define EACH_ROWS(X) X(1) X(2) X(3) X(4) X(5)
#endif

typedef void (*tile_fn)(const cr_tile *t);
#define KERNELS(rows)                                                            \
  static void rows_##rows##_1(const cr_tile *t) { tile_rows(t, rows, 1); }       \
  static void rows_##rows##_2(const cr_tile *t) { tile_rows(t, rows, 2); }       \
  static void columns_##rows##_1(const cr_tile *t) { tile_columns(t, rows, 1); } \
  static void columns_##rows##_2(const cr_tile *t) { tile_columns(t, rows, 2); }
EACH_ROWS(KERNELS)

void CR_NAME(cr_tile_rows)(const cr_tile *t, int64_t rows) {
#define ENTRY(rows) {rows_##rows##_1, rows_##rows##_2},
  static const tile_fn kernels[CR_MR][2] = {EACH_ROWS(ENTRY)};
#undef ENTRY
  kernels[rows - 1][t->cols > CR_W](t);
}

void CR_NAME(cr_tile_columns)(const cr_tile *t, int64_t rows) {
#define ENTRY(rows) {columns_##rows##_1, columns_##rows##_2},
  static const tile_fn kernels[CR_MR][2] = {EACH_ROWS(ENTRY)};
#undef ENTRY
  kernels[rows - 1][t->cols > CR_W](t);
}

/* ---- packing ---- */

typedef float vf_any __attribute__((vector_size(CR_W * 4), aligned(1), may_alias));

/* n <= CR_W elements of a matrix as float32, zeros beyond. */
static inline vf load_elements(const char *p, int64_t n, int32_t dtype) {
  if (dtype == CREDENCE_F32)
    return n >= CR_W ? (vf)(*(const vf_any *)p) : n > 0 ? vf_load_n((const float *)p, n) : (vf){0};
  vh h = {0};
  if (n >= CR_W)
    h = *(const vh_any *)p;
  else if (n > 0)
    memcpy(&h, p, (size_t)n * 2);
  return dtype == CREDENCE_F16 ? vf_from_half(h) : vf_from_bfloat(h);
}

#if CR_W == 16
#define ZIP_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ZIP_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif CR_W == 8
#define ZIP_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define ZIP_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#else
#define ZIP_LOW 0, 4, 1, 5
#define ZIP_HIGH 2, 6, 3, 7
#endif

/* Each zip of the first half of the rows with the second rotates the bits of every element's index by one; after
 * log2(CR_W) of them row and column have changed places. */
CR_INLINE void transpose(vf v[CR_W]) {
  CR_UNROLL for (int step = 1; step < CR_W; step *= 2) {
    vf w[CR_W];
    CR_UNROLL for (int i = 0; i < CR_W / 2; i++) {
      w[2 * i] = __builtin_shufflevector(v[i], v[i + CR_W / 2], ZIP_LOW);
      w[2 * i + 1] = __builtin_shufflevector(v[i], v[i + CR_W / 2], ZIP_HIGH);
    }
    CR_UNROLL for (int i = 0; i < CR_W; i++) v[i] = w[i];
  }
}

CR_INLINE void pack_transposed(const char *b, int64_t stride, int64_t depth, int64_t cols, float *panel,
                               int32_t dtype) {
  const int64_t size = dtype == CREDENCE_F32 ? 4 : 2;
  for (int64_t k = 0; k < depth; k += CR_W) {
    for (int64_t j = 0; j < CR_NR; j += CR_W) {
      vf v[CR_W];
      float *to = panel + k * CR_NR + j;
      const char *from = b + j * stride + k * size;
      if (j + CR_W <= cols && k + CR_W <= depth) {
        CR_UNROLL for (int i = 0; i < CR_W; i++) v[i] = load_elements(from + i * stride, CR_W, dtype);
        transpose(v);
        CR_UNROLL for (int i = 0; i < CR_W; i++) vf_store(to + i * CR_NR, v[i]);
      } else {
        for (int i = 0; i < CR_W; i++)
          v[i] = j + i < cols ? load_elements(from + i * stride, cr_min(depth - k, CR_W), dtype) : (vf){0};
        transpose(v);
        for (int i = 0; i < CR_W && k + i < depth; i++) vf_store(to + i * CR_NR, v[i]);
      }
    }
  }
}

CR_INLINE void pack_rows(const char *b, int64_t stride, int64_t depth, int64_t cols, float *panel, int32_t dtype) {
  const int64_t size = dtype == CREDENCE_F32 ? 4 : 2;
  for (int64_t k = 0; k < depth; k++, b += stride, panel += CR_NR) {
    if (cols == CR_NR) {
      vf_store(panel, load_elements(b, CR_W, dtype));
      vf_store(panel + CR_W, load_elements(b + CR_W * size, CR_W, dtype));
    } else {
      vf_store(panel, load_elements(b, cols, dtype));
      vf_store(panel + CR_W, load_elements(b + CR_W * size, cols - CR_W, dtype));
    }
  }
}

/* A tile of one or two rows times a transposed b, whose vectors are turned on the way: packing them for so little use
 * would cost as much again. Whole vectors of k only. */
CR_INLINE void tile_turned(const cr_tile *t, const char *b, int64_t stride, const int rows, const int32_t dtype) {
  const int vectors = 2;
  const int64_t size = dtype == CREDENCE_F32 ? 4 : 2;
  vf acc[CR_MR][2];
  CR_UNROLL for (int i = 0; i < rows; i++) CR_UNROLL for (int j = 0; j < vectors; j++) acc[i][j] = (vf){0};
  for (int64_t k = 0; k < t->depth; k += CR_W, b += CR_W * size) {
    CR_UNROLL for (int j = 0; j < vectors; j++) {
      vf v[CR_W];
      CR_UNROLL for (int i = 0; i < CR_W; i++) v[i] = load_elements(b + (j * CR_W + i) * stride, CR_W, dtype);
      transpose(v);
      CR_UNROLL for (int i = 0; i < CR_W; i++) CR_UNROLL for (int r = 0; r < rows; r++) acc[r][j] =
          vf_fma(vf_set(t->a[r][k + i]), v[i], acc[r][j]);
    }
  }
  write_tile(t, acc, rows, vectors);
}

void CR_NAME(cr_tile_turned)(const cr_tile *t, int64_t rows, const cr_matrix *b, int64_t k, int64_t n) {
  const char *from = b->data + n * b->stride + k * (b->dtype == CREDENCE_F32 ? 4 : 2);
#define TURNED(dtype)                          \
  if (rows == 1)                               \
    tile_turned(t, from, b->stride, 1, dtype); \
  else                                         \
    tile_turned(t, from, b->stride, 2, dtype)
  if (b->dtype == CREDENCE_F16)
    TURNED(CREDENCE_F16);
  else if (b->dtype == CREDENCE_BF16)
    TURNED(CREDENCE_BF16);
  else
    TURNED(CREDENCE_F32);
#undef TURNED
}

/* Rows of blocks are never transposed and have whole panels: CR_NR divides 32. */
CR_INLINE void pack_blocks(const cr_matrix *b, int64_t k, int64_t depth, int64_t n, float *panel, const int32_t dtype) {
  const char *row = b->data + k * b->stride;
  for (int64_t i = 0; i < depth; i++, row += b->stride, panel += CR_NR)
    CR_UNROLL for (int64_t j = 0; j < CR_NR; j += CR_W) vf_store(panel + j, cr_load_stored(dtype, row, n + j));
}

void CR_NAME(cr_pack_panel)(const cr_matrix *b, int64_t k, int64_t depth, int64_t n, int64_t cols, float *panel) {
  if (b->dtype == CREDENCE_Q8_0) {
    pack_blocks(b, k, depth, n, panel, CREDENCE_Q8_0);
    return;
  }
  if (b->dtype == CREDENCE_Q4_0) {
    pack_blocks(b, k, depth, n, panel, CREDENCE_Q4_0);
    return;
  }
  const int64_t size = b->dtype == CREDENCE_F32 ? 4 : 2;
  const char *from = b->data + (b->transposed ? n * b->stride + k * size : k * b->stride + n * size);
#define PACK(dtype)                                              \
  if (b->transposed)                                             \
    pack_transposed(from, b->stride, depth, cols, panel, dtype); \
  else                                                           \
    pack_rows(from, b->stride, depth, cols, panel, dtype)
  if (b->dtype == CREDENCE_F16)
    PACK(CREDENCE_F16);
  else if (b->dtype == CREDENCE_BF16)
    PACK(CREDENCE_BF16);
  else
    PACK(CREDENCE_F32);
#undef PACK
}

/* ---- sums made elsewhere ---- */

void CR_NAME(cr_combine_row)(float *y, const float *part, int64_t cols, const cr_epilogue *e, int64_t bias_at) {
  const float *bias = e != NULL && e->bias != NULL ? e->bias + bias_at : NULL;
  const vf alpha = vf_set(e != NULL ? e->alpha : 1);
  for (int64_t j = 0; j < cols; j += CR_W) {
    const int64_t n = cols - j;
    vf v = cr_load_up_to(y + j, n);
    if (part != NULL) v = v + cr_load_up_to(part + j, n);
    if (bias != NULL)
      v = vf_fma(alpha, v, cr_load_up_to(bias + j, n));
    else if (e != NULL && e->alpha != 1)
      v = alpha * v;
    cr_store_up_to(y + j, v, n);
  }
  if (e != NULL && e->act != CREDENCE_ACT_NONE) activate(y, cols, e);
}

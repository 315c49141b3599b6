/* stored.h: sums of products with rows of weights as they are stored: f32, f16, bf16, or GGUF's q8_0 and q4_0. Compiled
 * once per instruction set. Every stored number is exact in float32 (a float16 scale times an 8-bit integer has 19
 * bits), and enters the sums as that float32 number: so a sum has the same bits whatever type holds the same weights.
 *
 * Two orders of summation, fixed so that bits depend neither on the batch, nor on threads, nor on which other rows are
 * computed:
 *   - A dot product runs along a row, so lanes run along it too. Blocks of CR_DOT_BLOCK elements are added in order; in
 *     a block two vectors take turns, each lane a chain of multiply-adds, and are then added up as a tree.
 *   - A sum of rows runs across them: each column is one chain of multiply-adds over the rows given, in order. */
#ifndef CREDENCE_CPU_STORED_H
#define CREDENCE_CPU_STORED_H

#include "gemm.h"
#include "widen.h"

enum {
  CR_DOT_BLOCK = 2048,
  CR_DOT_PANEL =
      48, /* rows that are widened at a time, where several rows of x meet them: a block of them fits the L2 */
  CR_DOT_PANEL_STRIDE = CR_DOT_BLOCK + CR_W,
};
#define CR_DOT_SCRATCH ((size_t)CR_DOT_PANEL * CR_DOT_PANEL_STRIDE * sizeof(float))

/* Rows of stored numbers; stride in bytes. */
typedef struct cr_stored {
  const char *data;
  int64_t stride;
  int32_t dtype;
} cr_stored;

/* Products of all rows of x with some rows of w: y[i * y_stride + p] = x row i . w row r + bias[r] for the p-th row r.
 */
typedef struct cr_dots {
  const float *x;
  int64_t x_stride, m, k; /* strides in elements */
  cr_stored w;
  const int32_t *list; /* which rows of w, or NULL: all in turn */
  int64_t listed;      /* how many rows all calls take together: those beyond this call's are fetched ahead; or 0 */
  float *y;
  int64_t y_stride;
  const float *bias; /* or NULL */
} cr_dots;

/* For the rows list[from] .. list[to - 1], or from .. to - 1; p counts from 0. scratch: CR_DOT_SCRATCH bytes, not used
 * if m is 1. */
void CR_NAME(cr_dots_run)(const cr_dots *d, int64_t from, int64_t to, float *scratch);

/* Sums of rows of w, for m lists of coefficients: y[i * y_stride + j] = sum over r of c[i * c_stride + r] w[r][column +
 * j], j < columns. column and, for block types, columns are multiples of 32. */
typedef struct cr_sums {
  cr_stored w;
  const float *c;
  int64_t c_stride, m;
  const int32_t *list; /* as above */
  int64_t listed;
  int64_t column, columns;
  float *y;
  int64_t y_stride;
} cr_sums;

/* For the rows list[from] .. list[to - 1], or from .. to - 1. add: the chain goes on from what y holds, else from 0. */
void CR_NAME(cr_sums_run)(const cr_sums *s, int64_t from, int64_t to, bool add);

/* ---- loads: dtype is a constant, so that the switch folds away ---- */

static inline vf cr_block_scale(const char *block) {
#if CR_W == 16
  int16_t h;
  memcpy(&h, block, 2);
  return (vf)_mm512_cvtph_ps(_mm256_set1_epi16(h));
#else
  return vf_set(half_at(block));
#endif
}

/* CR_W signed or unsigned bytes as integers. gcc 12 takes a general conversion apart into single lanes. */
static inline vi cr_load_bytes(const char *p, const bool is_signed) {
#if CR_W == 16
  const __m128i q = _mm_loadu_si128((const __m128i *)p);
  return (vi)(is_signed ? _mm512_cvtepi8_epi32(q) : _mm512_cvtepu8_epi32(q));
#elif CR_W == 8
  const __m128i q = _mm_loadl_epi64((const __m128i *)p);
  return (vi)(is_signed ? _mm256_cvtepi8_epi32(q) : _mm256_cvtepu8_epi32(q));
#else
  if (!is_signed) return (vi){(uint8_t)p[0], (uint8_t)p[1], (uint8_t)p[2], (uint8_t)p[3]};
  return (vi){(int8_t)p[0], (int8_t)p[1], (int8_t)p[2], (int8_t)p[3]};
#endif
}

/* Elements k .. k + CR_W - 1 of a row; k is a multiple of CR_W. */
CR_INLINE vf cr_load_stored(const int32_t dtype, const char *row, int64_t k) {
  switch (dtype) {
    case CREDENCE_F16:
      return vf_from_half(*(const vh_any *)(row + 2 * k));
    case CREDENCE_BF16:
      return vf_from_bfloat(*(const vh_any *)(row + 2 * k));
    case CREDENCE_Q8_0: {
      const char *block = row + k / 32 * 34;
      return cr_block_scale(block) * __builtin_convertvector(cr_load_bytes(block + 2 + k % 32, true), vf);
    }
    case CREDENCE_Q4_0: {
      const char *block = row + k / 32 * 18;
      const vi q = cr_load_bytes(block + 2 + k % 16, false);
      return cr_block_scale(block) * __builtin_convertvector((k % 32 < 16 ? q & 15 : q >> 4) - 8, vf);
    }
    default:
      return vf_load((const float *)row + k);
  }
}

/* The first n < CR_W of them, zeros beyond; rows of blocks have no such rest. */
CR_INLINE vf cr_load_stored_n(const int32_t dtype, const char *row, int64_t k, int64_t n) {
  if (dtype == CREDENCE_F16 || dtype == CREDENCE_BF16) {
    vh h = {0};
    memcpy(&h, row + 2 * k, (size_t)n * 2);
    return dtype == CREDENCE_F16 ? vf_from_half(h) : vf_from_bfloat(h);
  }
  return dtype == CREDENCE_F32 ? vf_load_n((const float *)row + k, n) : (vf){0};
}

/* Where element k of a row begins; k is a multiple of 32. */
CR_INLINE const char *cr_stored_at(const int32_t dtype, const char *row, int64_t k) {
  switch (dtype) {
    case CREDENCE_F16:
    case CREDENCE_BF16:
      return row + 2 * k;
    case CREDENCE_Q8_0:
      return row + k / 32 * 34;
    case CREDENCE_Q4_0:
      return row + k / 32 * 18;
    default:
      return row + 4 * k;
  }
}

/* Asks for elements k .. k + 31 of a row, if k begins them. Beyond the end of a row this does no harm. */
CR_INLINE void cr_fetch_stored(const int32_t dtype, const char *row, int64_t k) {
  if (k % 32 != 0) return;
  const char *at = cr_stored_at(dtype, row, k);
  __builtin_prefetch(at);
  if (dtype == CREDENCE_F32) __builtin_prefetch(at + 64);
}

/* CALL with dtype as a constant. */
#define CR_STORED_SWITCH(dtype, CALL) \
  switch (dtype) {                    \
    case CREDENCE_F16:                \
      CALL(CREDENCE_F16);             \
      break;                          \
    case CREDENCE_BF16:               \
      CALL(CREDENCE_BF16);            \
      break;                          \
    case CREDENCE_Q8_0:               \
      CALL(CREDENCE_Q8_0);            \
      break;                          \
    case CREDENCE_Q4_0:               \
      CALL(CREDENCE_Q4_0);            \
      break;                          \
    default:                          \
      CALL(CREDENCE_F32);             \
  }

#endif

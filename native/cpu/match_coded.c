/* match_coded.c: codes of support rows, kept beside them, and intervals from them for a query: a quarter of the memory
 * is read.
 *
 * A row y is c + s b + e with whole numbers b and |e| <= r, which is known. The query less c is kept in float32, so
 * that |x - c - s b| can be summed as squares of differences, without cancellation, and |x - y| is within r of it.
 * Rounding, with u = 2^-24: of the sum, d / CR_W + 8 times u of itself; of the query's elements, u of its length; of
 * the canonical distance see match_screen.c. */
#include "match_coded.h"

#include "gemm.h"

enum { COLUMNS = 4, AHEAD = 4 * COLUMNS }; /* rows at a time; how far ahead memory is asked for */
#define HUGE_LENGTH 1e37f
#define TINY 1e-34

/* ---- making codes ---- */

void CR_NAME(cr_match_code)(const float *row, const float *centre, int64_t d, uint8_t *code, float fit[2]) {
  vf largest = {0}, length = {0};
  double rest = 0;
  for (int64_t k = 0; k < d; k += CR_W) {
    const vf v = cr_load_up_to(row + k, d - k) - cr_load_up_to(centre + k, d - k);
    largest = vf_max(largest, vf_abs(v));
    length = vf_fma(v, v, length);
  }
  const float most = vf_max_lane(largest), all = vf_sum(length);
  if (!(all < HUGE_LENGTH)) {
    memset(code, 128, (size_t)d);
    fit[0] = 0, fit[1] = INFINITY;
    return;
  }
  const float scale = most > 1e-30f ? most / 127 : 0, inverse = most > 1e-30f ? 127 / most : 0;
  for (int64_t k = 0; k < d; k += CR_W) {
    const int64_t n = cr_min(CR_W, d - k);
    const vf v = cr_load_up_to(row + k, n) - cr_load_up_to(centre + k, n);
    const vf magic = vf_set(0x1.8p23f); /* added and taken away, it rounds to whole numbers */
    const vf whole = (v * vf_set(inverse) + magic) - magic;
    for (int64_t i = 0; i < n; i++) {
      const double left = (double)v[i] - (double)scale * (double)whole[i];
      rest += left * left;
      code[k + i] = (uint8_t)(128 + (int32_t)whole[i]);
    }
  }
  /* to spare, but for the roundings of moving and, where a set has no fused product, of scale times code in estimate */
  const double radius = sqrt(rest * 1.001) + 0x1p-22 * sqrt((double)all * 1.001) + 1e-17;
  fit[0] = scale, fit[1] = (float)(radius * (1 + 1e-6));
}

/* ---- a query against codes ---- */

/* CR_W codes as numbers around 0. */
static inline vf load_codes(const uint8_t *p) {
#if CR_W == 16
  const __m128i b = _mm_xor_si128(_mm_loadu_si128((const __m128i *)p), _mm_set1_epi8((char)0x80));
  return (vf)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(b));
#elif CR_W == 8
  const __m128i b = _mm_xor_si128(_mm_loadl_epi64((const __m128i *)p), _mm_set1_epi8((char)0x80));
  return (vf)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b));
#else
  return (vf){(float)(p[0] - 128), (float)(p[1] - 128), (float)(p[2] - 128), (float)(p[3] - 128)};
#endif
}

/* |x - s b|^2 of COLUMNS rows of codes, d bytes apart. x is padded with zeros to whole vectors. */
static void estimate(const float *x, const uint8_t *code, const float (*fit)[2], int64_t d, float sum[COLUMNS]) {
  vf acc[COLUMNS] = {{0}}, scale[COLUMNS];
  for (int c = 0; c < COLUMNS; c++) scale[c] = vf_set(-fit[c][0]);
  int64_t k = 0;
  for (; k + CR_W <= d; k += CR_W) {
    const vf v = vf_load(x + k);
    __builtin_prefetch(code + AHEAD * d + COLUMNS * k); /* the rows' codes follow each other */
    for (int c = 0; c < COLUMNS; c++) {
      const vf t = vf_fma(scale[c], load_codes(code + c * d + k), v);
      acc[c] = vf_fma(t, t, acc[c]);
    }
  }
  for (int c = 0; c < COLUMNS && k < d; c++) {
    uint8_t last[CR_W];
    memset(last, 128, sizeof last);
    memcpy(last, code + c * d + k, (size_t)(d - k));
    const vf t = vf_fma(scale[c], load_codes(last), vf_load(x + k));
    acc[c] = vf_fma(t, t, acc[c]);
  }
  for (int c = 0; c < COLUMNS; c++) sum[c] = vf_sum(acc[c]);
}

size_t CR_NAME(cr_coded_own)(int64_t d) { return (size_t)(d + CR_W) * 4; }

/* What is asked of an estimate: a row is dismissed if estimate * shrink > (reach + its radius)^2. */
typedef struct ask {
  double shrink, reach, moved, canonical;
} ask;

static void ask_of(ask *q, uint32_t limit) {
  q->reach = sqrt((double)cr_match_float(limit) * (1 + 2 * q->canonical) + TINY) + q->moved;
}

void CR_NAME(cr_coded_scan)(const cr_match *m, int64_t query, const cr_match_support *support, int64_t from, int64_t to,
                            cr_match_list *list, char *own, uint64_t *spare) {
  const int64_t d = m->d;
  const float *row = cr_row(&m->x, query);
  float *x = (float *)own;
  vf length = {0};
  for (int64_t k = 0; k < d; k += CR_W) {
    const vf v = cr_load_up_to(row + k, d - k) - cr_load_up_to(support->centre + k, d - k);
    length = vf_fma(v, v, length);
    vf_store(x + k, v);
  }
  const float all = vf_sum(length);
  const bool usable = all < HUGE_LENGTH;
  const double sums = 1.1 * 0x1p-24 * (double)(d / CR_W + 8);
  ask q = {.shrink = 1 - sums,
           .moved = 0x1.1p-24 * sqrt((double)all * 1.01) + 1e-17,
           .canonical = 1.1 * 0x1p-24 * (double)(80 + d / 256)};
  uint32_t limit = list->limit;
  ask_of(&q, limit);
  for (int64_t j = from; j < to; j += COLUMNS) {
    const int64_t n = cr_min(COLUMNS, to - j), first = cr_max(j + n - COLUMNS, 0); /* the last few once more */
    const float(*fit)[2] = support->fit + first;
    float sum[COLUMNS];
    if (support->y.n < COLUMNS) { /* too few for that */
      for (int64_t c = 0; c < n; c++) sum[c] = NAN;
    } else {
      estimate(x, support->code + first * d, fit, d, sum);
    }
    for (int64_t c = support->y.n < COLUMNS ? 0 : j - first, at; first + c < j + n; c++) {
      const double estimate_of = (double)sum[c], radius = fit[c][1];
      const double near = q.reach + radius;
      if (usable && estimate_of * q.shrink > near * near) continue;
      at = first + c;
      uint32_t lo_bits, hi_bits;
      if (usable && radius < INFINITY && estimate_of < INFINITY) {
        const double lo = sqrt(estimate_of * q.shrink) - radius - q.moved;
        const double hi = sqrt(estimate_of / q.shrink) + radius + q.moved;
        const double below = lo > 0 ? lo * lo * (1 - q.canonical) - TINY : 0;
        lo_bits = cr_match_bits(below > 0 ? (float)below : 0);
        hi_bits = cr_match_bits((float)(hi * hi * (1 + q.canonical) + TINY));
      } else {
        lo_bits = hi_bits = CR_NAME(cr_match_distance)(m, query, support->base + at);
      }
      cr_match_add(m, query, list, lo_bits, hi_bits, support->base + at, support->class_of[at], spare);
      if (list->limit != limit) ask_of(&q, limit = list->limit);
    }
  }
}

/* match_int8.c: distances of a block of queries to rows of the support as intervals, from 8-bit codes of both.
 *
 * With vectors moved by the centre c as in match_screen.c, x^ = s a and y^ = t b with whole numbers a, b of at most
 * 127: |x^ - y^|^2 = |x^|^2 + |y^|^2 - 2 s t a.b, where a.b is exact, and by the triangle inequality |x - y| is within
 * |x - x^| + |y - y^| =: R of |x^ - y^|. On data without outliers R is about one in a hundred of the distance: wider
 * than the intervals of a float32 product, but four products for one. What it leaves open costs more than it saves only
 * where the rows around a query differ by less than that; match_screen.c watches for it.
 *
 * Rounding, with u = 2^-24: a few u of |x^|^2 + |y^|^2, taken as ROUNDING; the canonical distance is off by a factor of
 * CANONICAL at most (see match_screen.c) and by TINY where numbers vanish. */
#include "match_int8.h"

#include "gemm.h"

#if CR_W == 16
#include "transpose.h"

enum {
  PANEL = 16,              /* rows of the support side by side, four elements of each */
  GROUP = 256,             /* most rows of the support at a time */
  GROUP_BYTES = 256 << 10, /* of their codes, which stay in the second-level cache */
  SHORTEST = 32,
  LONGEST = 1 << 15 /* elements of a vector: sums of 255 * 127 stay below 2^31 */
};
#define ROUNDING (64 * 0x1p-24)
#define CANONICAL (1.1 * 0x1p-24 * (80 + LONGEST / 256))
#define TINY 1e-34
#define HUGE_LENGTH 1e37f
#define VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))

static int64_t group_of(int64_t stride) {
  return cr_max(2 * PANEL, cr_min(GROUP, GROUP_BYTES / stride / PANEL * PANEL));
}
static int64_t stride_of(int64_t d) { return cr_max(64, (d + 63) / 64 * 64); }
static size_t round64(size_t n) { return (n + 63) / 64 * 64; }

bool CR_NAME(cr_int8_usable)(int64_t d) {
  return d >= SHORTEST && d <= LONGEST && __builtin_cpu_supports("avx512vnni");
}

/* ---- codes ---- */

/* Codes row less centre into to, whose bytes beyond d become 0; moved: room for d floats. */
static cr_code code_row(const float *row, const float *centre, int64_t d, int8_t *to, float *moved) {
  vf largest = {0}, length = {0}, rest = {0};
  vi square = {0}, sum = {0};
  for (int64_t k = 0; k < d; k += CR_W) {
    const vf v = cr_load_up_to(row + k, d - k) - cr_load_up_to(centre + k, d - k);
    largest = vf_max(largest, vf_abs(v));
    length = vf_fma(v, v, length);
    vf_store(moved + k, v);
  }
  const float most = vf_max_lane(largest), all = vf_sum(length);
  if (!(all < HUGE_LENGTH)) {
    memset(to, 0, (size_t)stride_of(d));
    return (cr_code){.square = INFINITY};
  }
  const float scale = most > 1e-30f ? most / 127 : 0, inverse = most > 1e-30f ? 127 / most : 0;
  for (int64_t k = 0; k < d; k += CR_W) {
    const vf v = vf_load(moved + k);
    const __m512i code = _mm512_cvtps_epi32((__m512)(v * vf_set(inverse))); /* to nearest: at most 127 */
    const vf left = vf_fma(vf_set(-scale), (vf)_mm512_cvtepi32_ps(code), v);
    rest = vf_fma(left, left, rest);
    square += (vi)code * (vi)code;
    sum += (vi)code;
    _mm_storeu_si128((__m128i *)(to + k), _mm512_cvtepi32_epi8(code));
  }
  for (int64_t k = (d + CR_W - 1) / CR_W * CR_W; k < stride_of(d); k += CR_W) memset(to + k, 0, CR_W);
  const double squares = (double)scale * scale * (double)_mm512_reduce_add_epi32((__m512i)square);
  /* sums of squares by lanes and blocks are right to far better than 1e-3; moving rounds every element once */
  const double radius = sqrt((double)vf_sum(rest) * 1.001) + 0x1.1p-24 * sqrt((double)all * 1.001) + 1e-17;
  return (cr_code){scale, (float)squares, (float)(radius * (1 + 1e-6)), _mm512_reduce_add_epi32((__m512i)sum)};
}

size_t CR_NAME(cr_int8_shared)(int64_t rows, int64_t d) {
  return (size_t)(rows * stride_of(d)) + round64((size_t)rows * sizeof(cr_code));
}

void CR_NAME(cr_int8_begin)(cr_int8 *s, char *scratch) {
  s->stride = stride_of(s->m->d);
  s->x = (int8_t *)scratch;
  s->code = (cr_code *)(scratch + s->rows * s->stride);
}

void CR_NAME(cr_int8_queries)(const cr_int8 *s, int64_t from, int64_t to, char *own) {
  for (int64_t i = from; i < to; i++)
    s->code[i] = code_row(cr_row(&s->m->x, s->first + i), s->centre, s->m->d, s->x + i * s->stride, (float *)own);
}

/* ---- products ---- */

/* rows queries times two panels of the support, whose codes have 128 added. */
typedef struct product {
  const int8_t *a[CR_MR];
  int32_t start[CR_MR]; /* -128 times the sum of a */
  const char *panel[2];
  int64_t steps; /* of four elements */
  int32_t *y;    /* [rows, GROUP] */
} product;

VNNI CR_INLINE void product_rows(const product *p, const int rows) {
  __m512i acc[CR_MR][2];
  CR_UNROLL for (int i = 0; i < rows; i++) acc[i][0] = acc[i][1] = _mm512_set1_epi32(p->start[i]);
  const int8_t *a[CR_MR];
  CR_UNROLL for (int i = 0; i < rows; i++) a[i] = p->a[i];
  const char *p0 = p->panel[0], *p1 = p->panel[1];
  for (int64_t k = 0; k < p->steps; k++) {
    const __m512i b0 = _mm512_loadu_si512(p0 + k * 64), b1 = _mm512_loadu_si512(p1 + k * 64);
    CR_UNROLL for (int i = 0; i < rows; i++) {
      int32_t four;
      memcpy(&four, a[i] + k * 4, 4);
      const __m512i av = _mm512_set1_epi32(four);
      acc[i][0] = _mm512_dpbusd_epi32(acc[i][0], b0, av);
      acc[i][1] = _mm512_dpbusd_epi32(acc[i][1], b1, av);
    }
  }
  CR_UNROLL for (int i = 0; i < rows; i++) {
    _mm512_storeu_si512(p->y + i * GROUP, acc[i][0]);
    _mm512_storeu_si512(p->y + i * GROUP + PANEL, acc[i][1]);
  }
}

#define EACH_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#define KERNEL(rows) \
  VNNI static void product_##rows(const product *p) { product_rows(p, rows); }
EACH_ROWS(KERNEL)
#define ENTRY(rows) product_##rows,
static void (*const products[CR_MR])(const product *p) = {EACH_ROWS(ENTRY)};

/* ---- a group of rows ---- */

typedef struct workspace {
  char *panels; /* [group / PANEL][stride / 4][PANEL][4] */
  int8_t *codes;
  float *moved;
  int32_t *y;                   /* [CR_MR, GROUP] */
  float *scale, *part, *radius; /* [GROUP] */
  float *square;
} workspace;

size_t CR_NAME(cr_int8_own)(int64_t d) {
  const int64_t stride = stride_of(d);
  return (size_t)(group_of(stride) * stride + PANEL * stride + (stride + CR_MR * GROUP + 4 * GROUP) * 4);
}

static workspace workspace_of(char *own, int64_t stride) {
  workspace w = {.moved = (float *)own};
  w.y = (int32_t *)(w.moved + stride);
  w.scale = (float *)(w.y + CR_MR * GROUP);
  w.part = w.scale + GROUP;
  w.radius = w.part + GROUP;
  w.square = w.radius + GROUP;
  w.codes = (int8_t *)(w.square + GROUP);
  w.panels = (char *)(w.codes + PANEL * stride);
  return w;
}

/* Codes up to PANEL rows into a panel; the rows beyond are as the last. */
static void code_panel(const cr_int8 *s, const workspace *w, const cr_rows *y, int64_t row, int64_t at) {
  for (int64_t j = 0; j < PANEL; j++) {
    const cr_code c = code_row(cr_row(y, row + at + j), s->centre, s->m->d, w->codes + j * s->stride, w->moved);
    w->scale[at + j] = c.scale;
    w->radius[at + j] = c.radius;
    w->square[at + j] = c.square;
    w->part[at + j] = c.square < INFINITY
                          ? (float)((double)c.square * (1 - ROUNDING) - (double)c.radius * c.radius - TINY)
                          : -INFINITY;
  }
  char *panel = w->panels + at * s->stride;
  for (int64_t k = 0; k < s->stride; k += 64) {
    vf v[CR_W];
    for (int j = 0; j < PANEL; j++)
      v[j] = (vf)_mm512_xor_si512(_mm512_loadu_si512(w->codes + j * s->stride + k), _mm512_set1_epi8((char)0x80));
    cr_turn(v);
    for (int j = 0; j < PANEL; j++) memcpy(panel + k * PANEL + j * 64, &v[j], 64);
  }
}

/* The interval of a row that was not dismissed. */
static void add_row(const cr_int8 *s, const workspace *w, int64_t i, const cr_match_support *support, int64_t row,
                    int64_t at, int32_t dot, cr_match_list *list, uint64_t *spare) {
  const cr_match *m = s->m;
  const cr_code *x = &s->code[i];
  const int64_t number = support->base + row + at;
  uint32_t lo_bits = 0, hi_bits = 0;
  bool compute = true;
  if (x->square < INFINITY && w->square[at] < INFINITY) {
    const double all = (double)x->square + w->square[at], slack = ROUNDING * all;
    const double d = all - 2.0 * x->scale * w->scale[at] * dot, radius = (double)x->radius + w->radius[at];
    const double lo = sqrt(d > slack ? d - slack : 0) - radius, hi = sqrt(d > -slack ? d + slack : 0) + radius;
    const double below = lo > 0 ? lo * lo * (1 - CANONICAL) - TINY : 0;
    lo_bits = cr_match_bits(below > 0 ? (float)below : 0);
    hi_bits = cr_match_bits((float)(hi * hi * (1 + CANONICAL) + TINY));
    /* Likely to be the first that breaks, so far: without the width of the interval fewer rows are kept. */
    const uint32_t middle = lo_bits + (hi_bits - lo_bits) / 2;
    compute = middle < list->limit && cr_match_breaks(m, s->first + i, support->class_of[row + at]);
  }
  if (compute) lo_bits = hi_bits = CR_NAME(cr_match_distance)(m, s->first + i, number);
  cr_match_add(m, s->first + i, list, lo_bits, hi_bits, number, support->class_of[row + at], spare);
}

/* What a query's list asks of a product: dismissed is where
 * part_j - 2 s s_j dot - 2 reach radius_j > bound, that is |x^ - y^|^2 > (reach + radius_j)^2. */
typedef struct ask {
  float reach, bound;
} ask;

static ask ask_of(const cr_code *x, uint32_t limit) {
  const double reach = sqrt((double)cr_match_float(limit) * (1 + 2 * CANONICAL) + TINY) + x->radius;
  const double bound = reach * reach - (double)x->square * (1 - ROUNDING);
  if (!(x->square < INFINITY)) return (ask){0, INFINITY};
  return (ask){(float)(reach * (1 + 1e-7)), (float)(bound + 1e-6 * reach * reach)};
}

static void screen_row(const cr_int8 *s, const workspace *w, int64_t i, const int32_t *dot,
                       const cr_match_support *support, int64_t row, int64_t cols, cr_match_list *list,
                       uint64_t *spare) {
  const cr_code *x = &s->code[i];
  uint32_t limit = list->limit;
  ask q = ask_of(x, limit);
  for (int64_t j = 0; j < cols; j += CR_W) {
    const vf product = (vf)_mm512_cvtepi32_ps(_mm512_loadu_si512(dot + j)) * vf_load(w->scale + j);
    const vf v = vf_fma(product, vf_set(-2 * x->scale), vf_load(w->part + j));
    uint32_t near = vi_bits(~(vf_fma(vf_load(w->radius + j), vf_set(-2 * q.reach), v) > vf_set(q.bound)));
    if (near == 0) continue;
    if (cols - j < CR_W) near &= (1u << (cols - j)) - 1;
    for (; near != 0; near &= near - 1) {
      const int64_t at = j + __builtin_ctz(near);
      add_row(s, w, i, support, row, at, dot[at], list, spare);
    }
    if (list->limit != limit) q = ask_of(x, limit = list->limit);
  }
}

int64_t CR_NAME(cr_int8_group)(const cr_int8 *s, int64_t q0, int64_t q1, const cr_match_support *support, int64_t row,
                               int64_t cols, cr_match_list *list, int64_t step, char *own, uint64_t *spare) {
  const workspace w = workspace_of(own, s->stride);
  const int64_t tiles = cr_tile_count(q1 - q0);
  cols = cr_min(cols, group_of(s->stride));
  for (int64_t at = 0; at < cols; at += PANEL) code_panel(s, &w, &support->y, row, at);
  for (int64_t tile = 0; tile < tiles; tile++) {
    const int64_t i0 = cr_tile_start(q1 - q0, tiles, tile), height = cr_tile_start(q1 - q0, tiles, tile + 1) - i0;
    product p = {.steps = cr_ceil_div(s->m->d, 4)};
    for (int64_t i = 0; i < height; i++) {
      p.a[i] = s->x + (q0 + i0 + i) * s->stride;
      p.start[i] = -128 * s->code[q0 + i0 + i].sum;
    }
    for (int64_t at = 0; at < cols; at += 2 * PANEL) {
      p.panel[0] = w.panels + at * s->stride;
      p.panel[1] = at + PANEL < cols ? p.panel[0] + PANEL * s->stride : p.panel[0];
      p.y = w.y + at;
      products[height - 1](&p);
    }
    for (int64_t i = 0; i < height; i++)
      screen_row(s, &w, q0 + i0 + i, w.y + i * GROUP, support, row, cols, list + (i0 + i) * step, spare);
  }
  return cols;
}

#else

bool CR_NAME(cr_int8_usable)(int64_t d) {
  (void)d;
  return false;
}

size_t CR_NAME(cr_int8_shared)(int64_t rows, int64_t d) {
  (void)rows, (void)d;
  return 0;
}

size_t CR_NAME(cr_int8_own)(int64_t d) {
  (void)d;
  return 0;
}

void CR_NAME(cr_int8_begin)(cr_int8 *s, char *scratch) { (void)s, (void)scratch; }

void CR_NAME(cr_int8_queries)(const cr_int8 *s, int64_t from, int64_t to, char *own) {
  (void)s, (void)from, (void)to, (void)own;
}

int64_t CR_NAME(cr_int8_group)(const cr_int8 *s, int64_t q0, int64_t q1, const cr_match_support *support, int64_t row,
                               int64_t cols, cr_match_list *list, int64_t step, char *own, uint64_t *spare) {
  (void)s, (void)q0, (void)q1, (void)support, (void)row, (void)list, (void)step, (void)own, (void)spare;
  return cols;
}

#endif

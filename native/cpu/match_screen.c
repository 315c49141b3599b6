/* match_screen.c: distances of a block of queries to all rows of the support as intervals, from a matrix product.
 *
 * With queries and rows moved by a common centre c, |x - y|^2 = |x - c|^2 + |y - c|^2 - 2 (x - c).(y - c). The product
 * is gemm.h's, tile by tile, and a tile is compared with the limits of its queries' lists while it is in the
 * first-level cache. The estimate is off by no more than epsilon (|x - c|^2 + |y - c|^2), with u = 2^-24 and A that
 * sum:
 *   - twice the product: a term passes through at most n = min(d, CR_KC) + d / CR_KC + 2 roundings, and
 *     |x||y| <= A / 2, so n u A;
 *   - moving by c rounds every element once, so that the difference of the vectors is off by u (|x| + |y|):
 *     2 u (|x| + |y|)^2 <= 4 u A;
 *   - the canonical distance, from which the interval is measured, is itself rounded: per term 2 for the squared
 *     difference, a chain of CR_SQ_CHAIN + 1, 4 for the lanes and one per block of CR_SQ_DEPTH >= 256 terms, of a
 * distance of at most 2 A;
 *   - the squared lengths are sums by lanes over blocks: CR_KC / 4 + 5 and one per block;
 *   - the last few additions: 12 u A.
 * Squares of roundings are covered by a tenth more, numbers that vanish by TINY. Rows whose lengths are near overflow
 * or not numbers are computed exactly. */
#include "match_screen.h"

#include "gemm.h"

enum {
  GROUP = 256,           /* rows of the support at a time: CR_KC elements of each stay in the second-level cache */
  STRIDE = CR_KC + CR_W, /* of copied rows: not a multiple of the distance at which cache sets repeat */
  TILE_STRIDE = GROUP + CR_W,
  FIRST_ASK = 1024, /* rows, or an eighth of all, after which codes must have proved themselves */
  SAMPLES = 256     /* rows whose mean is the centre */
};
#define TINY 1e-34f
#define HUGE_LENGTH 1e37f

static size_t round64(size_t n) { return (n + 63) / 64 * 64; }
static int64_t blocks_of(int64_t d) { return cr_max(1, cr_ceil_div(d, CR_KC)); }

static float epsilon_of(int64_t d) {
  const double blocks = (double)(d / CR_KC), chain = (double)cr_min(d, CR_KC);
  const double product = chain + blocks + 2, moved = 4, canonical = 2 * (2 + CR_SQ_CHAIN + 1 + 4 + blocks + 1);
  const double lengths = CR_KC / 4 + 5 + blocks, sums = 12;
  return (float)(1.1 * 0x1p-24 * (product + moved + canonical + lengths + sums));
}

/* ---- the queries ---- */

/* Of this file; codes follow. */
static size_t shared_bytes(int64_t rows, int64_t d) {
  return round64((size_t)d * 4) + round64((size_t)rows * 4) + (size_t)(blocks_of(d) * rows * STRIDE) * 4;
}

size_t CR_NAME(cr_screen_shared)(int64_t rows, int64_t d) {
  return shared_bytes(rows, d) + CR_NAME(cr_int8_shared)(rows, d);
}

void CR_NAME(cr_screen_begin)(cr_screen *s, char *scratch) {
  const cr_match *m = s->m;
  s->centre = (float *)scratch;
  s->norm = (float *)(scratch + round64((size_t)m->d * 4));
  s->x = (float *)((char *)s->norm + round64((size_t)s->rows * 4));
  s->epsilon = epsilon_of(m->d);
  memset(s->centre, 0, (size_t)m->d * 4);
  const int64_t samples = cr_min(m->rows, SAMPLES);
  for (int64_t i = 0, k = 0; i < samples; i++) {
    const int64_t number = m->rows * i / samples;
    while (number - m->support[k].base >= m->support[k].y.n) k++;
    const float *y = cr_row(&m->support[k].y, number - m->support[k].base);
    for (int64_t j = 0; j < m->d; j++) s->centre[j] += y[j];
  }
  for (int64_t j = 0; j < m->d; j++) {
    s->centre[j] /= (float)cr_max(samples, 1);
    if (!(fabsf(s->centre[j]) < HUGE_LENGTH)) s->centre[j] = 0; /* any centre is right */
  }
  s->coded = CR_NAME(cr_int8_usable)(m->d);
  s->codes = (cr_int8){.m = m, .centre = s->centre, .first = s->first, .rows = s->rows};
  CR_NAME(cr_int8_begin)(&s->codes, scratch + shared_bytes(s->rows, m->d));
}

/* Elements k .. of a row less those of the centre, up to a whole vector; returns the sum of their squares. */
static float move_row(const float *row, const float *centre, int64_t depth, float *to) {
  vf sum = {0};
  for (int64_t k = 0; k < depth; k += CR_W) {
    const vf v = cr_load_up_to(row + k, depth - k) - cr_load_up_to(centre + k, depth - k);
    sum = vf_fma(v, v, sum);
    vf_store(to + k, v);
  }
  return vf_sum(sum);
}

void CR_NAME(cr_screen_queries)(const cr_screen *s, int64_t from, int64_t to, char *own) {
  if (s->coded) CR_NAME(cr_int8_queries)(&s->codes, from, to, own);
  const int64_t d = s->m->d;
  for (int64_t i = from; i < to; i++) {
    const float *x = cr_row(&s->m->x, s->first + i);
    s->norm[i] = 0;
    for (int64_t k = 0; k < d; k += CR_KC)
      s->norm[i] += move_row(x + k, s->centre + k, cr_min(CR_KC, d - k), s->x + (k / CR_KC * s->rows + i) * STRIDE);
  }
}

/* ---- the support ---- */

/* A thread's scratch. */
typedef struct workspace {
  float *panels;      /* a block of a group, packed */
  float *rows;        /* the same, before */
  float *y;           /* [queries, TILE_STRIDE]: the product */
  float *norm, *down; /* [GROUP]: |y|^2; its part in the lower end of an interval */
} workspace;

size_t CR_NAME(cr_screen_own)(int64_t rows, int64_t d) {
  const size_t here = (size_t)(GROUP * CR_KC + GROUP * STRIDE + rows * TILE_STRIDE + 2 * GROUP) * 4;
  const size_t codes = CR_NAME(cr_int8_own)(d);
  return here > codes ? here : codes;
}

static workspace workspace_of(char *own) {
  workspace w = {.panels = (float *)own};
  w.rows = w.panels + GROUP * CR_KC;
  w.norm = w.rows + GROUP * STRIDE;
  w.down = w.norm + GROUP;
  w.y = w.down + GROUP;
  return w;
}

/* What of a squared length goes into the lower end of an interval; -Inf: not to be screened. */
static float lower(const cr_screen *s, float norm) {
  return norm < HUGE_LENGTH ? norm - s->epsilon * norm - TINY : -INFINITY;
}

/* A query's tile row: cols products with the rows of a support from row on. */
static void screen_row(const cr_screen *s, const workspace *w, int64_t i, const float *product,
                       const cr_match_support *support, int64_t row, int64_t cols, cr_match_list *list,
                       uint64_t *spare) {
  const cr_match *m = s->m;
  const float down = lower(s, s->norm[i]);
  uint32_t limit = list->limit;
  vf bound = vf_set(cr_match_float(limit) - down);
  for (int64_t j = 0; j < cols; j += CR_W) {
    const vf v = vf_fma(vf_set(-2), vf_load(product + j), vf_load(w->down + j));
    uint32_t near = vi_bits(~(v > bound));
    if (near == 0) continue;
    if (cols - j < CR_W) near &= (1u << (cols - j)) - 1;
    for (; near != 0; near &= near - 1) {
      const int64_t at = j + __builtin_ctz(near), number = support->base + row + at;
      const float lo = v[at - j] + down, width = s->epsilon * (s->norm[i] + w->norm[at]) + 2 * TINY;
      uint32_t lo_bits, hi_bits;
      if (fabsf(lo) < INFINITY) {
        lo_bits = cr_match_bits(lo > 0 ? lo : 0);
        hi_bits = cr_match_bits((lo > 0 ? lo : 0) + 2 * width);
      } else {
        lo_bits = hi_bits = CR_NAME(cr_match_distance)(m, s->first + i, number);
      }
      cr_match_add(m, s->first + i, list, lo_bits, hi_bits, number, support->class_of[row + at], spare);
    }
    if (list->limit != limit) {
      limit = list->limit;
      bound = vf_set(cr_match_float(limit) - down);
    }
  }
}

/* Queries q0 .. q1-1 against cols <= GROUP rows of a support from row on. */
static void screen_group(const cr_screen *s, const workspace *w, int64_t q0, int64_t q1,
                         const cr_match_support *support, int64_t row, int64_t cols, cr_match_list *list, int64_t step,
                         uint64_t *spare) {
  const int64_t d = s->m->d, blocks = blocks_of(d), queries = q1 - q0, tiles = cr_tile_count(queries);
  memset(w->norm, 0, sizeof(float) * GROUP);
  for (int64_t b = 0; b < blocks; b++) {
    const int64_t k = b * CR_KC, depth = cr_min(CR_KC, d - k);
    const cr_matrix rows = {(const char *)w->rows, STRIDE * 4, CREDENCE_F32, true};
    for (int64_t j = 0; j < cols; j++)
      w->norm[j] += move_row(cr_row(&support->y, row + j) + k, s->centre + k, depth, w->rows + j * STRIDE);
    for (int64_t p = 0; p * CR_NR < cols; p++) CR_NAME(cr_pack_panel)
    (&rows, 0, depth, p * CR_NR, cr_min(CR_NR, cols - p * CR_NR), w->panels + p * CR_NR * CR_KC);
    if (b + 1 == blocks)
      for (int64_t j = 0; j < cols; j++) w->down[j] = lower(s, w->norm[j]);
    const cr_piece piece = {0, depth, 0};
    const float *a[CR_MR];
    float *y[CR_MR];
    cr_tile t = {.a = a, .piece = &piece, .pieces = 1, .b_stride = CR_NR, .y = y, .add = b > 0};
    for (int64_t tile = 0; tile < tiles; tile++) {
      const int64_t i0 = cr_tile_start(queries, tiles, tile), height = cr_tile_start(queries, tiles, tile + 1) - i0;
      for (int64_t i = 0; i < height; i++) a[i] = s->x + (b * s->rows + q0 + i0 + i) * STRIDE;
      for (int64_t p = 0; p * CR_NR < cols; p++) {
        for (int64_t i = 0; i < height; i++) y[i] = w->y + (i0 + i) * TILE_STRIDE + p * CR_NR;
        t.b = w->panels + p * CR_NR * CR_KC;
        t.cols = cr_min(CR_NR, cols - p * CR_NR);
        CR_NAME(cr_tile_rows)(&t, height);
      }
      for (int64_t i = i0; b + 1 == blocks && i < i0 + height; i++)
        screen_row(s, w, q0 + i, w->y + i * TILE_STRIDE, support, row, cols, list + i * step, spare);
    }
  }
}

/* Whether codes leave open more rows than they are worth, after some of all the rows: a canonical distance costs as
 * much as OPEN_COST times what a product of codes saves. What is open grows with the rows, but not as fast: hence the
 * root. Some of the queries tell. */
static bool too_coarse(const cr_match_list *list, int64_t step, int64_t queries, int64_t rows, int64_t all) {
  enum { OPEN_COST = 15, ASKED = 16 };
  int64_t open = 0, asked = cr_min(queries, ASKED);
  for (int64_t i = 0; i < asked; i++) open += CR_NAME(cr_match_open)(&list[queries * i / asked * step]);
  return (double)(open * OPEN_COST) > sqrt((double)rows * (double)all) * (double)asked;
}

int32_t CR_NAME(cr_screen_scan)(const cr_screen *s, int64_t q0, int64_t q1, int64_t from, int64_t to,
                                cr_match_list *list, int64_t step, char *own, uint64_t *spare, credence_error *err) {
  const workspace w = workspace_of(own);
  bool coded = s->coded;
  int64_t done = 0, ask = cr_max(FIRST_ASK, (to - from) / 8);
  for (int64_t k = 0; k < s->m->supports; k++) {
    const cr_match_support *support = &s->m->support[k];
    const int64_t last = cr_min(to - support->base, support->y.n);
    for (int64_t row = cr_max(from - support->base, 0), cols; row < last; row += cols, done += cols) {
      if (cr_cancelled(s->m->ctx)) return cr_fail(err, CREDENCE_CANCELLED, "cancelled");
      if (coded && done >= ask) {
        coded = !too_coarse(list, step, q1 - q0, done, to - from);
        ask = 2 * done;
      }
      cols = cr_min(GROUP, last - row);
      if (coded)
        cols = CR_NAME(cr_int8_group)(&s->codes, q0, q1, support, row, cols, list, step, own, spare);
      else
        screen_group(s, &w, q0, q1, support, row, cols, list, step, spare);
    }
  }
  return CREDENCE_OK;
}

/* MATMUL, and how a product's work is shared out; the arithmetic itself is in gemm.c.
 *
 * A unit is a range of rows times a range of column panels of one product of the batch, over all of K. Because gemm.h
 * fixes the order of summation, the cut into units cannot be seen in the result: it follows sizes and threads freely.
 *   - Few rows: units are ranges of columns. Each packs its panels of b for itself, one block of K at a time, or reads
 * b in place where one tile holds all rows; a handful of rows streams b (memory is the limit then).
 *   - Many rows: units are rectangles. Where several share the same columns, b is packed once for all; on one thread a
 * unit is a whole group of columns, which packs its panels for itself.
 *   - Few outputs and a long K: the chunks of K are units too, and their sums are combined in order afterwards. */
#include "act.h"
#include "gemm.h"
#include "rules.h"

enum {
  UNIT_COST = 4 << 20,    /* multiply-adds in a unit, about 100 us: enough to hide handing it out */
  LEAST_COST = 256 << 10, /* below this a unit is not worth another thread */
  /* Panels of a rectangle: CR_KC rows of them stay in the second-level cache, which is larger on AVX-512 machines. */
  GROUP = (CR_W == 16 ? 512 : 256) / CR_NR,
  PART = 128 << 10,           /* floats of a unit's sum over a chunk of K, where K has several */
  TILE_STRIDE = CR_KC + CR_W, /* not a multiple of the distance at which cache sets repeat */
  /* A panel's block fills the first-level cache of AVX-512 machines: there a tile of a stays while panels pass; in the
   * narrower sets a panel stays while several tiles pass. */
  TILES = CR_W == 16 ? 1 : 12,
  STREAM_ROWS = 4,
  STREAM_COLS = 4096,
  STREAM_DEPTH = 8
};
#define SHARED_MAX ((int64_t)64 << 20) /* bytes of packed b, and of chunk sums */

typedef struct sharing {
  int64_t batch, panels, group, groups, row_chunks, k_chunks, units, units_per_task;
  bool stream, packed; /* packed: b as a whole, in shared scratch */
  size_t packed_bytes, part_bytes;
} sharing;

typedef struct job {
  const cr_gemm *g;
  const cr_ctx *ctx;
  sharing s;
  float *packed, *parts; /* in shared scratch */
} job;

static int64_t padded_columns(int64_t n) { return cr_ceil_div(n, CR_NR) * CR_NR; }

/* b can be read where it lies: panels start on any column, but the last needs whole vectors. */
static bool in_place(const cr_gemm *g, int64_t col) {
  return g->b.dtype == CREDENCE_F32 && !g->b.transposed && col + CR_NR <= g->n;
}

static void share(const cr_gemm *g, int64_t threads, size_t shared, sharing *s) {
  *s = (sharing){.batch = g->batch[0] * g->batch[1] * g->batch[2], .panels = cr_max(1, cr_ceil_div(g->n, CR_NR))};
  const int64_t chunks = cr_max(1, cr_ceil_div(g->k, CR_KS));
  /* Reading b costs about as much as sixteen rows of arithmetic. Saturates: only comparisons follow. */
  const double cost = ((double)g->m + 16) * (double)g->n * (double)g->k * (double)s->batch;
  /* More units than it takes to even out the threads cost time: each reads its part of b from afar again. */
  const double most = threads > 1 ? 8.0 * (double)threads : 1, least = 4.0 * (double)threads;
  double want = cost / UNIT_COST;
  if (threads > 1 && want < least) want = cost / LEAST_COST < least ? cost / LEAST_COST : least;
  const int64_t tasks = cr_max(1, (int64_t)(want < most ? want : most));
  const int64_t each = cr_ceil_div(tasks, cr_max(1, s->batch)); /* units per product */

  s->stream = g->m <= STREAM_ROWS && !g->a_transposed && in_place(g, 0);
  s->row_chunks = s->k_chunks = 1;
  if (g->b.transposed && g->m < 4 * CR_NR) {
    s->group = 1; /* a panel along the whole of K: its rows of b are read from end to end */
  } else if (g->m <= 4 * CR_MR) {
    s->group = cr_max(1, cr_min(s->panels / each, (s->stream ? STREAM_COLS : PART / (4 * CR_MR)) / CR_NR));
  } else {
    const int64_t row_chunks = cr_max(1, g->m / (each > 1 && s->batch > 1 ? 256 : 64));
    for (s->group = GROUP; s->group > 1; s->group /= 2) {
      s->row_chunks = cr_min(row_chunks, cr_ceil_div(each, cr_ceil_div(s->panels, s->group)));
      if (s->row_chunks * cr_ceil_div(s->panels, s->group) >= each) break;
    }
    if (s->group == 1) s->row_chunks = cr_min(row_chunks, cr_ceil_div(each, s->panels));
    if (chunks > 1) s->row_chunks = cr_max(s->row_chunks, cr_ceil_div(g->m, PART / (GROUP * CR_NR)));
  }
  s->group = cr_max(1, cr_min(s->group, s->panels));
  s->groups = cr_ceil_div(s->panels, s->group);

  const int64_t products = s->batch * s->groups * s->row_chunks;
  if (chunks > 1 && s->batch == 1 && products < 2 * threads) {
    const double bytes = (double)(chunks - 1) * (double)g->m * (double)g->n * 4;
    if (bytes <= (double)SHARED_MAX && (size_t)bytes <= shared) {
      s->part_bytes = ((size_t)bytes + 63) / 64 * 64;
      s->k_chunks = chunks;
    }
  }
  if (s->row_chunks > 1 && s->batch == 1 && !(s->panels == 1 && in_place(g, 0) && g->b.stride == CR_NR * 4)) {
    const double bytes = (double)padded_columns(g->n) * (double)g->k * 4;
    if (bytes <= (double)SHARED_MAX && s->part_bytes + (size_t)bytes <= shared) {
      s->packed_bytes = (size_t)bytes;
      s->packed = true;
    }
  }
  s->units = products * s->k_chunks;
  s->units_per_task = cr_max(1, s->units / (s->k_chunks > 1 ? s->units : tasks));
}

/* One product of the batch as a unit sees it, and this thread's scratch. */
typedef struct unit {
  const char *a, *b;
  char *y;
  int64_t row0, row1, panel0, panel1, k0, k1;
  float *panels, *tiles; /* GROUP packed panels of b and TILES tiles of a, for one block of K */
  float *part, *sums;    /* the sum of a chunk of K; the sum of a streamed block */
} unit;

static const float *element(const char *base, int64_t bytes) { return (const float *)(base + bytes); }

/* Where a chunk of K is summed: the first in y itself, later ones apart. */
static float *chunk_row(const job *j, const unit *u, int64_t k, int64_t row, int64_t *stride) {
  const cr_gemm *g = j->g;
  const int64_t chunk = k / CR_KS, col = u->panel0 * CR_NR;
  if (chunk == 0) {
    *stride = g->y_stride / 4;
    return (float *)(u->y + row * g->y_stride) + col;
  }
  if (j->s.k_chunks > 1) {
    *stride = g->n;
    return j->parts + ((chunk - 1) * g->m + row) * g->n + col;
  }
  *stride = (u->panel1 - u->panel0) * CR_NR;
  return u->part + (row - u->row0) * *stride;
}

/* Where the rows k .. of a panel lie; NULL: b is transposed and read as it lies. */
typedef struct source {
  const float *b;
  int64_t stride;
} source;

/* A tile's rows of a for one block of K, copied side by side. In place they may lie a multiple of 4096 bytes apart and
 * then share one set of the first-level cache; the copy pays for itself after a few panels. */
static void copy_rows(const char *a, int64_t stride, int64_t rows, int64_t depth, float *to, const float **row) {
  for (int64_t i = 0; i < rows; i++, to += TILE_STRIDE) {
    memcpy(to, a + i * stride, (size_t)depth * 4);
    row[i] = to;
  }
}

/* The same for a transposed, whose rows are the k: up to CR_MR elements of each. */
static void copy_columns(const char *a, int64_t stride, int64_t rows, int64_t depth, float *to, const float **row) {
  for (int64_t k = 0; k < depth; k++, to += CR_MR) {
    for (int64_t i = 0; i < rows; i += CR_W)
      cr_store_up_to(to + i, cr_load_up_to(element(a, k * stride) + i, rows - i), rows - i);
    row[k] = to;
  }
}

/* Asks for part p of n of what copy_rows or copy_columns will read next: rows rows of bytes bytes. */
static void prefetch_part(const char *a, int64_t stride, int64_t rows, int64_t bytes, int64_t p, int64_t n) {
  for (int64_t i = rows * p / n; i < rows * (p + 1) / n; i++)
    for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(a + i * stride + at, 0, 2);
}

/* All rows of the unit times panels panel0 .. panel1 - 1 over one block of K; when cancelled, some of them. */
static void block(const job *j, const unit *u, const cr_matrix *b, int64_t k, int64_t depth, int64_t panel0,
                  int64_t panel1, const source *from) {
  const cr_gemm *g = j->g;
  const int64_t rows = u->row1 - u->row0, tiles = cr_tile_count(rows);
  const int64_t row_step = g->a_transposed ? 4 : g->a_stride, k_step = g->a_transposed ? g->a_stride : 4;
  const bool last = k + depth == g->k && k < CR_KS; /* with several chunks the epilogue follows their sum */
  const bool copy = panel1 - panel0 >= 3 || g->a_stride % 4096 == 0;
  const float *a[TILES][CR_KC];
  float *y[CR_MR];
  const cr_piece piece = {0, depth, 0};
  cr_tile t = {.piece = &piece,
               .pieces = 1,
               .depth = depth,
               .y = y,
               .add = k % CR_KS != 0,
               .epilogue = last ? &g->epilogue : NULL};
  for (int64_t tile0 = 0; tile0 < tiles && !cr_cancelled(j->ctx); tile0 += TILES) {
    const int64_t tile1 = cr_min(tile0 + TILES, tiles);
    for (int64_t tile = tile0; tile < tile1; tile++) {
      const float **at = a[tile - tile0];
      float *to = u->tiles + (tile - tile0) * CR_MR * TILE_STRIDE;
      const int64_t row = u->row0 + cr_tile_start(rows, tiles, tile);
      const int64_t height = u->row0 + cr_tile_start(rows, tiles, tile + 1) - row;
      const char *first = u->a + row * row_step + k * k_step;
      if (copy && g->a_transposed)
        copy_columns(first, g->a_stride, height, depth, to, at);
      else if (copy)
        copy_rows(first, g->a_stride, height, depth, to, at);
      else
        for (int64_t i = 0; i < (g->a_transposed ? depth : height); i++) at[i] = element(first, i * g->a_stride);
    }
    const char *next = u->a + (u->row0 + cr_tile_start(rows, tiles, tile1)) * row_step + k * k_step;
    for (int64_t p = panel0; p < panel1; p++) {
      if (copy && tile1 < tiles) {
        const int64_t many = cr_min(TILES * CR_MR, rows - cr_tile_start(rows, tiles, tile1));
        if (g->a_transposed)
          prefetch_part(next, g->a_stride, depth, many * 4, p - panel0, panel1 - panel0);
        else
          prefetch_part(next, g->a_stride, many, depth * 4, p - panel0, panel1 - panel0);
      }
      t.b = from[p - panel0].b;
      t.b_stride = from[p - panel0].stride;
      t.bias_at = p * CR_NR;
      t.cols = cr_min(CR_NR, g->n - t.bias_at);
      for (int64_t tile = tile0; tile < tile1; tile++) {
        const int64_t row = u->row0 + cr_tile_start(rows, tiles, tile);
        const int64_t height = u->row0 + cr_tile_start(rows, tiles, tile + 1) - row;
        int64_t stride;
        float *first = chunk_row(j, u, k, row, &stride) + (p - u->panel0) * CR_NR;
        for (int64_t i = 0; i < height; i++) y[i] = first + i * stride;
        t.a = a[tile - tile0];
        if (t.b == NULL)
          CR_NAME(cr_tile_turned)(&t, height, b, k, t.bias_at);
        else if (g->a_transposed)
          CR_NAME(cr_tile_columns)(&t, height);
        else
          CR_NAME(cr_tile_rows)(&t, height);
      }
    }
  }
}

/* A unit, block of K by block. */
static int32_t run_unit(const job *j, const unit *u) {
  const cr_gemm *g = j->g;
  const cr_matrix b = {u->b, g->b.stride, g->b.dtype, g->b.transposed};
  const bool one_tile = u->row1 - u->row0 <= CR_MR;
  const bool turned = b.transposed && !g->a_transposed && u->row1 - u->row0 <= 2;
  int64_t k = u->k0;
  do {
    const int64_t depth = cr_min(CR_KC, u->k1 - k);
    for (int64_t p0 = u->panel0; p0 < u->panel1; p0 += GROUP) {
      source from[GROUP];
      const int64_t p1 = cr_min(p0 + GROUP, u->panel1);
      for (int64_t p = p0; p < p1; p++) {
        const int64_t col = p * CR_NR;
        float *panel = u->panels + (p - p0) * CR_KC * CR_NR;
        if (j->s.packed) {
          from[p - p0] = (source){j->packed + (p * g->k + k) * CR_NR, CR_NR};
        } else if ((one_tile || b.stride == CR_NR * 4) && in_place(g, col)) {
          from[p - p0] = (source){element(u->b, k * b.stride + col * 4), b.stride / 4};
        } else if (turned && depth % CR_W == 0 && col + CR_NR <= g->n) {
          from[p - p0] = (source){NULL, 0};
        } else {
          CR_NAME(cr_pack_panel)(&b, k, depth, col, cr_min(CR_NR, g->n - col), panel);
          from[p - p0] = (source){panel, CR_NR};
        }
      }
      block(j, u, &b, k, depth, p0, p1, from);
    }
    k += depth;
    if (k > CR_KS && j->s.k_chunks == 1 && (k % CR_KS == 0 || k == g->k)) {
      const int64_t col = u->panel0 * CR_NR, cols = cr_min(u->panel1 * CR_NR, g->n) - col;
      for (int64_t i = u->row0; i < u->row1; i++) {
        int64_t stride;
        const float *part = chunk_row(j, u, k - 1, i, &stride);
        CR_NAME(cr_combine_row)
        ((float *)(u->y + i * g->y_stride) + col, part, cols, k == g->k ? &g->epilogue : NULL, col);
      }
    }
    if (cr_cancelled(j->ctx)) return CREDENCE_CANCELLED;
  } while (k < u->k1);
  return CREDENCE_OK;
}

/* ---- a handful of rows ---- */

/* depth rows of b times the rows of a, added to the block's sums, which wait in the first-level cache: so b is read a
 * few whole rows at a time, as memory likes it. The chains of multiply-adds are those of the tiles. */
CR_INLINE void stream_step(const float *const *a, const char *b, int64_t stride, float *sums, int64_t cols, bool add,
                           const int rows, const int depth) {
  vf av[STREAM_ROWS][STREAM_DEPTH];
  CR_UNROLL for (int i = 0; i < rows; i++) CR_UNROLL for (int d = 0; d < depth; d++) av[i][d] = vf_set(a[i][d]);
  for (int64_t j = 0; j < cols; j += CR_W) {
    const int64_t n = cols - j;
    vf acc[STREAM_ROWS];
    CR_UNROLL for (int i = 0; i < rows; i++) acc[i] = add ? vf_load(sums + i * STREAM_COLS + j) : (vf){0};
    CR_UNROLL for (int d = 0; d < depth; d++) {
      const float *from = element(b, d * stride) + j;
      const vf bv = cr_load_up_to(from, n);
      CR_UNROLL for (int i = 0; i < rows; i++) acc[i] = vf_fma(av[i][d], bv, acc[i]);
    }
    CR_UNROLL for (int i = 0; i < rows; i++) vf_store(sums + i * STREAM_COLS + j, acc[i]);
  }
}

CR_INLINE void stream_rows(const float *const *a, const char *b, int64_t stride, int64_t depth, float *sums,
                           int64_t cols, const int rows) {
  const float *at[STREAM_ROWS];
  for (int64_t k = 0; k < depth;) {
    CR_UNROLL for (int i = 0; i < rows; i++) at[i] = a[i] + k;
    if (k + STREAM_DEPTH <= depth) {
      stream_step(at, b + k * stride, stride, sums, cols, k > 0, rows, STREAM_DEPTH);
      k += STREAM_DEPTH;
    } else {
      stream_step(at, b + k * stride, stride, sums, cols, k > 0, rows, 1);
      k++;
    }
  }
}

static int32_t stream_unit(const job *j, const unit *u) {
  const cr_gemm *g = j->g;
  const int64_t col = u->panel0 * CR_NR, cols = cr_min(u->panel1 * CR_NR, g->n) - col, rows = g->m;
  int64_t k = u->k0;
  do {
    const int64_t depth = cr_min(CR_KC, u->k1 - k);
    const char *b = u->b + k * g->b.stride + col * 4;
    const float *a[STREAM_ROWS];
    for (int64_t i = 0; i < rows; i++) a[i] = element(u->a, i * g->a_stride + k * 4);
    if (depth == 0) memset(u->sums, 0, sizeof(float) * STREAM_ROWS * STREAM_COLS);
    switch (rows) {
      case 1:
        stream_rows(a, b, g->b.stride, depth, u->sums, cols, 1);
        break;
      case 2:
        stream_rows(a, b, g->b.stride, depth, u->sums, cols, 2);
        break;
      case 3:
        stream_rows(a, b, g->b.stride, depth, u->sums, cols, 3);
        break;
      default:
        stream_rows(a, b, g->b.stride, depth, u->sums, cols, 4);
    }
    const bool last = k + depth == g->k;
    for (int64_t i = 0; i < rows; i++) {
      int64_t stride;
      float *sums = u->sums + i * STREAM_COLS, *to = chunk_row(j, u, k, i, &stride),
            *y = chunk_row(j, u, 0, i, &stride);
      if (k % CR_KS == 0)
        memcpy(to, sums, (size_t)cols * 4);
      else
        CR_NAME(cr_combine_row)(to, sums, cols, NULL, 0);
      if (j->s.k_chunks > 1) continue;
      if (k >= CR_KS && (last || (k + depth) % CR_KS == 0))
        CR_NAME(cr_combine_row)(y, to, cols, last ? &g->epilogue : NULL, col);
      else if (last)
        CR_NAME(cr_combine_row)(y, NULL, cols, &g->epilogue, col);
    }
    k += depth;
    if (cr_cancelled(j->ctx)) return CREDENCE_CANCELLED;
  } while (k < u->k1);
  return CREDENCE_OK;
}

/* ---- sharing ---- */

static size_t round64(size_t n) { return (n + 63) / 64 * 64; }

/* This thread's scratch, in order. */
static size_t panels_bytes(void) { return sizeof(float) * GROUP * CR_KC * CR_NR; }
static size_t tiles_bytes(void) { return sizeof(float) * TILES * CR_MR * TILE_STRIDE; }
static size_t part_bytes(const cr_gemm *g) { return g->k > CR_KS ? sizeof(float) * PART : 0; }
static size_t sums_bytes(const cr_gemm *g) {
  return g->b.dtype == CREDENCE_F32 && !g->b.transposed && !g->a_transposed ? sizeof(float) * STREAM_ROWS * STREAM_COLS
                                                                            : 0;
}

static int32_t unit_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  const job *j = arg;
  const cr_gemm *g = j->g;
  const sharing *s = &j->s;
  char *panels = cr_worker_scratch(j->ctx, worker), *tiles = panels + panels_bytes();
  char *part = tiles + tiles_bytes(), *sums = part + part_bytes(g);
  unit u = {.panels = (float *)panels, .tiles = (float *)tiles, .part = (float *)part, .sums = (float *)sums};
  const int64_t end = cr_min((index + 1) * s->units_per_task, s->units);
  for (int64_t n = index * s->units_per_task; n < end; n++) {
    int64_t rest = n;
    const int64_t group = rest % s->groups, rows = (rest /= s->groups) % s->row_chunks;
    const int64_t chunk = (rest /= s->row_chunks) % s->k_chunks;
    int64_t z = rest / s->k_chunks;
    u.a = g->a, u.b = g->b.data, u.y = g->y;
    for (int d = 2; d >= 0; d--) {
      const int64_t at = z % g->batch[d];
      z /= g->batch[d];
      u.a += at * g->a_batch[d], u.b += at * g->b_batch[d], u.y += at * g->y_batch[d];
    }
    u.row0 = cr_tile_start(g->m, s->row_chunks, rows), u.row1 = cr_tile_start(g->m, s->row_chunks, rows + 1);
    u.panel0 = group * s->group, u.panel1 = cr_min(u.panel0 + s->group, s->panels);
    u.k0 = s->k_chunks > 1 ? chunk * CR_KS : 0, u.k1 = s->k_chunks > 1 ? cr_min(u.k0 + CR_KS, g->k) : g->k;
    const int32_t status = s->stream ? stream_unit(j, &u) : run_unit(j, &u);
    if (status != CREDENCE_OK) return cr_fail(err, status, "matmul: cancelled");
  }
  return CREDENCE_OK;
}

static int32_t pack_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const job *j = arg;
  const cr_gemm *g = j->g;
  const int64_t panel = index % j->s.panels, col = panel * CR_NR, k = index / j->s.panels * CR_KS;
  CR_NAME(cr_pack_panel)
  (&g->b, k, cr_min(CR_KS, g->k - k), col, cr_min(CR_NR, g->n - col), j->packed + (panel * g->k + k) * CR_NR);
  return CREDENCE_OK;
}

static int32_t combine_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const job *j = arg;
  const cr_gemm *g = j->g;
  float *y = (float *)(g->y + index * g->y_stride);
  for (int64_t chunk = 1; chunk < j->s.k_chunks; chunk++) CR_NAME(cr_combine_row)
  (y, j->parts + ((chunk - 1) * g->m + index) * g->n, g->n, chunk + 1 == j->s.k_chunks ? &g->epilogue : NULL, 0);
  return CREDENCE_OK;
}

/* Ways of sharing change with the size; those of smaller products may want more shared scratch than this one's, as
 * when fewer rows leave too few rectangles. share() keeps to what it is given, so this need not be exact. */
void CR_NAME(cr_gemm_scratch)(const cr_gemm *g, int32_t threads, cr_scratch *scratch) {
  cr_gemm smaller = *g;
  for (;;) {
    sharing s;
    share(&smaller, threads, SIZE_MAX, &s);
    scratch->shared = cr_max((int64_t)scratch->shared, (int64_t)(s.packed_bytes + s.part_bytes));
    if (smaller.m <= 1) break;
    smaller.m /= 2;
  }
  const size_t bytes = round64(panels_bytes() + tiles_bytes() + part_bytes(g) + sums_bytes(g));
  if (scratch->per_thread < bytes) scratch->per_thread = bytes;
}

int32_t CR_NAME(cr_gemm_run)(const cr_gemm *g, const cr_ctx *ctx, credence_error *err) {
  job j = {.g = g, .ctx = ctx};
  if (g->m == 0 || g->n == 0 || g->batch[0] * g->batch[1] * g->batch[2] == 0) return CREDENCE_OK;
  share(g, ctx->threads, ctx->scratch_shared, &j.s);
  j.packed = (float *)ctx->scratch;
  j.parts = (float *)(ctx->scratch + j.s.packed_bytes);
  int32_t status = CREDENCE_OK;
  if (j.s.packed) status = cr_parallel(ctx, j.s.panels * cr_ceil_div(g->k, CR_KS), pack_task, &j, err);
  if (status == CREDENCE_OK) status = cr_parallel(ctx, cr_ceil_div(j.s.units, j.s.units_per_task), unit_task, &j, err);
  if (status == CREDENCE_OK && j.s.k_chunks > 1) status = cr_parallel(ctx, g->m, combine_task, &j, err);
  return status;
}

/* ---- the operation ---- */

/* The call as a product. */
static cr_gemm product_of(const cr_call *call) {
  const cr_tensor *a = &call->in[0], *b = &call->in[1], *y = &call->out[0],
                  *bias = call->n_in > 2 ? &call->in[2] : NULL;
  const int32_t n = y->ndim;
  const bool ta = call->i[0] != 0, tb = call->i[1] != 0;
  cr_gemm g = {.m = y->dim[n - 2],
               .n = y->dim[n - 1],
               .k = a->dim[ta ? n - 2 : n - 1],
               .a = a->data,
               .a_stride = a->stride[n - 2],
               .a_transposed = ta,
               .b = {b->data, b->stride[n - 2], b->dtype, tb},
               .y = y->data,
               .y_stride = y->stride[n - 2],
               .epilogue = {(float)call->f[0], (float)call->f[1], call->i[2], bias ? (const float *)bias->data : NULL},
               .batch = {1, 1, 1}};
  for (int32_t d = 0; d < n - 2; d++) {
    const int32_t to = 3 - (n - 2) + d;
    g.batch[to] = y->dim[d], g.a_batch[to] = a->stride[d], g.b_batch[to] = b->stride[d], g.y_batch[to] = y->stride[d];
  }
  return g;
}

/* A batch that shares b and whose rows lie evenly is one product with more rows. */
static void fold(cr_gemm *g) {
  for (int d = 2; d >= 0 && !g->a_transposed; d--) {
    if (g->batch[d] == 1) continue;
    if (g->m == 1) g->a_stride = g->a_batch[d], g->y_stride = g->y_batch[d];
    if (g->b_batch[d] != 0 || g->a_batch[d] != g->m * g->a_stride || g->y_batch[d] != g->m * g->y_stride) break;
    g->m *= g->batch[d];
    g->batch[d] = 1;
  }
}

static void scratch_matmul(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  cr_gemm g = product_of(call);
  CR_NAME(cr_gemm_scratch)(&g, threads, scratch); /* a batch as it is, and folded: which it will be follows the sizes */
  fold(&g);
  CR_NAME(cr_gemm_scratch)(&g, threads, scratch);
}

static int32_t run_matmul(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const int32_t status = cr_matmul_fits(call, err); /* sizes that depend on arguments must fit every time */
  if (status != CREDENCE_OK) return status;
  cr_gemm g = product_of(call);
  fold(&g);
  return CR_NAME(cr_gemm_run)(&g, ctx, err);
}

CR_FAMILY(matmul, {CREDENCE_OP_MATMUL, .scratch = scratch_matmul, .run = run_matmul})

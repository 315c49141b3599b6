/* elementwise.h: the engine of all elementwise ops: one output and one or two inputs of its shape, any strides. A
 * family writes a row function per op; here are the paths to it: dense tensors at once, repeated operands as scalars or
 * rows, transposed operands through tiles that are turned first, everything else through small blocks that are
 * gathered. */
#ifndef CREDENCE_CPU_ELEMENTWISE_H
#define CREDENCE_CPU_ELEMENTWISE_H

#include "strided.h"
#include "transpose.h"

enum {
  EW_A = 1,     /* a has an element per result; else it is one number for all */
  EW_B = 2,     /* so has b */
  EW_STREAM = 4 /* the result is too large for the caches; only with EW_A and EW_B */
};

/* y[k] = f(a[k], b[k]) for n elements that lie side by side. p: attributes. */
typedef void (*ew_row)(float *y, const float *a, const float *b, int64_t n, int32_t how, const float *p);

/* Defines such a row function: EXPR is over the vectors u (of a) and v (of b) and the attributes p. */
#define EW_LOOP(STORE, U, V, U_TAIL, V_TAIL, EXPR) \
  for (; k + CR_W <= n; k += CR_W) {               \
    vf u = U, v = V;                               \
    (void)v;                                       \
    STORE(y + k, EXPR);                            \
  }                                                \
  if (k < n) {                                     \
    vf u = U_TAIL, v = V_TAIL;                     \
    (void)v;                                       \
    vf_store_n(y + k, EXPR, n - k);                \
  }
#define EW_BINARY(NAME, EXPR)                                                                                      \
  static void NAME(float *y, const float *a, const float *b, int64_t n, int32_t how, const float *p) {             \
    (void)p;                                                                                                       \
    int64_t k = 0;                                                                                                 \
    switch (how) {                                                                                                 \
      case EW_A | EW_B:                                                                                            \
        EW_LOOP(vf_store, vf_load(a + k), vf_load(b + k), vf_load_n(a + k, n - k), vf_load_n(b + k, n - k), EXPR)  \
        return;                                                                                                    \
      case EW_A: {                                                                                                 \
        const vf s = vf_set(*b);                                                                                   \
        EW_LOOP(vf_store, vf_load(a + k), s, vf_load_n(a + k, n - k), s, EXPR)                                     \
        return;                                                                                                    \
      }                                                                                                            \
      case EW_B: {                                                                                                 \
        const vf s = vf_set(*a);                                                                                   \
        EW_LOOP(vf_store, s, vf_load(b + k), s, vf_load_n(b + k, n - k), EXPR)                                     \
        return;                                                                                                    \
      }                                                                                                            \
      case EW_A | EW_B | EW_STREAM:                                                                                \
        EW_LOOP(vf_stream, vf_load(a + k), vf_load(b + k), vf_load_n(a + k, n - k), vf_load_n(b + k, n - k), EXPR) \
        return;                                                                                                    \
      default: {                                                                                                   \
        const vf s = vf_set(*a), t = vf_set(*b);                                                                   \
        EW_LOOP(vf_store, s, t, s, t, EXPR)                                                                        \
      }                                                                                                            \
    }                                                                                                              \
  }
#define EW_UNARY(NAME, EXPR)                                                                           \
  static void NAME(float *y, const float *a, const float *b, int64_t n, int32_t how, const float *p) { \
    (void)b, (void)p;                                                                                  \
    int64_t k = 0;                                                                                     \
    if (how & EW_STREAM) {                                                                             \
      EW_LOOP(vf_stream, vf_load(a + k), u, vf_load_n(a + k, n - k), u, EXPR)                          \
    } else if (how & EW_A) {                                                                           \
      EW_LOOP(vf_store, vf_load(a + k), u, vf_load_n(a + k, n - k), u, EXPR)                           \
    } else {                                                                                           \
      const vf s = vf_set(*a);                                                                         \
      EW_LOOP(vf_store, s, s, s, s, EXPR)                                                              \
    }                                                                                                  \
  }

#define EW_BLOCK 512    /* elements gathered at a time */
#define EW_CHUNK 32768  /* elements of a task, about */
#define EW_ROW 64       /* rows at least this long are worth a call each */
#define EW_TILE_ROWS 32 /* tiles of transposed operands */
#define EW_TILE_COLUMNS 64
#define EW_STREAM_ELEMENTS (4 << 20) /* results from 16 MB on are streamed: measured 1.5 times as fast at 128 MB */

typedef enum ew_path { EW_ROWS, EW_TILES, EW_BLOCKS } ew_path;

typedef struct ew_work {
  ew_row f;
  const float *p;
  char *data[3]; /* y, a, b; b is a for ops of one input */
  int32_t tensors;
  ew_path path;
  bool stream;
  bool direct[3]; /* lies in the order of the elements: y[e] is at data + 4 e */
  int32_t turned; /* EW_TILES: the axis along which transposed operands are contiguous */
  int64_t total, block, chunk, period[3];
  cr_nest nest;
} ew_work;

static inline int32_t ew_how(const ew_work *w) {
  return (w->nest.step[1][0] != 0 ? EW_A : 0) | (w->nest.step[2][0] != 0 ? EW_B : 0);
}

static inline int64_t ew_least(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- rows as they lie ---- */

static inline void ew_rows(const ew_work *w, int64_t start, int64_t end) {
  const int32_t how = ew_how(w);
  cr_nest_at at;
  cr_nest_seek(&w->nest, 3, start, &at);
  while (start < end) {
    int64_t n = ew_least(w->nest.dim[0] - at.index[0], end - start);
    float *y = (float *)(w->data[0] + at.offset[0]);
    const float *a = (const float *)(w->data[1] + at.offset[1]), *b = (const float *)(w->data[2] + at.offset[2]);
    start += n;
    cr_nest_advance(&w->nest, 3, n, &at);
    if (w->stream && how == (EW_A | EW_B)) {
      int64_t head = (int64_t)(-(uintptr_t)y / 4 % CR_W); /* up to an address that can be streamed to */
      if (n > head) {
        if (head > 0) w->f(y, a, b, head, how, w->p);
        w->f(y + head, a + head, b + head, n - head, how | EW_STREAM, w->p);
        continue;
      }
    }
    w->f(y, a, b, n, how, w->p);
  }
  if (w->stream) vf_stream_end();
}

/* ---- blocks ---- */

/* Gathers elements start .. start + n - 1 of tensor j. */
static inline void ew_gather(const ew_work *w, int32_t j, int64_t start, int64_t n, float *to) {
  cr_nest_at at;
  cr_nest_seek(&w->nest, w->tensors, start, &at);
  int64_t step = w->nest.step[j][0];
  while (n > 0) {
    int64_t run = ew_least(w->nest.dim[0] - at.index[0], n);
    const char *from = w->data[j] + at.offset[j];
    for (int64_t k = 0; k < run; k++) memcpy(to + k, from + k * step, 4);
    to += run;
    n -= run;
    cr_nest_advance(&w->nest, w->tensors, run, &at);
  }
}

static inline void ew_scatter(const ew_work *w, int64_t start, int64_t n, const float *from) {
  cr_nest_at at;
  cr_nest_seek(&w->nest, w->tensors, start, &at);
  int64_t step = w->nest.step[0][0];
  while (n > 0) {
    int64_t run = ew_least(w->nest.dim[0] - at.index[0], n);
    char *to = w->data[0] + at.offset[0];
    for (int64_t k = 0; k < run; k++) memcpy(to + k * step, from + k, 4);
    from += run;
    n -= run;
    cr_nest_advance(&w->nest, w->tensors, run, &at);
  }
}

static inline void ew_blocks(const ew_work *w, int64_t start, int64_t end) {
  float buffer[3][EW_BLOCK];
  bool gathered[3] = {false, false, false};
  for (; start < end; start += w->block) {
    int64_t n = ew_least(end - start, w->block);
    const float *operand[3];
    for (int32_t j = 1; j < w->tensors; j++) {
      operand[j] = buffer[j];
      if (w->direct[j]) {
        operand[j] = (const float *)(w->data[j] + 4 * start);
      } else if (!gathered[j]) {
        ew_gather(w, j, start, n, buffer[j]);
        gathered[j] = n == w->block && w->block % w->period[j] == 0; /* all blocks are alike */
      }
    }
    float *y = w->direct[0] ? (float *)(w->data[0] + 4 * start) : buffer[0];
    w->f(y, operand[1], operand[w->tensors - 1], n, EW_A | EW_B, w->p);
    if (!w->direct[0]) ew_scatter(w, start, n, y);
  }
}

/* ---- tiles ---- */

/* Elements (r, c) of a transposed operand, 4 bytes apart along r and step bytes along c, into rows of `to`. */
static inline void ew_turn(const char *from, int64_t step, int64_t rows, int64_t columns, float *to) {
  for (int64_t r = 0; r < rows; r += CR_W)
    for (int64_t c = 0; c < columns; c += CR_W) {
      if (rows - r >= CR_W && columns - c >= CR_W) {
        vf v[CR_W];
        for (int32_t k = 0; k < CR_W; k++) v[k] = vf_load((const float *)(from + (c + k) * step + 4 * r));
        cr_turn(v);
        for (int32_t k = 0; k < CR_W; k++) vf_store(to + (r + k) * EW_TILE_COLUMNS + c, v[k]);
        continue;
      }
      for (int64_t i = r; i < ew_least(r + CR_W, rows); i++)
        for (int64_t k = c; k < ew_least(c + CR_W, columns); k++)
          memcpy(to + i * EW_TILE_COLUMNS + k, from + k * step + 4 * i, 4);
    }
}

static inline int64_t ew_along(int64_t n, int64_t tile) { return (n + tile - 1) / tile; }

static inline void ew_tile(const ew_work *w, int64_t index) {
  const cr_nest *nest = &w->nest;
  const int32_t t = w->turned;
  const int64_t columns = nest->dim[0], rows = nest->dim[t];
  int64_t c = index % ew_along(columns, EW_TILE_COLUMNS) * EW_TILE_COLUMNS;
  index /= ew_along(columns, EW_TILE_COLUMNS);
  int64_t r = index % ew_along(rows, EW_TILE_ROWS) * EW_TILE_ROWS;
  index /= ew_along(rows, EW_TILE_ROWS);
  int64_t offset[3];
  for (int32_t j = 0; j < 3; j++) offset[j] = c * nest->step[j][0] + r * nest->step[j][t];
  for (int32_t k = 1; k < nest->axes; k++) {
    if (k == t) continue;
    for (int32_t j = 0; j < 3; j++) offset[j] += index % nest->dim[k] * nest->step[j][k];
    index /= nest->dim[k];
  }
  const int64_t m = ew_least(rows - r, EW_TILE_ROWS), n = ew_least(columns - c, EW_TILE_COLUMNS);
  float buffer[2][EW_TILE_ROWS * EW_TILE_COLUMNS];
  const char *from[3];
  int64_t step[3];
  for (int32_t j = 0; j < 3; j++) {
    from[j] = w->data[j] + offset[j];
    step[j] = nest->step[j][t];
    if (nest->step[j][0] == 0 || nest->step[j][0] == 4) continue;
    if (j < w->tensors) ew_turn(from[j], nest->step[j][0], m, n, buffer[j - 1]);
    from[j] = (const char *)buffer[j < w->tensors ? j - 1 : 0];
    step[j] = 4 * EW_TILE_COLUMNS;
  }
  for (int64_t k = 0; k < m; k++)
    w->f((float *)(w->data[0] + offset[0] + k * step[0]), (const float *)(from[1] + k * step[1]),
         (const float *)(from[2] + k * step[2]), n, ew_how(w), w->p);
}

/* The axis along which every operand that is not contiguous in rows is contiguous; 0: none. */
static inline int32_t ew_turned_axis(const ew_work *w) {
  int32_t turned = 0;
  if (w->nest.step[0][0] != 4 || w->nest.dim[0] < CR_W) return 0;
  for (int32_t j = 1; j < w->tensors; j++) {
    if (w->nest.step[j][0] == 0 || w->nest.step[j][0] == 4) continue;
    int32_t axis = 0;
    for (int32_t k = 1; k < w->nest.axes; k++)
      if (w->nest.step[j][k] == 4 && w->nest.dim[k] >= CR_W) axis = k;
    if (axis == 0 || (turned != 0 && turned != axis)) return 0;
    turned = axis;
  }
  return turned;
}

/* ---- the whole op ---- */

static int32_t ew_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const ew_work *w = arg;
  int64_t start = index * w->chunk, end = ew_least(start + w->chunk, w->total);
  if (w->path == EW_ROWS)
    ew_rows(w, start, end);
  else if (w->path == EW_BLOCKS)
    ew_blocks(w, start, end);
  else
    for (; start < end; start++) ew_tile(w, start);
  return CREDENCE_OK;
}

static __attribute__((noinline)) int32_t ew_run_strided(const cr_call *call, const cr_ctx *ctx, ew_row f,
                                                        const float *p, credence_error *err) {
  ew_work w = {.f = f, .p = p, .tensors = call->n_in > 1 ? 3 : 2};
  const cr_tensor *t[3] = {&call->out[0], &call->in[0], &call->in[call->n_in - 1]};
  const int64_t elements = cr_nest_make(&w.nest, t, 3);
  if (elements == 0) return CREDENCE_OK;
  w.total = elements;
  bool rows = w.nest.step[0][0] == 4 && (w.nest.axes == 1 || w.nest.dim[0] >= EW_ROW);
  for (int32_t j = 0; j < 3; j++) {
    w.data[j] = t[j]->data;
    w.direct[j] = cr_nest_linear(&w.nest, j, 4);
    w.period[j] = cr_nest_period(&w.nest, j);
    rows = rows && (w.nest.step[j][0] == 0 || w.nest.step[j][0] == 4);
  }
  w.stream = elements >= EW_STREAM_ELEMENTS && w.data[0] != w.data[1] && w.data[0] != w.data[2];
  int64_t inner = w.nest.dim[0];
  w.path = rows ? EW_ROWS : EW_BLOCKS;
  w.block = inner <= EW_BLOCK ? EW_BLOCK / inner * inner : EW_BLOCK;
  w.chunk = EW_CHUNK / w.block * w.block;
  if (!rows && (w.turned = ew_turned_axis(&w)) != 0) {
    w.path = EW_TILES;
    w.total = ew_along(inner, EW_TILE_COLUMNS) * ew_along(w.nest.dim[w.turned], EW_TILE_ROWS);
    for (int32_t k = 1; k < w.nest.axes; k++)
      if (k != w.turned) w.total *= w.nest.dim[k];
    w.chunk = EW_CHUNK / (EW_TILE_ROWS * EW_TILE_COLUMNS);
  }
  if (elements < CR_SERIAL_ELEMENTS) {
    w.chunk = w.total;
    return ew_task(&w, 0, 0, err);
  }
  return cr_parallel(ctx, (w.total + w.chunk - 1) / w.chunk, ew_task, &w, err);
}

/* Computes out[0] = f(in[0], in[1]). Small dense operands cost little more than the arithmetic. */
static inline int32_t ew_run(const cr_call *call, const cr_ctx *ctx, ew_row f, const float *p, credence_error *err) {
  const int64_t n = call->dense;
  if (n < 0 || n >= CR_SERIAL_ELEMENTS) return ew_run_strided(call, ctx, f, p, err);
  f((float *)call->out[0].data, (const float *)call->in[0].data, (const float *)call->in[call->n_in - 1].data, n,
    EW_A | EW_B, p);
  return CREDENCE_OK;
}

#endif

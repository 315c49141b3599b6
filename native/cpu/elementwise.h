/* elementwise.h: the engine of all elementwise ops: one output and one or two inputs of its shape, any strides. A
 * family writes a row function per op; here are the paths to it: dense tensors at once, repeated operands as scalars or
 * rows, everything else through small blocks that are gathered first. */
#ifndef CREDENCE_CPU_ELEMENTWISE_H
#define CREDENCE_CPU_ELEMENTWISE_H

#include "strided.h"
#include "vec.h"

/* y[k] = f(a[k], b[k]) for n elements that lie side by side; an operand with step 0 is one number. p: attributes. */
typedef void (*ew_row)(float *y, const float *a, const float *b, int64_t n, int32_t step_a, int32_t step_b,
                       const float *p);

/* Defines such a row function: EXPR is over the vectors u (of a) and v (of b) and the attributes p. */
#define EW_LOOP(U, V, U_TAIL, V_TAIL, EXPR) \
  for (; k + CR_W <= n; k += CR_W) {        \
    vf u = U, v = V;                        \
    (void)v;                                \
    vf_store(y + k, EXPR);                  \
  }                                         \
  if (k < n) {                              \
    vf u = U_TAIL, v = V_TAIL;              \
    (void)v;                                \
    vf_store_n(y + k, EXPR, n - k);         \
  }
#define EW_BINARY(NAME, EXPR)                                                                           \
  static void NAME(float *y, const float *a, const float *b, int64_t n, int32_t step_a, int32_t step_b, \
                   const float *p) {                                                                    \
    (void)p;                                                                                            \
    int64_t k = 0;                                                                                      \
    if (step_a && step_b) {                                                                             \
      EW_LOOP(vf_load(a + k), vf_load(b + k), vf_load_n(a + k, n - k), vf_load_n(b + k, n - k), EXPR)   \
    } else if (step_a) {                                                                                \
      const vf s = vf_set(*b);                                                                          \
      EW_LOOP(vf_load(a + k), s, vf_load_n(a + k, n - k), s, EXPR)                                      \
    } else if (step_b) {                                                                                \
      const vf s = vf_set(*a);                                                                          \
      EW_LOOP(s, vf_load(b + k), s, vf_load_n(b + k, n - k), EXPR)                                      \
    } else {                                                                                            \
      const vf s = vf_set(*a), t = vf_set(*b);                                                          \
      EW_LOOP(s, t, s, t, EXPR)                                                                         \
    }                                                                                                   \
  }
#define EW_UNARY(NAME, EXPR)                                                                            \
  static void NAME(float *y, const float *a, const float *b, int64_t n, int32_t step_a, int32_t step_b, \
                   const float *p) {                                                                    \
    (void)b, (void)step_b, (void)p;                                                                     \
    int64_t k = 0;                                                                                      \
    const vf s = vf_set(*a);                                                                            \
    if (step_a) {                                                                                       \
      EW_LOOP(vf_load(a + k), u, vf_load_n(a + k, n - k), u, EXPR)                                      \
    } else {                                                                                            \
      EW_LOOP(s, s, s, s, EXPR)                                                                         \
    }                                                                                                   \
  }

#define EW_BLOCK 512   /* elements gathered at a time */
#define EW_CHUNK 32768 /* elements of a task, about */
#define EW_ROW 64      /* rows at least this long are worth a call each */

typedef struct ew_work {
  ew_row f;
  const float *p;
  char *data[3]; /* y, a, b; b is a for ops of one input */
  int32_t tensors;
  bool direct[3]; /* lies in the order of the elements: y[e] is at data + 4 e */
  bool rows;      /* innermost rows can be passed as they lie */
  int64_t total, block, chunk, period[3];
  cr_nest nest;
} ew_work;

/* Gathers elements start .. start + n - 1 of tensor j. */
static inline void ew_gather(const ew_work *w, int32_t j, int64_t start, int64_t n, float *to) {
  cr_nest_at at;
  cr_nest_seek(&w->nest, w->tensors, start, &at);
  int64_t step = w->nest.step[j][0];
  while (n > 0) {
    int64_t run = w->nest.dim[0] - at.index[0];
    if (run > n) run = n;
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
    int64_t run = w->nest.dim[0] - at.index[0];
    if (run > n) run = n;
    char *to = w->data[0] + at.offset[0];
    for (int64_t k = 0; k < run; k++) memcpy(to + k * step, from + k, 4);
    from += run;
    n -= run;
    cr_nest_advance(&w->nest, w->tensors, run, &at);
  }
}

static int32_t ew_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const ew_work *w = arg;
  int64_t start = index * w->chunk, end = start + w->chunk < w->total ? start + w->chunk : w->total;
  if (w->rows) {
    int32_t step_a = w->nest.step[1][0] != 0, step_b = w->nest.step[2][0] != 0;
    cr_nest_at at;
    cr_nest_seek(&w->nest, 3, start, &at);
    while (start < end) {
      int64_t n = w->nest.dim[0] - at.index[0];
      if (n > end - start) n = end - start;
      w->f((float *)(w->data[0] + at.offset[0]), (const float *)(w->data[1] + at.offset[1]),
           (const float *)(w->data[2] + at.offset[2]), n, step_a, step_b, w->p);
      start += n;
      cr_nest_advance(&w->nest, 3, n, &at);
    }
    return CREDENCE_OK;
  }
  float buffer[3][EW_BLOCK];
  bool gathered[3] = {false, false, false};
  for (; start < end; start += w->block) {
    int64_t n = end - start < w->block ? end - start : w->block;
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
    w->f(y, operand[1], w->tensors > 2 ? operand[2] : operand[1], n, 1, 1, w->p);
    if (!w->direct[0]) ew_scatter(w, start, n, y);
  }
  return CREDENCE_OK;
}

static __attribute__((noinline)) int32_t ew_run_strided(const cr_call *call, const cr_ctx *ctx, ew_row f,
                                                        const float *p, credence_error *err) {
  ew_work w = {.f = f, .p = p, .tensors = call->n_in > 1 ? 3 : 2};
  const cr_tensor *t[3] = {&call->out[0], &call->in[0], &call->in[call->n_in - 1]};
  w.total = cr_nest_make(&w.nest, t, 3);
  if (w.total == 0) return CREDENCE_OK;
  w.rows = w.nest.step[0][0] == 4 && (w.nest.axes == 1 || w.nest.dim[0] >= EW_ROW);
  for (int32_t j = 0; j < 3; j++) {
    w.data[j] = t[j]->data;
    w.direct[j] = cr_nest_linear(&w.nest, j, 4);
    w.period[j] = cr_nest_period(&w.nest, j);
    w.rows = w.rows && (w.nest.step[j][0] == 0 || w.nest.step[j][0] == 4);
  }
  int64_t inner = w.nest.dim[0];
  w.block = inner <= EW_BLOCK ? EW_BLOCK / inner * inner : EW_BLOCK;
  w.chunk = EW_CHUNK / w.block * w.block;
  if (w.total < CR_SERIAL_ELEMENTS) {
    w.chunk = w.total;
    return ew_task(&w, 0, 0, err);
  }
  return cr_parallel(ctx, (w.total + w.chunk - 1) / w.chunk, ew_task, &w, err);
}

/* Computes out[0] = f(in[0], in[1]). Small dense operands cost little more than the arithmetic. */
static inline int32_t ew_run(const cr_call *call, const cr_ctx *ctx, ew_row f, const float *p, credence_error *err) {
  const cr_tensor *y = &call->out[0], *a = &call->in[0], *b = &call->in[call->n_in - 1];
  int64_t n = 1;
  for (int32_t k = y->ndim - 1; k >= 0; k--) {
    int64_t step = 4 * n;
    if (((y->stride[k] ^ step) | (a->stride[k] ^ step) | (b->stride[k] ^ step)) != 0 && y->dim[k] != 1)
      return ew_run_strided(call, ctx, f, p, err);
    n *= y->dim[k];
  }
  if (n >= CR_SERIAL_ELEMENTS) return ew_run_strided(call, ctx, f, p, err);
  if (n > 0) f((float *)y->data, (const float *)a->data, (const float *)b->data, n, 1, 1, p);
  return CREDENCE_OK;
}

/* The check of every elementwise op: float32 tensors of one shape. */
static inline int32_t ew_check(const cr_call *call, const char *op, uint32_t n_in, uint32_t n_i, uint32_t n_f,
                               credence_error *err) {
  int32_t rc = cr_expect(call, op, n_in, n_in, 1, 0, n_i, n_f, err);
  for (uint32_t k = 0; k < n_in && rc == CREDENCE_OK; k++) {
    rc = cr_expect_dtype(&call->in[k], CREDENCE_F32, op, "input", err);
    if (rc == CREDENCE_OK) rc = cr_expect_same_shape(&call->in[k], &call->out[0], op, err);
  }
  return rc == CREDENCE_OK ? cr_expect_dtype(&call->out[0], CREDENCE_F32, op, "output", err) : rc;
}

#endif

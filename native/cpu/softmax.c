/* softmax.c: softmax and its relatives along rows.
 *
 * Every op is the same three passes over a row: the maximum m (where exponentials are summed), a sum s, and a map that
 * knows both. Short rows lie one in each lane; where rows are few and long the passes are spread over pieces of rows;
 * the order of the additions (cascade.h) does not change with that. NaN and Inf: ops/softmax.go says what is right;
 * they come out of the arithmetic by themselves, since -Inf - -Inf and Inf - Inf are NaN. */
#include "cascade.h"
#include "cr.h"
#include "isa.h"
#include "transpose.h"
#include "vmath.h"

#define TASK 16384        /* elements of a task, about */
#define FEW 32            /* fewer rows than this are split */
#define SHORT (2 * CR_W)  /* rows up to this length are worked on side by side, one per lane */
#define LEAF (64 * CR_W)  /* elements of a leaf of the sum's tree */
#define PIECE (16 * LEAF) /* elements of a part of a row; 2^k leaves, so that it is a subtree */

typedef enum kind {
  SOFTMAX,
  SOFTMAX_GRAD,
  LOG_SOFTMAX,
  LOG_SOFTMAX_GRAD,
  LOG_SUM_EXP,
  CROSS_ENTROPY,
  CROSS_ENTROPY_GRAD
} kind;

#define INLINE static inline __attribute__((always_inline))

/* The maximum of a row, what the map needs besides elements, and the numerator of the label's class. */
typedef struct row_scalars {
  float m, a, b, chosen;
} row_scalars;

typedef struct job {
  kind op;
  const float *x, *dy; /* dy: the gradient, of the rows or one number per row */
  const int32_t *label;
  float *y; /* rows, or one number per row */
  int64_t rows, n;
  int64_t share;        /* rows of a task */
  int64_t pieces;       /* of a row */
  row_scalars *scalars; /* of rows in pieces */
  float *maxima, *sums; /* of pieces; the sums are vectors */
} job;

INLINE bool has_max(kind op) { return op != SOFTMAX_GRAD && op != LOG_SOFTMAX_GRAD; }
INLINE bool has_map(kind op) { return op != LOG_SUM_EXP && op != CROSS_ENTROPY; }

/* ---- the passes, over n adjacent elements ---- */

static float max_of(const float *x, int64_t n) {
  const vf none = vf_set(-INFINITY);
  vf a = none, b = none, c = none, d = none;
  int64_t k = 0;
  for (; k + 4 * CR_W <= n; k += 4 * CR_W) {
    a = vf_max(a, vf_load(x + k));
    b = vf_max(b, vf_load(x + k + CR_W));
    c = vf_max(c, vf_load(x + k + 2 * CR_W));
    d = vf_max(d, vf_load(x + k + 3 * CR_W));
  }
  for (; k + CR_W <= n; k += CR_W) a = vf_max(a, vf_load(x + k));
  if (k < n) a = vf_max(a, vf_select(vi_lanes() < vi_set((int32_t)(n - k)), vf_load_n(x + k, n - k), none));
  return vf_max_lane(vf_max(vf_max(a, b), vf_max(c, d)));
}

/* The term that each element adds to the sum; the numerators of a softmax are kept in y. valid < CR_W: a tail. */
INLINE vf term(kind op, const float *x, const float *dy, float *y, float m, int64_t valid) {
  bool whole = valid == CR_W;
  if (op == SOFTMAX_GRAD) return whole ? vf_load(x) * vf_load(dy) : vf_load_n(x, valid) * vf_load_n(dy, valid);
  if (op == LOG_SOFTMAX_GRAD) return whole ? vf_load(dy) : vf_load_n(dy, valid);
  vf e = vf_exp_negative((whole ? vf_load(x) : vf_load_n(x, valid)) - vf_set(m));
  if (!whole) e = vf_where(vi_lanes() < vi_set((int32_t)valid), e);
  if (op == SOFTMAX || op == CROSS_ENTROPY_GRAD) {
    if (whole)
      vf_store(y, e);
    else
      vf_store_n(y, e, valid);
  }
  return e;
}

/* The sum of at most LEAF terms, in lanes. */
INLINE vf leaf(kind op, const float *x, const float *dy, float *y, float m, int64_t n) {
  vf a[4];
  for (int32_t k = 0; k < 4; k++) a[k] = vf_set(0);
  int64_t i = 0;
  for (; i + 4 * CR_W <= n; i += 4 * CR_W)
    for (int32_t k = 0; k < 4; k++) a[k] += term(op, x + i + k * CR_W, dy + i + k * CR_W, y + i + k * CR_W, m, CR_W);
  for (int32_t k = 0; i < n; i += CR_W, k++)
    a[k] += n - i >= CR_W ? term(op, x + i, dy + i, y + i, m, CR_W) : term(op, x + i, dy + i, y + i, m, n - i);
  return (a[0] + a[1]) + (a[2] + a[3]);
}

INLINE vf sum_of(kind op, const float *x, const float *dy, float *y, float m, int64_t n) {
  if (n <= LEAF) return leaf(op, x, dy, y, m, n);
  cr_cascade c;
  cr_cascade_start(&c);
  for (int64_t i = 0; i < n; i += LEAF)
    cr_cascade_push(&c, CR_JOIN_SUM, leaf(op, x + i, dy + i, y + i, m, n - i < LEAF ? n - i : LEAF));
  return cr_cascade_result(&c, CR_JOIN_SUM);
}

static float log_of(float s) { return vf_log(vf_set(s))[0]; }

/* What the map needs, once the row's sum is known. */
INLINE void scale(const job *j, kind op, int64_t r, float s, row_scalars *p) {
  bool divides = op == SOFTMAX || op == CROSS_ENTROPY_GRAD;
  p->a = divides ? 1 / s : op == LOG_SOFTMAX ? p->m : s;
  p->b = op == LOG_SOFTMAX ? log_of(s) : op == CROSS_ENTROPY_GRAD ? j->dy[r] : 0;
}

INLINE vf mapped(kind op, vf x, vf dy, vf y, vf a, vf b) {
  switch (op) {
    case SOFTMAX:
      return y * a;
    case SOFTMAX_GRAD:
      return x * (dy - a);
    case LOG_SOFTMAX:
      return (x - a) - b;
    case LOG_SOFTMAX_GRAD:
      return dy - vf_exp(x) * a;
    default: /* CROSS_ENTROPY_GRAD */
      return (y * a) * b;
  }
}

INLINE void map(kind op, const float *x, const float *dy, float *y, row_scalars s, int64_t n) {
  const vf a = vf_set(s.a), b = vf_set(s.b), none = vf_set(0);
  const bool reads_x = op == SOFTMAX_GRAD || op == LOG_SOFTMAX || op == LOG_SOFTMAX_GRAD;
  const bool reads_dy = op == SOFTMAX_GRAD || op == LOG_SOFTMAX_GRAD;
  int64_t k = 0;
  for (; k + CR_W <= n; k += CR_W)
    vf_store(y + k, mapped(op, reads_x ? vf_load(x + k) : none, reads_dy ? vf_load(dy + k) : none,
                           reads_x ? none : vf_load(y + k), a, b));
  if (k < n)
    vf_store_n(y + k,
               mapped(op, reads_x ? vf_load_n(x + k, n - k) : none, reads_dy ? vf_load_n(dy + k, n - k) : none,
                      reads_x ? none : vf_load_n(y + k, n - k), a, b),
               n - k);
}

/* ---- rows ---- */

static int32_t bad_label(const job *j, int64_t r, credence_error *err) {
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: label %d of row %lld is outside -1 to %lld",
                 j->op == CROSS_ENTROPY ? "cross_entropy" : "cross_entropy_grad", j->label[r], (long long)r,
                 (long long)j->n - 1);
}

/* With the sum of row r: its result, if that is one number, else what the map needs. */
INLINE void finish_row(const job *j, kind op, int64_t r, float s, row_scalars *p) {
  const float m = p->m;
  if (op == LOG_SUM_EXP) {
    j->y[r] = m - m == 0 ? m + log_of(s) : m; /* an infinite or NaN maximum is the result */
  } else if (op == CROSS_ENTROPY) {
    j->y[r] = (m - j->x[r * j->n + j->label[r]]) + log_of(s);
  } else {
    scale(j, op, r, s, p);
    if (op == CROSS_ENTROPY_GRAD) p->chosen = j->y[r * j->n + j->label[r]];
  }
}

/* The gradient of the label's logit has a 1 less. */
INLINE void put_label(const job *j, int64_t r, row_scalars p) {
  j->y[r * j->n + j->label[r]] = (p.chosen * p.a - 1) * p.b;
}

/* Everything for one row. Rows whose label is -1 do not count. */
INLINE int32_t whole_row(const job *j, kind op, int64_t r, credence_error *err) {
  const bool labelled = op == CROSS_ENTROPY || op == CROSS_ENTROPY_GRAD;
  const int64_t n = j->n, at = r * n;
  const float *x = j->x + at, *dy = j->dy + (labelled ? 0 : at);
  float *y = j->y + (has_map(op) ? at : 0);
  if (labelled) {
    int32_t label = j->label[r];
    if (label < -1 || label >= n) return bad_label(j, r, err);
    if (label == -1) {
      memset(has_map(op) ? y : y + r, 0, has_map(op) ? (size_t)n * 4 : 4);
      return CREDENCE_OK;
    }
  }
  row_scalars p = {.m = has_max(op) ? max_of(x, n) : 0};
  finish_row(j, op, r, vf_sum(sum_of(op, x, dy, y, p.m, n)), &p);
  if (!has_map(op)) return CREDENCE_OK;
  map(op, x, dy, y, p, n);
  if (labelled) put_label(j, r, p);
  return CREDENCE_OK;
}

/* ---- short rows, CR_W of them side by side ---- */

/* column[c] holds element c of `rows` rows; lanes beyond them are 0. */
INLINE void load_columns(const float *x, int64_t rows, int64_t n, vf *column) {
  for (int64_t c = 0; c < n; c += CR_W) {
    for (int64_t k = 0; k < CR_W; k++) {
      const float *at = x + k * n + c;
      column[c + k] = k >= rows ? vf_set(0) : n - c >= CR_W ? vf_load(at) : vf_load_n(at, n - c);
    }
    cr_turn(column + c);
  }
}

INLINE void store_columns(float *y, int64_t rows, int64_t n, vf *column) {
  for (int64_t c = 0; c < n; c += CR_W) {
    cr_turn(column + c);
    for (int64_t k = 0; k < rows; k++) {
      if (n - c >= CR_W)
        vf_store(y + k * n + c, column[c + k]);
      else
        vf_store_n(y + k * n + c, column[c + k], n - c);
    }
  }
}

INLINE vf load_some(const float *x, int64_t rows) { return rows == CR_W ? vf_load(x) : vf_load_n(x, rows); }

/* Rows r .. r + rows - 1, at most CR_W. */
INLINE int32_t short_rows(const job *j, kind op, int64_t r, int64_t rows, credence_error *err) {
  const bool labelled = op == CROSS_ENTROPY || op == CROSS_ENTROPY_GRAD, pairs = !has_max(op);
  const int64_t n = j->n;
  const vf zero = vf_set(0);
  int32_t label_lane[CR_W] = {0};
  float chosen_lane[CR_W] = {0};
  for (int64_t k = 0; k < rows && labelled; k++) {
    int32_t label = label_lane[k] = j->label[r + k];
    if (label < -1 || label >= n) return bad_label(j, r + k, err);
    if (label >= 0) chosen_lane[k] = j->x[(r + k) * n + label];
  }
  vf x[SHORT], dy[SHORT], m = vf_set(-INFINITY), s[2] = {zero, zero};
  load_columns(j->x + r * n, rows, n, x);
  if (pairs) load_columns(j->dy + r * n, rows, n, dy);
  for (int64_t c = 0; c < n && has_max(op); c++) m = vf_max(m, x[c]);
  for (int64_t c = 0; c < n; c++) {
    vf e = op == SOFTMAX_GRAD ? x[c] * dy[c] : op == LOG_SOFTMAX_GRAD ? dy[c] : vf_exp_negative(x[c] - m);
    s[c & 1] += e;
    if (op == SOFTMAX || op == CROSS_ENTROPY_GRAD) x[c] = e;
  }
  const vf sum = s[0] + s[1];
  vi label;
  memcpy(&label, label_lane, sizeof label);
  if (!has_map(op)) {
    vf y = op == LOG_SUM_EXP ? vf_select(m - m == zero, m + vf_log(sum), m)
                             : vf_where(label >= 0, (m - vf_load(chosen_lane)) + vf_log(sum));
    if (rows == CR_W)
      vf_store(j->y + r, y);
    else
      vf_store_n(j->y + r, y, rows);
    return CREDENCE_OK;
  }
  const vf a = op == SOFTMAX || op == CROSS_ENTROPY_GRAD ? vf_set(1) / sum : op == LOG_SOFTMAX ? m : sum;
  const vf b = op == LOG_SOFTMAX ? vf_log(sum) : op == CROSS_ENTROPY_GRAD ? load_some(j->dy + r, rows) : zero;
  for (int64_t c = 0; c < n; c++) {
    if (labelled) {
      vf chosen = vf_where(label == vi_set((int32_t)c), vf_set(1));
      x[c] = vf_where(label >= 0, (x[c] * a - chosen) * b);
    } else {
      x[c] = mapped(op, x[c], pairs ? dy[c] : zero, x[c], a, b);
    }
  }
  store_columns(j->y + r * n, rows, n, x);
  return CREDENCE_OK;
}

INLINE int32_t some_rows(const job *j, kind op, int64_t index, credence_error *err) {
  int64_t end = (index + 1) * j->share < j->rows ? (index + 1) * j->share : j->rows;
  int32_t rc = CREDENCE_OK;
  if (j->n <= SHORT)
    for (int64_t r = index * j->share; r < end && rc == CREDENCE_OK; r += CR_W)
      rc = short_rows(j, op, r, end - r < CR_W ? end - r : CR_W, err);
  else
    for (int64_t r = index * j->share; r < end && rc == CREDENCE_OK; r++) rc = whole_row(j, op, r, err);
  return rc;
}

/* ---- few long rows, in pieces ---- */

typedef struct piece {
  int64_t row, at, n; /* at: of its first element in the tensor */
} piece;

INLINE piece piece_of(const job *j, int64_t index) {
  int64_t start = index % j->pieces * PIECE;
  return (piece){index / j->pieces, index / j->pieces * j->n + start, j->n - start < PIECE ? j->n - start : PIECE};
}

INLINE bool counts(const job *j, int64_t r) { return !j->label || j->label[r] >= 0; }

INLINE void max_piece(const job *j, int64_t index) {
  piece p = piece_of(j, index);
  j->maxima[index] = max_of(j->x + p.at, p.n);
}

INLINE void sum_piece(const job *j, kind op, int64_t index) {
  piece p = piece_of(j, index);
  const float *dy = j->dy + (j->label ? 0 : p.at);
  float *y = j->y + (has_map(op) ? p.at : 0);
  vf_store(j->sums + index * CR_W, sum_of(op, j->x + p.at, dy, y, j->scalars[p.row].m, p.n));
}

INLINE void map_piece(const job *j, kind op, int64_t index) {
  piece p = piece_of(j, index);
  if (counts(j, p.row))
    map(op, j->x + p.at, j->dy + (j->label ? 0 : p.at), j->y + p.at, j->scalars[p.row], p.n);
  else
    memset(j->y + p.at, 0, (size_t)p.n * 4);
}

/* ---- ops ---- */

/* The functions of one op; the compiler makes each for its constant kind. */
#define TASKS(OP)                                                                           \
  static int32_t rows_##OP(void *arg, int64_t index, int32_t worker, credence_error *err) { \
    (void)worker;                                                                           \
    return some_rows(arg, OP, index, err);                                                  \
  }                                                                                         \
  static int32_t sum_##OP(void *arg, int64_t index, int32_t worker, credence_error *err) {  \
    (void)worker, (void)err;                                                                \
    sum_piece(arg, OP, index);                                                              \
    return CREDENCE_OK;                                                                     \
  }                                                                                         \
  static int32_t map_##OP(void *arg, int64_t index, int32_t worker, credence_error *err) {  \
    (void)worker, (void)err;                                                                \
    if (has_map(OP)) map_piece(arg, OP, index);                                             \
    return CREDENCE_OK;                                                                     \
  }

TASKS(SOFTMAX)
TASKS(SOFTMAX_GRAD)
TASKS(LOG_SOFTMAX)
TASKS(LOG_SOFTMAX_GRAD)
TASKS(LOG_SUM_EXP)
TASKS(CROSS_ENTROPY)
TASKS(CROSS_ENTROPY_GRAD)

static int32_t max_any(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  max_piece(arg, index);
  return CREDENCE_OK;
}

typedef struct passes {
  cr_task_fn rows, sum, map;
} passes;

#define PASSES(OP) [OP] = {rows_##OP, sum_##OP, map_##OP}
static const passes all_passes[] = {PASSES(SOFTMAX),           PASSES(SOFTMAX_GRAD), PASSES(LOG_SOFTMAX),
                                    PASSES(LOG_SOFTMAX_GRAD),  PASSES(LOG_SUM_EXP),  PASSES(CROSS_ENTROPY),
                                    PASSES(CROSS_ENTROPY_GRAD)};

static int32_t run_pieces(job *j, const cr_ctx *ctx, credence_error *err) {
  const passes *does = &all_passes[j->op];
  int64_t tasks = j->rows * j->pieces;
  for (int64_t r = 0; r < j->rows && j->label; r++)
    if (j->label[r] < -1 || j->label[r] >= j->n) return bad_label(j, r, err);
  if (has_max(j->op)) {
    int32_t rc = cr_parallel(ctx, tasks, max_any, j, err);
    if (rc != CREDENCE_OK) return rc;
  }
  for (int64_t r = 0; r < j->rows; r++) {
    const float *m = j->maxima + r * j->pieces;
    vf most = vf_set(has_max(j->op) ? m[0] : 0);
    for (int64_t p = 1; p < j->pieces && has_max(j->op); p++) most = vf_max(most, vf_set(m[p]));
    j->scalars[r] = (row_scalars){.m = most[0]};
  }
  int32_t rc = cr_parallel(ctx, tasks, does->sum, j, err);
  if (rc != CREDENCE_OK) return rc;
  for (int64_t r = 0; r < j->rows; r++) {
    if (!counts(j, r)) {
      if (!has_map(j->op)) j->y[r] = 0;
      continue;
    }
    cr_cascade c;
    cr_cascade_start(&c);
    for (int64_t p = 0; p < j->pieces; p++)
      cr_cascade_push(&c, CR_JOIN_SUM, vf_load(j->sums + (r * j->pieces + p) * CR_W));
    finish_row(j, j->op, r, vf_sum(cr_cascade_result(&c, CR_JOIN_SUM)), &j->scalars[r]);
  }
  if (!has_map(j->op)) return CREDENCE_OK;
  rc = cr_parallel(ctx, tasks, does->map, j, err);
  for (int64_t r = 0; r < j->rows && j->label && rc == CREDENCE_OK; r++)
    if (counts(j, r)) put_label(j, r, j->scalars[r]);
  return rc;
}

static int32_t run(const cr_call *call, const cr_ctx *ctx, kind op, credence_error *err) {
  const bool labelled = op == CROSS_ENTROPY || op == CROSS_ENTROPY_GRAD;
  const cr_tensor *x = &call->in[0], *dy = &call->in[call->n_in - 1];
  job j = {.op = op,
           .x = (const float *)x->data,
           .dy = (const float *)dy->data,
           .y = (float *)call->out[0].data,
           .label = labelled ? (const int32_t *)call->in[1].data : NULL,
           .rows = x->dim[0],
           .n = x->dim[1]};
  if (j.rows == 0) return CREDENCE_OK;
  j.share = j.n > 0 && j.n < TASK ? TASK / j.n : 1;
  if (j.rows * j.n < CR_SERIAL_ELEMENTS) {
    j.share = j.rows;
    return all_passes[op].rows(&j, 0, 0, err);
  }
  if (j.rows >= FEW || j.n < 2 * PIECE)
    return cr_parallel(ctx, (j.rows + j.share - 1) / j.share, all_passes[op].rows, &j, err);
  j.pieces = (j.n + PIECE - 1) / PIECE;
  j.sums = (float *)ctx->scratch;
  j.scalars = (row_scalars *)(j.sums + j.rows * j.pieces * CR_W);
  j.maxima = (float *)(j.scalars + j.rows);
  return run_pieces(&j, ctx, err);
}

static void scratch_rows(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  const cr_tensor *x = &call->in[0];
  if (x->dim[0] * x->dim[1] < CR_SERIAL_ELEMENTS || x->dim[1] < 2 * PIECE) return;
  int64_t rows = x->dim[0] < FEW ? x->dim[0] : FEW, pieces = (x->dim[1] + PIECE - 1) / PIECE;
  scratch->shared = (size_t)(rows * pieces * (CR_W + 1)) * sizeof(float) + (size_t)rows * sizeof(row_scalars);
}

#define OP(NAME, KIND)                                                                     \
  static int32_t run_##NAME(const cr_call *call, const cr_ctx *ctx, credence_error *err) { \
    return run(call, ctx, KIND, err);                                                      \
  }

OP(softmax, SOFTMAX)
OP(softmax_grad, SOFTMAX_GRAD)
OP(log_softmax, LOG_SOFTMAX)
OP(log_softmax_grad, LOG_SOFTMAX_GRAD)
OP(log_sum_exp, LOG_SUM_EXP)
OP(cross_entropy, CROSS_ENTROPY)
OP(cross_entropy_grad, CROSS_ENTROPY_GRAD)

CR_FAMILY(softmax, {CREDENCE_OP_SOFTMAX, .scratch = scratch_rows, .run = run_softmax},
          {CREDENCE_OP_SOFTMAX_GRAD, .scratch = scratch_rows, .run = run_softmax_grad},
          {CREDENCE_OP_LOG_SOFTMAX, .scratch = scratch_rows, .run = run_log_softmax},
          {CREDENCE_OP_LOG_SOFTMAX_GRAD, .scratch = scratch_rows, .run = run_log_softmax_grad},
          {CREDENCE_OP_LOG_SUM_EXP, .scratch = scratch_rows, .run = run_log_sum_exp},
          {CREDENCE_OP_CROSS_ENTROPY, .scratch = scratch_rows, .run = run_cross_entropy},
          {CREDENCE_OP_CROSS_ENTROPY_GRAD, .scratch = scratch_rows, .run = run_cross_entropy_grad})

/* reduce.c: sums, means, extremes and sums of squares over any axes.
 *
 * The axis along which elements are adjacent becomes the inner one. If it is reduced, an output is a sum along rows:
 * lanes are partial sums (ROWS). If it stays, outputs are columns that are summed side by side (COLUMNS). Either way
 * the order of the additions is a tree that depends on the shape of what is reduced only (cascade.h), so neither the
 * number of outputs nor that of the tasks changes a bit. */
#include "cascade.h"
#include "cr.h"
#include "isa.h"

#define TASK 32768        /* elements of a task, about */
#define FEW 32            /* fewer independent pieces of work than this are split along the reduced axes */
#define SPLITS 128        /* into at most so many tasks */
#define LEAF_ROWS 16      /* COLUMNS: rows of a leaf of the tree */
#define COLUMN_BLOCK 1024 /* COLUMNS: most columns of a task */
#define LEAF (64 * CR_W)  /* ROWS: elements of a leaf */
#define AHEAD 256         /* ROWS: elements fetched ahead: rows in no cache are summed 1.2 to 1.45 times as fast */

typedef struct axis {
  int64_t dim, in, out; /* strides in bytes */
} axis;

typedef struct axes {
  int32_t n;
  axis a[CREDENCE_MAX_DIMS]; /* outermost first */
} axes;

typedef struct job {
  const cr_ctx *ctx;
  const char *x;
  char *y;
  bool squares, columns;
  cr_join join;
  float divisor; /* of the result; 1 but for means */
  axes kept, reduced;
  axis inner;
  int64_t outer, rows;   /* products of kept and reduced: work is (outer, rows, inner) */
  int64_t block, blocks; /* COLUMNS: columns of a unit, units along inner */
  int64_t group, groups; /* rows that are summed together, and how many such groups an output has */
  int64_t piece, pieces; /* ROWS: the same for the elements of one row; more than one only if group is 1 */
  int64_t units, share;  /* units of work, and how many of them a task does */
  float *partial;        /* results of groups and pieces, if there are several */
} job;

/* ---- the description of the work ---- */

static void add_axis(axes *list, axis a) {
  axis *last = &list->a[list->n - 1];
  if (list->n > 0 && last->in == a.in * a.dim && last->out == a.out * a.dim) {
    *last = (axis){last->dim * a.dim, a.in, a.out};
  } else {
    list->a[list->n++] = a;
  }
}

static int64_t count_of(const axes *list) {
  int64_t n = 1;
  for (int32_t k = 0; k < list->n; k++) n *= list->a[k].dim;
  return n;
}

static int64_t place_in(const axes *list, int64_t index) {
  if (list->n == 1) return index * list->a[0].in;
  int64_t at = 0;
  for (int32_t k = list->n - 1; k >= 0; k--) {
    at += index % list->a[k].dim * list->a[k].in;
    index /= list->a[k].dim;
  }
  return at;
}

static int64_t place_out(const axes *list, int64_t index) {
  if (list->n == 1) return index * list->a[0].out;
  int64_t at = 0;
  for (int32_t k = list->n - 1; k >= 0; k--) {
    at += index % list->a[k].dim * list->a[k].out;
    index /= list->a[k].dim;
  }
  return at;
}

static axis take(axes *list, int32_t k) {
  axis a = list->a[k];
  for (list->n--; k < list->n; k++) list->a[k] = list->a[k + 1];
  return a;
}

static int64_t distance(int64_t stride) { return stride < 0 ? -stride : stride; }

/* Picks the inner axis: one along which elements are adjacent; else the reduced one with the shortest step. */
static void choose_inner(job *j) {
  for (int32_t k = 0; k < j->reduced.n; k++)
    if (j->reduced.a[k].in == 4) {
      j->inner = take(&j->reduced, k);
      return;
    }
  for (int32_t k = 0; k < j->kept.n; k++)
    if (j->kept.a[k].in == 4) {
      j->inner = take(&j->kept, k);
      j->columns = true;
      return;
    }
  if (j->reduced.n == 0) {
    j->inner = (axis){1, 4, 4};
    return;
  }
  int32_t best = 0;
  for (int32_t k = 1; k < j->reduced.n; k++)
    if (distance(j->reduced.a[k].in) < distance(j->reduced.a[best].in)) best = k;
  j->inner = take(&j->reduced, best);
}

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* How many units of `size` elements, doubled until they fill a task and no more than `most` of them make up n. */
static int64_t grow(int64_t size, int64_t n, int64_t width, int64_t most) {
  while (size < n && (size * width < TASK || ceil_div(n, size) > most)) size *= 2;
  return size;
}

/* Divides the work into units: an output (or a block of columns), or where there are few, a part of its sum. */
static void divide(job *j, int64_t elements) {
  j->block = j->columns ? least(j->inner.dim, COLUMN_BLOCK) : 1;
  j->blocks = j->columns ? ceil_div(j->inner.dim, j->block) : 1;
  j->group = j->rows > 0 ? j->rows : 1;
  j->piece = j->inner.dim > 0 ? j->inner.dim : 1;
  int64_t whole = j->outer * j->blocks;
  if (elements >= CR_SERIAL_ELEMENTS && whole < FEW) {
    int64_t most = SPLITS / whole;
    if (j->columns) {
      j->group = grow(LEAF_ROWS, j->rows, j->block, most);
    } else if (j->inner.dim > TASK && j->rows <= most) {
      j->group = 1;
      j->piece = grow(LEAF, j->inner.dim, 1, most / j->rows);
    } else {
      j->group = grow(1, j->rows, j->inner.dim, most);
    }
  }
  j->groups = ceil_div(j->rows, j->group);
  j->pieces = j->columns ? 1 : ceil_div(j->inner.dim, j->piece);
  j->units = whole * j->groups * j->pieces;
  int64_t work = j->columns ? j->block * j->group : j->piece * j->group;
  j->share = work < TASK ? TASK / work : 1;
}

/* ---- ROWS ---- */

static inline __attribute__((always_inline)) vf term(vf v, bool squares) { return squares ? v * v : v; }

static inline vf tail_of(const float *x, int64_t n, cr_join join) {
  vf v = vf_load_n(x, n);
  if (join == CR_JOIN_SUM) return v;
  vi valid = vi_lanes() < vi_set((int32_t)n);
  return vf_select(valid, v, vf_set(cr_neutral(join)));
}

/* Sum of at most LEAF adjacent elements, in lanes. */
static inline __attribute__((always_inline)) vf leaf_of_row(const float *x, int64_t n, cr_join join, bool squares) {
  vf a[4];
  for (int32_t k = 0; k < 4; k++) a[k] = vf_set(cr_neutral(join));
  int64_t i = 0;
  for (; i + 4 * CR_W <= n; i += 4 * CR_W)
    for (int32_t k = 0; k < 4; k++) {
      __builtin_prefetch(x + i + k * CR_W + AHEAD);
      a[k] = cr_joined(join, a[k], term(vf_load(x + i + k * CR_W), squares));
    }
  for (int32_t k = 0; i < n; i += CR_W, k++) {
    vf v = n - i >= CR_W ? vf_load(x + i) : tail_of(x + i, n - i, join);
    a[k] = cr_joined(join, a[k], term(v, squares));
  }
  return cr_joined(join, cr_joined(join, a[0], a[1]), cr_joined(join, a[2], a[3]));
}

/* Sum of elements start .. start + n - 1 of a row, in lanes; start is a multiple of LEAF. */
static inline __attribute__((always_inline)) vf sum_row(const job *j, const char *row, int64_t start, int64_t n,
                                                        cr_join join, bool squares) {
  cr_cascade c;
  cr_cascade_start(&c);
  int64_t step = j->inner.in;
  row += start * step;
  for (int64_t i = 0; i < n; i += LEAF, row += LEAF * step) {
    int64_t m = least(n - i, LEAF);
    float gathered[LEAF];
    const float *x = (const float *)row;
    if (step != 4) {
      for (int64_t k = 0; k < m; k++) memcpy(gathered + k, row + k * step, 4);
      x = gathered;
    }
    vf v = leaf_of_row(x, m, join, squares);
    if (n <= LEAF) return v;
    cr_cascade_push(&c, join, v);
  }
  return cr_cascade_result(&c, join);
}

static inline __attribute__((always_inline)) void row_unit(const job *j, int64_t unit, cr_join join, bool squares) {
  int64_t p = unit % j->pieces, g = unit / j->pieces % j->groups, o = unit / j->pieces / j->groups;
  int64_t start = p * j->piece, n = least(j->inner.dim - start, j->piece);
  int64_t first = g * j->group, end = least(first + j->group, j->rows);
  const char *x = j->x + place_in(&j->kept, o);
  vf v;
  if (end - first == 1) {
    v = sum_row(j, x + place_in(&j->reduced, first), start, n, join, squares);
  } else {
    cr_cascade c;
    cr_cascade_start(&c);
    for (int64_t r = first; r < end; r++)
      cr_cascade_push(&c, join, sum_row(j, x + place_in(&j->reduced, r), start, n, join, squares));
    v = cr_cascade_result(&c, join);
  }
  if (j->partial)
    vf_store(j->partial + unit * CR_W, v);
  else
    *(float *)(j->y + place_out(&j->kept, o)) = cr_lanes_joined(join, v) / j->divisor;
}

/* Joins the parts of output o. */
static void row_finish(const job *j, int64_t o) {
  cr_cascade all;
  cr_cascade_start(&all);
  const float *part = j->partial + o * j->groups * j->pieces * CR_W;
  for (int64_t g = 0; g < j->groups; g++) {
    cr_cascade row;
    cr_cascade_start(&row);
    for (int64_t p = 0; p < j->pieces; p++, part += CR_W) cr_cascade_push(&row, j->join, vf_load(part));
    cr_cascade_push(&all, j->join, cr_cascade_result(&row, j->join));
  }
  *(float *)(j->y + place_out(&j->kept, o)) = cr_lanes_joined(j->join, cr_cascade_result(&all, j->join)) / j->divisor;
}

/* ---- COLUMNS ---- */

static void put_columns(const job *j, int64_t o, int64_t column, const float *v, int64_t n) {
  char *y = j->y + place_out(&j->kept, o) + column * j->inner.out;
  for (int64_t k = 0; k < n; k++, y += j->inner.out) *(float *)y = v[k] / j->divisor;
}

/* Sum of m <= LEAF_ROWS rows at column c, n lanes valid. */
static inline __attribute__((always_inline)) vf leaf_of_column(const float *const *row, int64_t m, int64_t c, int64_t n,
                                                               cr_join join, bool squares) {
  vf a[4];
  for (int32_t k = 0; k < 4; k++) a[k] = vf_set(cr_neutral(join));
  for (int64_t i = 0; i < m; i++) {
    vf v = term(n < CR_W ? vf_load_n(row[i] + c, n) : vf_load(row[i] + c), squares);
    a[i & 3] = cr_joined(join, a[i & 3], v);
  }
  return cr_joined(join, cr_joined(join, a[0], a[1]), cr_joined(join, a[2], a[3]));
}

static inline __attribute__((always_inline)) void column_unit(const job *j, int64_t unit, float *part, cr_join join,
                                                              bool squares) {
  int64_t g = unit % j->groups, b = unit / j->groups % j->blocks, o = unit / j->groups / j->blocks;
  int64_t column = b * j->block, n = least(j->inner.dim - column, j->block), stored = ceil_div(n, CR_W) * CR_W;
  int64_t first = g * j->group, end = least(first + j->group, j->rows);
  const char *x = j->x + place_in(&j->kept, o) + column * 4;
  /* part is a cascade of rows of numbers: part + k stored holds a subtree of 2^k leaves */
  uint64_t count = 0;
  for (int64_t r = first; r < end; r += LEAF_ROWS, count++) {
    const float *row[LEAF_ROWS];
    int64_t m = least(end - r, LEAF_ROWS);
    for (int64_t i = 0; i < m; i++) row[i] = (const float *)(x + place_in(&j->reduced, r + i));
    for (int64_t c = 0; c < n; c += CR_W) {
      vf v;
      if (n - c >= CR_W)
        v = m == LEAF_ROWS ? leaf_of_column(row, LEAF_ROWS, c, CR_W, join, squares)
                           : leaf_of_column(row, m, c, CR_W, join, squares);
      else
        v = leaf_of_column(row, m, c, n - c, join, squares);
      float *to = part + c;
      for (uint64_t k = count; k & 1; k >>= 1, to += stored) v = cr_joined(join, vf_load(to), v);
      vf_store(to, v);
    }
  }
  /* the remaining subtrees, smallest first */
  float *sum = part;
  for (; !(count & 1); count >>= 1) sum += stored;
  const float *next = sum + stored;
  for (count >>= 1; count; count >>= 1, next += stored)
    for (int64_t c = 0; c < n && (count & 1); c += CR_W)
      vf_store(sum + c, cr_joined(join, vf_load(next + c), vf_load(sum + c)));
  if (j->partial)
    memcpy(j->partial + (o * j->groups + g) * j->inner.dim + column, sum, (size_t)n * 4);
  else
    put_columns(j, o, column, sum, n);
}

/* Joins the groups of a block of columns. */
static void column_finish(const job *j, int64_t unit) {
  int64_t o = unit / j->blocks, column = unit % j->blocks * j->block;
  int64_t end = least(column + j->block, j->inner.dim);
  for (; column < end; column += CR_W) {
    cr_cascade c;
    cr_cascade_start(&c);
    int64_t n = least(end - column, CR_W);
    const float *part = j->partial + o * j->groups * j->inner.dim + column;
    for (int64_t g = 0; g < j->groups; g++, part += j->inner.dim)
      cr_cascade_push(&c, j->join, n < CR_W ? vf_load_n(part, n) : vf_load(part));
    float v[CR_W];
    vf_store(v, cr_cascade_result(&c, j->join));
    put_columns(j, o, column, v, n);
  }
}

/* ---- tasks ---- */

static inline __attribute__((always_inline)) void do_units(const job *j, int64_t index, int32_t worker, cr_join join,
                                                           bool squares) {
  int64_t end = least((index + 1) * j->share, j->units);
  float *part = (float *)cr_worker_scratch(j->ctx, worker);
  for (int64_t u = index * j->share; u < end; u++) {
    if (j->columns)
      column_unit(j, u, part, join, squares);
    else
      row_unit(j, u, join, squares);
  }
}

static int32_t task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)err;
  const job *j = arg;
  if (j->squares)
    do_units(j, index, worker, CR_JOIN_SUM, true);
  else if (j->join == CR_JOIN_MAX)
    do_units(j, index, worker, CR_JOIN_MAX, false);
  else if (j->join == CR_JOIN_MIN)
    do_units(j, index, worker, CR_JOIN_MIN, false);
  else
    do_units(j, index, worker, CR_JOIN_SUM, false);
  return CREDENCE_OK;
}

static int32_t finish_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const job *j = arg;
  if (j->columns)
    column_finish(j, index);
  else
    row_finish(j, index);
  return CREDENCE_OK;
}

static int32_t run(const cr_call *call, const cr_ctx *ctx, cr_join join, bool squares, bool mean, credence_error *err) {
  const cr_tensor *x = &call->in[0], *y = &call->out[0];
  job j = {.ctx = ctx, .x = x->data, .y = y->data, .squares = squares, .join = join, .divisor = 1};
  int64_t outputs = 1, reduced = 1;
  for (int32_t k = 0; k < x->ndim; k++) {
    bool sum = call->i[0] >> k & 1;
    if (sum)
      reduced *= x->dim[k];
    else
      outputs *= x->dim[k];
    if (x->dim[k] != 1) add_axis(sum ? &j.reduced : &j.kept, (axis){x->dim[k], x->stride[k], sum ? 0 : y->stride[k]});
  }
  if (outputs == 0) return CREDENCE_OK;
  if (mean) j.divisor = (float)reduced;
  if (reduced == 0) {
    for (int64_t o = 0; o < outputs; o++) *(float *)(j.y + place_out(&j.kept, o)) = cr_neutral(join) / j.divisor;
    return CREDENCE_OK;
  }
  choose_inner(&j);
  j.outer = count_of(&j.kept);
  j.rows = count_of(&j.reduced);
  divide(&j, outputs * reduced);
  if (j.groups * j.pieces > 1) j.partial = (float *)ctx->scratch;
  if (outputs * reduced < CR_SERIAL_ELEMENTS) {
    j.share = j.units;
    return task(&j, 0, 0, err);
  }
  int32_t rc = cr_parallel(ctx, ceil_div(j.units, j.share), task, &j, err);
  if (rc == CREDENCE_OK && j.partial) rc = cr_parallel(ctx, j.outer * j.blocks, finish_task, &j, err);
  return rc;
}

/* ---- ops ---- */

static void scratch_reduce(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  const cr_tensor *x = &call->in[0];
  int64_t outputs = 1, reduced = 1;
  for (int32_t k = 0; k < x->ndim; k++) {
    if (call->i[0] >> k & 1)
      reduced *= x->dim[k];
    else
      outputs *= x->dim[k];
  }
  /* COLUMNS: a cascade of rows of at most COLUMN_BLOCK numbers. Partial results: where fewer than FEW units are split
   * they become at most SPLITS of at most COLUMN_BLOCK numbers each (see divide). */
  int64_t columns = least(ceil_div(outputs, CR_W) * CR_W, COLUMN_BLOCK), levels = 1;
  for (int64_t leaves = ceil_div(reduced, LEAF_ROWS); leaves > 0; leaves >>= 1) levels++;
  scratch->per_thread = (size_t)(columns * levels) * 4;
  scratch->shared = outputs * reduced < CR_SERIAL_ELEMENTS ? 0 : (size_t)SPLITS * COLUMN_BLOCK * 4;
}

#define REDUCE(NAME, JOIN, SQUARES, MEAN)                                                  \
  static int32_t run_##NAME(const cr_call *call, const cr_ctx *ctx, credence_error *err) { \
    return run(call, ctx, JOIN, SQUARES, MEAN, err);                                       \
  }

REDUCE(reduce_sum, CR_JOIN_SUM, false, false)
REDUCE(reduce_mean, CR_JOIN_SUM, false, true)
REDUCE(reduce_max, CR_JOIN_MAX, false, false)
REDUCE(reduce_min, CR_JOIN_MIN, false, false)
REDUCE(reduce_sum_squares, CR_JOIN_SUM, true, false)

CR_FAMILY(reduce, {CREDENCE_OP_REDUCE_SUM, .scratch = scratch_reduce, .run = run_reduce_sum},
          {CREDENCE_OP_REDUCE_MEAN, .scratch = scratch_reduce, .run = run_reduce_mean},
          {CREDENCE_OP_REDUCE_MAX, .scratch = scratch_reduce, .run = run_reduce_max},
          {CREDENCE_OP_REDUCE_MIN, .scratch = scratch_reduce, .run = run_reduce_min},
          {CREDENCE_OP_REDUCE_SUM_SQUARES, .scratch = scratch_reduce, .run = run_reduce_sum_squares})

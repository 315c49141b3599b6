/* SPARSE_FFN and SPARSE_FFN_GATED: a feed-forward block that reads the rows of inactive neurons of the second and third
 * matrix only where that is faster, with the same result to the bit; and its second and third step by themselves,
 * MASKED_LINEAR and SPARSE_LINEAR.
 *
 *   gate   every neuron's pre-activation: dense, rows of the gate streamed
 *   select activation and selection, row by row; then the list of neurons that any row needs, ascending
 *   up     dot products of the listed rows of up, times the gate's value
 *   down   sums of the listed rows of down, which is stored as the others are: a row per neuron. A task owns columns
 *
 * The list is used if it is short enough, else all neurons are. Either way a column of the result is the sum that
 * gemm.h's order makes of all neurons: chains of CR_KC neurons by index, not by place in the list, so that leaving out
 * a term of 0 changes nothing. (0 w adds a zero of some sign; only a sum of -0 would notice, and ends as +0.) Many rows
 * that need most neurons are a matrix product. */
#include "act.h"
#include "rules.h"
#include "stored.h"
#include "vdouble.h"

enum {
  TASK_ROWS = 128,        /* rows of x in a task of dot products */
  TASK_BYTES = 256 << 10, /* of weights, for one row */
  TASK_NEURONS = 128,     /* at most, for one row: their products wait in scratch */
  SUM_ROWS = 8,           /* more dense rows than that are summed as a matrix product */
  LEAST_COLUMNS = 512,    /* of down in a task: shorter pieces of rows are read slowly */
  MOST_COLUMNS = 4096,
  SUM_GROUP = 32 /* rows of x that share a reading of down */
};

typedef struct ffn_job {
  const cr_ctx *ctx;
  int64_t rows, d, f; /* of x; width; neurons */
  const float *x;
  cr_stored gate, up, down; /* up.data is NULL in the two-matrix form */
  const float *gate_bias, *up_bias, *down_bias;
  float *y, *hidden; /* hidden: first the gate, then the neurons' values [rows, f] */
  int32_t *count, *read;
  int64_t act, select, k;
  float p;
  double z, limit;
  bool both; /* the activation is applied to up as well */
  /* the neurons that are needed, in shared scratch; list is NULL where all are taken */
  int32_t *needed, *neurons, *starts;
  const int32_t *list;
  int64_t listed;
  float *zeros;                    /* [d]: the bias of a product that has none */
  int64_t outputs, groups, column; /* neurons of a task, tasks per group of rows; columns of a task */
} ffn_job;

/* ---- gate ---- */

static float *panel_of(const ffn_job *j, int32_t worker) { return (float *)(void *)cr_worker_scratch(j->ctx, worker); }

static int32_t gate_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)err;
  const ffn_job *j = arg;
  const int64_t from = index % j->groups * j->outputs, row = index / j->groups * TASK_ROWS;
  const cr_dots dots = {.x = j->x + row * j->d,
                        .x_stride = j->d,
                        .m = cr_min(TASK_ROWS, j->rows - row),
                        .k = j->d,
                        .w = j->gate,
                        .listed = j->f,
                        .y = j->hidden + row * j->f + from,
                        .y_stride = j->f,
                        .bias = j->gate_bias};
  CR_NAME(cr_dots_run)(&dots, from, cr_min(from + j->outputs, j->f), panel_of(j, worker));
  return CREDENCE_OK;
}

/* ---- selection ---- */

/* The sum of x - centre, or of its square. */
static double sum_about(const float *x, int64_t n, double centre, const bool squared) {
  vd sum[2] = {{0}};
  int64_t k = 0;
  for (; k + CR_W <= n; k += CR_W) {
    const vd low = vd_low(vf_load(x + k)) - vd_set(centre), high = vd_high(vf_load(x + k)) - vd_set(centre);
    sum[0] += squared ? low * low : low;
    sum[1] += squared ? high * high : high;
  }
  double all = vd_sum(sum[0] + sum[1]);
  for (; k < n; k++) all += squared ? ((double)x[k] - centre) * ((double)x[k] - centre) : (double)x[k] - centre;
  return all;
}

/* mean + z deviation of a row; the deviation is that of the row itself, not an estimate. */
static float cutoff_of(const float *x, int64_t n, double z) {
  const double mean = sum_about(x, n, 0, false) / (double)n;
  return (float)(mean + z * sqrt(sum_about(x, n, mean, true) / (double)n));
}

/* A key that orders floats as they are; NaN is largest, -0 equals 0. */
static uint32_t key_of(float x) {
  uint32_t u;
  if (x != x) return UINT32_MAX;
  x = x + 0.0f;
  memcpy(&u, &x, 4);
  return u >> 31 != 0 ? ~u : u | 0x80000000u;
}

/* Zeros all but the k largest elements of a row; of equal ones those with the lowest index stay. A byte of the keys at
 * a time: the smallest key that stays, and how many equal to it. */
static void keep_largest(float *x, int64_t n, int64_t k) {
  if (k >= n) return;
  uint32_t key = 0, mask = 0;
  int64_t left = k; /* to be found among the keys that begin as key does */
  for (int shift = 24; shift >= 0 && left > 0; shift -= 8) {
    int64_t counts[256] = {0}, byte = 255;
    for (int64_t i = 0; i < n; i++) {
      const uint32_t u = key_of(x[i]);
      if ((u & mask) == key) counts[u >> shift & 255]++;
    }
    while (counts[byte] < left) left -= counts[byte--];
    key |= (uint32_t)byte << shift;
    mask |= (uint32_t)255 << shift;
  }
  for (int64_t i = 0; i < n; i++) {
    const uint32_t u = key_of(x[i]);
    const bool stays = k > 0 && (u > key || (u == key && left-- > 0));
    if (!stays) x[i] = 0;
  }
}

static int32_t count_active(const float *x, int64_t n) {
  int32_t count = 0;
  for (int64_t i = 0; i < n; i++) count += x[i] != 0;
  return count;
}

static int32_t select_task(void *arg, int64_t row, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const ffn_job *j = arg;
  float *x = j->hidden + row * j->f;
  if (j->select == CR_SELECT_CUTOFF && j->f > 0) {
    const vf cutoff = vf_set(cutoff_of(x, j->f, j->z));
    for (int64_t k = 0; k < j->f; k += CR_W)
      cr_store_up_to(x + k, vf_at_least(cr_load_up_to(x + k, j->f - k) - cutoff, 0), j->f - k);
  }
  act_row(j->act, j->p, x, j->f);
  if (j->select == CR_SELECT_TOP_K) keep_largest(x, j->f, j->k);
  j->count[row] = count_active(x, j->f);
  return CREDENCE_OK;
}

/* The neurons that are not 0 in some row, ascending, and where each block of CR_KC neurons begins among them. Branch
 * free: which are active cannot be predicted. */
static void find_needed(ffn_job *j) {
  int32_t *needed = j->needed;
  memset(needed, 0, (size_t)j->f * sizeof *needed);
  for (int64_t r = 0; r < j->rows; r++) {
    const float *x = j->hidden + r * j->f;
    for (int64_t i = 0; i < j->f; i++) needed[i] |= x[i] != 0;
  }
  int32_t *neurons = j->neurons;
  int64_t n = 0;
  for (int64_t i = 0; i < j->f; i++) {
    neurons[n] = (int32_t)i;
    n += needed[i];
  }
  j->listed = n;
  int64_t at = 0;
  for (int64_t b = 0; b <= cr_ceil_div(j->f, CR_KC); b++) {
    while (at < j->listed && j->neurons[at] < b * CR_KC) at++;
    j->starts[b] = (int32_t)at;
  }
}

/* The list, if it is short enough, else all. */
static void choose(ffn_job *j) {
  find_needed(j);
  if ((double)j->listed <= j->limit * (double)j->f)
    j->list = j->neurons;
  else
    j->listed = j->f;
}

/* ---- up ---- */

/* The products of a task times the gate's values; a neuron that the gate closes stays 0, whatever up holds. */
static void close_gate(const ffn_job *j, int64_t row, int64_t rows, int64_t from, int64_t n, float *up) {
  for (int64_t i = 0; i < rows; i++, up += n) {
    float *hidden = j->hidden + (row + i) * j->f;
    if (j->both) act_row(j->act, j->p, up, n);
    for (int64_t c = 0; c < n; c++) {
      float *h = hidden + (j->list != NULL ? j->list[from + c] : from + c);
      *h = *h != 0 ? *h * up[c] : 0;
    }
  }
}

static int32_t up_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)err;
  const ffn_job *j = arg;
  const int64_t from = index % j->groups * j->outputs, to = cr_min(from + j->outputs, j->listed);
  const int64_t row = index / j->groups * TASK_ROWS, rows = cr_min(TASK_ROWS, j->rows - row);
  float *panel = panel_of(j, worker), *up = panel + CR_DOT_SCRATCH / sizeof(float);
  const cr_dots dots = {.x = j->x + row * j->d,
                        .x_stride = j->d,
                        .m = rows,
                        .k = j->d,
                        .w = j->up,
                        .list = j->list,
                        .listed = j->listed,
                        .y = up,
                        .y_stride = to - from,
                        .bias = j->up_bias};
  CR_NAME(cr_dots_run)(&dots, from, to, panel);
  close_gate(j, row, rows, from, to - from, up);
  return CREDENCE_OK;
}

static int32_t count_task(void *arg, int64_t row, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const ffn_job *j = arg;
  j->count[row] = count_active(j->hidden + row * j->f, j->f);
  return CREDENCE_OK;
}

/* ---- down ---- */

/* The sums of some columns for a group of rows. */
static int32_t down_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  const ffn_job *j = arg;
  const int64_t column = index % j->groups * j->column, columns = cr_min(j->column, j->d - column);
  const int64_t row = index / j->groups * SUM_GROUP, rows = cr_min(SUM_GROUP, j->rows - row);
  float *chunk = panel_of(j, worker), *block = chunk + rows * columns, *y = j->y + row * j->d + column;
  cr_sums sums = {.w = j->down,
                  .c = j->hidden + row * j->f,
                  .c_stride = j->f,
                  .m = rows,
                  .list = j->list,
                  .listed = j->listed,
                  .column = column,
                  .columns = columns,
                  .y_stride = columns};
  bool first_chunk = true;
  for (int64_t at = 0; at < j->f; at += CR_KS) {
    if (cr_cancelled(j->ctx)) return cr_fail(err, CREDENCE_CANCELLED, "cancelled");
    bool first = true;
    for (int64_t b = at / CR_KC; b * CR_KC < cr_min(at + CR_KS, j->f); b++) {
      const int64_t from = j->list != NULL ? j->starts[b] : b * CR_KC;
      const int64_t to = j->list != NULL ? j->starts[b + 1] : cr_min(from + CR_KC, j->f);
      if (from == to) continue;
      sums.y = first ? chunk : block;
      CR_NAME(cr_sums_run)(&sums, from, to, false);
      if (!first) CR_NAME(cr_combine_row)(chunk, block, rows * columns, NULL, 0);
      first = false;
    }
    if (first) continue;
    for (int64_t i = 0; i < rows; i++) {
      if (first_chunk)
        memcpy(y + i * j->d, chunk + i * columns, (size_t)columns * sizeof(float));
      else
        CR_NAME(cr_combine_row)(y + i * j->d, chunk + i * columns, columns, NULL, 0);
    }
    first_chunk = false;
  }
  const float *bias = j->down_bias != NULL ? j->down_bias : j->zeros;
  for (int64_t i = 0; i < rows; i++) {
    if (first_chunk) memset(y + i * j->d, 0, (size_t)columns * sizeof(float));
    CR_NAME(cr_combine_row)(y + i * j->d, bias + column, columns, NULL, 0);
  }
  return CREDENCE_OK;
}

static cr_gemm product_of(const ffn_job *j) {
  return (cr_gemm){.m = j->rows,
                   .n = j->d,
                   .k = j->f,
                   .a = (const char *)j->hidden,
                   .a_stride = j->f * 4,
                   .b = {j->down.data, j->down.stride, j->down.dtype, false},
                   .y = (char *)j->y,
                   .y_stride = j->d * 4,
                   .epilogue = {.alpha = 1, .bias = j->down_bias != NULL ? j->down_bias : j->zeros},
                   .batch = {1, 1, 1}};
}

/* ---- the ops ---- */

static size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

/* Shared scratch of the lists; with `at`, places them. */
static size_t place_lists(ffn_job *j, char *at) {
  const size_t list = aligned((size_t)j->f * sizeof(int32_t));
  const size_t starts = aligned((size_t)(cr_ceil_div(j->f, CR_KC) + 1) * sizeof(int32_t));
  if (at != NULL) {
    j->needed = (int32_t *)(void *)at;
    j->neurons = (int32_t *)(void *)(at + list);
    j->starts = (int32_t *)(void *)(at + 2 * list);
    j->zeros = (float *)(void *)(at + 2 * list + starts);
  }
  return 2 * list + starts + aligned((size_t)j->d * sizeof(float));
}

/* Scratch of a worker: a panel and products for the dot products, or two sums of a group of rows. */
static size_t worker_bytes(const ffn_job *j) {
  const size_t dots = CR_DOT_SCRATCH + (size_t)TASK_ROWS * CR_DOT_PANEL * sizeof(float);
  const size_t sums = (size_t)(2 * cr_min(SUM_GROUP, j->rows) * cr_min(MOST_COLUMNS, j->d)) * sizeof(float);
  return dots > sums ? dots : sums;
}

static cr_stored stored(const cr_tensor *t) {
  return (cr_stored){t->data, t->ndim == 2 ? cr_row_bytes(t->dtype, t->dim[1]) : 0, t->dtype};
}

static const float *floats(const cr_tensor *t) { return (const float *)(const void *)t->data; }

static ffn_job job_of(const cr_call *call, const cr_ctx *ctx, const bool gated) {
  const cr_tensor *x = &call->in[0];
  const uint32_t down = gated ? 3 : 2;
  const bool biased = call->n_in > down + 1;
  ffn_job j = {.ctx = ctx,
               .rows = x->dim[0],
               .d = x->dim[1],
               .f = call->in[1].dim[0],
               .x = floats(x),
               .gate = stored(&call->in[1]),
               .down = stored(&call->in[down]),
               .y = (float *)(void *)call->out[0].data,
               .hidden = (float *)(void *)call->out[1].data,
               .count = (int32_t *)(void *)call->out[2].data,
               .read = (int32_t *)(void *)call->out[3].data,
               .act = call->i[0],
               .both = call->i[1] != 0,
               .select = call->i[2],
               .k = call->i[3],
               .p = (float)call->f[0],
               .z = call->f[1],
               .limit = call->f[2]};
  if (gated) j.up = stored(&call->in[2]);
  if (biased) {
    j.gate_bias = floats(&call->in[down + 1]);
    if (gated) j.up_bias = floats(&call->in[down + 2]);
    j.down_bias = floats(&call->in[call->n_in - 1]);
  }
  return j;
}

/* summed: the last step is among those that run. */
static void scratch_of(const cr_call *call, const cr_tensor *w, const bool summed, int32_t threads,
                       cr_scratch *scratch) {
  ffn_job j = {.rows = call->in[0].dim[0], .d = w->dim[1], .f = w->dim[0], .down = stored(w)};
  const cr_gemm product = product_of(&j);
  if (j.rows > SUM_ROWS && summed) CR_NAME(cr_gemm_scratch)(&product, threads, scratch);
  scratch->shared += place_lists(&j, NULL);
  if (scratch->per_thread < worker_bytes(&j)) scratch->per_thread = worker_bytes(&j);
}

/* Tasks of dot products with n rows of weights. */
static int64_t share_dots(ffn_job *j, int64_t n, const cr_stored *w) {
  j->outputs = j->rows > 1 ? CR_DOT_PANEL : cr_max(1, cr_min(TASK_NEURONS, TASK_BYTES / (w->stride + 1)));
  j->groups = cr_ceil_div(n, j->outputs);
  return j->groups * cr_ceil_div(j->rows, TASK_ROWS);
}

static int32_t run_down(ffn_job *j, size_t lists, int64_t work, credence_error *err) {
  if (j->list == NULL && j->rows > SUM_ROWS) {
    const cr_gemm product = product_of(j);
    cr_ctx inner = *j->ctx;
    inner.scratch += lists;
    inner.scratch_shared -= lists;
    return CR_NAME(cr_gemm_run)(&product, &inner, err);
  }
  const int64_t share = cr_ceil_div(j->d, 2 * j->ctx->threads * 32) * 32;
  j->column = cr_min(cr_max(share, LEAST_COLUMNS), MOST_COLUMNS);
  if (j->ctx->threads == 1) j->column = MOST_COLUMNS;
  j->groups = cr_ceil_div(j->d, j->column);
  return cr_spread(j->ctx, work, j->groups * cr_ceil_div(j->rows, SUM_GROUP), down_task, j, err);
}

static int32_t run_ffn(const cr_call *call, const cr_ctx *ctx, const bool gated, credence_error *err) {
  ffn_job j = job_of(call, ctx, gated);
  const size_t lists = place_lists(&j, ctx->scratch);
  const int64_t work = cr_max(1, j.rows) * j.d * j.f;
  memset(j.zeros, 0, (size_t)j.d * sizeof(float));
  int32_t status = CREDENCE_OK;
  if (j.rows * j.f > 0) status = cr_spread(ctx, work, share_dots(&j, j.f, &j.gate), gate_task, &j, err);
  if (status == CREDENCE_OK) status = cr_spread(ctx, j.rows * j.f, j.rows, select_task, &j, err);
  if (status != CREDENCE_OK) return status;

  choose(&j);
  j.read[0] = gated ? (int32_t)j.listed : 0;
  if (gated && j.rows * j.listed > 0) {
    status = cr_spread(ctx, work, share_dots(&j, j.listed, &j.up), up_task, &j, err);
    if (status == CREDENCE_OK && j.both) {
      status = cr_spread(ctx, j.rows * j.f, j.rows, count_task, &j, err);
      if (j.list != NULL) find_needed(&j);
    }
    if (status != CREDENCE_OK) return status;
  }
  j.read[1] = (int32_t)j.listed;
  return j.rows * j.d == 0 ? CREDENCE_OK : run_down(&j, lists, work, err);
}

/* ---- the steps by themselves ---- */

static ffn_job step_of(const cr_call *call, const cr_ctx *ctx) {
  const cr_tensor *w = &call->in[1];
  return (ffn_job){.ctx = ctx,
                   .rows = call->in[0].dim[0],
                   .d = w->dim[1],
                   .f = w->dim[0],
                   .read = (int32_t *)(void *)call->out[1].data,
                   .limit = call->f[0]};
}

static int32_t run_masked(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  ffn_job j = step_of(call, ctx);
  j.x = floats(&call->in[0]);
  j.up = stored(&call->in[1]);
  j.hidden = (float *)(void *)call->out[0].data;
  place_lists(&j, ctx->scratch);
  if (j.rows * j.f > 0) memcpy(j.hidden, call->in[2].data, (size_t)(j.rows * j.f) * sizeof(float));
  choose(&j);
  j.read[0] = (int32_t)j.listed;
  if (j.rows * j.listed == 0) return CREDENCE_OK;
  return cr_spread(ctx, j.rows * j.d * j.f, share_dots(&j, j.listed, &j.up), up_task, &j, err);
}

static int32_t run_sparse(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  ffn_job j = step_of(call, ctx);
  j.hidden = (float *)(void *)call->in[0].data; /* read only */
  j.down = stored(&call->in[1]);
  j.y = (float *)(void *)call->out[0].data;
  if (call->n_in > 2) j.down_bias = floats(&call->in[2]);
  const size_t lists = place_lists(&j, ctx->scratch);
  memset(j.zeros, 0, (size_t)j.d * sizeof(float));
  choose(&j);
  j.read[0] = (int32_t)j.listed;
  return j.rows * j.d == 0 ? CREDENCE_OK : run_down(&j, lists, j.rows * j.d * cr_max(1, j.f), err);
}

static void scratch_plain(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  scratch_of(call, &call->in[2], true, threads, scratch);
}
static void scratch_gated(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  scratch_of(call, &call->in[3], true, threads, scratch);
}
static void scratch_masked(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  scratch_of(call, &call->in[1], false, threads, scratch);
}
static void scratch_sparse(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  scratch_of(call, &call->in[1], true, threads, scratch);
}
static int32_t run_plain(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_ffn(call, ctx, false, err);
}
static int32_t run_gated(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_ffn(call, ctx, true, err);
}

CR_FAMILY(ffn, {CREDENCE_OP_SPARSE_FFN, .scratch = scratch_plain, .run = run_plain},
          {CREDENCE_OP_SPARSE_FFN_GATED, .scratch = scratch_gated, .run = run_gated},
          {CREDENCE_OP_MASKED_LINEAR, .scratch = scratch_masked, .run = run_masked},
          {CREDENCE_OP_SPARSE_LINEAR, .scratch = scratch_sparse, .run = run_sparse})

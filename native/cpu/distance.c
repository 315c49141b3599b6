/* distance.c: pairwise squared distances between rows of x [N,D] and y [M,D], and reductions over them that never hold
 * the [N,M] matrix. See distance.h for the sum. */
#include "distance.h"

#include "isa.h"
#include "rules.h"

static const float not_a_number = NAN;
_Static_assert(CR_NUMBERED_ROWS <= INT32_MAX - CR_SQ_COLS, "a tile may end beyond the last row");

/* A block of rows of x against a part of the rows of y is one task. A part is a run of whole tiles; there are several
 * only where blocks are too few to share out. Reductions give the same result for any parts: a smallest distance with
 * its lowest index, and a count, do not depend on the order. */
enum { FULL_SHARE = 64, MAX_PARTIALS = FULL_SHARE * CR_SQ_ROWS };

typedef struct sqdist_job {
  const cr_ctx *ctx;
  cr_rows x, y;
  int64_t d, parts;
  const cr_tensor *out;
  const float *bound;
  float *best; /* [N, parts] */
  int32_t *at; /* [N, parts]: index or count */
} sqdist_job;

static int64_t blocks_of(int64_t n, int64_t size) { return (n + size - 1) / size; }

static sqdist_job job_of(const cr_call *call, const cr_ctx *ctx) {
  const cr_tensor *x = &call->in[0], *y = &call->in[1];
  return (sqdist_job){.ctx = ctx,
                      .x = {x->data, x->dim[0], x->stride[0]},
                      .y = {y->data, y->dim[0], y->stride[0]},
                      .d = x->dim[1],
                      .parts = 1,
                      .out = call->out};
}

/* The rows of x and the range of rows of y of one task. */
typedef struct share {
  int64_t row, part, from, to;
  cr_rows x;
} share;

static share share_of(const sqdist_job *job, int64_t index) {
  share s = {.row = index / job->parts * CR_SQ_ROWS, .part = index % job->parts};
  int64_t left = job->x.n - s.row, tiles = blocks_of(job->y.n, CR_SQ_COLS);
  s.x = (cr_rows){job->x.data + s.row * job->x.stride, left < CR_SQ_ROWS ? left : CR_SQ_ROWS, job->x.stride};
  s.from = tiles * s.part / job->parts * CR_SQ_COLS;
  s.to = s.part + 1 == job->parts ? job->y.n : tiles * (s.part + 1) / job->parts * CR_SQ_COLS;
  return s;
}

/* ---- the distances themselves ---- */

typedef struct matrix {
  char *data;
  int64_t stride;
} matrix;

static void store_tile(void *state, const float *tile, int64_t rows, int64_t col, int64_t cols) {
  const matrix *to = state;
  for (int64_t i = 0; i < rows; i++)
    memcpy(to->data + i * to->stride + col * 4, tile + i * CR_SQ_COLS, (size_t)cols * 4);
}

static int32_t sqdist_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker;
  const sqdist_job *job = arg;
  share s = share_of(job, index);
  matrix to = {job->out[0].data + s.row * job->out[0].stride[0], job->out[0].stride[0]};
  return cr_sqdist_scan(job->ctx, &s.x, &job->y, s.from, s.to, job->d, store_tile, &to, err);
}

static int32_t run_sqdist(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  sqdist_job job = job_of(call, ctx);
  if (job.x.n == 0 || job.y.n == 0) return CREDENCE_OK;
  /* about 2^20 terms a task, but at least a tile */
  int64_t tiles = 1 + (1 << 20) / (CR_SQ_ROWS * CR_SQ_COLS * (job.d + 1));
  job.parts = blocks_of(job.y.n, CR_SQ_COLS * tiles);
  return cr_parallel(ctx, blocks_of(job.x.n, CR_SQ_ROWS) * job.parts, sqdist_task, &job, err);
}

/* ---- nearest row ---- */

/* NaN is never nearer; anything else is nearer than NaN. */
static bool nearer(float d, int32_t i, float best, int32_t at) {
  return d == d && (!(d >= best) || (d == best && i < at));
}

typedef struct nearest {
  vf best[CR_SQ_ROWS]; /* per lane, NaN: none yet */
  vi at[CR_SQ_ROWS];
} nearest;

static vi lane_numbers(void) {
  vi v = {0};
  for (int k = 0; k < CR_W; k++) v[k] = k;
  return v;
}

static void nearest_in_tile(void *state, const float *tile, int64_t rows, int64_t col, int64_t cols) {
  nearest *s = state;
  vi lane = lane_numbers();
  for (int64_t i = 0; i < rows; i++) {
    vf best = s->best[i];
    vi at = s->at[i];
    for (int64_t j = 0; j < cols; j += CR_W) {
      vf d = vf_load(tile + i * CR_SQ_COLS + j);
      vi better = ~(d >= best) & (d == d) & (lane < vi_set((int32_t)(cols - j)));
      best = vf_select(better, d, best);
      at = (vi)vf_select(better, (vf)(lane + vi_set((int32_t)(col + j))), (vf)at);
    }
    s->best[i] = best;
    s->at[i] = at;
  }
}

static int32_t nearest_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker;
  const sqdist_job *job = arg;
  share s = share_of(job, index);
  nearest state;
  for (int64_t i = 0; i < s.x.n; i++) {
    state.best[i] = vf_set(not_a_number);
    state.at[i] = (vi){0};
  }
  int32_t status = cr_sqdist_scan(job->ctx, &s.x, &job->y, s.from, s.to, job->d, nearest_in_tile, &state, err);
  if (status != CREDENCE_OK) return status;
  for (int64_t i = 0; i < s.x.n; i++) {
    float best = not_a_number;
    int32_t at = 0;
    for (int k = 0; k < CR_W; k++)
      if (nearer(state.best[i][k], state.at[i][k], best, at)) best = state.best[i][k], at = state.at[i][k];
    job->best[(s.row + i) * job->parts + s.part] = best;
    job->at[(s.row + i) * job->parts + s.part] = at;
  }
  return CREDENCE_OK;
}

static void scratch_reduction(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)call, (void)threads;
  scratch->shared = MAX_PARTIALS * (sizeof(float) + sizeof(int32_t));
}

/* How many parts the rows of y are cut into, with at most MAX_PARTIALS results on the way where it is more than one. */
static int64_t parts_of(const sqdist_job *job) {
  int64_t parts = FULL_SHARE / blocks_of(job->x.n, CR_SQ_ROWS), tiles = blocks_of(job->y.n, CR_SQ_COLS);
  if (parts > tiles) parts = tiles;
  return parts > 1 ? parts : 1;
}

static int32_t run_arg_min(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  sqdist_job job = job_of(call, ctx);
  if (job.x.n == 0) return CREDENCE_OK;
  if (job.y.n == 0) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "pairwise_arg_min: y has no rows");
  float *distance = (float *)call->out[0].data;
  int32_t *index = (int32_t *)call->out[1].data;
  job.parts = parts_of(&job);
  job.best = job.parts == 1 ? distance : (float *)ctx->scratch;
  job.at = job.parts == 1 ? index : (int32_t *)ctx->scratch + MAX_PARTIALS;
  int32_t status = cr_parallel(ctx, blocks_of(job.x.n, CR_SQ_ROWS) * job.parts, nearest_task, &job, err);
  if (status != CREDENCE_OK || job.parts == 1) return status;
  for (int64_t i = 0; i < job.x.n; i++) {
    const float *best = job.best + i * job.parts;
    const int32_t *at = job.at + i * job.parts;
    int64_t k = 0;
    for (int64_t p = 1; p < job.parts; p++)
      if (nearer(best[p], at[p], best[k], at[k])) k = p;
    distance[i] = best[k];
    index[i] = at[k];
  }
  return CREDENCE_OK;
}

/* ---- rows nearer than a bound ---- */

typedef struct counts {
  const float *bound;
  vi n[CR_SQ_ROWS]; /* per lane */
} counts;

static void count_in_tile(void *state, const float *tile, int64_t rows, int64_t col, int64_t cols) {
  (void)col;
  counts *s = state;
  vi lane = lane_numbers();
  for (int64_t i = 0; i < rows; i++) {
    vf bound = vf_set(s->bound[i]);
    vi n = s->n[i];
    for (int64_t j = 0; j < cols; j += CR_W)
      n -= (vf_load(tile + i * CR_SQ_COLS + j) < bound) & (lane < vi_set((int32_t)(cols - j)));
    s->n[i] = n;
  }
}

static int32_t count_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker;
  const sqdist_job *job = arg;
  share s = share_of(job, index);
  counts state = {.bound = job->bound + s.row};
  int32_t status = cr_sqdist_scan(job->ctx, &s.x, &job->y, s.from, s.to, job->d, count_in_tile, &state, err);
  if (status != CREDENCE_OK) return status;
  for (int64_t i = 0; i < s.x.n; i++) {
    int32_t n = 0;
    for (int k = 0; k < CR_W; k++) n += state.n[i][k];
    job->at[(s.row + i) * job->parts + s.part] = n;
  }
  return CREDENCE_OK;
}

static int32_t run_count(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  sqdist_job job = job_of(call, ctx);
  if (job.x.n == 0) return CREDENCE_OK;
  int32_t *count = (int32_t *)call->out[0].data;
  if (job.y.n == 0) {
    memset(count, 0, (size_t)job.x.n * sizeof *count);
    return CREDENCE_OK;
  }
  job.bound = (const float *)call->in[2].data;
  job.parts = parts_of(&job);
  job.at = job.parts == 1 ? count : (int32_t *)ctx->scratch;
  int32_t status = cr_parallel(ctx, blocks_of(job.x.n, CR_SQ_ROWS) * job.parts, count_task, &job, err);
  if (status != CREDENCE_OK || job.parts == 1) return status;
  for (int64_t i = 0; i < job.x.n; i++) {
    count[i] = 0;
    for (int64_t p = 0; p < job.parts; p++) count[i] += job.at[i * job.parts + p];
  }
  return CREDENCE_OK;
}

CR_FAMILY(distance, {CREDENCE_OP_PAIRWISE_SQDIST, .run = run_sqdist},
          {CREDENCE_OP_PAIRWISE_ARG_MIN, .scratch = scratch_reduction, .run = run_arg_min},
          {CREDENCE_OP_PAIRWISE_COUNT, .scratch = scratch_reduction, .run = run_count})

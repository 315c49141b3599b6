/* ATTENTION over a cache of keys and values, and WRITE_ROWS, which fills the cache.
 *
 * Keys are taken in chunks of CHUNK rows of the cache, counted from its first row: scores, their largest, exponentials
 * and the weighted sum of values per chunk, and the chunks then joined in order. What a query computes therefore
 * depends on its position alone: a row decoded alone has the bits it has in a prompt. A task is a tile of queries of
 * one group, which share each key and value they read. */
#include "narrow.h"
#include "stored.h"
#include "vmath.h"

enum { CHUNK = 256, TILE = 16 }; /* queries of a tile, if one position has fewer */

/* ---- write_rows ---- */

static int32_t run_write(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  (void)ctx;
  const cr_tensor *rows = &call->in[0], *table = &call->inout[0];
  const int64_t row = call->i[0], n = rows->dim[0];
  if (row < 0 || row > table->dim[0] - n)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "write_rows: rows %lld to %lld are written to a table of %lld",
                   (long long)row, (long long)(row + n - 1), (long long)table->dim[0]);
  if (cr_count(rows) == 0) return CREDENCE_OK;
  const int64_t bytes = cr_row_bytes(table->dtype, cr_count(rows) / n);
  cr_narrow_row(table->dtype, (const float *)(const void *)rows->data, table->data + row * bytes, cr_count(rows));
  return CREDENCE_OK;
}

/* ---- attention ---- */

typedef struct attention_job {
  const cr_ctx *ctx;
  const float *q;
  float *y;
  cr_stored k, v;
  int64_t rows, heads, groups, d, position, positions; /* positions: of a tile */
  float scale;
} attention_job;

/* A worker's scratch, for as many queries as a tile may have. */
typedef struct space {
  float *panel;
  float *q, *sum, *part;                              /* [queries, d]: queries, sums of values, of one chunk */
  float *score;                                       /* [queries, CHUNK] */
  float *largest, *total, *part_largest, *part_total; /* [queries] */
} space;

static int64_t positions_of(int64_t heads) { return cr_max(1, TILE / cr_max(1, heads)); }

static size_t space_bytes(int64_t queries, int64_t d) {
  return (size_t)queries * (size_t)(3 * d + CHUNK + 4) * sizeof(float) + CR_DOT_SCRATCH;
}

static space space_of(char *at, int64_t queries, int64_t d) {
  space s = {.panel = (float *)(void *)at};
  s.q = s.panel + CR_DOT_SCRATCH / sizeof(float);
  s.sum = s.q + queries * d;
  s.part = s.sum + queries * d;
  s.score = s.part + queries * d;
  s.largest = s.score + queries * CHUNK;
  s.total = s.largest + queries;
  s.part_largest = s.total + queries;
  s.part_total = s.part_largest + queries;
  return s;
}

/* Scores of n >= 1 keys become exponentials: their largest and their sum. */
static float exponentials(float *score, int64_t n, float scale, float *total) {
  vf top = vf_set(-INFINITY), sum = {0};
  for (int64_t j = 0; j < n; j += CR_W) {
    const int64_t lanes = n - j;
    const vf s = vf_set(scale) * cr_load_up_to(score + j, lanes);
    cr_store_up_to(score + j, s, lanes);
    top = vf_max(top, lanes < CR_W ? vf_select(vi_lanes() < vi_set((int32_t)lanes), s, top) : s);
  }
  const float largest = vf_max_lane(top);
  const vf shift = vf_set(largest == -INFINITY ? 0 : largest);
  for (int64_t j = 0; j < n; j += CR_W) {
    const int64_t lanes = n - j;
    vf e = vf_exp_negative(cr_load_up_to(score + j, lanes) - shift);
    if (lanes < CR_W) e = vf_where(vi_lanes() < vi_set((int32_t)lanes), e);
    cr_store_up_to(score + j, e, lanes);
    sum += e;
  }
  *total = vf_sum(sum);
  return largest;
}

static float exponential(float x) { return vf_exp_negative(vf_set(x))[0]; }

/* Joins a chunk's sums to those of the chunks before it. */
static void join(float *sum, float *total, float *largest, const float *part, float part_total, float part_largest,
                 int64_t d) {
  const float top = *largest >= part_largest || *largest != *largest ? *largest : part_largest;
  const float shift = top == -INFINITY ? 0 : top;
  const vf a = vf_set(exponential(*largest - shift)), b = vf_set(exponential(part_largest - shift));
  for (int64_t j = 0; j < d; j += CR_W) {
    const int64_t n = d - j;
    cr_store_up_to(sum + j, vf_fma(a, cr_load_up_to(sum + j, n), b * cr_load_up_to(part + j, n)), n);
  }
  *total = a[0] * *total + b[0] * part_total;
  *largest = top;
}

/* The chunk of keys from row `first` on, for the queries of a tile whose first position is `position`. Values are
 * summed for all queries as far as all of them see, and then for each as far as it sees. */
static void chunk(const attention_job *j, const space *s, int64_t group, int64_t queries, int64_t first,
                  int64_t position) {
  const int64_t heads = j->heads / j->groups, d = j->d, last = position + queries / heads - 1;
  const int64_t common = cr_max(0, cr_min(CHUNK, position + 1 - first));
  const cr_dots dots = {
      .x = s->q,
      .x_stride = d,
      .m = queries,
      .k = d,
      .w = {j->k.data + first * j->k.stride + group * cr_row_bytes(j->k.dtype, d), j->k.stride, j->k.dtype},
      .y = s->score,
      .y_stride = CHUNK};
  CR_NAME(cr_dots_run)(&dots, 0, cr_min(CHUNK, last + 1 - first), s->panel);
  cr_sums sums = {.w = {j->v.data + first * j->v.stride + group * cr_row_bytes(j->v.dtype, d), j->v.stride, j->v.dtype},
                  .c = s->score,
                  .c_stride = CHUNK,
                  .m = queries,
                  .columns = d,
                  .y = s->part,
                  .y_stride = d};
  for (int64_t i = 0; i < queries; i++) {
    const int64_t seen = cr_min(CHUNK, position + i / heads + 1 - first);
    if (seen > 0) s->part_largest[i] = exponentials(s->score + i * CHUNK, seen, j->scale, &s->part_total[i]);
  }
  CR_NAME(cr_sums_run)(&sums, 0, common, false);
  sums.m = 1;
  for (int64_t i = 0; i < queries; i++) {
    const int64_t seen = cr_min(CHUNK, position + i / heads + 1 - first);
    if (seen <= 0) continue;
    sums.c = s->score + i * CHUNK;
    sums.y = s->part + i * d;
    CR_NAME(cr_sums_run)(&sums, common, seen, true);
    if (first == 0) {
      memcpy(s->sum + i * d, sums.y, (size_t)d * sizeof(float));
      s->total[i] = s->part_total[i];
      s->largest[i] = s->part_largest[i];
    } else {
      join(s->sum + i * d, &s->total[i], &s->largest[i], sums.y, s->part_total[i], s->part_largest[i], d);
    }
  }
}

static int32_t attention_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  const attention_job *j = arg;
  const int64_t heads = j->heads / j->groups, d = j->d, group = index % j->groups;
  const int64_t row = index / j->groups * j->positions, n = cr_min(j->positions, j->rows - row), queries = n * heads;
  const space s = space_of(cr_worker_scratch(j->ctx, worker), j->positions * heads, d);
  const size_t bytes = (size_t)(heads * d) * sizeof(float);
  for (int64_t t = 0; t < n; t++) memcpy(s.q + t * heads * d, j->q + ((row + t) * j->heads + group * heads) * d, bytes);
  for (int64_t first = 0; first < j->position + row + n; first += CHUNK) {
    if (cr_cancelled(j->ctx)) return cr_fail(err, CREDENCE_CANCELLED, "cancelled");
    chunk(j, &s, group, queries, first, j->position + row);
  }
  for (int64_t i = 0; i < queries; i++)
    for (int64_t k = 0; k < d; k++) s.sum[i * d + k] /= s.total[i];
  for (int64_t t = 0; t < n; t++)
    memcpy(j->y + ((row + t) * j->heads + group * heads) * d, s.sum + t * heads * d, bytes);
  return CREDENCE_OK;
}

static void scratch_attention(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  const int64_t heads = call->in[0].dim[1] / call->in[1].dim[1];
  scratch->per_thread = space_bytes(positions_of(heads) * heads, call->in[0].dim[2]);
}

static int32_t run_attention(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *q = &call->in[0], *k = &call->in[1], *v = &call->in[2];
  const int64_t position = call->i[0], d = q->dim[2];
  if (position < 0 || position > k->dim[0] - q->dim[0])
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "attention: positions %lld to %lld with a cache of %lld rows",
                   (long long)position, (long long)(position + q->dim[0] - 1), (long long)k->dim[0]);
  if (cr_count(q) == 0) return CREDENCE_OK;
  attention_job job = {.ctx = ctx,
                       .q = (const float *)(const void *)q->data,
                       .y = (float *)(void *)call->out[0].data,
                       .k = {k->data, cr_row_bytes(k->dtype, k->dim[1] * d), k->dtype},
                       .v = {v->data, cr_row_bytes(v->dtype, v->dim[1] * d), v->dtype},
                       .rows = q->dim[0],
                       .heads = q->dim[1],
                       .groups = k->dim[1],
                       .d = d,
                       .position = position,
                       .positions = positions_of(q->dim[1] / k->dim[1]),
                       .scale = (float)call->f[0]};
  const int64_t tiles = cr_ceil_div(job.rows, job.positions);
  return cr_spread(ctx, cr_count(q) * (position + job.rows), tiles * job.groups, attention_task, &job, err);
}

CR_FAMILY(attention, {CREDENCE_OP_WRITE_ROWS, .run = run_write},
          {CREDENCE_OP_ATTENTION, .scratch = scratch_attention, .run = run_attention})

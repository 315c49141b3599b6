/* rows.c: rows of a table picked by index, and added back. Every index is checked before any row is touched. */
#include "cr.h"
#include "isa.h"
#include "widen.h"

enum { TASK_ELEMENTS = 16384, SLAB = 64, SHARES = 16 };

static int64_t blocks_of(int64_t n, int64_t size) { return (n + size - 1) / size; }
static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static int32_t check_indices(const char *op, const cr_tensor *index, int64_t rows, credence_error *err) {
  const int32_t *i = (const int32_t *)(const void *)index->data;
  for (int64_t n = 0; n < index->dim[0]; n++) {
    if (i[n] >= 0 && i[n] < rows) continue;
    if (rows == 0)
      return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: index[%lld] is %d, but the table is empty", op, (long long)n,
                     (int)i[n]);
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: index[%lld] is %d, outside 0 to %lld", op, (long long)n,
                   (int)i[n], (long long)rows - 1);
  }
  return CREDENCE_OK;
}

/* ---- gather ---- */

typedef struct gather_job {
  const cr_tensor *table;
  const int32_t *index;
  float *y;
  int64_t n, d, rows_per_task;
} gather_job;

static int32_t gather_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const gather_job *j = arg;
  const int64_t row_bytes = cr_row_bytes(j->table->dtype, j->d), from = index * j->rows_per_task;
  const int64_t to = smaller(from + j->rows_per_task, j->n);
  for (int64_t n = from; n < to; n++)
    cr_widen_row(j->table->dtype, j->table->data + j->index[n] * row_bytes, j->y + n * j->d, j->d);
  return CREDENCE_OK;
}

static int32_t run_gather(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *table = &call->in[0], *index = &call->in[1];
  int32_t status = check_indices("gather_rows", index, table->dim[0], err);
  int64_t n = index->dim[0], d = table->dim[1];
  if (status != CREDENCE_OK || d == 0) return status;
  gather_job job = {.table = table,
                    .index = (const int32_t *)(const void *)index->data,
                    .y = (float *)(void *)call->out[0].data,
                    .n = n,
                    .d = d,
                    .rows_per_task = blocks_of(TASK_ELEMENTS, d)};
  return cr_spread(ctx, n * d, blocks_of(n, job.rows_per_task), gather_task, &job, err);
}

/* ---- scatter ---- */

/* A task owns a slab of columns and a range of the table's rows, and walks all indices in order: each element is summed
 * by one task, n ascending, however many tasks there are. */
typedef struct scatter_job {
  const float *rows;
  const int32_t *index;
  float *table;
  int64_t n, v, d, slabs, parts;
} scatter_job;

static int32_t scatter_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const scatter_job j = *(const scatter_job *)arg;
  const int64_t slab = index % j.slabs, part = index / j.slabs;
  const int64_t left = slab * SLAB, width = smaller(SLAB, j.d - left);
  const int64_t low = j.v * part / j.parts, high = j.v * (part + 1) / j.parts;
  for (int64_t n = 0; n < j.n; n++) {
    if (j.index[n] < low || j.index[n] >= high) continue;
    const float *from = j.rows + n * j.d + left;
    float *to = j.table + j.index[n] * j.d + left;
    int64_t k = 0;
    for (; k + CR_W <= width; k += CR_W) vf_store(to + k, vf_load(to + k) + vf_load(from + k));
    for (; k < width; k++) to[k] += from[k];
  }
  return CREDENCE_OK;
}

static int32_t run_scatter(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *table = &call->inout[0], *index = &call->in[1];
  int32_t status = check_indices("scatter_add_rows", index, table->dim[0], err);
  if (status != CREDENCE_OK || table->dim[0] * table->dim[1] == 0) return status;
  scatter_job job = {.rows = (const float *)(const void *)call->in[0].data,
                     .index = (const int32_t *)(const void *)index->data,
                     .table = (float *)(void *)table->data,
                     .n = index->dim[0],
                     .v = table->dim[0],
                     .d = table->dim[1],
                     .slabs = blocks_of(table->dim[1], SLAB)};
  job.parts = smaller(blocks_of(SHARES, job.slabs), job.v);
  return cr_spread(ctx, job.n * job.d, job.slabs * job.parts, scatter_task, &job, err);
}

CR_FAMILY(rows, {CREDENCE_OP_GATHER_ROWS, .run = run_gather}, {CREDENCE_OP_SCATTER_ADD_ROWS, .run = run_scatter})

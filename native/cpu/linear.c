/* LINEAR: products with stored weights. A task is a range of outputs, for a range of rows where there are many; what it
 * computes follows stored.h's order, so the cut cannot be seen in the result. */
#include "stored.h"

enum {
  TASK_BYTES = 256 << 10, /* of weights, where one row of x reads them: about 20 us */
  TASK_ROWS = 128
};

typedef struct linear_job {
  const cr_ctx *ctx;
  cr_dots dots;
  int64_t n, outputs, groups; /* outputs of a task, and how many such groups */
} linear_job;

static int32_t linear_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)err;
  const linear_job *j = arg;
  const int64_t from = index % j->groups * j->outputs, row = index / j->groups * TASK_ROWS;
  cr_dots d = j->dots;
  d.x += row * d.x_stride;
  d.y += row * d.y_stride + from;
  d.m = cr_min(TASK_ROWS, d.m - row);
  CR_NAME(cr_dots_run)(&d, from, cr_min(from + j->outputs, j->n), (float *)(void *)cr_worker_scratch(j->ctx, worker));
  return CREDENCE_OK;
}

static void scratch_linear(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  if (call->in[0].dim[0] > 1) scratch->per_thread = CR_DOT_SCRATCH;
}

static int32_t run_linear(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *x = &call->in[0], *w = &call->in[1];
  const int64_t m = x->dim[0], k = x->dim[1], n = w->dim[0], row_bytes = cr_row_bytes(w->dtype, k);
  if (m == 0 || n == 0) return CREDENCE_OK;
  linear_job job = {
      .ctx = ctx,
      .dots = {.x = (const float *)(const void *)x->data,
               .x_stride = k,
               .m = m,
               .k = k,
               .w = {w->data, row_bytes, w->dtype},
               .listed = n,
               .y = (float *)(void *)call->out[0].data,
               .y_stride = n,
               .bias = call->n_in > 2 ? (const float *)(const void *)call->in[2].data : NULL},
      .n = n,
      .outputs = m > 1 ? CR_DOT_PANEL : cr_max(1, TASK_BYTES / (row_bytes + 1)),
  };
  job.groups = cr_ceil_div(n, job.outputs);
  return cr_spread(ctx, cr_max(m * n, n * k), job.groups * cr_ceil_div(m, TASK_ROWS), linear_task, &job, err);
}

CR_FAMILY(linear, {CREDENCE_OP_LINEAR, .scratch = scratch_linear, .run = run_linear})

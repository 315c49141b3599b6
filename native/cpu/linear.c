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

static int32_t check_linear(const cr_call *call, int32_t threads, cr_scratch *scratch, credence_error *err) {
  (void)threads;
  const char *op = "linear";
  int32_t status = cr_expect(call, op, 2, 3, 1, 0, 0, 0, err);
  if (status != CREDENCE_OK) return status;
  const cr_tensor *x = &call->in[0], *w = &call->in[1], *y = &call->out[0],
                  *bias = call->n_in > 2 ? &call->in[2] : NULL;
  if (!cr_is_stored(w->dtype))
    return cr_fail(err, CREDENCE_UNSUPPORTED, "%s: type %d of w; f32, f16, bf16, q8_0 or q4_0 is needed", op, w->dtype);
  status = cr_expect_dtype(x, CREDENCE_F32, op, "x", err);
  if (status == CREDENCE_OK) status = cr_expect_dtype(y, CREDENCE_F32, op, "y", err);
  if (status == CREDENCE_OK) status = cr_expect_dense(x, op, "x", err);
  if (status == CREDENCE_OK) status = cr_expect_dense(w, op, "w", err);
  if (status == CREDENCE_OK) status = cr_expect_dense(y, op, "y", err);
  if (status == CREDENCE_OK && bias != NULL) {
    status = cr_expect_dtype(bias, CREDENCE_F32, op, "the bias", err);
    if (status == CREDENCE_OK) status = cr_expect_dense(bias, op, "the bias", err);
  }
  if (status != CREDENCE_OK) return status;
  char sx[96], sw[96], sy[96];
  if (x->ndim != 2 || w->ndim != 2 || y->ndim != 2 || x->dim[1] != w->dim[1] || y->dim[0] != x->dim[0] ||
      y->dim[1] != w->dim[0])
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: x %s, w %s and y %s do not fit", op, cr_shape(x, sx),
                   cr_shape(w, sw), cr_shape(y, sy));
  if (bias != NULL && (bias->ndim != 1 || bias->dim[0] != w->dim[0]))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: w is %s, the bias %s", op, cr_shape(w, sw), cr_shape(bias, sx));
  if (x->dim[0] > 1) scratch->per_thread = CR_DOT_SCRATCH;
  return CREDENCE_OK;
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

CR_FAMILY(linear, {CREDENCE_OP_LINEAR, .run = run_linear, .check = check_linear})

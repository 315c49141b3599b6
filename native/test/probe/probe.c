/* Ops that show the core from inside. They borrow the numbers of real ops, whose names appear in messages:
 *   fill   () -> y; f: value          y[0] = value: as small as an op can be
 *   neg    x -> y                     y = -x by tasks of 64 elements, through scratch; in place
 *   abs    x -> y                     task k fails where x[k] < 0, saying k
 *   exp    x -> y; f: nanoseconds     one task per element, each lasting so long
 *   log    x -> y                     a cr_parallel inside every task of a cr_parallel
 *   sign   x -> y                     y[0] = what the call says of its dense elements, whatever the shapes and types
 *   random_bits () -> y; i: seed, stream, row0   y[0..2] = the attributes; row0 up to 1000 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core.h"
#include "cr.h"
#include "isa.h"

static int32_t check_map(const cr_call *call, credence_error *err) {
  int32_t status = cr_expect(call, "probe", 1, 1, 1, 0, 0, call->n_f, err);
  if (status == CREDENCE_OK) status = cr_expect_dtype(&call->in[0], CREDENCE_F32, "probe", "x", err);
  if (status == CREDENCE_OK) status = cr_expect_dtype(&call->out[0], CREDENCE_F32, "probe", "y", err);
  if (status == CREDENCE_OK) status = cr_expect_dense(&call->in[0], "probe", "x", err);
  if (status == CREDENCE_OK) status = cr_expect_dense(&call->out[0], "probe", "y", err);
  if (status == CREDENCE_OK) status = cr_expect_same_shape(&call->in[0], &call->out[0], "probe", err);
  return status;
}

static void scratch_map(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)call, (void)threads;
  scratch->shared = 100;
  scratch->per_thread = 64 * sizeof(float) + 1;
}

static int32_t check_fill(const cr_call *call, credence_error *err) {
  return cr_expect(call, "fill", 0, 0, 1, 0, 0, 1, err);
}

static int32_t run_fill(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  (void)ctx;
  (void)err;
  if (call->out[0].dim[0] > 0) *(float *)call->out[0].data = (float)call->f[0];
  return CREDENCE_OK;
}

typedef struct job {
  const cr_call *call;
  const cr_ctx *ctx;
  const float *x;
  float *y;
  int64_t n;
} job;

static job job_of(const cr_call *call, const cr_ctx *ctx) {
  return (job){call, ctx, (const float *)call->in[0].data, (float *)call->out[0].data, cr_count(&call->in[0])};
}

static int32_t neg_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  const job *j = arg;
  const int64_t from = index * 64, n = j->n - from < 64 ? j->n - from : 64;
  float *scratch = (float *)cr_worker_scratch(j->ctx, worker);
  if (worker < 0 || worker >= j->ctx->threads || (uintptr_t)scratch % 64 != 0 || (uintptr_t)j->ctx->scratch % 64 != 0)
    return cr_fail(err, CREDENCE_INTERNAL, "neg: worker %d of %d", worker, j->ctx->threads);
  for (int64_t k = 0; k < n; k++) scratch[k] = -j->x[from + k];
  memcpy(j->y + from, scratch, (size_t)n * sizeof *scratch);
  return CREDENCE_OK;
}

static int32_t run_neg(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  job j = job_of(call, ctx);
  memset(ctx->scratch, 1, ctx->scratch_shared);
  return cr_parallel(ctx, (j.n + 63) / 64, neg_task, &j, err);
}

static int32_t abs_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker;
  const job *j = arg;
  if (j->x[index] < 0) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "abs: element %lld", (long long)index);
  j->y[index] = j->x[index];
  return CREDENCE_OK;
}

static int32_t run_abs(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  job j = job_of(call, ctx);
  return cr_parallel(ctx, j.n, abs_task, &j, err);
}

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int32_t exp_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker;
  (void)err;
  const job *j = arg;
  const int64_t end = now() + (int64_t)j->call->f[0];
  while (now() < end) {
  }
  j->y[index] = 1;
  return CREDENCE_OK;
}

static int32_t run_exp(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  job j = job_of(call, ctx);
  return cr_parallel(ctx, j.n, exp_task, &j, err);
}

static int32_t log_inner(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)err;
  const job *j = arg;
  float *scratch = (float *)cr_worker_scratch(j->ctx, worker);
  scratch[0] += j->x[index];
  return CREDENCE_OK;
}

static int32_t log_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  const job *j = arg;
  float *scratch = (float *)cr_worker_scratch(j->ctx, worker);
  scratch[0] = 0;
  int32_t status = cr_parallel(j->ctx, j->n, log_inner, arg, err); /* on this thread, with this worker's scratch */
  j->y[index] = scratch[0];
  return status;
}

static int32_t run_log(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  job j = job_of(call, ctx);
  return cr_parallel(ctx, j.n, log_task, &j, err);
}

static int32_t check_bits(const cr_call *call, credence_error *err) {
  int32_t status = cr_expect(call, "random_bits", 0, 0, 1, 0, 3, 0, err);
  if (status == CREDENCE_OK && call->i[2] > 1000)
    status = cr_fail(err, CREDENCE_INVALID_ARGUMENT, "random_bits: row0 is %lld", (long long)call->i[2]);
  return status;
}

static int32_t run_bits(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  (void)ctx;
  (void)err;
  for (int k = 0; k < 3 && k < call->out[0].dim[0]; k++) ((int32_t *)call->out[0].data)[k] = (int32_t)call->i[k];
  return CREDENCE_OK;
}

static int32_t check_sign(const cr_call *call, credence_error *err) {
  return cr_expect(call, "sign", 1, 1, 1, 0, 0, 0, err);
}

static int32_t run_sign(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  (void)ctx, (void)err;
  *(float *)call->out[0].data = (float)call->dense;
  return CREDENCE_OK;
}

/* In place of rules.c. */
cr_rule_fn cr_op_rule(uint32_t opcode) {
  static const cr_rule_fn rules[CREDENCE_OP_LIMIT] = {
      [CREDENCE_OP_FILL] = check_fill,        [CREDENCE_OP_NEG] = check_map, [CREDENCE_OP_ABS] = check_map,
      [CREDENCE_OP_EXP] = check_map,          [CREDENCE_OP_LOG] = check_map, [CREDENCE_OP_SIGN] = check_sign,
      [CREDENCE_OP_RANDOM_BITS] = check_bits,
  };
  return rules[opcode];
}

/* In place of blas.c. */
int32_t cr_blas_init(char detail[256]) {
  snprintf(detail, 256, "probe ops, no BLAS");
  return 0;
}

CR_FAMILY(probe, {CREDENCE_OP_FILL, .run = run_fill}, {CREDENCE_OP_NEG, .scratch = scratch_map, .run = run_neg},
          {CREDENCE_OP_ABS, .scratch = scratch_map, .run = run_abs},
          {CREDENCE_OP_EXP, .scratch = scratch_map, .run = run_exp},
          {CREDENCE_OP_LOG, .scratch = scratch_map, .run = run_log}, {CREDENCE_OP_SIGN, .run = run_sign},
          {CREDENCE_OP_RANDOM_BITS, .run = run_bits})

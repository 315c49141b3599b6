/* optimizer.c: what changes state in place (Adam, running averages, y += a x) and the norm of a gradient. Elements are
 * independent except in the norm, which is summed in float64 over chunks that depend on the length alone. */
#include <float.h>

#include "cr.h"
#include "isa.h"
#include "vdouble.h"

enum { CHUNK = 16384, MAX_SUMS = 4096 };

static int64_t at_least(int64_t n, int64_t least) { return n < least ? least : n; }
static int64_t blocks_of(int64_t n, int64_t size) { return (n + size - 1) / size; }

static const float *floats(const cr_tensor *t) { return (const float *)t->data; }

/* ---- Adam ---- */

typedef struct adam_job {
  const float *grad;
  float *param, *m, *v;
  int64_t n;
  float scale, keep1, add1, keep2, add2; /* m = keep1 m + add1 g, v = keep2 v + add2 g g */
  float step, root, eps;                 /* update = step m / (root sqrt v + eps) */
  float l2, decay;                       /* g += l2 param, param -= decay param: one of them is 0 */
} adam_job;

static inline vf adam_lanes(const adam_job *a, vf grad, vf param, vf *m, vf *v) {
  vf g = vf_fma(vf_set(a->l2), param, grad * vf_set(a->scale));
  *m = vf_fma(vf_set(a->keep1), *m, vf_set(a->add1) * g);
  *v = vf_fma(vf_set(a->keep2), *v, vf_set(a->add2) * g * g);
  vf update = vf_set(a->step) * *m / vf_fma(vf_sqrt(*v), vf_set(a->root), vf_set(a->eps));
  return param - vf_fma(vf_set(a->decay), param, update);
}

static int32_t adam_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const adam_job job = *(const adam_job *)arg, *a = &job; /* a copy that no store can alias */
  int64_t k = index * CHUNK, end = k + CHUNK < a->n ? k + CHUNK : a->n;
  for (; k + CR_W <= end; k += CR_W) {
    vf m = vf_load(a->m + k), v = vf_load(a->v + k);
    vf p = adam_lanes(a, vf_load(a->grad + k), vf_load(a->param + k), &m, &v);
    vf_store(a->param + k, p);
    vf_store(a->m + k, m);
    vf_store(a->v + k, v);
  }
  if (k < end) {
    int64_t n = end - k;
    vf m = vf_load_n(a->m + k, n), v = vf_load_n(a->v + k, n);
    vf p = adam_lanes(a, vf_load_n(a->grad + k, n), vf_load_n(a->param + k, n), &m, &v);
    vf_store_n(a->param + k, p, n);
    vf_store_n(a->m + k, m, n);
    vf_store_n(a->v + k, v, n);
  }
  return CREDENCE_OK;
}

static int32_t run_adam(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  int64_t step = call->i[0];
  bool decoupled = call->i[1] != 0;
  double lr = call->f[0], b1 = call->f[1], b2 = call->f[2], eps = call->f[3], decay = call->f[4];
  if (step < 1) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "adam: step %lld; steps count from 1", (long long)step);
  if (!(b1 >= 0 && b1 < 1 && b2 >= 0 && b2 < 1))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "adam: beta1 = %g and beta2 = %g; both must lie in [0, 1)", b1, b2);
  if (!(eps > 0)) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "adam: epsilon = %g; it must be positive", eps);
  float scale = *floats(&call->in[1]);
  if (scale == 0) return CREDENCE_OK; /* the step is skipped */
  adam_job job = {.grad = floats(&call->in[0]),
                  .param = (float *)call->inout[0].data,
                  .m = (float *)call->inout[1].data,
                  .v = (float *)call->inout[2].data,
                  .n = cr_count(&call->in[0]),
                  .scale = scale,
                  .keep1 = (float)b1,
                  .add1 = (float)(1 - b1),
                  .keep2 = (float)b2,
                  .add2 = (float)(1 - b2),
                  .step = (float)(lr / (1 - pow(b1, (double)step))),
                  .root = (float)(1 / sqrt(1 - pow(b2, (double)step))),
                  .eps = (float)eps,
                  .l2 = decoupled ? 0 : (float)decay,
                  .decay = decoupled ? (float)(lr * decay) : 0};
  return cr_spread(ctx, job.n, blocks_of(job.n, CHUNK), adam_task, &job, err);
}

/* ---- state += weight (value - state), and y += a x ---- */

typedef struct update_job {
  const float *x;
  float *y;
  int64_t n;
  float a;
  bool copy;
} update_job;

static inline vf lerp_lanes(const update_job *u, vf x, vf y) { return u->copy ? x : vf_fma(vf_set(u->a), x - y, y); }

static int32_t lerp_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const update_job job = *(const update_job *)arg, *u = &job;
  int64_t k = index * CHUNK, end = k + CHUNK < u->n ? k + CHUNK : u->n;
  for (; k + CR_W <= end; k += CR_W) vf_store(u->y + k, lerp_lanes(u, vf_load(u->x + k), vf_load(u->y + k)));
  int64_t n = end - k;
  if (n > 0) vf_store_n(u->y + k, lerp_lanes(u, vf_load_n(u->x + k, n), vf_load_n(u->y + k, n)), n);
  return CREDENCE_OK;
}

static int32_t axpy_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const update_job job = *(const update_job *)arg, *u = &job;
  int64_t k = index * CHUNK, end = k + CHUNK < u->n ? k + CHUNK : u->n;
  for (; k + CR_W <= end; k += CR_W) vf_store(u->y + k, vf_fma(vf_set(u->a), vf_load(u->x + k), vf_load(u->y + k)));
  int64_t n = end - k;
  if (n > 0) vf_store_n(u->y + k, vf_fma(vf_set(u->a), vf_load_n(u->x + k, n), vf_load_n(u->y + k, n)), n);
  return CREDENCE_OK;
}

static int32_t run_update(const cr_call *call, const cr_ctx *ctx, cr_task_fn task, credence_error *err) {
  update_job job = {.x = floats(&call->in[0]),
                    .y = (float *)call->inout[0].data,
                    .n = cr_count(&call->in[0]),
                    .a = (float)call->f[0],
                    .copy = call->f[0] == 1};
  return cr_spread(ctx, job.n, blocks_of(job.n, CHUNK), task, &job, err);
}

static int32_t run_lerp(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_update(call, ctx, lerp_task, err);
}

static int32_t run_axpy(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_update(call, ctx, axpy_task, err);
}

/* ---- the norm of a gradient ---- */

typedef struct norm_job {
  const float *x;
  double *sums;
  int64_t n, chunk;
} norm_job;

/* At most MAX_SUMS chunks, so that scratch stays small. */
static int64_t norm_chunk(int64_t n) { return at_least(blocks_of(n, MAX_SUMS), CHUNK); }

static int32_t norm_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const norm_job *j = arg;
  int64_t k = index * j->chunk, end = k + j->chunk < j->n ? k + j->chunk : j->n;
  vd sum[4] = {{0}};
  for (; k + 2 * CR_W <= end; k += 2 * CR_W) {
    vf x = vf_load(j->x + k), y = vf_load(j->x + k + CR_W);
    vd part[4] = {vd_low(x), vd_high(x), vd_low(y), vd_high(y)};
    for (int i = 0; i < 4; i++) sum[i] = vd_fma(part[i], part[i], sum[i]);
  }
  for (; k < end; k += CR_W) {
    vf x = end - k < CR_W ? vf_load_n(j->x + k, end - k) : vf_load(j->x + k);
    vd part[2] = {vd_low(x), vd_high(x)};
    for (int i = 0; i < 2; i++) sum[i] = vd_fma(part[i], part[i], sum[i]);
  }
  j->sums[index] = vd_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
  return CREDENCE_OK;
}

static void scratch_clip_scale(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  const int64_t chunks = blocks_of(cr_count(&call->in[0]), CHUNK);
  scratch->shared = (size_t)(chunks < MAX_SUMS ? chunks : MAX_SUMS) * sizeof(double);
}

static int32_t run_clip_scale(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  norm_job job = {.x = floats(&call->in[0]), .sums = (double *)(void *)ctx->scratch, .n = cr_count(&call->in[0])};
  job.chunk = norm_chunk(job.n);
  int64_t chunks = blocks_of(job.n, job.chunk);
  int32_t status = cr_spread(ctx, job.n, chunks, norm_task, &job, err);
  if (status != CREDENCE_OK) return status;
  double sum = 0, most = call->f[0];
  for (int64_t k = 0; k < chunks; k++) sum += job.sums[k];
  double norm = sqrt(sum), scale = most > 0 && norm > most ? most / norm : 1;
  *(float *)call->out[0].data = (float)norm;
  *(float *)call->out[1].data = (float)norm <= FLT_MAX ? (float)scale : 0;
  return CREDENCE_OK;
}

CR_FAMILY(optimizer, {CREDENCE_OP_ADAM, .run = run_adam}, {CREDENCE_OP_LERP, .run = run_lerp},
          {CREDENCE_OP_CLIP_SCALE, .scratch = scratch_clip_scale, .run = run_clip_scale},
          {CREDENCE_OP_AXPY, .run = run_axpy})

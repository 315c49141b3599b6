/* norm.c: normalisation of each row of x [R,C] by its own statistics: root mean square, or mean and variance. Both are
 * summed in float64 in one pass over the row. */
#include "cr.h"
#include "isa.h"
#include "vdouble.h"

enum {
  TASK = 16384,    /* elements */
  MAX_PARTS = 128, /* of the rows, for sums over them */
  FLUSH = 64,      /* float32 sums of so many rows go into float64 ones: error up to 32 ulps of the magnitudes */
  BLOCK = 4        /* vectors whose sums are kept in registers */
};

static int64_t blocks_of(int64_t n, int64_t size) { return (n + size - 1) / size; }
static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static const float *floats(const cr_tensor *t) { return (const float *)(const void *)t->data; }
static float *results(const cr_tensor *t) { return (float *)(void *)t->data; }

/* The first n lanes if there are fewer than a vector has. */
static inline vf load_at(const float *p, int64_t n) { return n >= CR_W ? vf_load(p) : vf_load_n(p, n); }
static inline void store_at(float *p, vf v, int64_t n) {
  if (n >= CR_W)
    vf_store(p, v);
  else
    vf_store_n(p, v, n);
}

#define INLINE static inline __attribute__((always_inline)) /* so that constant arguments fold */

/* ---- statistics of a row ---- */

/* xhat = fma(x - mean, rstd, offset); offset is what rounding the mean to float32 lost. */
typedef struct row_stats {
  float mean, rstd, offset;
} row_stats;

/* Sums of x - centre and of its square. The centre is an element of the row: (mean - centre)^2 / n is then at most the
 * variance, so that subtracting the mean's square loses a factor of n at most of float64's precision. */
INLINE row_stats stats_of(const float *x, int64_t n, double eps, const bool centred) {
  const double centre = centred && isfinite(x[0]) ? (double)x[0] : 0;
  const vd c = vd_set(centre);
  vd one[4] = {{0}}, two[4] = {{0}};
  int64_t k = 0;
  for (; k + 2 * CR_W <= n; k += 2 * CR_W) {
    const vf a = vf_load(x + k), b = vf_load(x + k + CR_W);
    const vd part[4] = {vd_low(a) - c, vd_high(a) - c, vd_low(b) - c, vd_high(b) - c};
    for (int i = 0; i < 4; i++) {
      if (centred) one[i] += part[i];
      two[i] = vd_fma(part[i], part[i], two[i]);
    }
  }
  double sum = vd_sum((one[0] + one[1]) + (one[2] + one[3]));
  double square = vd_sum((two[0] + two[1]) + (two[2] + two[3]));
  for (; k < n; k++) {
    const double d = (double)x[k] - centre;
    sum += d;
    square += d * d;
  }
  square /= (double)n;
  if (!centred) return (row_stats){0, (float)(1 / sqrt(square + eps)), 0};
  sum /= (double)n;
  const double mean = centre + sum, variance = square - sum * sum;
  const double rstd = 1 / sqrt((variance < 0 ? 0 : variance) + eps);
  return (row_stats){(float)mean, (float)rstd, (float)(((double)(float)mean - mean) * rstd)};
}

static inline vf normalized(row_stats s, vf x, const bool centred) {
  return centred ? vf_fma(x - vf_set(s.mean), vf_set(s.rstd), vf_set(s.offset)) : x * vf_set(s.rstd);
}

typedef struct norm_job {
  const float *x, *gamma, *beta, *dy;
  float *y;
  double *sums; /* gradient: of each part, dgamma and dbeta */
  int64_t rows, cols, rows_per_task;
  double eps;
} norm_job;

static int64_t tasks_of(const norm_job *j) { return blocks_of(j->rows, j->rows_per_task); }

/* ---- forward ---- */

INLINE void forward(const norm_job *job, int64_t index, const bool centred) {
  const norm_job j = *job; /* a copy that no store can alias */
  const int64_t to = smaller((index + 1) * j.rows_per_task, j.rows);
  for (int64_t r = index * j.rows_per_task; r < to; r++) {
    const float *x = j.x + r * j.cols;
    float *y = j.y + r * j.cols;
    const row_stats s = stats_of(x, j.cols, j.eps, centred);
    for (int64_t k = 0; k < j.cols; k += CR_W) {
      const int64_t n = j.cols - k;
      const vf xhat = normalized(s, load_at(x + k, n), centred), gamma = load_at(j.gamma + k, n);
      store_at(y + k, centred ? vf_fma(xhat, gamma, load_at(j.beta + k, n)) : xhat * gamma, n);
    }
  }
}

static int32_t rms_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  forward(arg, index, false);
  return CREDENCE_OK;
}

static int32_t layer_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  forward(arg, index, true);
  return CREDENCE_OK;
}

/* ---- gradient ---- */

/* Adds dy xhat and dy of `rows` rows to the sums of n vectors of columns from `at`, the last with `last` lanes. */
INLINE void add_columns(const norm_job *j, double *sums, const row_stats *stats, int64_t from, int64_t rows, int64_t at,
                        const int n, int64_t last, const bool centred) {
  vf dgamma[BLOCK] = {{0}}, dbeta[BLOCK] = {{0}};
  const float *x = j->x + from * j->cols + at, *dy = j->dy + from * j->cols + at;
  for (int64_t r = 0; r < rows; r++, x += j->cols, dy += j->cols) {
    for (int k = 0; k < n; k++) {
      const int64_t lanes = k == n - 1 ? last : CR_W;
      const vf d = load_at(dy + k * CR_W, lanes);
      dgamma[k] = vf_fma(d, normalized(stats[r], load_at(x + k * CR_W, lanes), centred), dgamma[k]);
      if (centred) dbeta[k] += d;
    }
  }
  float a[BLOCK * CR_W], b[BLOCK * CR_W];
  memcpy(a, dgamma, sizeof a);
  memcpy(b, dbeta, sizeof b);
  for (int64_t k = 0; k < (n - 1) * CR_W + last; k++) {
    sums[at + k] += (double)a[k];
    if (centred) sums[j->cols + at + k] += (double)b[k];
  }
}

/* dx of one row: with g = gamma dy, rstd (g - mean(g) - xhat mean(g xhat)). */
INLINE void gradient_row(const norm_job *j, int64_t row, row_stats s, const bool centred) {
  const float *x = j->x + row * j->cols, *dy = j->dy + row * j->cols;
  float *dx = j->y + row * j->cols;
  vd sum[2] = {{0}}, dot[2] = {{0}};
  for (int64_t k = 0; k < j->cols; k += CR_W) {
    const int64_t n = j->cols - k; /* beyond n lanes g is 0 */
    const vf g = load_at(j->gamma + k, n) * load_at(dy + k, n), gx = g * normalized(s, load_at(x + k, n), centred);
    dot[0] += vd_low(gx);
    dot[1] += vd_high(gx);
    if (centred) {
      sum[0] += vd_low(g);
      sum[1] += vd_high(g);
    }
  }
  const vf a = vf_set((float)(vd_sum(sum[0] + sum[1]) / (double)j->cols));
  const vf b = vf_set((float)(vd_sum(dot[0] + dot[1]) / (double)j->cols));
  for (int64_t k = 0; k < j->cols; k += CR_W) {
    const int64_t n = j->cols - k;
    vf g = load_at(j->gamma + k, n) * load_at(dy + k, n);
    if (centred) g -= a;
    store_at(dx + k, vf_set(s.rstd) * vf_fma(-normalized(s, load_at(x + k, n), centred), b, g), n);
  }
}

INLINE void gradient(const norm_job *job, int64_t index, const bool centred) {
  const norm_job j = *job;
  const int64_t to = smaller((index + 1) * j.rows_per_task, j.rows), sets = centred ? 2 : 1;
  double *sums = j.sums + index * sets * j.cols;
  memset(sums, 0, (size_t)(sets * j.cols) * sizeof *sums);
  for (int64_t from = index * j.rows_per_task; from < to; from += FLUSH) {
    row_stats stats[FLUSH];
    const int64_t rows = smaller(FLUSH, to - from);
    for (int64_t r = 0; r < rows; r++) {
      stats[r] = stats_of(j.x + (from + r) * j.cols, j.cols, j.eps, centred);
      gradient_row(&j, from + r, stats[r], centred);
    }
    int64_t at = 0;
    for (; at + BLOCK * CR_W <= j.cols; at += BLOCK * CR_W)
      add_columns(&j, sums, stats, from, rows, at, BLOCK, CR_W, centred);
    for (; at + CR_W <= j.cols; at += CR_W) add_columns(&j, sums, stats, from, rows, at, 1, CR_W, centred);
    if (at < j.cols) add_columns(&j, sums, stats, from, rows, at, 1, j.cols - at, centred);
  }
}

static int32_t rms_gradient_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  gradient(arg, index, false);
  return CREDENCE_OK;
}

static int32_t layer_gradient_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  gradient(arg, index, true);
  return CREDENCE_OK;
}

/* ---- the ops ---- */

/* At most so many parts, for these rows and all fewer: all parts but the last have more than half of TASK elements. */
static int64_t most_parts(const cr_tensor *x) { return smaller(cr_count(x) / (TASK / 2) + 1, MAX_PARTS); }

static void scratch_grad(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  const cr_tensor *x = &call->in[0];
  scratch->shared = (size_t)(most_parts(x) * 2 * x->dim[1]) * sizeof(double);
}

static norm_job job_of(const cr_call *call, const cr_ctx *ctx) {
  const cr_tensor *x = &call->in[0];
  norm_job j = {.x = floats(x),
                .gamma = floats(&call->in[1]),
                .y = results(&call->out[0]),
                .sums = (double *)(void *)ctx->scratch,
                .rows = x->dim[0],
                .cols = x->dim[1],
                .eps = call->f[0]};
  if (j.cols > 0) j.rows_per_task = larger(TASK / j.cols, 1);
  return j;
}

static int32_t run_forward(const cr_call *call, const cr_ctx *ctx, const bool centred, credence_error *err) {
  norm_job j = job_of(call, ctx);
  if (j.rows * j.cols == 0) return CREDENCE_OK;
  if (centred) j.beta = floats(&call->in[2]);
  return cr_spread(ctx, j.rows * j.cols, tasks_of(&j), centred ? layer_task : rms_task, &j, err);
}

static int32_t run_gradient(const cr_call *call, const cr_ctx *ctx, const bool centred, credence_error *err) {
  norm_job j = job_of(call, ctx);
  const int64_t n = j.cols * (centred ? 2 : 1);
  if (j.cols == 0) return CREDENCE_OK;
  j.dy = floats(&call->in[2]);
  j.rows_per_task = larger(j.rows_per_task, blocks_of(j.rows, MAX_PARTS));
  const int64_t parts = tasks_of(&j);
  int32_t status = cr_spread(ctx, j.rows * j.cols, parts, centred ? layer_gradient_task : rms_gradient_task, &j, err);
  if (status != CREDENCE_OK) return status;
  if (parts == 0) memset(j.sums, 0, (size_t)n * sizeof *j.sums);
  for (int64_t t = 1; t < parts; t++)
    for (int64_t k = 0; k < n; k++) j.sums[k] += j.sums[t * n + k];
  for (int64_t k = 0; k < n; k++) results(&call->out[k < j.cols ? 1 : 2])[k % j.cols] = (float)j.sums[k];
  return CREDENCE_OK;
}

static int32_t run_rms(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_forward(call, ctx, false, err);
}
static int32_t run_rms_grad(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_gradient(call, ctx, false, err);
}
static int32_t run_layer(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_forward(call, ctx, true, err);
}
static int32_t run_layer_grad(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_gradient(call, ctx, true, err);
}

CR_FAMILY(norm, {CREDENCE_OP_RMS_NORM, .run = run_rms},
          {CREDENCE_OP_RMS_NORM_GRAD, .scratch = scratch_grad, .run = run_rms_grad},
          {CREDENCE_OP_LAYER_NORM, .run = run_layer},
          {CREDENCE_OP_LAYER_NORM_GRAD, .scratch = scratch_grad, .run = run_layer_grad})

/* batch_norm.c: normalisation of the channels of x [R,C] over its rows, with an activation in the same pass.
 *
 * Vectors run along the channels. Where these do not fill vectors, several rows are taken together as one long row
 * whose channels repeat ("pack" rows of "width" elements), so that 3 channels are as fast as 32; all per-channel
 * numbers are laid out over one such row. Statistics are summed over parts of the rows that depend on the shape alone,
 * and the parts are added in order. */
#include "act.h"
#include "isa.h"
#include "vdouble.h"

enum {
  TASK = 16384,              /* elements */
  MAX_PARTS = 128,           /* of the rows, for statistics */
  BLOCK = CR_W < 16 ? 2 : 4, /* vectors whose sums are kept in registers */
  SPAN = BLOCK * CR_W,
  MAX_WIDTH = 1024, /* of packed rows: their per-channel numbers stay in the first-level cache */
  FLUSH = 64        /* float32 sums of so many terms go into float64 ones: error up to 32 ulps of the magnitudes */
};

static int64_t blocks_of(int64_t n, int64_t size) { return (n + size - 1) / size; }

/* The first n lanes if there are fewer than a vector has. */
static inline vf load_at(const float *p, int64_t n) { return n >= CR_W ? vf_load(p) : vf_load_n(p, n); }

#define INLINE static inline __attribute__((always_inline)) /* so that constant arguments fold */

typedef struct layout {
  int64_t rows, channels;
  int64_t pack, width; /* rows taken together; their elements */
  int64_t full, rest;  /* packed rows; elements of the last, partial one */
} layout;

static int64_t common_divisor(int64_t a, int64_t b) {
  while (b != 0) {
    const int64_t r = a % b;
    a = b;
    b = r;
  }
  return a;
}

static layout layout_of(const cr_tensor *x) {
  layout l = {.rows = x->dim[0], .channels = x->dim[1], .pack = 1};
  for (int64_t n = SPAN; n >= CR_W && l.channels > 0; n = n > CR_W ? CR_W : 0) {
    l.pack = n / common_divisor(l.channels, n);
    if (l.pack * l.channels <= MAX_WIDTH) break;
    l.pack = 1;
  }
  l.width = l.pack * l.channels;
  l.full = l.rows / l.pack;
  l.rest = l.rows % l.pack * l.channels;
  return l;
}

/* How many packed rows one task takes: about TASK elements, and more if there would be more than `parts` tasks. */
static int64_t rows_per_task(const layout *l, int64_t parts) {
  const int64_t most = blocks_of(l->full + 1, parts), usual = TASK / l->width;
  return most > usual ? most : usual > 1 ? usual : 1;
}

typedef struct batch_job {
  layout l;
  const float *x, *dy;
  float *y;
  int64_t per_task;                   /* packed rows */
  double *sums;                       /* of each part: two rows of channels */
  float *mean, *scale, *shift, *rstd; /* over a packed row. before the activation: scale (x - mean) + shift */
  float *of_one, *of_x;               /* gradient: dx = scale (g - of_one - of_x (x - mean)) */
  int64_t kind;
  float p;
} batch_job;

/* The packed rows of a task; partial: also the elements of the last, partial one. */
typedef struct share {
  int64_t from, to, partial;
} share;

static share share_of(const batch_job *j, int64_t index) {
  share s = {index * j->per_task, (index + 1) * j->per_task, 0};
  if (s.to > j->l.full) {
    s.to = j->l.full;
    s.partial = j->l.rest;
  }
  return s;
}

static int64_t tasks_of(const batch_job *j) { return blocks_of(j->l.full + (j->l.rest > 0), j->per_task); }

/* ---- statistics of x ---- */

/* Adds the lanes' two sums to their channels. */
static void fold(double *sums, int64_t channels, int64_t at, const vd *one, const vd *two, int64_t n) {
  double a[SPAN], b[SPAN];
  memcpy(a, one, sizeof a);
  memcpy(b, two, sizeof b);
  for (int64_t k = 0; k < n; k++) {
    sums[(at + k) % channels] += a[k];
    sums[channels + (at + k) % channels] += b[k];
  }
}

/* Sums of x - centre and of its square over `rows` rows of n vectors (the last with `last` lanes) from column `at`. In
 * float64, from a centre that is one of the elements: (mean - centre)^2 / R is then at most the variance, so that
 * subtracting the mean's square from the mean square loses a factor of R at most of float64's precision. */
INLINE void sum_columns(double *sums, const batch_job *j, const float *x, int64_t rows, int64_t at, const int n,
                        int64_t last) {
  vd one[2 * BLOCK] = {{0}}, two[2 * BLOCK] = {{0}}, centre[2 * BLOCK];
  for (int k = 0; k < n; k++) {
    const float *c = j->mean + at + k * CR_W;
    const vf v = load_at(c, k == n - 1 ? last : CR_W);
    centre[2 * k] = vd_low(v);
    centre[2 * k + 1] = vd_high(v);
  }
  for (x += at; rows > 0; rows--, x += j->l.width) {
    for (int k = 0; k < n; k++) {
      const vf v = load_at(x + k * CR_W, k == n - 1 ? last : CR_W);
      const vd low = vd_low(v) - centre[2 * k], high = vd_high(v) - centre[2 * k + 1];
      one[2 * k] += low;
      one[2 * k + 1] += high;
      two[2 * k] = vd_fma(low, low, two[2 * k]);
      two[2 * k + 1] = vd_fma(high, high, two[2 * k + 1]);
    }
  }
  fold(sums, j->l.channels, at, one, two, (n - 1) * CR_W + last);
}

static void sum_rows(double *sums, const batch_job *j, const float *x, int64_t rows, int64_t width) {
  int64_t at = 0;
  for (; at + SPAN <= width; at += SPAN) sum_columns(sums, j, x, rows, at, BLOCK, CR_W);
  for (; at + CR_W <= width; at += CR_W) sum_columns(sums, j, x, rows, at, 1, CR_W);
  if (at < width) sum_columns(sums, j, x, rows, at, 1, width - at);
}

static int32_t statistics_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const batch_job *j = arg;
  const share s = share_of(j, index);
  double *sums = j->sums + index * 2 * j->l.channels;
  memset(sums, 0, (size_t)(2 * j->l.channels) * sizeof *sums);
  const float *x = j->x + s.from * j->l.width;
  if (s.to > s.from) sum_rows(sums, j, x, s.to - s.from, j->l.width);
  if (s.partial > 0) sum_rows(sums, j, x + (s.to - s.from) * j->l.width, 1, s.partial);
  return CREDENCE_OK;
}

/* Adds the parts into the first. */
static void add_parts(double *sums, int64_t parts, int64_t n) {
  for (int64_t t = 1; t < parts; t++)
    for (int64_t k = 0; k < n; k++) sums[k] += sums[t * n + k];
}

/* ---- elementwise passes ---- */

INLINE vf pre_activation(const batch_job *j, int64_t k, vf x, int64_t n) {
  return vf_fma(x - load_at(j->mean + k, n), load_at(j->scale + k, n), load_at(j->shift + k, n));
}

INLINE void forward_row(const batch_job *j, int64_t kind, float *y, const float *x, int64_t width) {
  int64_t k = 0;
  for (; k + CR_W <= width; k += CR_W)
    vf_store(y + k, act_apply(kind, j->p, pre_activation(j, k, vf_load(x + k), CR_W)));
  const int64_t n = width - k;
  if (n > 0) vf_store_n(y + k, act_apply(kind, j->p, pre_activation(j, k, vf_load_n(x + k, n), n)), n);
}

INLINE void forward_share(const batch_job *job, int64_t kind, int64_t index) {
  const batch_job j = *job; /* a copy that no store can alias */
  const share s = share_of(&j, index);
  int64_t at = s.from * j.l.width;
  for (int64_t r = s.from; r < s.to; r++, at += j.l.width) forward_row(&j, kind, j.y + at, j.x + at, j.l.width);
  if (s.partial > 0) forward_row(&j, kind, j.y + at, j.x + at, s.partial);
}

INLINE vf gradient_lanes(const batch_job *j, int64_t kind, int64_t k, vf x, vf dy, int64_t n) {
  const vf centred = x - load_at(j->mean + k, n), scale = load_at(j->scale + k, n);
  const vf g = act_grad(kind, j->p, vf_fma(centred, scale, load_at(j->shift + k, n)), dy);
  return scale * vf_fma(centred, -load_at(j->of_x + k, n), g - load_at(j->of_one + k, n));
}

INLINE void gradient_row(const batch_job *j, int64_t kind, int64_t at, int64_t width) {
  const float *x = j->x + at, *dy = j->dy + at;
  float *dx = j->y + at;
  int64_t k = 0;
  for (; k + CR_W <= width; k += CR_W)
    vf_store(dx + k, gradient_lanes(j, kind, k, vf_load(x + k), vf_load(dy + k), CR_W));
  const int64_t n = width - k;
  if (n > 0) vf_store_n(dx + k, gradient_lanes(j, kind, k, vf_load_n(x + k, n), vf_load_n(dy + k, n), n), n);
}

INLINE void gradient_share(const batch_job *job, int64_t kind, int64_t index) {
  const batch_job j = *job;
  const share s = share_of(&j, index);
  int64_t at = s.from * j.l.width;
  for (int64_t r = s.from; r < s.to; r++, at += j.l.width) gradient_row(&j, kind, at, j.l.width);
  if (s.partial > 0) gradient_row(&j, kind, at, s.partial);
}

/* ---- sums of the gradient ---- */

/* Sums of g = dy act' and of g xhat over `rows` rows of n vectors from column `at`. */
INLINE void sum_gradient_columns(double *sums, const batch_job *j, int64_t kind, int64_t from, int64_t rows, int64_t at,
                                 const int n, int64_t last) {
  vd one[2 * BLOCK] = {{0}}, two[2 * BLOCK] = {{0}};
  const float *x = j->x + from + at, *dy = j->dy + from + at;
  while (rows > 0) {
    vf g_sum[BLOCK] = {{0}}, dot[BLOCK] = {{0}};
    for (int64_t stop = rows > FLUSH ? rows - FLUSH : 0; rows > stop; rows--, x += j->l.width, dy += j->l.width) {
      for (int k = 0; k < n; k++) {
        const int64_t lanes = k == n - 1 ? last : CR_W, c = at + k * CR_W;
        const vf centred = load_at(x + k * CR_W, lanes) - load_at(j->mean + c, lanes);
        const vf pre = vf_fma(centred, load_at(j->scale + c, lanes), load_at(j->shift + c, lanes));
        const vf g = act_grad(kind, j->p, pre, load_at(dy + k * CR_W, lanes));
        g_sum[k] += g;
        dot[k] = vf_fma(g, centred * load_at(j->rstd + c, lanes), dot[k]);
      }
    }
    for (int k = 0; k < n; k++) {
      one[2 * k] += vd_low(g_sum[k]);
      one[2 * k + 1] += vd_high(g_sum[k]);
      two[2 * k] += vd_low(dot[k]);
      two[2 * k + 1] += vd_high(dot[k]);
    }
  }
  fold(sums, j->l.channels, at, one, two, (n - 1) * CR_W + last);
}

INLINE void sum_gradient_rows(double *sums, const batch_job *j, int64_t kind, int64_t from, int64_t rows,
                              int64_t width) {
  int64_t at = 0;
  for (; at + SPAN <= width; at += SPAN) sum_gradient_columns(sums, j, kind, from, rows, at, BLOCK, CR_W);
  for (; at + CR_W <= width; at += CR_W) sum_gradient_columns(sums, j, kind, from, rows, at, 1, CR_W);
  if (at < width) sum_gradient_columns(sums, j, kind, from, rows, at, 1, width - at);
}

INLINE void sum_gradient_share(const batch_job *j, int64_t kind, int64_t index) {
  const share s = share_of(j, index);
  double *sums = j->sums + index * 2 * j->l.channels;
  memset(sums, 0, (size_t)(2 * j->l.channels) * sizeof *sums);
  if (s.to > s.from) sum_gradient_rows(sums, j, kind, s.from * j->l.width, s.to - s.from, j->l.width);
  if (s.partial > 0) sum_gradient_rows(sums, j, kind, s.to * j->l.width, 1, s.partial);
}

/* ---- tasks: one body per kind of activation ---- */

#define KIND(body, kind)  \
  case kind:              \
    body(j, kind, index); \
    break;
#define TASK_OF(name, body)                                                            \
  static int32_t name(void *arg, int64_t index, int32_t worker, credence_error *err) { \
    (void)worker, (void)err;                                                           \
    const batch_job *j = arg;                                                          \
    switch (j->kind) {                                                                 \
      KIND(body, CREDENCE_ACT_NONE)                                                    \
      KIND(body, CREDENCE_ACT_RELU)                                                    \
      KIND(body, CREDENCE_ACT_FATRELU)                                                 \
      KIND(body, CREDENCE_ACT_SHIFTED_RELU)                                            \
      KIND(body, CREDENCE_ACT_LEAKY_RELU)                                              \
      KIND(body, CREDENCE_ACT_GELU)                                                    \
      KIND(body, CREDENCE_ACT_SILU)                                                    \
      KIND(body, CREDENCE_ACT_TANH)                                                    \
      KIND(body, CREDENCE_ACT_SIGMOID)                                                 \
      KIND(body, CREDENCE_ACT_SOFTPLUS)                                                \
      KIND(body, CREDENCE_ACT_RELU_SQUARED)                                            \
    }                                                                                  \
    return CREDENCE_OK;                                                                \
  }

TASK_OF(forward_task, forward_share)
TASK_OF(gradient_task, gradient_share)
TASK_OF(sum_gradient_task, sum_gradient_share)

/* ---- the ops ---- */

static const float *floats(const cr_tensor *t) { return (const float *)(const void *)t->data; }
static float *results(const cr_tensor *t) { return (float *)(void *)t->data; }

/* At most so many parts, for these rows and all fewer: a part has more than half of TASK elements but for the last. */
static int64_t most_parts(const cr_tensor *x) {
  const int64_t n = cr_count(x) / (TASK / 2) + 1;
  return n < MAX_PARTS ? n : MAX_PARTS;
}

static int64_t padded(int64_t width) { return blocks_of(width, CR_W) * CR_W; }

static void scratch_batch(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  const cr_tensor *x = &call->in[0];
  const layout l = layout_of(x);
  scratch->shared =
      (size_t)(most_parts(x) * 2 * l.channels) * sizeof(double) + (size_t)(6 * padded(l.width)) * sizeof(float);
}

static batch_job job_of(const cr_call *call, const cr_ctx *ctx) {
  const cr_tensor *x = &call->in[0];
  batch_job j = {
      .l = layout_of(x), .x = floats(x), .y = results(&call->out[0]), .kind = call->i[0], .p = (float)call->f[1]};
  if (j.l.width > 0) j.per_task = rows_per_task(&j.l, MAX_PARTS);
  j.sums = (double *)(void *)ctx->scratch;
  float *numbers = (float *)(void *)(j.sums + most_parts(x) * 2 * j.l.channels);
  const int64_t n = padded(j.l.width);
  j.mean = numbers;
  j.scale = numbers + n;
  j.shift = numbers + 2 * n;
  j.rstd = numbers + 3 * n;
  j.of_one = numbers + 4 * n;
  j.of_x = numbers + 5 * n;
  return j;
}

static int32_t run_tasks(const batch_job *j, const cr_ctx *ctx, cr_task_fn task, credence_error *err) {
  return cr_spread(ctx, j->l.rows * j->l.channels, tasks_of(j), task, (void *)(uintptr_t)j, err);
}

/* Repeats the numbers of the channels over a packed row. */
static void repeat(const batch_job *j, float *numbers) {
  for (int64_t k = j->l.channels; k < j->l.width; k++) numbers[k] = numbers[k - j->l.channels];
}

static int32_t run_train(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  batch_job j = job_of(call, ctx);
  const int64_t channels = j.l.channels;
  float *mean = results(&call->out[1]), *variance = results(&call->out[2]);
  if (j.l.rows * channels == 0) {
    for (int64_t c = 0; c < channels; c++) mean[c] = variance[c] = 0;
    return CREDENCE_OK;
  }
  for (int64_t c = 0; c < channels; c++) j.mean[c] = isfinite(j.x[c]) ? j.x[c] : 0; /* the centre */
  repeat(&j, j.mean);
  int32_t status = run_tasks(&j, ctx, statistics_task, err);
  if (status != CREDENCE_OK) return status;
  add_parts(j.sums, tasks_of(&j), 2 * channels);
  for (int64_t c = 0; c < channels; c++) {
    const double n = (double)j.l.rows, one = j.sums[c] / n, difference = j.sums[channels + c] / n - one * one;
    const double m = (double)j.mean[c] + one, v = difference < 0 ? 0 : difference;
    const double scale = (double)floats(&call->in[1])[c] / sqrt(v + call->f[0]);
    mean[c] = (float)m;
    variance[c] = (float)v;
    j.mean[c] = mean[c];
    j.scale[c] = (float)scale;
    j.shift[c] =
        (float)((double)floats(&call->in[2])[c] - (m - (double)mean[c]) * scale); /* what rounding the mean lost */
  }
  repeat(&j, j.mean);
  repeat(&j, j.scale);
  repeat(&j, j.shift);
  return run_tasks(&j, ctx, forward_task, err);
}

/* The numbers of the channels, with given statistics. */
static void prepare(batch_job *j, const cr_call *call) {
  for (int64_t c = 0; c < j->l.channels; c++) {
    const double rstd = 1 / sqrt((double)floats(&call->in[4])[c] + call->f[0]);
    j->mean[c] = floats(&call->in[3])[c];
    j->rstd[c] = (float)rstd;
    j->scale[c] = (float)((double)floats(&call->in[1])[c] * rstd);
    j->shift[c] = floats(&call->in[2])[c];
  }
  repeat(j, j->mean);
  repeat(j, j->rstd);
  repeat(j, j->scale);
  repeat(j, j->shift);
}

static int32_t run_eval(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  batch_job j = job_of(call, ctx);
  if (j.l.rows * j.l.channels == 0) return CREDENCE_OK;
  prepare(&j, call);
  return run_tasks(&j, ctx, forward_task, err);
}

static int32_t run_gradient(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  batch_job j = job_of(call, ctx);
  const int64_t channels = j.l.channels;
  float *dgamma = results(&call->out[1]), *dbeta = results(&call->out[2]);
  if (j.l.rows * channels == 0) {
    for (int64_t c = 0; c < channels; c++) dgamma[c] = dbeta[c] = 0;
    return CREDENCE_OK;
  }
  j.dy = floats(&call->in[5]);
  prepare(&j, call);
  int32_t status = run_tasks(&j, ctx, sum_gradient_task, err);
  if (status != CREDENCE_OK) return status;
  add_parts(j.sums, tasks_of(&j), 2 * channels);
  for (int64_t c = 0; c < channels; c++) {
    const double n = (double)j.l.rows, sum = j.sums[c], dot = j.sums[channels + c];
    dbeta[c] = (float)sum;
    dgamma[c] = (float)dot;
    j.of_one[c] = (float)(sum / n);
    j.of_x[c] = (float)(dot / n * (double)j.rstd[c]);
  }
  repeat(&j, j.of_one);
  repeat(&j, j.of_x);
  return run_tasks(&j, ctx, gradient_task, err);
}

CR_FAMILY(batch_norm, {CREDENCE_OP_BATCH_NORM_TRAIN, .scratch = scratch_batch, .run = run_train},
          {CREDENCE_OP_BATCH_NORM_GRAD, .scratch = scratch_batch, .run = run_gradient},
          {CREDENCE_OP_BATCH_NORM_EVAL, .scratch = scratch_batch, .run = run_eval})

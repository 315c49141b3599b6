/* triangular.c: batches of small lower-triangular matrices l [B,D,D]. What lies above a diagonal is never read.
 *
 * Products and solves work on float32 with one multiply-add chain per element, so that a row's result depends on that
 * row alone. Factorisations, their gradient and the diagonal's transcendental functions are computed in double and
 * rounded once: they are rare, small, and what follows depends on their last bits. */
#include "cr.h"
#include "isa.h"
#include "vec.h"

static const float *matrix_of(const cr_tensor *t, int64_t b) { return (const float *)(t->data + b * t->stride[0]); }
static float *result_of(const cr_call *call, int64_t b) {
  return (float *)(call->out[0].data + b * call->out[0].stride[0]);
}

/* ---- products and solves: rows of x [B,N,D] against l ---- */

/* Rows of x taken at once, one per lane. */
#if CR_W == 16
enum { VECTORS = 1 };
#else
enum { VECTORS = 2 };
#endif
enum { LANES = VECTORS * CR_W };

/* Element (i,j), j <= i, of a lower-triangular matrix is l[i * row + j * col]. */
typedef struct tri {
  const float *l;
  int64_t d, row, col;
} tri;

/* l' with both axes reversed is lower triangular again. */
static tri tri_of(const float *l, int64_t d, int64_t step, bool transpose) {
  if (transpose) return (tri){l + (d - 1) * (step + 1), d, -1, -step};
  return (tri){l, d, step, 1};
}

/* acc[r] += sign * sum over j < i of element (i+r, j) times x_j, j ascending, for `rows` rows. */
static inline __attribute__((always_inline)) void add_products(const tri *m, int64_t i, const int rows, float sign,
                                                               const float *x, vf acc[][VECTORS]) {
  const float *l = m->l + i * m->row;
  for (int64_t j = 0; j < i; j++)
    for (int r = 0; r < rows; r++) {
      vf a = vf_set(sign * l[r * m->row + j * m->col]);
      for (int v = 0; v < VECTORS; v++) acc[r][v] = vf_fma(a, vf_load(x + j * LANES + v * CR_W), acc[r][v]);
    }
}

/* The steps below turn elements i .. i+rows-1 of LANES vectors x (element j of vector n is x[j * LANES + n]) into the
 * result's, in place: products from the last element to the first, solutions from the first to the last. */
typedef void (*tri_step)(const tri *m, int64_t i, float *x);

static inline __attribute__((always_inline)) void multiply_rows(const tri *m, int64_t i, const int rows, float *x) {
  vf acc[4][VECTORS] = {{{0}}};
  add_products(m, i, rows, 1, x, acc);
  for (int r = 0; r < rows; r++)
    for (int q = 0; q <= r; q++) {
      vf a = vf_set(m->l[(i + r) * m->row + (i + q) * m->col]);
      for (int v = 0; v < VECTORS; v++) acc[r][v] = vf_fma(a, vf_load(x + (i + q) * LANES + v * CR_W), acc[r][v]);
    }
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < VECTORS; v++) vf_store(x + (i + r) * LANES + v * CR_W, acc[r][v]);
}

static inline __attribute__((always_inline)) void solve_rows(const tri *m, int64_t i, const int rows, float *x) {
  vf acc[4][VECTORS];
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < VECTORS; v++) acc[r][v] = vf_load(x + (i + r) * LANES + v * CR_W);
  add_products(m, i, rows, -1, x, acc);
  for (int r = 0; r < rows; r++) {
    const float *l = m->l + (i + r) * m->row + i * m->col;
    for (int v = 0; v < VECTORS; v++) {
      for (int q = 0; q < r; q++) acc[r][v] = vf_fma(vf_set(-l[q * m->col]), acc[q][v], acc[r][v]);
      acc[r][v] /= vf_set(l[r * m->col]);
      vf_store(x + (i + r) * LANES + v * CR_W, acc[r][v]);
    }
  }
}

static void multiply(const tri *m, float *x) {
  int64_t i = m->d;
  for (; i % 4 != 0; i--) multiply_rows(m, i - 1, 1, x);
  for (; i > 0; i -= 4) multiply_rows(m, i - 4, 4, x);
}

static void solve(const tri *m, float *x) {
  int64_t i = 0;
  for (; i + 4 <= m->d; i += 4) solve_rows(m, i, 4, x);
  for (; i < m->d; i++) solve_rows(m, i, 1, x);
}

/* Blocks of LANES rows are shared out in runs of about 2^17 multiply-adds. */
typedef struct tri_job {
  const cr_call *call;
  const cr_ctx *ctx;
  void (*apply)(const tri *m, float *x);
  int64_t blocks, run; /* blocks per matrix, blocks per task */
} tri_job;

static int32_t tri_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)err;
  const tri_job *job = arg;
  const cr_tensor *l = &job->call->in[0], *x = &job->call->in[1], *y = &job->call->out[0];
  bool transpose = job->call->i[0] != 0;
  int64_t d = l->dim[1], n = x->dim[1], end = (index + 1) * job->run;
  if (end > job->blocks * l->dim[0]) end = job->blocks * l->dim[0];
  float *work = (float *)cr_worker_scratch(job->ctx, worker);
  for (int64_t at = index * job->run; at < end; at++) {
    int64_t b = at / job->blocks, from = at % job->blocks * LANES, lanes = n - from < LANES ? n - from : LANES;
    tri m = tri_of(matrix_of(l, b), d, l->stride[1] / 4, transpose);
    const char *px = x->data + b * x->stride[0] + from * x->stride[1];
    char *py = y->data + b * y->stride[0] + from * y->stride[1];
    /* element k goes to place first + k * step, reversed for l' */
    int64_t step = transpose ? -LANES : LANES;
    float *first = transpose ? work + (d - 1) * LANES : work;
    /* lanes without a row compute on zeros, so that what was there cannot be slow (subnormal numbers) */
    if (lanes < LANES) memset(work, 0, (size_t)d * LANES * sizeof *work);
    for (int64_t r = 0; r < lanes; r++)
      for (int64_t k = 0; k < d; k++) first[k * step + r] = ((const float *)(px + r * x->stride[1]))[k];
    job->apply(&m, work);
    for (int64_t r = 0; r < lanes; r++)
      for (int64_t k = 0; k < d; k++) ((float *)(py + r * y->stride[1]))[k] = first[k * step + r];
  }
  return CREDENCE_OK;
}

static void scratch_apply(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  scratch->per_thread = (size_t)call->in[0].dim[1] * LANES * sizeof(float);
}

static int32_t run_apply(const cr_call *call, const cr_ctx *ctx, void (*apply)(const tri *, float *),
                         credence_error *err) {
  const cr_tensor *x = &call->in[1];
  if (cr_count(x) == 0) return CREDENCE_OK;
  int64_t d = x->dim[2];
  tri_job job = {call, ctx, apply, (x->dim[1] + LANES - 1) / LANES, 1 + (1 << 17) / (LANES * d * (d + 1) / 2)};
  return cr_parallel(ctx, (job.blocks * x->dim[0] + job.run - 1) / job.run, tri_task, &job, err);
}

static int32_t run_matmul(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_apply(call, ctx, multiply, err);
}

static int32_t run_solve(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_apply(call, ctx, solve, err);
}

/* ---- factorisation, in double ---- */

typedef struct job {
  const cr_call *call;
  const cr_ctx *ctx;
  int64_t run; /* rows or matrices per task */
} job;

/* u' u = a by rows of u, which hold the columns of l: every inner loop runs along a row. */
static int32_t cholesky_task(void *arg, int64_t b, int32_t worker, credence_error *err) {
  const job *job = arg;
  int64_t d = job->call->in[0].dim[1];
  const float *a = matrix_of(&job->call->in[0], b);
  float *l = result_of(job->call, b);
  double *u = (double *)cr_worker_scratch(job->ctx, worker);
  for (int64_t i = 0; i < d; i++)
    for (int64_t j = 0; j <= i; j++) u[j * d + i] = a[i * d + j];
  for (int64_t k = 0; k < d; k++) {
    double *uk = u + k * d, pivot = uk[k], root = sqrt(pivot);
    /* written so that NaN fails too; the root must not vanish when it is rounded */
    if (!((float)root > 0 && root < INFINITY))
      return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "cholesky: matrix %lld is not positive definite: pivot %lld is %g",
                     (long long)b, (long long)k, pivot);
    uk[k] = root;
    for (int64_t j = k + 1; j < d; j++) uk[j] /= root;
    for (int64_t i = k + 1; i < d; i++) {
      double *ui = u + i * d, f = uk[i];
      for (int64_t j = i; j < d; j++) ui[j] -= f * uk[j];
    }
  }
  for (int64_t i = 0; i < d; i++) {
    for (int64_t j = 0; j <= i; j++) l[i * d + j] = (float)u[j * d + i];
    memset(l + i * d + i + 1, 0, (size_t)(d - i - 1) * sizeof *l);
  }
  return CREDENCE_OK;
}

static void scratch_cholesky(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  scratch->per_thread = (size_t)(call->in[0].dim[1] * call->in[0].dim[2]) * sizeof(double);
}

static int32_t run_each(const cr_call *call, const cr_ctx *ctx, cr_task_fn task, credence_error *err) {
  job job = {call, ctx, 1};
  return cr_count(&call->in[0]) == 0 ? CREDENCE_OK : cr_parallel(ctx, call->in[0].dim[0], task, &job, err);
}

static int32_t run_cholesky(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_each(call, ctx, cholesky_task, err);
}

/* Murray, "Differentiation of the Cholesky decomposition" (2016): da = (s + s') / 2, s = l^-T phi(l' dl) l^-1, where
 * phi keeps the lower triangle and halves the diagonal. */
static int32_t cholesky_grad_task(void *arg, int64_t b, int32_t worker, credence_error *err) {
  (void)err;
  const job *job = arg;
  int64_t d = job->call->in[0].dim[1];
  const float *l = matrix_of(&job->call->in[0], b), *dl = matrix_of(&job->call->in[1], b);
  float *da = result_of(job->call, b);
  double *s = (double *)cr_worker_scratch(job->ctx, worker);
  memset(s, 0, (size_t)(d * d) * sizeof *s);
  for (int64_t k = 0; k < d; k++) /* phi(l' dl) */
    for (int64_t i = 0; i <= k; i++) {
      double f = l[k * d + i];
      for (int64_t j = 0; j <= i; j++) s[i * d + j] += f * dl[k * d + j];
    }
  for (int64_t i = 0; i < d; i++) s[i * d + i] *= 0.5;
  for (int64_t i = d - 1; i >= 0; i--) { /* l' s = phi, by rows of s from the last */
    double *si = s + i * d, diagonal = l[i * d + i];
    for (int64_t j = 0; j < d; j++) si[j] /= diagonal;
    for (int64_t k = 0; k < i; k++) {
      double *sk = s + k * d, f = l[i * d + k];
      for (int64_t j = 0; j < d; j++) sk[j] -= f * si[j];
    }
  }
  for (int64_t i = 0; i < d; i++) { /* s l = s, each row from its last element */
    double *si = s + i * d;
    for (int64_t k = d - 1; k >= 0; k--) {
      double f = si[k] /= l[k * d + k];
      for (int64_t j = 0; j < k; j++) si[j] -= f * l[k * d + j];
    }
  }
  for (int64_t i = 0; i < d; i++)
    for (int64_t j = 0; j < d; j++) da[i * d + j] = (float)(0.5 * (s[i * d + j] + s[j * d + i]));
  return CREDENCE_OK;
}

static int32_t run_cholesky_grad(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_each(call, ctx, cholesky_grad_task, err);
}

/* ---- log-determinant ---- */

static int32_t log_det_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const job *job = arg;
  const cr_tensor *l = &job->call->in[0];
  float *y = (float *)job->call->out[0].data;
  int64_t d = l->dim[1], end = (index + 1) * job->run < l->dim[0] ? (index + 1) * job->run : l->dim[0];
  for (int64_t b = index * job->run; b < end; b++) {
    double sum = 0;
    for (int64_t i = 0; i < d; i++) sum += log(fabs((double)matrix_of(l, b)[i * (d + 1)]));
    y[b] = (float)sum;
  }
  return CREDENCE_OK;
}

static int32_t run_log_det(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *l = &call->in[0];
  job job = {call, ctx, 1 + 4096 / (l->dim[1] + 1)};
  return cr_parallel(ctx, (l->dim[0] + job.run - 1) / job.run, log_det_task, &job, err);
}

/* ---- row by row: everything that treats the diagonal, what is left and what is right of it differently ---- */

typedef void (*row_fn)(const cr_call *call, int64_t row, int64_t i, int64_t d);

typedef struct row_job {
  const cr_call *call;
  row_fn row;
  int64_t d, rows, run;
} row_job;

static int32_t row_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const row_job *job = arg;
  int64_t end = (index + 1) * job->run < job->rows ? (index + 1) * job->run : job->rows;
  for (int64_t row = index * job->run; row < end; row++) job->row(job->call, row, row % job->d, job->d);
  return CREDENCE_OK;
}

static int32_t run_rows(const cr_call *call, const cr_ctx *ctx, row_fn row, credence_error *err) {
  const cr_tensor *y = &call->out[0];
  if (cr_count(y) == 0) return CREDENCE_OK;
  row_job job = {call, row, y->dim[1], y->dim[0] * y->dim[1], 1 + CR_SERIAL_ELEMENTS / y->dim[1]};
  return cr_parallel(ctx, (job.rows + job.run - 1) / job.run, row_task, &job, err);
}

static const float *row_in(const cr_call *call, uint32_t k, int64_t row, int64_t d) {
  return (const float *)call->in[k].data + row * d;
}
static float *row_out(const cr_call *call, int64_t row, int64_t d) { return (float *)call->out[0].data + row * d; }

/* from's first n elements, then zeros; from may be to. */
static void copy_left(float *to, const float *from, int64_t n, int64_t d) {
  if (to != from) memcpy(to, from, (size_t)n * sizeof *to);
  memset(to + n, 0, (size_t)(d - n) * sizeof *to);
}

static void log_det_grad_row(const cr_call *call, int64_t row, int64_t i, int64_t d) {
  float *to = row_out(call, row, d);
  memset(to, 0, (size_t)d * sizeof *to);
  to[i] = row_in(call, 1, row / d, 1)[0] / row_in(call, 0, row, d)[i];
}

static void tril_row(const cr_call *call, int64_t row, int64_t i, int64_t d) {
  copy_left(row_out(call, row, d), row_in(call, 0, row, d), i + 1, d);
}

static void tril_softplus_row(const cr_call *call, int64_t row, int64_t i, int64_t d) {
  double x = row_in(call, 0, row, d)[i];
  float *to = row_out(call, row, d);
  copy_left(to, row_in(call, 0, row, d), i, d);
  to[i] = (float)((x > 0 ? x : 0) + log1p(exp(-fabs(x))) + call->f[0]);
}

static void tril_softplus_grad_row(const cr_call *call, int64_t row, int64_t i, int64_t d) {
  double x = row_in(call, 0, row, d)[i];
  const float *dl = row_in(call, 1, row, d);
  float *to = row_out(call, row, d);
  copy_left(to, dl, i, d);
  to[i] = (float)(dl[i] / (1 + exp(-x)));
}

static int32_t run_log_det_grad(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_rows(call, ctx, log_det_grad_row, err);
}

static int32_t run_tril(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_rows(call, ctx, tril_row, err);
}

static int32_t run_tril_softplus(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_rows(call, ctx, tril_softplus_row, err);
}

static int32_t run_tril_softplus_grad(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_rows(call, ctx, tril_softplus_grad_row, err);
}

CR_FAMILY(triangular, {CREDENCE_OP_CHOLESKY, .scratch = scratch_cholesky, .run = run_cholesky},
          {CREDENCE_OP_CHOLESKY_GRAD, .scratch = scratch_cholesky, .run = run_cholesky_grad},
          {CREDENCE_OP_TRI_MATMUL, .scratch = scratch_apply, .run = run_matmul},
          {CREDENCE_OP_TRI_SOLVE, .scratch = scratch_apply, .run = run_solve},
          {CREDENCE_OP_TRI_LOG_DET, .run = run_log_det}, {CREDENCE_OP_TRI_LOG_DET_GRAD, .run = run_log_det_grad},
          {CREDENCE_OP_TRIL, .run = run_tril}, {CREDENCE_OP_TRIL_SOFTPLUS, .run = run_tril_softplus},
          {CREDENCE_OP_TRIL_SOFTPLUS_GRAD, .run = run_tril_softplus_grad})

/* topk.c: the k largest elements of each row, and the gradient back to their places. */
#include "cr.h"
#include "isa.h"
#include "vec.h"

/* An element as a number that is larger for a better element: by value, then by lower index; NaN is below -Inf and
 * -0 equals 0. No two elements of a row are equal, so any way of selecting gives the same result. */
static uint64_t rank_of(float x, int64_t index) {
  uint32_t bits = 0;
  if (x == x) {
    x += 0.0f; /* -0 becomes 0 */
    memcpy(&bits, &x, sizeof bits);
    bits ^= bits >> 31 ? UINT32_MAX : 1u << 31;
  }
  return (uint64_t)bits << 32 | (UINT32_MAX - (uint32_t)index);
}

static int64_t index_of(uint64_t rank) { return UINT32_MAX - (uint32_t)rank; }

/* Puts rank at `at` of a heap of n whose smallest is first, and moves it down to its place. */
static void sift(uint64_t *heap, int64_t n, int64_t at, uint64_t rank) {
  for (int64_t child; (child = 2 * at + 1) < n; at = child) {
    if (child + 1 < n && heap[child + 1] < heap[child]) child++;
    if (rank <= heap[child]) break;
    heap[at] = heap[child];
  }
  heap[at] = rank;
}

/* Whether CR_W elements are all at most t; false with a NaN on either side. */
static bool all_at_most(const float *x, float t) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(_mm512_loadu_ps(x), _mm512_set1_ps(t), _CMP_LE_OQ) == 0xffff;
#elif defined(__AVX2__)
  return _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(x), _mm256_set1_ps(t), _CMP_LE_OQ)) == 0xff;
#else
  vi m = vf_load(x) <= vf_set(t);
  return (m[0] & m[1] & m[2] & m[3]) != 0;
#endif
}

/* The heap holds the k best so far. Once it is full, whole vectors that cannot better its worst are skipped. */
static void top_of_row(const float *x, int64_t n, int64_t k, float *value, int32_t *index, uint64_t *heap) {
  for (int64_t i = 0; i < k; i++) heap[i] = rank_of(x[i], i);
  for (int64_t i = k / 2 - 1; i >= 0; i--) sift(heap, k, i, heap[i]);
  float worst = x[index_of(heap[0])];
  for (int64_t i = k; i < n;) {
    if (i + CR_W <= n && all_at_most(x + i, worst)) {
      i += CR_W;
      continue;
    }
    for (int64_t end = i + CR_W < n ? i + CR_W : n; i < end; i++) {
      if (x[i] <= worst) continue; /* an equal one came earlier */
      uint64_t rank = rank_of(x[i], i);
      if (rank <= heap[0]) continue; /* NaN */
      sift(heap, k, 0, rank);
      worst = x[index_of(heap[0])];
    }
  }
  for (int64_t left = k; left > 0; left--) { /* the worst of those left goes last */
    int64_t at = index_of(heap[0]);
    value[left - 1] = x[at];
    index[left - 1] = (int32_t)at;
    sift(heap, left - 1, 0, heap[left - 1]);
  }
}

typedef struct topk_job {
  const cr_call *call;
  const cr_ctx *ctx;
  int64_t run; /* rows per task */
} topk_job;

static int64_t rows_per_task(int64_t n) { return 1 + CR_SERIAL_ELEMENTS / (n + 1); }

static int32_t topk_task(void *arg, int64_t task, int32_t worker, credence_error *err) {
  (void)err;
  const topk_job *job = arg;
  const cr_tensor *x = &job->call->in[0], *value = &job->call->out[0], *index = &job->call->out[1];
  int64_t rows = x->dim[0], n = x->dim[1], k = value->dim[1];
  for (int64_t r = task * job->run; r < (task + 1) * job->run && r < rows; r++)
    top_of_row((const float *)x->data + r * n, n, k, (float *)value->data + r * k, (int32_t *)index->data + r * k,
               (uint64_t *)cr_worker_scratch(job->ctx, worker));
  return CREDENCE_OK;
}

static void scratch_top_k(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  scratch->per_thread = (size_t)call->out[0].dim[1] * sizeof(uint64_t);
}

static int32_t run_top_k(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *x = &call->in[0];
  if (cr_count(&call->out[0]) == 0) return CREDENCE_OK;
  topk_job job = {call, ctx, rows_per_task(x->dim[1])};
  return cr_parallel(ctx, (x->dim[0] + job.run - 1) / job.run, topk_task, &job, err);
}

/* ---- gradient ---- */

static int32_t topk_grad_task(void *arg, int64_t task, int32_t worker, credence_error *err) {
  (void)worker;
  const topk_job *job = arg;
  const cr_tensor *dvalue = &job->call->in[0], *index = &job->call->in[1], *dx = &job->call->out[0];
  int64_t rows = dx->dim[0], n = dx->dim[1], k = dvalue->dim[1];
  for (int64_t r = task * job->run; r < (task + 1) * job->run && r < rows; r++) {
    const float *from = (const float *)dvalue->data + r * k;
    const int32_t *at = (const int32_t *)index->data + r * k;
    float *to = (float *)dx->data + r * n;
    memset(to, 0, (size_t)n * sizeof *to);
    for (int64_t j = 0; j < k; j++) {
      if (at[j] < 0 || at[j] >= n)
        return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "top_k_grad: index %d of row %lld is outside 0 to %lld", at[j],
                       (long long)r, (long long)n - 1);
      to[at[j]] = from[j];
    }
  }
  return CREDENCE_OK;
}

static int32_t run_top_k_grad(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *dx = &call->out[0];
  if (cr_count(dx) == 0) return CREDENCE_OK;
  topk_job job = {call, ctx, rows_per_task(dx->dim[1])};
  return cr_parallel(ctx, (dx->dim[0] + job.run - 1) / job.run, topk_grad_task, &job, err);
}

CR_FAMILY(topk, {CREDENCE_OP_TOP_K, .scratch = scratch_top_k, .run = run_top_k},
          {CREDENCE_OP_TOP_K_GRAD, .run = run_top_k_grad})

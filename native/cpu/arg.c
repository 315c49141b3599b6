/* arg.c: where the largest and the smallest element of a row are. NaN is passed over; the first of equals wins. */
#include "cr.h"
#include "isa.h"
#include "vec.h"

#define TASK 32768 /* elements of a task, about */

typedef struct job {
  const float *x;
  int32_t *y;
  int64_t rows, n, share;
} job;

/* b unless x is better; b is never NaN. */
static inline vf better(vf x, vf b, bool largest) { return largest ? CR_MAX(x, b) : CR_MIN(x, b); }

/* The lowest lane that is set, or CR_W. */
static inline int32_t first_lane(vi mask) {
#if CR_W == 16
  uint32_t bits = _mm512_movepi32_mask((__m512i)mask);
#elif CR_W == 8
  uint32_t bits = (uint32_t)_mm256_movemask_ps((__m256)mask);
#elif defined(__SSE2__)
  uint32_t bits = (uint32_t)_mm_movemask_ps((__m128)mask);
#else
  uint32_t bits = 0;
  for (int32_t k = 0; k < CR_W; k++) bits |= (uint32_t)(mask[k] & 1) << k;
#endif
  return bits ? __builtin_ctz(bits) : CR_W;
}

static inline __attribute__((always_inline)) int32_t arg_of(const float *x, int64_t n, bool largest) {
  const vf worst = vf_set(largest ? -INFINITY : INFINITY);
  vf a = worst, b = worst;
  int64_t k = 0;
  for (; k + 2 * CR_W <= n; k += 2 * CR_W) {
    a = better(vf_load(x + k), a, largest);
    b = better(vf_load(x + k + CR_W), b, largest);
  }
  for (; k < n; k += CR_W) {
    int64_t m = n - k;
    a = better(m >= CR_W ? vf_load(x + k) : vf_select(vi_lanes() < vi_set((int32_t)m), vf_load_n(x + k, m), worst), a,
               largest);
  }
  a = better(a, b, largest);
  const vf best = vf_set(largest ? vf_max_lane(a) : vf_min_lane(a));
  for (k = 0; k < n; k += CR_W) {
    int64_t m = n - k;
    vi equal = m >= CR_W ? vf_load(x + k) == best : (vf_load_n(x + k, m) == best) & (vi_lanes() < vi_set((int32_t)m));
    int32_t lane = first_lane(equal);
    if (lane < CR_W) return (int32_t)k + lane;
  }
  return 0;
}

static inline __attribute__((always_inline)) int32_t some_rows(const job *j, int64_t index, bool largest) {
  int64_t end = (index + 1) * j->share < j->rows ? (index + 1) * j->share : j->rows;
  for (int64_t r = index * j->share; r < end; r++) j->y[r] = arg_of(j->x + r * j->n, j->n, largest);
  return CREDENCE_OK;
}

static int32_t max_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  return some_rows(arg, index, true);
}

static int32_t min_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  return some_rows(arg, index, false);
}

static int32_t run(const cr_call *call, const cr_ctx *ctx, cr_task_fn task, credence_error *err) {
  const cr_tensor *x = &call->in[0];
  job j = {(const float *)x->data, (int32_t *)call->out[0].data, x->dim[0], x->dim[1], 1};
  if (j.rows == 0) return CREDENCE_OK;
  if (j.rows * j.n < CR_SERIAL_ELEMENTS) {
    j.share = j.rows;
    return task(&j, 0, 0, err);
  }
  if (j.n < TASK) j.share = TASK / j.n;
  return cr_parallel(ctx, (j.rows + j.share - 1) / j.share, task, &j, err);
}

static int32_t run_arg_max(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run(call, ctx, max_task, err);
}

static int32_t run_arg_min(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run(call, ctx, min_task, err);
}

CR_FAMILY(arg, {CREDENCE_OP_ARG_MAX, .run = run_arg_max}, {CREDENCE_OP_ARG_MIN, .run = run_arg_min})

/* optimizer.cu: what changes state in place (Adam, running averages, y += a x) and the norm of a gradient. Elements are
 * independent except in the norm, which is summed in float64 over chunks that depend on the length alone. */
#include <float.h>
#include <string.h>

#include "strided.cuh"

namespace {

const float *floats(const cr_tensor *t) { return reinterpret_cast<const float *>(t->data); }
float *floats_out(const cr_tensor *t) { return reinterpret_cast<float *>(t->data); }

/* Blocks for n elements, of which a thread takes four at a time: enough to fill the device, so that what a block works
 * out beforehand is not worked out too often. */
dim3 grid_for(const cr_ctx *ctx, int64_t n) {
  const int64_t blocks = cu_blocks(n, 4 * CU_THREADS), most = 8 * static_cast<int64_t>(ctx->multiprocessors);
  return dim3(static_cast<unsigned>(blocks < most ? blocks : most));
}

/* Calls each(i, group) for this thread's groups of four, if everything is a multiple of 16 bytes, and elements. */
template <class G, class E>
__device__ __forceinline__ void for_all(int64_t n, bool groups, G each_group, E each) {
  const int64_t first = blockIdx.x * static_cast<int64_t>(CU_THREADS) + threadIdx.x;
  const int64_t stride = gridDim.x * static_cast<int64_t>(CU_THREADS);
  int64_t done = 0;
  if (groups) {
    done = n / 4;
    for (int64_t k = first; k < done; k += stride) each_group(k);
    done *= 4;
  }
  for (int64_t k = done + first; k < n; k += stride) each(k);
}

/* ---- Adam ---- */

struct adam_work {
  const float *grad, *scale;
  float *param, *m, *v;
  int64_t n;
  bool groups, decoupled;
  cu_integer_value step;
  cu_scalar_value lr, beta1, beta2, eps, decay;
  cu_fault *fault;
  uint32_t op;
};

enum adam_fault { BAD_STEP, BAD_BETAS, BAD_EPSILON };

struct adam_numbers {
  float scale, keep1, add1, keep2, add2; /* m = keep1 m + add1 g, v = keep2 v + add2 g g */
  float step, root, eps;                 /* update = step m / (root sqrt v + eps) */
  float l2, decay;                       /* g += l2 param, param -= decay param: one of them is 0 */
};

/* Whether the step can be made; of those that cannot, block 0 says why. */
__device__ bool adam_possible(const adam_work &w) {
  const int64_t step = w.step.get();
  const double b1 = w.beta1.get(), b2 = w.beta2.get(), eps = w.eps.get();
  const bool betas = b1 >= 0 && b1 < 1 && b2 >= 0 && b2 < 1;
  if (step >= 1 && betas && eps > 0) return true;
  if (blockIdx.x != 0) return false;
  int64_t value = step;
  if (step >= 1 && !betas)
    value = static_cast<int64_t>(static_cast<uint64_t>(__float_as_uint(static_cast<float>(b1))) << 32 |
                                 __float_as_uint(static_cast<float>(b2)));
  else if (step >= 1)
    memcpy(&value, &eps, sizeof value);
  cu_record(w.fault, w.op, CREDENCE_INVALID_ARGUMENT, step < 1 ? BAD_STEP : !betas ? BAD_BETAS : BAD_EPSILON, value);
  return false;
}

__device__ __forceinline__ void adam_element(const adam_numbers &a, float grad, float &param, float &m, float &v) {
  const float g = fmaf(a.l2, param, grad * a.scale);
  m = fmaf(a.keep1, m, a.add1 * g);
  v = fmaf(a.keep2, v, a.add2 * g * g);
  const float update = a.step * m / fmaf(sqrtf(v), a.root, a.eps);
  param -= fmaf(a.decay, param, update);
}

__global__ void __launch_bounds__(CU_THREADS) adam_step(const adam_work w) {
  __shared__ adam_numbers shared;
  __shared__ bool skip;
  if (threadIdx.x == 0) {
    const double lr = w.lr.get(), b1 = w.beta1.get(), decay = w.decay.get();
    shared.scale = *w.scale; /* 0: the step is skipped */
    skip = cu_faulty(w.fault) || !adam_possible(w) || shared.scale == 0;
    shared.keep1 = static_cast<float>(b1);
    shared.add1 = static_cast<float>(1 - b1);
    shared.step = static_cast<float>(lr / (1 - pow(b1, static_cast<double>(w.step.get()))));
    shared.eps = static_cast<float>(w.eps.get());
    shared.l2 = w.decoupled ? 0 : static_cast<float>(decay);
    shared.decay = w.decoupled ? static_cast<float>(lr * decay) : 0;
  } else if (threadIdx.x == 32) { /* another warp, for the other power */
    const double b2 = w.beta2.get();
    shared.keep2 = static_cast<float>(b2);
    shared.add2 = static_cast<float>(1 - b2);
    shared.root = static_cast<float>(1 / sqrt(1 - pow(b2, static_cast<double>(w.step.get()))));
  }
  __syncthreads();
  if (skip) return;
  const adam_numbers a = shared;
  for_all(
      w.n, w.groups,
      [&](int64_t k) {
        const float4 g = reinterpret_cast<const float4 *>(w.grad)[k];
        float4 p = reinterpret_cast<float4 *>(w.param)[k], m = reinterpret_cast<float4 *>(w.m)[k];
        float4 v = reinterpret_cast<float4 *>(w.v)[k];
        adam_element(a, g.x, p.x, m.x, v.x);
        adam_element(a, g.y, p.y, m.y, v.y);
        adam_element(a, g.z, p.z, m.z, v.z);
        adam_element(a, g.w, p.w, m.w, v.w);
        reinterpret_cast<float4 *>(w.param)[k] = p;
        reinterpret_cast<float4 *>(w.m)[k] = m;
        reinterpret_cast<float4 *>(w.v)[k] = v;
      },
      [&](int64_t k) { adam_element(a, w.grad[k], w.param[k], w.m[k], w.v[k]); });
}

int32_t run_adam(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  adam_work w = {floats(&call->in[0]),
                 floats(&call->in[1]),
                 floats_out(&call->inout[0]),
                 floats_out(&call->inout[1]),
                 floats_out(&call->inout[2]),
                 cr_count(&call->in[0]),
                 false,
                 call->i[1] != 0,
                 cu_integer(ctx, 0),
                 cu_scalar(ctx, 0),
                 cu_scalar(ctx, 1),
                 cu_scalar(ctx, 2),
                 cu_scalar(ctx, 3),
                 cu_scalar(ctx, 4),
                 ctx->fault,
                 ctx->op};
  w.groups = cu_aligned(w.grad, 16) && cu_aligned(w.param, 16) && cu_aligned(w.m, 16) && cu_aligned(w.v, 16);
  const dim3 grid = w.n > 0 ? grid_for(ctx, w.n) : dim3(1); /* nothing to do still checks the numbers */
  return cu_launch(ctx, err, adam_step, grid, CU_THREADS, 0, w);
}

void explain_adam(const cr_call *, int64_t at, int64_t value, credence_error *err) {
  if (at == BAD_STEP) {
    cr_fail(err, CREDENCE_INVALID_ARGUMENT, "adam: step %lld; steps count from 1", static_cast<long long>(value));
  } else if (at == BAD_BETAS) {
    const uint32_t bits[2] = {static_cast<uint32_t>(static_cast<uint64_t>(value) >> 32), static_cast<uint32_t>(value)};
    float beta[2];
    memcpy(beta, bits, sizeof beta);
    cr_fail(err, CREDENCE_INVALID_ARGUMENT, "adam: beta1 = %g and beta2 = %g; both must lie in [0, 1)",
            static_cast<double>(beta[0]), static_cast<double>(beta[1]));
  } else {
    double eps;
    memcpy(&eps, &value, sizeof eps);
    cr_fail(err, CREDENCE_INVALID_ARGUMENT, "adam: epsilon = %g; it must be positive", eps);
  }
}

/* ---- state += weight (value - state), and y += a x ---- */

struct update_work {
  const float *x;
  float *y;
  int64_t n;
  bool groups;
  cu_scalar_value a;
  const cu_fault *fault;
};

struct lerp_of {
  static __device__ __forceinline__ float at(float x, float y, float a) { return a == 1 ? x : fmaf(a, x - y, y); }
};

struct axpy_of {
  static __device__ __forceinline__ float at(float x, float y, float a) { return fmaf(a, x, y); }
};

template <class F>
__global__ void __launch_bounds__(CU_THREADS) update(const update_work w) {
  if (cu_faulty(w.fault)) return;
  const float a = static_cast<float>(w.a.get());
  for_all(
      w.n, w.groups,
      [&](int64_t k) {
        const float4 x = reinterpret_cast<const float4 *>(w.x)[k], y = reinterpret_cast<float4 *>(w.y)[k];
        reinterpret_cast<float4 *>(w.y)[k] =
            make_float4(F::at(x.x, y.x, a), F::at(x.y, y.y, a), F::at(x.z, y.z, a), F::at(x.w, y.w, a));
      },
      [&](int64_t k) { w.y[k] = F::at(w.x[k], w.y[k], a); });
}

template <class F>
int32_t run_update(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  update_work w = {
      floats(&call->in[0]), floats_out(&call->inout[0]), cr_count(&call->in[0]), false, cu_scalar(ctx, 0), ctx->fault};
  w.groups = cu_aligned(w.x, 16) && cu_aligned(w.y, 16);
  return cu_launch(ctx, err, update<F>, grid_for(ctx, w.n), CU_THREADS, 0, w);
}

/* ---- the norm of a gradient ---- */

constexpr int kNormThreads = 512;
constexpr int64_t kChunk = 16384, kSums = 512; /* at least so many elements of a chunk; at most so many chunks */

struct norm_work {
  const float *x;
  double *sums; /* of chunks */
  float *norm, *scale;
  int64_t n, chunk;
  bool groups;
  cu_scalar_value most;
};

/* The sum over the block, in thread 0. */
__device__ double block_sum(double v) {
  __shared__ double warps[kNormThreads / 32];
  for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = v;
  __syncthreads();
  if (threadIdx.x < 32) {
    v = threadIdx.x < kNormThreads / 32 ? warps[threadIdx.x] : 0;
    for (int d = kNormThreads / 64; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
  }
  return v;
}

__device__ void put_norm(const norm_work &w, double sum) {
  const double norm = sqrt(sum), most = w.most.get();
  const double scale = most > 0 && norm > most ? most / norm : 1;
  *w.norm = static_cast<float>(norm);
  *w.scale = static_cast<float>(norm) <= FLT_MAX ? static_cast<float>(scale) : 0;
}

__global__ void __launch_bounds__(kNormThreads) norm_chunks(const norm_work w) {
  const int64_t start = blockIdx.x * w.chunk, left = w.n - start, n = left < w.chunk ? left : w.chunk;
  const float *x = w.x + start;
  double a[4] = {0, 0, 0, 0};
  int64_t done = 0;
  if (w.groups) { /* chunks are multiples of four */
    done = n / 4;
#pragma unroll 2
    for (int64_t k = threadIdx.x; k < done; k += kNormThreads) {
      const float4 v = reinterpret_cast<const float4 *>(x)[k];
      const double d[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
      for (int j = 0; j < 4; j++) a[j] = fma(d[j], d[j], a[j]);
    }
    done *= 4;
  }
#pragma unroll 4
  for (int64_t k = done + threadIdx.x; k < n; k += kNormThreads) {
    const double v = x[k];
    a[0] = fma(v, v, a[0]);
  }
  const double sum = block_sum((a[0] + a[1]) + (a[2] + a[3]));
  if (threadIdx.x != 0) return;
  if (gridDim.x == 1)
    put_norm(w, sum);
  else
    w.sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kNormThreads) norm_finish(const norm_work w, int32_t chunks) {
  const double sum = block_sum(static_cast<int32_t>(threadIdx.x) < chunks ? w.sums[threadIdx.x] : 0);
  if (threadIdx.x == 0) put_norm(w, sum);
}

int32_t run_clip_scale(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  norm_work w = {floats(&call->in[0]),
                 reinterpret_cast<double *>(ctx->scratch),
                 floats_out(&call->out[0]),
                 floats_out(&call->out[1]),
                 cr_count(&call->in[0]),
                 kChunk,
                 false,
                 cu_scalar(ctx, 0)};
  if (w.n > kChunk * kSums) w.chunk = cu_blocks(cu_blocks(w.n, kSums), 4) * 4;
  w.groups = cu_aligned(w.x, 16);
  const int64_t chunks = w.n > 0 ? cu_blocks(w.n, w.chunk) : 1;
  const int32_t status = cu_launch(ctx, err, norm_chunks, dim3(static_cast<unsigned>(chunks)), kNormThreads, 0, w);
  if (status != CREDENCE_OK || chunks == 1) return status;
  return cu_launch(ctx, err, norm_finish, dim3(1), kNormThreads, 0, w, static_cast<int32_t>(chunks));
}

void scratch_clip_scale(const cr_call *, int32_t, cr_scratch *s) { s->shared = kSums * sizeof(double); }

}  // namespace

CU_FAMILY(optimizer, {CREDENCE_OP_ADAM, nullptr, run_adam, 1, explain_adam},
          {CREDENCE_OP_LERP, nullptr, run_update<lerp_of>, 0, nullptr},
          {CREDENCE_OP_CLIP_SCALE, scratch_clip_scale, run_clip_scale, 0, nullptr},
          {CREDENCE_OP_AXPY, nullptr, run_update<axpy_of>, 0, nullptr})

/* LINEAR: products with stored weights, and the gate of a sparse feed-forward block, which is one with an activation
 * and with a record of what is not 0. The weights are read once for up to eight rows of x: up to there the op takes as
 * long as reading them does. Beyond, groups of eight rows take turns over weights that the L2 holds. */
#include "act.cuh"
#include "dots.cuh"

namespace {

constexpr int kThreads = CU_DOT_WARPS * CU_WARP;
constexpr int64_t kMostBlocks = 1 << 30;

template <int32_t T, bool VECTOR, int M, int R>
__global__ void __launch_bounds__(kThreads, M >= 4 ? 1 : 2) products(cu_linear a) {
  __shared__ uint32_t part[CU_DOT_WARPS];
  constexpr uint32_t kMask = (1u << M) - 1;
  const int warp = static_cast<int>(threadIdx.x / CU_WARP), lane = static_cast<int>(threadIdx.x % CU_WARP);
  const int64_t row_bytes = cu_row_bytes(T, a.k), groups = (a.m + M - 1) / M;
  const int64_t panels = (a.n + CU_DOT_WARPS * R - 1) / (CU_DOT_WARPS * R);
  const float p = static_cast<float>(a.p.get());
  for (int64_t at = blockIdx.x; at < panels * groups; at += gridDim.x) {
    const int64_t group = at % groups, panel = at / groups; /* neighbouring blocks share weights */
    const int64_t first = (panel * CU_DOT_WARPS + warp) * R, rows = a.m - group * M;
    uint32_t active = 0;
    if (first < a.n) {
      const char *w[R];
      float sum[R][M];
#pragma unroll
      for (int r = 0; r < R; r++) w[r] = a.w + (first + r < a.n ? first + r : a.n - 1) * row_bytes;
      cu_dot_rows<T, VECTOR>(a.x + group * M * a.k, rows, w, a.k, sum);
      const int64_t n = first + lane / M, m = lane % M;
      float y = cu_dot_own(sum);
      const bool mine = lane < R * M && n < a.n && m < rows;
      if (mine) {
        if (a.bias != nullptr) y += a.bias[n];
        y = cu_act_apply(a.act, p, y);
        a.y[(group * M + m) * a.n + n] = y;
      }
      active = __ballot_sync(0xffffffffu, mine && y != 0);
    }
    if (R == CU_WARP / CU_DOT_WARPS && a.needed != nullptr) { /* a block makes a word */
      uint32_t bits = 0;
#pragma unroll
      for (int r = 0; r < R; r++) bits |= static_cast<uint32_t>((active >> (r * M) & kMask) != 0) << r;
      if (lane == 0) part[warp] = bits << (warp * R);
      __syncthreads();
      if (threadIdx.x == 0) {
        uint32_t word = 0;
        for (int i = 0; i < CU_DOT_WARPS; i++) word |= part[i];
        a.needed[panel] = word;
      }
      __syncthreads();
    }
  }
}

template <int32_t T, bool VECTOR, int M, int R>
int32_t launch(const cr_ctx *ctx, const cu_linear *job, credence_error *err) {
  const int64_t blocks = cu_blocks(job->n, CU_DOT_WARPS * R) * cu_blocks(job->m, M);
  const dim3 grid(static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks));
  return cu_launch(ctx, err, products<T, VECTOR, M, R>, grid, dim3(kThreads), 0, *job);
}

int32_t run_linear(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *x = &call->in[0], *w = &call->in[1];
  cu_linear job = {};
  job.x = reinterpret_cast<const float *>(x->data);
  job.w = w->data;
  job.dtype = w->dtype;
  job.act = CREDENCE_ACT_NONE;
  if (call->n_in > 2) job.bias = reinterpret_cast<const float *>(call->in[2].data);
  job.y = reinterpret_cast<float *>(call->out[0].data);
  job.m = x->dim[0];
  job.k = x->dim[1];
  job.n = w->dim[0];
  return cu_linear_run(ctx, &job, err);
}

}  // namespace

int32_t cu_linear_run(const cr_ctx *ctx, const cu_linear *job, credence_error *err) {
  if (job->m == 0 || job->n == 0) return CREDENCE_OK;
  const bool vector = cu_is_vector(job->w, job->dtype, job->k) && cu_is_vector(job->x, CREDENCE_F32, job->k);
  /* four rows of weights to a warp leave too few warps where there are few rows */
  const bool few = job->needed == nullptr && job->n < static_cast<int64_t>(ctx->multiprocessors) * CU_DOT_WARPS * 4;
  return cu_stored_switch(job->dtype, [&](auto type) {
    constexpr int32_t T = decltype(type)::value;
    const bool single = job->m == 1 || job->k > CU_DOT_LONGEST;
    if (!vector) return single ? launch<T, false, 1, 4>(ctx, job, err) : launch<T, false, 8, 4>(ctx, job, err);
    if (single) return few ? launch<T, true, 1, 1>(ctx, job, err) : launch<T, true, 1, 4>(ctx, job, err);
    if (job->m == 2) return launch<T, true, 2, 4>(ctx, job, err);
    return job->m <= 4 ? launch<T, true, 4, 4>(ctx, job, err) : launch<T, true, 8, 4>(ctx, job, err);
  });
}

CU_FAMILY(linear, {CREDENCE_OP_LINEAR, nullptr, run_linear, 0, nullptr})

/* distance.cu: pairwise squared distances between rows of x [N,D] and y [M,D], and reductions over them that never hold
 * the [N,M] matrix. See sqdist.cuh for the sum. */
#include "sqdist.cuh"

using cu_sq::key;
using cu_sq::kNone;
using cu_sq::kWarp;

namespace {

constexpr int kThreads = 256;

unsigned grid_of(int64_t n) {
  const int64_t blocks = cu_blocks(n, kThreads);
  return static_cast<unsigned>(blocks < 4096 ? blocks : 4096);
}

/* ---- the distances themselves ---- */

struct store {
  char *data;
  int64_t stride;

  template <int Q>
  __device__ void operator()(const float (&total)[Q], int64_t first, int64_t n, int64_t row, bool live) const {
#pragma unroll
    for (int q = 0; q < Q; q++)
      if (live && first + q < n) reinterpret_cast<float *>(data + (first + q) * stride)[row] = total[q];
  }
};

int32_t run_sqdist(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const store use = {call->out[0].data, call->out[0].stride[0]};
  return cu_sq::scan_all(ctx, cu_sq::rows_of(call->in[0]), cu_sq::rows_of(call->in[1]), call->in[0].dim[1], use, err);
}

/* ---- nearest row ---- */

struct nearest {
  key *least; /* [N] */

  template <int Q>
  __device__ void operator()(const float (&total)[Q], int64_t first, int64_t n, int64_t row, bool live) const {
#pragma unroll
    for (int q = 0; q < Q; q++)
      if (first + q < n) cu_sq::lower_key(least + first + q, live ? cu_sq::key_of(total[q], row) : kNone);
  }
};

__global__ void no_nearest(key *least, int64_t n) {
  for (int64_t i = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x; i < n; i += gridDim.x * kThreads)
    least[i] = kNone;
}

__global__ void store_nearest(const key *least, float *distance, int32_t *index, int64_t n) {
  for (int64_t i = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x; i < n; i += gridDim.x * kThreads) {
    distance[i] = cu_sq::distance_of(least[i]);
    index[i] = static_cast<int32_t>(static_cast<uint32_t>(least[i]));
  }
}

void scratch_arg_min(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  scratch->shared = static_cast<size_t>(call->in[0].dim[0]) * sizeof(key);
}

int32_t run_arg_min(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const int64_t n = call->in[0].dim[0];
  if (n == 0) return CREDENCE_OK;
  if (call->in[1].dim[0] == 0) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "pairwise_arg_min: y has no rows");
  const nearest use = {reinterpret_cast<key *>(ctx->scratch)};
  int32_t status = cu_launch(ctx, err, no_nearest, grid_of(n), kThreads, 0, use.least, n);
  if (status == CREDENCE_OK)
    status =
        cu_sq::scan_all(ctx, cu_sq::rows_of(call->in[0]), cu_sq::rows_of(call->in[1]), call->in[0].dim[1], use, err);
  if (status != CREDENCE_OK) return status;
  return cu_launch(ctx, err, store_nearest, grid_of(n), kThreads, 0, use.least,
                   reinterpret_cast<float *>(call->out[0].data), reinterpret_cast<int32_t *>(call->out[1].data), n);
}

/* ---- rows nearer than a bound ---- */

struct count_near {
  const float *bound; /* [N] */
  int32_t *count;     /* [N] */

  template <int Q>
  __device__ void operator()(const float (&total)[Q], int64_t first, int64_t n, int64_t row, bool live) const {
    (void)row;
#pragma unroll
    for (int q = 0; q < Q; q++) {
      if (first + q >= n) continue;
      const unsigned near = __ballot_sync(kWarp, live && total[q] < __ldg(bound + first + q));
      if (near != 0 && threadIdx.x % 32 == 0) atomicAdd(count + first + q, __popc(near));
    }
  }
};

__global__ void count_none(int32_t *count, int64_t n) {
  for (int64_t i = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x; i < n; i += gridDim.x * kThreads)
    count[i] = 0;
}

int32_t run_count(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const int64_t n = call->in[0].dim[0];
  const count_near use = {reinterpret_cast<const float *>(call->in[2].data),
                          reinterpret_cast<int32_t *>(call->out[0].data)};
  const int32_t status = cu_launch(ctx, err, count_none, grid_of(n), kThreads, 0, use.count, n);
  if (status != CREDENCE_OK) return status;
  return cu_sq::scan_all(ctx, cu_sq::rows_of(call->in[0]), cu_sq::rows_of(call->in[1]), call->in[0].dim[1], use, err);
}

}  // namespace

CU_FAMILY(distance, {CREDENCE_OP_PAIRWISE_SQDIST, nullptr, run_sqdist, 0, nullptr},
          {CREDENCE_OP_PAIRWISE_ARG_MIN, scratch_arg_min, run_arg_min, 0, nullptr},
          {CREDENCE_OP_PAIRWISE_COUNT, nullptr, run_count, 0, nullptr})

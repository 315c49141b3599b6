/* Indices that come as data are checked before a kernel follows them. */
#include "kernel.cuh"

namespace {

constexpr int kThreads = 1024;

/* One block: each thread finds its first bad index, then the least position of all is taken. */
__global__ void check_indices(cu_fault *fault, uint32_t op, const int32_t *index, int64_t n, int64_t low,
                              int64_t high) {
  __shared__ int64_t first[kThreads];
  int64_t found = n;
  for (int64_t k = threadIdx.x; k < n && found == n; k += kThreads)
    if (index[k] < low || index[k] > high) found = k;
  first[threadIdx.x] = found;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half && first[threadIdx.x + half] < first[threadIdx.x])
      first[threadIdx.x] = first[threadIdx.x + half];
  }
  if (threadIdx.x == 0 && first[0] < n) cu_record(fault, op, CREDENCE_INVALID_ARGUMENT, first[0], index[first[0]]);
}

}  // namespace

int32_t cu_check_indices(const cr_ctx *ctx, const int32_t *index, int64_t n, int64_t low, int64_t high,
                         credence_error *err) {
  if (n == 0) return CREDENCE_OK;
  return cu_launch(ctx, err, check_indices, dim3(1), dim3(kThreads), 0, ctx->fault, ctx->op, index, n, low, high);
}

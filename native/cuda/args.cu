/* What differs between submissions of one graph travels in a kernel's parameters: those are copied when the launch is
 * enqueued, so no host memory has to stay put until the device comes to it. */
#include "kernel.cuh"
#include "kernels.h"

namespace {

constexpr uint32_t kValues = 128; /* of one launch: parameters may take 4 KiB */

struct values_block {
  uint64_t value[kValues];
};

__global__ void store_values(uint64_t *to, values_block block, uint32_t n) {
  if (threadIdx.x < n) to[threadIdx.x] = block.value[threadIdx.x];
}

}  // namespace

int32_t cu_store_arguments(cudaStream_t stream, uint64_t *to, const uint64_t *values, uint32_t n, credence_error *err) {
  cr_ctx ctx = {};
  ctx.stream = stream;
  int32_t status = CREDENCE_OK;
  for (uint32_t at = 0; at < n && status == CREDENCE_OK; at += kValues) {
    values_block block;
    const uint32_t count = n - at < kValues ? n - at : kValues;
    for (uint32_t k = 0; k < kValues; k++) block.value[k] = k < count ? values[at + k] : 0;
    status = cu_launch(&ctx, err, store_values, dim3(1), dim3(kValues), 0, to + at, block, count);
  }
  return status;
}

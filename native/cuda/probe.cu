/* A kernel that shows whether this library's code runs on a device. */
#include "driver.h"
#include "kernel.cuh"
#include "kernels.h"

namespace {

constexpr int kThreads = 256;

__global__ void fill_with_index(float *y, int n) {
  int k = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (k < n) y[k] = static_cast<float>(k);
}

}  // namespace

int32_t cu_probe(credence_error *err) {
  float host[kThreads] = {};
  void *device = nullptr;
  cudaError_t error = cudaMalloc(&device, sizeof host);
  if (error != cudaSuccess) return cu_failed("the probe's cudaMalloc", error, err);
  cr_ctx ctx = {};
  int32_t status =
      cu_launch(&ctx, err, fill_with_index, dim3(1), dim3(kThreads), 0, static_cast<float *>(device), kThreads);
  if (status == CREDENCE_OK) {
    error = cudaMemcpy(host, device, sizeof host, cudaMemcpyDeviceToHost);
    if (error != cudaSuccess) status = cu_failed("the probe kernel", error, err);
  }
  cudaFree(device);
  for (int k = 0; k < kThreads && status == CREDENCE_OK; k++)
    if (host[k] != static_cast<float>(k))
      status = cu_fail(err, CREDENCE_INTERNAL, 0, "the probe kernel wrote %g at %d", static_cast<double>(host[k]), k);
  return status;
}

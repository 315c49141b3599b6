/* A kernel that shows whether this library's code runs on a device. */
#include <cuda_runtime.h>

#include "driver.h"

namespace {

constexpr int kThreads = 256;

__global__ void fill_with_index(float *y, int n) {
  int k = blockIdx.x * blockDim.x + threadIdx.x;
  if (k < n) y[k] = static_cast<float>(k);
}

int32_t failed(const char *call, cudaError_t error, credence_error *err) {
  int32_t code = error == cudaErrorMemoryAllocation ? CREDENCE_OUT_OF_MEMORY : CREDENCE_UNSUPPORTED;
  return cu_fail(err, code, static_cast<int32_t>(error), "%s: %s (%d): %s", call, cudaGetErrorName(error),
                 static_cast<int>(error), cudaGetErrorString(error));
}

}  // namespace

int32_t cu_probe(int32_t index, credence_error *err) {
  float host[kThreads] = {};
  float *device = nullptr;
  const char *call = "cudaSetDevice";
  cudaError_t error = cudaSetDevice(index);
  if (error == cudaSuccess) {
    call = "cudaMalloc";
    error = cudaMalloc(&device, sizeof host);
  }
  if (error == cudaSuccess) {
    call = "the probe kernel";
    fill_with_index<<<1, kThreads>>>(device, kThreads);
    error = cudaGetLastError();
  }
  if (error == cudaSuccess) {
    call = "cudaMemcpy";
    error = cudaMemcpy(host, device, sizeof host, cudaMemcpyDeviceToHost);
  }
  cudaFree(device);
  if (error != cudaSuccess) return failed(call, error, err);
  for (int k = 0; k < kThreads; k++)
    if (host[k] != static_cast<float>(k))
      return cu_fail(err, CREDENCE_INTERNAL, 0, "the probe kernel wrote %g at %d", static_cast<double>(host[k]), k);
  return CREDENCE_OK;
}

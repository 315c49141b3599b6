/* cuda_runtime.h of the emulator: what kernels see besides the runtime API. */
#ifndef CREDENCE_EMULATOR_CUDA_RUNTIME_H
#define CREDENCE_EMULATOR_CUDA_RUNTIME_H

#include <cuda_runtime_api.h>

#include "emu_kernel.h"
#include "emu_math.h"
#include "emu_types.h"
#include "emu_warp.h"

/* The typed forms that the toolkit adds for C++. */
template <class T>
cudaError_t cudaMalloc(T **memory, size_t bytes) {
  return cudaMalloc(reinterpret_cast<void **>(memory), bytes);
}
template <class T>
cudaError_t cudaMallocHost(T **memory, size_t bytes) {
  return cudaMallocHost(reinterpret_cast<void **>(memory), bytes);
}
/* The emulator has no registers and no caches to set up: what these say is what an sm_90 with small kernels says. */
template <class T>
cudaError_t cudaFuncSetAttribute(T *kernel, cudaFuncAttribute attribute, int value) {
  if (kernel == nullptr) return cudaErrorInvalidDeviceFunction;
  const bool too_much = attribute == cudaFuncAttributeMaxDynamicSharedMemorySize && value > EMU_SHARED_OPTIN;
  return too_much ? cudaErrorInvalidValue : cudaSuccess;
}
template <class T>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, T *kernel, int threads, size_t shared) {
  if (blocks == nullptr || kernel == nullptr || threads < 1) return cudaErrorInvalidValue;
  const int by_threads = 2048 / ((threads + 31) / 32 * 32);
  const int by_shared = shared == 0 ? 32 : static_cast<int>(EMU_SHARED_MULTIPROCESSOR / (shared + 1024));
  *blocks = by_threads < by_shared ? by_threads : by_shared;
  if (*blocks > 32) *blocks = 32;
  return cudaSuccess;
}

#endif

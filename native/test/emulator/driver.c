/* In place of native/cuda/driver.c: the emulated devices. */
#include "driver.h"

#include <cuda_runtime_api.h>
#include <stdio.h>

int32_t cu_driver_count(int32_t *count, credence_error *err) {
  int n = 0;
  *count = 0;
  if (cudaGetDeviceCount(&n) != cudaSuccess) return cu_fail(err, CREDENCE_NO_DEVICE, 0, "no device is emulated");
  *count = n;
  return CREDENCE_OK;
}

int32_t cu_driver_info(int32_t index, credence_device_info *out, credence_error *err) {
  struct cudaDeviceProp p;
  const cudaError_t error = cudaGetDeviceProperties(&p, index);
  if (error != cudaSuccess)
    return cu_fail(err, CREDENCE_NO_DEVICE, (int32_t)error, "cudaGetDeviceProperties: %s", cudaGetErrorString(error));
  snprintf(out->name, sizeof out->name, "%.*s", (int)sizeof out->name - 1, p.name);
  snprintf(out->uuid, sizeof out->uuid, "GPU-00000000-0000-0000-0000-%012d", index);
  snprintf(out->arch, sizeof out->arch, "sm_%d%d", p.major, p.minor);
  snprintf(out->detail, sizeof out->detail, "emulated on the host");
  out->index = index;
  out->memory_total = p.totalGlobalMem;
  out->compute_units = p.multiProcessorCount;
  out->integrated_memory = p.integrated;
  return CREDENCE_OK;
}

/* Contexts that stand for devices, from 1. */
void *cu_driver_context(void) {
  int index = 0;
  return cudaGetDevice(&index) == cudaSuccess ? (void *)(intptr_t)(index + 1) : NULL;
}

void cu_driver_set_context(void *context) { cudaSetDevice((int)(intptr_t)context - 1); }

#include "break_device.h"

#include <cuda_runtime.h>

#ifdef CREDENCE_EMULATED
#include "emulator.h"

int break_device(void) {
  emu_break(0, cudaErrorIllegalAddress);
  return 0;
}
#else
static __global__ void write_nowhere(int *nowhere) { *nowhere = 1; }

int break_device(void) {
  int *nowhere = reinterpret_cast<int *>(256);
  void *arguments[] = {&nowhere};
  if (cudaLaunchKernel(reinterpret_cast<const void *>(write_nowhere), 1, 1, arguments, 0, nullptr) != cudaSuccess)
    return 1;
  return cudaDeviceSynchronize() == cudaErrorIllegalAddress ? 0 : 1;
}
#endif

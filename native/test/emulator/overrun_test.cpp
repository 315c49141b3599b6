/* Kernels that leave their memory by one element; a test of the sanitizers' build. */
#include <cuda_runtime.h>

#include <cstring>

int main(int argc, char **argv) {
  float *x = nullptr;
  if (argc < 2 || cudaMalloc(&x, 37 * sizeof *x) != cudaSuccess) return 2;
  if (strcmp(argv[1], "device") == 0)
    emu_launch(dim3(2), dim3(19), 0, nullptr, [=] { /* 38 threads */
                                                    x[blockIdx.x * blockDim.x + threadIdx.x] = 1;
    });
  if (strcmp(argv[1], "shared") == 0)
    emu_launch(dim3(1), dim3(38), 37, nullptr, [] {
      emu_dynamic_shared()[threadIdx.x] = 1;
      __syncthreads();
    });
  cudaFree(x);
  if (strcmp(argv[1], "freed") == 0) emu_launch(dim3(1), dim3(37), 0, nullptr, [=] { x[threadIdx.x] = 1; });
  return 0;
}

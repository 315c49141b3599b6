/* emu_kernel.h: launching a kernel, and what it knows of its place. */
#ifndef CREDENCE_EMULATOR_KERNEL_H
#define CREDENCE_EMULATOR_KERNEL_H

#include <cuda_runtime_api.h>

#include <functional>

#include "emu_types.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
/* All threads of a block run on one thread of the host, so a thread of the host has the block's shared memory. */
#define __shared__ static thread_local

/* Limits of sm_90 in bytes. */
enum { EMU_SHARED_OPTIN = 227 * 1024, EMU_SHARED_MULTIPROCESSOR = 228 * 1024 };

/* A thread of the running block, as it sees itself. */
struct emu_place {
  uint3 thread, block;
  dim3 threads, blocks;
};
extern EMU_API __thread const emu_place *emu_here;
#define threadIdx (emu_here->thread)
#define blockIdx (emu_here->block)
#define blockDim (emu_here->threads)
#define gridDim (emu_here->blocks)
constexpr int warpSize = 32;

/* The running block's dynamic shared memory, of exactly the size that the launch named. */
EMU_API unsigned char *emu_dynamic_shared();

/* module: an address in the library that the kernel is part of, whose __shared__ variables are filled with garbage. */
EMU_API cudaError_t emu_launch_in(const void *module, dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                                  std::function<void()> body);

/* Enqueues body for each thread of the grid. */
static inline cudaError_t emu_launch(dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                                     std::function<void()> body) {
  static const char here = 0;
  static thread_local volatile char touched;
  (void)touched; /* a read, after which this thread has the library's thread-local variables */
  return emu_launch_in(&here, grid, block, shared, stream, std::move(body));
}

#endif

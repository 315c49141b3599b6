/* kernel.cuh: what every kernel file uses. The same source is compiled by nvcc for GPUs and by the host compiler for
 * the emulator of native/test/emulator, which checks the kernels' indices where there is no GPU; so: no <<<>>>, no
 * `extern __shared__`, only the built-ins that the emulator knows. */
#ifndef CREDENCE_CUDA_KERNEL_CUH
#define CREDENCE_CUDA_KERNEL_CUH

#include <cuda_runtime.h>

#include "cu.h"

/* Dynamic shared memory, 16-byte aligned: CU_SHARED(bytes) declares `unsigned char *bytes`. */
#ifdef CREDENCE_EMULATED
#define CU_SHARED(name) unsigned char *name = emu_dynamic_shared()
#else
#define CU_SHARED(name)                                         \
  extern __shared__ __align__(16) unsigned char name##_bytes[]; \
  unsigned char *name = name##_bytes
#endif

/* A scalar attribute, resolved on the device. */
struct cu_scalar_value {
  double value;
  const double *arg;
  __device__ double get() const { return arg == nullptr ? value : value * *arg; }
};

/* An integer attribute named in value_ints, resolved on the device. */
struct cu_integer_value {
  int64_t value;
  const int64_t *arg;
  __device__ int64_t get() const { return arg == nullptr ? value : value * *arg; }
};

inline cu_scalar_value cu_scalar(const cr_ctx *ctx, int k) {
  return {ctx->f[k].value, ctx->f[k].arg < 0 ? nullptr : ctx->fargs + ctx->f[k].arg};
}

inline cu_integer_value cu_integer(const cr_ctx *ctx, int k) {
  return {ctx->i[k].value, ctx->i[k].arg < 0 ? nullptr : ctx->iargs + ctx->i[k].arg};
}

/* The submission has failed: indices may be wrong, and what lasts must not be changed. */
__device__ inline bool cu_faulty(const cu_fault *fault) {
  return *reinterpret_cast<const volatile int32_t *>(&fault->code) != 0;
}

/* Records a fault; to be called by one thread. */
__device__ inline void cu_record(cu_fault *fault, uint32_t op, int32_t code, int64_t at, int64_t value) {
  if (fault->code != 0) return;
  fault->code = code;
  fault->op = op;
  fault->at = at;
  fault->value = value;
}

/* V adjacent elements: one, or four at a multiple of 16 bytes. */
template <int V>
__device__ inline void cu_load(float (&to)[V], const float *from) {
  if (V == 4) {
    const float4 v = *reinterpret_cast<const float4 *>(from);
    to[0] = v.x, to[1 % V] = v.y, to[2 % V] = v.z, to[3 % V] = v.w;
  } else {
    to[0] = *from;
  }
}

template <int V>
__device__ inline void cu_store(float *to, const float (&from)[V]) {
  if (V == 4)
    *reinterpret_cast<float4 *>(to) = make_float4(from[0], from[1 % V], from[2 % V], from[3 % V]);
  else
    *to = from[0];
}

/* Enqueues kernel(args...); a grid with a side of 0 is no work and no error. shared: bytes of CU_SHARED. */
template <class... P, class... A>
int32_t cu_launch(const cr_ctx *ctx, credence_error *err, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared,
                  A... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return CREDENCE_OK;
#ifdef CREDENCE_EMULATED
  cudaError_t error = emu_launch(grid, block, shared, ctx->stream, [=] { kernel(static_cast<P>(args)...); });
#else
  cudaError_t error = cudaSuccess;
  if (shared > 48 * 1024)
    error = cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(shared));
  if (error == cudaSuccess)
    error = [&](P... values) {
      void *pointers[] = {const_cast<void *>(static_cast<const void *>(&values))..., nullptr};
      return cudaLaunchKernel(reinterpret_cast<const void *>(kernel), grid, block, pointers, shared, ctx->stream);
    }(static_cast<P>(args)...);
#endif
  return error == cudaSuccess ? static_cast<int32_t>(CREDENCE_OK) : cu_failed("a kernel launch", error, err);
}

inline int64_t cu_blocks(int64_t n, int64_t size) { return (n + size - 1) / size; }

#endif

/* needed.cuh: which neurons are needed, as each block of a step finds out for itself: a mask of 11008 neurons is 1.4 KB
 * of L2, and counting it takes a block less time than a kernel of its own would take to start. */
#ifndef CREDENCE_CUDA_NEEDED_CUH
#define CREDENCE_CUDA_NEEDED_CUH

#include "ffn.cuh"

constexpr int kDirectWords = CU_NEEDED_DIRECT / CU_WARP;

/* The mask, made from the values if need be, in `own`. To be called by whole blocks. */
template <int THREADS>
__device__ __forceinline__ const uint32_t *cu_needed_mask(const cu_needed &a, uint32_t (&own)[kDirectWords]) {
  if (a.mask != nullptr) return a.mask;
  const int lane = threadIdx.x % CU_WARP;
  if (a.neurons % 4 != 0 || reinterpret_cast<uintptr_t>(a.values) % 16 != 0) {
    const int64_t words = (a.neurons + CU_WARP - 1) / CU_WARP;
    for (int64_t word = threadIdx.x / CU_WARP; word < words; word += THREADS / CU_WARP) {
      const int64_t i = word * CU_WARP + lane;
      bool active = false;
      if (i < a.neurons)
        for (int64_t b = 0; b < a.rows; b++) active |= a.values[b * a.neurons + i] != 0;
      const uint32_t bits = __ballot_sync(0xffffffffu, active);
      if (lane == 0) own[word] = bits;
    }
  } else {
    constexpr int kDepth = 4;
    const int64_t quads = a.neurons / 4;
    const float4 *values = reinterpret_cast<const float4 *>(a.values);
    for (int64_t from = 0; from < quads; from += kDepth * THREADS) {
      uint32_t bits[kDepth] = {};
      for (int64_t b = 0; b < a.rows; b++) {
        float4 v[kDepth];
#pragma unroll
        for (int u = 0; u < kDepth; u++) {
          const int64_t quad = from + u * THREADS + threadIdx.x;
          v[u] = quad < quads ? __ldg(values + b * quads + quad) : make_float4(0, 0, 0, 0);
        }
#pragma unroll
        for (int u = 0; u < kDepth; u++)
          bits[u] |= static_cast<uint32_t>(v[u].x != 0) | static_cast<uint32_t>(v[u].y != 0) << 1 |
                     static_cast<uint32_t>(v[u].z != 0) << 2 | static_cast<uint32_t>(v[u].w != 0) << 3;
      }
#pragma unroll
      for (int u = 0; u < kDepth; u++) { /* eight lanes make a word */
        const int64_t quad = from + u * THREADS + threadIdx.x;
        uint32_t word = bits[u] << 4 * (lane % 8);
        word |= __shfl_xor_sync(0xffffffffu, word, 1);
        word |= __shfl_xor_sync(0xffffffffu, word, 2);
        word |= __shfl_xor_sync(0xffffffffu, word, 4);
        if (lane % 8 == 0 && quad < quads) own[quad / 8] = word;
      }
    }
  }
  __syncthreads();
  return own;
}

/* Inclusive sums over the threads of a block; `warps` is shared memory. */
template <int THREADS>
__device__ __forceinline__ int32_t cu_running_sum(int32_t x, int32_t (&warps)[THREADS / CU_WARP]) {
  const int lane = threadIdx.x % CU_WARP, warp = threadIdx.x / CU_WARP;
#pragma unroll
  for (int step = 1; step < CU_WARP; step *= 2) {
    const int32_t below = __shfl_up_sync(0xffffffffu, x, step);
    if (lane >= step) x += below;
  }
  if (lane == CU_WARP - 1) warps[warp] = x;
  __syncthreads();
  for (int i = 0; i < warp; i++) x += warps[i];
  return x;
}

/* Whether all rows are read. */
__device__ __forceinline__ bool cu_needed_all(const cu_needed &a, int32_t count) {
  return !(static_cast<double>(count) <= a.limit.get() * static_cast<double>(a.neurons));
}

#endif

/* conv.cuh: what the kernels of conv.cu share: a group of threads that makes one tile of a matrix product from shared
 * memory. Neither side of a convolution's product exists as a matrix: the kernels read windows of pictures where they
 * lie and put them into the tiles. */
#ifndef CREDENCE_CUDA_CONV_CUH
#define CREDENCE_CUDA_CONV_CUH

#include "act.cuh"
#include "kernel.cuh"

/* x [b,h,w,c], weights [r,s,c,f], y [b,p,q,f]; y[p,q] reads x[p sh + r - top, q sw + s - left]. */
struct conv_shape {
  int64_t b, h, w, c, p, q, f, r, s, sh, sw, top, left;
};

constexpr int kGroup = 128; /* threads that make one tile of results */
constexpr int kDepth = 16;  /* of the tiles of its factors */
constexpr int kFlush = 32;  /* tiles whose products are one chain of multiply-adds; the chains are added in order */
/* What a launch is cut for, in blocks: two on each multiprocessor of an H100 or H200. A constant, and not what the
 * device has, so that a card of another size gives the same bits. */
constexpr int64_t kBlocks = 264;

/* kStep adjacent elements, 1 or 4; zeros for null. */
template <int kStep>
__device__ void conv_load(float *to, const float *from) {
  if (kStep == 4) {
    const float4 v = from != nullptr ? *reinterpret_cast<const float4 *>(from) : make_float4(0, 0, 0, 0);
    to[0] = v.x, to[1 % kStep] = v.y, to[2 % kStep] = v.z, to[3 % kStep] = v.w;
  } else {
    to[0] = from != nullptr ? *from : 0.0f;
  }
}
template <int kStep>
__device__ void conv_store(float *to, const float *from) {
  if (kStep == 4)
    *reinterpret_cast<float4 *>(to) = make_float4(from[0], from[1 % kStep], from[2 % kStep], from[3 % kStep]);
  else
    *to = *from;
}

/* 16 kMicro rows and 8 kMicro columns of results, kMicro x kMicro per thread in pieces of 4 x 4: neighbouring threads
 * read neighbouring 16-byte words of shared memory. */
template <int kMicro>
struct conv_tile {
  static constexpr int kRows = 16 * kMicro, kCols = 8 * kMicro;
  static constexpr int kPitchA = kRows + 4, kPitchB = kCols + 4;
  static constexpr int kStage = kDepth * (kPitchA + kPitchB); /* floats of both factors' tiles */
  float sum[kMicro][kMicro];

  static __device__ int row(int i) { return i / 4 * 64 + threadIdx.x % kGroup / 8 * 4 + i % 4; }
  static __device__ int col(int j) { return j / 4 * 32 + threadIdx.x % 8 * 4 + j % 4; }

  __device__ void clear() {
#pragma unroll
    for (int i = 0; i < kMicro; i++)
#pragma unroll
      for (int j = 0; j < kMicro; j++) sum[i][j] = 0;
  }

  __device__ void add(const conv_tile &other) {
#pragma unroll
    for (int i = 0; i < kMicro; i++)
#pragma unroll
      for (int j = 0; j < kMicro; j++) sum[i][j] += other.sum[i][j];
  }

  __device__ void multiply(const float *a, const float *b) {
    const int row0 = row(0), col0 = col(0);
#pragma unroll
    for (int l = 0; l < kDepth; l++) {
      float x[kMicro], w[kMicro];
#pragma unroll
      for (int i = 0; i < kMicro; i += 4) {
        const float4 u = *reinterpret_cast<const float4 *>(a + l * kPitchA + row0 + i * 16);
        const float4 v = *reinterpret_cast<const float4 *>(b + l * kPitchB + col0 + i * 8);
        x[i] = u.x, x[i + 1] = u.y, x[i + 2] = u.z, x[i + 3] = u.w;
        w[i] = v.x, w[i + 1] = v.y, w[i + 2] = v.z, w[i + 3] = v.w;
      }
#pragma unroll
      for (int i = 0; i < kMicro; i++)
#pragma unroll
        for (int j = 0; j < kMicro; j++) sum[i][j] = fmaf(x[i], w[j], sum[i][j]);
    }
  }

  /* Puts the sums away, or adds them to what has been put away, and begins anew. shared: the group's room for it. */
  __device__ void flush(float *shared, bool first) {
    float *at = shared + threadIdx.x % kGroup;
#pragma unroll
    for (int k = 0; k < kMicro * kMicro; k++) {
      at[k * kGroup] = first ? sum[k / kMicro][k % kMicro] : at[k * kGroup] + sum[k / kMicro][k % kMicro];
      sum[k / kMicro][k % kMicro] = 0;
    }
  }
  __device__ void add_flushed(const float *shared) {
    const float *at = shared + threadIdx.x % kGroup;
#pragma unroll
    for (int k = 0; k < kMicro * kMicro; k++) sum[k / kMicro][k % kMicro] += at[k * kGroup];
  }

  /* Adds the sums of the groups of a block, in their order, into group 0's. shared: where the tiles were. */
  __device__ void gather(float *shared, int group, int groups) {
    if (groups == 1) return;
    __syncthreads();
    float *at = shared + threadIdx.x % kGroup;
    if (group > 0)
#pragma unroll
      for (int k = 0; k < kMicro * kMicro; k++)
        at[((group - 1) * kMicro * kMicro + k) * kGroup] = sum[k / kMicro][k % kMicro];
    __syncthreads();
    if (group == 0)
      for (int other = 1; other < groups; other++)
#pragma unroll
        for (int k = 0; k < kMicro * kMicro; k++)
          sum[k / kMicro][k % kMicro] += at[((other - 1) * kMicro * kMicro + k) * kGroup];
  }
};

inline int64_t conv_smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t conv_larger(int64_t a, int64_t b) { return a > b ? a : b; }
inline bool conv_aligned(const void *p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

#endif

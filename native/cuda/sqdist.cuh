/* sqdist.cuh: squared Euclidean distances of rows, as every op that needs them computes them.
 *
 * A distance is the sum of (x_k - y_k)^2, never expanded: a relative error, 0 for equal rows (see cpu/distance.h). Its
 * bits depend on the two rows alone: terms are added one after the other in blocks of kBlock, whose sums are added in
 * their order. So a pair has the same distance in a tile of many queries, in a scan for one, and where eight threads
 * share it (distance_by_eight). Terms beyond the end count as 0 and change nothing. */
#ifndef CREDENCE_CUDA_SQDIST_CUH
#define CREDENCE_CUDA_SQDIST_CUH

#include "kernel.cuh"

namespace cu_sq {

constexpr int kBlock = 32;          /* terms: a line of memory */
constexpr int kPieces = kBlock / 4; /* of 16 bytes */
constexpr int kRows = 128;          /* rows of y in a tile, a thread each */
constexpr unsigned kWarp = 0xffffffffu;

/* Rows of floats; stride in bytes. vector: all of them can be read 16 bytes at a time. */
struct rows {
  const char *data;
  int64_t n, stride;
  bool vector;

  __device__ const float *row(int64_t i) const { return reinterpret_cast<const float *>(data + i * stride); }
};

inline rows rows_of(const cr_tensor &t) {
  const bool vector = reinterpret_cast<uintptr_t>(t.data) % 16 == 0 && t.stride[0] % 16 == 0;
  return {t.data, t.dim[0], t.stride[0], vector};
}

/* The rows of x, or those of them that pick numbers, as many as are counted. */
struct queries {
  rows x;
  const int32_t *pick, *count;

  __device__ int64_t n() const { return pick == nullptr ? x.n : *count; }
  __device__ int64_t number(int64_t i) const { return pick == nullptr ? i : pick[i]; }
};

/* Elements k .. k+3 of a row, 0 from d on. */
__device__ __forceinline__ float4 load4(const float *row, int64_t k, int64_t d, bool vector) {
  if (vector && k + 4 <= d) return __ldg(reinterpret_cast<const float4 *>(row + k));
  float4 v = make_float4(0, 0, 0, 0);
  if (k < d) v.x = __ldg(row + k);
  if (k + 1 < d) v.y = __ldg(row + k + 1);
  if (k + 2 < d) v.z = __ldg(row + k + 2);
  if (k + 3 < d) v.w = __ldg(row + k + 3);
  return v;
}

/* Four terms on top of acc. */
__device__ __forceinline__ float add4(float4 x, float4 y, float acc) {
  float t = __fsub_rn(x.x, y.x);
  acc = fmaf(t, t, acc);
  t = __fsub_rn(x.y, y.y);
  acc = fmaf(t, t, acc);
  t = __fsub_rn(x.z, y.z);
  acc = fmaf(t, t, acc);
  t = __fsub_rn(x.w, y.w);
  return fmaf(t, t, acc);
}

/* ---- the order of rows ---- */

/* Distances are not negative, so their bits are in order; NaN is one number, and last. */
__device__ __forceinline__ uint32_t bits_of(float d) { return d != d ? 0x7fc00000u : __float_as_uint(d); }

/* A row's place in the order of (distance, number). */
typedef unsigned long long key;
constexpr key kNone = ~0ull;

__device__ __forceinline__ key key_of(float d, int64_t number) {
  return static_cast<key>(bits_of(d)) << 32 | static_cast<uint32_t>(number);
}

__device__ __forceinline__ float distance_of(key k) { return __uint_as_float(static_cast<uint32_t>(k >> 32)); }

/* *least = min(*least, k) for all lanes of a warp. The least key does not depend on the order of the atomics. */
__device__ __forceinline__ void lower_key(key *least, key k) {
  const key seen = *static_cast<volatile key *>(least);
  if (!__any_sync(kWarp, k < seen)) return;
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const key other = __shfl_xor_sync(kWarp, k, lanes);
    if (other < k) k = other;
  }
  if (threadIdx.x % 32 == 0) atomicMin(least, k);
}

/* ---- all queries with all rows ---- */

/* Hands the distances of Q queries, first .. first + Q - 1 of those that there are, to `row` of y to use, in every
 * thread of the block alike; live: there is such a row. A block takes one tile of kRows rows and Q queries after the
 * other. Rows come 16 bytes a thread, the next block of terms while the last is summed up. With Q = 1 reading is all
 * there is to wait for; with Q = 16 a row is read once for 32 operations on each of its elements. */
template <int Q, class Use>
__global__ void __launch_bounds__(kRows) scan(queries x, rows y, int64_t d, Use use) {
  __shared__ float4 xs[Q * kPieces], ys[kRows * (kPieces + 1)]; /* a row more than 128 bytes apart: no bank twice */
  const int t = threadIdx.x, piece = t % kPieces, lead = t / kPieces;
  const int64_t n = x.n(), groups = (n + Q - 1) / Q, tiles = (y.n + kRows - 1) / kRows;
  for (int64_t item = blockIdx.x; item < groups * tiles; item += gridDim.x) {
    const int64_t first = item % groups * Q, base = item / groups * kRows;
    const char *py = y.data + (base + lead) * y.stride;
    const int left = static_cast<int>(y.n - base < kRows ? y.n - base : kRows) - lead;
    const float *px = t < Q * kPieces && first + lead < n ? x.x.row(x.number(first + lead)) : nullptr;
    float4 ahead[kPieces], ahead_x;
    const auto load = [&](int64_t k) {
#pragma unroll
      for (int i = 0; i < kPieces; i++) {
        const float *row = reinterpret_cast<const float *>(py + i * (kRows / kPieces) * y.stride);
        ahead[i] = i * (kRows / kPieces) < left ? load4(row, k + piece * 4, d, y.vector) : make_float4(0, 0, 0, 0);
      }
      ahead_x = px != nullptr ? load4(px, k + piece * 4, d, x.x.vector) : make_float4(0, 0, 0, 0);
    };
    float total[Q];
#pragma unroll
    for (int q = 0; q < Q; q++) total[q] = 0;
    if (d > 0) load(0);
    for (int64_t k = 0; k < d; k += kBlock) {
      __syncthreads(); /* the block before has been used */
#pragma unroll
      for (int i = 0; i < kPieces; i++) ys[(i * (kRows / kPieces) + lead) * (kPieces + 1) + piece] = ahead[i];
      if (t < Q * kPieces) xs[t] = ahead_x;
      __syncthreads();
      if (k + kBlock < d) load(k + kBlock);
      float acc[Q];
#pragma unroll
      for (int q = 0; q < Q; q++) acc[q] = 0;
#pragma unroll 4
      for (int j = 0; j < kPieces; j++) {
        const float4 v = ys[t * (kPieces + 1) + j];
#pragma unroll
        for (int q = 0; q < Q; q++) acc[q] = add4(xs[q * kPieces + j], v, acc[q]);
      }
#pragma unroll
      for (int q = 0; q < Q; q++) total[q] += acc[q];
    }
    use(total, first, n, base + t, base + t < y.n);
  }
}

/* Enqueues a scan. most: how many queries there are if none are picked, which a device cannot say beforehand. */
template <int Q, class Use>
int32_t enqueue(const cr_ctx *ctx, const queries &x, const rows &y, int64_t d, const Use &use, credence_error *err) {
  constexpr int64_t kMost = 1 << 30, kPerMultiprocessor = 4;
  const int64_t items = cu_blocks(x.x.n, Q) * cu_blocks(y.n, kRows);
  const int64_t most = x.pick == nullptr ? kMost : kPerMultiprocessor * ctx->multiprocessors;
  return cu_launch(ctx, err, scan<Q, Use>, dim3(static_cast<unsigned>(items < most ? items : most)), dim3(kRows), 0, x,
                   y, d, use);
}

template <class Use>
int32_t scan_all(const cr_ctx *ctx, const rows &x, const rows &y, int64_t d, const Use &use, credence_error *err) {
  const queries all = {x, nullptr, nullptr};
  if (x.n == 1) return enqueue<1>(ctx, all, y, d, use, err);
  if (x.n <= 4) return enqueue<4>(ctx, all, y, d, use, err);
  return enqueue<16>(ctx, all, y, d, use, err);
}

/* ---- a pair here and there ---- */

/* The distance of two rows by eight neighbouring lanes, the same in each; all lanes of the warp must call it. A lane
 * sums up a block, and a round of eight blocks is on its way from memory at once. */
__device__ __forceinline__ float distance_by_eight(const float *x, bool vector_x, const float *y, bool vector_y,
                                                   int64_t d) {
  const int lane = threadIdx.x % 8;
  float total = 0;
  for (int64_t from = 0; from < d; from += 8 * kBlock) {
    float acc = 0;
    const int64_t k = from + lane * kBlock;
    if (k < d) {
      for (int half = 0; half < kPieces; half += 4) {
        float4 v[4];
#pragma unroll
        for (int j = 0; j < 4; j++) v[j] = load4(y, k + (half + j) * 4, d, vector_y);
#pragma unroll
        for (int j = 0; j < 4; j++) acc = add4(load4(x, k + (half + j) * 4, d, vector_x), v[j], acc);
      }
    }
    for (int j = 0; j < 8; j++) total += __shfl_sync(kWarp, acc, j, 8);
  }
  return total;
}

/* The distance is off by at most so much of itself (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed.,
 * ch. 3), in units of 2^-24: 2 for the difference, squared; a chain in a block; one of blocks; and a tenth for
 * products of roundings. */
inline double relative_error(int64_t d) { return 1.1 * 0x1p-24 * (2 + kBlock + static_cast<double>(d / kBlock) + 1); }

}  // namespace cu_sq

#endif

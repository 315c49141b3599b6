/* conv_weight.cuh: the weight gradient of a convolution, dw[r,s,c,f] = sum over pixels of x's window times dy. Outputs
 * are few and pixels many, so pixels are what is shared out: in chunks, whose number follows the shapes only. The sums
 * of the chunks are added in order afterwards: no atomics, the same bits every time. */
#ifndef CREDENCE_CUDA_CONV_WEIGHT_CUH
#define CREDENCE_CUDA_CONV_WEIGHT_CUH

#include "conv.cuh"

struct conv_weight {
  conv_shape c;
  const float *x, *dy;
  float *to;           /* dw, or the chunks' sums */
  int64_t rows;        /* r s c */
  int64_t pixels;      /* b p q */
  int64_t chunks, per; /* pixels of a chunk */
};

constexpr int kWeightGroups = 2;    /* of a block; each takes every other tile of pixels */
constexpr int64_t kMostChunks = 64; /* they are added up by one thread for each output */

/* A pixel (image, p, q) of dy. */
struct pixel_cursor {
  const float *image; /* in x */
  int32_t p, q;

  __device__ void start(const conv_weight &v, int64_t pixel) {
    const int64_t line = pixel / v.c.q, number = line / v.c.p;
    q = static_cast<int32_t>(pixel - line * v.c.q), p = static_cast<int32_t>(line - number * v.c.p);
    image = v.x + number * v.c.h * v.c.w * v.c.c;
  }
};

/* So many pixels on, in a form that needs no division each time. */
struct pixel_step {
  int64_t images; /* in elements of x */
  int32_t p, q;

  __device__ void start(const conv_weight &v, int32_t pixels) {
    const int32_t width = static_cast<int32_t>(v.c.q), height = static_cast<int32_t>(v.c.p), lines = pixels / width;
    q = pixels % width, p = lines % height;
    images = lines / height * v.c.h * v.c.w * v.c.c;
  }
  __device__ void take(const conv_weight &v, pixel_cursor *at) const {
    at->q += q, at->p += p, at->image += images;
    if (at->q >= static_cast<int32_t>(v.c.q)) at->q -= static_cast<int32_t>(v.c.q), at->p++;
    if (at->p >= static_cast<int32_t>(v.c.p)) at->p -= static_cast<int32_t>(v.c.p), at->image += v.c.h * v.c.w * v.c.c;
  }
};

/* What one thread reads of the tiles: always the same row of dw, or four of adjacent channels (kFour). */
template <bool kFour>
struct pixel_reader {
  using tile = conv_tile<4>;
  static constexpr int kStep = kFour ? 4 : 1;
  static constexpr int kA = tile::kRows * kDepth / kGroup / kStep, kB = tile::kCols * kDepth / kGroup / kStep;
  static constexpr int kAcrossA = tile::kRows / kStep, kAcrossB = tile::kCols / kStep;
  static constexpr int kLinesA = kGroup / kAcrossA, kLinesB = kGroup / kAcrossB; /* of a tile in one pass */
  float a[kA * kStep], b[kB * kStep];
  bool exists;
  int32_t r, s, channel; /* of the row */
  pixel_cursor at;       /* of the first pass */
  pixel_step pass, skip; /* to the next pass, and from the last one to the next tile */

  static __device__ int thread() { return threadIdx.x % kGroup; }
  static __device__ int row() { return thread() % kAcrossA * kStep; }
  static __device__ int col() { return thread() % kAcrossB * kStep; }

  __device__ void start(const conv_weight &v, int64_t row0, int64_t first, int32_t advance) {
    const int64_t at_row = row0 + row(), tap = at_row / v.c.c;
    exists = at_row < v.rows;
    channel = static_cast<int32_t>(at_row - tap * v.c.c);
    r = static_cast<int32_t>(tap / v.c.s), s = static_cast<int32_t>(tap % v.c.s);
    at.start(v, first + thread() / kAcrossA);
    pass.start(v, kLinesA);
    skip.start(v, advance - (kA - 1) * kLinesA);
  }

  /* Pixels first .. end - 1 of the chunk's are left. */
  __device__ void fetch(const conv_weight &v, int64_t first, int64_t end, int64_t col0) {
    const int32_t width = static_cast<int32_t>(v.c.w), height = static_cast<int32_t>(v.c.h);
#pragma unroll
    for (int k = 0; k < kA; k++) {
      const int32_t h = at.p * static_cast<int32_t>(v.c.sh) - static_cast<int32_t>(v.c.top) + r;
      const int32_t w = at.q * static_cast<int32_t>(v.c.sw) - static_cast<int32_t>(v.c.left) + s;
      const bool inside = exists && first + thread() / kAcrossA + k * kLinesA < end &&
                          static_cast<uint32_t>(h) < static_cast<uint32_t>(height) &&
                          static_cast<uint32_t>(w) < static_cast<uint32_t>(width);
      conv_load<kStep>(a + k * kStep,
                       inside ? at.image + (static_cast<int64_t>(h) * width + w) * v.c.c + channel : nullptr);
      if (k < kA - 1) pass.take(v, &at);
    }
    const bool some = col0 + col() < v.c.f;
#pragma unroll
    for (int k = 0; k < kB; k++) {
      const int64_t pixel = first + thread() / kAcrossB + k * kLinesB;
      conv_load<kStep>(b + k * kStep, some && pixel < end ? v.dy + pixel * v.c.f + col0 + col() : nullptr);
    }
    skip.take(v, &at);
  }

  __device__ void put(float *to_a, float *to_b) const {
#pragma unroll
    for (int k = 0; k < kA; k++)
      conv_store<kStep>(to_a + (thread() / kAcrossA + k * kLinesA) * tile::kPitchA + row(), a + k * kStep);
#pragma unroll
    for (int k = 0; k < kB; k++)
      conv_store<kStep>(to_b + (thread() / kAcrossB + k * kLinesB) * tile::kPitchB + col(), b + k * kStep);
  }
};

/* blockIdx.x: a tile of dw; blockIdx.y: a chunk of the pixels. */
template <bool kFour>
__global__ void __launch_bounds__(kGroup *kWeightGroups) conv_weight_tiles(conv_weight v, int64_t tiles_n) {
  using tile = conv_tile<4>;
  alignas(16) __shared__ float stages[kWeightGroups * 2 * tile::kStage];
  const int group = threadIdx.x / kGroup;
  float *stage = stages + group * 2 * tile::kStage;
  const int64_t row0 = blockIdx.x / tiles_n * tile::kRows, col0 = blockIdx.x % tiles_n * tile::kCols;
  const int64_t begin = blockIdx.y * v.per, end = begin + v.per < v.pixels ? begin + v.per : v.pixels;
  constexpr int32_t kAdvance = kDepth * kWeightGroups;
  tile sums, chain;
  sums.clear();
  chain.clear();
  if (begin < end) {
    pixel_reader<kFour> reader;
    reader.start(v, row0, begin + group * kDepth, kAdvance);
    reader.fetch(v, begin + group * kDepth, end, col0);
    int now = 0, chained = 0;
    for (int64_t from = begin; from < end; from += kAdvance, now ^= 1) {
      float *a = stage + now * tile::kStage, *b = a + kDepth * tile::kPitchA;
      reader.put(a, b);
      __syncthreads(); /* one is enough: what is written next is the other half, which all have left by then */
      if (from + kAdvance < end) reader.fetch(v, from + kAdvance + group * kDepth, end, col0);
      chain.multiply(a, b);
      if (++chained == kFlush) {
        sums.add(chain);
        chain.clear();
        chained = 0;
      }
    }
  }
  sums.add(chain);
  sums.gather(stages, group, kWeightGroups);
  if (group > 0) return;
  float *to = v.to + blockIdx.y * v.rows * v.c.f;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int64_t row = row0 + tile::row(i);
    if (row >= v.rows) continue;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const int64_t col = col0 + tile::col(j);
      if (col < v.c.f) to[row * v.c.f + col] = sums.sum[i][j];
    }
  }
}

/* dw = the chunks' sums, added in order. */
__global__ void __launch_bounds__(256) conv_weight_sum(const float *parts, float *dw, int64_t outputs, int64_t chunks) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
  if (at >= outputs) return;
  float sum = 0;
#pragma unroll 8
  for (int64_t chunk = 0; chunk < chunks; chunk++) sum += parts[chunk * outputs + at];
  dw[at] = sum;
}

/* Sizes beyond 32 bits: one output per thread. */
__global__ void __launch_bounds__(256) conv_weight_huge(conv_weight v, int64_t outputs) {
  for (int64_t at = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x; at < outputs;
       at += static_cast<int64_t>(gridDim.x) * 256) {
    const int64_t row = at / v.c.f, tap = row / v.c.c, f = at - row * v.c.f, channel = row - tap * v.c.c;
    const int64_t r = tap / v.c.s, s = tap - r * v.c.s;
    double sum = 0;
    for (int64_t image = 0; image < v.c.b; image++)
      for (int64_t p = 0; p < v.c.p; p++) {
        const int64_t h = p * v.c.sh + r - v.c.top;
        if (h < 0 || h >= v.c.h) continue;
        for (int64_t q = 0; q < v.c.q; q++) {
          const int64_t w = q * v.c.sw + s - v.c.left;
          if (w < 0 || w >= v.c.w) continue;
          sum += static_cast<double>(v.x[((image * v.c.h + h) * v.c.w + w) * v.c.c + channel]) *
                 static_cast<double>(v.dy[((image * v.c.p + p) * v.c.q + q) * v.c.f + f]);
        }
      }
    v.to[at] = static_cast<float>(sum);
  }
}

#endif

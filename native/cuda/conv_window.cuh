/* conv_window.cuh: a convolution, or its input gradient, as a product of windows of pictures with weights.
 *
 * The input gradient is cut by the strides into phases: the outputs of one phase all reach the same taps of the kernel,
 * so a phase is a convolution of stride 1 with its own part of the weights, and its results are written with the
 * stride. No product with a structural zero is computed but at the borders.
 *
 * There, taps outside the picture enter the sums as zeros. A weight that is not finite would make them NaN, and no
 * padding may do that: outputs that come out as NaN are computed again without what lies outside. */
#ifndef CREDENCE_CUDA_CONV_WINDOW_CUH
#define CREDENCE_CUDA_CONV_WINDOW_CUH

#include "conv.cuh"

struct conv_windows {
  conv_shape c;
  bool gradient;
  const float *src, *weights, *bias; /* bias may be null */
  float *dst;
  int64_t src_h, src_w, src_c, dst_h, dst_w, n; /* pictures read and made; n: channels made */
  cu_scalar_value p;
  int32_t act;
  bool store4; /* 16-byte stores */
};

/* One axis of a phase: output t is row t out_step + out of the result; its tap i lies at row t step + i direction +
 * base of the source and takes row tap0 + i tap_step of the kernel. */
template <class Int>
struct conv_axis {
  Int taps, first, count, step, direction, base, out_step, out, tap0, tap_step;
};

template <class Int>
__device__ conv_axis<Int> conv_axis_of(bool gradient, Int kernel, Int stride, Int pad, Int size, Int remainder) {
  if (!gradient) return {kernel, 0, size, stride, 1, -pad, 1, 0, 0, 1};
  /* row h of the input gradient is t stride + remainder - pad; it is reached by taps remainder + i stride from row t -
   * i */
  conv_axis<Int> a = {0, 0, 0, 1, -1, 0, stride, remainder - pad, remainder, stride};
  if (remainder < kernel) a.taps = (kernel - remainder + stride - 1) / stride;
  if (pad > remainder) a.first = (pad - remainder + stride - 1) / stride;
  const Int end = (size - 1 + pad - remainder + stride) / stride;
  if (end > a.first) a.count = end - a.first;
  return a;
}

/* Where the weights of tap (i, j) begin, and the distances from channel to channel that is read, and made. */
struct conv_weights_at {
  int64_t start, tap_h, tap_w, read, made;
};

template <class Int>
__device__ conv_weights_at conv_weights_of(const conv_windows &v, const conv_axis<Int> &h, const conv_axis<Int> &w) {
  const int64_t tap = v.c.c * v.c.f;
  return {(h.tap0 * v.c.s + w.tap0) * tap, h.tap_step * v.c.s * tap, w.tap_step * tap, v.gradient ? 1 : v.c.f,
          v.gradient ? v.c.f : 1};
}

/* One output, tap by tap; what lies outside the picture is left out. window: the place of tap (0, 0), h and w its row
 * and column, which may lie outside. */
template <class Int>
__device__ float conv_exact(const conv_windows &v, const conv_axis<Int> &ah, const conv_axis<Int> &aw,
                            const float *window, Int h, Int w, Int col) {
  const conv_weights_at at = conv_weights_of(v, ah, aw);
  const Int src_h = static_cast<Int>(v.src_h), src_w = static_cast<Int>(v.src_w), channels = static_cast<Int>(v.src_c);
  float sum = 0;
  for (Int i = 0; i < ah.taps; i++) {
    const Int row = h + i * ah.direction;
    if (row < 0 || row >= src_h) continue;
    for (Int j = 0; j < aw.taps; j++) {
      const Int column = w + j * aw.direction;
      if (column < 0 || column >= src_w) continue;
      const float *x = window + (i * ah.direction * src_w + j * aw.direction) * channels;
      const float *b = v.weights + at.start + i * at.tap_h + j * at.tap_w + col * at.made;
      for (Int from = 0; from < channels; from += kFlush * kDepth) {
        const Int end = channels - from < kFlush * kDepth ? channels : from + kFlush * kDepth;
        float chain = 0;
        for (Int k = from; k < end; k++) chain = fmaf(x[k], b[k * at.read], chain);
        sum += chain;
      }
    }
  }
  return sum;
}

__device__ inline float conv_finish(const conv_windows &v, float p, float sum, int64_t col) {
  if (v.bias != nullptr) sum += v.bias[col];
  return cu_act_apply(v.act, p, sum);
}

/* A row of the product: an output pixel. */
struct conv_place {
  const float *window; /* of tap (0, 0) */
  float *out;          /* null: there is none */
  int32_t h, w;        /* row and column of tap (0, 0) */
};

/* What one thread reads of the tiles: depth k of the product is (i, j, channel). kFour: 16 bytes at a time, along the
 * channels of the windows. */
template <int kMicro, bool kFour>
struct window_reader {
  using tile = conv_tile<kMicro>;
  static constexpr int kA = tile::kRows * kDepth / kGroup, kB = tile::kCols * kDepth / kGroup;
  float a[kA], b[kB];
  int32_t at, left;          /* this thread's depth, and how many there are from it on */
  int32_t i, j, channel;     /* of its depth */
  int32_t di, dj, d_channel; /* to the next tile's */

  static __device__ int thread() { return threadIdx.x % kGroup; }
  static __device__ int depth() { return kFour ? thread() % 4 * 4 : thread() % kDepth; }

  __device__ void start(int32_t k, int32_t from, int32_t advance, int32_t taps_w, int32_t channels) {
    at = from + depth();
    left = k - at;
    const int32_t tap = at / channels, tap_step = advance / channels;
    i = tap / taps_w, j = tap % taps_w, channel = at % channels;
    di = tap_step / taps_w, dj = tap_step % taps_w, d_channel = advance % channels;
  }

  __device__ void next(int32_t advance, int32_t taps_w, int32_t channels) {
    at += advance;
    left -= advance;
    channel += d_channel;
    j += dj;
    i += di;
    if (channel >= channels) channel -= channels, j++;
    if (j >= taps_w) j -= taps_w, i++;
  }

  __device__ void fetch(const conv_windows &v, const conv_place *place, const conv_axis<int32_t> &ah,
                        const conv_axis<int32_t> &aw, const conv_weights_at &step, int64_t col0) {
    const int32_t src_h = static_cast<int32_t>(v.src_h), src_w = static_cast<int32_t>(v.src_w),
                  src_c = static_cast<int32_t>(v.src_c), n = static_cast<int32_t>(v.n - col0);
    const int32_t dh = i * ah.direction, dw = j * aw.direction, offset = (dh * src_w + dw) * src_c + channel;
    constexpr int kStep = kFour ? 4 : 1, kPerPass = kGroup * kStep / kDepth; /* rows of the windows in one pass */
#pragma unroll
    for (int q = 0; q < kA / kStep; q++) {
      const conv_place &here = place[thread() * kStep / kDepth + q * kPerPass];
      const bool inside = left > 0 && static_cast<uint32_t>(here.h + dh) < static_cast<uint32_t>(src_h) &&
                          static_cast<uint32_t>(here.w + dw) < static_cast<uint32_t>(src_w);
      conv_load<kStep>(a + q * kStep, inside ? here.window + offset : nullptr);
    }
    const float *weights = v.weights + step.start + col0 * step.made;
    if (v.gradient) { /* along the depth, as the windows */
      weights += i * step.tap_h + j * step.tap_w + channel;
#pragma unroll
      for (int q = 0; q < kB / kStep; q++) {
        const int col = thread() * kStep / kDepth + q * kPerPass;
        conv_load<kStep>(b + q * kStep, left > 0 && col < n ? weights + col * step.made : nullptr);
      }
    } else { /* along the columns: the weights are a matrix of all depths */
      constexpr int kAcross = tile::kCols / kStep;
      const int col = thread() % kAcross * kStep, line = thread() / kAcross;
      const int32_t first = at - depth(), lines = left + depth(); /* of the tile */
#pragma unroll
      for (int q = 0; q < kB / kStep; q++) {
        const int l = line + q * (kGroup / kAcross);
        conv_load<kStep>(b + q * kStep, l < lines && col < n ? weights + (first + l) * step.read + col : nullptr);
      }
    }
  }

  __device__ void put(float *to_a, float *to_b, bool gradient) const {
    constexpr int kStep = kFour ? 4 : 1, kPerPass = kGroup * kStep / kDepth;
#pragma unroll
    for (int q = 0; q < kA; q++)
      to_a[(depth() + q % kStep) * tile::kPitchA + thread() * kStep / kDepth + q / kStep * kPerPass] = a[q];
    if (gradient) {
#pragma unroll
      for (int q = 0; q < kB; q++)
        to_b[(depth() + q % kStep) * tile::kPitchB + thread() * kStep / kDepth + q / kStep * kPerPass] = b[q];
    } else {
      constexpr int kAcross = tile::kCols / kStep;
      float *to = to_b + thread() / kAcross * tile::kPitchB + thread() % kAcross * kStep;
#pragma unroll
      for (int q = 0; q < kB / kStep; q++, to += kGroup / kAcross * tile::kPitchB) {
        conv_store<kStep>(to, b + q * kStep);
      }
    }
  }
};

/* Whether sums of so many depths are flushed on their way. */
__host__ __device__ inline bool conv_flushes(int64_t depth, int groups) {
  return depth > (kFlush - 1) * kDepth * groups;
}

/* A block makes one tile; its groups share out the depth, so that small convolutions have enough threads. */
template <int kMicro, int kGroups, bool kFour>
__global__ void __launch_bounds__(kGroup *kGroups, kMicro == 8 ? 2 : 1) conv_tiles(conv_windows v, int64_t tiles_n) {
  using tile = conv_tile<kMicro>;
  CU_SHARED(bytes);
  float *stages = reinterpret_cast<float *>(bytes);
  __shared__ conv_place place[tile::kRows];
  const int group = threadIdx.x / kGroup;
  float *stage = stages + group * 2 * tile::kStage;
  const int64_t row0 = blockIdx.x / tiles_n * tile::kRows, col0 = blockIdx.x % tiles_n * tile::kCols;
  const int32_t sh = static_cast<int32_t>(v.c.sh), sw = static_cast<int32_t>(v.c.sw), phases = v.gradient ? sh * sw : 1;
  const int32_t channels = static_cast<int32_t>(v.src_c);
  const float p = static_cast<float>(v.p.get());
  for (int32_t phase = blockIdx.y; phase < phases; phase += gridDim.y) {
    const conv_axis<int32_t> ah =
        conv_axis_of(v.gradient, static_cast<int32_t>(v.c.r), sh, static_cast<int32_t>(v.c.top),
                     static_cast<int32_t>(v.dst_h), phase / sw);
    const conv_axis<int32_t> aw =
        conv_axis_of(v.gradient, static_cast<int32_t>(v.c.s), sw, static_cast<int32_t>(v.c.left),
                     static_cast<int32_t>(v.dst_w), phase % sw);
    const conv_weights_at at = conv_weights_of(v, ah, aw);
    const int64_t pixels = static_cast<int64_t>(ah.count) * aw.count;
    if (row0 >= v.c.b * pixels) continue;
    __syncthreads(); /* the places of the phase before are no longer read */
    if (threadIdx.x < tile::kRows) {
      const int64_t row = row0 + threadIdx.x;
      conv_place here = {nullptr, nullptr, INT32_MIN / 2, 0}; /* no tap of it lies inside */
      if (row < v.c.b * pixels) {
        const int64_t image = row / pixels;
        const int32_t pixel = static_cast<int32_t>(row - image * pixels);
        const int32_t t = pixel / aw.count + ah.first, u = pixel % aw.count + aw.first;
        here.h = t * ah.step + ah.base, here.w = u * aw.step + aw.base;
        here.window = v.src + ((image * v.src_h + here.h) * v.src_w + here.w) * v.src_c;
        here.out = v.dst + ((image * v.dst_h + t * ah.out_step + ah.out) * v.dst_w + u * aw.out_step + aw.out) * v.n;
      }
      place[threadIdx.x] = here;
    }
    __syncthreads();

    const int32_t k = ah.taps * aw.taps * channels, advance = kDepth * kGroups;
    tile sums;
    sums.clear();
    if (k > 0) {
      window_reader<kMicro, kFour> reader;
      reader.start(k, group * kDepth, advance, aw.taps, channels);
      reader.fetch(v, place, ah, aw, at, col0);
      float *flushed = stages + kGroups * 2 * tile::kStage + group * kMicro * kMicro * kGroup;
      int now = 0;
      for (int32_t from = 0, chained = 0; from < k; from += advance, now ^= 1) {
        float *a = stage + now * tile::kStage, *b = a + kDepth * tile::kPitchA;
        reader.put(a, b, v.gradient);
        __syncthreads(); /* one is enough: what is written next is the other half, which all have left by then */
        if (from + advance < k) {
          reader.next(advance, aw.taps, channels);
          reader.fetch(v, place, ah, aw, at, col0);
        }
        sums.multiply(a, b);
        if (++chained % kFlush == 0) sums.flush(flushed, chained == kFlush);
      }
      if (conv_flushes(k, kGroups)) sums.add_flushed(flushed);
    }
    sums.gather(stages, group, kGroups);
    if (group == 0) {
      bool strange = false;
#pragma unroll
      for (int j = 0; j < kMicro; j++) {
        const int64_t col = col0 + tile::col(j);
        const float bias = v.bias != nullptr && col < v.n ? v.bias[col] : 0;
#pragma unroll
        for (int i = 0; i < kMicro; i++) {
          if (v.bias != nullptr) sums.sum[i][j] += bias;
          strange = strange || sums.sum[i][j] != sums.sum[i][j];
        }
      }
#pragma unroll
      for (int i = 0; i < kMicro; i++) {
        cu_act_apply_all(v.act, p, sums.sum[i]);
        float *out = place[tile::row(i)].out;
        if (out == nullptr) continue;
#pragma unroll
        for (int j = 0; j < kMicro; j += 4) {
          const int64_t col = col0 + tile::col(j);
          if (v.store4) {
            if (col < v.n) conv_store<4>(out + col, &sums.sum[i][j]);
          } else {
#pragma unroll
            for (int e = 0; e < 4; e++)
              if (col + e < v.n) out[col + e] = sums.sum[i][j + e];
          }
        }
      }
      if (strange)
        for (int e = 0; e < kMicro * kMicro; e++) {
          const conv_place &here = place[tile::row(e / kMicro)];
          const int64_t col = col0 + tile::col(e % kMicro);
          if (here.out == nullptr || col >= v.n || here.out[col] == here.out[col]) continue;
          const float sum = conv_exact(v, ah, aw, here.window, here.h, here.w, static_cast<int32_t>(col));
          here.out[col] = conv_finish(v, p, sum, col);
        }
    }
  }
}

/* ---- an input gradient into few channels ---- */

constexpr int kFewChannels = 4, kTeam = 8, kFewThreads = 256;

/* A tile would be mostly empty. Instead a team of lanes makes one pixel, each a part of the channels that are read. */
template <bool kFour>
__global__ void __launch_bounds__(kFewThreads, 3) conv_few(conv_windows v, int64_t pixels) {
  const int64_t pixel = (static_cast<int64_t>(blockIdx.x) * kFewThreads + threadIdx.x) / kTeam;
  const int lane = threadIdx.x % kTeam;
  float sum[kFewChannels] = {};
  if (pixel < pixels) {
    const int64_t line = pixel / v.dst_w, image = line / v.dst_h;
    const int32_t w = static_cast<int32_t>(pixel - line * v.dst_w), h = static_cast<int32_t>(line - image * v.dst_h);
    const int32_t sh = static_cast<int32_t>(v.c.sh), sw = static_cast<int32_t>(v.c.sw);
    const int32_t reach_h = h + static_cast<int32_t>(v.c.top), reach_w = w + static_cast<int32_t>(v.c.left);
    const int32_t read = static_cast<int32_t>(v.src_c), src_w = static_cast<int32_t>(v.src_w);
    const float *src = v.src + image * v.src_h * v.src_w * v.src_c;
    for (int32_t r = reach_h % sh, row = reach_h / sh; r < v.c.r && row >= 0; r += sh, row--) {
      if (row >= v.src_h) continue;
      for (int32_t s = reach_w % sw, col = reach_w / sw; s < v.c.s && col >= 0; s += sw, col--) {
        if (col >= src_w) continue;
        const float *x = src + (static_cast<int64_t>(row) * src_w + col) * read;
        const float *weights = v.weights + (r * v.c.s + s) * v.n * read;
        constexpr int kStep = kFour ? 4 : 1, kChain = kTeam * kStep * 512; /* channels of one chain for each of kStep */
        for (int32_t from = 0; from < read; from += kChain) {
          float chain[kFewChannels][kStep] = {};
          const int32_t end = read - from < kChain ? read : from + kChain;
          for (int32_t k = from + lane * kStep; k < end; k += kTeam * kStep) {
            float a[kStep], b[kStep];
            conv_load<kStep>(a, x + k);
#pragma unroll
            for (int c = 0; c < kFewChannels; c++) {
              if (c >= v.n) break;
              conv_load<kStep>(b, weights + static_cast<int64_t>(c) * read + k);
#pragma unroll
              for (int e = 0; e < kStep; e++) chain[c][e] = fmaf(a[e], b[e], chain[c][e]);
            }
          }
#pragma unroll
          for (int c = 0; c < kFewChannels; c++)
#pragma unroll
            for (int e = 0; e < kStep; e++) sum[c] += chain[c][e];
        }
      }
    }
  }
#pragma unroll
  for (int c = 0; c < kFewChannels; c++)
#pragma unroll
    for (int step = kTeam / 2; step > 0; step /= 2) sum[c] += __shfl_xor_sync(0xffffffffu, sum[c], step);
  const float p = static_cast<float>(v.p.get());
#pragma unroll
  for (int c = 0; c < kFewChannels; c++)
    if (pixel < pixels && lane == c && c < v.n) v.dst[pixel * v.n + c] = conv_finish(v, p, sum[c], c);
}

/* ---- sizes beyond 32 bits ---- */

/* One output per thread. */
__global__ void __launch_bounds__(256) conv_huge(conv_windows v, int64_t outputs) {
  const float p = static_cast<float>(v.p.get());
  for (int64_t at = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x; at < outputs;
       at += static_cast<int64_t>(gridDim.x) * 256) {
    const int64_t pixel = at / v.n, line = pixel / v.dst_w, image = line / v.dst_h;
    const int64_t h = line - image * v.dst_h, w = pixel - line * v.dst_w;
    const int64_t reach_h = v.gradient ? h + v.c.top : h, reach_w = v.gradient ? w + v.c.left : w;
    const conv_axis<int64_t> ah = conv_axis_of(v.gradient, v.c.r, v.c.sh, v.c.top, v.dst_h, reach_h % v.c.sh);
    const conv_axis<int64_t> aw = conv_axis_of(v.gradient, v.c.s, v.c.sw, v.c.left, v.dst_w, reach_w % v.c.sw);
    const int64_t row = v.gradient ? reach_h / v.c.sh : h * ah.step + ah.base;
    const int64_t col = v.gradient ? reach_w / v.c.sw : w * aw.step + aw.base;
    const float *window = v.src + ((image * v.src_h + row) * v.src_w + col) * v.src_c;
    const float sum = conv_exact<int64_t>(v, ah, aw, window, row, col, at - pixel * v.n);
    v.dst[at] = conv_finish(v, p, sum, at - pixel * v.n);
  }
}

#endif

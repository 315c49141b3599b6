/* The last step of a sparse feed-forward block: sums of the rows of needed neurons, each times its value. Output
 * stationary: a block owns some columns and adds up all neurons, so that nothing passes between blocks and one launch
 * is enough.
 *
 * The neurons are cut into kRuns runs by index. A run's sum is one chain of multiply-adds, a thread's for eight
 * columns, and the runs are added up as a tree: the order depends on the number of neurons alone. All runs of a block
 * load at a time, as many rows each as registers allow; which makes good for runs with more needed neurons than others.
 */
#include "needed.cuh"

namespace {

constexpr int kRuns = 256, kWindow = 64; /* neurons whose bits are held in a register */
constexpr int64_t kMostBlocks = 1 << 30;

/* Bits [at, at + n) of the mask, n <= kWindow. */
__device__ __forceinline__ uint64_t window(const uint32_t *mask, int64_t words, int64_t at, int64_t n, bool all) {
  const uint64_t ones = n == kWindow ? ~0ull : (1ull << n) - 1;
  if (all) return ones;
  const int64_t word = at / CU_WARP;
  const int shift = static_cast<int>(at % CU_WARP);
  uint64_t bits = mask[word];
  if (word + 1 < words) bits |= static_cast<uint64_t>(mask[word + 1]) << 32;
  bits >>= shift;
  if (shift > 0 && word + 2 < words) bits |= static_cast<uint64_t>(mask[word + 2]) << (kWindow - shift);
  return bits & ones;
}

/* The lowest bit of bits, which loses it. */
__device__ __forceinline__ int take_bit(uint64_t *bits) {
  const uint32_t low = static_cast<uint32_t>(*bits), high = static_cast<uint32_t>(*bits >> 32);
  *bits &= *bits - 1;
  return low != 0 ? __ffs(static_cast<int>(low)) - 1 : 31 + __ffs(static_cast<int>(high));
}

/* A neuron's values in M rows of x, from row `row` on. Beyond the last row they are never used. */
template <int M>
__device__ __forceinline__ void values_of(const cu_down &a, int64_t row, int64_t neuron, float (&c)[M]) {
  if constexpr (M == CU_DOT_MOST) {
    const float4 *p = reinterpret_cast<const float4 *>(a.grouped + (row * a.needed.neurons + neuron * M));
    const float4 low = __ldg(p), high = __ldg(p + 1);
    c[0] = low.x, c[1] = low.y, c[2] = low.z, c[3] = low.w;
    c[4] = high.x, c[5] = high.y, c[6] = high.z, c[7] = high.w;
  } else {
#pragma unroll
    for (int m = 0; m < M; m++)
      c[m] = __ldg(a.h + (row + m < a.needed.rows ? row + m : row) * a.needed.neurons + neuron);
  }
}

/* The chain of one run, for piece `piece` of the columns; columns: how many of them exist. */
template <int32_t T, bool VECTOR, bool WHOLE, int M>
__device__ __forceinline__ void sum_run(const cu_down &a, const uint32_t *mask, bool all, int64_t row, int64_t run,
                                        int64_t piece, int64_t columns, float (&acc)[M][CU_PIECE]) {
  constexpr int kDepth = WHOLE ? (M == CU_DOT_MOST || T == CREDENCE_F32 ? 2 : 4) : 1;
  const int64_t f = a.needed.neurons, words = (f + CU_WARP - 1) / CU_WARP, row_bytes = cu_row_bytes(T, a.d);
  const int64_t length = (f + kRuns - 1) / kRuns, low = run * length, high = low + length < f ? low + length : f;
  for (int64_t at = low; at < high; at += kWindow) {
    uint64_t bits = window(mask, words, at, high - at < kWindow ? high - at : kWindow, all);
    while (bits != 0) {
      cu_piece<T> w[kDepth];
      float c[kDepth][M];
      bool some[kDepth];
#pragma unroll
      for (int u = 0; u < kDepth; u++) {
        some[u] = bits != 0;
        const int64_t neuron = some[u] ? at + take_bit(&bits) : at;
        const char *from = a.w + neuron * row_bytes;
        w[u] = {};
        if (some[u]) {
          if constexpr (WHOLE)
            w[u] = cu_load_piece<T, VECTOR, M != CU_DOT_MOST>(from, piece);
          else
            w[u] = cu_load_rest<T>(from, piece, columns);
          values_of(a, row, neuron, c[u]);
        }
      }
#pragma unroll
      for (int u = 0; u < kDepth; u++) {
        if (!some[u]) continue;
        float v[CU_PIECE];
        cu_widen_piece<T>(w[u], v);
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
          for (int i = 0; i < CU_PIECE; i++) acc[m][i] = fmaf(c[u][m], v[i], acc[m][i]);
      }
    }
  }
}

/* Elements of a row of h that are not 0: what is left over for a block. */
template <int THREADS>
__device__ void count_row(const cu_down &a, int64_t row, int32_t *sums) {
  int32_t count = 0;
  for (int64_t i = threadIdx.x; i < a.needed.neurons; i += THREADS) count += a.h[row * a.needed.neurons + i] != 0;
  count = cu_running_sum<THREADS>(count, *reinterpret_cast<int32_t(*)[THREADS / CU_WARP]>(sums));
  if (threadIdx.x == THREADS - 1) a.count[row] = count;
  __syncthreads();
}

/* P pieces of columns, for M rows of x. */
template <int32_t T, bool VECTOR, int M, int P>
__global__ void __launch_bounds__(kRuns *P, 1) down_columns(cu_down a) {
  constexpr int kThreads = kRuns * P, kWarps = kThreads / CU_WARP, kColumns = P * CU_PIECE;
  __shared__ uint32_t own[kDirectWords];
  __shared__ int32_t sums[kWarps], total;
  __shared__ float part[kWarps][M][kColumns];
  const int64_t f = a.needed.neurons, words = (f + CU_WARP - 1) / CU_WARP;
  const int64_t groups = (a.needed.rows + M - 1) / M, tiles = (a.d + kColumns - 1) / kColumns;
  const int64_t blocks = tiles * groups, more = a.count != nullptr ? a.needed.rows : 0;
  const int warp = threadIdx.x / CU_WARP, lane = threadIdx.x % CU_WARP;

  const uint32_t *mask = cu_needed_mask<kThreads>(a.needed, own);
  bool all = a.dense != nullptr && *a.dense != 0;
  if (a.dense == nullptr || blockIdx.x == 0) {
    int32_t needed = 0;
    for (int64_t word = threadIdx.x; word < words; word += kThreads) needed += __popc(mask[word]);
    needed = cu_running_sum<kThreads>(needed, sums);
    if (threadIdx.x == kThreads - 1) total = needed;
    __syncthreads();
    if (a.dense == nullptr) all = cu_needed_all(a.needed, total);
    if (blockIdx.x == 0 && threadIdx.x == 0) {
      *a.read = all ? static_cast<int32_t>(f) : total;
      if (a.not_read != nullptr) *a.not_read = 0;
    }
  }

  for (int64_t at = blockIdx.x; at < blocks + more; at += gridDim.x) {
    if (at >= blocks) {
      __syncthreads(); /* sums is free again */
      count_row<kThreads>(a, at - blocks, sums);
      continue;
    }
    const int64_t group = at % groups, tile = at / groups; /* neighbouring blocks share weights */
    const int64_t piece = tile * P + threadIdx.x % P, columns = a.d - piece * CU_PIECE, run = threadIdx.x / P;
    float acc[M][CU_PIECE] = {};
    if (columns >= CU_PIECE)
      sum_run<T, VECTOR, true>(a, mask, all, group * M, run, piece, columns, acc);
    else if (columns > 0)
      sum_run<T, VECTOR, false>(a, mask, all, group * M, run, piece, columns, acc);
    __syncwarp();
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
      for (int i = 0; i < CU_PIECE; i++) {
#pragma unroll
        for (int step = P; step < CU_WARP; step *= 2) acc[m][i] += __shfl_xor_sync(0xffffffffu, acc[m][i], step);
        if (lane < P) part[warp][m][lane * CU_PIECE + i] = acc[m][i];
      }
    __syncthreads();
    if (threadIdx.x < M * kColumns) {
      const int m = threadIdx.x / kColumns, c = threadIdx.x % kColumns;
      const int64_t row = group * M + m, column = tile * kColumns + c;
      float v[kWarps];
#pragma unroll
      for (int i = 0; i < kWarps; i++) v[i] = part[i][m][c];
#pragma unroll
      for (int step = 1; step < kWarps; step *= 2)
#pragma unroll
        for (int i = 0; i < kWarps; i += 2 * step) v[i] += v[i + step];
      /* a sum of -0 becomes 0, with a bias or without */
      if (row < a.needed.rows && column < a.d)
        a.y[row * a.d + column] = v[0] + (a.bias != nullptr ? a.bias[column] : 0.0f);
    }
    __syncthreads();
  }
}

template <int32_t T, bool VECTOR, int M, int P>
int32_t launch(const cr_ctx *ctx, const cu_down *job, credence_error *err) {
  int64_t blocks = cu_blocks(job->d, P * CU_PIECE) * cu_blocks(job->needed.rows, M);
  if (job->count != nullptr) blocks += job->needed.rows;
  if (blocks == 0) blocks = 1; /* it says how many rows are read */
  if (blocks > kMostBlocks) blocks = kMostBlocks;
  return cu_launch(ctx, err, down_columns<T, VECTOR, M, P>, dim3(static_cast<unsigned>(blocks)), dim3(kRuns * P), 0,
                   *job);
}

/* Whether blocks of 32 columns, one to a multiprocessor, leave few of them idle; they read longer pieces of rows than
 * blocks of 16 do. */
bool wide(const cr_ctx *ctx, const cu_down *job) {
  const int64_t tiles = cu_blocks(job->d, 4 * CU_PIECE), slots = cu_blocks(tiles, ctx->multiprocessors);
  return cu_is_block(job->dtype) || slots * ctx->multiprocessors * 4 <= tiles * 5;
}

}  // namespace

size_t cu_down_scratch(int64_t rows, int64_t neurons) {
  return rows <= 4 ? 0 : static_cast<size_t>(cu_blocks(rows, CU_DOT_MOST) * CU_DOT_MOST * neurons) * sizeof(float);
}

int32_t cu_down_run(const cr_ctx *ctx, const cu_down *job, credence_error *err) {
  const int64_t rows = job->needed.rows;
  const bool vector = cu_is_vector(job->w, job->dtype, job->d);
  if (rows > 4) {
    const int32_t status = cu_mark_run(ctx, job->h, rows, job->needed.neurons, nullptr, job->grouped, err);
    if (status != CREDENCE_OK) return status;
  }
  return cu_stored_switch(job->dtype, [&](auto type) {
    constexpr int32_t T = decltype(type)::value;
    if (rows > 4) return vector ? launch<T, true, 8, 2>(ctx, job, err) : launch<T, false, 8, 2>(ctx, job, err);
    if (!vector) return rows <= 1 ? launch<T, false, 1, 2>(ctx, job, err) : launch<T, false, 4, 2>(ctx, job, err);
    if (rows > 2) return launch<T, true, 4, 2>(ctx, job, err);
    if (rows == 2) return launch<T, true, 2, 2>(ctx, job, err);
    return wide(ctx, job) ? launch<T, true, 1, 4>(ctx, job, err) : launch<T, true, 1, 2>(ctx, job, err);
  });
}

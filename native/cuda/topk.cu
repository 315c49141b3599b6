/* topk.cu: the k largest elements of each row, and the gradient back to their places.
 *
 * A block has a row. An element is a number of 64 bits, larger for a better element, and no two of a row are equal: so
 * the k best are those not below a threshold, whose digits are found from the highest on by counting how often each
 * occurs (radix selection), with no more passes over the row than it takes to tell the k-th from the next. They are
 * written down in any order, and sorted (Batcher's bitonic network): the result does not depend on that order. */
#include "kernel.cuh"

namespace {

constexpr int kDigitBits = 11, kBins = 1 << kDigitBits, kDigits = 6; /* 66 bits, the lowest two of which are 0 */
constexpr int kShared = 2048;    /* chosen elements that are sorted in shared memory */
constexpr int64_t kBlocks = 264; /* most rows at a time, where their chosen elements need scratch */
constexpr int kFew = 256, kMany = 1024, kLong = 4096; /* threads of a block; for rows longer than that */
constexpr unsigned kWarp = 0xffffffffu;

typedef unsigned long long rank_t;

/* By value, then by lower index; NaN is below -Inf and -0 equals 0. */
__device__ rank_t rank_of(float x, uint32_t index) {
  uint32_t bits = 0;
  if (x == x) {
    bits = __float_as_uint(x + 0.0f); /* -0 becomes 0 */
    bits ^= bits >> 31 ? 0xffffffffu : 1u << 31;
  }
  return static_cast<rank_t>(bits) << 32 | (0xffffffffu - index);
}

__device__ uint32_t index_of(rank_t rank) { return 0xffffffffu - static_cast<uint32_t>(rank); }

/* What a block shares. */
struct board {
  union {
    uint32_t bins[kBins];
    rank_t chosen[kShared];
  };
  uint32_t warp[kMany / 32], bin, above, in_bin, n;
};

/* Finds the highest bin with which the bins from it on up hold at least `wanted` elements; how many are above it, and
 * in it. The first kFew threads have kBins / kFew bins each. */
__device__ void find_bin(board *b, uint32_t wanted) {
  constexpr int kEach = kBins / kFew;
  const int t = threadIdx.x, lane = t % 32, top = kBins - kEach * (t + 1); /* thread 0 has the highest bins */
  uint32_t mine = 0, before = 0;
  if (t < kFew) {
    for (int j = 0; j < kEach; j++) mine += b->bins[top + j];
    before = mine;
    for (int lanes = 1; lanes < 32; lanes *= 2) {
      const uint32_t other = __shfl_up_sync(kWarp, before, lanes);
      if (lane >= lanes) before += other;
    }
    if (lane == 31) b->warp[t / 32] = before;
  }
  __syncthreads();
  if (t < kFew) {
    for (int w = 0; w < t / 32; w++) before += b->warp[w];
    before -= mine;
    if (before < wanted && before + mine >= wanted) {
      int at = top + kEach - 1;
      for (; before + b->bins[at] < wanted; at--) before += b->bins[at];
      b->bin = at, b->above = before, b->in_bin = b->bins[at];
    }
  }
  __syncthreads();
}

/* The least rank of the k best of a row, 0 < k <= n; or as good a threshold. */
__device__ rank_t threshold_of(const float *x, uint32_t n, uint32_t k, board *b) {
  rank_t found = 0;
  if (k == n) return found;
  for (int digit = 0; digit < kDigits; digit++) {
    const int above = 64 - digit * kDigitBits, shift = above - kDigitBits; /* bits before it, and after */
    for (int i = threadIdx.x; i < kBins; i += blockDim.x) b->bins[i] = 0;
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < n; i += blockDim.x) {
      const rank_t rank = rank_of(x[i], i);
      if (digit > 0 && (rank ^ found) >> above != 0) continue;
      atomicAdd(&b->bins[(shift < 0 ? rank << -shift : rank >> shift) & (kBins - 1)], 1u);
    }
    __syncthreads();
    find_bin(b, k);
    found |= shift < 0 ? static_cast<rank_t>(b->bin) >> -shift : static_cast<rank_t>(b->bin) << shift;
    k -= b->above;
    const bool whole = b->in_bin == k;
    __syncthreads();  /* the board is used again */
    if (whole) break; /* all of the bin are among the best */
  }
  return found;
}

/* Sorts size (a power of two) ranks, the largest first. */
__device__ void sort(rank_t *v, int64_t size) {
  for (int64_t run = 2; run <= size; run *= 2) {
    for (int64_t step = run / 2; step > 0; step /= 2) {
      __syncthreads();
      for (int64_t i = threadIdx.x; i < size / 2; i += blockDim.x) {
        const int64_t at = (i & -step) * 2 + (i & (step - 1));
        const rank_t a = v[at], b = v[at + step];
        const bool falling = (at & run) == 0;
        if ((a < b) == falling) v[at] = b, v[at + step] = a;
      }
    }
  }
  __syncthreads();
}

/* scratch: for every block `size` ranks, or none. */
__global__ void __launch_bounds__(kMany) top_k(const float *x, int64_t rows, uint32_t n, uint32_t k, int64_t size,
                                               rank_t *scratch, float *value, int32_t *index) {
  __shared__ board b;
  rank_t *chosen = scratch == nullptr ? b.chosen : scratch + blockIdx.x * size;
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const float *row = x + r * n;
    const rank_t least = threshold_of(row, n, k, &b);
    for (int64_t i = threadIdx.x + k; i < size; i += blockDim.x) chosen[i] = 0; /* below all others */
    if (threadIdx.x == 0) b.n = 0;
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < n; i += blockDim.x) {
      const rank_t rank = rank_of(row[i], i);
      if (rank >= least) chosen[atomicAdd(&b.n, 1u)] = rank;
    }
    sort(chosen, size);
    for (uint32_t i = threadIdx.x; i < k; i += blockDim.x) {
      const uint32_t at = index_of(chosen[i]);
      value[r * k + i] = row[at];
      index[r * k + i] = static_cast<int32_t>(at);
    }
    __syncthreads(); /* before the next row's */
  }
}

int64_t sorted_size(int64_t k) {
  int64_t size = 1;
  while (size < k) size *= 2;
  return size;
}

void scratch_top_k(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  const int64_t rows = call->in[0].dim[0], k = call->out[0].dim[1], blocks = rows < kBlocks ? rows : kBlocks;
  if (k > kShared) scratch->shared = static_cast<size_t>(blocks * sorted_size(k)) * sizeof(rank_t);
}

int32_t run_top_k(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *x = &call->in[0], *value = &call->out[0];
  const int64_t rows = x->dim[0], k = value->dim[1], most = k > kShared ? kBlocks : 1 << 20;
  if (k == 0) return CREDENCE_OK;
  rank_t *scratch = k > kShared ? reinterpret_cast<rank_t *>(ctx->scratch) : nullptr;
  return cu_launch(ctx, err, top_k, static_cast<unsigned>(rows < most ? rows : most), x->dim[1] > kLong ? kMany : kFew,
                   0, reinterpret_cast<const float *>(x->data), rows, x->dim[1], k, sorted_size(k), scratch,
                   reinterpret_cast<float *>(value->data), reinterpret_cast<int32_t *>(call->out[1].data));
}

/* ---- gradient ---- */

constexpr int kStrip = 4096; /* elements of a row that a block writes */

__global__ void __launch_bounds__(kFew)
    top_k_grad(const float *dvalue, const int32_t *index, int64_t rows, int64_t n, int64_t k, float *dx) {
  const int64_t strips = (n + kStrip - 1) / kStrip;
  for (int64_t item = blockIdx.x; item < rows * strips; item += gridDim.x) {
    const int64_t r = item / strips, from = item % strips * kStrip, to = from + kStrip < n ? from + kStrip : n;
    for (int64_t i = from + threadIdx.x; i < to; i += kFew) dx[r * n + i] = 0;
    __syncthreads();
    for (int64_t j = threadIdx.x; j < k; j += kFew) {
      const int64_t at = index[r * k + j];
      if (at >= from && at < to) dx[r * n + at] = dvalue[r * k + j];
    }
    __syncthreads();
  }
}

int32_t run_top_k_grad(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *dvalue = &call->in[0], *dx = &call->out[0];
  const int64_t rows = dx->dim[0], n = dx->dim[1], k = dvalue->dim[1], most = 1 << 20;
  const int32_t *index = reinterpret_cast<const int32_t *>(call->in[1].data);
  if (rows * n == 0) return CREDENCE_OK;
  const int32_t status = cu_check_indices(ctx, index, rows * k, 0, n - 1, err);
  if (status != CREDENCE_OK) return status;
  const int64_t items = rows * cu_blocks(n, kStrip);
  return cu_launch(ctx, err, top_k_grad, static_cast<unsigned>(items < most ? items : most), kFew, 0,
                   reinterpret_cast<const float *>(dvalue->data), index, rows, n, k,
                   reinterpret_cast<float *>(dx->data));
}

void explain_top_k_grad(const cr_call *call, int64_t at, int64_t value, credence_error *err) {
  const int64_t k = call->in[0].dim[1], n = call->out[0].dim[1];
  cr_fail(err, CREDENCE_INVALID_ARGUMENT, "top_k_grad: index %lld of row %lld is outside 0 to %lld",
          static_cast<long long>(value), static_cast<long long>(k > 0 ? at / k : 0), static_cast<long long>(n - 1));
}

}  // namespace

CU_FAMILY(topk, {CREDENCE_OP_TOP_K, scratch_top_k, run_top_k, 0, nullptr},
          {CREDENCE_OP_TOP_K_GRAD, nullptr, run_top_k_grad, 0, explain_top_k_grad})

/* Which neurons stay active besides what the activation turns off, row by row; and masks of what is active. */
#include "act.cuh"
#include "needed.cuh"

namespace {

constexpr int kThreads = 1024, kWarps = kThreads / CU_WARP;
constexpr int kBins = 256;
constexpr int64_t kMostBlocks = 65535;

/* The sum over a block, in an order that depends on the threads alone; known to all of them. */
__device__ double block_sum(double x, double *warps) {
#pragma unroll
  for (int step = CU_WARP / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  __syncthreads(); /* warps is free */
  if (threadIdx.x % CU_WARP == 0) warps[threadIdx.x / CU_WARP] = x;
  __syncthreads();
  double sum = 0;
  for (int i = 0; i < kWarps; i++) sum += warps[i];
  return sum;
}

/* mean + z deviation of a row; the deviation is that of the row itself, not an estimate. */
__device__ float cutoff_of(const float *x, int64_t n, double z, double *warps) {
  double sum = 0, squares = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) sum += static_cast<double>(x[i]);
  const double mean = block_sum(sum, warps) / static_cast<double>(n);
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    const double off = static_cast<double>(x[i]) - mean;
    squares += off * off;
  }
  return static_cast<float>(mean + z * sqrt(block_sum(squares, warps) / static_cast<double>(n)));
}

/* A key that orders floats as they are; NaN is largest, -0 equals 0. */
__device__ __forceinline__ uint32_t key_of(float x) {
  if (x != x) return UINT32_MAX;
  const uint32_t u = __float_as_uint(x + 0.0f);
  return u >> 31 != 0 ? ~u : u | 0x80000000u;
}

/* The smallest key that is among the k largest, and how many equal to it are. */
struct least {
  uint32_t key;
  int32_t equal;
};

/* Adds one to each lane's bin. Lanes that agree with the first one add together: most neurons may be 0. */
__device__ __forceinline__ void count_key(int32_t *bins, bool in, uint32_t bin) {
  const uint32_t lanes = __ballot_sync(0xffffffffu, in);
  if (lanes == 0) return;
  const int leader = __ffs(static_cast<int>(lanes)) - 1;
  const uint32_t common = __shfl_sync(0xffffffffu, bin, leader);
  const uint32_t same = __ballot_sync(0xffffffffu, in && bin == common);
  if (static_cast<int>(threadIdx.x % CU_WARP) == leader)
    atomicAdd(bins + common, __popc(same));
  else if (in && bin != common)
    atomicAdd(bins + bin, 1);
}

/* A byte of the keys at a time, as keep_largest of cpu/ffn.c does it. 0 < k < n. */
__device__ least find_least(const float *x, int64_t n, int32_t k, int32_t *bins, least *found) {
  least l = {0, k};
  for (int shift = 24; shift >= 0; shift -= 8) {
    const uint32_t above = shift == 24 ? 0 : ~0u << (shift + 8);
    for (int i = threadIdx.x; i < kBins; i += kThreads) bins[i] = 0;
    __syncthreads();
    for (int64_t from = 0; from < n; from += kThreads) {
      const int64_t i = from + threadIdx.x;
      const uint32_t key = i < n ? key_of(x[i]) : 0;
      count_key(bins, i < n && (key & above) == l.key, key >> shift & 255);
    }
    __syncthreads();
    if (threadIdx.x < CU_WARP) { /* eight bins to a lane, the largest first */
      constexpr int kEach = kBins / CU_WARP;
      const int top = kBins - 1 - static_cast<int>(threadIdx.x) * kEach;
      int32_t sum = 0, through = 0;
      for (int j = 0; j < kEach; j++) sum += bins[top - j];
      through = sum;
      for (int step = 1; step < CU_WARP; step *= 2) {
        const int32_t before = __shfl_up_sync(0xffffffffu, through, step);
        if (static_cast<int>(threadIdx.x) >= step) through += before;
      }
      int32_t before = through - sum;
      if (before < l.equal && l.equal <= through) {
        int j = 0;
        while (before + bins[top - j] < l.equal) before += bins[top - j++];
        *found = {l.key | static_cast<uint32_t>(top - j) << shift, l.equal - before};
      }
    }
    __syncthreads();
    l = *found;
    __syncthreads();
  }
  return l;
}

__global__ void __launch_bounds__(kThreads) select_rows(cu_select a) {
  __shared__ double warps[kWarps];
  __shared__ int32_t bins[kBins], sums[kWarps], equals;
  __shared__ least found;
  const int64_t n = a.neurons;
  const float p = static_cast<float>(a.p.get());
  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    float *x = a.values + row * n;
    const bool all = a.select == CU_SELECT_TOP_K && a.k >= n;
    float cutoff = 0;
    least l = {UINT32_MAX, 0}; /* a top 0 leaves nothing */
    if (a.select == CU_SELECT_CUTOFF) cutoff = cutoff_of(x, n, a.z.get(), warps);
    if (a.select == CU_SELECT_TOP_K && !all && a.k > 0) l = find_least(x, n, static_cast<int32_t>(a.k), bins, &found);
    int32_t before = 0; /* elements equal to the least, so far */
    for (int64_t from = 0; from < n; from += kThreads) {
      const int64_t i = from + threadIdx.x;
      float v = i < n ? x[i] : 0;
      if (a.select == CU_SELECT_CUTOFF) {
        v = i < n ? cu_act_apply(a.act, p, cu_at_least(v - cutoff, 0)) : 0;
      } else if (!all) {
        const uint32_t key = key_of(v);
        const bool equal = i < n && key == l.key;
        const int32_t place = before + cu_running_sum<kThreads>(equal, sums);
        if (threadIdx.x == kThreads - 1) equals = place;
        if (!(key > l.key || (equal && place <= l.equal))) v = 0;
        __syncthreads();
        before = equals;
      }
      if (i < n) x[i] = v;
      if (a.mask != nullptr) {
        const uint32_t bits = __ballot_sync(0xffffffffu, i < n && v != 0);
        if (threadIdx.x % CU_WARP == 0 && i < n) a.mask[i / CU_WARP] = bits;
      }
    }
    __syncthreads();
  }
}

/* A warp for 32 neurons. */
__global__ void __launch_bounds__(256)
    mark(const float *values, int64_t rows, int64_t neurons, uint32_t *mask, float *grouped) {
  const int64_t words = (neurons + CU_WARP - 1) / CU_WARP, warps = blockDim.x / CU_WARP;
  for (int64_t word = blockIdx.x * warps + threadIdx.x / CU_WARP; word < words; word += gridDim.x * warps) {
    const int64_t i = word * CU_WARP + threadIdx.x % CU_WARP;
    bool active = false;
    for (int64_t b = 0; b < rows && i < neurons; b += CU_DOT_MOST) {
      float v[CU_DOT_MOST];
#pragma unroll
      for (int m = 0; m < CU_DOT_MOST; m++) {
        v[m] = b + m < rows ? __ldg(values + (b + m) * neurons + i) : 0;
        active |= v[m] != 0;
      }
      if (grouped != nullptr) {
        float4 *to = reinterpret_cast<float4 *>(grouped + b * neurons + i * CU_DOT_MOST);
        to[0] = make_float4(v[0], v[1], v[2], v[3]);
        to[1] = make_float4(v[4], v[5], v[6], v[7]);
      }
    }
    const uint32_t bits = __ballot_sync(0xffffffffu, active);
    if (mask != nullptr && threadIdx.x % CU_WARP == 0) mask[word] = bits;
  }
}

unsigned capped(int64_t blocks) { return static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks); }

}  // namespace

int32_t cu_select_run(const cr_ctx *ctx, const cu_select *job, credence_error *err) {
  if (job->neurons == 0) return CREDENCE_OK;
  return cu_launch(ctx, err, select_rows, dim3(capped(job->rows)), dim3(kThreads), 0, *job);
}

int32_t cu_mark_run(const cr_ctx *ctx, const float *values, int64_t rows, int64_t neurons, uint32_t *mask,
                    float *grouped, credence_error *err) {
  const int64_t words = cu_mask_words(neurons);
  return cu_launch(ctx, err, mark, dim3(capped(cu_blocks(words, 8))), dim3(256), 0, values, rows, neurons, mask,
                   grouped);
}

/* The second step of a sparse feed-forward block: dot products of x with the rows of needed neurons, times the neurons'
 * values. Each block makes the list of the needed neurons from their mask and takes an equal part of it, a warp for one
 * row, or for four where several rows of x meet them. */
#include "act.cuh"
#include "needed.cuh"

namespace {

constexpr int kThreads = CU_DOT_WARPS * CU_WARP;
constexpr int kList = 256; /* neurons that a block lists at a time */

/* What a block knows: the words of the mask in equal parts, one to a thread, and how many neurons come before each. */
struct part {
  int64_t from, to; /* words */
  int32_t first, end;
};

/* Neurons number low .. high - 1 of the list into `list`. */
__device__ __forceinline__ void list_needed(const part &mine, const uint32_t *mask, int64_t low, int64_t high,
                                            int32_t *list) {
  if (mine.end <= low || mine.first >= high) return;
  int64_t at = mine.first;
  for (int64_t word = mine.from; word < mine.to; word++) {
    for (uint32_t bits = mask[word]; bits != 0; bits &= bits - 1, at++)
      if (at >= low && at < high) list[at - low] = static_cast<int32_t>(word * CU_WARP + __ffs(bits) - 1);
  }
}

template <int32_t T, bool VECTOR, int M, int R>
__device__ __forceinline__ void products(const cu_up &a, const int32_t *list, int64_t listed, int64_t group, float p) {
  const int64_t row_bytes = cu_row_bytes(T, a.d), f = a.needed.neurons, rows = a.needed.rows - group * M;
  const int lane = threadIdx.x % CU_WARP, m = lane % M;
  const char *w[R];
#pragma unroll
  for (int r = 0; r < R; r++) w[r] = a.w + list[r < listed ? r : listed - 1] * row_bytes;
  const bool mine = lane < R * M && lane / M < listed && m < rows;
  const int64_t neuron = mine ? list[lane / M] : 0, at = (group * M + m) * f + neuron;
  const float s = mine ? a.s[at] : 0;
  float sum[R][M];
  cu_dot_rows<T, VECTOR>(a.x + group * M * a.d, rows, w, a.d, sum);
  if (!mine) return;
  float up = cu_dot_own(sum);
  if (a.bias != nullptr) up += a.bias[neuron];
  up = cu_act_apply(a.act, p, up);
  a.y[at] = s != 0 ? s * up : 0; /* a closed gate is 0, whatever w holds */
}

template <int32_t T, bool VECTOR, int M, int R>
__global__ void __launch_bounds__(kThreads, M >= 4 ? 1 : 2) up_rows(cu_up a) {
  __shared__ uint32_t own[kDirectWords];
  __shared__ int32_t sums[CU_DOT_WARPS], list[kList], total;
  const int64_t f = a.needed.neurons, words = (f + CU_WARP - 1) / CU_WARP, groups = (a.needed.rows + M - 1) / M;
  const int warp = threadIdx.x / CU_WARP;
  const float p = static_cast<float>(a.p.get());
  const uint32_t *mask = cu_needed_mask<kThreads>(a.needed, own);

  const int64_t share = (words + kThreads - 1) / kThreads;
  part mine;
  mine.from = threadIdx.x * share;
  mine.to = mine.from + share < words ? mine.from + share : words;
  int32_t needed = 0;
  for (int64_t word = mine.from; word < mine.to; word++) needed += __popc(mask[word]);
  mine.end = cu_running_sum<kThreads>(needed, sums);
  mine.first = mine.end - needed;
  if (threadIdx.x == kThreads - 1) total = mine.end;
  __syncthreads();
  const bool all = cu_needed_all(a.needed, total);
  const int64_t n = all ? f : total;
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    *a.read = static_cast<int32_t>(n);
    if (a.dense != nullptr) *a.dense = all;
  }

  if (a.y != a.s && !all) { /* what is not listed is 0 */
    const int64_t elements = a.needed.rows * f;
    for (int64_t i = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x; i < elements;
         i += gridDim.x * static_cast<int64_t>(kThreads)) {
      const int64_t neuron = i % f;
      if ((mask[neuron / CU_WARP] >> (neuron % CU_WARP) & 1) == 0) a.y[i] = 0;
    }
  }

  const int64_t low = n * blockIdx.x / gridDim.x, high = n * (blockIdx.x + 1) / gridDim.x;
  for (int64_t from = low; from < high; from += kList) {
    const int64_t to = from + kList < high ? from + kList : high, listed = to - from;
    if (all) {
      if (threadIdx.x < listed) list[threadIdx.x] = static_cast<int32_t>(from + threadIdx.x);
    } else {
      list_needed(mine, mask, from, to, list);
    }
    __syncthreads();
    /* warps that work at a time share rows of x */
    const int64_t tasks = (listed + R - 1) / R;
    for (int64_t task = warp; task < tasks * groups; task += CU_DOT_WARPS) {
      const int64_t first = task % tasks * R;
      products<T, VECTOR, M, R>(a, list + first, listed - first, task / tasks, p);
      __syncwarp();
    }
    __syncthreads();
  }
}

template <int32_t T, bool VECTOR, int M, int R>
int32_t launch(const cr_ctx *ctx, const cu_up *job, credence_error *err) {
  /* as many blocks as run at a time, but no more than neurons, and one at least: it says how many rows are read */
  int64_t blocks = static_cast<int64_t>(ctx->multiprocessors) * (M >= 4 ? 1 : 2);
  if (blocks > job->needed.neurons) blocks = job->needed.neurons > 0 ? job->needed.neurons : 1;
  return cu_launch(ctx, err, up_rows<T, VECTOR, M, R>, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, *job);
}

}  // namespace

int32_t cu_up_run(const cr_ctx *ctx, const cu_up *job, credence_error *err) {
  const int64_t rows = job->needed.rows;
  const bool single = rows == 1 || job->d > CU_DOT_LONGEST;
  const bool vector = cu_is_vector(job->w, job->dtype, job->d) && cu_is_vector(job->x, CREDENCE_F32, job->d);
  return cu_stored_switch(job->dtype, [&](auto type) {
    constexpr int32_t T = decltype(type)::value;
    if (!vector) return single ? launch<T, false, 1, 1>(ctx, job, err) : launch<T, false, 8, 4>(ctx, job, err);
    if (single) return launch<T, true, 1, 1>(ctx, job, err);
    if (rows == 2) return launch<T, true, 2, 1>(ctx, job, err);
    return rows <= 4 ? launch<T, true, 4, 4>(ctx, job, err) : launch<T, true, 8, 4>(ctx, job, err);
  });
}

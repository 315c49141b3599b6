/* match_direct.cu: matches from every distance. See match.cuh. */
#include "match.cuh"

using cu_sq::key;
using cu_sq::kNone;
using cu_sq::kWarp;

namespace cu_match {
namespace {

constexpr int kFlat = 256;

unsigned grid_of(int64_t n) {
  const int64_t blocks = cu_blocks(n, kFlat);
  return static_cast<unsigned>(blocks < 4096 ? blocks : 4096);
}

__global__ void begin(found f, int64_t n) {
  for (int64_t i = blockIdx.x * static_cast<int64_t>(kFlat) + threadIdx.x; i < n; i += gridDim.x * kFlat) {
    f.nearest[i] = f.breaks[i] = kNone;
    f.count[i] = 0;
  }
}

/* What the rows of one support are to the queries of a scan. */
struct rows_of_support {
  const int32_t *prediction, *exclude, *class_of, *pick;
  int64_t base;

  __device__ int64_t query(int64_t i) const { return pick == nullptr ? i : pick[i]; }
  __device__ int32_t class_at(int64_t row, bool live) const { return live ? __ldg(class_of + row) : kRemoved; }
  __device__ bool there(int64_t query, int64_t row, int32_t class_of_row) const {
    return class_of_row != kRemoved && base + row != __ldg(exclude + query);
  }
  __device__ bool breaks(int64_t query, int32_t class_of_row) const {
    return class_of_row < 0 || class_of_row != __ldg(prediction + query);
  }
};

rows_of_support rows_of(const match &m, int32_t k, const int32_t *pick) {
  return {m.prediction, m.exclude, m.of[k].class_of, pick, m.of[k].base};
}

/* Finds the first rows, and keeps the distances where there is room for them. */
struct find_first {
  rows_of_support s;
  found f;
  float *distance; /* [n, rows], or none */
  int64_t rows;

  template <int Q>
  __device__ void operator()(const float (&total)[Q], int64_t first, int64_t n, int64_t row, bool live) const {
    const int32_t kind = s.class_at(row, live);
#pragma unroll
    for (int q = 0; q < Q; q++) {
      if (first + q >= n) continue;
      const int64_t query = s.query(first + q);
      const bool there = s.there(query, row, kind);
      const key at = there ? cu_sq::key_of(total[q], s.base + row) : kNone;
      cu_sq::lower_key(f.nearest + query, at);
      cu_sq::lower_key(f.breaks + query, there && s.breaks(query, kind) ? at : kNone);
      if (live && distance != nullptr) distance[query * rows + s.base + row] = total[q];
    }
  }
};

/* Counts the good rows before the one that breaks. */
struct count_good {
  rows_of_support s;
  found f;

  template <int Q>
  __device__ void operator()(const float (&total)[Q], int64_t first, int64_t n, int64_t row, bool live) const {
    const int32_t kind = s.class_at(row, live);
#pragma unroll
    for (int q = 0; q < Q; q++) {
      if (first + q >= n) continue;
      const int64_t query = s.query(first + q);
      const bool good = s.there(query, row, kind) && !s.breaks(query, kind) &&
                        cu_sq::key_of(total[q], s.base + row) < f.breaks[query];
      const unsigned all = __ballot_sync(kWarp, good);
      if (all != 0 && threadIdx.x % 32 == 0) atomicAdd(f.count + query, __popc(all));
    }
  }
};

/* The same from distances that were kept; one row of blocks for some queries. */
__global__ void __launch_bounds__(kFlat)
    count_kept(rows_of_support s, found f, const float *distance, int64_t rows, int64_t of_support, int64_t queries) {
  const int64_t step = gridDim.x * static_cast<int64_t>(kFlat), turns = (of_support + step - 1) / step;
  for (int64_t query = blockIdx.y; query < queries; query += gridDim.y) {
    const key end = f.breaks[query];
    int n = 0;
    for (int64_t turn = 0; turn < turns; turn++) {
      const int64_t row = turn * step + blockIdx.x * static_cast<int64_t>(kFlat) + threadIdx.x;
      const int32_t kind = s.class_at(row, row < of_support);
      n += s.there(query, row, kind) && !s.breaks(query, kind) &&
           cu_sq::key_of(distance[query * rows + s.base + row], s.base + row) < end;
    }
    for (int lanes = 16; lanes > 0; lanes /= 2) n += __shfl_xor_sync(kWarp, n, lanes);
    if (n > 0 && threadIdx.x % 32 == 0) atomicAdd(f.count + query, n);
  }
}

__global__ void finish(match m, found f, const int32_t *pick, const int32_t *picked) {
  const int64_t n = pick == nullptr ? m.x.n : *picked;
  for (int64_t i = blockIdx.x * static_cast<int64_t>(kFlat) + threadIdx.x; i < n; i += gridDim.x * kFlat) {
    const int64_t query = pick == nullptr ? i : pick[i];
    m.store(query, f.count[query], f.nearest[query]);
  }
}

/* The queries whose lists are given up, in their order. One block. */
__global__ void __launch_bounds__(kFlat) pick_rest(lists l, int64_t n) {
  __shared__ int before[kFlat / 32];
  int picked = 0;
  for (int64_t base = 0; base < n; base += kFlat) {
    const int64_t i = base + threadIdx.x;
    const bool over = i < n && l.over[i] != 0;
    const unsigned all = __ballot_sync(kWarp, over);
    if (threadIdx.x % 32 == 0) before[threadIdx.x / 32] = __popc(all);
    __syncthreads();
    int at = picked + __popc(all & ((1u << threadIdx.x % 32) - 1));
    for (int w = 0; w < kFlat / 32; w++) {
      if (w < static_cast<int>(threadIdx.x) / 32) at += before[w];
      picked += before[w];
    }
    if (over) l.pick[at] = static_cast<int32_t>(i);
    __syncthreads();
  }
  if (threadIdx.x == 0) *l.picked = picked;
}

}  // namespace

int32_t direct(const cr_ctx *ctx, const match &m, const found &f, float *distance, credence_error *err) {
  const int64_t n = m.x.n;
  int32_t status = cu_launch(ctx, err, begin, grid_of(n), kFlat, 0, f, n);
  for (int32_t k = 0; k < m.supports && status == CREDENCE_OK; k++)
    status = cu_sq::scan_all(ctx, m.x, m.of[k].y, m.d, find_first{rows_of(m, k, nullptr), f, distance, m.rows}, err);
  for (int32_t k = 0; k < m.supports && status == CREDENCE_OK; k++) {
    const dim3 grid(grid_of(cu_blocks(m.of[k].y.n, 8)), static_cast<unsigned>(n < 65535 ? n : 65535));
    status = cu_launch(ctx, err, count_kept, grid, dim3(kFlat), 0, rows_of(m, k, nullptr), f, distance, m.rows,
                       m.of[k].y.n, n);
  }
  if (status != CREDENCE_OK) return status;
  return cu_launch(ctx, err, finish, grid_of(n), kFlat, 0, m, f, nullptr, nullptr);
}

int32_t direct_rest(const cr_ctx *ctx, const match &m, const found &f, const lists &l, credence_error *err) {
  const cu_sq::queries rest = {m.x, l.pick, l.picked};
  int32_t status = cu_launch(ctx, err, pick_rest, 1, kFlat, 0, l, m.x.n);
  for (int32_t k = 0; k < m.supports && status == CREDENCE_OK; k++)
    status = cu_sq::enqueue<16>(ctx, rest, m.of[k].y, m.d, find_first{rows_of(m, k, l.pick), f, nullptr, m.rows}, err);
  for (int32_t k = 0; k < m.supports && status == CREDENCE_OK; k++)
    status = cu_sq::enqueue<16>(ctx, rest, m.of[k].y, m.d, count_good{rows_of(m, k, l.pick), f}, err);
  if (status != CREDENCE_OK) return status;
  return cu_launch(ctx, err, finish, grid_of(m.x.n), kFlat, 0, m, f, l.pick, l.picked);
}

}  // namespace cu_match

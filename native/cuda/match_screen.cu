/* match_screen.cu: lists of the rows that may count in a match, from matrix products. See match.cuh.
 *
 * With queries and rows moved by a common centre c, |x - y|^2 = |x - c|^2 + |y - c|^2 - 2 (x - c).(y - c). The product
 * of all queries with a chunk of the rows is cuBLAS's. A block looks through a query's part of it, a segment at a time;
 * other blocks of the same kernel move the rows of the next chunk to the centre meanwhile, so that a chunk is two
 * launches. Chunks are large so that these are few: what is read again here are 4 bytes for every 2 D operations, at
 * D = 256 a tenth of the product's time on an H200 even if they have left the second-level cache. The estimate is off
 * by no more than epsilon (|x - c|^2 + |y - c|^2), with u = 2^-24 and A that sum:
 *   - twice the product: in any order of summation D u |x||y| (Higham, Accuracy and Stability of Numerical Algorithms,
 *     2nd ed., section 3.1), and |x||y| <= A / 2, so D u A. With TF32 factors lose all but 10 bits of their fractions,
 *     by rounding or by truncation, 2^-10 each, so 2^-9 A, and sums may be truncated;
 *   - moving by c rounds every element once, so that the difference of the vectors is off by u (|x| + |y|):
 *     2 u (|x| + |y|)^2 <= 4 u A;
 *   - the squared lengths are sums of D / 32 terms in each of 32 lanes, and of 5 steps over the lanes;
 *   - the last few additions: 12 u A.
 * Products of roundings are covered by a tenth more, numbers that vanish by tiny. Rows whose lengths are near overflow
 * or not numbers are on every list; queries of that kind, and those whose lists overflow, are computed directly. */
#include "match.cuh"

using cu_sq::bits_of;
using cu_sq::kWarp;

namespace cu_match {

bounds bounds_of(int64_t d, bool tf32) {
  const double n = static_cast<double>(d), u = 0x1p-24;
  const double product = tf32 ? 0x1p-9 + 4 * n * u : n * u;
  /* subnormal numbers may be taken for 0: 2^-126 for every term of three sums */
  return {static_cast<float>(1.1 * (product + u * (4 + n / 32 + 8 + 12))),
          static_cast<float>(3 * cu_sq::relative_error(d) + 8 * u), static_cast<float>(1e-34 + 4e-38 * n)};
}

namespace {

constexpr int kSamples = 64, kGroups = kThreads / 32;
constexpr float kInfinity = static_cast<float>(1e39);

/* The mean of some rows; any centre is right. A block has 32 columns. */
__global__ void __launch_bounds__(kThreads) mean_of_samples(match m, float *centre) {
  __shared__ float part[kThreads];
  const int64_t column = blockIdx.x * static_cast<int64_t>(32) + threadIdx.x % 32;
  const int group = threadIdx.x / 32;
  float sum = 0;
#pragma unroll 4
  for (int i = group; i < kSamples; i += kGroups) {
    const int64_t number = m.rows * i / kSamples;
    const support &s = m.of[m.support_of(number)];
    if (column < m.d) sum += s.y.row(number - s.base)[column];
  }
  part[threadIdx.x] = sum;
  __syncthreads();
  if (group > 0) return;
  for (int g = 1; g < kGroups; g++) sum += part[g * 32 + threadIdx.x];
  const float mean = sum / kSamples;
  if (column < (m.d + 3) / 4 * 4) centre[column] = column < m.d && fabsf(mean) < kHuge ? mean : 0;
}

/* A row less the centre, by a warp; *norm is its squared length, NaN if that is not to be trusted. */
__device__ void move_row(const float *row, bool vector, int64_t d, const screening &s, float *to, float *norm) {
  const int lane = threadIdx.x % 32;
  float sum = 0;
  for (int64_t k = lane * 4; k < s.depth; k += 128) {
    float4 v = cu_sq::load4(row, k, d, vector);
    const float4 c = *reinterpret_cast<const float4 *>(s.centre + k);
    v = make_float4(v.x - c.x, v.y - c.y, v.z - c.z, v.w - c.w);
    sum = fmaf(v.x, v.x, sum);
    sum = fmaf(v.y, v.y, sum);
    sum = fmaf(v.z, v.z, sum);
    sum = fmaf(v.w, v.w, sum);
    *reinterpret_cast<float4 *>(to + k) = v;
  }
  for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(kWarp, sum, lanes);
  if (lane == 0) *norm = sum < kHuge ? sum : __int_as_float(0x7fc00000);
}

__global__ void __launch_bounds__(kThreads) begin_queries(match m, screening s, lists l, found f) {
  const int64_t i = (blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x) / 32;
  if (i >= m.x.n) return;
  move_row(m.x.row(i), m.x.vector, m.d, s, s.x + i * s.depth, s.norm + i);
  if (threadIdx.x % 32 != 0) return;
  l.n[i] = 0;
  l.limit[i] = kInfinity;
  l.over[i] = s.norm[i] != s.norm[i];
  f.nearest[i] = f.breaks[i] = cu_sq::kNone;
  f.count[i] = 0;
}

/* Some rows of all supports, and the side of the scratch that they are moved to. */
struct chunk {
  int64_t first;
  int32_t n;
  screening::rows to;
};

__device__ void begin_row(const match &m, const screening &s, const chunk &c, int64_t block) {
  const int64_t i = block * kGroups + threadIdx.x / 32;
  if (i >= c.n) return;
  const support &from = m.of[m.support_of(c.first + i)];
  const int64_t row = c.first + i - from.base;
  move_row(from.y.row(row), from.y.vector, m.d, s, c.to.y + i * s.depth, c.to.norm + i);
  if (threadIdx.x % 32 == 0) c.to.class_of[i] = from.class_of[row];
}

__global__ void __launch_bounds__(kThreads) begin_rows(match m, screening s, chunk c) {
  begin_row(m, s, c, blockIdx.x);
}

/* ---- lists ---- */

struct interval {
  float lo, hi;
};

/* What a block shares. */
struct board {
  unsigned least; /* the least upper end of a row that breaks, as bits */
  int n;          /* entries of the list */
  int bins[256], warp[kGroups];
  int bin;
  int64_t before;
};

/* The k-th smallest upper end of a list's good rows that count; Inf: there are fewer. Radix selection, eight bits at a
 * time: upper ends are not negative, so their bits are in order. */
__device__ float kth_upper_end(const float *lo, const float *hi, const uint32_t *row, int n, int64_t k, float limit,
                               board *b) {
  uint32_t found = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int i = threadIdx.x; i < 256; i += kThreads) b->bins[i] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += kThreads) {
      const uint32_t bits = bits_of(hi[i]);
      const bool counts = (row[i] & kBreaks) == 0 && lo[i] <= limit;
      if (counts && static_cast<uint64_t>(bits ^ found) >> (shift + 8) == 0)
        atomicAdd(&b->bins[bits >> shift & 255], 1);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      b->before = 0;
      for (b->bin = 0; b->bin < 256 && b->before + b->bins[b->bin] < k; b->bin++) b->before += b->bins[b->bin];
    }
    __syncthreads();
    if (b->bin == 256) return kInfinity;
    found |= static_cast<uint32_t>(b->bin) << shift;
    k -= b->before;
  }
  return __uint_as_float(found);
}

/* Drops what cannot count from a list of n entries: rows beyond the limit, which is lowered to where K good rows are
 * surely before. Returns how many are left; they stay in order. */
__device__ int cut(const lists &l, int64_t query, int n, int64_t k, const bounds &bounds, float *limit, board *b) {
  float *lo = l.lo + query * l.room, *hi = l.hi + query * l.room;
  uint32_t *row = l.row + query * l.room;
  *limit = fminf(*limit, bounds.reach(kth_upper_end(lo, hi, row, n, k, *limit, b)));
  int kept = 0;
  for (int base = 0; base < n; base += kThreads) {
    const int i = base + static_cast<int>(threadIdx.x), lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float from = 0, to = 0;
    uint32_t number = 0;
    if (i < n) from = lo[i], to = hi[i], number = row[i];
    const bool keep = i < n && from <= *limit;
    const unsigned all = __ballot_sync(kWarp, keep);
    if (lane == 0) b->warp[warp] = __popc(all);
    __syncthreads();
    int at = kept + __popc(all & ((1u << lane) - 1));
    for (int w = 0; w < kGroups; w++) {
      if (w < warp) at += b->warp[w];
      kept += b->warp[w];
    }
    if (keep) lo[at] = from, hi[at] = to, row[at] = number;
    __syncthreads();
  }
  return kept;
}

/* Looks through the products of a chunk: a block for each query; the blocks beyond begin the rows of the next chunk. */
__global__ void __launch_bounds__(kThreads) look_through(match m, screening s, lists l, chunk c, chunk next) {
  __shared__ board b;
  const int64_t i = blockIdx.x;
  if (i >= m.x.n) {
    begin_row(m, s, next, i - m.x.n);
    return;
  }
  const float *product = s.product + i * s.chunk;
  const float x = s.norm[i], down = x - s.b.epsilon * x - 2 * s.b.tiny, shrink = 1 - s.b.epsilon;
  const int64_t exclude = m.exclude[i];
  float limit = l.limit[i];
  int n = l.n[i];
  if (l.over[i] != 0) return;
  if (threadIdx.x == 0) b.least = bits_of(kInfinity), b.n = n;
  const int t = threadIdx.x;

  /* columns 4t and on of both halves of a segment, of which the next is on its way */
  float4 p[2], y[2];
  const auto load = [&](int from) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int at = from + h * (kSegment / 2) + t * 4;
      if (at >= c.n) continue;
      p[h] = *reinterpret_cast<const float4 *>(product + at);
      y[h] = *reinterpret_cast<const float4 *>(c.to.norm + at);
    }
  };
  p[0] = p[1] = y[0] = y[1] = make_float4(0, 0, 0, 0);
  load(0);
  for (int from = 0; from < c.n; from += kSegment) {
    float lo[kColumns] = {p[0].x, p[0].y, p[0].z, p[0].w, p[1].x, p[1].y, p[1].z, p[1].w};
    const float norm[kColumns] = {y[0].x, y[0].y, y[0].z, y[0].w, y[1].x, y[1].y, y[1].z, y[1].w};
    load(from + kSegment);
    const auto column = [&](int j) -> int { return from + j / 4 * (kSegment / 2) + t * 4 + j % 4; };
    unsigned near = 0;
#pragma unroll
    for (int j = 0; j < kColumns; j++) {
      lo[j] = fmaf(-2, lo[j], norm[j] * shrink) + down;
      if (!(lo[j] > limit) && column(j) < c.n) near |= 1u << j;
    }
    if (__syncthreads_or(near != 0) == 0) continue;

    /* A row that breaks lowers the limit, before this segment's rows go onto the list. */
    const auto interval_of = [&](int j) -> interval {
      if (lo[j] != lo[j]) return {0, lo[j]}; /* NaN is above all others, so such a row is always computed */
      const float width = 2 * (s.b.epsilon * (x + c.to.norm[column(j)]) + 2 * s.b.tiny);
      return {fmaxf(lo[j], 0), fmaxf(lo[j] + width, 0)};
    };
    unsigned breaks = 0;
#pragma unroll
    for (int j = 0; j < kColumns; j++) {
      if ((near >> j & 1) == 0) continue;
      const int32_t kind = c.to.class_of[column(j)];
      if (kind == kRemoved || c.first + column(j) == exclude) {
        near &= ~(1u << j);
      } else if (m.breaks(i, kind)) {
        breaks |= 1u << j;
        atomicMin(&b.least, bits_of(interval_of(j).hi));
      }
    }
    __syncthreads();
    limit = fminf(limit, s.b.reach(__uint_as_float(b.least)));
    if (n + (c.n - from < kSegment ? c.n - from : kSegment) > l.room) {
      n = cut(l, i, n, m.k, s.b, &limit, &b);
      const int most = l.room - kSegment;
      if (n > most - (most - m.k) / 2) { /* too many intervals overlap, as those of equal rows do */
        if (t == 0) l.over[i] = 1;
        return;
      }
      if (t == 0) b.n = n;
      __syncthreads();
    }
#pragma unroll
    for (int j = 0; j < kColumns; j++) {
      if ((near >> j & 1) == 0) continue;
      const interval d = interval_of(j);
      if (d.lo > limit) continue;
      const int64_t at = i * l.room + atomicAdd(&b.n, 1);
      l.lo[at] = d.lo;
      l.hi[at] = d.hi;
      l.row[at] = static_cast<uint32_t>(c.first + column(j)) | (breaks >> j & 1) * kBreaks;
    }
    __syncthreads();
    n = b.n;
  }
  if (t != 0) return;
  l.n[i] = n;
  l.limit[i] = limit;
}

}  // namespace

int32_t find_centre(const cr_ctx *ctx, const match &m, const screening &s, credence_error *err) {
  return cu_launch(ctx, err, mean_of_samples, static_cast<unsigned>(cu_blocks(s.depth, 32)), kThreads, 0, m, s.centre);
}

int32_t screen(const cr_ctx *ctx, const match &m, const screening &s, const lists &l, const found &f,
               credence_error *err) {
  const auto blocks = [](int64_t rows) { return static_cast<unsigned>(cu_blocks(rows, kGroups)); };
  int64_t at = 0;
  int side = 0;
  const auto next_chunk = [&]() -> chunk {
    const int64_t left = m.rows - at, n = left < s.chunk ? left : s.chunk, from = at;
    at += n, side = 1 - side;
    return {from, static_cast<int32_t>(n), s.side[side]};
  };
  chunk c = next_chunk();
  int32_t status = cu_launch(ctx, err, begin_queries, blocks(m.x.n), kThreads, 0, m, s, l, f);
  if (status == CREDENCE_OK) status = cu_launch(ctx, err, begin_rows, blocks(c.n), kThreads, 0, m, s, c);
  while (c.n > 0 && status == CREDENCE_OK) {
    cu_gemm g = {};
    g.a = s.x, g.b = c.to.y, g.y = s.product;
    g.m = m.x.n, g.n = c.n, g.k = g.lda = g.ldb = s.depth, g.ldy = s.chunk;
    g.batch = 1, g.transpose_b = true;
    status = cu_gemm_run(ctx, &g, err);
    const chunk next = next_chunk();
    const unsigned grid = static_cast<unsigned>(m.x.n) + blocks(next.n);
    if (status == CREDENCE_OK) status = cu_launch(ctx, err, look_through, grid, kThreads, 0, m, s, l, c, next);
    c = next;
  }
  return status;
}

}  // namespace cu_match

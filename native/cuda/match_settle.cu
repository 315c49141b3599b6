/* match_settle.cu: the results of screened matches from their lists. See match.cuh.
 *
 * A block has a query. The first row of all, and the first that breaks, are among the rows whose intervals reach down
 * to the least upper end of such a row: their distances are computed. Good rows whose intervals lie before the one that
 * breaks are counted, those behind are not, and the distances of the few between are computed as well. */
#include "match.cuh"

using cu_sq::bits_of;
using cu_sq::key;
using cu_sq::kNone;

namespace cu_match {
namespace {

constexpr int kInfinityBits = 0x7f800000;

struct board {
  unsigned nearest, breaks; /* least upper ends, as bits */
  key first, end;           /* the first row of all, and that breaks */
  int queue[kThreads], waiting;
  int64_t count;
};

/* Hands the rows that wait and their places in the order to use, four at a time in a warp. All threads take part. */
template <class Use>
__device__ void settle_waiting(const match &m, int64_t query, const uint32_t *row, const board &b, const Use &use) {
  const float *x = m.x.row(query);
  const int group = threadIdx.x % 32 / 8, warp = threadIdx.x / 32;
  for (int at = warp * 4; at < b.waiting; at += kThreads / 8) {
    const bool live = at + group < b.waiting;
    const uint32_t entry = row[b.queue[live ? at + group : at]];
    const int64_t number = entry & ~kBreaks;
    const support &s = m.of[m.support_of(number)];
    const float d = cu_sq::distance_by_eight(x, m.x.vector, s.y.row(number - s.base), s.y.vector, m.d);
    if (live && threadIdx.x % 8 == 0) use(cu_sq::key_of(d, number), (entry & kBreaks) != 0);
  }
}

__global__ void __launch_bounds__(kThreads) settle_query(match m, bounds bounds, lists l) {
  __shared__ board b;
  const int64_t query = blockIdx.x;
  if (l.over[query] != 0) return;
  const float *lo = l.lo + query * l.room, *hi = l.hi + query * l.room;
  const uint32_t *row = l.row + query * l.room;
  const int t = threadIdx.x, n = l.n[query];
  if (t == 0) {
    b.nearest = b.breaks = kInfinityBits;
    b.first = b.end = kNone;
    b.waiting = 0;
    b.count = 0;
  }
  __syncthreads();
  unsigned least = kInfinityBits, least_breaks = kInfinityBits;
  for (int i = t; i < n; i += kThreads) {
    const unsigned bits = bits_of(hi[i]);
    if (bits < least) least = bits;
    if (bits < least_breaks && (row[i] & kBreaks) != 0) least_breaks = bits;
  }
  atomicMin(&b.nearest, least);
  atomicMin(&b.breaks, least_breaks);
  __syncthreads();

  const float nearest = bounds.reach(__uint_as_float(b.nearest)), breaks = bounds.reach(__uint_as_float(b.breaks));
  for (int from = 0; from < n; from += kThreads) {
    const int i = from + t;
    if (i < n && (lo[i] <= nearest || ((row[i] & kBreaks) != 0 && lo[i] <= breaks)))
      b.queue[atomicAdd(&b.waiting, 1)] = i;
    __syncthreads();
    settle_waiting(m, query, row, b, [&](key at, bool breaks_it) {
      atomicMin(&b.first, at);
      if (breaks_it) atomicMin(&b.end, at);
    });
    __syncthreads();
    if (t == 0) b.waiting = 0;
    __syncthreads();
  }

  const key end = b.end;
  const uint32_t end_bits = static_cast<uint32_t>(end >> 32); /* without a row that breaks, beyond all distances */
  int64_t count = 0;
  for (int from = 0; from < n; from += kThreads) {
    const int i = from + t;
    if (i < n && (row[i] & kBreaks) == 0) {
      if (bits_of(bounds.reach(hi[i])) < end_bits)
        count++;
      else if (bits_of(fmaxf(lo[i] * (1 - bounds.canonical) - bounds.tiny, 0)) <= end_bits)
        b.queue[atomicAdd(&b.waiting, 1)] = i;
    }
    __syncthreads();
    settle_waiting(m, query, row, b, [&](key at, bool) { count += at < end; });
    __syncthreads();
    if (t == 0) b.waiting = 0;
    __syncthreads();
  }
  for (int lanes = 16; lanes > 0; lanes /= 2) count += __shfl_xor_sync(cu_sq::kWarp, count, lanes);
  if (t % 32 == 0) atomicAdd(reinterpret_cast<unsigned long long *>(&b.count), static_cast<unsigned long long>(count));
  __syncthreads();
  if (t == 0) m.store(query, b.count, b.first);
}

}  // namespace

int32_t settle(const cr_ctx *ctx, const match &m, const bounds &b, const lists &l, credence_error *err) {
  return cu_launch(ctx, err, settle_query, static_cast<unsigned>(m.x.n), kThreads, 0, m, b, l);
}

}  // namespace cu_match

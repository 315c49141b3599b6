/* reduce.cu: sums, means, extremes and sums of squares over any axes.
 *
 * Three ways, chosen by the shape:
 *   lanes    1 to 32 lanes for each output, several outputs per warp
 *   blocks   a block for each output, or for a piece of it where outputs are few
 *   columns  elements that stay are adjacent in memory: a block sums the rows of a strip of columns, or a part of them
 * What is in parts is finished by a second kernel. Each thread adds chains of at most kChain terms, in kWays chains at
 * a time, and adds those up in turn; then threads are joined as a tree. So the error grows with the length of what is
 * reduced divided by the threads and kChain, and the order depends on the shape only. */
#include "math.cuh"
#include "strided.cuh"

namespace {

constexpr int kWays = 4, kChain = 32;
constexpr int64_t kLanesMost = 2048;       /* lanes: elements of an output */
constexpr int64_t kMany = 1 << 16;         /* so many outputs fill a device with a thread each */
constexpr int64_t kBlocks = 512;           /* enough to fill a device; fewer are split */
constexpr int64_t kPiece = 8192;           /* blocks: a part is at least so many elements */
constexpr int64_t kRows = 128;             /* columns: a part is at least so many rows */
constexpr int64_t kStrip = 4 * CU_THREADS; /* columns: most columns of a block */

enum join { SUM, SQUARES, MAX, MIN };

/* Sums of squares that have been made are added. */
constexpr join after(join j) { return j == SQUARES ? SUM : j; }

/* ---- one number, or four that lie side by side ---- */

template <join J>
__device__ __forceinline__ float joined(float a, float b) {
  return J == MAX ? cu_max(a, b) : J == MIN ? cu_min(a, b) : a + b;
}

template <join J>
__device__ __forceinline__ float4 joined(float4 a, float4 b) {
  return make_float4(joined<J>(a.x, b.x), joined<J>(a.y, b.y), joined<J>(a.z, b.z), joined<J>(a.w, b.w));
}

template <join J>
__device__ __forceinline__ float term(float x) {
  return J == SQUARES ? x * x : x;
}

template <join J>
__device__ __forceinline__ float4 term(float4 x) {
  return make_float4(term<J>(x.x), term<J>(x.y), term<J>(x.z), term<J>(x.w));
}

template <join J, class V>
__device__ __forceinline__ V neutral() {
  const float x = J == MAX ? -INFINITY : J == MIN ? INFINITY : 0;
  if constexpr (sizeof(V) == 4)
    return x;
  else
    return make_float4(x, x, x, x);
}

template <join J>
__device__ __forceinline__ float folded(float x) {
  return x;
}

template <join J>
__device__ __forceinline__ float folded(float4 x) {
  return joined<J>(joined<J>(x.x, x.y), joined<J>(x.z, x.w));
}

/* ---- the work ---- */

struct work {
  const char *x;
  char *y;
  cu_nest<2> kept;    /* outputs: where their first element is, and where they go; of columns, without these */
  cu_nest<1> reduced; /* elements of an output, or groups of four */
  int64_t outputs, count;
  float divisor;                /* of the result; 1 but for means */
  int64_t part;                 /* elements of a part; blockIdx.y counts parts */
  float *parts;                 /* [output, part] or, of columns, [outer, part, column]; nullptr: there is one part */
  int32_t lanes;                /* threads side by side: of an output, or columns */
  int64_t columns, column_step; /* columns, or groups of four; how far apart the results of columns lie */
};

template <class V>
__device__ __forceinline__ V element(const work &w, const char *x, int64_t index) {
  int64_t at[1];
  cu_place(w.reduced, index, at);
  return *reinterpret_cast<const V *>(x + at[0]);
}

/* Joins elements first, first + stride ... before end. */
template <join J, class V>
__device__ __forceinline__ V chains(const work &w, const char *x, int64_t first, int64_t end, int64_t stride) {
  V total = neutral<J, V>();
  while (first < end) {
    V a[kWays];
#pragma unroll
    for (int k = 0; k < kWays; k++) a[k] = neutral<J, V>();
    for (int step = 0; step < kChain && first + (kWays - 1) * stride < end; step++, first += kWays * stride) {
      V v[kWays]; /* all are on their way before the first is needed */
#pragma unroll
      for (int k = 0; k < kWays; k++) v[k] = element<V>(w, x, first + k * stride);
#pragma unroll
      for (int k = 0; k < kWays; k++) a[k] = joined<J>(a[k], term<J>(v[k]));
    }
    if (first + (kWays - 1) * stride >= end) {
#pragma unroll
      for (int k = 0; k < kWays - 1; k++)
        if (first + k * stride < end) a[k] = joined<J>(a[k], term<J>(element<V>(w, x, first + k * stride)));
      first = end;
    }
    total = joined<J>(total, joined<J>(joined<J>(a[0], a[1]), joined<J>(a[2], a[3])));
  }
  return total;
}

/* Joins the values of groups of `lanes` neighbouring lanes; all lanes of the warp take part. */
template <join J>
__device__ __forceinline__ float across(float v, int lanes) {
  for (int d = lanes / 2; d > 0; d /= 2) v = joined<J>(v, __shfl_xor_sync(0xffffffffu, v, d));
  return v;
}

template <join J, class V>
__global__ void __launch_bounds__(CU_THREADS) reduce_lanes(const work w) {
  const int lane = threadIdx.x % w.lanes;
  const int64_t each = CU_THREADS / w.lanes, stride = gridDim.x * each;
  for (int64_t first = blockIdx.x * each; first < w.outputs; first += stride) { /* the same for all of a block */
    const int64_t o = first + threadIdx.x / w.lanes;
    int64_t at[2] = {0, 0};
    float v = neutral<J, float>();
    if (o < w.outputs) {
      cu_place(w.kept, o, at);
      v = folded<J>(chains<J, V>(w, w.x + at[0], lane, w.count, w.lanes));
    }
    v = across<J>(v, w.lanes);
    if (o < w.outputs && lane == 0) *reinterpret_cast<float *>(w.y + at[1]) = v / w.divisor;
  }
}

template <join J, class V>
__global__ void __launch_bounds__(CU_THREADS) reduce_blocks(const work w) {
  __shared__ float warps[CU_THREADS / 32];
  const int64_t start = blockIdx.y * w.part, end = start + w.part < w.count ? start + w.part : w.count;
  for (int64_t o = blockIdx.x; o < w.outputs; o += gridDim.x) {
    int64_t at[2];
    cu_place(w.kept, o, at);
    float v = across<J>(folded<J>(chains<J, V>(w, w.x + at[0], start + threadIdx.x, end, CU_THREADS)), 32);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x < 32) {
      v = across<J>(threadIdx.x < CU_THREADS / 32 ? warps[threadIdx.x] : neutral<J, float>(), CU_THREADS / 32);
      if (threadIdx.x == 0 && w.parts != nullptr) w.parts[o * gridDim.y + blockIdx.y] = v;
      if (threadIdx.x == 0 && w.parts == nullptr) *reinterpret_cast<float *>(w.y + at[1]) = v / w.divisor;
    }
    __syncthreads();
  }
}

/* A block is w.lanes columns, or groups of four, times blockDim.x / w.lanes rows, a power of two. */
template <join J, class V>
__global__ void __launch_bounds__(CU_THREADS) reduce_columns(const work w) {
  __shared__ V joins[CU_THREADS];
  const int lane = threadIdx.x % w.lanes, row = threadIdx.x / w.lanes, rows = blockDim.x / w.lanes;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * w.lanes + lane;
  const int64_t start = blockIdx.y * w.part, end = start + w.part < w.count ? start + w.part : w.count;
  for (int64_t o = blockIdx.z; o < w.outputs; o += gridDim.z) {
    int64_t at[2];
    cu_place(w.kept, o, at);
    const char *x = w.x + at[0] + column * static_cast<int64_t>(sizeof(V));
    joins[threadIdx.x] = column < w.columns ? chains<J, V>(w, x, start + row, end, rows) : neutral<J, V>();
    __syncthreads();
    for (int half = rows / 2; half > 0; half /= 2) {
      if (row < half) joins[threadIdx.x] = joined<J>(joins[threadIdx.x], joins[threadIdx.x + half * w.lanes]);
      __syncthreads();
    }
    if (row == 0 && column < w.columns) {
      const V v = joins[threadIdx.x];
      if (w.parts != nullptr) {
        reinterpret_cast<V *>(w.parts)[(o * gridDim.y + blockIdx.y) * w.columns + column] = v;
      } else if constexpr (sizeof(V) == 4) {
        *reinterpret_cast<float *>(w.y + at[1] + column * w.column_step) = v / w.divisor;
      } else {
        char *to = w.y + at[1] + 4 * column * w.column_step;
        *reinterpret_cast<float *>(to) = v.x / w.divisor;
        *reinterpret_cast<float *>(to + w.column_step) = v.y / w.divisor;
        *reinterpret_cast<float *>(to + 2 * w.column_step) = v.z / w.divisor;
        *reinterpret_cast<float *>(to + 3 * w.column_step) = v.w / w.divisor;
      }
    }
    __syncthreads();
  }
}

/* ---- the choice ---- */

/* The smallest power of two that is at least n, at most `most`. */
int32_t power_above(int64_t n, int64_t most) {
  int32_t p = 1;
  while (p < n && p < most) p *= 2;
  return p;
}

/* How many parts `count` makes for `units` blocks, and how long they are. */
int64_t divide(work *w, int64_t units, int64_t shortest) {
  const int64_t parts = cu_least(cu_blocks(kBlocks, units), cu_blocks(w->count, shortest));
  w->part = parts > 1 ? cu_blocks(w->count, parts) : w->count;
  return parts > 1 ? cu_blocks(w->count, w->part) : 1;
}

dim3 grid_of(int64_t x, int64_t y, int64_t z) {
  return dim3(static_cast<unsigned>(cu_least(x, INT32_MAX)), static_cast<unsigned>(y),
              static_cast<unsigned>(cu_least(z, 65535)));
}

/* Makes the elements of outputs groups of four, where they lie so. */
bool in_fours(work *w) {
  bool fours = w->reduced.step[0][0] == 4 && w->reduced.dim[0] % 4 == 0 && cu_nest_grouped(w->reduced, 0, w->x, 4, 16);
  for (int32_t k = 0; k < w->kept.axes; k++) fours = fours && w->kept.step[0][k] % 16 == 0;
  if (fours) w->count = cu_nest_group(&w->reduced, 4);
  return fours;
}

template <join J>
int32_t run_lanes(const cr_ctx *ctx, work w, int32_t lanes, credence_error *err) {
  w.lanes = lanes;
  const dim3 grid = grid_of(cu_blocks(w.outputs, CU_THREADS / lanes), 1, 1);
  return in_fours(&w) ? cu_launch(ctx, err, reduce_lanes<J, float4>, grid, CU_THREADS, 0, w)
                      : cu_launch(ctx, err, reduce_lanes<J, float>, grid, CU_THREADS, 0, w);
}

/* The elements of outputs are now `parts` in w.parts, `step` bytes apart, and outputs lie in their order, axis
 * `inner` (or none) within the parts. */
void take_parts(work *w, int64_t parts, int64_t step, int32_t inner) {
  int64_t stride = step * parts;
  for (int32_t k = 0; k < w->kept.axes; k++) {
    if (k == inner) continue;
    w->kept.step[0][k] = stride;
    stride *= w->kept.dim[k];
  }
  w->x = reinterpret_cast<const char *>(w->parts);
  w->parts = nullptr;
  w->count = parts;
  w->reduced = {};
  cu_nest_add(&w->reduced, parts, {step});
  cu_nest_close(&w->reduced);
}

template <join J>
int32_t run_blocks(const cr_ctx *ctx, work w, credence_error *err) {
  const work all = w;
  const bool fours = in_fours(&w);
  const int64_t parts = divide(&w, w.outputs, fours ? kPiece / 4 : kPiece);
  w.parts = parts > 1 ? reinterpret_cast<float *>(ctx->scratch) : nullptr;
  const dim3 grid = grid_of(w.outputs, parts, 1);
  const int32_t status = fours ? cu_launch(ctx, err, reduce_blocks<J, float4>, grid, CU_THREADS, 0, w)
                               : cu_launch(ctx, err, reduce_blocks<J, float>, grid, CU_THREADS, 0, w);
  if (status != CREDENCE_OK || parts == 1) return status;
  work rest = all;
  rest.parts = w.parts;
  take_parts(&rest, parts, 4, -1);
  return run_lanes<after(J)>(ctx, rest, 32, err);
}

/* inner: the axis of w.kept along which elements are adjacent. */
template <join J, bool SPLIT>
int32_t run_columns(const cr_ctx *ctx, const work &all, int32_t inner, credence_error *err) {
  work w = all;
  w.columns = all.kept.dim[inner];
  w.column_step = all.kept.step[1][inner];
  w.kept = {};
  bool fours = w.columns % 4 == 0 && cu_aligned(w.x, 16);
  for (int32_t k = 0; k < all.kept.axes; k++) {
    if (k == inner) continue;
    fours = fours && all.kept.step[0][k] % 16 == 0;
    cu_nest_add(&w.kept, all.kept.dim[k], {all.kept.step[0][k], all.kept.step[1][k]});
  }
  w.outputs = cu_nest_close(&w.kept);
  for (int32_t k = 0; k < w.reduced.axes; k++) fours = fours && w.reduced.step[0][k] % 16 == 0;
  if (fours) w.columns /= 4;
  w.lanes = power_above(w.columns, fours ? 8 : 32); /* 128 bytes */
  const int32_t rows = power_above(cu_blocks(w.count, kWays), CU_THREADS / w.lanes);
  w.lanes = power_above(w.columns, CU_THREADS / rows);
  const int64_t strips = cu_blocks(w.columns, w.lanes);
  w.part = w.count;
  const int64_t parts = SPLIT ? divide(&w, w.outputs * strips, kRows) : 1;
  w.parts = parts > 1 ? reinterpret_cast<float *>(ctx->scratch) : nullptr;
  const dim3 grid = grid_of(strips, parts, w.outputs), block(static_cast<unsigned>(w.lanes * rows));
  const int32_t status = fours ? cu_launch(ctx, err, reduce_columns<J, float4>, grid, block, 0, w)
                               : cu_launch(ctx, err, reduce_columns<J, float>, grid, block, 0, w);
  if constexpr (SPLIT) {
    if (status != CREDENCE_OK || parts == 1) return status;
    work rest = all;
    rest.parts = w.parts;
    take_parts(&rest, parts, 4 * all.kept.dim[inner], inner);
    return run_columns<after(J), false>(ctx, rest, inner, err);
  }
  return status;
}

template <join J>
int32_t reduce(const cr_ctx *ctx, const work &w, credence_error *err) {
  int32_t inner = -1;
  bool rows = false;
  for (int32_t k = 0; k < w.reduced.axes; k++) rows = rows || w.reduced.step[0][k] == 4;
  for (int32_t k = 0; k < w.kept.axes && !rows; k++)
    if (w.kept.step[0][k] == 4) inner = k;
  if (inner >= 0 && w.count > 2 * kWays && w.outputs < kMany) return run_columns<J, true>(ctx, w, inner, err);
  if (inner >= 0) return run_lanes<J>(ctx, w, 1, err);
  if (w.count <= kLanesMost && (w.count <= 256 || w.outputs >= kBlocks))
    return run_lanes<J>(ctx, w, power_above(cu_blocks(w.count, kWays), 32), err);
  return run_blocks<J>(ctx, w, err);
}

/* ---- ops ---- */

/* Axes from the one with the shortest step on, so that neighbouring indices lie near one another. */
template <int T>
void add_sorted(cu_nest<T> *nest, const cr_tensor *x, const cr_tensor *y, int64_t mask) {
  int32_t order[CREDENCE_MAX_DIMS], n = 0;
  for (int32_t k = x->ndim - 1; k >= 0; k--) {
    if (!(mask >> k & 1)) continue;
    int32_t j = n++;
    for (; j > 0 && cu_distance(x->stride[order[j - 1]]) > cu_distance(x->stride[k]); j--) order[j] = order[j - 1];
    order[j] = k;
  }
  for (int32_t i = 0; i < n; i++) {
    const int32_t k = order[i];
    if constexpr (T == 2)
      cu_nest_add(nest, x->dim[k], {x->stride[k], y->stride[k]});
    else
      cu_nest_add(nest, x->dim[k], {x->stride[k]});
  }
}

template <join J, bool MEAN>
int32_t run(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *x = &call->in[0], *y = &call->out[0];
  work w = {x->data, y->data, {}, {}, 0, 0, 1, 0, nullptr, 1, 0, 0};
  add_sorted(&w.kept, x, y, ~call->i[0]);
  add_sorted(&w.reduced, x, y, call->i[0]);
  w.outputs = cu_nest_close(&w.kept);
  w.count = cu_nest_close(&w.reduced);
  if (w.outputs == 0) return CREDENCE_OK;
  if (MEAN) w.divisor = static_cast<float>(w.count);
  return reduce<J>(ctx, w, err);
}

/* Parts: fewer than kBlocks units, of at most kStrip columns each, are split into fewer than twice as many. */
void scratch(const cr_call *, int32_t, cr_scratch *s) { s->shared = 2 * kBlocks * kStrip * sizeof(float); }

}  // namespace

#define ROW(NAME, JOIN, MEAN) \
  { CREDENCE_OP_REDUCE_##NAME, scratch, run<JOIN, MEAN>, 0, nullptr }
CU_FAMILY(reduce, ROW(SUM, SUM, false), ROW(MEAN, SUM, true), ROW(MAX, MAX, false), ROW(MIN, MIN, false),
          ROW(SUM_SQUARES, SQUARES, false))

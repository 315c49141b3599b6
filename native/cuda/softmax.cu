/* softmax.cu: softmax and its relatives along rows.
 *
 * Every op is the same three steps over a row: the maximum m (where exponentials are summed), a sum s, and a map that
 * knows both. Rows of up to kShort elements are held in registers, by some lanes of a warp. A block takes a longer row,
 * with m and s in one pass: when a larger maximum turns up, the sum so far is scaled (Milakov and Gimelshein, "Online
 * normalizer calculation for softmax", 2018); the map reads the row again, from the caches. Few or very long rows are
 * cut into parts for several blocks, which leave their m and s for a second kernel. NaN and Inf: ops/softmax.go says
 * what is right; they come out of the arithmetic, since -Inf - -Inf and Inf - Inf are NaN. */
#include "math.cuh"
#include "strided.cuh"

namespace {

enum kind { SOFTMAX, SOFTMAX_GRAD, LOG_SOFTMAX, LOG_SOFTMAX_GRAD, LOG_SUM_EXP, CROSS_ENTROPY, CROSS_ENTROPY_GRAD };

__host__ __device__ constexpr bool has_max(kind op) { return op != SOFTMAX_GRAD && op != LOG_SOFTMAX_GRAD; }
__host__ __device__ constexpr bool has_map(kind op) { return op != LOG_SUM_EXP && op != CROSS_ENTROPY; }
__host__ __device__ constexpr bool labelled(kind op) { return op == CROSS_ENTROPY || op == CROSS_ENTROPY_GRAD; }

constexpr int64_t kShort = 1024;
constexpr int64_t kMany = 512;                       /* so many rows fill a device */
constexpr int kLong = 1024;                          /* threads of a block that has few others beside it */
constexpr int64_t kFew = 64;                         /* fewer rows than this are cut into parts, */
constexpr int64_t kSplit = 1 << 16, kHuge = 1 << 20; /* if so long; rows so long always are */
constexpr int64_t kReported = 4096;                  /* so many labels cost a block less than another kernel would */
constexpr int64_t kPart = 1 << 14, kParts = 1024;    /* elements of a part, at least; parts of a row, at most */

struct stats {
  float m, s;
};

struct work {
  const float *x, *dy; /* dy: the gradient, of the rows or one number per row */
  const int32_t *label;
  float *y; /* rows, or one number per row */
  int64_t rows, n, part;
  int32_t parts;
  stats *partial; /* [row, part] */
  bool reports;   /* the kernel says what labels are wrong */
  cu_fault *fault;
  uint32_t op;
};

/* What the map needs besides elements. */
struct scalars {
  float m, a, b;
  int64_t label; /* -2: the op has none; -1: the row does not count */
};

/* The label of row r. One that names no class has been reported; it must only do no harm. */
__device__ __forceinline__ int64_t label_of(const work &w, int64_t r) {
  const int32_t label = w.label[r];
  return label < 0 || label >= w.n ? -1 : label;
}

/* Reports the first label that names no class, if there is one. All threads of one block call it. */
__device__ void report_labels(const work &w) {
  __shared__ int64_t first[kLong / 32];
  int64_t bad = w.rows;
#pragma unroll 8
  for (int64_t r = threadIdx.x; r < w.rows; r += blockDim.x)
    if ((w.label[r] < -1 || w.label[r] >= w.n) && r < bad) bad = r;
  for (int d = 16; d > 0; d /= 2) {
    const int64_t other = __shfl_xor_sync(0xffffffffu, static_cast<long long>(bad), d);
    if (other < bad) bad = other;
  }
  if (threadIdx.x % 32 == 0) first[threadIdx.x / 32] = bad;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (unsigned k = 1; k < blockDim.x / 32; k++)
    if (first[k] < bad) bad = first[k];
  if (bad < w.rows) cu_record(w.fault, w.op, CREDENCE_INVALID_ARGUMENT, bad, w.label[bad]);
}

/* The term that an element adds to the sum. */
template <kind OP>
__device__ __forceinline__ float term(float x, float dy, float m) {
  return OP == SOFTMAX_GRAD ? x * dy : OP == LOG_SOFTMAX_GRAD ? dy : cu_exp_negative(x - m);
}

template <kind OP>
__device__ __forceinline__ scalars scalars_of(const work &w, int64_t r, stats t) {
  scalars p = {t.m, t.s, 0, labelled(OP) ? label_of(w, r) : -2};
  if (OP == SOFTMAX || OP == CROSS_ENTROPY_GRAD) p.a = 1 / t.s;
  if (OP == LOG_SOFTMAX) p.b = cu_log(t.s);
  if (OP == CROSS_ENTROPY_GRAD) p.b = w.dy[r];
  return p;
}

/* Element k of a row; e is its term, where that is an exponential. */
template <kind OP>
__device__ __forceinline__ float mapped(const scalars &p, int64_t k, float x, float dy, float e) {
  switch (OP) {
    case SOFTMAX:
      return e * p.a;
    case SOFTMAX_GRAD:
      return x * (dy - p.a);
    case LOG_SOFTMAX:
      return (x - p.m) - p.b;
    case LOG_SOFTMAX_GRAD:
      return dy - cu_exp(x) * p.a;
    default: /* CROSS_ENTROPY_GRAD: the label's logit has a 1 less */
      return p.label == -1 ? 0 : k == p.label ? (e * p.a - 1) * p.b : e * p.a * p.b;
  }
}

/* The result of a row that is one number. */
template <kind OP>
__device__ __forceinline__ float result(const work &w, int64_t r, stats t) {
  if (OP == LOG_SUM_EXP) return t.m - t.m == 0 ? t.m + cu_log(t.s) : t.m; /* an infinite or NaN maximum is the result */
  const int64_t label = label_of(w, r);
  return label < 0 ? 0 : (t.m - w.x[r * w.n + label]) + cu_log(t.s);
}

/* ---- short rows: E elements for each of LANES lanes ---- */

template <kind OP, int LANES, int E>
__global__ void __launch_bounds__(CU_THREADS) short_rows(const work w) {
  constexpr int each = CU_THREADS / LANES;
  constexpr bool pairs = !has_max(OP);
  if (labelled(OP) && w.reports && blockIdx.x == 0) report_labels(w);
  const int lane = threadIdx.x % LANES, n = static_cast<int>(w.n);
  for (int64_t first = blockIdx.x * static_cast<int64_t>(each); first < w.rows;
       first += gridDim.x * static_cast<int64_t>(each)) { /* the same for all of a block */
    const int64_t r = first + threadIdx.x / LANES;
    const int end = r < w.rows ? n : 0;
    const float *at = w.x + r * n + lane, *dy_at = w.dy + r * n + lane;
    float x[E], dy[E], e[E];
    stats t = {-INFINITY, 0};
#pragma unroll
    for (int i = 0; i < E; i++) {
      const bool valid = lane + i * LANES < end;
      x[i] = valid ? at[i * LANES] : -INFINITY;
      dy[i] = pairs && valid ? dy_at[i * LANES] : 0;
    }
    if (has_max(OP)) {
#pragma unroll
      for (int i = 0; i < E; i++) t.m = cu_max(t.m, x[i]);
#pragma unroll
      for (int d = LANES / 2; d > 0; d /= 2) t.m = cu_max(t.m, __shfl_xor_sync(0xffffffffu, t.m, d));
    }
#pragma unroll
    for (int i = 0; i < E; i++) {
      e[i] = lane + i * LANES < end ? term<OP>(x[i], dy[i], t.m) : 0;
      t.s += e[i];
    }
#pragma unroll
    for (int d = LANES / 2; d > 0; d /= 2) t.s += __shfl_xor_sync(0xffffffffu, t.s, d);
    if (r >= w.rows) continue;
    if (!has_map(OP)) {
      if (lane == 0) w.y[r] = result<OP>(w, r, t);
      continue;
    }
    const scalars p = scalars_of<OP>(w, r, t);
#pragma unroll
    for (int i = 0; i < E; i++) {
      const int k = lane + i * LANES;
      if (k < end) w.y[r * n + k] = mapped<OP>(p, k, x[i], dy[i], e[i]);
    }
  }
}

/* ---- longer rows: a block for each, or for a part ---- */

/* The sums of both sides, relative to the larger maximum. A side of -Inf alone has the sum 0. */
template <kind OP>
__device__ __forceinline__ stats merged(stats a, stats b) {
  if (!has_max(OP)) return {0, a.s + b.s};
  const float m = cu_max(a.m, b.m);
  const float of_a = a.m == m ? 1 : cu_exp_negative(a.m - m), of_b = b.m == m ? 1 : cu_exp_negative(b.m - m);
  return {m, a.s * of_a + b.s * of_b};
}

template <kind OP>
__device__ __forceinline__ stats merged_lanes(stats t, int lanes) {
  for (int d = lanes / 2; d > 0; d /= 2)
    t = merged<OP>(t, {__shfl_xor_sync(0xffffffffu, t.m, d), __shfl_xor_sync(0xffffffffu, t.s, d)});
  return t;
}

template <kind OP>
__device__ __forceinline__ stats none() {
  return {has_max(OP) ? -INFINITY : 0.0f, 0};
}

/* Merges what the threads have; every thread gets the result. */
template <kind OP>
__device__ stats merged_block(stats t) {
  __shared__ stats warps[kLong / 32];
  t = merged_lanes<OP>(t, 32);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = t;
  __syncthreads();
  if (threadIdx.x < 32) {
    t = merged_lanes<OP>(threadIdx.x < blockDim.x / 32 ? warps[threadIdx.x] : none<OP>(), 32);
    if (threadIdx.x == 0) warps[0] = t;
  }
  __syncthreads();
  t = warps[0];
  __syncthreads(); /* before warps is used again */
  return t;
}

/* Element j of the four that this thread takes in round i: adjacent ones if FOURS, else each beside the next thread's.
 */
template <bool FOURS>
__device__ __forceinline__ int64_t index_of(int64_t i, int j) {
  return FOURS ? (i * blockDim.x + threadIdx.x) * 4 + j : (i * 4 + j) * blockDim.x + threadIdx.x;
}

template <bool FOURS>
__device__ __forceinline__ void load(const float *x, int64_t i, int64_t end, float other, float (&v)[4]) {
  if (FOURS && index_of<FOURS>(i, 0) < end) {
    const float4 four = *reinterpret_cast<const float4 *>(x + index_of<FOURS>(i, 0));
    v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
    return;
  }
#pragma unroll
  for (int j = 0; j < 4; j++) v[j] = !FOURS && index_of<FOURS>(i, j) < end ? x[index_of<FOURS>(i, j)] : other;
}

/* m and s of n elements, for this thread's part of them. */
template <kind OP, bool FOURS>
__device__ __forceinline__ stats stats_of(const float *x, const float *dy, int64_t n) {
  stats t = none<OP>();
  for (int64_t i = 0; i * 4 * blockDim.x < n; i++) {
    float v[4], d[4] = {0, 0, 0, 0}, e[4];
    load<FOURS>(x, i, n, has_max(OP) ? -INFINITY : 0, v);
    if (!has_max(OP)) load<FOURS>(dy, i, n, 0, d);
    if (has_max(OP)) {
      const float m = cu_max(cu_max(t.m, cu_max(v[0], v[1])), cu_max(v[2], v[3]));
      if (m == -INFINITY) continue; /* impossible classes so far: they add nothing to whatever comes */
      if (!(m == t.m)) t.s *= cu_exp_negative(t.m - m);
      t.m = m;
    }
#pragma unroll
    for (int j = 0; j < 4; j++) e[j] = term<OP>(v[j], d[j], t.m); /* 0 for what lies beyond, unless m is not finite */
    t.s += (e[0] + e[1]) + (e[2] + e[3]);
  }
  return t;
}

template <kind OP, bool FOURS>
__device__ __forceinline__ void map(const scalars &p, const float *x, const float *dy, float *y, int64_t start,
                                    int64_t n) {
  for (int64_t i = 0; i * 4 * blockDim.x < n; i++) {
    float v[4], d[4] = {0, 0, 0, 0};
    load<FOURS>(x, i, n, 0, v);
    if (!has_max(OP)) load<FOURS>(dy, i, n, 0, d);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const float e = OP == SOFTMAX || OP == CROSS_ENTROPY_GRAD ? cu_exp_negative(v[j] - p.m) : 0;
      v[j] = mapped<OP>(p, start + index_of<FOURS>(i, j), v[j], d[j], e);
    }
    if (FOURS) {
      if (index_of<FOURS>(i, 0) < n)
        *reinterpret_cast<float4 *>(y + index_of<FOURS>(i, 0)) = make_float4(v[0], v[1], v[2], v[3]);
    } else {
#pragma unroll
      for (int j = 0; j < 4; j++)
        if (index_of<FOURS>(i, j) < n) y[index_of<FOURS>(i, j)] = v[j];
    }
  }
}

enum pass { WHOLE, PARTS, FINISH };

/* WHOLE: a row. PARTS: m and s of part blockIdx.y of a row. FINISH: with those of all its parts, the map of that part,
 * or the row's result. */
template <kind OP, pass PASS, bool FOURS>
__global__ void __launch_bounds__(kLong) long_rows(const work w) {
  if (labelled(OP) && PASS != FINISH && w.reports && blockIdx.x == 0 && blockIdx.y == 0) report_labels(w);
  const int64_t start = blockIdx.y * w.part, left = w.n - start, n = left < w.part ? left : w.part;
  for (int64_t r = blockIdx.x; r < w.rows; r += gridDim.x) {
    const float *x = w.x + r * w.n + start, *dy = has_max(OP) ? nullptr : w.dy + r * w.n + start;
    stats t = none<OP>();
    if (PASS == FINISH) {
      for (int32_t p = threadIdx.x; p < w.parts; p += blockDim.x) t = merged<OP>(t, w.partial[r * w.parts + p]);
    } else {
      t = stats_of<OP, FOURS>(x, dy, n);
    }
    t = merged_block<OP>(t);
    if (PASS == PARTS) {
      if (threadIdx.x == 0) w.partial[r * w.parts + blockIdx.y] = t;
    } else if (has_map(OP)) {
      map<OP, FOURS>(scalars_of<OP>(w, r, t), x, dy, w.y + r * w.n + start, start, n);
    } else if (threadIdx.x == 0) {
      w.y[r] = result<OP>(w, r, t);
    }
  }
}

/* ---- ops ---- */

template <kind OP, int LANES, int E>
int32_t run_short(const cr_ctx *ctx, const work &w, credence_error *err) {
  return cu_launch(ctx, err, short_rows<OP, LANES, E>, cu_grid_of(cu_blocks(w.rows, CU_THREADS / LANES)), CU_THREADS, 0,
                   w);
}

template <kind OP, bool FOURS>
int32_t run_long(const cr_ctx *ctx, work w, credence_error *err) {
  const unsigned rows = static_cast<unsigned>(cu_least(w.rows, INT32_MAX));
  w.part = w.n;
  if (w.n < kSplit || (w.rows >= kFew && w.n < kHuge)) {
    const int threads = w.n > 4 * kLong && w.rows < kMany ? kLong : CU_THREADS;
    return cu_launch(ctx, err, long_rows<OP, WHOLE, FOURS>, dim3(rows), threads, 0, w);
  }
  w.parts = static_cast<int32_t>(cu_least(cu_blocks(w.n, kPart), kParts));
  w.part = cu_blocks(cu_blocks(w.n, w.parts), 4) * 4;
  w.parts = static_cast<int32_t>(cu_blocks(w.n, w.part));
  w.partial = reinterpret_cast<stats *>(ctx->scratch);
  const dim3 grid(rows, static_cast<unsigned>(w.parts));
  const int32_t status = cu_launch(ctx, err, long_rows<OP, PARTS, FOURS>, grid, CU_THREADS, 0, w);
  if (status != CREDENCE_OK) return status;
  return cu_launch(ctx, err, long_rows<OP, FINISH, FOURS>, has_map(OP) ? grid : dim3(rows), CU_THREADS, 0, w);
}

template <kind OP>
int32_t run(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *x = &call->in[0], *dy = &call->in[call->n_in - 1];
  const work w = {reinterpret_cast<const float *>(x->data),
                  reinterpret_cast<const float *>(dy->data),
                  labelled(OP) ? reinterpret_cast<const int32_t *>(call->in[1].data) : nullptr,
                  reinterpret_cast<float *>(call->out[0].data),
                  x->dim[0],
                  x->dim[1],
                  0,
                  1,
                  nullptr,
                  x->dim[0] <= kReported,
                  ctx->fault,
                  ctx->op};
  if (w.rows == 0) return CREDENCE_OK;
  if (labelled(OP) && !w.reports) {
    const int32_t status = cu_check_indices(ctx, w.label, w.rows, -1, w.n - 1, err);
    if (status != CREDENCE_OK) return status;
  }
  if (w.n <= 16) return run_short<OP, 4, 4>(ctx, w, err);
  if (w.n <= 32) return run_short<OP, 8, 4>(ctx, w, err);
  if (w.n <= 64) return run_short<OP, 16, 4>(ctx, w, err);
  if (w.n <= 128) return run_short<OP, 32, 4>(ctx, w, err);
  if (w.n <= 256) return run_short<OP, 32, 8>(ctx, w, err);
  if (w.n <= 512) return run_short<OP, 32, 16>(ctx, w, err);
  if (w.n <= kShort) return run_short<OP, 32, 32>(ctx, w, err);
  const bool fours = w.n % 4 == 0 && cu_aligned(w.x, 16) && (has_max(OP) || cu_aligned(w.dy, 16)) &&
                     (!has_map(OP) || cu_aligned(w.y, 16));
  return fours ? run_long<OP, true>(ctx, w, err) : run_long<OP, false>(ctx, w, err);
}

void scratch(const cr_call *call, int32_t, cr_scratch *s) {
  const cr_tensor *x = &call->in[0];
  if (x->dim[1] >= kSplit)
    s->shared = static_cast<size_t>(x->dim[0] * cu_least(cu_blocks(x->dim[1], kPart), kParts)) * sizeof(stats);
}

void explain(const cr_call *call, int64_t at, int64_t value, credence_error *err) {
  cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: label %lld of row %lld is outside -1 to %lld",
          call->n_in == 2 ? "cross_entropy" : "cross_entropy_grad", static_cast<long long>(value),
          static_cast<long long>(at), static_cast<long long>(call->in[0].dim[1]) - 1);
}

}  // namespace

#define ROW(NAME, EXPLAIN) \
  { CREDENCE_OP_##NAME, scratch, run<NAME>, 0, EXPLAIN }
CU_FAMILY(softmax, ROW(SOFTMAX, nullptr), ROW(SOFTMAX_GRAD, nullptr), ROW(LOG_SOFTMAX, nullptr),
          ROW(LOG_SOFTMAX_GRAD, nullptr), ROW(LOG_SUM_EXP, nullptr), ROW(CROSS_ENTROPY, explain),
          ROW(CROSS_ENTROPY_GRAD, explain))

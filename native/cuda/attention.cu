/* ATTENTION over a cache of keys and values, which WRITE_ROWS (rows.cu) fills.
 *
 * The heads of a group and of neighbouring rows of q share what they read: up to eight queries form a tile. Keys are
 * taken in chunks of kChunk rows of the cache, counted from its first row. A chunk gives each query the largest score,
 * the sum of exponentials and the weighted sum of values; chunks are then joined in order. So what a query computes
 * depends on its position alone: a row decoded alone has the bits it has in a prompt.
 *
 * A prompt has many tiles: a block takes one and walks through its chunks. A few rows over a long cache have not: there
 * each block takes one chunk, and a second kernel joins them. Grids cover the whole cache, since the position is known
 * on the device alone; what lies beyond it returns at once. */
#include "math.cuh"
#include "stored.cuh"

namespace {

constexpr int kThreads = 128, kWarp = 32, kWarps = kThreads / kWarp;
constexpr int kChunk = 64;
constexpr int kKeyLanes = 4;                    /* threads that share a key */
constexpr int kKeys = kThreads / kKeyLanes;     /* scored at a time */
constexpr int kPieces = 16;                     /* of the values, side by side */
constexpr int kValueLanes = kThreads / kPieces; /* threads that take turns with the values of a piece */
constexpr int kColumns = kPieces * CU_PIECE;
constexpr int kSplitRows = 8, kSplitChunks = 4; /* up to so many rows, from so many chunks on, chunks are spread */
constexpr int64_t kMostBlocks = 1 << 30;
constexpr int32_t kAny = 0; /* a type that is known when it runs: caches of two types */

typedef struct attention_job {
  const float *q;
  float *y;
  const char *k, *v;
  int32_t k_type, v_type;
  int64_t rows, heads, groups, d, capacity, chunks;
  cu_integer_value position;
  cu_scalar_value scale;
  float *part; /* [rows, heads, chunks, d + 2]: what a chunk gives: weighted values, largest score, exponentials */
  cu_fault *fault;
  uint32_t op;
} attention_job;

/* The position of the first row; below 0 after recording that it, or the last row's, lies outside the cache. */
__device__ int64_t position_of(const attention_job &a) {
  const int64_t position = a.position.get();
  if (position >= 0 && position <= a.capacity - a.rows) return position;
  if (blockIdx.x == 0 && threadIdx.x == 0) cu_record(a.fault, a.op, CREDENCE_INVALID_ARGUMENT, position, position);
  return -1;
}

/* ---- pieces of rows of the caches ---- */

__device__ __forceinline__ float element_of(int32_t type, const char *row, int64_t k) {
  if (type == CREDENCE_F16) return cu_element<CREDENCE_F16>(row, k);
  if (type == CREDENCE_BF16) return cu_element<CREDENCE_BF16>(row, k);
  return cu_element<CREDENCE_F32>(row, k);
}

/* Piece `piece` of a row of d elements, zeros beyond. */
template <int32_t T, bool VECTOR>
__device__ __forceinline__ void load_row(int32_t type, const char *row, int64_t piece, int64_t d,
                                         float (&v)[CU_PIECE]) {
  const int64_t left = d - piece * CU_PIECE;
  if constexpr (T == kAny) {
#pragma unroll
    for (int i = 0; i < CU_PIECE; i++) v[i] = i < left ? element_of(type, row, piece * CU_PIECE + i) : 0;
  } else {
    if (left >= CU_PIECE)
      cu_widen_piece<T>(cu_load_piece<T, VECTOR, false>(row, piece), v);
    else
      cu_widen_piece<T>(cu_load_rest<T>(row, piece, left), v);
  }
}

template <int32_t T>
__device__ __forceinline__ int64_t row_bytes(int32_t type, int64_t n) {
  return cu_row_bytes(T == kAny ? type : T, n);
}

/* ---- a chunk ---- */

/* The queries of a tile: the heads of a group, row by row. */
struct tile {
  int64_t group, first, queries; /* queries: from `first` on, of those of the group */
};

template <int Q>
struct chunk_space {
  float score[Q][kChunk];         /* scores, then exponentials */
  float largest[Q], total[Q];     /* of this chunk */
  float old_factor[Q], factor[Q]; /* joining: of what there was, of this chunk */
  float all_largest[Q], all_total[Q];
  float sum[kWarps][Q][kColumns];
};

/* How many keys of the chunk from `first` on query number i of a tile sees, at most kChunk; may be negative. */
__device__ __forceinline__ int64_t seen_by(const attention_job &a, const tile &t, int i, int64_t position,
                                           int64_t first) {
  const int64_t row = (t.first + i) / (a.heads / a.groups), n = position + row + 1 - first;
  return i >= t.queries ? 0 : n < kChunk ? n : kChunk;
}

/* Where query number i of a tile begins in q and y, in heads. */
__device__ __forceinline__ int64_t head_of(const attention_job &a, const tile &t, int i) {
  const int64_t heads = a.heads / a.groups, at = t.first + (i < t.queries ? i : 0);
  return at / heads * a.heads + t.group * heads + at % heads;
}

/* q . k for the keys of a chunk. Four lanes share a key: lane l adds pieces l, l + 4, ... */
template <int32_t T, bool VECTOR, int Q>
__device__ __forceinline__ void score_keys(const attention_job &a, const tile &t, int64_t first, int64_t keys,
                                           chunk_space<Q> *s) {
  const int64_t stride = row_bytes<T>(a.k_type, a.groups * a.d), pieces = (a.d + CU_PIECE - 1) / CU_PIECE;
  const int lane = threadIdx.x % kKeyLanes;
  for (int64_t from = 0; from < keys; from += kKeys) {
    const int64_t key = from + threadIdx.x / kKeyLanes;
    float sum[Q] = {};
    if (key < keys) {
      const char *row = a.k + (first + key) * stride + row_bytes<T>(a.k_type, t.group * a.d);
#pragma unroll 4
      for (int64_t p = lane; p < pieces; p += kKeyLanes) {
        float w[CU_PIECE];
        load_row<T, VECTOR>(a.k_type, row, p, a.d, w);
#pragma unroll
        for (int i = 0; i < Q; i++) {
          float x[CU_PIECE];
          load_row<CREDENCE_F32, VECTOR>(0, reinterpret_cast<const char *>(a.q + head_of(a, t, i) * a.d), p, a.d, x);
          sum[i] = cu_dot_piece(x, w, sum[i]);
        }
      }
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < Q; i++) {
      sum[i] += __shfl_xor_sync(0xffffffffu, sum[i], 1);
      sum[i] += __shfl_xor_sync(0xffffffffu, sum[i], 2);
      if (lane == i % kKeyLanes && key < keys) s->score[i][key] = sum[i];
    }
  }
}

/* The factors by which sums are joined, with which exponentials are relative to the largest score of both. */
__device__ __forceinline__ void join_factors(float old_largest, float largest, float *old_factor, float *factor,
                                             float *top) {
  *top = cu_max(old_largest, largest);
  const float shift = *top == -INFINITY ? 0 : *top;
  *old_factor = cu_exp_negative(old_largest - shift);
  *factor = cu_exp_negative(largest - shift);
}

__device__ __forceinline__ float join(float old_factor, float old_sum, float factor, float sum) {
  return fmaf(old_factor, old_sum, __fmul_rn(factor, sum));
}

/* Scores become exponentials, and a query's sums are joined to what it had. A warp for a query. */
template <int Q>
__device__ __forceinline__ void exponentials(const attention_job &a, const tile &t, int64_t position, int64_t first,
                                             float scale, chunk_space<Q> *s) {
  static_assert(kChunk == 2 * kWarp, "a lane has two keys");
  const int lane = threadIdx.x % kWarp;
  for (int i = threadIdx.x / kWarp; i < Q; i += kWarps) {
    const int64_t seen = seen_by(a, t, i, position, first);
    if (seen <= 0) continue;
    const bool low = lane < seen, high = lane + kWarp < seen;
    const float one = low ? scale * s->score[i][lane] : -INFINITY;
    const float other = high ? scale * s->score[i][lane + kWarp] : -INFINITY;
    float largest = cu_max(one, other);
#pragma unroll
    for (int step = kWarp / 2; step > 0; step /= 2)
      largest = cu_max(largest, __shfl_xor_sync(0xffffffffu, largest, step));
    const float shift = largest == -INFINITY ? 0 : largest;
    const float e = low ? cu_exp_negative(one - shift) : 0, f = high ? cu_exp_negative(other - shift) : 0;
    s->score[i][lane] = e;
    s->score[i][lane + kWarp] = f;
    float total = e + f;
#pragma unroll
    for (int step = kWarp / 2; step > 0; step /= 2) total += __shfl_xor_sync(0xffffffffu, total, step);
    if (lane == 0) {
      s->largest[i] = largest;
      s->total[i] = total;
      if (first == 0) {
        s->all_largest[i] = largest;
        s->all_total[i] = total;
      } else {
        float old_factor, factor, top;
        join_factors(s->all_largest[i], largest, &old_factor, &factor, &top);
        s->all_largest[i] = top;
        s->all_total[i] = join(old_factor, s->all_total[i], factor, total);
        s->old_factor[i] = old_factor;
        s->factor[i] = factor;
      }
    }
    __syncwarp();
  }
}

/* The weighted values of a chunk, kColumns at a time, for done(query, column, sum). Thread lane r of kValueLanes takes
 * keys r, r + kValueLanes, ...; the lanes are then added up as a tree. */
template <int32_t T, bool VECTOR, int Q, class F>
__device__ __forceinline__ void weigh_values(const attention_job &a, const tile &t, int64_t position, int64_t first,
                                             int64_t keys, chunk_space<Q> *s, F done) {
  const int64_t stride = row_bytes<T>(a.v_type, a.groups * a.d), pieces = (a.d + CU_PIECE - 1) / CU_PIECE;
  const int warp = threadIdx.x / kWarp, slot = threadIdx.x % kPieces;
  const char *rows = a.v + first * stride + row_bytes<T>(a.v_type, t.group * a.d);
  int32_t seen[Q];
#pragma unroll
  for (int i = 0; i < Q; i++) seen[i] = static_cast<int32_t>(seen_by(a, t, i, position, first));
  for (int64_t from = 0; from < pieces; from += kPieces) {
    const int64_t piece = from + slot;
    float acc[Q][CU_PIECE] = {};
    if (piece < pieces) {
#pragma unroll 4
      for (int64_t key = threadIdx.x / kPieces; key < keys; key += kValueLanes) {
        float v[CU_PIECE];
        load_row<T, VECTOR>(a.v_type, rows + key * stride, piece, a.d, v);
#pragma unroll
        for (int i = 0; i < Q; i++) {
          if (key >= seen[i]) continue; /* a value that is not seen may be NaN */
          const float e = s->score[i][key];
#pragma unroll
          for (int c = 0; c < CU_PIECE; c++) acc[i][c] = fmaf(e, v[c], acc[i][c]);
        }
      }
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < Q; i++)
#pragma unroll
      for (int c = 0; c < CU_PIECE; c++) {
        acc[i][c] += __shfl_xor_sync(0xffffffffu, acc[i][c], kPieces);
        if (threadIdx.x % kWarp < kPieces) s->sum[warp][i][slot * CU_PIECE + c] = acc[i][c];
      }
    __syncthreads();
    const int64_t column = from * CU_PIECE + threadIdx.x;
    if (column < a.d) {
      static_assert(kWarps == 4 && kColumns == kThreads, "a thread adds up a column");
      for (int i = 0; i < Q; i++)
        if (seen[i] > 0)
          done(i, column,
               (s->sum[0][i][threadIdx.x] + s->sum[1][i][threadIdx.x]) +
                   (s->sum[2][i][threadIdx.x] + s->sum[3][i][threadIdx.x]));
    }
    __syncthreads();
  }
}

/* Scores and exponentials of the chunk from `first` on; returns how many keys of it the tile sees. */
template <int32_t T, bool VECTOR, int Q>
__device__ __forceinline__ int64_t begin_chunk(const attention_job &a, const tile &t, int64_t position, int64_t first,
                                               float scale, chunk_space<Q> *s) {
  const int64_t keys = seen_by(a, t, static_cast<int>(t.queries) - 1, position, first);
  if (keys <= 0) return 0; /* for all threads */
  score_keys<T, VECTOR, Q>(a, t, first, keys, s);
  __syncthreads();
  exponentials<Q>(a, t, position, first, scale, s);
  __syncthreads();
  return keys;
}

template <int Q>
__device__ __forceinline__ tile tile_of(const attention_job &a, int64_t at) {
  const int64_t all = a.rows * (a.heads / a.groups), first = at / a.groups * Q;
  return {at % a.groups, first, all - first < Q ? all - first : Q};
}

/* A block for a tile. y holds the sums meanwhile: each of its elements is one thread's. */
template <int32_t T, bool VECTOR, int Q>
__global__ void __launch_bounds__(kThreads) attend(attention_job a) {
  __shared__ chunk_space<Q> s;
  const int64_t position = position_of(a);
  if (position < 0) return;
  const float scale = static_cast<float>(a.scale.get());
  const int64_t tiles = (a.rows * (a.heads / a.groups) + Q - 1) / Q * a.groups;
  for (int64_t at = blockIdx.x; at < tiles; at += gridDim.x) {
    const tile t = tile_of<Q>(a, at);
    for (int64_t first = 0;; first += kChunk) {
      const int64_t keys = begin_chunk<T, VECTOR, Q>(a, t, position, first, scale, &s);
      if (keys == 0) break;
      weigh_values<T, VECTOR, Q>(a, t, position, first, keys, &s, [&](int i, int64_t column, float sum) {
        float *y = a.y + head_of(a, t, i) * a.d + column;
        *y = first == 0 ? sum : join(s.old_factor[i], *y, s.factor[i], sum);
      });
    }
    for (int i = 0; i < t.queries; i++)
      for (int64_t column = threadIdx.x; column < a.d; column += kThreads)
        a.y[head_of(a, t, i) * a.d + column] /= s.all_total[i];
    __syncthreads();
  }
}

/* A block for a chunk of a tile. */
template <int32_t T, bool VECTOR, int Q>
__global__ void __launch_bounds__(kThreads) attend_chunk(attention_job a) {
  __shared__ chunk_space<Q> s;
  const int64_t position = position_of(a);
  if (position < 0) return;
  const float scale = static_cast<float>(a.scale.get());
  const int64_t tiles = (a.rows * (a.heads / a.groups) + Q - 1) / Q * a.groups;
  for (int64_t at = blockIdx.x; at < tiles * a.chunks; at += gridDim.x) {
    const tile t = tile_of<Q>(a, at % tiles);
    const int64_t chunk = at / tiles, first = chunk * kChunk;
    const int64_t keys = begin_chunk<T, VECTOR, Q>(a, t, position, first, scale, &s);
    if (keys == 0) continue;
    weigh_values<T, VECTOR, Q>(a, t, position, first, keys, &s, [&](int i, int64_t column, float sum) {
      a.part[(head_of(a, t, i) * a.chunks + chunk) * (a.d + 2) + column] = sum;
    });
    if (threadIdx.x < t.queries && seen_by(a, t, static_cast<int>(threadIdx.x), position, first) > 0) {
      float *part = a.part + (head_of(a, t, static_cast<int>(threadIdx.x)) * a.chunks + chunk) * (a.d + 2) + a.d;
      part[0] = s.largest[threadIdx.x];
      part[1] = s.total[threadIdx.x];
    }
    __syncthreads();
  }
}

/* A block for a head of a row: the chunks joined in order, as attend joins them. The largest score up to each chunk,
 * and with it the factors, are found for kThreads chunks at a time; then each thread joins a column. */
__global__ void __launch_bounds__(kThreads) join_chunks(attention_job a) {
  __shared__ float old_factors[kThreads], factors[kThreads], totals[kThreads], warps[kWarps], last;
  const int64_t position = position_of(a), stride = a.d + 2;
  if (position < 0) return;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  for (int64_t head = blockIdx.x; head < a.rows * a.heads; head += gridDim.x) {
    const float *part = a.part + head * a.chunks * stride;
    const int64_t chunks = (position + head / a.heads) / kChunk + 1;
    for (int64_t from = 0; from < a.d; from += kThreads) {
      const int64_t column = from + threadIdx.x;
      float sum = 0, total = 0, carried = -INFINITY; /* carried: the largest score of the chunks before these */
      for (int64_t at = 0; at < chunks; at += kThreads) {
        const int64_t some = chunks - at < kThreads ? chunks - at : kThreads, own = at + threadIdx.x;
        const float largest = threadIdx.x < some ? part[own * stride + a.d] : -INFINITY;
        float top = largest;
#pragma unroll
        for (int step = 1; step < kWarp; step *= 2) {
          const float before = __shfl_up_sync(0xffffffffu, top, step);
          if (lane >= step) top = cu_max(before, top);
        }
        if (lane == kWarp - 1) warps[warp] = top;
        float before = __shfl_up_sync(0xffffffffu, top, 1);
        if (lane == 0) before = -INFINITY;
        __syncthreads();
        float below = carried;
        for (int i = 0; i < warp; i++) below = cu_max(below, warps[i]);
        join_factors(cu_max(below, before), largest, &old_factors[threadIdx.x], &factors[threadIdx.x], &top);
        if (threadIdx.x < some) totals[threadIdx.x] = part[own * stride + a.d + 1];
        if (threadIdx.x == kThreads - 1) last = top;
        __syncthreads();
        carried = last;
#pragma unroll 8
        for (int i = 0; i < some; i++) {
          const float value = column < a.d ? part[(at + i) * stride + column] : 0;
          const bool first = at + i == 0;
          sum = first ? value : join(old_factors[i], sum, factors[i], value);
          total = first ? totals[i] : join(old_factors[i], total, factors[i], totals[i]);
        }
        __syncthreads();
      }
      if (column < a.d) a.y[head * a.d + column] = sum / total;
    }
  }
}

int64_t chunks_of(const cr_tensor *k) { return cu_blocks(k->dim[0], kChunk); }

template <int32_t T, bool VECTOR, int Q>
int32_t launch(const cr_ctx *ctx, const attention_job &job, bool split, credence_error *err) {
  int64_t blocks = cu_blocks(job.rows * (job.heads / job.groups), Q) * job.groups;
  if (split) blocks *= job.chunks;
  if (blocks == 0) blocks = 1; /* a position outside the cache is an error even so */
  const dim3 grid(static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks));
  return cu_launch(ctx, err, split ? attend_chunk<T, VECTOR, Q> : attend<T, VECTOR, Q>, grid, dim3(kThreads), 0, job);
}

template <int32_t T>
int32_t launch_vector(const cr_ctx *ctx, const attention_job &job, bool split, credence_error *err) {
  const int64_t queries = job.rows * (job.heads / job.groups);
  if (queries <= 1) return launch<T, true, 1>(ctx, job, split, err);
  if (queries <= 2) return launch<T, true, 2>(ctx, job, split, err);
  return queries <= 4 ? launch<T, true, 4>(ctx, job, split, err) : launch<T, true, 8>(ctx, job, split, err);
}

void attention_scratch(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  const cr_tensor *q = &call->in[0];
  const int64_t rows = q->dim[0] < kSplitRows ? q->dim[0] : kSplitRows, chunks = chunks_of(&call->in[1]);
  if (chunks >= kSplitChunks)
    scratch->shared = static_cast<size_t>(rows * q->dim[1] * chunks * (q->dim[2] + 2)) * sizeof(float);
}

int32_t run_attention(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *q = &call->in[0], *k = &call->in[1], *v = &call->in[2];
  attention_job job = {};
  job.q = reinterpret_cast<const float *>(q->data);
  job.y = reinterpret_cast<float *>(call->out[0].data);
  job.k = k->data;
  job.v = v->data;
  job.k_type = k->dtype;
  job.v_type = v->dtype;
  job.rows = q->dim[0];
  job.heads = q->dim[1];
  job.groups = k->dim[1];
  job.d = q->dim[2];
  job.capacity = k->dim[0];
  job.chunks = chunks_of(k);
  job.position = cu_integer(ctx, 0);
  job.scale = cu_scalar(ctx, 0);
  job.part = reinterpret_cast<float *>(ctx->scratch);
  job.fault = ctx->fault;
  job.op = ctx->op;
  const bool split = job.rows <= kSplitRows && job.chunks >= kSplitChunks;
  const bool vector = cu_is_vector(k->data, k->dtype, job.d) && cu_is_vector(v->data, v->dtype, job.d) &&
                      cu_is_vector(job.q, CREDENCE_F32, job.d);
  int32_t status;
  if (k->dtype != v->dtype)
    status = launch<kAny, false, 8>(ctx, job, split, err);
  else if (k->dtype == CREDENCE_F16)
    status = vector ? launch_vector<CREDENCE_F16>(ctx, job, split, err)
                    : launch<CREDENCE_F16, false, 8>(ctx, job, split, err);
  else if (k->dtype == CREDENCE_BF16)
    status = vector ? launch_vector<CREDENCE_BF16>(ctx, job, split, err)
                    : launch<CREDENCE_BF16, false, 8>(ctx, job, split, err);
  else
    status = vector ? launch_vector<CREDENCE_F32>(ctx, job, split, err)
                    : launch<CREDENCE_F32, false, 8>(ctx, job, split, err);
  if (status != CREDENCE_OK || !split) return status;
  const int64_t blocks = job.rows * job.heads;
  return cu_launch(ctx, err, join_chunks, dim3(static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks)),
                   dim3(kThreads), 0, job);
}

void explain_attention(const cr_call *call, int64_t at, int64_t value, credence_error *err) {
  (void)at;
  const int64_t last = value + call->in[0].dim[0] - 1;
  cr_fail(err, CREDENCE_INVALID_ARGUMENT, "attention: positions %lld to %lld with a cache of %lld rows",
          static_cast<long long>(value), static_cast<long long>(last), static_cast<long long>(call->in[1].dim[0]));
}

}  // namespace

/* The position, attribute 0, is read on the device. */
CU_FAMILY(attention, {CREDENCE_OP_ATTENTION, attention_scratch, run_attention, 1, explain_attention})

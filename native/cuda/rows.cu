/* rows.cu: rows of a table picked by index, added back, and written over. Every index is checked before any row is
 * touched. */
#include "stored.cuh"

namespace {

constexpr int kThreads = 256;
constexpr int kFew = 1024; /* indices that a block checks by itself, so that one launch is enough */
constexpr int64_t kMostBlocks = 1 << 30;

unsigned capped(int64_t blocks) { return static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks); }

const int32_t *indices(const cr_tensor *t) { return reinterpret_cast<const int32_t *>(t->data); }

void explain_index(const char *op, int64_t rows, int64_t at, int64_t value, credence_error *err) {
  if (rows == 0)
    cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: index[%lld] is %d, but the table is empty", op,
            static_cast<long long>(at), static_cast<int>(value));
  else
    cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: index[%lld] is %d, outside 0 to %lld", op, static_cast<long long>(at),
            static_cast<int>(value), static_cast<long long>(rows) - 1);
}

/* ---- gather ---- */

typedef struct gather_job {
  const char *table;
  const int32_t *index;
  float *y;
  int64_t n, d, v;
  cu_fault *fault;
  uint32_t op;
} gather_job;

/* Whether all indices are right; few: they have not been checked yet. The same answer for all threads of a block. */
__device__ bool right(const gather_job &a, bool few) {
  if (!few) return !cu_faulty(a.fault);
  bool wrong = false;
  for (int64_t i = threadIdx.x; i < a.n; i += kThreads) wrong |= a.index[i] < 0 || a.index[i] >= a.v;
  if (!__syncthreads_or(wrong)) return true;
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    int64_t first = 0;
    while (a.index[first] >= 0 && a.index[first] < a.v) first++;
    cu_record(a.fault, a.op, CREDENCE_INVALID_ARGUMENT, first, a.index[first]);
  }
  return false;
}

/* A thread for a piece of a row. */
template <int32_t T, bool VECTOR>
__global__ void __launch_bounds__(kThreads) gather(gather_job a, bool few) {
  if (!right(a, few)) return;
  const int64_t row_bytes = cu_row_bytes(T, a.d), pieces = (a.d + CU_PIECE - 1) / CU_PIECE;
  for (int64_t i = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x; i < a.n * pieces;
       i += gridDim.x * static_cast<int64_t>(kThreads)) {
    const int64_t row = i / pieces, piece = i % pieces, left = a.d - piece * CU_PIECE;
    const char *from = a.table + a.index[row] * row_bytes;
    float *to = a.y + row * a.d + piece * CU_PIECE;
    float v[CU_PIECE];
    if (left >= CU_PIECE)
      cu_widen_piece<T>(cu_load_piece<T, VECTOR, false>(from, piece), v);
    else
      cu_widen_piece<T>(cu_load_rest<T>(from, piece, left), v);
    if (VECTOR && left >= CU_PIECE) {
      reinterpret_cast<float4 *>(to)[0] = make_float4(v[0], v[1], v[2], v[3]);
      reinterpret_cast<float4 *>(to)[1] = make_float4(v[4], v[5], v[6], v[7]);
    } else {
#pragma unroll
      for (int k = 0; k < CU_PIECE; k++)
        if (k < left) to[k] = v[k];
    }
  }
}

int32_t run_gather(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *table = &call->in[0], *index = &call->in[1];
  const gather_job job = {table->data,   indices(index), reinterpret_cast<float *>(call->out[0].data),
                          index->dim[0], table->dim[1],  table->dim[0],
                          ctx->fault,    ctx->op};
  if (job.n == 0) return CREDENCE_OK;
  const bool few = job.n <= kFew;
  if (!few) {
    const int32_t status = cu_check_indices(ctx, job.index, job.n, 0, job.v - 1, err);
    if (status != CREDENCE_OK || job.d == 0) return status;
  }
  const bool vector = cu_is_vector(table->data, table->dtype, job.d) && cu_is_vector(job.y, CREDENCE_F32, job.d);
  const int64_t blocks = cu_blocks(job.n * cu_blocks(job.d, CU_PIECE), kThreads);
  const dim3 grid(capped(blocks > 0 ? blocks : 1));
  return cu_stored_switch(table->dtype, [&](auto type) {
    constexpr int32_t T = decltype(type)::value;
    return cu_launch(ctx, err, vector ? gather<T, true> : gather<T, false>, grid, dim3(kThreads), 0, job, few);
  });
}

void explain_gather(const cr_call *call, int64_t at, int64_t value, credence_error *err) {
  explain_index("gather_rows", call->in[0].dim[0], at, value, err);
}

/* ---- scatter ---- */

/* A block for each index. If it is the first of its value it adds up all rows of that value, in order, a thread to a
 * column; so each element is summed by one thread, n ascending. */
__global__ void __launch_bounds__(kThreads)
    scatter_add(const float *rows, const int32_t *index, float *table, int64_t n, int64_t d, const cu_fault *fault) {
  __shared__ int32_t found[kThreads], counts[kThreads / 32];
  if (cu_faulty(fault)) return;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int64_t own = blockIdx.x; own < n; own += gridDim.x) {
    const int32_t value = index[own];
    bool earlier = false;
    for (int64_t i = threadIdx.x; i < own && !earlier; i += kThreads) earlier = index[i] == value;
    if (__syncthreads_or(earlier)) continue;
    for (int64_t from = own; from < n; from += kThreads) {
      const bool equal = from + threadIdx.x < n && index[from + threadIdx.x] == value;
      const uint32_t lanes = __ballot_sync(0xffffffffu, equal);
      if (lane == 0) counts[warp] = __popc(lanes);
      __syncthreads();
      int32_t place = __popc(lanes & ((1u << lane) - 1)), total = 0;
      for (int i = 0; i < kThreads / 32; i++) {
        if (i < warp) place += counts[i];
        total += counts[i];
      }
      if (equal) found[place] = static_cast<int32_t>(threadIdx.x);
      __syncthreads();
      for (int64_t k = threadIdx.x; k < d && total > 0; k += kThreads) {
        float sum = table[value * d + k];
        for (int32_t i = 0; i < total; i++) sum += rows[(from + found[i]) * d + k];
        table[value * d + k] = sum;
      }
      __syncthreads();
    }
  }
}

int32_t run_scatter(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *table = &call->inout[0], *index = &call->in[1];
  const int64_t n = index->dim[0], d = table->dim[1];
  const int32_t status = cu_check_indices(ctx, indices(index), n, 0, table->dim[0] - 1, err);
  if (status != CREDENCE_OK || d == 0) return status;
  return cu_launch(ctx, err, scatter_add, dim3(capped(n)), dim3(kThreads), 0,
                   reinterpret_cast<const float *>(call->in[0].data), indices(index),
                   reinterpret_cast<float *>(table->data), n, d, ctx->fault);
}

void explain_scatter(const cr_call *call, int64_t at, int64_t value, credence_error *err) {
  explain_index("scatter_add_rows", call->inout[0].dim[0], at, value, err);
}

/* ---- write ---- */

typedef struct write_job {
  const float *rows;
  char *table;
  int64_t n, capacity, elements; /* rows given, rows of the table, elements of a row */
  cu_integer_value row;
  cu_fault *fault;
  uint32_t op;
} write_job;

/* Eight elements, which begin at multiples of 16 bytes. */
template <int32_t T>
__device__ __forceinline__ void write_piece(const float *rows, char *to, int64_t i) {
  const float4 *from = reinterpret_cast<const float4 *>(rows) + 2 * i;
  const float4 low = __ldg(from), high = __ldg(from + 1);
  const float v[CU_PIECE] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
  if constexpr (T == CREDENCE_F32) {
    reinterpret_cast<float4 *>(to)[2 * i] = low;
    reinterpret_cast<float4 *>(to)[2 * i + 1] = high;
  } else {
    uint32_t pairs[CU_PIECE / 2];
#pragma unroll
    for (int k = 0; k < CU_PIECE / 2; k++) {
      const float one = v[2 * k], other = v[2 * k + 1];
      if constexpr (T == CREDENCE_F16)
        pairs[k] = cu_f32_to_f16(one) | static_cast<uint32_t>(cu_f32_to_f16(other)) << 16;
      else
        pairs[k] = cu_f32_to_bf16(one) | static_cast<uint32_t>(cu_f32_to_bf16(other)) << 16;
    }
    reinterpret_cast<uint4 *>(to)[i] = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
  }
}

/* A thread for eight elements, or for one. */
template <int32_t T, bool VECTOR>
__global__ void __launch_bounds__(kThreads) write_rows(write_job a) {
  const int64_t row = a.row.get(), all = a.n * a.elements;
  if (cu_faulty(a.fault)) return;
  if (row < 0 || row > a.capacity - a.n) {
    if (blockIdx.x == 0 && threadIdx.x == 0) cu_record(a.fault, a.op, CREDENCE_INVALID_ARGUMENT, row, row);
    return;
  }
  char *to = a.table + cu_row_bytes(T, row * a.elements);
  const int64_t step = gridDim.x * static_cast<int64_t>(kThreads);
  for (int64_t i = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x; i < (VECTOR ? all / CU_PIECE : all);
       i += step) {
    if constexpr (VECTOR)
      write_piece<T>(a.rows, to, i);
    else
      cu_set_element<T>(to, i, a.rows[i]);
  }
}

template <int32_t T>
int32_t launch_write(const cr_ctx *ctx, const write_job &job, credence_error *err) {
  const int64_t all = job.n * job.elements;
  const bool vector = all % CU_PIECE == 0 && cu_is_vector(job.table, T, job.elements) &&
                      reinterpret_cast<uintptr_t>(job.rows) % 16 == 0;
  int64_t blocks = cu_blocks(vector ? all / CU_PIECE : all, kThreads);
  if (blocks == 0) blocks = 1; /* rows outside the table are an error even so */
  return cu_launch(ctx, err, vector ? write_rows<T, true> : write_rows<T, false>, dim3(capped(blocks)), dim3(kThreads),
                   0, job);
}

int32_t run_write(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *rows = &call->in[0], *table = &call->inout[0];
  int64_t elements = 1;
  for (int32_t k = 1; k < rows->ndim; k++) elements *= rows->dim[k];
  const write_job job = {reinterpret_cast<const float *>(rows->data),
                         table->data,
                         rows->dim[0],
                         table->dim[0],
                         elements,
                         cu_integer(ctx, 0),
                         ctx->fault,
                         ctx->op};
  if (table->dtype == CREDENCE_F16) return launch_write<CREDENCE_F16>(ctx, job, err);
  if (table->dtype == CREDENCE_BF16) return launch_write<CREDENCE_BF16>(ctx, job, err);
  return launch_write<CREDENCE_F32>(ctx, job, err);
}

void explain_write(const cr_call *call, int64_t at, int64_t value, credence_error *err) {
  (void)at;
  const int64_t last = value + call->in[0].dim[0] - 1;
  cr_fail(err, CREDENCE_INVALID_ARGUMENT, "write_rows: rows %lld to %lld are written to a table of %lld",
          static_cast<long long>(value), static_cast<long long>(last), static_cast<long long>(call->inout[0].dim[0]));
}

}  // namespace

/* The row of WRITE_ROWS, attribute 0, is read on the device. */
CU_FAMILY(rows, {CREDENCE_OP_GATHER_ROWS, nullptr, run_gather, 0, explain_gather},
          {CREDENCE_OP_SCATTER_ADD_ROWS, nullptr, run_scatter, 0, explain_scatter},
          {CREDENCE_OP_WRITE_ROWS, nullptr, run_write, 1, explain_write})

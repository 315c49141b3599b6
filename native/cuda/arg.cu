/* arg.cu: where the largest and the smallest element of a row are. NaN is passed over; the first of equals wins.
 *
 * An element and its place are one integer that grows with the element and then falls with the place, so that the
 * greatest integer is the answer, in whatever order they are compared. */
#include "strided.cuh"

namespace {

constexpr int kWays = 4;
constexpr int64_t kLanesMost = 2048, kBlocks = 512, kPiece = 8192; /* as reduce.cu chooses */

struct work {
  const float *x;
  int32_t *y;
  int64_t rows, n;
  int64_t part;    /* elements of a part of a row; blockIdx.y counts parts */
  uint64_t *parts; /* [row, part]; nullptr: there is one part */
  int32_t lanes;   /* of a row */
};

/* 0: none, which is less than all others. */
template <bool LARGEST>
__device__ __forceinline__ uint64_t key_of(float x, int64_t at) {
  if (x != x) return 0;
  uint32_t bits = __float_as_uint(x + 0.0f); /* -0 is 0 */
  bits = bits >> 31 ? ~bits : bits | 0x80000000u;
  return static_cast<uint64_t>(LARGEST ? bits : ~bits) << 32 | ~static_cast<uint32_t>(at);
}

__device__ __forceinline__ int32_t place_of(uint64_t key) {
  return key == 0 ? 0 : static_cast<int32_t>(~static_cast<uint32_t>(key));
}

__device__ __forceinline__ uint64_t greater(uint64_t a, uint64_t b) { return a > b ? a : b; }

__device__ __forceinline__ uint64_t across(uint64_t key, int lanes) {
  for (int d = lanes / 2; d > 0; d /= 2)
    key = greater(key, __shfl_xor_sync(0xffffffffu, static_cast<unsigned long long>(key), d));
  return key;
}

template <bool LARGEST>
__device__ __forceinline__ uint64_t best(const float *x, int64_t first, int64_t end, int64_t stride) {
  uint64_t key = 0;
  for (; first < end; first += kWays * stride) {
    float v[kWays];
#pragma unroll
    for (int k = 0; k < kWays; k++) v[k] = first + k * stride < end ? x[first + k * stride] : NAN;
#pragma unroll
    for (int k = 0; k < kWays; k++) key = greater(key, key_of<LARGEST>(v[k], first + k * stride));
  }
  return key;
}

template <bool LARGEST>
__global__ void __launch_bounds__(CU_THREADS) arg_lanes(const work w) {
  const int64_t each = CU_THREADS / w.lanes, stride = gridDim.x * each;
  const int lane = threadIdx.x % w.lanes;
  for (int64_t first = blockIdx.x * each; first < w.rows; first += stride) { /* the same for all of a block */
    const int64_t r = first + threadIdx.x / w.lanes;
    const uint64_t key = across(r < w.rows ? best<LARGEST>(w.x + r * w.n, lane, w.n, w.lanes) : uint64_t{0}, w.lanes);
    if (r < w.rows && lane == 0) w.y[r] = place_of(key);
  }
}

template <bool LARGEST>
__global__ void __launch_bounds__(CU_THREADS) arg_blocks(const work w) {
  __shared__ uint64_t warps[CU_THREADS / 32];
  const int64_t start = blockIdx.y * w.part, end = start + w.part < w.n ? start + w.part : w.n;
  for (int64_t r = blockIdx.x; r < w.rows; r += gridDim.x) {
    uint64_t key = across(best<LARGEST>(w.x + r * w.n, start + threadIdx.x, end, CU_THREADS), 32);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = key;
    __syncthreads();
    if (threadIdx.x < 32) {
      key = across(threadIdx.x < CU_THREADS / 32 ? warps[threadIdx.x] : 0, CU_THREADS / 32);
      if (threadIdx.x == 0 && w.parts != nullptr) w.parts[r * gridDim.y + blockIdx.y] = key;
      if (threadIdx.x == 0 && w.parts == nullptr) w.y[r] = place_of(key);
    }
    __syncthreads();
  }
}

/* A warp for each row. */
__global__ void __launch_bounds__(32) arg_finish(const work w, int32_t parts) {
  uint64_t key = 0;
  for (int32_t p = threadIdx.x; p < parts; p += 32)
    key = greater(key, w.parts[static_cast<int64_t>(blockIdx.x) * parts + p]);
  key = across(key, 32);
  if (threadIdx.x == 0) w.y[blockIdx.x] = place_of(key);
}

template <bool LARGEST>
int32_t run(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *x = &call->in[0];
  work w = {reinterpret_cast<const float *>(x->data),
            reinterpret_cast<int32_t *>(call->out[0].data),
            x->dim[0],
            x->dim[1],
            x->dim[1],
            nullptr,
            1};
  if (w.n <= kLanesMost && (w.n <= 256 || w.rows >= kBlocks)) {
    while (w.lanes < 32 && w.lanes * kWays < w.n) w.lanes *= 2;
    return cu_launch(ctx, err, arg_lanes<LARGEST>, cu_grid_of(cu_blocks(w.rows, CU_THREADS / w.lanes)), CU_THREADS, 0,
                     w);
  }
  int64_t parts = w.rows == 0 ? 1 : cu_least(cu_blocks(kBlocks, w.rows), cu_blocks(w.n, kPiece));
  w.part = cu_blocks(w.n, parts);
  parts = cu_blocks(w.n, w.part);
  if (parts > 1) w.parts = reinterpret_cast<uint64_t *>(ctx->scratch);
  const dim3 grid(static_cast<unsigned>(cu_least(w.rows, INT32_MAX)), static_cast<unsigned>(parts));
  const int32_t status = cu_launch(ctx, err, arg_blocks<LARGEST>, grid, CU_THREADS, 0, w);
  if (status != CREDENCE_OK || parts == 1) return status;
  return cu_launch(ctx, err, arg_finish, dim3(grid.x), 32, 0, w, static_cast<int32_t>(parts));
}

/* Fewer than kBlocks rows are split into fewer than twice as many parts. */
void scratch(const cr_call *, int32_t, cr_scratch *s) { s->shared = 2 * kBlocks * sizeof(uint64_t); }

}  // namespace

CU_FAMILY(arg, {CREDENCE_OP_ARG_MAX, scratch, run<true>, 0, nullptr},
          {CREDENCE_OP_ARG_MIN, scratch, run<false>, 0, nullptr})

/* elementwise.cuh: the engine of all elementwise ops: one output and one or two inputs of its shape, any strides. A
 * family writes a function of two numbers per op; here are the paths to it: groups of four where every operand is
 * adjacent in memory or repeats, tiles where one is adjacent along another axis, else one element at a time. */
#ifndef CREDENCE_CUDA_ELEMENTWISE_CUH
#define CREDENCE_CUDA_ELEMENTWISE_CUH

#include "strided.cuh"

/* A function is a class with `static __device__ float at(float u, float v, float p, float q)`: u and v are the
 * operands, p and q the scalar attributes. */

/* Tensors are y, a, b; b is a for ops of one input. Output 0 may be input 0, so nothing is __restrict__. */
struct ew_work {
  char *y;
  const char *from[2];
  cu_nest<3> nest;
  int64_t total; /* of groups */
  int32_t rest;  /* elements after the last group */
  cu_scalar_value p, q;
};

constexpr int EW_GROUPS = 2, EW_EACH = 4; /* per thread, so that as many loads are in flight */

/* Four elements, or one that repeats. */
__device__ __forceinline__ float4 ew_group(const char *at, int64_t step) {
  if (step != 0) return *reinterpret_cast<const float4 *>(at);
  const float x = *reinterpret_cast<const float *>(at);
  return make_float4(x, x, x, x);
}

template <class F, int IN>
__global__ void __launch_bounds__(CU_THREADS) ew_vectors(const ew_work w) {
  const float p = static_cast<float>(w.p.get()), q = static_cast<float>(w.q.get());
  constexpr int64_t block = CU_THREADS * EW_GROUPS;
  for (int64_t first = blockIdx.x * block + threadIdx.x; first < w.total; first += gridDim.x * block) {
    int64_t at[EW_GROUPS][3];
    float4 u[EW_GROUPS], v[EW_GROUPS];
#pragma unroll
    for (int k = 0; k < EW_GROUPS; k++) {
      if (first + k * CU_THREADS >= w.total) break;
      cu_place(w.nest, first + k * CU_THREADS, at[k]);
      u[k] = ew_group(w.from[0] + at[k][1], w.nest.step[1][0]);
      v[k] = IN == 1 ? u[k] : ew_group(w.from[1] + at[k][2], w.nest.step[2][0]);
    }
#pragma unroll
    for (int k = 0; k < EW_GROUPS; k++) {
      if (first + k * CU_THREADS >= w.total) break;
      *reinterpret_cast<float4 *>(w.y + at[k][0]) =
          make_float4(F::at(u[k].x, v[k].x, p, q), F::at(u[k].y, v[k].y, p, q), F::at(u[k].z, v[k].z, p, q),
                      F::at(u[k].w, v[k].w, p, q));
    }
  }
  if (blockIdx.x == 0 && static_cast<int32_t>(threadIdx.x) < w.rest) { /* one axis: a group repeats or is 16 bytes on */
    const int64_t e = w.total * 4 + threadIdx.x;
    const float u = reinterpret_cast<const float *>(w.from[0])[w.nest.step[1][0] != 0 ? e : 0];
    const float v = reinterpret_cast<const float *>(w.from[1])[w.nest.step[2][0] != 0 ? e : 0];
    reinterpret_cast<float *>(w.y)[e] = F::at(u, v, p, q);
  }
}

template <class F, int IN>
__global__ void __launch_bounds__(CU_THREADS) ew_elements(const ew_work w) {
  const float p = static_cast<float>(w.p.get()), q = static_cast<float>(w.q.get());
  constexpr int64_t block = CU_THREADS * EW_EACH;
  for (int64_t first = blockIdx.x * block + threadIdx.x; first < w.total; first += gridDim.x * block) {
    int64_t to[EW_EACH];
    float u[EW_EACH], v[EW_EACH];
#pragma unroll
    for (int k = 0; k < EW_EACH; k++) {
      if (first + k * CU_THREADS >= w.total) break;
      int64_t at[3];
      cu_place(w.nest, first + k * CU_THREADS, at);
      u[k] = *reinterpret_cast<const float *>(w.from[0] + at[1]);
      v[k] = IN == 1 ? u[k] : *reinterpret_cast<const float *>(w.from[1] + at[2]);
      to[k] = at[0];
    }
#pragma unroll
    for (int k = 0; k < EW_EACH; k++)
      if (first + k * CU_THREADS < w.total) *reinterpret_cast<float *>(w.y + to[k]) = F::at(u[k], v[k], p, q);
  }
}

struct ew_tile_work {
  char *y;
  const char *from[2];
  bool turned[2]; /* the operand is adjacent along the rows of the tiles */
  cu_tiles<3> tiles;
  int64_t total; /* of tiles */
  cu_scalar_value p, q;
};

template <class F, int IN>
__global__ void __launch_bounds__(CU_TILE *CU_TILE_ROWS) ew_tiles(const ew_tile_work w) {
  __shared__ float turned[IN][CU_TILE][CU_TILE + 1];
  const float p = static_cast<float>(w.p.get()), q = static_cast<float>(w.q.get());
  const int x = threadIdx.x % CU_TILE, y = threadIdx.x / CU_TILE;
  for (int64_t tile = blockIdx.x; tile < w.total; tile += gridDim.x) {
    int64_t at[5];
    cu_place(w.tiles.nest, tile, at);
    const int64_t columns = w.tiles.columns - at[3], rows = w.tiles.rows - at[4];
#pragma unroll
    for (int j = 0; j < IN; j++) {
      if (!w.turned[j]) continue;
      const char *from = w.from[j] + at[j + 1] + x * w.tiles.row_step[j + 1];
#pragma unroll
      for (int k = 0; k < CU_TILE / CU_TILE_ROWS; k++) {
        const int c = y + k * CU_TILE_ROWS;
        if (c < columns && x < rows)
          turned[j][c][x] = *reinterpret_cast<const float *>(from + c * w.tiles.column_step[j + 1]);
      }
    }
    __syncthreads();
    for (int k = 0; k < CU_TILE / CU_TILE_ROWS; k++) {
      const int r = y + k * CU_TILE_ROWS;
      if (r >= rows || x >= columns) continue;
      float u[2];
#pragma unroll
      for (int j = 0; j < IN; j++)
        u[j] = w.turned[j] ? turned[j][x][r]
                           : *reinterpret_cast<const float *>(w.from[j] + at[j + 1] + x * w.tiles.column_step[j + 1] +
                                                              r * w.tiles.row_step[j + 1]);
      *reinterpret_cast<float *>(w.y + at[0] + x * w.tiles.column_step[0] + r * w.tiles.row_step[0]) =
          F::at(u[0], u[IN - 1], p, q);
    }
    __syncthreads();
  }
}

constexpr int64_t EW_TILED_ELEMENTS = 2048; /* smaller operands lie in the caches anyhow */

/* Computes out[0] = F(in[0], in[1]). */
template <class F, int IN>
int32_t ew_run(const cr_call *call, const cr_ctx *ctx, cu_scalar_value p, cu_scalar_value q, credence_error *err) {
  const cr_tensor *const t[3] = {&call->out[0], &call->in[0], &call->in[IN - 1]};
  ew_work w = {t[0]->data, {t[1]->data, t[2]->data}, {}, 0, 0, p, q};
  const int64_t elements = w.total = cu_nest_make(&w.nest, t);
  if (elements == 0) return CREDENCE_OK;
  bool groups = w.nest.axes == 1 || w.nest.dim[0] % 4 == 0;
  int32_t turned[3] = {};
  for (int32_t j = 0; j < 3; j++) {
    const bool repeats = j > 0 && w.nest.step[j][0] == 0;
    groups = groups && (repeats || cu_nest_grouped(w.nest, j, t[j]->data, 4, 16));
    turned[j] = j > 0 ? cu_turned_axis(w.nest, j, 4) : 0;
  }
  if (groups) {
    w.rest = static_cast<int32_t>(w.nest.dim[0] % 4);
    w.total = cu_nest_group(&w.nest, 4);
    const dim3 grid = w.total > 0 ? cu_grid(w.total, EW_GROUPS) : dim3(1);
    return cu_launch(ctx, err, ew_vectors<F, IN>, grid, CU_THREADS, 0, w);
  }
  const int32_t axis = turned[1] > 0 ? turned[1] : turned[2];
  if (axis > 0 && elements >= EW_TILED_ELEMENTS && w.nest.step[0][0] == 4) {
    ew_tile_work v = {w.y, {w.from[0], w.from[1]}, {turned[1] == axis, turned[2] == axis}, {}, 0, p, q};
    v.total = cu_tiles_make(w.nest, axis, &v.tiles);
    return cu_launch(ctx, err, ew_tiles<F, IN>, cu_grid_of(v.total), CU_TILE * CU_TILE_ROWS, 0, v);
  }
  return cu_launch(ctx, err, ew_elements<F, IN>, cu_grid(w.total, EW_EACH), CU_THREADS, 0, w);
}

#endif

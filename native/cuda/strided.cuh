/* strided.cuh: walking several tensors of one shape together, whatever their strides. */
#ifndef CREDENCE_CUDA_STRIDED_CUH
#define CREDENCE_CUDA_STRIDED_CUH

#include "kernel.cuh"

constexpr int CU_THREADS = 256;

/* Axes innermost first: sizes, and T steps along each. Division by a size is a multiplication (Granlund and Montgomery,
 * "Division by invariant integers using multiplication", 1994, figure 4.1), of 32 bits where all indices are less than
 * 2^31, else of 64. */
template <int T>
struct cu_nest {
  int32_t axes;  // at least 1
  bool wide;     // some index is 2^31 or more
  int64_t dim[CREDENCE_MAX_DIMS];
  int64_t step[T][CREDENCE_MAX_DIMS];
  uint64_t magic[CREDENCE_MAX_DIMS];
  uint32_t shift[CREDENCE_MAX_DIMS];
};

/* To be called when dims are settled: a nest without axes gets one of size 1. Returns the number of indices. */
template <int T>
int64_t cu_nest_close(cu_nest<T> *nest) {
  if (nest->axes == 0) nest->dim[nest->axes++] = 1;
  int64_t total = 1;
  for (int32_t k = 0; k < nest->axes; k++) total *= nest->dim[k];
  nest->wide = total >= int64_t{1} << 31;
  for (int32_t k = 0; k < nest->axes && total > 0; k++) {
    const uint64_t d = static_cast<uint64_t>(nest->dim[k]);
    uint32_t s = 0;
    while (uint64_t{1} << s < d) s++;
    nest->shift[k] = s;
    const unsigned __int128 part = (uint64_t{1} << s) - d;
    nest->magic[k] = static_cast<uint64_t>((part << (nest->wide ? 64 : 32)) / d + 1);
  }
  return total;
}

/* Adds an axis outside of those that are there, as a part of the last one if all steps go on as there. */
template <int T>
void cu_nest_add(cu_nest<T> *nest, int64_t dim, const int64_t (&step)[T]) {
  if (dim == 1) return;
  const int32_t last = nest->axes - 1;
  bool joined = last >= 0;
  for (int32_t j = 0; j < T && joined; j++) joined = step[j] == nest->step[j][last] * nest->dim[last];
  if (joined) {
    nest->dim[last] *= dim;
    return;
  }
  nest->dim[nest->axes] = dim;
  for (int32_t j = 0; j < T; j++) nest->step[j][nest->axes] = step[j];
  nest->axes++;
}

inline int64_t cu_distance(int64_t step) { return step < 0 ? -step : step; }

/* The nest of T tensors of one shape, axes in the order in which t[0] lies in memory, so that what is written is
 * adjacent. Returns the number of elements. */
template <int T>
int64_t cu_nest_make(cu_nest<T> *nest, const cr_tensor *const (&t)[T]) {
  int32_t order[CREDENCE_MAX_DIMS], n = 0;
  for (int32_t k = t[0]->ndim - 1; k >= 0; k--) {
    int32_t j = n++;
    for (; j > 0 && cu_distance(t[0]->stride[order[j - 1]]) > cu_distance(t[0]->stride[k]); j--)
      order[j] = order[j - 1];
    order[j] = k;
  }
  *nest = {};
  for (int32_t i = 0; i < n; i++) {
    int64_t step[T];
    for (int32_t j = 0; j < T; j++) step[j] = t[j]->stride[order[i]];
    cu_nest_add(nest, t[0]->dim[order[i]], step);
  }
  return cu_nest_close(nest);
}

/* Where element `index` lies: the sums of index and step along all axes. */
template <int T>
__device__ __forceinline__ void cu_place(const cu_nest<T> &nest, int64_t index, int64_t (&offset)[T]) {
#pragma unroll
  for (int j = 0; j < T; j++) offset[j] = 0;
  uint64_t rest = static_cast<uint64_t>(index);
#pragma unroll
  for (int k = 0; k < CREDENCE_MAX_DIMS; k++) {
    uint64_t at = rest;
    if (k + 1 < nest.axes) {
      if (nest.wide)
        rest = (__umul64hi(rest, nest.magic[k]) + rest) >> nest.shift[k];
      else
        rest = (__umulhi(static_cast<uint32_t>(rest), static_cast<uint32_t>(nest.magic[k])) +
                static_cast<uint32_t>(rest)) >>
               nest.shift[k];
      at -= rest * static_cast<uint64_t>(nest.dim[k]);
    }
#pragma unroll
    for (int j = 0; j < T; j++) offset[j] += static_cast<int64_t>(at) * nest.step[j][k];
    if (k + 1 >= nest.axes) break;
  }
}

/* ---- groups of elements that are read or written at once ---- */

inline bool cu_aligned(const void *p, int64_t bytes) { return reinterpret_cast<uintptr_t>(p) % bytes == 0; }

/* Whether tensor j can be accessed in groups of `bytes`: adjacent along the innermost axis (elements of size bytes),
 * every group aligned. */
template <int T>
bool cu_nest_grouped(const cu_nest<T> &nest, int32_t j, const void *data, int64_t size, int64_t bytes) {
  if (!cu_aligned(data, bytes) || (nest.dim[0] > 1 && nest.step[j][0] != size)) return false;
  for (int32_t k = 1; k < nest.axes; k++)
    if (nest.step[j][k] % bytes != 0) return false;
  return true;
}

/* Makes an index stand for `width` elements along the innermost axis. What is left over at the end of a single axis is
 * the caller's; with several axes dim[0] must be a multiple. Returns the number of groups. */
template <int T>
int64_t cu_nest_group(cu_nest<T> *nest, int64_t width) {
  nest->dim[0] /= width;
  for (int32_t j = 0; j < T; j++) nest->step[j][0] *= width;
  return cu_nest_close(nest);
}

inline int64_t cu_least(int64_t a, int64_t b) { return a < b ? a : b; }

/* So many blocks; kernels whose work is more than a grid holds go on in strides. */
inline dim3 cu_grid_of(int64_t blocks) { return dim3(static_cast<unsigned>(cu_least(blocks, INT32_MAX))); }

/* Blocks of CU_THREADS that take `each` elements per thread. */
inline dim3 cu_grid(int64_t n, int64_t each) { return cu_grid_of(cu_blocks(n, CU_THREADS * each)); }

/* ---- tiles: operands that are adjacent along another axis than the result are turned in shared memory ---- */

constexpr int CU_TILE = 32, CU_TILE_ROWS = 8;  // a block is 32 x 8 threads, each takes 4 elements of a column

/* The axis along which tensor j is adjacent, if that is not the innermost and both are worth tiles; else 0. */
template <int T>
int32_t cu_turned_axis(const cu_nest<T> &nest, int32_t j, int64_t size) {
  if (nest.step[j][0] == 0 || nest.step[j][0] == size || nest.dim[0] < CU_TILE / 2) return 0;
  for (int32_t k = 1; k < nest.axes; k++)
    if (nest.step[j][k] == size && nest.dim[k] >= CU_TILE / 2) return k;
  return 0;
}

/* A nest of tiles of CU_TILE x CU_TILE elements along axes 0 (columns) and `turned` (rows): index b is where tile b
 * begins, T steps in bytes and then its first column and row. */
template <int T>
struct cu_tiles {
  cu_nest<T + 2> nest;
  int64_t rows, columns, row_step[T], column_step[T];
};

template <int T>
int64_t cu_tiles_make(const cu_nest<T> &nest, int32_t turned, cu_tiles<T> *tiles) {
  *tiles = {};
  tiles->rows = nest.dim[turned];
  tiles->columns = nest.dim[0];
  tiles->nest.axes = nest.axes;
  for (int32_t k = 0; k < nest.axes; k++) {
    const bool tiled = k == 0 || k == turned;
    tiles->nest.dim[k] = tiled ? cu_blocks(nest.dim[k], CU_TILE) : nest.dim[k];
    for (int32_t j = 0; j < T; j++) tiles->nest.step[j][k] = nest.step[j][k] * (tiled ? CU_TILE : 1);
  }
  tiles->nest.step[T][0] = CU_TILE;
  tiles->nest.step[T + 1][turned] = CU_TILE;
  for (int32_t j = 0; j < T; j++) {
    tiles->row_step[j] = nest.step[j][turned];
    tiles->column_step[j] = nest.step[j][0];
  }
  return cu_nest_close(&tiles->nest);
}

#endif

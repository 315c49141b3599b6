/* copy.cu: fill and copy: between any strides and types. Either may write a variable, so neither does anything once the
 * submission has a fault. */
#include <string.h>

#include "stored.cuh"
#include "strided.cuh"

namespace {

constexpr int kEach = 4; /* units per thread, so that as many loads are in flight */

/* ---- values ---- */

/* Nearest even, saturating; NaN is 0. */
__device__ double clamped(double v, double lo, double hi) {
  const double r = v == v ? v : 0;
  return rint(r < lo ? lo : r > hi ? hi : r);
}

__device__ int64_t to_int64(double v) {
  const double r = clamped(v, -0x1p63, 0x1p63);
  return r == 0x1p63 ? INT64_MAX : static_cast<int64_t>(r);
}

__device__ double load_as(int32_t dtype, const char *at) {
  switch (dtype) {
    case CREDENCE_F64:
      return *reinterpret_cast<const double *>(at);
    case CREDENCE_F16:
      return cu_f16_to_f32(*reinterpret_cast<const uint16_t *>(at));
    case CREDENCE_BF16:
      return cu_bf16_to_f32(*reinterpret_cast<const uint16_t *>(at));
    case CREDENCE_I32:
      return *reinterpret_cast<const int32_t *>(at);
    case CREDENCE_I64:
      return static_cast<double>(*reinterpret_cast<const int64_t *>(at));
    case CREDENCE_U8:
      return *reinterpret_cast<const uint8_t *>(at);
    default:
      return *reinterpret_cast<const float *>(at);
  }
}

/* The bits of v as a type. Floating types narrower than double are rounded to float first. */
__device__ uint64_t bits_as(int32_t dtype, double v) {
  uint64_t bits;
  switch (dtype) {
    case CREDENCE_F64:
      memcpy(&bits, &v, sizeof bits);
      return bits;
    case CREDENCE_F16:
      return cu_f32_to_f16(static_cast<float>(v));
    case CREDENCE_BF16:
      return cu_f32_to_bf16(static_cast<float>(v));
    case CREDENCE_I32:
      return static_cast<uint32_t>(static_cast<int32_t>(clamped(v, INT32_MIN, INT32_MAX)));
    case CREDENCE_I64:
      return static_cast<uint64_t>(to_int64(v));
    case CREDENCE_U8:
      return static_cast<uint8_t>(clamped(v, 0, 255));
    default:
      return __float_as_uint(static_cast<float>(v));
  }
}

__device__ void store_bits(int32_t size, char *at, uint64_t bits) {
  switch (size) {
    case 1:
      *reinterpret_cast<uint8_t *>(at) = static_cast<uint8_t>(bits);
      return;
    case 2:
      *reinterpret_cast<uint16_t *>(at) = static_cast<uint16_t>(bits);
      return;
    case 4:
      *reinterpret_cast<uint32_t *>(at) = static_cast<uint32_t>(bits);
      return;
    default:
      *reinterpret_cast<uint64_t *>(at) = bits;
  }
}

/* ---- units: what is moved at once, the widest that everything is a multiple of ---- */

/* Makes the nest one of units where its innermost axis has no gaps, else leaves it; returns the unit's bytes. *rest is
 * how many bytes come after the last unit of a single axis. */
template <int T>
int32_t widest_unit(cu_nest<T> *nest, const char *const (&data)[T], int32_t size, int64_t *total, int32_t *rest) {
  *rest = 0;
  for (int32_t width = 16; width > size; width /= 2) {
    const int64_t bytes = nest->dim[0] * size;
    bool fits = nest->axes == 1 ? bytes >= width : bytes % width == 0;
    for (int32_t j = 0; j < T; j++) fits = fits && cu_nest_grouped(*nest, j, data[j], size, width);
    if (!fits) continue;
    *rest = static_cast<int32_t>(bytes % width);
    *total = cu_nest_group(nest, width / size);
    return width;
  }
  return size;
}

/* run(a unit) for a number of bytes. */
template <class F>
int32_t with_unit(int32_t bytes, F run) {
  switch (bytes) {
    case 1:
      return run(uint8_t{});
    case 2:
      return run(uint16_t{});
    case 4:
      return run(uint32_t{});
    case 8:
      return run(uint2{});
    default:
      return run(uint4{});
  }
}

/* ---- copies of one type ---- */

struct move_work {
  char *to;
  const char *from;
  cu_nest<2> nest; /* tensor 0 is written, tensor 1 read */
  int64_t total;   /* units */
  int32_t rest;    /* bytes */
  const cu_fault *fault;
};

template <class U>
__global__ void __launch_bounds__(CU_THREADS) move_units(const move_work w) {
  if (cu_faulty(w.fault)) return;
  constexpr int64_t block = CU_THREADS * kEach;
  for (int64_t first = blockIdx.x * block + threadIdx.x; first < w.total; first += gridDim.x * block) {
    int64_t to[kEach];
    U unit[kEach];
#pragma unroll
    for (int k = 0; k < kEach; k++) {
      if (first + k * CU_THREADS >= w.total) break;
      int64_t at[2];
      cu_place(w.nest, first + k * CU_THREADS, at);
      unit[k] = *reinterpret_cast<const U *>(w.from + at[1]);
      to[k] = at[0];
    }
#pragma unroll
    for (int k = 0; k < kEach; k++)
      if (first + k * CU_THREADS < w.total) *reinterpret_cast<U *>(w.to + to[k]) = unit[k];
  }
  const int64_t byte = w.total * static_cast<int64_t>(sizeof(U)) + threadIdx.x;
  if (blockIdx.x == 0 && static_cast<int32_t>(threadIdx.x) < w.rest) w.to[byte] = w.from[byte];
}

struct turn_work {
  char *to;
  const char *from;
  cu_tiles<2> tiles;
  int64_t total;
  const cu_fault *fault;
};

/* The source is adjacent along the rows of the tiles, the result along their columns. */
template <class U>
__global__ void __launch_bounds__(CU_TILE *CU_TILE_ROWS) turn_tiles(const turn_work w) {
  __shared__ U turned[CU_TILE][CU_TILE + 1];
  if (cu_faulty(w.fault)) return;
  const int x = threadIdx.x % CU_TILE, y = threadIdx.x / CU_TILE;
  for (int64_t tile = blockIdx.x; tile < w.total; tile += gridDim.x) {
    int64_t at[4];
    cu_place(w.tiles.nest, tile, at);
    const int64_t columns = w.tiles.columns - at[2], rows = w.tiles.rows - at[3];
    const char *from = w.from + at[1] + x * static_cast<int64_t>(sizeof(U));
#pragma unroll
    for (int k = 0; k < CU_TILE / CU_TILE_ROWS; k++) {
      const int c = y + k * CU_TILE_ROWS;
      if (c < columns && x < rows) turned[c][x] = *reinterpret_cast<const U *>(from + c * w.tiles.column_step[1]);
    }
    __syncthreads();
    char *to = w.to + at[0] + x * static_cast<int64_t>(sizeof(U));
#pragma unroll
    for (int k = 0; k < CU_TILE / CU_TILE_ROWS; k++) {
      const int r = y + k * CU_TILE_ROWS;
      if (r < rows && x < columns) *reinterpret_cast<U *>(to + r * w.tiles.row_step[0]) = turned[x][r];
    }
    __syncthreads();
  }
}

int32_t move(const cr_ctx *ctx, move_work *w, int32_t size, credence_error *err) {
  const int32_t turned = w->nest.step[0][0] == size ? cu_turned_axis(w->nest, 1, size) : 0;
  if (turned > 0) {
    turn_work v = {w->to, w->from, {}, 0, ctx->fault};
    v.total = cu_tiles_make(w->nest, turned, &v.tiles);
    return with_unit(size, [&](auto unit) {
      return cu_launch(ctx, err, turn_tiles<decltype(unit)>, cu_grid_of(v.total), CU_TILE * CU_TILE_ROWS, 0, v);
    });
  }
  const char *const data[2] = {w->to, w->from};
  const int32_t width = widest_unit(&w->nest, data, size, &w->total, &w->rest);
  return with_unit(width, [&](auto unit) {
    return cu_launch(ctx, err, move_units<decltype(unit)>, cu_grid(w->total, kEach), CU_THREADS, 0, *w);
  });
}

/* ---- conversions ---- */

struct convert_work {
  char *to;
  const char *from;
  int32_t to_type, from_type, to_size;
  cu_nest<2> nest;
  int64_t total;
  const cu_fault *fault;
};

__global__ void __launch_bounds__(CU_THREADS) convert_elements(const convert_work w) {
  if (cu_faulty(w.fault)) return;
  constexpr int64_t block = CU_THREADS * kEach;
  for (int64_t first = blockIdx.x * block + threadIdx.x; first < w.total; first += gridDim.x * block) {
    int64_t to[kEach];
    double value[kEach];
#pragma unroll
    for (int k = 0; k < kEach; k++) {
      if (first + k * CU_THREADS >= w.total) break;
      int64_t at[2];
      cu_place(w.nest, first + k * CU_THREADS, at);
      value[k] = load_as(w.from_type, w.from + at[1]);
      to[k] = at[0];
    }
#pragma unroll
    for (int k = 0; k < kEach; k++)
      if (first + k * CU_THREADS < w.total) store_bits(w.to_size, w.to + to[k], bits_as(w.to_type, value[k]));
  }
}

/* Four adjacent elements of f32, f16 or bf16. */
template <int32_t T>
__device__ __forceinline__ void load_four(const char *at, float (&v)[4]) {
  if constexpr (T == CREDENCE_F32) {
    const float4 x = *reinterpret_cast<const float4 *>(at);
    v[0] = x.x, v[1] = x.y, v[2] = x.z, v[3] = x.w;
  } else {
    const uint2 x = *reinterpret_cast<const uint2 *>(at);
    const uint16_t h[4] = {static_cast<uint16_t>(x.x), static_cast<uint16_t>(x.x >> 16), static_cast<uint16_t>(x.y),
                           static_cast<uint16_t>(x.y >> 16)};
#pragma unroll
    for (int k = 0; k < 4; k++) v[k] = T == CREDENCE_F16 ? cu_f16_to_f32(h[k]) : cu_bf16_to_f32(h[k]);
  }
}

template <int32_t T>
__device__ __forceinline__ void store_four(char *at, const float (&v)[4]) {
  if constexpr (T == CREDENCE_F32) {
    *reinterpret_cast<float4 *>(at) = make_float4(v[0], v[1], v[2], v[3]);
  } else {
    uint32_t h[4];
#pragma unroll
    for (int k = 0; k < 4; k++) h[k] = T == CREDENCE_F16 ? cu_f32_to_f16(v[k]) : cu_f32_to_bf16(v[k]);
    *reinterpret_cast<uint2 *>(at) = make_uint2(h[0] | h[1] << 16, h[2] | h[3] << 16);
  }
}

template <int32_t FROM, int32_t TO>
__global__ void __launch_bounds__(CU_THREADS) convert_fours(const convert_work w) {
  if (cu_faulty(w.fault)) return;
  constexpr int64_t block = CU_THREADS * kEach;
  for (int64_t first = blockIdx.x * block + threadIdx.x; first < w.total; first += gridDim.x * block) {
    int64_t to[kEach];
    float v[kEach][4];
#pragma unroll
    for (int k = 0; k < kEach; k++) {
      if (first + k * CU_THREADS >= w.total) break;
      int64_t at[2];
      cu_place(w.nest, first + k * CU_THREADS, at);
      load_four<FROM>(w.from + at[1], v[k]);
      to[k] = at[0];
    }
#pragma unroll
    for (int k = 0; k < kEach; k++)
      if (first + k * CU_THREADS < w.total) store_four<TO>(w.to + to[k], v[k]);
  }
}

bool is_short(int32_t dtype) { return dtype == CREDENCE_F32 || dtype == CREDENCE_F16 || dtype == CREDENCE_BF16; }

int32_t convert(const cr_ctx *ctx, move_work *m, int32_t to_type, int32_t from_type, credence_error *err) {
  const int32_t to_size = static_cast<int32_t>(cr_dtype_size(to_type));
  const int32_t from_size = static_cast<int32_t>(cr_dtype_size(from_type));
  convert_work w = {m->to, m->from, to_type, from_type, to_size, m->nest, m->total, ctx->fault};
  if (!is_short(to_type) || !is_short(from_type) || w.nest.dim[0] % 4 != 0 ||
      !cu_nest_grouped(w.nest, 0, w.to, to_size, 4 * to_size) ||
      !cu_nest_grouped(w.nest, 1, w.from, from_size, 4 * from_size))
    return cu_launch(ctx, err, convert_elements, cu_grid(w.total, kEach), CU_THREADS, 0, w);
  w.total = cu_nest_group(&w.nest, 4);
  return cu_stored_switch(from_type, [&](auto from) {
    return cu_stored_switch(to_type, [&](auto to) -> int32_t {
      constexpr int32_t FROM = decltype(from)::value, TO = decltype(to)::value;
      if constexpr (FROM != TO && !cu_is_block(FROM) && !cu_is_block(TO))
        return cu_launch(ctx, err, convert_fours<FROM, TO>, cu_grid(w.total, kEach), CU_THREADS, 0, w);
      else
        return CREDENCE_INTERNAL; /* not with these types */
    });
  });
}

/* ---- rows of blocks ---- */

struct block_work {
  char *to;
  const char *from;
  int32_t to_type, to_size;
  int64_t to_step;
  cu_nest<3> nest; /* of pieces: where the result's lies, where the source's row begins, and the piece's number there */
  int64_t total;
  const cu_fault *fault;
};

template <int32_t T>
__global__ void __launch_bounds__(CU_THREADS) convert_blocks(const block_work w) {
  if (cu_faulty(w.fault)) return;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * CU_THREADS;
  for (int64_t piece = blockIdx.x * static_cast<int64_t>(CU_THREADS) + threadIdx.x; piece < w.total; piece += stride) {
    int64_t at[3];
    float v[CU_PIECE];
    cu_place(w.nest, piece, at);
    cu_widen_piece<T>(cu_load_piece<T, false, true>(w.from + at[1], at[2]), v);
#pragma unroll
    for (int k = 0; k < CU_PIECE; k++) store_bits(w.to_size, w.to + at[0] + k * w.to_step, bits_as(w.to_type, v[k]));
  }
}

int32_t run_blocks(const cr_tensor *x, const cr_tensor *y, const cr_ctx *ctx, credence_error *err) {
  const int32_t inner = y->ndim - 1;
  block_work w = {y->data,          x->data, y->dtype, static_cast<int32_t>(cr_dtype_size(y->dtype)),
                  y->stride[inner], {},      0,        ctx->fault};
  cu_nest_add(&w.nest, y->dim[inner] / CU_PIECE, {CU_PIECE * w.to_step, 0, 1});
  for (int32_t k = inner - 1; k >= 0; k--) cu_nest_add(&w.nest, y->dim[k], {y->stride[k], x->stride[k], 0});
  w.total = cu_nest_close(&w.nest);
  return x->dtype == CREDENCE_Q8_0
             ? cu_launch(ctx, err, convert_blocks<CREDENCE_Q8_0>, cu_grid(w.total, 1), CU_THREADS, 0, w)
             : cu_launch(ctx, err, convert_blocks<CREDENCE_Q4_0>, cu_grid(w.total, 1), CU_THREADS, 0, w);
}

int32_t run_copy(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *x = &call->in[0], *y = &call->out[0];
  if (cu_is_block(x->dtype)) return run_blocks(x, y, ctx, err);
  const cr_tensor *const t[2] = {y, x};
  move_work w = {y->data, x->data, {}, 0, 0, ctx->fault};
  w.total = cu_nest_make(&w.nest, t);
  if (w.total == 0) return CREDENCE_OK;
  if (x->dtype == y->dtype) return move(ctx, &w, static_cast<int32_t>(cr_dtype_size(x->dtype)), err);
  return convert(ctx, &w, y->dtype, x->dtype, err);
}

/* ---- fill ---- */

struct fill_work {
  char *to;
  int32_t dtype, size;
  cu_nest<1> nest;
  int64_t total;
  int32_t rest;
  cu_scalar_value value;
  const cu_fault *fault;
};

template <class U>
__global__ void __launch_bounds__(CU_THREADS) fill_units(const fill_work w) {
  if (cu_faulty(w.fault)) return;
  uint64_t bits = bits_as(w.dtype, w.value.get());
  for (int32_t size = w.size; size < 8; size *= 2) bits |= bits << 8 * size;
  const uint64_t twice[2] = {bits, bits};
  U unit;
  memcpy(&unit, twice, sizeof unit);
  const int64_t stride = static_cast<int64_t>(gridDim.x) * CU_THREADS;
  for (int64_t k = blockIdx.x * static_cast<int64_t>(CU_THREADS) + threadIdx.x; k < w.total; k += stride) {
    int64_t at[1];
    cu_place(w.nest, k, at);
    *reinterpret_cast<U *>(w.to + at[0]) = unit;
  }
  const int32_t byte = static_cast<int32_t>(threadIdx.x); /* units are whole elements, so the pattern goes on */
  if (blockIdx.x == 0 && byte < w.rest)
    w.to[w.total * static_cast<int64_t>(sizeof(U)) + byte] = static_cast<char>(bits >> 8 * (byte % 8));
}

int32_t run_fill(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *y = &call->out[0];
  const cr_tensor *const t[1] = {y};
  const int32_t size = static_cast<int32_t>(cr_dtype_size(y->dtype));
  fill_work w = {y->data, y->dtype, size, {}, 0, 0, cu_scalar(ctx, 0), ctx->fault};
  w.total = cu_nest_make(&w.nest, t);
  if (w.total == 0) return CREDENCE_OK;
  const char *const data[1] = {w.to};
  const int32_t width = widest_unit(&w.nest, data, size, &w.total, &w.rest);
  return with_unit(width, [&](auto unit) {
    return cu_launch(ctx, err, fill_units<decltype(unit)>, cu_grid(w.total, 4), CU_THREADS, 0, w);
  });
}

}  // namespace

CU_FAMILY(copy, {CREDENCE_OP_FILL, nullptr, run_fill, 0, nullptr}, {CREDENCE_OP_COPY, nullptr, run_copy, 0, nullptr})

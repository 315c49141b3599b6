/* stored.cuh: numbers as weights and caches hold them: f32, f16, bf16, and GGUF's q8_0 and q4_0. Kernels take the type
 * as a template parameter T. Every stored number is exact in float32 (a float16 scale times an 8-bit integer has 19
 * bits) and enters sums as that number, so that bits do not depend on the type that holds the same weights.
 *
 * Rows are read in pieces of CU_PIECE adjacent elements, the piece of lane 0, 1, 2 ... beside one another. A piece is
 * loaded and widened in two steps, so that several loads can be in flight before the first is used:
 *   f32        two 16-byte loads
 *   f16, bf16  one 16-byte load
 *   q8_0, q4_0 2-byte loads of a quarter of a block and of its scale: blocks are 34 and 18 bytes, aligned to 2. The
 *              lanes of a warp take adjacent blocks and share the sectors that they touch
 * VECTOR: rows begin at multiples of 16 bytes (cu_is_vector). Without it f32, f16 and bf16 are loaded one by one. */
#ifndef CREDENCE_CUDA_STORED_CUH
#define CREDENCE_CUDA_STORED_CUH

#include <type_traits>

#include "kernel.cuh"

#ifndef CREDENCE_EMULATED
#include <cuda_fp16.h>
#endif

/* ---- the 16-bit types ---- */

__device__ __forceinline__ float cu_f16_to_f32(uint16_t h) {
#ifndef CREDENCE_EMULATED
  return __half2float(__ushort_as_half(h));
#else
  const uint32_t magnitude = (h & 0x7fffu) << 13;
  /* the product moves the exponent's bias; subnormals become normal */
  uint32_t bits = __float_as_uint(__uint_as_float(magnitude) * 0x1p112f);
  if (magnitude >= 0x7c00u << 13) bits |= 0x7f800000u; /* Inf and NaN */
  return __uint_as_float(bits | (h & 0x8000u) << 16);
#endif
}

__device__ __forceinline__ float cu_bf16_to_f32(uint16_t h) { return __uint_as_float(static_cast<uint32_t>(h) << 16); }

/* To nearest even; too large becomes Inf, NaN stays NaN. */
__device__ __forceinline__ uint16_t cu_f32_to_f16(float x) {
#ifndef CREDENCE_EMULATED
  return __half_as_ushort(__float2half_rn(x));
#else
  const uint32_t u = __float_as_uint(x), a = u & 0x7fffffffu;
  uint32_t r = ((a + 0xfff + (a >> 13 & 1)) >> 13) - (112u << 10);
  /* a step of 1/2 + x is the smallest half */
  if (a < 0x38800000u) r = __float_as_uint(__uint_as_float(a) + .5f) - 0x3f000000u;
  if (a >= 0x47800000u) r = 0x7c00;
  if (a > 0x7f800000u) r = 0x7e00;
  return static_cast<uint16_t>(r | (u >> 16 & 0x8000u));
#endif
}

__device__ __forceinline__ uint16_t cu_f32_to_bf16(float x) {
  const uint32_t u = __float_as_uint(x);
  return static_cast<uint16_t>(x != x ? u >> 16 | 0x40u : (u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

/* ---- rows ---- */

enum { CU_PIECE = 8, CU_BLOCK = 32, CU_Q8_BYTES = 34, CU_Q4_BYTES = 18 };

/* Bytes of n adjacent elements; n is whole blocks for block types. */
__host__ __device__ constexpr int64_t cu_row_bytes(int32_t dtype, int64_t n) {
  return dtype == CREDENCE_Q8_0   ? n / CU_BLOCK * CU_Q8_BYTES
         : dtype == CREDENCE_Q4_0 ? n / CU_BLOCK * CU_Q4_BYTES
         : dtype == CREDENCE_F32  ? n * 4
                                  : n * 2;
}

constexpr bool cu_is_block(int32_t dtype) { return dtype == CREDENCE_Q8_0 || dtype == CREDENCE_Q4_0; }

/* Whether rows of n elements that lie without gaps from data on all begin at multiples of 16 bytes, or need not: those
 * of block types are read without. */
inline bool cu_is_vector(const void *data, int32_t dtype, int64_t n) {
  return cu_is_block(dtype) ||
         (reinterpret_cast<uintptr_t>(data) % 16 == 0 && static_cast<uint64_t>(cu_row_bytes(dtype, n)) % 16 == 0);
}

/* Element k of a row. */
template <int32_t T>
__device__ __forceinline__ float cu_element(const char *row, int64_t k) {
  if constexpr (T == CREDENCE_F16) {
    return cu_f16_to_f32(reinterpret_cast<const uint16_t *>(row)[k]);
  } else if constexpr (T == CREDENCE_BF16) {
    return cu_bf16_to_f32(reinterpret_cast<const uint16_t *>(row)[k]);
  } else if constexpr (T == CREDENCE_Q8_0) {
    const char *block = row + k / CU_BLOCK * CU_Q8_BYTES;
    return cu_f16_to_f32(*reinterpret_cast<const uint16_t *>(block)) *
           static_cast<float>(reinterpret_cast<const int8_t *>(block)[2 + k % CU_BLOCK]);
  } else if constexpr (T == CREDENCE_Q4_0) {
    const char *block = row + k / CU_BLOCK * CU_Q4_BYTES;
    const uint32_t both = reinterpret_cast<const uint8_t *>(block)[2 + k % 16];
    return cu_f16_to_f32(*reinterpret_cast<const uint16_t *>(block)) *
           static_cast<float>(static_cast<int32_t>(k % CU_BLOCK < 16 ? both & 15 : both >> 4) - 8);
  } else {
    return reinterpret_cast<const float *>(row)[k];
  }
}

/* Element k of a row becomes x, for f32, f16 and bf16. */
template <int32_t T>
__device__ __forceinline__ void cu_set_element(char *row, int64_t k, float x) {
  if constexpr (T == CREDENCE_F16)
    reinterpret_cast<uint16_t *>(row)[k] = cu_f32_to_f16(x);
  else if constexpr (T == CREDENCE_BF16)
    reinterpret_cast<uint16_t *>(row)[k] = cu_f32_to_bf16(x);
  else
    reinterpret_cast<float *>(row)[k] = x;
}

/* ---- pieces ---- */

/* A load; ONCE: nobody reads it again, so it need not displace what others do. */
template <bool ONCE, class V>
__device__ __forceinline__ V cu_fetch(const V *p) {
  if constexpr (ONCE)
    return __ldcs(p);
  else
    return __ldg(p);
}

/* Byte i of w as a float. 0x4b0000bb is 2^23 + bb: two cheap instructions, where a conversion is a slow one. */
__device__ __forceinline__ float cu_byte(uint32_t w, int i) {
#ifndef CREDENCE_EMULATED
  return __uint_as_float(__byte_perm(w, 0x4b000000u, 0x7440u + static_cast<uint32_t>(i))) - 8388608.0f;
#else
  return static_cast<float>(w >> 8 * i & 0xff);
#endif
}

/* A piece as it was loaded. */
template <int32_t T>
struct cu_piece {
  uint4 halves;
};
template <>
struct cu_piece<CREDENCE_F32> {
  float4 low, high;
};
template <>
struct cu_piece<CREDENCE_Q8_0> {
  uint32_t low, high, scale; /* scale: the half's bits */
};
template <>
struct cu_piece<CREDENCE_Q4_0> {
  uint32_t low, high, scale; /* bytes whose lower nibbles are the elements */
};

template <bool ONCE>
__device__ __forceinline__ uint32_t cu_fetch_pair(const uint16_t *p) {
  const uint32_t low = cu_fetch<ONCE>(p);
  return low | static_cast<uint32_t>(cu_fetch<ONCE>(p + 1)) << 16;
}

/* Elements 8 piece .. 8 piece + 7 of a row. */
template <int32_t T, bool VECTOR, bool ONCE>
__device__ __forceinline__ cu_piece<T> cu_load_piece(const char *row, int64_t piece) {
  if constexpr (T == CREDENCE_Q8_0 || T == CREDENCE_Q4_0) {
    const int64_t block = piece >> 2;
    const int32_t quarter = static_cast<int32_t>(piece & 3);
    const uint16_t *p =
        reinterpret_cast<const uint16_t *>(row + block * (T == CREDENCE_Q8_0 ? CU_Q8_BYTES : CU_Q4_BYTES));
    const uint16_t *q = p + 1 + 4 * (T == CREDENCE_Q8_0 ? quarter : quarter & 1);
    cu_piece<T> r = {cu_fetch_pair<ONCE>(q), cu_fetch_pair<ONCE>(q + 2), cu_fetch<ONCE>(p)};
    if (T == CREDENCE_Q4_0 && quarter > 1) { /* the second half of a block lies in the upper nibbles */
      r.low >>= 4;
      r.high >>= 4;
    }
    return r;
  } else if constexpr (T == CREDENCE_F32) {
    const float *p = reinterpret_cast<const float *>(row) + CU_PIECE * piece;
    if constexpr (VECTOR) {
      const float4 *v = reinterpret_cast<const float4 *>(p);
      return {cu_fetch<ONCE>(v), cu_fetch<ONCE>(v + 1)};
    } else {
      float e[CU_PIECE];
#pragma unroll
      for (int i = 0; i < CU_PIECE; i++) e[i] = cu_fetch<ONCE>(p + i);
      return {{e[0], e[1], e[2], e[3]}, {e[4], e[5], e[6], e[7]}};
    }
  } else {
    const uint16_t *p = reinterpret_cast<const uint16_t *>(row) + CU_PIECE * piece;
    if constexpr (VECTOR)
      return {cu_fetch<ONCE>(reinterpret_cast<const uint4 *>(p))};
    else
      return {
          {cu_fetch_pair<ONCE>(p), cu_fetch_pair<ONCE>(p + 2), cu_fetch_pair<ONCE>(p + 4), cu_fetch_pair<ONCE>(p + 6)}};
  }
}

/* The first n < 8 of them, zeros beyond; rows of blocks have no such rest. */
template <int32_t T>
__device__ __forceinline__ cu_piece<T> cu_load_rest(const char *row, int64_t piece, int64_t n) {
  cu_piece<T> r = {};
  if constexpr (T == CREDENCE_F32) {
    const float *p = reinterpret_cast<const float *>(row) + CU_PIECE * piece;
    const auto at = [p, n](int i) { return i < n ? __ldg(p + i) : 0.0f; };
    r.low = {at(0), at(1), at(2), at(3)};
    r.high = {at(4), at(5), at(6), at(7)};
  } else if constexpr (T == CREDENCE_F16 || T == CREDENCE_BF16) {
    const uint16_t *p = reinterpret_cast<const uint16_t *>(row) + CU_PIECE * piece;
    uint32_t e[CU_PIECE];
#pragma unroll
    for (int i = 0; i < CU_PIECE; i++) e[i] = i < n ? __ldg(p + i) : 0;
    r.halves = {e[0] | e[1] << 16, e[2] | e[3] << 16, e[4] | e[5] << 16, e[6] | e[7] << 16};
  }
  return r;
}

template <int32_t T>
__device__ __forceinline__ void cu_widen_piece(const cu_piece<T> &r, float (&v)[CU_PIECE]) {
  if constexpr (T == CREDENCE_F32) {
    v[0] = r.low.x, v[1] = r.low.y, v[2] = r.low.z, v[3] = r.low.w;
    v[4] = r.high.x, v[5] = r.high.y, v[6] = r.high.z, v[7] = r.high.w;
  } else if constexpr (T == CREDENCE_Q8_0 || T == CREDENCE_Q4_0) {
    const bool bytes = T == CREDENCE_Q8_0;
    const uint32_t low = bytes ? r.low ^ 0x80808080u : r.low & 0x0f0f0f0fu;
    const uint32_t high = bytes ? r.high ^ 0x80808080u : r.high & 0x0f0f0f0fu;
    const float scale = cu_f16_to_f32(static_cast<uint16_t>(r.scale)), zero = bytes ? 128.0f : 8.0f;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      v[i] = scale * (cu_byte(low, i) - zero);
      v[4 + i] = scale * (cu_byte(high, i) - zero);
    }
  } else {
    const uint32_t w[4] = {r.halves.x, r.halves.y, r.halves.z, r.halves.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if constexpr (T == CREDENCE_BF16) {
        v[2 * i] = __uint_as_float(w[i] << 16);
        v[2 * i + 1] = __uint_as_float(w[i] & 0xffff0000u);
      } else {
        v[2 * i] = cu_f16_to_f32(static_cast<uint16_t>(w[i]));
        v[2 * i + 1] = cu_f16_to_f32(static_cast<uint16_t>(w[i] >> 16));
      }
    }
  }
}

/* acc + x . w, one multiply-add after the other. */
__device__ __forceinline__ float cu_dot_piece(const float (&x)[CU_PIECE], const float (&w)[CU_PIECE], float acc) {
#pragma unroll
  for (int i = 0; i < CU_PIECE; i++) acc = fmaf(x[i], w[i], acc);
  return acc;
}

/* Eight floats from p on, which is a multiple of 16 bytes if VECTOR; they are read again. */
template <bool VECTOR>
__device__ __forceinline__ void cu_load_floats(const float *p, float (&v)[CU_PIECE]) {
  cu_widen_piece<CREDENCE_F32>(cu_load_piece<CREDENCE_F32, VECTOR, false>(reinterpret_cast<const char *>(p), 0), v);
}

/* run(std::integral_constant<int32_t, T>) for the type that dtype names, one of those above. */
template <class F>
int32_t cu_stored_switch(int32_t dtype, F run) {
  switch (dtype) {
    case CREDENCE_F16:
      return run(std::integral_constant<int32_t, CREDENCE_F16>());
    case CREDENCE_BF16:
      return run(std::integral_constant<int32_t, CREDENCE_BF16>());
    case CREDENCE_Q8_0:
      return run(std::integral_constant<int32_t, CREDENCE_Q8_0>());
    case CREDENCE_Q4_0:
      return run(std::integral_constant<int32_t, CREDENCE_Q4_0>());
    default:
      return run(std::integral_constant<int32_t, CREDENCE_F32>());
  }
}

#endif

/* widen.h: rows of any stored real type as float32. All conversions are exact. Sources need no alignment. */
#ifndef CREDENCE_CPU_WIDEN_H
#define CREDENCE_CPU_WIDEN_H

#include "cr.h"
#include "vec.h"

typedef uint16_t vh __attribute__((vector_size(CR_W * 2)));
typedef uint16_t vh_any __attribute__((vector_size(CR_W * 2), aligned(1), may_alias));

static inline vf vf_from_half(vh h) {
#if CR_W == 16
  return (vf)_mm512_cvtph_ps((__m256i)h);
#elif CR_W == 8 && defined(__F16C__)
  return (vf)_mm256_cvtph_ps((__m128i)h);
#else
  const vu u = __builtin_convertvector(h, vu), magnitude = (u & 0x7fff) << 13;
  vu bits = (vu)((vf)magnitude * vf_set(0x1p112f));         /* moves the exponent's bias; subnormals become normal */
  bits |= (vu)(magnitude >= (0x7c00u << 13)) & 0x7f800000u; /* Inf and NaN */
  return (vf)(bits | (u & 0x8000) << 16);
#endif
}

static inline vf vf_from_bfloat(vh h) { return (vf)(__builtin_convertvector(h, vu) << 16); }

/* Bytes of n adjacent elements; n is whole blocks for block types. */
static inline int64_t cr_row_bytes(int32_t dtype, int64_t n) {
  switch (dtype) {
    case CREDENCE_Q8_0:
      return n / 32 * 34;
    case CREDENCE_Q4_0:
      return n / 32 * 18;
    default:
      return n * (int64_t)cr_dtype_size(dtype);
  }
}

static inline float half_at(const char *p) {
  vh h = {0};
  memcpy(&h, p, 2);
  return vf_from_half(h)[0];
}

/* n adjacent elements of type f32, f16, bf16, q8_0 or q4_0. */
static inline void cr_widen_row(int32_t dtype, const char *from, float *to, int64_t n) {
  switch (dtype) {
    case CREDENCE_F32:
      if (n > 0) memcpy(to, from, (size_t)n * 4);
      return;
    case CREDENCE_F16:
    case CREDENCE_BF16:
      for (int64_t k = 0; k < n; k += CR_W, from += 2 * CR_W) {
        vh h = {0};
        if (n - k >= CR_W)
          h = *(const vh_any *)from;
        else
          memcpy(&h, from, (size_t)(n - k) * 2);
        vf v = dtype == CREDENCE_F16 ? vf_from_half(h) : vf_from_bfloat(h);
        if (n - k >= CR_W)
          vf_store(to + k, v);
        else
          vf_store_n(to + k, v, n - k);
      }
      return;
    case CREDENCE_Q8_0:
      for (int64_t k = 0; k < n; k += 32, from += 34) {
        const float scale = half_at(from);
        const int8_t *q = (const int8_t *)from + 2;
        for (int j = 0; j < 32; j++) to[k + j] = scale * (float)q[j];
      }
      return;
    case CREDENCE_Q4_0:
      for (int64_t k = 0; k < n; k += 32, from += 18) {
        const float scale = half_at(from);
        const uint8_t *q = (const uint8_t *)from + 2;
        for (int j = 0; j < 16; j++) {
          to[k + j] = scale * (float)((q[j] & 15) - 8);
          to[k + j + 16] = scale * (float)((q[j] >> 4) - 8);
        }
      }
      return;
    default:
      return;
  }
}

#endif

/* narrow.h: float32 to the 16-bit types, to nearest even; the reverse of widen.h. */
#ifndef CREDENCE_CPU_NARROW_H
#define CREDENCE_CPU_NARROW_H

#include "widen.h"

/* Too large becomes Inf, NaN stays NaN. */
static inline vh vf_to_half(vf v) {
#if CR_W == 16
  return (vh)_mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif CR_W == 8 && defined(__F16C__)
  return (vh)_mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  const vu a = (vu)v & 0x7fffffff;
  const vu normal = ((a + 0xfff + (a >> 13 & 1)) >> 13) - (112 << 10);
  const vu subnormal = (vu)((vf)a + vf_set(.5f)) - 0x3f000000; /* a step of 1/2 + x is the smallest half */
  vu r = (vu)vf_select((vi)(a < 0x38800000), (vf)subnormal, (vf)normal);
  r = (vu)vf_select((vi)(a >= 0x47800000), (vf)((vu){0} + 0x7c00), (vf)r);
  r |= (vu)(a > 0x7f800000) & 0x7e00;
  return __builtin_convertvector(r | ((vu)v >> 16 & 0x8000), vh);
#endif
}

static inline vh vf_to_bfloat(vf v) {
  const vu u = (vu)v, rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16;
  return __builtin_convertvector((vu)vf_select(v != v, (vf)(u >> 16 | 0x40), (vf)rounded), vh);
}

/* n adjacent elements to type f32, f16 or bf16. */
static inline void cr_narrow_row(int32_t dtype, const float *from, char *to, int64_t n) {
  if (dtype == CREDENCE_F32) {
    if (n > 0) memcpy(to, from, (size_t)n * 4);
    return;
  }
  for (int64_t k = 0; k < n; k += CR_W, to += 2 * CR_W) {
    vf v = n - k >= CR_W ? vf_load(from + k) : vf_load_n(from + k, n - k);
    vh h = dtype == CREDENCE_F16 ? vf_to_half(v) : vf_to_bfloat(v);
    if (n - k >= CR_W)
      *(vh_any *)to = h;
    else
      memcpy(to, &h, (size_t)(n - k) * 2);
  }
}

#endif

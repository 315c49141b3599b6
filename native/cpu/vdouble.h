/* vdouble.h: float64 vectors of the same width in bytes as vec.h's, for sums that must neither cancel nor overflow. A
 * float vector widens to two of them, the low lanes and the high. */
#ifndef CREDENCE_CPU_VDOUBLE_H
#define CREDENCE_CPU_VDOUBLE_H

#include "vec.h"

typedef double vd __attribute__((vector_size(CR_W * 4)));
typedef double vd_loose __attribute__((vector_size(CR_W * 4), aligned(8), may_alias));

static inline vd vd_load(const double *p) { return *(const vd_loose *)p; }
static inline void vd_store(double *p, vd v) { *(vd_loose *)p = v; }
static inline vd vd_set(double x) { return x - (vd){0}; }

#if CR_W == 16
static inline vd vd_low(vf v) { return (vd)_mm512_cvtps_pd(_mm512_castps512_ps256((__m512)v)); }
static inline vd vd_high(vf v) { return (vd)_mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)v, 1)); }
static inline vd vd_fma(vd a, vd b, vd c) { return (vd)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c); }
#elif CR_W == 8
static inline vd vd_low(vf v) { return (vd)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)v)); }
static inline vd vd_high(vf v) { return (vd)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)v, 1)); }
static inline vd vd_fma(vd a, vd b, vd c) { return (vd)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c); }
#elif defined(__SSE2__)
static inline vd vd_low(vf v) { return (vd)_mm_cvtps_pd((__m128)v); }
static inline vd vd_high(vf v) { return (vd)_mm_cvtps_pd(_mm_movehl_ps((__m128)v, (__m128)v)); }
static inline vd vd_fma(vd a, vd b, vd c) { return a * b + c; }
#elif defined(__ARM_NEON) && defined(__aarch64__)
static inline vd vd_low(vf v) { return (vd)vcvt_f64_f32(vget_low_f32((float32x4_t)v)); }
static inline vd vd_high(vf v) { return (vd)vcvt_high_f64_f32((float32x4_t)v); }
static inline vd vd_fma(vd a, vd b, vd c) { return (vd)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b); }
#else
static inline vd vd_low(vf v) { return (vd){v[0], v[1]}; }
static inline vd vd_high(vf v) { return (vd){v[2], v[3]}; }
static inline vd vd_fma(vd a, vd b, vd c) { return a * b + c; }
#endif

/* Sum of the lanes, ascending. */
static inline double vd_sum(vd v) {
  double sum = v[0];
  for (int k = 1; k < CR_W / 2; k++) sum += v[k];
  return sum;
}

#endif

/* vec.h: the widest float vector of this instruction set, through GCC/Clang vector extensions, so that one source
 * serves AVX-512 (16 lanes), AVX2 (8) and everything else (4: SSE2, NEON). Compile with -ffp-contract=off: a
 * multiply-add is fused where vf_fma is written and nowhere else, so that tails and full vectors give the same bits. */
#ifndef CREDENCE_CPU_VEC_H
#define CREDENCE_CPU_VEC_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define CR_W 16
#include <immintrin.h>
#elif defined(__AVX2__)
#define CR_W 8
#include <immintrin.h>
#else
#define CR_W 4
#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#endif
#endif

typedef float vf __attribute__((vector_size(CR_W * 4)));
typedef int32_t vi __attribute__((vector_size(CR_W * 4)));
typedef uint32_t vu __attribute__((vector_size(CR_W * 4)));
typedef float vf_loose __attribute__((vector_size(CR_W * 4), aligned(4), may_alias));
typedef int32_t vi_loose __attribute__((vector_size(CR_W * 4), aligned(4), may_alias));

static inline vf vf_load(const float *p) { return *(const vf_loose *)p; }
static inline void vf_store(float *p, vf v) { *(vf_loose *)p = v; }

/* A store that leaves the caches alone, for results too large to be read again from them: p is a multiple of the
 * vector's size. Other threads see it after vf_stream_end. */
static inline void vf_stream(float *p, vf v) {
#if CR_W == 16
  _mm512_stream_ps(p, (__m512)v);
#elif CR_W == 8
  _mm256_stream_ps(p, (__m256)v);
#elif defined(__SSE2__)
  _mm_stream_ps(p, (__m128)v);
#else
  vf_store(p, v);
#endif
}
static inline void vf_stream_end(void) {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

static inline vf vf_set(float x) { return x - (vf){0}; }
static inline vi vi_set(int32_t x) { return x - (vi){0}; }

/* 0, 1, 2 ... */
#if CR_W == 16
static inline vi vi_lanes(void) { return (vi){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }
#elif CR_W == 8
static inline vi vi_lanes(void) { return (vi){0, 1, 2, 3, 4, 5, 6, 7}; }
#else
static inline vi vi_lanes(void) { return (vi){0, 1, 2, 3}; }
#endif

/* The first n lanes (0 < n < CR_W); the others are zero, and their memory is not touched. */
#if CR_W == 16
static inline __mmask16 vf_first(int64_t n) { return (__mmask16)((1u << n) - 1); }
static inline vf vf_load_n(const float *p, int64_t n) { return (vf)_mm512_maskz_loadu_ps(vf_first(n), p); }
static inline void vf_store_n(float *p, vf v, int64_t n) { _mm512_mask_storeu_ps(p, vf_first(n), (__m512)v); }
#elif CR_W == 8
static inline __m256i vf_first(int64_t n) { return (__m256i)(vi_lanes() < vi_set((int32_t)n)); }
static inline vf vf_load_n(const float *p, int64_t n) { return (vf)_mm256_maskload_ps(p, vf_first(n)); }
static inline void vf_store_n(float *p, vf v, int64_t n) { _mm256_maskstore_ps(p, vf_first(n), (__m256)v); }
#else
static inline vf vf_load_n(const float *p, int64_t n) { return (vf){p[0], n > 1 ? p[1] : 0, n > 2 ? p[2] : 0, 0}; }
static inline void vf_store_n(float *p, vf v, int64_t n) {
  p[0] = v[0];
  if (n > 1) p[1] = v[1];
  if (n > 2) p[2] = v[2];
}
#endif

/* a * b + c, one rounding where the set has it (the generic set rounds twice: its bits are its own). */
static inline vf vf_fma(vf a, vf b, vf c) {
#if CR_W == 16
  return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif CR_W == 8 && defined(__FMA__)
  return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__ARM_NEON) && defined(__aarch64__)
  return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

/* Correctly rounded. */
static inline vf vf_sqrt(vf a) {
#if CR_W == 16
  return (vf)_mm512_sqrt_ps((__m512)a);
#elif CR_W == 8
  return (vf)_mm256_sqrt_ps((__m256)a);
#elif defined(__SSE2__)
  return (vf)_mm_sqrt_ps((__m128)a);
#elif defined(__ARM_NEON) && defined(__aarch64__)
  return (vf)vsqrtq_f32((float32x4_t)a);
#else
  for (int k = 0; k < CR_W; k++) a[k] = sqrtf(a[k]);
  return a;
#endif
}

/* mask lanes are all ones or all zeros, as vector comparisons give them */
static inline vf vf_select(vi mask, vf yes, vf no) { return (vf)((mask & (vi)yes) | (~mask & (vi)no)); }
/* x where mask, else 0. */
static inline vf vf_where(vi mask, vf x) { return (vf)(mask & (vi)x); }
static inline vf vf_abs(vf a) { return (vf)((vi)a & vi_set(0x7fffffff)); }

/* One bit per lane of a mask. */
static inline uint32_t vi_bits(vi mask) {
#if CR_W == 16
  return _mm512_movepi32_mask((__m512i)mask);
#elif CR_W == 8
  return (uint32_t)_mm256_movemask_ps((__m256)mask);
#elif defined(__SSE2__)
  return (uint32_t)_mm_movemask_ps((__m128)mask);
#else
  uint32_t bits = 0;
  for (int k = 0; k < CR_W; k++) bits |= (uint32_t)(mask[k] & 1) << k;
  return bits;
#endif
}

/* NaN if either is NaN. */
#if CR_W == 16
#define CR_MAX(a, b) (vf) _mm512_max_ps((__m512)(a), (__m512)(b))
#define CR_MIN(a, b) (vf) _mm512_min_ps((__m512)(a), (__m512)(b))
#elif CR_W == 8
#define CR_MAX(a, b) (vf) _mm256_max_ps((__m256)(a), (__m256)(b))
#define CR_MIN(a, b) (vf) _mm256_min_ps((__m256)(a), (__m256)(b))
#elif defined(__SSE2__)
#define CR_MAX(a, b) (vf) _mm_max_ps((__m128)(a), (__m128)(b))
#define CR_MIN(a, b) (vf) _mm_min_ps((__m128)(a), (__m128)(b))
#else /* b unless a is better, as x86 has it */
#define CR_MAX(a, b) vf_select((a) > (b), a, b)
#define CR_MIN(a, b) vf_select((a) < (b), a, b)
#endif
static inline vf vf_max(vf a, vf b) { return vf_select(a != a, a, CR_MAX(a, b)); }
static inline vf vf_min(vf a, vf b) { return vf_select(a != a, a, CR_MIN(a, b)); }

/* a limited from one side by a number; NaN stays NaN. */
static inline vf vf_at_least(vf a, float limit) { return CR_MAX(vf_set(limit), a); }
static inline vf vf_at_most(vf a, float limit) { return CR_MIN(vf_set(limit), a); }

/* Halves of a vector, for folding its lanes in a fixed order: lane k with lane k + n/2, the same for every count of
 * valid lanes when the rest are neutral. */
typedef float vf_4 __attribute__((vector_size(16)));
typedef float vf_8 __attribute__((vector_size(32)));
#if CR_W == 16
#define CR_LOW(v) __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7)
#define CR_HIGH(v) __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15)
#endif
#define CR_LOW_8(v) __builtin_shufflevector(v, v, 0, 1, 2, 3)
#define CR_HIGH_8(v) __builtin_shufflevector(v, v, 4, 5, 6, 7)

/* Sum of the lanes. */
static inline float vf_sum(vf v) {
#if CR_W == 16
  vf_8 v8 = CR_LOW(v) + CR_HIGH(v);
  vf_4 v4 = CR_LOW_8(v8) + CR_HIGH_8(v8);
#elif CR_W == 8
  vf_4 v4 = CR_LOW_8(v) + CR_HIGH_8(v);
#else
  vf_4 v4 = v;
#endif
  return (v4[0] + v4[2]) + (v4[1] + v4[3]);
}

/* Largest lane; NaN if any is NaN. */
static inline float vf_max_lane(vf v) {
#if CR_W == 16
  v = vf_max(v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  v = vf_max(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
  v = vf_max(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
  v = vf_max(v, __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
#elif CR_W == 8
  v = vf_max(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3));
  v = vf_max(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5));
  v = vf_max(v, __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6));
#else
  v = vf_max(v, __builtin_shufflevector(v, v, 2, 3, 0, 1));
  v = vf_max(v, __builtin_shufflevector(v, v, 1, 0, 3, 2));
#endif
  return v[0];
}
static inline float vf_min_lane(vf v) { return -vf_max_lane(-v); }

#endif

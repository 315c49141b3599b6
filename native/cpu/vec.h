/* vec.h: the widest float vector of this instruction set, through GCC/Clang vector extensions, so that one source
 * serves AVX-512 (16 lanes), AVX2 (8) and everything else (4: SSE2, NEON). Compile with -ffp-contract=off: a
 * multiply-add is fused where vf_fma is written and nowhere else, so that tails and full vectors give the same bits. */
#ifndef CREDENCE_CPU_VEC_H
#define CREDENCE_CPU_VEC_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define CR_W 16
#elif defined(__AVX2__)
#define CR_W 8
#else
#define CR_W 4
#endif

typedef float vf __attribute__((vector_size(CR_W * 4)));
typedef int32_t vi __attribute__((vector_size(CR_W * 4)));
typedef uint32_t vu __attribute__((vector_size(CR_W * 4)));
typedef float vf_loose __attribute__((vector_size(CR_W * 4), aligned(4), may_alias));
typedef int32_t vi_loose __attribute__((vector_size(CR_W * 4), aligned(4), may_alias));

static inline vf vf_load(const float *p) { return *(const vf_loose *)p; }
static inline void vf_store(float *p, vf v) { *(vf_loose *)p = v; }
static inline vf vf_set(float x) { return x - (vf){0}; }
static inline vi vi_set(int32_t x) { return x - (vi){0}; }

/* The first n lanes (0 < n < CR_W); the others are zero, and their memory is not touched. */
#if defined(__AVX512F__)
static inline __mmask16 vf_first(int64_t n) { return (__mmask16)((1u << n) - 1); }
static inline vf vf_load_n(const float *p, int64_t n) { return (vf)_mm512_maskz_loadu_ps(vf_first(n), p); }
static inline void vf_store_n(float *p, vf v, int64_t n) { _mm512_mask_storeu_ps(p, vf_first(n), (__m512)v); }
#elif defined(__AVX2__)
static inline __m256i vf_first(int64_t n) { return (__m256i)((vi){0, 1, 2, 3, 4, 5, 6, 7} < vi_set((int32_t)n)); }
static inline vf vf_load_n(const float *p, int64_t n) { return (vf)_mm256_maskload_ps(p, vf_first(n)); }
static inline void vf_store_n(float *p, vf v, int64_t n) { _mm256_maskstore_ps(p, vf_first(n), (__m256)v); }
#else
static inline vf vf_load_n(const float *p, int64_t n) {
  vf v = {0};
  memcpy(&v, p, (size_t)n * 4);
  return v;
}
static inline void vf_store_n(float *p, vf v, int64_t n) { memcpy(p, &v, (size_t)n * 4); }
#endif

/* a * b + c, one rounding where the set has it (the generic set rounds twice: its bits are its own). */
#if defined(__AVX512F__)
static inline vf vf_fma(vf a, vf b, vf c) { return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
#elif defined(__AVX2__) && defined(__FMA__)
static inline vf vf_fma(vf a, vf b, vf c) { return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
#elif defined(__ARM_NEON) && defined(__aarch64__)
static inline vf vf_fma(vf a, vf b, vf c) { return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
#else
static inline vf vf_fma(vf a, vf b, vf c) { return a * b + c; }
#endif

/* mask lanes are all ones or all zeros, as vector comparisons give them */
static inline vf vf_select(vi mask, vf yes, vf no) { return (vf)((mask & (vi)yes) | (~mask & (vi)no)); }

/* Sum of the lanes in a fixed order (halving), the same for every count of valid lanes when the rest are zero. */
static inline float vf_sum(vf v) {
  float lane[CR_W];
  memcpy(lane, &v, sizeof lane);
  for (int half = CR_W / 2; half >= 1; half /= 2)
    for (int k = 0; k < half; k++) lane[k] += lane[k + half];
  return lane[0];
}

#endif

/* vmath.h: elementary functions on vectors. Every lane is computed by the same operations whatever the others hold, so
 * an element gives the same bits in a full vector and in a tail. Polynomials are minimax fits (weighted Remez) made for
 * this file; range reductions are the usual ones (Muller, Elementary Functions, ch. 11). Comments give the largest
 * error seen in 4 million samples over all binades on any instruction set, in units in the last place where the result
 * is normal (native/test/vector_test.c). */
#ifndef CREDENCE_CPU_VMATH_H
#define CREDENCE_CPU_VMATH_H

#include "vec.h"

#define CR_LN2_HI 0x1.63p-1f /* 8 bits, so that n CR_LN2_HI is exact */
#define CR_LN2_LO -0x1.bd0106p-13f

/* The magnitude of one with the sign of the other. */
static inline vf vf_copysign(vf magnitude, vf sign) {
  return (vf)(((vi)magnitude & vi_set(0x7fffffff)) | ((vi)sign & vi_set((int32_t)0x80000000)));
}

/* p 2^n with one rounding, for p near 1 and |n| <= 254. */
static inline vf vf_scale(vf p, vf n_float, vi n) {
#if CR_W == 16
  (void)n;
  return (vf)_mm512_scalef_ps((__m512)p, (__m512)n_float);
#else
  (void)n_float;
  vi half = n >> 1;
  vf s = (vf)((vu)(half + 127) << 23), t = (vf)((vu)(n - half + 127) << 23);
  return p * s * t; /* the first product is exact */
#endif
}

/* x + low = n ln 2 + r with |r| <= ln 2 / 2; returns r + r^2 P(r) = e^r - 1. x must lie in -104 .. 89 or be NaN. */
static inline vf vf_exp_reduce(vf x, vf low, vf *n_float, vi *n) {
  const vf magic = vf_set(0x1.8p23f);
  vf t = vf_fma(x, vf_set(0x1.715476p0f), magic);
  vf k = t - magic;
  *n = (vi)t - vi_set(0x4b400000);
  *n_float = k;
  vf r = vf_fma(k, vf_set(-CR_LN2_HI), x);
  r = vf_fma(k, vf_set(-CR_LN2_LO), r) + low;
  vf p = vf_fma(r, vf_set(0x1.6a224ep-10f), vf_set(0x1.123b04p-7f));
  p = vf_fma(p, r, vf_set(0x1.5558f8p-5f));
  p = vf_fma(p, r, vf_set(0x1.555490p-3f));
  p = vf_fma(p, r, vf_set(0x1.fffffcp-2f));
  return vf_fma(p, r * r, r);
}

/* e^(x + low), where low is a small correction of x. */
static inline vf vf_exp_sum(vf x, vf low) {
  vf n_float;
  vi n;
  vf e = vf_exp_reduce(x, low, &n_float, &n);
  return vf_scale(vf_set(1) + e, n_float, n);
}

/* e^x, 0.99 ulp. Overflow gives Inf, underflow is gradual. */
static inline vf vf_exp(vf x) { return vf_exp_sum(vf_at_least(vf_at_most(x, 89), -104), vf_set(0)); }

/* e^x for x <= 0: one comparison less. */
static inline vf vf_exp_negative(vf x) { return vf_exp_sum(vf_at_least(x, -104), vf_set(0)); }

/* 1 - e^-x for x >= 0, with relative accuracy near 0: 0.94 ulp. */
static inline vf vf_one_minus_exp(vf x) {
  vf k;
  vi n;
  vf e = vf_exp_reduce(-vf_at_most(x, 32), vf_set(0), &k, &n);
  vf s = vf_scale(vf_set(1), k, n);
  return (vf_set(1) - s) - s * e; /* 1 - s is exact enough: s is a power of two */
}

/* Natural logarithm, 0.84 ulp. 0: -Inf; below 0: NaN. */
static inline vf vf_log(vf x) {
  vi small = x < vf_set(0x1p-126f);
  vf v = vf_select(small, x * vf_set(0x1p23f), x);
  /* v = m 2^e with m in sqrt 1/2 .. sqrt 2 */
  vi ix = (vi)((vu)v - (vu)vi_set(0x3f3504f3));
  vi e = (ix >> 23) - (small & vi_set(23));
  vf f = (vf)((ix & vi_set(0x007fffff)) + vi_set(0x3f3504f3)) - vf_set(1);
  vf k = __builtin_convertvector(e, vf);
  vf z = f * f;
  vf p = vf_fma(f, vf_set(0x1.1456bap-4f), vf_set(-0x1.de3bd6p-4f));
  p = vf_fma(p, f, vf_set(0x1.e6f0b6p-4f));
  p = vf_fma(p, f, vf_set(-0x1.fc2216p-4f));
  p = vf_fma(p, f, vf_set(0x1.233764p-3f));
  p = vf_fma(p, f, vf_set(-0x1.555c4cp-3f));
  p = vf_fma(p, f, vf_set(0x1.99a4b6p-3f));
  p = vf_fma(p, f, vf_set(-0x1.000006p-2f));
  p = vf_fma(p, f, vf_set(0x1.555548p-2f));
  vf y = vf_fma(p, z * f, vf_fma(k, vf_set(CR_LN2_LO), vf_set(-.5f) * z));
  y = vf_fma(k, vf_set(CR_LN2_HI), f + y);
  const vf inf = vf_set(INFINITY);
  y = vf_select(x < inf, y, x + x); /* Inf and NaN */
  y = vf_select(x > vf_set(0), y, vf_select(x == vf_set(0), -inf, x * vf_set(NAN)));
  return y;
}

/* log(1 + z) for z in 0 .. 1, as 2 atanh(z / (2 + z)). */
static inline vf vf_log1p_unit(vf z) {
  vf s = z / (vf_set(2) + z), q = s * s;
  vf p = vf_fma(q, vf_set(0x1.f1aeeep-3f), vf_set(0x1.b6d6a0p-3f));
  p = vf_fma(p, q, vf_set(0x1.250972p-2f));
  p = vf_fma(p, q, vf_set(0x1.9996a8p-2f));
  p = vf_fma(p, q, vf_set(0x1.555558p-1f));
  return vf_fma(s * q, p, s + s);
}

/* 1.5 ulp. */
static inline vf vf_tanh(vf x) {
  vf a = vf_abs(x), z = x * x;
  vf p = vf_fma(z, vf_set(-0x1.9bba2ap-8f), vf_set(0x1.59567ap-6f));
  p = vf_fma(p, z, vf_set(-0x1.b92bb8p-5f));
  p = vf_fma(p, z, vf_set(0x1.110d3cp-3f));
  p = vf_fma(p, z, vf_set(-0x1.55554cp-2f));
  vf near = vf_fma(p, z * x, x);
  vf e = vf_exp_sum(vf_at_most(a + a, 20), vf_set(0)); /* tanh 10 rounds to 1 */
  vf far = vf_copysign(vf_set(1) - vf_set(2) / (e + vf_set(1)), x);
  return vf_select(a < vf_set(.55f), near, far);
}

/* 1 / (1 + e^-x), 2.4 ulp, also where it is small. */
static inline vf vf_sigmoid(vf x) {
  vf z = vf_exp_negative(-vf_abs(x));
  return vf_select(x < vf_set(0), z, vf_set(1)) / (vf_set(1) + z);
}

/* log(1 + e^x), 2.7 ulp, also where it is small. */
static inline vf vf_softplus(vf x) {
  vf z = vf_exp_negative(-vf_abs(x));
  return vf_at_least(x, 0) + vf_log1p_unit(z);
}

/* The standard normal distribution function, 5 ulp also where it is small, and e^(-x^2/2). x must not lie beyond -16 ..
 * 16 (NaN may). For t >= 0: Phi(-t) = e^(-t^2/2) R(t), where (t + 3) R is a polynomial in (t - 3) / (t + 3). */
static inline vf vf_normal_cdf(vf x, vf *density) {
  vf t = vf_abs(x);
  vf r = vf_set(1) / (t + vf_set(3));
  vf u = (t - vf_set(3)) * r;
  vf p = vf_fma(u, vf_set(0x1.c8e0d8p-15f), vf_set(0x1.134d32p-13f));
  p = vf_fma(p, u, vf_set(-0x1.00a330p-12f));
  p = vf_fma(p, u, vf_set(-0x1.0eac6ap-10f));
  p = vf_fma(p, u, vf_set(0x1.0ca392p-10f));
  p = vf_fma(p, u, vf_set(0x1.c8bd88p-8f));
  p = vf_fma(p, u, vf_set(-0x1.56d5f8p-7f));
  p = vf_fma(p, u, vf_set(-0x1.832d0ap-5f));
  p = vf_fma(p, u, vf_set(0x1.d71386p-3f));
  p = vf_fma(p, u, vf_set(-0x1.04c72ap-1f));
  p = vf_fma(p, u, vf_set(0x1.754a76p-1f));
  /* t^2/2 = h^2/2 + (t - h)(t + h)/2 with h^2 exact: rounding t^2 would cost up to 2^7 units in the last place */
  vf h = (vf)((vi)t & vi_set((int32_t)0xfffff000));
  vf e = vf_exp_sum(vf_set(-.5f) * (h * h), vf_set(-.5f) * ((t - h) * (t + h)));
  *density = e;
  vf q = e * (p * r);
  return vf_select(x > vf_set(0), vf_set(1) - q, q);
}

#endif

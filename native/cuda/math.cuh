/* math.cuh: elementary functions, by the operations of cpu/vmath.h in one lane. So the errors stated and measured there
 * (native/test/vector_test.c) are the GPU's, and the emulator checks the very arithmetic that runs on a GPU, which the
 * vendor's functions would replace by those of the host. */
#ifndef CREDENCE_CUDA_MATH_CUH
#define CREDENCE_CUDA_MATH_CUH

#include "kernel.cuh"

#define CU_MATH __device__ __forceinline__

/* NaN passes through both. */
CU_MATH float cu_at_least(float x, float limit) { return x < limit ? limit : x; }
CU_MATH float cu_at_most(float x, float limit) { return x > limit ? limit : x; }

/* NaN if either is NaN. */
CU_MATH float cu_max(float a, float b) { return a > b || a != a ? a : b; }
CU_MATH float cu_min(float a, float b) { return a < b || a != a ? a : b; }

/* 2^n for -126 <= n <= 127; anything else is not used. */
CU_MATH float cu_power_of_two(int32_t n) { return __uint_as_float((static_cast<uint32_t>(n) + 127) << 23); }

/* p 2^n with one rounding, for p near 1 and |n| <= 252. */
CU_MATH float cu_scaled(float p, int32_t n) {
  const int32_t half = n >> 1;
  return p * cu_power_of_two(half) * cu_power_of_two(n - half); /* the first product is exact */
}

/* x + low = n ln 2 + r with |r| <= ln 2 / 2; returns r + r^2 P(r) = e^r - 1. x must lie in -104 .. 89 or be NaN. */
CU_MATH float cu_exp_reduce(float x, float low, int32_t *n) {
  const float magic = 0x1.8p23f, t = fmaf(x, 0x1.715476p0f, magic), k = t - magic;
  *n = static_cast<int32_t>(__float_as_uint(t) - 0x4b400000u);
  float r = fmaf(k, -0x1.63p-1f, x); /* 8 bits of ln 2, so that the product is exact */
  r = fmaf(k, 0x1.bd0106p-13f, r) + low;
  float p = fmaf(r, 0x1.6a224ep-10f, 0x1.123b04p-7f);
  p = fmaf(p, r, 0x1.5558f8p-5f);
  p = fmaf(p, r, 0x1.555490p-3f);
  p = fmaf(p, r, 0x1.fffffcp-2f);
  return fmaf(p, r * r, r);
}

/* e^(x + low), where low is a small correction of x; the range is that of cu_exp_reduce. */
CU_MATH float cu_exp_sum(float x, float low) {
  int32_t n;
  const float e = cu_exp_reduce(x, low, &n);
  return cu_scaled(1 + e, n);
}

/* e^x. Overflow gives Inf, underflow is gradual. */
CU_MATH float cu_exp(float x) { return cu_exp_sum(cu_at_least(cu_at_most(x, 89), -104), 0); }

/* e^x for x <= 0: one comparison less. */
CU_MATH float cu_exp_negative(float x) { return cu_exp_sum(cu_at_least(x, -104), 0); }

/* 1 - e^-x for x >= 0, with relative accuracy near 0. */
CU_MATH float cu_one_minus_exp(float x) {
  int32_t n;
  const float e = cu_exp_reduce(-cu_at_most(x, 32), 0, &n), s = cu_scaled(1, n);
  return (1 - s) - s * e; /* 1 - s is exact enough: s is a power of two */
}

/* Natural logarithm. 0: -Inf; below 0: NaN. */
CU_MATH float cu_log(float x) {
  const bool small = x < 0x1p-126f;
  const float v = small ? x * 0x1p23f : x;
  /* v = m 2^e with m in sqrt 1/2 .. sqrt 2 */
  const uint32_t ix = __float_as_uint(v) - 0x3f3504f3u;
  const int32_t e = (static_cast<int32_t>(ix) >> 23) - (small ? 23 : 0);
  const float f = __uint_as_float((ix & 0x007fffffu) + 0x3f3504f3u) - 1, k = static_cast<float>(e), z = f * f;
  float p = fmaf(f, 0x1.1456bap-4f, -0x1.de3bd6p-4f);
  p = fmaf(p, f, 0x1.e6f0b6p-4f);
  p = fmaf(p, f, -0x1.fc2216p-4f);
  p = fmaf(p, f, 0x1.233764p-3f);
  p = fmaf(p, f, -0x1.555c4cp-3f);
  p = fmaf(p, f, 0x1.99a4b6p-3f);
  p = fmaf(p, f, -0x1.000006p-2f);
  p = fmaf(p, f, 0x1.555548p-2f);
  float y = fmaf(p, z * f, fmaf(k, -0x1.bd0106p-13f, -.5f * z));
  y = fmaf(k, 0x1.63p-1f, f + y);
  if (!(x < INFINITY)) y = x + x; /* Inf and NaN */
  return x > 0 ? y : x == 0 ? -INFINITY : x * NAN;
}

/* log(1 + z) for z in 0 .. 1, as 2 atanh(z / (2 + z)). */
CU_MATH float cu_log1p_unit(float z) {
  const float s = z / (2 + z), q = s * s;
  float p = fmaf(q, 0x1.f1aeeep-3f, 0x1.b6d6a0p-3f);
  p = fmaf(p, q, 0x1.250972p-2f);
  p = fmaf(p, q, 0x1.9996a8p-2f);
  p = fmaf(p, q, 0x1.555558p-1f);
  return fmaf(s * q, p, s + s);
}

CU_MATH float cu_tanh(float x) {
  const float a = fabsf(x), z = x * x;
  if (a < .55f) {
    float p = fmaf(z, -0x1.9bba2ap-8f, 0x1.59567ap-6f);
    p = fmaf(p, z, -0x1.b92bb8p-5f);
    p = fmaf(p, z, 0x1.110d3cp-3f);
    p = fmaf(p, z, -0x1.55554cp-2f);
    return fmaf(p, z * x, x);
  }
  const float e = cu_exp_sum(cu_at_most(a + a, 20), 0); /* tanh 10 rounds to 1 */
  const float y = 1 - 2 / (e + 1);
  return x < 0 ? -y : y;
}

/* 1 / (1 + e^-x), also where it is small. */
CU_MATH float cu_sigmoid(float x) {
  const float z = cu_exp_negative(-fabsf(x));
  return (x < 0 ? z : 1) / (1 + z);
}

/* log(1 + e^x), also where it is small. */
CU_MATH float cu_softplus(float x) { return cu_at_least(x, 0) + cu_log1p_unit(cu_exp_negative(-fabsf(x))); }

/* The standard normal distribution function and e^(-x^2/2). x must not lie beyond -16 .. 16 (NaN may). For t >= 0:
 * Phi(-t) = e^(-t^2/2) R(t), where (t + 3) R is a polynomial in (t - 3) / (t + 3). */
CU_MATH float cu_normal_cdf(float x, float *density) {
  const float t = fabsf(x), r = 1 / (t + 3), u = (t - 3) * r;
  float p = fmaf(u, 0x1.c8e0d8p-15f, 0x1.134d32p-13f);
  p = fmaf(p, u, -0x1.00a330p-12f);
  p = fmaf(p, u, -0x1.0eac6ap-10f);
  p = fmaf(p, u, 0x1.0ca392p-10f);
  p = fmaf(p, u, 0x1.c8bd88p-8f);
  p = fmaf(p, u, -0x1.56d5f8p-7f);
  p = fmaf(p, u, -0x1.832d0ap-5f);
  p = fmaf(p, u, 0x1.d71386p-3f);
  p = fmaf(p, u, -0x1.04c72ap-1f);
  p = fmaf(p, u, 0x1.754a76p-1f);
  /* t^2/2 = h^2/2 + (t - h)(t + h)/2 with h^2 exact: rounding t^2 would cost up to 2^7 units in the last place */
  const float h = __uint_as_float(__float_as_uint(t) & 0xfffff000u);
  const float e = cu_exp_sum(-.5f * (h * h), -.5f * ((t - h) * (t + h))), q = e * (p * r);
  *density = e;
  return x > 0 ? 1 - q : q;
}

#endif

/* emu_math.h: intrinsics and device functions that the host's libm has not. The host compiles kernels with
 * -ffp-contract=off: results differ from a GPU's in the last bits, where that fuses multiply-adds and has a libm of its
 * own. */
#ifndef CREDENCE_EMULATOR_MATH_H
#define CREDENCE_EMULATOR_MATH_H

#include <math.h>

#include <cstdint>
#include <cstring>

template <class To, class From>
To emu_bits(From v) {
  static_assert(sizeof(To) == sizeof(From), "as many bits");
  To to;
  std::memcpy(&to, &v, sizeof to);
  return to;
}
inline int __float_as_int(float v) { return emu_bits<int>(v); }
inline unsigned __float_as_uint(float v) { return emu_bits<unsigned>(v); }
inline float __int_as_float(int v) { return emu_bits<float>(v); }
inline float __uint_as_float(unsigned v) { return emu_bits<float>(v); }
inline long long __double_as_longlong(double v) { return emu_bits<long long>(v); }
inline double __longlong_as_double(long long v) { return emu_bits<double>(v); }

/* Loads and stores with a cache's advice. */
template <class T>
T __ldg(const T *p) {
  return *p;
}
template <class T>
T __ldcs(const T *p) {
  return *p;
}
template <class T>
T __ldcg(const T *p) {
  return *p;
}
template <class T>
T __ldca(const T *p) {
  return *p;
}
template <class T>
void __stcs(T *p, T v) {
  *p = v;
}
template <class T>
void __stcg(T *p, T v) {
  *p = v;
}

/* ---- integers ---- */
inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __ffsll(long long v) { return __builtin_ffsll(v); }
inline int __clz(int v) { return v == 0 ? 32 : __builtin_clz(static_cast<unsigned>(v)); }
inline int __clzll(long long v) { return v == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(v)); }
inline unsigned __brev(unsigned v) {
  unsigned y = 0;
  for (int k = 0; k < 32; k++) y |= (v >> k & 1u) << (31 - k);
  return y;
}
inline unsigned long long __brevll(unsigned long long v) {
  return static_cast<unsigned long long>(__brev(static_cast<unsigned>(v))) << 32 |
         __brev(static_cast<unsigned>(v >> 32));
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
/* Byte k of the result is the byte of b:a that the low 3 bits of selector's digit k name. */
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const uint64_t both = static_cast<uint64_t>(b) << 32 | a;
  unsigned y = 0;
  for (int k = 0; k < 4; k++) y |= (static_cast<unsigned>(both >> 8 * (selector >> 4 * k & 7u)) & 255u) << 8 * k;
  return y;
}
inline int __dp4a(int a, int b, int c) {
  for (int k = 0; k < 4; k++)
    c +=
        static_cast<int8_t>(static_cast<unsigned>(a) >> 8 * k) * static_cast<int8_t>(static_cast<unsigned>(b) >> 8 * k);
  return c;
}

/* CUDA declares these outside of any namespace. */
inline int min(int a, int b) { return b < a ? b : a; }
inline int max(int a, int b) { return a < b ? b : a; }
inline unsigned min(unsigned a, unsigned b) { return b < a ? b : a; }
inline unsigned max(unsigned a, unsigned b) { return a < b ? b : a; }
inline long min(long a, long b) { return b < a ? b : a; }
inline long max(long a, long b) { return a < b ? b : a; }
inline long long min(long long a, long long b) { return b < a ? b : a; }
inline long long max(long long a, long long b) { return a < b ? b : a; }
inline unsigned long min(unsigned long a, unsigned long b) { return b < a ? b : a; }
inline unsigned long max(unsigned long a, unsigned long b) { return a < b ? b : a; }
inline unsigned long long min(unsigned long long a, unsigned long long b) { return b < a ? b : a; }
inline unsigned long long max(unsigned long long a, unsigned long long b) { return a < b ? b : a; }
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

/* ---- one rounding each: never part of a fused multiply-add ---- */
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float __fsqrt_rn(float a) { return __builtin_sqrtf(a); }
inline float __frcp_rn(float a) { return 1 / a; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __fma_rn(double a, double b, double c) { return __builtin_fma(a, b, c); }
inline double __dsqrt_rn(double a) { return __builtin_sqrt(a); }
inline float __saturatef(float a) { return a >= 0 ? (a <= 1 ? a : 1) : 0; }

/* ---- conversions ---- */
inline float __double2float_rn(double v) { return static_cast<float>(v); }
inline float __int2float_rn(int v) { return static_cast<float>(v); }
inline float __uint2float_rn(unsigned v) { return static_cast<float>(v); }
/* Out of range saturates, NaN becomes 0: PTX ISA, cvt. */
inline int __float2int_rn(float v) {
  if (v != v) return 0;
  if (v >= 2147483648.0f) return INT32_MAX;
  if (v < -2147483648.0f) return INT32_MIN;
  return static_cast<int>(__builtin_rintf(v));
}
inline int __float2int_rz(float v) { return __float2int_rn(__builtin_truncf(v)); }
inline int __float2int_rd(float v) { return __float2int_rn(__builtin_floorf(v)); }

/* ---- functions ---- */
inline float rsqrtf(float v) { return static_cast<float>(1 / __builtin_sqrt(static_cast<double>(v))); }
inline double rsqrt(double v) { return 1 / __builtin_sqrt(v); }
/* sin and cos of pi v, exact at multiples of a half. */
inline void sincospi(double v, double *sine, double *cosine) {
  const double turn = v - 2 * __builtin_floor(v / 2); /* 0 .. 2 */
  const double quarter = __builtin_floor(2 * turn + 0.5), rest = (turn - quarter / 2) * 3.14159265358979323846;
  const double s = sin(rest), c = cos(rest);
  switch (static_cast<int>(quarter) % 4) {
    case 0:
      *sine = s, *cosine = c;
      break;
    case 1:
      *sine = c, *cosine = -s;
      break;
    case 2:
      *sine = -s, *cosine = -c;
      break;
    default:
      *sine = -c, *cosine = s;
  }
}
inline double sinpi(double v) {
  double s, c;
  sincospi(v, &s, &c);
  return s;
}
inline double cospi(double v) {
  double s, c;
  sincospi(v, &s, &c);
  return c;
}
inline float sinpif(float v) { return static_cast<float>(sinpi(static_cast<double>(v))); }
inline float cospif(float v) { return static_cast<float>(cospi(static_cast<double>(v))); }
inline void sincospif(float v, float *sine, float *cosine) {
  double s, c;
  sincospi(static_cast<double>(v), &s, &c);
  *sine = static_cast<float>(s);
  *cosine = static_cast<float>(c);
}

#endif

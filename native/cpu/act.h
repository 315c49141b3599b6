/* act.h: activation functions on vectors, for the activation ops and as the epilogue of other ops. With a constant
 * kind the switch folds away. NaN and Inf: ops/activation.go says what is right. */
#ifndef CREDENCE_CPU_ACT_H
#define CREDENCE_CPU_ACT_H

#include "cr.h"
#include "vmath.h"

static inline vf act_apply(int64_t kind, float p, vf x) {
  const vf zero = vf_set(0);
  vf unused;
  switch (kind) {
    case CREDENCE_ACT_RELU:
      return vf_at_least(x, 0);
    case CREDENCE_ACT_FATRELU:
      return vf_where(~(x < vf_set(p)), x);
    case CREDENCE_ACT_SHIFTED_RELU:
      return vf_at_least(x - vf_set(p), 0);
    case CREDENCE_ACT_LEAKY_RELU:
      return vf_select(x > zero, x, vf_set(p) * x);
    case CREDENCE_ACT_GELU: /* 0 in float32 from about -14.2 down */
      x = vf_at_least(x, -16);
      return x * vf_normal_cdf(vf_at_most(x, 16), &unused);
    case CREDENCE_ACT_SILU: /* 0 in float32 from about -109 down */
      x = vf_at_least(x, -128);
      return x * vf_sigmoid(x);
    case CREDENCE_ACT_TANH:
      return vf_tanh(x);
    case CREDENCE_ACT_SIGMOID:
      return vf_sigmoid(x);
    case CREDENCE_ACT_SOFTPLUS:
      return vf_softplus(x);
    case CREDENCE_ACT_RELU_SQUARED:
      x = vf_at_least(x, 0);
      return x * x;
    default:
      return x;
  }
}

/* dy f'(x) */
static inline vf act_grad(int64_t kind, float p, vf x, vf dy) {
  const vf zero = vf_set(0), one = vf_set(1);
  vf e, s;
  switch (kind) {
    case CREDENCE_ACT_RELU:
      return vf_where(x > zero, dy);
    case CREDENCE_ACT_FATRELU:
      return vf_where((x > zero) & (x >= vf_set(p)), dy);
    case CREDENCE_ACT_SHIFTED_RELU:
      return vf_where(x > vf_set(p), dy);
    case CREDENCE_ACT_LEAKY_RELU:
      return vf_select(x > zero, dy, vf_set(p) * dy);
    case CREDENCE_ACT_GELU: /* Phi + x phi */
      x = vf_at_least(vf_at_most(x, 16), -16);
      s = vf_normal_cdf(x, &e);
      return dy * vf_fma(x * vf_set(0x1.988454p-2f), e, s);
    case CREDENCE_ACT_SILU: /* s + x s (1 - s), s = z / (1 + z) or 1 / (1 + z) */
      x = vf_at_least(vf_at_most(x, 128), -128);
      e = vf_exp_negative(-vf_abs(x));
      s = one / (one + e);
      return dy * vf_fma(x * s, e * s, vf_select(x < zero, e, one) * s);
    case CREDENCE_ACT_TANH: /* 4 z / (1 + z)^2, z = e^-2|x| */
      e = vf_exp_negative(vf_set(-2) * vf_abs(x));
      s = one / (one + e);
      return dy * (vf_set(4) * e * s * s);
    case CREDENCE_ACT_SIGMOID:
      e = vf_exp_negative(-vf_abs(x));
      s = one / (one + e);
      return dy * (e * s * s);
    case CREDENCE_ACT_SOFTPLUS:
      return dy * vf_sigmoid(x);
    case CREDENCE_ACT_RELU_SQUARED:
      return vf_where(x > zero, vf_set(2) * (x * dy));
    default:
      return dy;
  }
}

/* dy f'(x), given y = f(x) */
static inline vf act_grad_from_output(int64_t kind, float p, vf y, vf dy) {
  const vf zero = vf_set(0), one = vf_set(1);
  switch (kind) {
    case CREDENCE_ACT_RELU:
    case CREDENCE_ACT_FATRELU:
    case CREDENCE_ACT_SHIFTED_RELU:
      return vf_where(y > zero, dy);
    case CREDENCE_ACT_LEAKY_RELU:
      return vf_select(y > zero, dy, vf_set(p) * dy);
    case CREDENCE_ACT_TANH:
      return dy * ((one - y) * (one + y));
    case CREDENCE_ACT_SIGMOID:
      return dy * (y * (one - y));
    case CREDENCE_ACT_SOFTPLUS:
      return dy * vf_one_minus_exp(y);
    case CREDENCE_ACT_RELU_SQUARED:
      return vf_where(y > zero, vf_set(2) * vf_sqrt(y) * dy);
    default:
      return dy;
  }
}

/* A row in place: the epilogue of an op that has just made it. */
static inline void act_row(int64_t kind, float p, float *y, int64_t n) {
  if (kind == CREDENCE_ACT_NONE) return;
  int64_t k = 0;
  for (; k + CR_W <= n; k += CR_W) vf_store(y + k, act_apply(kind, p, vf_load(y + k)));
  if (k < n) vf_store_n(y + k, act_apply(kind, p, vf_load_n(y + k, n - k)), n - k);
}

#endif

/* act.cuh: activation functions, for the activation ops and as the epilogue of other ops; cpu/act.h on a GPU. With a
 * constant kind the switch folds away. NaN and Inf: ops/activation.go says what is right. */
#ifndef CREDENCE_CUDA_ACT_CUH
#define CREDENCE_CUDA_ACT_CUH

#include "math.cuh"

CU_MATH float cu_act_apply(int32_t kind, float p, float x) {
  float unused;
  switch (kind) {
    case CREDENCE_ACT_RELU:
      return cu_at_least(x, 0);
    case CREDENCE_ACT_FATRELU:
      return x < p ? 0 : x;
    case CREDENCE_ACT_SHIFTED_RELU:
      return cu_at_least(x - p, 0);
    case CREDENCE_ACT_LEAKY_RELU:
      return x > 0 ? x : p * x;
    case CREDENCE_ACT_GELU: /* 0 in float32 from about -14.2 down */
      x = cu_at_least(x, -16);
      return x * cu_normal_cdf(cu_at_most(x, 16), &unused);
    case CREDENCE_ACT_SILU: /* 0 in float32 from about -109 down */
      x = cu_at_least(x, -128);
      return x * cu_sigmoid(x);
    case CREDENCE_ACT_TANH:
      return cu_tanh(x);
    case CREDENCE_ACT_SIGMOID:
      return cu_sigmoid(x);
    case CREDENCE_ACT_SOFTPLUS:
      return cu_softplus(x);
    case CREDENCE_ACT_RELU_SQUARED:
      x = cu_at_least(x, 0);
      return x * x;
    default:
      return x;
  }
}

/* dy f'(x) */
CU_MATH float cu_act_grad(int32_t kind, float p, float x, float dy) {
  float e, s;
  switch (kind) {
    case CREDENCE_ACT_RELU:
      return x > 0 ? dy : 0;
    case CREDENCE_ACT_FATRELU:
      return x > 0 && x >= p ? dy : 0;
    case CREDENCE_ACT_SHIFTED_RELU:
      return x > p ? dy : 0;
    case CREDENCE_ACT_LEAKY_RELU:
      return x > 0 ? dy : p * dy;
    case CREDENCE_ACT_GELU: /* Phi + x phi */
      x = cu_at_least(cu_at_most(x, 16), -16);
      s = cu_normal_cdf(x, &e);
      return dy * fmaf(x * 0x1.988454p-2f, e, s);
    case CREDENCE_ACT_SILU: /* s + x s (1 - s), s = z / (1 + z) or 1 / (1 + z) */
      x = cu_at_least(cu_at_most(x, 128), -128);
      e = cu_exp_negative(-fabsf(x));
      s = 1 / (1 + e);
      return dy * fmaf(x * s, e * s, (x < 0 ? e : 1) * s);
    case CREDENCE_ACT_TANH: /* 4 z / (1 + z)^2, z = e^-2|x| */
      e = cu_exp_negative(-2 * fabsf(x));
      s = 1 / (1 + e);
      return dy * (4 * e * s * s);
    case CREDENCE_ACT_SIGMOID:
      e = cu_exp_negative(-fabsf(x));
      s = 1 / (1 + e);
      return dy * (e * s * s);
    case CREDENCE_ACT_SOFTPLUS:
      return dy * cu_sigmoid(x);
    case CREDENCE_ACT_RELU_SQUARED:
      return x > 0 ? 2 * (x * dy) : 0;
    default:
      return dy;
  }
}

/* dy f'(x), given y = f(x) */
CU_MATH float cu_act_grad_from_output(int32_t kind, float p, float y, float dy) {
  switch (kind) {
    case CREDENCE_ACT_RELU:
    case CREDENCE_ACT_FATRELU:
    case CREDENCE_ACT_SHIFTED_RELU:
      return y > 0 ? dy : 0;
    case CREDENCE_ACT_LEAKY_RELU:
      return y > 0 ? dy : p * dy;
    case CREDENCE_ACT_TANH:
      return dy * ((1 - y) * (1 + y));
    case CREDENCE_ACT_SIGMOID:
      return dy * (y * (1 - y));
    case CREDENCE_ACT_SOFTPLUS:
      return dy * cu_one_minus_exp(y);
    case CREDENCE_ACT_RELU_SQUARED:
      return y > 0 ? 2 * sqrtf(y) * dy : 0;
    default:
      return dy;
  }
}

/* N values: one switch for all of them, not one for each, so that the instructions of a kind lie together. */
#define CU_ACT_KINDS(KIND) \
  KIND(RELU)               \
  KIND(FATRELU)            \
  KIND(SHIFTED_RELU) KIND(LEAKY_RELU) KIND(GELU) KIND(SILU) KIND(TANH) KIND(SIGMOID) KIND(SOFTPLUS) KIND(RELU_SQUARED)

template <int N>
CU_MATH void cu_act_apply_all(int32_t kind, float p, float (&x)[N]) {
  switch (kind) {
#define CU_ACT_KIND(NAME)                                                                            \
  case CREDENCE_ACT_##NAME:                                                                          \
    _Pragma("unroll") for (int k = 0; k < N; k++) x[k] = cu_act_apply(CREDENCE_ACT_##NAME, p, x[k]); \
    break;
    CU_ACT_KINDS(CU_ACT_KIND)
#undef CU_ACT_KIND
    default:
      break;
  }
}

/* dy becomes dy f'(x). */
template <int N>
CU_MATH void cu_act_grad_all(int32_t kind, float p, const float (&x)[N], float (&dy)[N]) {
  switch (kind) {
#define CU_ACT_KIND(NAME)                                                                                   \
  case CREDENCE_ACT_##NAME:                                                                                 \
    _Pragma("unroll") for (int k = 0; k < N; k++) dy[k] = cu_act_grad(CREDENCE_ACT_##NAME, p, x[k], dy[k]); \
    break;
    CU_ACT_KINDS(CU_ACT_KIND)
#undef CU_ACT_KIND
    default:
      break;
  }
}
#undef CU_ACT_KINDS

#endif

/* elementwise.c: functions of one operand and arithmetic of two. */
#include "elementwise.h"

#include "isa.h"
#include "vmath.h"

/* One op: its row function and its run. P0 and P1: scalar attributes. */
#define UNARY(NAME, EXPR)                                                                  \
  EW_UNARY(row_##NAME, EXPR)                                                               \
  static int32_t run_##NAME(const cr_call *call, const cr_ctx *ctx, credence_error *err) { \
    return ew_run(call, ctx, row_##NAME, NULL, err);                                       \
  }
#define BINARY(NAME, EXPR)                                                                 \
  EW_BINARY(row_##NAME, EXPR)                                                              \
  static int32_t run_##NAME(const cr_call *call, const cr_ctx *ctx, credence_error *err) { \
    return ew_run(call, ctx, row_##NAME, NULL, err);                                       \
  }
#define SCALARS(MAKE, NAME, EXPR)                                                          \
  MAKE(row_##NAME, EXPR)                                                                   \
  static int32_t run_##NAME(const cr_call *call, const cr_ctx *ctx, credence_error *err) { \
    const float p[2] = {(float)call->f[0], (float)call->f[1]};                             \
    return ew_run(call, ctx, row_##NAME, p, err);                                          \
  }

static inline vf sign(vf x) {
  return vf_where(x != vf_set(0), vf_select(x == x, vf_copysign(vf_set(1), x), x)); /* NaN != 0 too */
}

UNARY(neg, -u)
UNARY(abs, vf_abs(u))
UNARY(exp, vf_exp(u))
UNARY(log, vf_log(u))
UNARY(sqrt, vf_sqrt(u))
UNARY(rsqrt, vf_set(1) / vf_sqrt(u))
UNARY(square, u *u)
UNARY(reciprocal, vf_set(1) / u)
UNARY(sign, sign(u))
SCALARS(EW_UNARY, affine, vf_fma(u, vf_set(p[0]), vf_set(p[1])))
SCALARS(EW_UNARY, clamp, vf_at_least(vf_at_most(u, p[1]), p[0]))
SCALARS(EW_BINARY, clamp_grad, vf_where((u >= vf_set(p[0])) & (u <= vf_set(p[1])), v))

BINARY(add, u + v)
BINARY(sub, u - v)
BINARY(mul, u *v)
BINARY(div, u / v)
BINARY(maximum, vf_max(u, v))
BINARY(minimum, vf_min(u, v))
BINARY(greater_equal, vf_where(u >= v, vf_set(1)))
BINARY(equal, vf_where(u == v, vf_set(1)))

CR_FAMILY(elementwise, {CREDENCE_OP_NEG, .run = run_neg}, {CREDENCE_OP_ABS, .run = run_abs},
          {CREDENCE_OP_EXP, .run = run_exp}, {CREDENCE_OP_LOG, .run = run_log}, {CREDENCE_OP_SQRT, .run = run_sqrt},
          {CREDENCE_OP_RSQRT, .run = run_rsqrt}, {CREDENCE_OP_SQUARE, .run = run_square},
          {CREDENCE_OP_RECIPROCAL, .run = run_reciprocal}, {CREDENCE_OP_AFFINE, .run = run_affine},
          {CREDENCE_OP_CLAMP, .run = run_clamp}, {CREDENCE_OP_CLAMP_GRAD, .run = run_clamp_grad},
          {CREDENCE_OP_SIGN, .run = run_sign}, {CREDENCE_OP_ADD, .run = run_add}, {CREDENCE_OP_SUB, .run = run_sub},
          {CREDENCE_OP_MUL, .run = run_mul}, {CREDENCE_OP_DIV, .run = run_div},
          {CREDENCE_OP_MAXIMUM, .run = run_maximum}, {CREDENCE_OP_MINIMUM, .run = run_minimum},
          {CREDENCE_OP_GREATER_EQUAL, .run = run_greater_equal}, {CREDENCE_OP_EQUAL, .run = run_equal})

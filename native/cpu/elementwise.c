/* elementwise.c: functions of one operand and arithmetic of two. */
#include "elementwise.h"

#include "isa.h"
#include "vmath.h"

/* One op: its row function, its check and its run. P0 and P1: scalar attributes. */
#define UNARY(NAME, EXPR)                                                                                       \
  EW_UNARY(row_##NAME, EXPR)                                                                                    \
  static int32_t check_##NAME(const cr_call *call, int32_t threads, cr_scratch *scratch, credence_error *err) { \
    (void)threads, (void)scratch;                                                                               \
    return ew_check(call, #NAME, 1, 0, 0, err);                                                                 \
  }                                                                                                             \
  static int32_t run_##NAME(const cr_call *call, const cr_ctx *ctx, credence_error *err) {                      \
    return ew_run(call, ctx, row_##NAME, NULL, err);                                                            \
  }
#define BINARY(NAME, EXPR)                                                                                      \
  EW_BINARY(row_##NAME, EXPR)                                                                                   \
  static int32_t check_##NAME(const cr_call *call, int32_t threads, cr_scratch *scratch, credence_error *err) { \
    (void)threads, (void)scratch;                                                                               \
    return ew_check(call, #NAME, 2, 0, 0, err);                                                                 \
  }                                                                                                             \
  static int32_t run_##NAME(const cr_call *call, const cr_ctx *ctx, credence_error *err) {                      \
    return ew_run(call, ctx, row_##NAME, NULL, err);                                                            \
  }
#define SCALARS(MAKE, NAME, N_IN, EXPR)                                                                         \
  MAKE(row_##NAME, EXPR)                                                                                        \
  static int32_t check_##NAME(const cr_call *call, int32_t threads, cr_scratch *scratch, credence_error *err) { \
    (void)threads, (void)scratch;                                                                               \
    return ew_check(call, #NAME, N_IN, 0, 2, err);                                                              \
  }                                                                                                             \
  static int32_t run_##NAME(const cr_call *call, const cr_ctx *ctx, credence_error *err) {                      \
    const float p[2] = {(float)call->f[0], (float)call->f[1]};                                                  \
    return ew_run(call, ctx, row_##NAME, p, err);                                                               \
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
SCALARS(EW_UNARY, affine, 1, vf_fma(u, vf_set(p[0]), vf_set(p[1])))
SCALARS(EW_UNARY, clamp, 1, vf_at_least(vf_at_most(u, p[1]), p[0]))
SCALARS(EW_BINARY, clamp_grad, 2, vf_where((u >= vf_set(p[0])) & (u <= vf_set(p[1])), v))

BINARY(add, u + v)
BINARY(sub, u - v)
BINARY(mul, u *v)
BINARY(div, u / v)
BINARY(maximum, vf_max(u, v))
BINARY(minimum, vf_min(u, v))
BINARY(greater_equal, vf_where(u >= v, vf_set(1)))
BINARY(equal, vf_where(u == v, vf_set(1)))

CR_FAMILY(elementwise, {CREDENCE_OP_NEG, .run = run_neg, .check = check_neg},
          {CREDENCE_OP_ABS, .run = run_abs, .check = check_abs}, {CREDENCE_OP_EXP, .run = run_exp, .check = check_exp},
          {CREDENCE_OP_LOG, .run = run_log, .check = check_log},
          {CREDENCE_OP_SQRT, .run = run_sqrt, .check = check_sqrt},
          {CREDENCE_OP_RSQRT, .run = run_rsqrt, .check = check_rsqrt},
          {CREDENCE_OP_SQUARE, .run = run_square, .check = check_square},
          {CREDENCE_OP_RECIPROCAL, .run = run_reciprocal, .check = check_reciprocal},
          {CREDENCE_OP_AFFINE, .run = run_affine, .check = check_affine},
          {CREDENCE_OP_CLAMP, .run = run_clamp, .check = check_clamp},
          {CREDENCE_OP_CLAMP_GRAD, .run = run_clamp_grad, .check = check_clamp_grad},
          {CREDENCE_OP_SIGN, .run = run_sign, .check = check_sign},
          {CREDENCE_OP_ADD, .run = run_add, .check = check_add}, {CREDENCE_OP_SUB, .run = run_sub, .check = check_sub},
          {CREDENCE_OP_MUL, .run = run_mul, .check = check_mul}, {CREDENCE_OP_DIV, .run = run_div, .check = check_div},
          {CREDENCE_OP_MAXIMUM, .run = run_maximum, .check = check_maximum},
          {CREDENCE_OP_MINIMUM, .run = run_minimum, .check = check_minimum},
          {CREDENCE_OP_GREATER_EQUAL, .run = run_greater_equal, .check = check_greater_equal},
          {CREDENCE_OP_EQUAL, .run = run_equal, .check = check_equal})

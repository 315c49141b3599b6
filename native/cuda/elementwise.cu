/* elementwise.cu: functions of one operand and arithmetic of two. */
#include "elementwise.cuh"

#include "math.cuh"

namespace {

/* One op: its function and its run. p, q: scalar attributes. */
#define FUNCTION(NAME, N_IN, P, Q, EXPR)                                             \
  struct NAME##_of {                                                                 \
    static __device__ __forceinline__ float at(float u, float v, float p, float q) { \
      (void)v, (void)p, (void)q;                                                     \
      return EXPR;                                                                   \
    }                                                                                \
  };                                                                                 \
  int32_t run_##NAME(const cr_call *call, const cr_ctx *ctx, credence_error *err) {  \
    return ew_run<NAME##_of, N_IN>(call, ctx, P, Q, err);                            \
  }
#define UNARY(NAME, EXPR) FUNCTION(NAME, 1, {}, {}, EXPR)
#define BINARY(NAME, EXPR) FUNCTION(NAME, 2, {}, {}, EXPR)
#define SCALARS(NAME, N_IN, EXPR) FUNCTION(NAME, N_IN, cu_scalar(ctx, 0), cu_scalar(ctx, 1), EXPR)

UNARY(neg, -u)
UNARY(abs, fabsf(u))
UNARY(exp, cu_exp(u))
UNARY(log, cu_log(u))
UNARY(sqrt, sqrtf(u))
UNARY(rsqrt, 1 / sqrtf(u))
UNARY(square, u *u)
UNARY(reciprocal, 1 / u)
UNARY(sign, u > 0 ? 1 : u < 0 ? -1 : u)
SCALARS(affine, 1, fmaf(u, p, q))
SCALARS(clamp, 1, cu_at_least(cu_at_most(u, q), p))
SCALARS(clamp_grad, 2, u >= p && u <= q ? v : 0)

BINARY(add, u + v)
BINARY(sub, u - v)
BINARY(mul, u *v)
BINARY(div, u / v)
BINARY(maximum, cu_max(u, v))
BINARY(minimum, cu_min(u, v))
BINARY(greater_equal, u >= v ? 1 : 0)
BINARY(equal, u == v ? 1 : 0)

}  // namespace

#define ROW(NAME, name) \
  { CREDENCE_OP_##NAME, nullptr, run_##name, 0, nullptr }
CU_FAMILY(elementwise, ROW(NEG, neg), ROW(ABS, abs), ROW(EXP, exp), ROW(LOG, log), ROW(SQRT, sqrt), ROW(RSQRT, rsqrt),
          ROW(SQUARE, square), ROW(RECIPROCAL, reciprocal), ROW(AFFINE, affine), ROW(CLAMP, clamp),
          ROW(CLAMP_GRAD, clamp_grad), ROW(SIGN, sign), ROW(ADD, add), ROW(SUB, sub), ROW(MUL, mul), ROW(DIV, div),
          ROW(MAXIMUM, maximum), ROW(MINIMUM, minimum), ROW(GREATER_EQUAL, greater_equal), ROW(EQUAL, equal))

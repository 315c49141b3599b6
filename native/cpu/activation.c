/* activation.c: activation functions and their gradients; act.h has the mathematics. */
#include "act.h"
#include "elementwise.h"
#include "isa.h"

/* The three row functions of a kind. */
#define KIND(NAME)                                                \
  EW_UNARY(apply_##NAME, act_apply(CREDENCE_ACT_##NAME, *p, u))   \
  EW_BINARY(grad_##NAME, act_grad(CREDENCE_ACT_##NAME, *p, u, v)) \
  EW_BINARY(output_##NAME, act_grad_from_output(CREDENCE_ACT_##NAME, *p, u, v))

KIND(NONE)
KIND(RELU)
KIND(FATRELU)
KIND(SHIFTED_RELU)
KIND(LEAKY_RELU)
KIND(GELU)
KIND(SILU)
KIND(TANH)
KIND(SIGMOID)
KIND(SOFTPLUS)
KIND(RELU_SQUARED)

#define ROWS(WHAT)                                                                                                 \
  {                                                                                                                \
    [CREDENCE_ACT_NONE] = WHAT##_NONE, [CREDENCE_ACT_RELU] = WHAT##_RELU, [CREDENCE_ACT_FATRELU] = WHAT##_FATRELU, \
    [CREDENCE_ACT_SHIFTED_RELU] = WHAT##_SHIFTED_RELU, [CREDENCE_ACT_LEAKY_RELU] = WHAT##_LEAKY_RELU,              \
    [CREDENCE_ACT_GELU] = WHAT##_GELU, [CREDENCE_ACT_SILU] = WHAT##_SILU, [CREDENCE_ACT_TANH] = WHAT##_TANH,       \
    [CREDENCE_ACT_SIGMOID] = WHAT##_SIGMOID, [CREDENCE_ACT_SOFTPLUS] = WHAT##_SOFTPLUS,                            \
    [CREDENCE_ACT_RELU_SQUARED] = WHAT##_RELU_SQUARED,                                                             \
  }

static const ew_row apply_rows[] = ROWS(apply), grad_rows[] = ROWS(grad), output_rows[] = ROWS(output);

static int32_t run_apply(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const float p = (float)call->f[0];
  return ew_run(call, ctx, apply_rows[call->i[0]], &p, err);
}

static int32_t run_grad(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const float p = (float)call->f[0];
  return ew_run(call, ctx, grad_rows[call->i[0]], &p, err);
}

static int32_t run_output(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const float p = (float)call->f[0];
  return ew_run(call, ctx, output_rows[call->i[0]], &p, err);
}

CR_FAMILY(activation, {CREDENCE_OP_ACTIVATION, .run = run_apply}, {CREDENCE_OP_ACTIVATION_GRAD, .run = run_grad},
          {CREDENCE_OP_ACTIVATION_GRAD_FROM_OUTPUT, .run = run_output})

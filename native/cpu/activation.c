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

static int32_t check_any(const cr_call *call, const char *op, uint32_t n_in, credence_error *err) {
  int32_t rc = ew_check(call, op, n_in, 1, 1, err);
  if (rc != CREDENCE_OK || act_valid(call->i[0], call->f[0])) return rc;
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: no activation %lld with the parameter %g", op,
                 (long long)call->i[0], call->f[0]);
}

static int32_t check_apply(const cr_call *call, int32_t threads, cr_scratch *scratch, credence_error *err) {
  (void)threads, (void)scratch;
  return check_any(call, "activation", 1, err);
}

static int32_t check_grad(const cr_call *call, int32_t threads, cr_scratch *scratch, credence_error *err) {
  (void)threads, (void)scratch;
  return check_any(call, "activation_grad", 2, err);
}

static int32_t check_output(const cr_call *call, int32_t threads, cr_scratch *scratch, credence_error *err) {
  (void)threads, (void)scratch;
  const char *op = "activation_grad_from_output";
  int32_t rc = check_any(call, op, 2, err);
  if (rc != CREDENCE_OK || act_output_tells(call->i[0], call->f[0])) return rc;
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: the output of activation %lld does not tell its derivative", op,
                 (long long)call->i[0]);
}

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

CR_FAMILY(activation, {CREDENCE_OP_ACTIVATION, .run = run_apply, .check = check_apply},
          {CREDENCE_OP_ACTIVATION_GRAD, .run = run_grad, .check = check_grad},
          {CREDENCE_OP_ACTIVATION_GRAD_FROM_OUTPUT, .run = run_output, .check = check_output})

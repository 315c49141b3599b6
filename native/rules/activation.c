/* activation.c: the rules of activation functions and their gradients. */
#include "rules.h"

/* act_grad_from_output serves. */
static bool output_tells(int64_t kind, double p) {
  return kind != CREDENCE_ACT_GELU && kind != CREDENCE_ACT_SILU && !(kind == CREDENCE_ACT_LEAKY_RELU && p < 0);
}

static int32_t check_any(const cr_call *call, const char *op, uint32_t n_in, credence_error *err) {
  int32_t rc = cr_expect_elementwise(call, op, n_in, 1, 1, err);
  if (rc != CREDENCE_OK || cr_act_valid(call->i[0], call->f[0])) return rc;
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: no activation %lld with the parameter %g", op,
                 (long long)call->i[0], call->f[0]);
}

int32_t cr_rule_activation(const cr_call *call, credence_error *err) { return check_any(call, "activation", 1, err); }

int32_t cr_rule_activation_grad(const cr_call *call, credence_error *err) {
  return check_any(call, "activation_grad", 2, err);
}

int32_t cr_rule_activation_grad_from_output(const cr_call *call, credence_error *err) {
  const char *op = "activation_grad_from_output";
  int32_t rc = check_any(call, op, 2, err);
  if (rc != CREDENCE_OK || output_tells(call->i[0], call->f[0])) return rc;
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: the output of activation %lld does not tell its derivative", op,
                 (long long)call->i[0]);
}

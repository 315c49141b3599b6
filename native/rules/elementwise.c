/* elementwise.c: the rules of functions of one operand and arithmetic of two. */
#include "rules.h"

int32_t cr_expect_elementwise(const cr_call *call, const char *op, uint32_t n_in, uint32_t n_i, uint32_t n_f,
                              credence_error *err) {
  int32_t rc = cr_expect(call, op, n_in, n_in, 1, 0, n_i, n_f, err);
  for (uint32_t k = 0; k < n_in && rc == CREDENCE_OK; k++) {
    rc = cr_expect_dtype(&call->in[k], CREDENCE_F32, op, "input", err);
    if (rc == CREDENCE_OK) rc = cr_expect_same_shape(&call->in[k], &call->out[0], op, err);
  }
  return rc == CREDENCE_OK ? cr_expect_dtype(&call->out[0], CREDENCE_F32, op, "output", err) : rc;
}

#define RULE(name, n_in, n_f)                                        \
  int32_t cr_rule_##name(const cr_call *call, credence_error *err) { \
    return cr_expect_elementwise(call, #name, n_in, 0, n_f, err);    \
  }
RULE(neg, 1, 0)
RULE(abs, 1, 0)
RULE(exp, 1, 0)
RULE(log, 1, 0)
RULE(sqrt, 1, 0)
RULE(rsqrt, 1, 0)
RULE(square, 1, 0)
RULE(reciprocal, 1, 0)
RULE(sign, 1, 0)
RULE(affine, 1, 2)
RULE(clamp, 1, 2)
RULE(clamp_grad, 2, 2)
RULE(add, 2, 0)
RULE(sub, 2, 0)
RULE(mul, 2, 0)
RULE(div, 2, 0)
RULE(maximum, 2, 0)
RULE(minimum, 2, 0)
RULE(greater_equal, 2, 0)
RULE(equal, 2, 0)

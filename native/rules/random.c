/* random.c: the rules of random numbers. */
#include "rules.h"

static int32_t check_random(const cr_call *call, const char *op, int32_t dtype, uint32_t n_f, credence_error *err) {
  int32_t status = cr_expect(call, op, 0, 0, 1, 0, 3, n_f, err);
  if (status == CREDENCE_OK) status = cr_expect_dtype(&call->out[0], dtype, op, "the result", err);
  if (status == CREDENCE_OK) status = cr_expect_dense(&call->out[0], op, "the result", err);
  if (status != CREDENCE_OK) return status;
  char shape[96];
  if (call->out[0].ndim != 2 || call->out[0].dim[1] > (int64_t)4 << 32)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: the result is %s; rows of at most 2^34 columns are needed", op,
                   cr_shape(&call->out[0], shape));
  return CREDENCE_OK;
}

int32_t cr_rule_random_bits(const cr_call *call, credence_error *err) {
  return check_random(call, "random_bits", CREDENCE_I32, 0, err);
}

int32_t cr_rule_random_uniform(const cr_call *call, credence_error *err) {
  return check_random(call, "random_uniform", CREDENCE_F32, 2, err);
}

int32_t cr_rule_random_normal(const cr_call *call, credence_error *err) {
  return check_random(call, "random_normal", CREDENCE_F32, 2, err);
}

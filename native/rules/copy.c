/* copy.c: the rules of fill and copy. */
#include "rules.h"

int32_t cr_rule_fill(const cr_call *call, credence_error *err) {
  int32_t rc = cr_expect(call, "fill", 0, 0, 1, 0, 0, 1, err);
  if (rc != CREDENCE_OK || cr_dtype_size(call->out[0].dtype) != 0) return rc;
  return cr_fail(err, CREDENCE_UNSUPPORTED, "fill: type %d cannot be written element by element", call->out[0].dtype);
}

static bool is_block(int32_t dtype) { return dtype == CREDENCE_Q8_0 || dtype == CREDENCE_Q4_0; }

int32_t cr_rule_copy(const cr_call *call, credence_error *err) {
  int32_t rc = cr_expect(call, "copy", 1, 1, 1, 0, 0, 0, err);
  if (rc == CREDENCE_OK) rc = cr_expect_same_shape(&call->in[0], &call->out[0], "copy", err);
  if (rc != CREDENCE_OK) return rc;
  const cr_tensor *x = &call->in[0], *y = &call->out[0];
  if (cr_dtype_size(y->dtype) == 0)
    return cr_fail(err, CREDENCE_UNSUPPORTED, "copy: type %d cannot be written element by element", y->dtype);
  if (cr_dtype_size(x->dtype) == 0 && (!is_block(x->dtype) || x->ndim == 0 || x->dim[x->ndim - 1] % 32 != 0)) {
    char shape[96];
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "copy: %s of type %d is not rows of whole blocks",
                   cr_shape(x, shape), x->dtype);
  }
  return CREDENCE_OK;
}

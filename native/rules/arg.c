/* arg.c: the rules of the positions of extremes. */
#include "rules.h"

static int32_t check(const cr_call *call, const char *op, credence_error *err) {
  int32_t rc = cr_expect(call, op, 1, 1, 1, 0, 0, 0, err);
  if (rc == CREDENCE_OK) rc = cr_expect_dtype(&call->in[0], CREDENCE_F32, op, "input", err);
  if (rc == CREDENCE_OK) rc = cr_expect_dtype(&call->out[0], CREDENCE_I32, op, "output", err);
  if (rc == CREDENCE_OK) rc = cr_expect_dense(&call->in[0], op, "input", err);
  if (rc == CREDENCE_OK) rc = cr_expect_dense(&call->out[0], op, "output", err);
  if (rc != CREDENCE_OK) return rc;
  const cr_tensor *x = &call->in[0], *y = &call->out[0];
  if (x->ndim == 2 && y->ndim == 1 && y->dim[0] == x->dim[0] && x->dim[1] > 0 && x->dim[1] <= INT32_MAX)
    return CREDENCE_OK;
  char sx[96], sy[96];
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT,
                 "%s: rows are %s and indices %s; one index per row that is not empty is needed", op, cr_shape(x, sx),
                 cr_shape(y, sy));
}

int32_t cr_rule_arg_max(const cr_call *call, credence_error *err) { return check(call, "arg_max", err); }

int32_t cr_rule_arg_min(const cr_call *call, credence_error *err) { return check(call, "arg_min", err); }

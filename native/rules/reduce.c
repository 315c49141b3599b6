/* reduce.c: the rules of reductions along axes. */
#include "rules.h"

static int32_t check(const cr_call *call, const char *op, credence_error *err) {
  int32_t rc = cr_expect(call, op, 1, 1, 1, 0, 1, 0, err);
  if (rc == CREDENCE_OK) rc = cr_expect_dtype(&call->in[0], CREDENCE_F32, op, "input", err);
  if (rc == CREDENCE_OK) rc = cr_expect_dtype(&call->out[0], CREDENCE_F32, op, "output", err);
  if (rc != CREDENCE_OK) return rc;
  const cr_tensor *x = &call->in[0], *y = &call->out[0];
  bool fits = x->ndim == y->ndim && call->i[0] >= 0 && call->i[0] >> x->ndim == 0;
  for (int32_t k = 0; k < x->ndim && fits; k++) fits = y->dim[k] == (call->i[0] >> k & 1 ? 1 : x->dim[k]);
  if (fits) return CREDENCE_OK;
  char sx[96], sy[96];
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: reducing the axes of the mask %lld of %s does not give %s", op,
                 (long long)call->i[0], cr_shape(x, sx), cr_shape(y, sy));
}

#define RULE(name) \
  int32_t cr_rule_##name(const cr_call *call, credence_error *err) { return check(call, #name, err); }
RULE(reduce_sum)
RULE(reduce_mean)
RULE(reduce_max)
RULE(reduce_min)
RULE(reduce_sum_squares)

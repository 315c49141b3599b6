/* rotary.c: the rule of rotary positions. */
#include "rules.h"

int32_t cr_rule_rotary(const cr_call *call, credence_error *err) {
  const char *op = "rotary";
  int32_t status = cr_expect(call, op, 1, 2, 1, 0, 3, 2, err);
  if (status != CREDENCE_OK) return status;
  const cr_tensor *x = &call->in[0], *y = &call->out[0];
  for (uint32_t k = 0; k < call->n_in + 1 && status == CREDENCE_OK; k++) {
    const cr_tensor *t = k < call->n_in ? &call->in[k] : y;
    const char *what = k == 0 ? "x" : k < call->n_in ? "the vector of factors" : "y";
    status = cr_expect_dtype(t, CREDENCE_F32, op, what, err);
    if (status == CREDENCE_OK) status = cr_expect_dense(t, op, what, err);
  }
  if (status == CREDENCE_OK) status = cr_expect_same_shape(x, y, op, err);
  if (status != CREDENCE_OK) return status;
  const int64_t layout = call->i[1], turned = call->i[2];
  char shape[96];
  if (x->ndim != 3 || turned < 0 || turned > x->dim[2] || turned % 2 != 0)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: %lld elements of each head of x (%s) are to be turned", op,
                   (long long)turned, cr_shape(x, shape));
  if (layout < 0 || layout > CR_ROTARY_PAIRS)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: unknown layout %lld", op, (long long)layout);
  if (call->n_in > 1 && (call->in[1].ndim != 1 || call->in[1].dim[0] != turned / 2))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: the factors are %s, %lld are needed", op,
                   cr_shape(&call->in[1], shape), (long long)turned / 2);
  if (!(call->f[0] > 0 && call->f[0] < INFINITY))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: theta is %g, it must be positive", op, call->f[0]);
  return CREDENCE_OK;
}

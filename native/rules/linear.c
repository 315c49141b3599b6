/* linear.c: the rule of products with stored weights. */
#include "rules.h"

int32_t cr_rule_linear(const cr_call *call, credence_error *err) {
  const char *op = "linear";
  int32_t status = cr_expect(call, op, 2, 3, 1, 0, 0, 0, err);
  if (status != CREDENCE_OK) return status;
  const cr_tensor *x = &call->in[0], *w = &call->in[1], *y = &call->out[0],
                  *bias = call->n_in > 2 ? &call->in[2] : NULL;
  if (!cr_is_stored(w->dtype))
    return cr_fail(err, CREDENCE_UNSUPPORTED, "%s: type %d of w; f32, f16, bf16, q8_0 or q4_0 is needed", op, w->dtype);
  status = cr_expect_dtype(x, CREDENCE_F32, op, "x", err);
  if (status == CREDENCE_OK) status = cr_expect_dtype(y, CREDENCE_F32, op, "y", err);
  if (status == CREDENCE_OK) status = cr_expect_dense(x, op, "x", err);
  if (status == CREDENCE_OK) status = cr_expect_dense(w, op, "w", err);
  if (status == CREDENCE_OK) status = cr_expect_dense(y, op, "y", err);
  if (status == CREDENCE_OK && bias != NULL) {
    status = cr_expect_dtype(bias, CREDENCE_F32, op, "the bias", err);
    if (status == CREDENCE_OK) status = cr_expect_dense(bias, op, "the bias", err);
  }
  if (status != CREDENCE_OK) return status;
  char sx[96], sw[96], sy[96];
  if (x->ndim != 2 || w->ndim != 2 || y->ndim != 2 || x->dim[1] != w->dim[1] || y->dim[0] != x->dim[0] ||
      y->dim[1] != w->dim[0])
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: x %s, w %s and y %s do not fit", op, cr_shape(x, sx),
                   cr_shape(w, sw), cr_shape(y, sy));
  if (bias != NULL && (bias->ndim != 1 || bias->dim[0] != w->dim[0]))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: w is %s, the bias %s", op, cr_shape(w, sw), cr_shape(bias, sx));
  return CREDENCE_OK;
}

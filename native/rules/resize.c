/* resize.c: the rules of resizing pictures. */
#include "rules.h"

/* source [B,H,W,C], result [B,P,Q,C] */
static int32_t check_images(const cr_call *call, const char *op, const cr_tensor *source, const cr_tensor *result,
                            credence_error *err) {
  int32_t status = cr_expect(call, op, 1, 1, 1, 0, 0, 0, err);
  if (status == CREDENCE_OK) status = cr_expect_dtype(&call->in[0], CREDENCE_F32, op, "the input", err);
  if (status == CREDENCE_OK) status = cr_expect_dtype(&call->out[0], CREDENCE_F32, op, "the output", err);
  if (status == CREDENCE_OK) status = cr_expect_dense(&call->in[0], op, "the input", err);
  if (status == CREDENCE_OK) status = cr_expect_dense(&call->out[0], op, "the output", err);
  if (status != CREDENCE_OK) return status;
  const int64_t *s = source->dim, *r = result->dim;
  bool fits = source->ndim == 4 && result->ndim == 4 && s[0] == r[0] && s[3] == r[3];
  for (int k = 1; k < 3 && fits; k++) fits = s[k] <= INT32_MAX && r[k] <= INT32_MAX;
  if (fits && (s[1] * s[2] > 0 || r[1] * r[2] == 0)) return CREDENCE_OK;
  char ss[96], sr[96];
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: images %s do not resize to %s", op, cr_shape(source, ss),
                 cr_shape(result, sr));
}

int32_t cr_rule_resize_bilinear(const cr_call *call, credence_error *err) {
  return check_images(call, "resize_bilinear", call->in, call->out, err);
}

int32_t cr_rule_resize_bilinear_grad(const cr_call *call, credence_error *err) {
  return check_images(call, "resize_bilinear_grad", call->out, call->in, err);
}

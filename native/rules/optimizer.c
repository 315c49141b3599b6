/* optimizer.c: the rules of what changes state in place, and of the norm of a gradient. */
#include "rules.h"

/* Float32, dense, of the shape of input 0. */
static int32_t check_like(const cr_call *call, const cr_tensor *t, const char *op, const char *what,
                          credence_error *err) {
  int32_t status = cr_expect_dtype(t, CREDENCE_F32, op, what, err);
  if (status == CREDENCE_OK) status = cr_expect_dense(t, op, what, err);
  if (status == CREDENCE_OK) status = cr_expect_same_shape(t, &call->in[0], op, err);
  return status;
}

int32_t cr_rule_adam(const cr_call *call, credence_error *err) {
  static const char *const names[] = {"param", "m", "v"};
  const char *op = "adam";
  int32_t status = cr_expect(call, op, 2, 2, 0, 3, 2, 5, err);
  if (status == CREDENCE_OK) status = check_like(call, &call->in[0], op, "the gradient", err);
  if (status == CREDENCE_OK) status = cr_expect_dtype(&call->in[1], CREDENCE_F32, op, "the scale", err);
  for (int32_t k = 0; k < 3 && status == CREDENCE_OK; k++)
    status = check_like(call, &call->inout[k], op, names[k], err);
  if (status != CREDENCE_OK) return status;
  char shape[96];
  if (cr_count(&call->in[1]) != 1)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: the scale is %s, one element is needed", op,
                   cr_shape(&call->in[1], shape));
  return CREDENCE_OK;
}

static int32_t check_update(const cr_call *call, const char *op, credence_error *err) {
  int32_t status = cr_expect(call, op, 1, 1, 0, 1, 0, 1, err);
  if (status == CREDENCE_OK) status = check_like(call, &call->in[0], op, "the input", err);
  if (status == CREDENCE_OK) status = check_like(call, &call->inout[0], op, "what is updated", err);
  return status;
}

int32_t cr_rule_lerp(const cr_call *call, credence_error *err) { return check_update(call, "lerp", err); }

int32_t cr_rule_axpy(const cr_call *call, credence_error *err) { return check_update(call, "axpy", err); }

int32_t cr_rule_clip_scale(const cr_call *call, credence_error *err) {
  const char *op = "clip_scale";
  int32_t status = cr_expect(call, op, 1, 1, 2, 0, 0, 1, err);
  if (status == CREDENCE_OK) status = check_like(call, &call->in[0], op, "the gradient", err);
  for (int32_t k = 0; k < 2 && status == CREDENCE_OK; k++) {
    const cr_tensor *t = &call->out[k];
    char shape[96];
    status = cr_expect_dtype(t, CREDENCE_F32, op, k == 0 ? "the norm" : "the scale", err);
    if (status == CREDENCE_OK && cr_count(t) != 1)
      status = cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: output %d is %s, one element is needed", op, k,
                       cr_shape(t, shape));
  }
  return status;
}

/* batch_norm.c: the rules of normalisation of channels. */
#include "rules.h"

/* Inputs x [R,C], then vectors [C]; a tensor of x's shape where `like_x` has its bit. */
static int32_t check_batch(const cr_call *call, const char *op, uint32_t n_in, uint32_t n_out, uint32_t in_like_x,
                           credence_error *err) {
  int32_t status = cr_expect(call, op, n_in, n_in, n_out, 0, 1, 2, err);
  if (status != CREDENCE_OK) return status;
  const cr_tensor *x = &call->in[0];
  for (uint32_t k = 0; k < n_in + n_out && status == CREDENCE_OK; k++) {
    const cr_tensor *t = k < n_in ? &call->in[k] : &call->out[k - n_in];
    const bool like_x = k < n_in ? (in_like_x >> k & 1) != 0 : k == n_in;
    const char *what = like_x ? "x, y or a gradient of theirs" : "a vector of the channels";
    status = cr_expect_dtype(t, CREDENCE_F32, op, what, err);
    if (status == CREDENCE_OK) status = cr_expect_dense(t, op, what, err);
    if (status != CREDENCE_OK) break;
    const bool fits = like_x ? t->ndim == 2 && t->dim[0] == x->dim[0] && t->dim[1] == x->dim[1]
                             : t->ndim == 1 && x->ndim == 2 && t->dim[0] == x->dim[1];
    char sx[96], st[96];
    if (!fits)
      status = cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: x is %s, %s %u is %s", op, cr_shape(x, sx),
                       k < n_in ? "input" : "output", k < n_in ? k : k - n_in, cr_shape(t, st));
  }
  if (status != CREDENCE_OK) return status;
  if (!cr_act_valid(call->i[0], call->f[1]))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: activation %lld with parameter %g is not known", op,
                   (long long)call->i[0], call->f[1]);
  if (!(call->f[0] > 0 && call->f[0] < INFINITY))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: eps is %g, it must be positive", op, call->f[0]);
  return CREDENCE_OK;
}

int32_t cr_rule_batch_norm_train(const cr_call *call, credence_error *err) {
  return check_batch(call, "batch_norm_train", 3, 3, 1, err);
}

int32_t cr_rule_batch_norm_eval(const cr_call *call, credence_error *err) {
  return check_batch(call, "batch_norm_eval", 5, 1, 1, err);
}

int32_t cr_rule_batch_norm_grad(const cr_call *call, credence_error *err) {
  return check_batch(call, "batch_norm_grad", 6, 3, 1 | 1 << 5, err);
}

/* norm.c: the rules of normalisation of rows. */
#include "rules.h"

static const char *const op_names[] = {"rms_norm", "layer_norm", "rms_norm_grad", "layer_norm_grad"};

/* x, gamma, and then beta (layer_norm) or dy (gradients); outputs y or dx, and the gradients of gamma and beta. */
static int32_t check_rows(const cr_call *call, const bool centred, const bool grad, credence_error *err) {
  const char *op = op_names[centred + 2 * grad];
  const uint32_t n_in = grad || centred ? 3 : 2, n_out = grad ? 2 + (uint32_t)centred : 1;
  int32_t status = cr_expect(call, op, n_in, n_in, n_out, 0, 0, 1, err);
  if (status != CREDENCE_OK) return status;
  const cr_tensor *x = &call->in[0];
  for (uint32_t k = 0; k < n_in + n_out && status == CREDENCE_OK; k++) {
    const cr_tensor *t = k < n_in ? &call->in[k] : &call->out[k - n_in];
    const bool like_x = k == 0 || k == n_in || (grad && k == 2);
    const char *what = like_x ? "x, y or a gradient of theirs" : "a vector of the columns";
    status = cr_expect_dtype(t, CREDENCE_F32, op, what, err);
    if (status == CREDENCE_OK) status = cr_expect_dense(t, op, what, err);
    if (status != CREDENCE_OK) break;
    const bool fits = like_x ? t->ndim == 2 && t->dim[0] == x->dim[0] && t->dim[1] == x->dim[1]
                             : t->ndim == 1 && t->dim[0] == x->dim[1];
    char sx[96], st[96];
    if (!fits)
      status = cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: x is %s, %s %u is %s", op, cr_shape(x, sx),
                       k < n_in ? "input" : "output", k < n_in ? k : k - n_in, cr_shape(t, st));
  }
  if (status == CREDENCE_OK && !(call->f[0] > 0 && call->f[0] < INFINITY))
    status = cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: eps is %g, it must be positive", op, call->f[0]);
  return status;
}

int32_t cr_rule_rms_norm(const cr_call *call, credence_error *err) { return check_rows(call, false, false, err); }

int32_t cr_rule_rms_norm_grad(const cr_call *call, credence_error *err) { return check_rows(call, false, true, err); }

int32_t cr_rule_layer_norm(const cr_call *call, credence_error *err) { return check_rows(call, true, false, err); }

int32_t cr_rule_layer_norm_grad(const cr_call *call, credence_error *err) { return check_rows(call, true, true, err); }

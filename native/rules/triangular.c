/* triangular.c: the rules of batches of lower-triangular matrices l [B,D,D]. */
#include "rules.h"

/* A batch of matrices whose rows are adjacent elements; rows and matrices may be strided. */
static int32_t check_batch(const cr_tensor *t, const char *op, const char *what, credence_error *err) {
  int32_t status = cr_expect_dtype(t, CREDENCE_F32, op, what, err);
  if (status != CREDENCE_OK) return status;
  if (t->ndim == 3 && (t->dim[2] <= 1 || t->stride[2] == 4) && t->stride[1] % 4 == 0 && t->stride[0] % 4 == 0)
    return CREDENCE_OK;
  char shape[96];
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: %s (%s) is not a batch of matrices with adjacent row elements",
                 op, what, cr_shape(t, shape));
}

static int32_t check_square(const cr_tensor *t, const char *op, const char *what, credence_error *err) {
  int32_t status = check_batch(t, op, what, err);
  if (status != CREDENCE_OK || t->dim[1] == t->dim[2]) return status;
  char shape[96];
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: %s is %s, a batch of square matrices is needed", op, what,
                 cr_shape(t, shape));
}

/* n_in dense batches of square matrices of one shape, and an output like them. */
static int32_t check_alike(const cr_call *call, const char *op, uint32_t n_in, uint32_t n_f, credence_error *err) {
  int32_t status = cr_expect(call, op, n_in, n_in, 1, 0, 0, n_f, err);
  for (uint32_t k = 0; status == CREDENCE_OK && k <= n_in; k++) {
    const cr_tensor *t = k < n_in ? &call->in[k] : &call->out[0];
    const char *what = k < n_in ? "an input" : "the result";
    status = check_square(t, op, what, err);
    if (status == CREDENCE_OK) status = cr_expect_dense(t, op, what, err);
    if (status == CREDENCE_OK) status = cr_expect_same_shape(&call->in[0], t, op, err);
  }
  return status;
}

static int32_t check_apply(const cr_call *call, const char *op, credence_error *err) {
  int32_t status = cr_expect(call, op, 2, 2, 1, 0, 1, 0, err);
  if (status == CREDENCE_OK) status = check_square(&call->in[0], op, "l", err);
  if (status == CREDENCE_OK) status = check_batch(&call->in[1], op, "x", err);
  if (status == CREDENCE_OK) status = check_batch(&call->out[0], op, "the result", err);
  if (status == CREDENCE_OK) status = cr_expect_same_shape(&call->in[1], &call->out[0], op, err);
  if (status != CREDENCE_OK) return status;
  if (call->i[0] != 0 && call->i[0] != 1)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: transpose is %lld, 0 or 1 is needed", op,
                   (long long)call->i[0]);
  const cr_tensor *l = &call->in[0], *x = &call->in[1];
  if (l->dim[0] != x->dim[0] || l->dim[1] != x->dim[2]) {
    char sl[96], sx[96];
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: l is %s, x is %s: batches or row lengths differ", op,
                   cr_shape(l, sl), cr_shape(x, sx));
  }
  return CREDENCE_OK;
}

int32_t cr_rule_tri_matmul(const cr_call *call, credence_error *err) { return check_apply(call, "tri_matmul", err); }

int32_t cr_rule_tri_solve(const cr_call *call, credence_error *err) { return check_apply(call, "tri_solve", err); }

int32_t cr_rule_cholesky(const cr_call *call, credence_error *err) { return check_alike(call, "cholesky", 1, 0, err); }

int32_t cr_rule_cholesky_grad(const cr_call *call, credence_error *err) {
  return check_alike(call, "cholesky_grad", 2, 0, err);
}

/* dy [B] or y [B] beside l [B,D,D]. */
static int32_t check_per_matrix(const cr_tensor *t, const cr_tensor *l, const char *op, const char *what,
                                credence_error *err) {
  int32_t status = cr_expect_dtype(t, CREDENCE_F32, op, what, err);
  if (status == CREDENCE_OK) status = cr_expect_dense(t, op, what, err);
  if (status != CREDENCE_OK || (t->ndim == 1 && t->dim[0] == l->dim[0])) return status;
  char st[96], sl[96];
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: %s is %s, l is %s: one number per matrix is needed", op, what,
                 cr_shape(t, st), cr_shape(l, sl));
}

int32_t cr_rule_tri_log_det(const cr_call *call, credence_error *err) {
  const char *op = "tri_log_det";
  int32_t status = cr_expect(call, op, 1, 1, 1, 0, 0, 0, err);
  if (status == CREDENCE_OK) status = check_square(&call->in[0], op, "l", err);
  if (status == CREDENCE_OK) status = cr_expect_dense(&call->in[0], op, "l", err);
  if (status == CREDENCE_OK) status = check_per_matrix(&call->out[0], &call->in[0], op, "the result", err);
  return status;
}

int32_t cr_rule_tri_log_det_grad(const cr_call *call, credence_error *err) {
  const char *op = "tri_log_det_grad";
  int32_t status = cr_expect(call, op, 2, 2, 1, 0, 0, 0, err);
  if (status == CREDENCE_OK) status = check_square(&call->in[0], op, "l", err);
  if (status == CREDENCE_OK) status = cr_expect_dense(&call->in[0], op, "l", err);
  if (status == CREDENCE_OK) status = check_per_matrix(&call->in[1], &call->in[0], op, "dy", err);
  if (status == CREDENCE_OK) status = cr_expect_dtype(&call->out[0], CREDENCE_F32, op, "the result", err);
  if (status == CREDENCE_OK) status = cr_expect_dense(&call->out[0], op, "the result", err);
  if (status == CREDENCE_OK) status = cr_expect_same_shape(&call->in[0], &call->out[0], op, err);
  return status;
}

int32_t cr_rule_tril(const cr_call *call, credence_error *err) { return check_alike(call, "tril", 1, 0, err); }

int32_t cr_rule_tril_softplus(const cr_call *call, credence_error *err) {
  return check_alike(call, "tril_softplus", 1, 1, err);
}

int32_t cr_rule_tril_softplus_grad(const cr_call *call, credence_error *err) {
  return check_alike(call, "tril_softplus_grad", 2, 0, err);
}

/* topk.c: the rules of the largest elements of rows. */
#include "rules.h"

static int32_t check_matrix(const cr_tensor *t, int32_t dtype, const char *op, const char *what, credence_error *err) {
  int32_t status = cr_expect_dtype(t, dtype, op, what, err);
  if (status == CREDENCE_OK) status = cr_expect_dense(t, op, what, err);
  if (status != CREDENCE_OK || t->ndim == 2) return status;
  char shape[96];
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: %s is %s, a matrix is needed", op, what, cr_shape(t, shape));
}

/* x or dx [R,N] beside values and indices [R,k]. */
static int32_t check_shapes(const cr_tensor *x, const cr_tensor *value, const cr_tensor *index, const char *op,
                            credence_error *err) {
  int32_t status = check_matrix(x, CREDENCE_F32, op, "the row matrix", err);
  if (status == CREDENCE_OK) status = check_matrix(value, CREDENCE_F32, op, "the values", err);
  if (status == CREDENCE_OK) status = check_matrix(index, CREDENCE_I32, op, "the indices", err);
  if (status == CREDENCE_OK) status = cr_expect_same_shape(value, index, op, err);
  if (status != CREDENCE_OK) return status;
  char sx[96], sv[96];
  if (x->dim[0] != value->dim[0] || value->dim[1] > x->dim[1])
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: %s elements cannot be chosen from rows %s", op,
                   cr_shape(value, sv), cr_shape(x, sx));
  if (x->dim[1] > INT32_MAX)
    return cr_fail(err, CREDENCE_UNSUPPORTED, "%s: rows of %lld elements; an i32 index names fewer", op,
                   (long long)x->dim[1]);
  return CREDENCE_OK;
}

int32_t cr_rule_top_k(const cr_call *call, credence_error *err) {
  const char *op = "top_k";
  int32_t status = cr_expect(call, op, 1, 1, 2, 0, 1, 0, err);
  if (status == CREDENCE_OK) status = check_shapes(&call->in[0], &call->out[0], &call->out[1], op, err);
  if (status != CREDENCE_OK) return status;
  if (call->i[0] != call->out[0].dim[1])
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: k is %lld, but the result has %lld columns", op,
                   (long long)call->i[0], (long long)call->out[0].dim[1]);
  return CREDENCE_OK;
}

int32_t cr_rule_top_k_grad(const cr_call *call, credence_error *err) {
  const char *op = "top_k_grad";
  int32_t status = cr_expect(call, op, 2, 2, 1, 0, 1, 0, err);
  if (status == CREDENCE_OK) status = check_shapes(&call->out[0], &call->in[0], &call->in[1], op, err);
  if (status != CREDENCE_OK || call->i[0] == call->out[0].dim[1]) return status;
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: rows of %lld elements, but the result has %lld", op,
                 (long long)call->i[0], (long long)call->out[0].dim[1]);
}

/* distance.c: the rules of distances between the rows of two matrices. */
#include "rules.h"

static int32_t check_rows(const cr_call *call, const char *op, credence_error *err) {
  const cr_tensor *x = &call->in[0], *y = &call->in[1];
  for (uint32_t k = 0; k < 2; k++) {
    const cr_tensor *t = &call->in[k];
    int32_t status = cr_expect_dtype(t, CREDENCE_F32, op, k == 0 ? "x" : "y", err);
    if (status != CREDENCE_OK) return status;
    if (t->ndim != 2 || (t->dim[1] > 1 && t->stride[1] != 4) || t->stride[0] % 4 != 0)
      return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: %s is not a matrix of rows of adjacent elements", op,
                     k == 0 ? "x" : "y");
  }
  if (x->dim[1] == y->dim[1]) return CREDENCE_OK;
  char sx[96], sy[96];
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: x is %s, y is %s: row lengths differ", op, cr_shape(x, sx),
                 cr_shape(y, sy));
}

int32_t cr_rule_pairwise_sqdist(const cr_call *call, credence_error *err) {
  const char *op = "pairwise_sqdist";
  int32_t status = cr_expect(call, op, 2, 2, 1, 0, 0, 0, err);
  if (status == CREDENCE_OK) status = check_rows(call, op, err);
  if (status == CREDENCE_OK) status = cr_expect_dtype(&call->out[0], CREDENCE_F32, op, "the result", err);
  if (status != CREDENCE_OK) return status;
  const cr_tensor *x = &call->in[0], *y = &call->in[1], *out = &call->out[0];
  if (out->ndim == 2 && out->dim[0] == x->dim[0] && out->dim[1] == y->dim[0] &&
      (out->dim[1] <= 1 || out->stride[1] == 4) && out->stride[0] % 4 == 0)
    return CREDENCE_OK;
  char so[96], sx[96], sy[96];
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: x is %s, y is %s, the result %s", op, cr_shape(x, sx),
                 cr_shape(y, sy), cr_shape(out, so));
}

static int32_t check_reduction(const cr_call *call, const char *op, credence_error *err) {
  int32_t status = check_rows(call, op, err);
  if (status != CREDENCE_OK) return status;
  if (call->in[1].dim[0] > CR_NUMBERED_ROWS)
    return cr_fail(err, CREDENCE_UNSUPPORTED, "%s: %lld rows of y; an i32 index names fewer", op,
                   (long long)call->in[1].dim[0]);
  return CREDENCE_OK;
}

static int32_t check_per_row(const cr_tensor *t, int32_t dtype, int64_t n, const char *op, const char *what,
                             credence_error *err) {
  int32_t status = cr_expect_dtype(t, dtype, op, what, err);
  if (status == CREDENCE_OK) status = cr_expect_dense(t, op, what, err);
  if (status != CREDENCE_OK || (t->ndim == 1 && t->dim[0] == n)) return status;
  char shape[96];
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: %s is %s, one per row of x (%lld) is needed", op, what,
                 cr_shape(t, shape), (long long)n);
}

int32_t cr_rule_pairwise_arg_min(const cr_call *call, credence_error *err) {
  const char *op = "pairwise_arg_min";
  int32_t status = cr_expect(call, op, 2, 2, 2, 0, 0, 0, err);
  if (status == CREDENCE_OK) status = check_reduction(call, op, err);
  int64_t n = call->in[0].dim[0];
  if (status == CREDENCE_OK) status = check_per_row(&call->out[0], CREDENCE_F32, n, op, "the distance", err);
  if (status == CREDENCE_OK) status = check_per_row(&call->out[1], CREDENCE_I32, n, op, "the index", err);
  return status;
}

int32_t cr_rule_pairwise_count(const cr_call *call, credence_error *err) {
  const char *op = "pairwise_count";
  int32_t status = cr_expect(call, op, 3, 3, 1, 0, 0, 0, err);
  if (status == CREDENCE_OK) status = check_reduction(call, op, err);
  int64_t n = call->in[0].dim[0];
  if (status == CREDENCE_OK) status = check_per_row(&call->in[2], CREDENCE_F32, n, op, "the bound", err);
  if (status == CREDENCE_OK) status = check_per_row(&call->out[0], CREDENCE_I32, n, op, "the count", err);
  return status;
}

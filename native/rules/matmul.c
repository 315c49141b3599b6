/* matmul.c: the rule of matrix products. */
#include "rules.h"

int32_t cr_matmul_fits(const cr_call *call, credence_error *err) {
  static const char op[] = "matmul";
  const cr_tensor *a = &call->in[0], *b = &call->in[1], *y = &call->out[0],
                  *bias = call->n_in > 2 ? &call->in[2] : NULL;
  const int32_t n = y->ndim;
  char sa[96], sb[96], sy[96];
  const bool ta = call->i[0] != 0, tb = call->i[1] != 0;
  bool fits = n >= 2 && a->ndim == n && b->ndim == n;
  if (fits) {
    const int64_t k = a->dim[ta ? n - 2 : n - 1];
    fits = a->dim[ta ? n - 1 : n - 2] == y->dim[n - 2] && b->dim[tb ? n - 1 : n - 2] == k &&
           b->dim[tb ? n - 2 : n - 1] == y->dim[n - 1];
  }
  for (int32_t d = 0; fits && d < n - 2; d++) fits = a->dim[d] == y->dim[d] && b->dim[d] == y->dim[d];
  if (!fits)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: a is %s%s, b is %s%s, y is %s", op, cr_shape(a, sa),
                   ta ? " transposed" : "", cr_shape(b, sb), tb ? " transposed" : "", cr_shape(y, sy));
  if (bias != NULL && (bias->ndim != 1 || bias->dim[0] != y->dim[n - 1]))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: bias is %s, %lld values are needed", op, cr_shape(bias, sa),
                   (long long)y->dim[n - 1]);
  return CREDENCE_OK;
}

static int32_t rows_adjacent(const cr_tensor *t, const char *what, credence_error *err) {
  const int32_t last = t->ndim - 1;
  if (t->dim[last] <= 1 || t->stride[last] == (int64_t)cr_dtype_size(t->dtype)) return CREDENCE_OK;
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT,
                 "matmul: the elements of a row of %s step %lld bytes; they must be adjacent", what,
                 (long long)t->stride[last]);
}

int32_t cr_rule_matmul(const cr_call *call, credence_error *err) {
  int32_t status = cr_expect(call, "matmul", 2, 3, 1, 0, 3, 2, err);
  if (status == CREDENCE_OK) status = cr_expect_dtype(&call->in[0], CREDENCE_F32, "matmul", "a", err);
  if (status == CREDENCE_OK && call->in[1].dtype != CREDENCE_F16 && call->in[1].dtype != CREDENCE_BF16)
    status = cr_expect_dtype(&call->in[1], CREDENCE_F32, "matmul", "b", err);
  if (status == CREDENCE_OK) status = cr_expect_dtype(&call->out[0], CREDENCE_F32, "matmul", "y", err);
  if (status == CREDENCE_OK && call->n_in > 2) {
    status = cr_expect_dtype(&call->in[2], CREDENCE_F32, "matmul", "bias", err);
    if (status == CREDENCE_OK) status = cr_expect_dense(&call->in[2], "matmul", "bias", err);
  }
  if (status == CREDENCE_OK) status = cr_matmul_fits(call, err);
  if (status == CREDENCE_OK) status = rows_adjacent(&call->in[0], "a", err);
  if (status == CREDENCE_OK) status = rows_adjacent(&call->in[1], "b", err);
  if (status == CREDENCE_OK) status = rows_adjacent(&call->out[0], "y", err);
  if (status != CREDENCE_OK) return status;
  if (!cr_act_valid(call->i[2], call->f[1]))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "matmul: no activation %lld with parameter %g",
                   (long long)call->i[2], call->f[1]);
  return CREDENCE_OK;
}

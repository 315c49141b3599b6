/* attention.c: the rules of ATTENTION and of WRITE_ROWS, which fills its cache. */
#include "rules.h"

static bool is_cache(const cr_tensor *t) {
  return t->dtype == CREDENCE_F32 || t->dtype == CREDENCE_F16 || t->dtype == CREDENCE_BF16;
}

int32_t cr_rule_write_rows(const cr_call *call, credence_error *err) {
  const char *op = "write_rows";
  int32_t status = cr_expect(call, op, 1, 1, 0, 1, 1, 0, err);
  if (status != CREDENCE_OK) return status;
  const cr_tensor *rows = &call->in[0], *table = &call->inout[0];
  if (!is_cache(table))
    return cr_fail(err, CREDENCE_UNSUPPORTED, "%s: type %d of the table; f32, f16 or bf16 is needed", op, table->dtype);
  status = cr_expect_dtype(rows, CREDENCE_F32, op, "the tensor of rows", err);
  if (status == CREDENCE_OK) status = cr_expect_dense(rows, op, "the tensor of rows", err);
  if (status == CREDENCE_OK) status = cr_expect_dense(table, op, "the table", err);
  if (status != CREDENCE_OK) return status;
  bool fits = rows->ndim == table->ndim && rows->ndim > 0;
  for (int32_t k = 1; fits && k < rows->ndim; k++) fits = rows->dim[k] == table->dim[k];
  char sr[96], st[96];
  if (fits) return CREDENCE_OK;
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: rows %s do not fit the table %s", op, cr_shape(rows, sr),
                 cr_shape(table, st));
}

int32_t cr_rule_attention(const cr_call *call, credence_error *err) {
  const char *op = "attention";
  int32_t status = cr_expect(call, op, 3, 3, 1, 0, 1, 1, err);
  if (status != CREDENCE_OK) return status;
  const cr_tensor *q = &call->in[0], *k = &call->in[1], *v = &call->in[2], *y = &call->out[0];
  status = cr_expect_dtype(q, CREDENCE_F32, op, "q", err);
  if (status == CREDENCE_OK) status = cr_expect_dtype(y, CREDENCE_F32, op, "y", err);
  if (status == CREDENCE_OK && (!is_cache(k) || !is_cache(v)))
    status = cr_fail(err, CREDENCE_UNSUPPORTED, "%s: types %d and %d of the caches; f32, f16 or bf16 is needed", op,
                     k->dtype, v->dtype);
  const cr_tensor *dense[] = {q, k, v, y};
  static const char *const what[] = {"q", "k", "v", "y"};
  for (int32_t i = 0; i < 4 && status == CREDENCE_OK; i++) status = cr_expect_dense(dense[i], op, what[i], err);
  if (status == CREDENCE_OK) status = cr_expect_same_shape(q, y, op, err);
  if (status == CREDENCE_OK) status = cr_expect_same_shape(k, v, op, err);
  if (status != CREDENCE_OK) return status;
  char sq[96], sk[96];
  if (q->ndim != 3 || k->ndim != 3 || q->dim[2] != k->dim[2] || k->dim[1] < 1 || q->dim[1] % k->dim[1] != 0)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: q %s and k %s do not fit", op, cr_shape(q, sq),
                   cr_shape(k, sk));
  return CREDENCE_OK;
}

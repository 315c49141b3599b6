/* rows.c: the rules of rows of a table picked by index, and added back. */
#include "rules.h"

/* table [V,D], index i32 [N], rows f32 [N,D], all dense. */
static int32_t check_tables(const char *op, const cr_tensor *table, const cr_tensor *index, const cr_tensor *rows,
                            credence_error *err) {
  int32_t status = cr_expect_dense(table, op, "the table", err);
  if (status == CREDENCE_OK) status = cr_expect_dtype(index, CREDENCE_I32, op, "the index", err);
  if (status == CREDENCE_OK) status = cr_expect_dense(index, op, "the index", err);
  if (status == CREDENCE_OK) status = cr_expect_dtype(rows, CREDENCE_F32, op, "the matrix of rows", err);
  if (status == CREDENCE_OK) status = cr_expect_dense(rows, op, "the matrix of rows", err);
  if (status != CREDENCE_OK) return status;
  if (table->ndim == 2 && index->ndim == 1 && rows->ndim == 2 && rows->dim[0] == index->dim[0] &&
      rows->dim[1] == table->dim[1])
    return CREDENCE_OK;
  char st[96], si[96], sr[96];
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: table %s, index %s and rows %s do not fit", op,
                 cr_shape(table, st), cr_shape(index, si), cr_shape(rows, sr));
}

int32_t cr_rule_gather_rows(const cr_call *call, credence_error *err) {
  const char *op = "gather_rows";
  int32_t status = cr_expect(call, op, 2, 2, 1, 0, 0, 0, err);
  if (status != CREDENCE_OK) return status;
  switch (call->in[0].dtype) {
    case CREDENCE_F32:
    case CREDENCE_F16:
    case CREDENCE_BF16:
    case CREDENCE_Q8_0:
    case CREDENCE_Q4_0:
      return check_tables(op, &call->in[0], &call->in[1], &call->out[0], err);
    default:
      return cr_fail(err, CREDENCE_UNSUPPORTED, "%s: type %d of the table; f32, f16, bf16, q8_0 or q4_0 is needed", op,
                     call->in[0].dtype);
  }
}

int32_t cr_rule_scatter_add_rows(const cr_call *call, credence_error *err) {
  const char *op = "scatter_add_rows";
  int32_t status = cr_expect(call, op, 2, 2, 0, 1, 0, 0, err);
  if (status == CREDENCE_OK) status = cr_expect_dtype(&call->inout[0], CREDENCE_F32, op, "the table", err);
  if (status == CREDENCE_OK) status = check_tables(op, &call->inout[0], &call->in[1], &call->in[0], err);
  return status;
}

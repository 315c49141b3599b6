/* match.c: the rules of MATCH, MATCH_CODES and MATCH_CODED. */
#include "rules.h"

static int32_t check_rows(const cr_tensor *t, int64_t d, const char *op, const char *what, credence_error *err) {
  int32_t status = cr_expect_dtype(t, CREDENCE_F32, op, what, err);
  if (status != CREDENCE_OK) return status;
  char shape[96];
  if (t->ndim != 2 || (t->dim[1] > 1 && t->stride[1] != 4) || t->stride[0] % 4 != 0)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: %s is not a matrix of rows of adjacent elements", op, what);
  if (t->dim[1] == d) return CREDENCE_OK;
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: %s is %s; rows of %lld elements are needed", op, what,
                 cr_shape(t, shape), (long long)d);
}

/* Dense, of n elements, or rows of them where each is positive. */
static int32_t check_dense(const cr_tensor *t, int32_t dtype, int64_t n, int64_t each, const char *op, const char *what,
                           credence_error *err) {
  int32_t status = cr_expect_dtype(t, dtype, op, what, err);
  if (status == CREDENCE_OK) status = cr_expect_dense(t, op, what, err);
  if (status != CREDENCE_OK) return status;
  if (t->dim[0] == n && (each < 0 ? t->ndim == 1 : t->ndim == 2 && t->dim[1] == each)) return status;
  char shape[96];
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: %s is %s; %lld of them are needed", op, what, cr_shape(t, shape),
                 (long long)n);
}

static int32_t check_codes(const cr_tensor *code, const cr_tensor *fit, const cr_tensor *centre, int64_t n, int64_t d,
                           const char *op, credence_error *err) {
  int32_t status = check_dense(centre, CREDENCE_F32, d, -1, op, "the centre", err);
  if (status == CREDENCE_OK) status = check_dense(code, CREDENCE_U8, n, d, op, "the code", err);
  if (status == CREDENCE_OK) status = check_dense(fit, CREDENCE_F32, n, 2, op, "the fit", err);
  return status;
}

/* Supports with codes or without. */
static int32_t check_match(const cr_call *call, bool coded, credence_error *err) {
  const char *op = coded ? "match_coded" : "match";
  const uint32_t each = coded ? 5 : 2;
  int32_t status = cr_expect(call, op, 3 + each, 3 + 2 * CR_MATCH_SUPPORTS, 3, 0, 1, 0, err);
  if (status != CREDENCE_OK) return status;
  if ((call->n_in - 3) % each != 0)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: %u inputs; three, and %u for each support are needed", op,
                   call->n_in, each);
  const cr_tensor *x = &call->in[0];
  const int64_t d = x->ndim == 2 ? x->dim[1] : 0;
  status = check_rows(x, d, op, "x", err);
  if (status != CREDENCE_OK) return status;
  const int64_t n = x->dim[0];
  status = check_dense(&call->in[1], CREDENCE_I32, n, -1, op, "the prediction", err);
  if (status == CREDENCE_OK) status = check_dense(&call->in[2], CREDENCE_I32, n, -1, op, "the excluded row", err);
  int64_t rows = 0;
  for (const cr_tensor *y = call->in + 3; y < call->in + call->n_in && status == CREDENCE_OK; y += each) {
    status = check_rows(y, d, op, "a support", err);
    if (status == CREDENCE_OK) status = check_dense(y + 1, CREDENCE_I32, y->dim[0], -1, op, "the class", err);
    if (status == CREDENCE_OK && coded) status = check_codes(y + 3, y + 4, y + 2, y->dim[0], d, op, err);
    if (status != CREDENCE_OK) return status;
    rows += y->dim[0];
    if (rows > CR_NUMBERED_ROWS)
      return cr_fail(err, CREDENCE_UNSUPPORTED, "%s: %lld rows; an i32 number names fewer", op, (long long)rows);
  }
  static const char *const names[] = {"q", "the distance", "the nearest"};
  for (uint32_t a = 0; a < 3 && status == CREDENCE_OK; a++)
    status = check_dense(&call->out[a], a == 1 ? CREDENCE_F32 : CREDENCE_I32, n, -1, op, names[a], err);
  if (status != CREDENCE_OK || call->i[0] >= 1) return status;
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: K is %lld; at least 1 is needed", op, (long long)call->i[0]);
}

int32_t cr_rule_match(const cr_call *call, credence_error *err) { return check_match(call, false, err); }

int32_t cr_rule_match_coded(const cr_call *call, credence_error *err) { return check_match(call, true, err); }

int32_t cr_rule_match_codes(const cr_call *call, credence_error *err) {
  const char *op = "match_codes";
  int32_t status = cr_expect(call, op, 2, 2, 2, 0, 0, 0, err);
  if (status != CREDENCE_OK) return status;
  const cr_tensor *y = &call->in[0];
  const int64_t d = y->ndim == 2 ? y->dim[1] : 0;
  status = check_rows(y, d, op, "y", err);
  if (status != CREDENCE_OK) return status;
  return check_codes(&call->out[0], &call->out[1], &call->in[1], y->dim[0], d, op, err);
}

/* softmax.c: the rules of softmax and its relatives along rows. */
#include "rules.h"

/* labelled: input 1 is the class of each row, and input 2 has a number per row. mapped: the output has the shape of x,
 * else a number per row. */
static int32_t check(const cr_call *call, const char *name, uint32_t n_in, bool labelled, bool mapped,
                     credence_error *err) {
  int32_t rc = cr_expect(call, name, n_in, n_in, 1, 0, 0, 0, err);
  if (rc != CREDENCE_OK) return rc;
  const cr_tensor *x = &call->in[0], *y = &call->out[0];
  if (x->ndim != 2)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: %d axes, rows and columns are needed", name, x->ndim);
  for (uint32_t k = 0; k < n_in + 1 && rc == CREDENCE_OK; k++) {
    const cr_tensor *t = k < n_in ? &call->in[k] : y;
    const bool per_row = k == n_in ? !mapped : k > 0 && labelled;
    rc = cr_expect_dtype(t, labelled && k == 1 ? CREDENCE_I32 : CREDENCE_F32, name, k < n_in ? "input" : "output", err);
    if (rc == CREDENCE_OK) rc = cr_expect_dense(t, name, k < n_in ? "an input" : "the output", err);
    if (rc != CREDENCE_OK) return rc;
    if (per_row && (t->ndim != 1 || t->dim[0] != x->dim[0])) {
      char sx[96], st[96];
      rc = cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: rows are %s, what has one element per row is %s", name,
                   cr_shape(x, sx), cr_shape(t, st));
    } else if (!per_row) {
      rc = cr_expect_same_shape(x, t, name, err);
    }
  }
  return rc;
}

#define RULE(name, n_in, labelled, mapped)                           \
  int32_t cr_rule_##name(const cr_call *call, credence_error *err) { \
    return check(call, #name, n_in, labelled, mapped, err);          \
  }
RULE(softmax, 1, false, true)
RULE(softmax_grad, 2, false, true)
RULE(log_softmax, 1, false, true)
RULE(log_softmax_grad, 2, false, true)
RULE(log_sum_exp, 1, false, false)
RULE(cross_entropy, 2, true, false)
RULE(cross_entropy_grad, 3, true, true)

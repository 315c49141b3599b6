/* ffn.c: the rules of sparse feed-forward blocks, and of their second and third step by themselves. */
#include "rules.h"

static bool is_matrix(const cr_tensor *t, int64_t rows, int64_t cols) {
  return t->ndim == 2 && t->dim[0] == rows && t->dim[1] == cols;
}

static bool is_vector(const cr_tensor *t, int64_t n) { return t->ndim == 1 && t->dim[0] == n; }

static int32_t check_tensors(const cr_call *call, const char *op, const bool gated, credence_error *err) {
  const uint32_t down = gated ? 3 : 2, weights = down, n = call->n_in;
  static const char *const outputs[] = {"y", "the hidden values", "the counts", "what was read"};
  for (uint32_t k = 0; k < n + 4; k++) {
    const cr_tensor *t = k < n ? &call->in[k] : &call->out[k - n];
    const char *what = k >= n ? outputs[k - n] : k == 0 ? "x" : k <= weights ? "a weight matrix" : "a bias";
    int32_t status = CREDENCE_OK;
    if (k >= 1 && k <= weights) {
      if (!cr_is_stored(t->dtype) || t->ndim != 2)
        status = cr_fail(err, CREDENCE_UNSUPPORTED,
                         "%s: weights of type %d, rank %d; a matrix of f32, f16, bf16, q8_0 or q4_0 is needed", op,
                         t->dtype, t->ndim);
    } else {
      status = cr_expect_dtype(t, k >= n + 2 ? CREDENCE_I32 : CREDENCE_F32, op, what, err);
    }
    if (status == CREDENCE_OK) status = cr_expect_dense(t, op, what, err);
    if (status != CREDENCE_OK) return status;
  }
  return CREDENCE_OK;
}

static int32_t check_ffn(const cr_call *call, const bool gated, credence_error *err) {
  const char *op = gated ? "sparse_ffn_gated" : "sparse_ffn";
  const uint32_t down = gated ? 3 : 2, biases = gated ? 3 : 2;
  int32_t status = cr_expect(call, op, down + 1, down + 1 + biases, 4, 0, 4, 3, err);
  if (status != CREDENCE_OK) return status;
  if (call->n_in != down + 1 && call->n_in != down + 1 + biases)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: %u inputs; %u, or %u with biases, are needed", op, call->n_in,
                   down + 1, down + 1 + biases);
  status = check_tensors(call, op, gated, err);
  if (status != CREDENCE_OK) return status;
  const cr_tensor *x = &call->in[0], *gate = &call->in[1];
  char sx[96], sg[96];
  bool fits = x->ndim == 2 && gate->dim[1] == x->dim[1];
  const int64_t rows = fits ? x->dim[0] : 0, d = gate->dim[1], f = gate->dim[0];
  for (uint32_t k = 2; k < down + 1; k++) fits = fits && is_matrix(&call->in[k], f, d);
  for (uint32_t k = down + 1; k < call->n_in; k++) fits = fits && is_vector(&call->in[k], k + 1 < call->n_in ? f : d);
  fits = fits && is_matrix(&call->out[0], rows, d) && is_matrix(&call->out[1], rows, f) &&
         is_vector(&call->out[2], rows) && is_vector(&call->out[3], 2);
  if (!fits)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: x is %s, the first matrix %s; the other tensors do not fit", op,
                   cr_shape(x, sx), cr_shape(gate, sg));
  if (f > INT32_MAX) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: %lld neurons are too many", op, (long long)f);
  if (!cr_act_valid(call->i[0], call->f[0]) || call->i[1] < 0 || call->i[1] > (gated ? 1 : 0) || call->i[2] < 0 ||
      call->i[2] > CR_SELECT_CUTOFF || call->i[3] < 0 || !(fabs(call->f[1]) <= 1e6) ||
      !(call->f[2] >= 0 && call->f[2] <= 1))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT,
                   "%s: activation %lld (%g), both %lld, selection %lld, k %lld, z %g or limit %g is out of range", op,
                   (long long)call->i[0], call->f[0], (long long)call->i[1], (long long)call->i[2],
                   (long long)call->i[3], call->f[1], call->f[2]);
  return CREDENCE_OK;
}

/* x [B,D], w [F,D], s [B,F] -> y [B,F]; or h [B,F], w [F,D], optional bias [D] -> y [B,D]. And read [1]. */
static int32_t check_step(const cr_call *call, const bool masked, credence_error *err) {
  const char *op = masked ? "masked_linear" : "sparse_linear";
  int32_t status = cr_expect(call, op, masked ? 3 : 2, 3, 2, 0, 0, 1, err);
  if (status != CREDENCE_OK) return status;
  const cr_tensor *w = &call->in[1], *x = &call->in[0], *more = call->n_in > 2 ? &call->in[2] : NULL;
  if (!cr_is_stored(w->dtype) || w->ndim != 2)
    return cr_fail(err, CREDENCE_UNSUPPORTED,
                   "%s: weights of type %d, rank %d; a matrix of f32, f16, bf16, q8_0 or q4_0 is needed", op, w->dtype,
                   w->ndim);
  status = cr_expect_dense(w, op, "the weights", err);
  const cr_tensor *rest[] = {x, &call->out[0], &call->out[1], more};
  static const char *const names[] = {"the first input", "y", "what was read", "the third input"};
  for (int k = 0; k < 4 && status == CREDENCE_OK && rest[k] != NULL; k++) {
    status = cr_expect_dtype(rest[k], k == 2 ? CREDENCE_I32 : CREDENCE_F32, op, names[k], err);
    if (status == CREDENCE_OK) status = cr_expect_dense(rest[k], op, names[k], err);
  }
  if (status != CREDENCE_OK) return status;
  const int64_t f = w->dim[0], d = w->dim[1], rows = x->ndim == 2 ? x->dim[0] : 0;
  char sx[96], sw[96];
  if (!is_matrix(x, rows, masked ? d : f) || !is_matrix(&call->out[0], rows, masked ? f : d) ||
      !is_vector(&call->out[1], 1) || (more != NULL && !(masked ? is_matrix(more, rows, f) : is_vector(more, d))) ||
      f > INT32_MAX)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT,
                   "%s: the first input is %s, the weights %s; the other tensors do not fit", op, cr_shape(x, sx),
                   cr_shape(w, sw));
  if (!(call->f[0] >= 0 && call->f[0] <= 1))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: the limit is %g, outside 0 to 1", op, call->f[0]);
  return CREDENCE_OK;
}

int32_t cr_rule_sparse_ffn(const cr_call *call, credence_error *err) { return check_ffn(call, false, err); }

int32_t cr_rule_sparse_ffn_gated(const cr_call *call, credence_error *err) { return check_ffn(call, true, err); }

int32_t cr_rule_masked_linear(const cr_call *call, credence_error *err) { return check_step(call, true, err); }

int32_t cr_rule_sparse_linear(const cr_call *call, credence_error *err) { return check_step(call, false, err); }

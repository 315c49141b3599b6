/* Checks that the op families share. */
#include "core.h"

size_t cr_dtype_size(int32_t dtype) {
  switch (dtype) {
    case CREDENCE_F64:
    case CREDENCE_I64:
      return 8;
    case CREDENCE_F32:
    case CREDENCE_I32:
      return 4;
    case CREDENCE_F16:
    case CREDENCE_BF16:
      return 2;
    case CREDENCE_U8:
      return 1;
    default:
      return 0;
  }
}

static const char *dtype_name(int32_t dtype) {
  static const char *const names[] = {"?", "f32", "f64", "f16", "bf16", "i32", "i64", "u8", "q8_0", "q4_0"};
  return dtype > 0 && dtype < (int32_t)(sizeof names / sizeof *names) ? names[dtype] : names[0];
}

int32_t cr_expect(const cr_call *call, const char *op, uint32_t n_in_min, uint32_t n_in_max, uint32_t n_out,
                  uint32_t n_inout, uint32_t n_i, uint32_t n_f, credence_error *err) {
  if (call->n_in < n_in_min || call->n_in > n_in_max)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: %u inputs, %u to %u are needed", op, call->n_in, n_in_min,
                   n_in_max);
  if (call->n_out != n_out || call->n_inout != n_inout)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: %u outputs and %u in-place tensors, %u and %u are needed", op,
                   call->n_out, call->n_inout, n_out, n_inout);
  if (call->n_i != n_i || call->n_f != n_f)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: %u integer and %u scalar attributes, %u and %u are needed", op,
                   call->n_i, call->n_f, n_i, n_f);
  return CREDENCE_OK;
}

int32_t cr_expect_dtype(const cr_tensor *t, int32_t dtype, const char *op, const char *what, credence_error *err) {
  if (t->dtype == dtype) return CREDENCE_OK;
  return cr_fail(err, CREDENCE_UNSUPPORTED, "%s: %s is %s, %s is needed", op, what, dtype_name(t->dtype),
                 dtype_name(dtype));
}

int32_t cr_expect_dense(const cr_tensor *t, const char *op, const char *what, credence_error *err) {
  int64_t size = (int64_t)cr_dtype_size(t->dtype), step = size;
  for (int32_t k = 0; k < t->ndim; k++)
    if (t->dim[k] == 0) return CREDENCE_OK;
  int32_t k = t->ndim - 1;
  if (size == 0) { /* blocks of 32 along the innermost dimension, which has no stride of its own */
    step = k < 0 ? 0 : t->dim[k] / 32 * (t->dtype == CREDENCE_Q8_0 ? 34 : 18);
    k--;
  }
  for (; k >= 0; k--) {
    if (t->dim[k] == 1) continue;
    if (t->stride[k] != step) {
      char shape[96];
      return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: %s (%s) is not dense: axis %d steps %lld bytes, not %lld", op,
                     what, cr_shape(t, shape), k, (long long)t->stride[k], (long long)step);
    }
    step *= t->dim[k];
  }
  return CREDENCE_OK;
}

int32_t cr_expect_same_shape(const cr_tensor *a, const cr_tensor *b, const char *op, credence_error *err) {
  bool same = a->ndim == b->ndim;
  for (int32_t k = 0; same && k < a->ndim; k++) same = a->dim[k] == b->dim[k];
  if (same) return CREDENCE_OK;
  char sa[96], sb[96];
  return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: shapes %s and %s differ", op, cr_shape(a, sa), cr_shape(b, sb));
}

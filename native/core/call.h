/* call.h: an operation of a submission as both backends see it, and the tools to check one. Internal; nothing here
 * crosses the ABI. C and C++.
 *
 * Each op has a rule (native/rules), the same for every backend:
 *   rule     proves at plan_open, with every dimension at its maximum, that running can touch no memory outside the
 *            tensors: counts, types, ranks, shapes, attribute ranges. It must hold for all smaller dims too; it is also
 *            asked with each argument alone one lower, so that shapes which only meet at the maxima are refused.
 * Tensors have no memory yet (data is NULL) and a scalar that is an argument counts as 1. An op whose integer
 *            attributes are arguments is checked again whenever they change.
 * and in each backend's family file a row:
 *   scratch  asks for scratch memory, for a call that the rule accepted; what it asks for must not grow when a
 *            dimension shrinks. NULL: none.
 *   run      computes, or on a GPU enqueues; it may still fail (an index out of range, a matrix that is not positive
 *            definite).
 */
#ifndef CREDENCE_CORE_CALL_H
#define CREDENCE_CORE_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "credence_native.h"
#include "credence_ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A tensor of a submission: address and sizes resolved. Strides in bytes; dimensions beyond ndim are 1, strides 0. */
typedef struct cr_tensor {
  char *data;
  int32_t dtype, ndim;
  int64_t dim[CREDENCE_MAX_DIMS], stride[CREDENCE_MAX_DIMS];
} cr_tensor;

/* One op of a submission. */
typedef struct cr_call {
  const cr_tensor *in, *out, *inout;
  const int64_t *i;
  const double *f;
  uint32_t n_in, n_out, n_inout, n_i, n_f;
  int64_t dense; /* elements, if all tensors have one shape and lie without gaps; else -1. Set for run, not for rules */
} cr_call;

/* Scratch bytes an op asks for. */
typedef struct cr_scratch {
  size_t shared, per_thread;
} cr_scratch;

/* What a running op may use besides its tensors: each backend has its own (cpu/cr.h, cuda/cu.h). */
typedef struct cr_ctx cr_ctx;

typedef int32_t (*cr_rule_fn)(const cr_call *call, credence_error *err);
typedef void (*cr_scratch_fn)(const cr_call *call, int32_t threads, cr_scratch *scratch);
typedef int32_t (*cr_run_fn)(const cr_call *call, const cr_ctx *ctx, credence_error *err);
/* Puts into words what a kernel found wrong: at and value as the kernel recorded them. */
typedef void (*cr_explain_fn)(const cr_call *call, int64_t at, int64_t value, credence_error *err);

typedef struct cr_op_row {
  uint32_t opcode;
  cr_scratch_fn scratch;
  cr_run_fn run;
  /* GPU only: bit k says that integer attribute k is read in the kernel, so that another value needs no new graph */
  uint64_t value_ints;
  cr_explain_fn explain;
} cr_op_row;

/* ---- errors ---- */
int32_t cr_fail(credence_error *err, int32_t code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* "32x64x3" of a tensor into a small caller buffer; returns it. */
const char *cr_shape(const cr_tensor *t, char buffer[96]);

/* ---- checks that rules share ---- */
int32_t cr_expect(const cr_call *call, const char *op, uint32_t n_in_min, uint32_t n_in_max, uint32_t n_out,
                  uint32_t n_inout, uint32_t n_i, uint32_t n_f, credence_error *err);
int32_t cr_expect_dtype(const cr_tensor *t, int32_t dtype, const char *op, const char *what, credence_error *err);
/* Row-major dense for these dims, and dense for all smaller outermost dims. */
int32_t cr_expect_dense(const cr_tensor *t, const char *op, const char *what, credence_error *err);
int32_t cr_expect_same_shape(const cr_tensor *a, const cr_tensor *b, const char *op, credence_error *err);

static inline int64_t cr_count(const cr_tensor *t) {
  int64_t n = 1;
  for (int32_t k = 0; k < t->ndim; k++) n *= t->dim[k];
  return n;
}
size_t cr_dtype_size(int32_t dtype); /* bytes of one element; 0 for block types */

#ifdef __cplusplus
}
#endif
#endif

/* cr.h: what the CPU backend's op families share. Internal; nothing here crosses the ABI.
 *
 * Each op NAME has, in its family's file, one row of a table (CR_OPS at the end of every family file):
 *   check  proves at plan_open, with every dimension at its maximum, that run can touch no memory outside its tensors:
 *          counts, types, ranks, shapes, attribute ranges; and asks for scratch. It must hold for all smaller dims too;
 *          it is also asked with each argument alone one lower, so that shapes which only meet at the maxima are
 * refused. Tensors have no memory yet (data is NULL) and a scalar that is an argument counts as 1. An op whose integer
 *          attributes are arguments is checked again whenever they change.
 *   run    computes; it may still fail (an index out of range, a matrix that is not positive definite).
 * Family files are compiled once per instruction set (CR_ISA) with the same source; see isa.h and vec.h.
 */
#ifndef CREDENCE_CPU_CR_H
#define CREDENCE_CPU_CR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "credence_native.h"
#include "credence_ops.h"

/* A tensor of a submission: address and sizes resolved. Strides in bytes. */
typedef struct cr_tensor {
  char *data;
  int32_t dtype, ndim;
  int64_t dim[CREDENCE_MAX_DIMS], stride[CREDENCE_MAX_DIMS];
} cr_tensor;

typedef struct cr_pool cr_pool;

/* What a running op may use besides its tensors. */
typedef struct cr_ctx {
  cr_pool *pool;
  int32_t threads;                /* how many threads cr_parallel may use, >= 1 */
  int32_t blas_panels;            /* 1: the self-test proved the OpenBLAS row-panel rule on this machine */
  const _Atomic uint64_t *cancel; /* the stream's cancel word */
  uint64_t tag;                   /* this submission */
  char *scratch;                  /* 64-byte aligned: check's `shared` bytes, then `per_thread` bytes per thread */
  size_t scratch_shared, scratch_per_thread; /* of this op, rounded up to 64 */
} cr_ctx;

static inline bool cr_cancelled(const cr_ctx *ctx) {
  return atomic_load_explicit(ctx->cancel, memory_order_relaxed) == ctx->tag;
}

/* One op of a submission. */
typedef struct cr_call {
  const cr_tensor *in, *out, *inout;
  const int64_t *i;
  const double *f;
  uint32_t n_in, n_out, n_inout, n_i, n_f;
  int64_t dense; /* elements, if all tensors have one shape and lie without gaps; else -1. Set for run, not for check */
} cr_call;

/* Scratch bytes an op asks for in check. */
typedef struct cr_scratch {
  size_t shared, per_thread;
} cr_scratch;

typedef int32_t (*cr_check_fn)(const cr_call *call, int32_t threads, cr_scratch *scratch, credence_error *err);
typedef int32_t (*cr_run_fn)(const cr_call *call, const cr_ctx *ctx, credence_error *err);

typedef struct cr_op_row {
  uint32_t opcode;
  cr_check_fn check;
  cr_run_fn run;
} cr_op_row;

/* ---- errors ---- */
int32_t cr_fail(credence_error *err, int32_t code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* "32x64x3" of a tensor into a small caller buffer; returns it. */
const char *cr_shape(const cr_tensor *t, char buffer[96]);

/* ---- checks shared by the families ---- */
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

/* ---- threads ---- */
/* Calls task(arg, index, worker) for index 0..n-1, each once, on up to ctx->threads threads (worker 0..threads-1), the
 * caller among them. What a task computes must depend on its index alone, never on the worker or the order: that is
 * what makes results the same at every thread count. Stops handing out tasks once the submission is cancelled. Returns
 * CREDENCE_OK, CREDENCE_CANCELLED, or the status of the lowest-numbered failing task, with its error. */
typedef int32_t (*cr_task_fn)(void *arg, int64_t index, int32_t worker, credence_error *err);
int32_t cr_parallel(const cr_ctx *ctx, int64_t n, cr_task_fn task, void *arg, credence_error *err);

static inline char *cr_worker_scratch(const cr_ctx *ctx, int32_t worker) {
  return ctx->scratch + ctx->scratch_shared + (size_t)worker * ctx->scratch_per_thread;
}

/* ---- BLAS ---- */
/* Sets OpenBLAS to one thread and proves the row-panel rule by a self-test: 1 if it holds on this machine, else 0.
 * detail: one line for a person (the library's version and kernel, the result). Called once per process. */
int32_t cr_blas_init(char detail[256]);

/* Elements below which an op is not worth waking other threads for (an elementwise pass of about 20 us); and
 * cr_parallel that heeds it. */
#define CR_SERIAL_ELEMENTS 65536
static inline int32_t cr_spread(const cr_ctx *ctx, int64_t elements, int64_t n, cr_task_fn task, void *arg,
                                credence_error *err) {
  cr_ctx alone = *ctx;
  if (elements < CR_SERIAL_ELEMENTS) alone.threads = 1;
  return cr_parallel(&alone, n, task, arg, err);
}

#endif

/* cr.h: what the CPU backend's op families share. Internal; nothing here crosses the ABI.
 *
 * A family is NAME.c and ends with CR_FAMILY(NAME, rows...); call.h says what a row is. Families are compiled once per
 * instruction set (CR_ISA) with the same source; see isa.h and vec.h.
 */
#ifndef CREDENCE_CPU_CR_H
#define CREDENCE_CPU_CR_H

#include <stdatomic.h>

#include "call.h"

typedef struct cr_pool cr_pool;

/* What a running op may use besides its tensors. */
struct cr_ctx {
  cr_pool *pool;
  int32_t threads;                /* how many threads cr_parallel may use, >= 1 */
  int32_t blas_panels;            /* 1: the self-test proved the OpenBLAS row-panel rule on this machine */
  const _Atomic uint64_t *cancel; /* the stream's cancel word */
  uint64_t tag;                   /* this submission */
  char *scratch;                  /* 64-byte aligned: the row's `shared` bytes, then `per_thread` bytes per thread */
  size_t scratch_shared, scratch_per_thread; /* of this op, rounded up to 64 */
};

static inline bool cr_cancelled(const cr_ctx *ctx) {
  return atomic_load_explicit(ctx->cancel, memory_order_relaxed) == ctx->tag;
}

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

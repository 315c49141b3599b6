/* cu.h: what the CUDA backend's op families share with its core. C and C++; kernels also use kernel.cuh.
 *
 * A family is NAME.cu and ends with CU_FAMILY(NAME, rows...). Its run functions enqueue kernels on ctx->stream and
 * return; they neither wait nor allocate nor copy to or from the host, because the core records them into CUDA graphs
 * and replays those. What differs between submissions of one graph is read on the device:
 *   - scalar attributes always, through cu_scalar;
 *   - integer attributes that the row names in value_ints, through cu_integer. Others are host constants (call->i) and
 *     part of the graph's key, as all shapes and addresses are.
 * What a kernel finds wrong it records in ctx->fault, from one thread of one kernel; the row's explain puts it into
 * words. An op with in-place tensors does nothing once the submission has a fault.
 */
#ifndef CREDENCE_CUDA_CU_H
#define CREDENCE_CUDA_CU_H

#include <cuda_runtime_api.h>

#include "call.h"

#ifdef __cplusplus
extern "C" {
#endif

/* In device memory; cleared once it has been told, when the stream is synchronised. Kernels of one stream run one after
 * the other, so the first one that finds something wrong writes it, from one thread, if code is still 0. */
typedef struct cu_fault {
  int32_t code; /* credence_status */
  uint32_t op;  /* index in the plan */
  int64_t at, value;
} cu_fault;

typedef struct cu_blas cu_blas;

struct cr_ctx {
  cudaStream_t stream;
  cu_blas *blas;
  char *scratch;           /* device memory, 256-byte aligned: what the row's scratch asked for (cr_scratch.shared) */
  cu_fault *fault;         /* device memory */
  const credence_value *i; /* this op's attributes as the plan has them */
  const credence_scalar *f;
  const int64_t *iargs; /* the submission's arguments, in device memory */
  const double *fargs;
  uint32_t op;
  int32_t multiprocessors;
  int64_t l2_bytes;
  bool tf32; /* CREDENCE_MATH=tf32 permits it */
};

/* A CUDA call failed: fills *err with its name, number and text; returns OUT_OF_MEMORY, DEVICE_LOST or INTERNAL. */
int32_t cu_failed(const char *call, cudaError_t error, credence_error *err);

/* ---- blas.c: cuBLAS, row-major. Each is strict float32 unless ctx->tf32. ---- */
/* y[m,n] = alpha op(a) op(b) for each of `batch` products; op transposes where asked. lda, ldb, ldy: elements between
 * rows as stored; stride_*: elements between products (0: shared). beta 0 or 1: y is replaced or added to. k may be 0.
 */
typedef struct cu_gemm {
  const float *a, *b;
  float *y;
  int64_t m, n, k, lda, ldb, ldy, stride_a, stride_b, stride_y, batch;
  bool transpose_a, transpose_b;
  float beta, alpha; /* alpha 0 means 1 */
} cu_gemm;
/* By cuBLAS, or by cu_gemm_plain what that cannot take. */
int32_t cu_gemm_run(const cr_ctx *ctx, const cu_gemm *g, credence_error *err);
/* Whether cuBLAS takes it: sizes of 32 bits, k > 0, rows that do not overlap. */
bool cu_gemm_fits(const cu_gemm *g);

/* ---- matmul.cu ---- */
/* Our own kernel: any strides (rows may repeat or run backwards), any k; y's rows must not overlap. */
int32_t cu_gemm_plain(const cr_ctx *ctx, const cu_gemm *g, credence_error *err);

/* ---- check.cu ---- */
/* Records a fault (INVALID_ARGUMENT, at = position, value = index[position]) for the first of n indices outside
 * [low, high]. Kernels enqueued after it may rely on the fault word: see cu_faulty in kernel.cuh. */
int32_t cu_check_indices(const cr_ctx *ctx, const int32_t *index, int64_t n, int64_t low, int64_t high,
                         credence_error *err);

#define CU_FAMILY(family, ...)                     \
  extern "C" const cr_op_row cu_family_##family[]; \
  const cr_op_row cu_family_##family[] = {__VA_ARGS__, {0, nullptr, nullptr, 0, nullptr}};

#ifdef __cplusplus
}
#endif
#endif

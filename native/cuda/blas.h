/* blas.h: cuBLAS, found at run time so that this library loads, and can say what is missing, where there is none. The
 * products themselves are cu_gemm_run of cu.h. */
#ifndef CREDENCE_CUDA_BLAS_H
#define CREDENCE_CUDA_BLAS_H

#include "cu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* CREDENCE_OK once cuBLAS is loaded; else UNSUPPORTED with the loader's reasons, the same at every call. */
int32_t cu_blas_load(credence_error *err);

/* "cuBLAS 13.0.2", or "no cuBLAS". Loads it if need be. */
const char *cu_blas_version(void);

/* cuBLAS for one stream of the current device, with a workspace of its own. It is set to float32 without TF32 and
 * without atomics; whether a product may use TF32 is said product by product (cr_ctx.tf32). */
int32_t cu_blas_open(cudaStream_t stream, cu_blas **out, credence_error *err);
/* The stream's work must be done, or be ordered before what its device memory is used for next. NULL is nothing. */
void cu_blas_close(cu_blas *);

#ifdef __cplusplus
}
#endif
#endif

/* product.cuh: a batch of matrix products with an epilogue, for MATMUL and for convolutions that are plain products.
 * matmul.cu chooses between cuBLAS and our own kernel. */
#ifndef CREDENCE_CUDA_PRODUCT_CUH
#define CREDENCE_CUDA_PRODUCT_CUH

#include "kernel.cuh"

/* y = act(alpha a b + bias), a [m,k] and b [k,n] as they are multiplied, whatever way they are stored: strides in
 * elements, one of each matrix's two is 1. */
struct cu_product {
  const float *a;
  const void *b;
  int32_t b_dtype; /* f32, f16, bf16 */
  float *y;
  int64_t m, n, k;
  int64_t a_row, a_col, b_row, b_col, y_row;
  int64_t batch[3], a_batch[3], b_batch[3], y_batch[3];
  const float *bias;    /* or null */
  int64_t bias_repeats; /* n, or what the bias begins again after */
  cu_scalar_value alpha, p;
  int32_t act;
  bool add; /* y += */
};

int32_t cu_product_run(const cr_ctx *ctx, cu_product g, credence_error *err);

#endif

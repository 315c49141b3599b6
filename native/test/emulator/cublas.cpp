/* libcublas.so.13 of the emulator: the functions that native/cuda/blas.c asks for, as the cuBLAS documentation has
 * them, by plain loops over column-major matrices. float32 only; TF32 rounds what it multiplies. */
#include <algorithm>
#include <cstring>
#include <vector>

#include "emulator.h"

#define CUBLAS_API extern "C" EMU_API

struct cublasContext {
  cudaStream_t stream;
};

namespace {

enum { kSuccess = 0, kNotInitialized = 1, kInvalidValue = 7, kExecutionFailed = 13, kNotSupported = 15 };
enum { kTypeF32 = 0, kComputeF32 = 68, kComputeTF32 = 77 };

struct Product {
  bool transpose_a, transpose_b, tf32;
  int64_t m, n, k, lda, ldb, ldc, stride_a, stride_b, stride_c, batch;
  float alpha, beta;
  const float *a, *b;
  float *c;
};

/* To 10 bits of fraction, ties to even. */
float tf32(float v) {
  uint32_t bits;
  memcpy(&bits, &v, sizeof bits);
  if ((bits & 0x7f800000u) != 0x7f800000u) bits += 0xfffu + (bits >> 13 & 1u);
  bits &= ~0x1fffu;
  memcpy(&v, &bits, sizeof v);
  return v;
}

void run(const Product &p) {
  std::vector<float> a(static_cast<size_t>(p.m * p.k)), sum(static_cast<size_t>(p.m));
  for (int64_t item = 0; item < p.batch; item++) {
    const float *from = p.a + item * p.stride_a, *b = p.b + item * p.stride_b;
    for (int64_t l = 0; l < p.k; l++)
      for (int64_t i = 0; i < p.m; i++) {
        const float v = p.transpose_a ? from[l + i * p.lda] : from[i + l * p.lda];
        a[static_cast<size_t>(l * p.m + i)] = p.tf32 ? tf32(v) : v;
      }
    for (int64_t j = 0; j < p.n; j++) {
      std::fill(sum.begin(), sum.end(), 0.0f);
      for (int64_t l = 0; l < p.k; l++) {
        float v = p.transpose_b ? b[j + l * p.ldb] : b[l + j * p.ldb];
        if (p.tf32) v = tf32(v);
        const float *column = a.data() + l * p.m;
        for (int64_t i = 0; i < p.m; i++) sum[static_cast<size_t>(i)] += column[i] * v;
      }
      float *c = p.c + item * p.stride_c + j * p.ldc;
      for (int64_t i = 0; i < p.m; i++) { /* c is not read where beta is 0 */
        const float product = p.alpha * sum[static_cast<size_t>(i)];
        c[i] = p.beta == 0 ? product : product + p.beta * c[i];
      }
    }
  }
}

int enqueue(cublasContext *handle, const Product &p) {
  if (handle == nullptr) return kNotInitialized;
  const int64_t one = 1;
  if (p.m < 0 || p.n < 0 || p.k < 0 || p.batch < 0 || p.lda < std::max(one, p.transpose_a ? p.k : p.m) ||
      p.ldb < std::max(one, p.transpose_b ? p.n : p.k) || p.ldc < std::max(one, p.m))
    return kInvalidValue;
  const cudaError_t error = emu_enqueue(handle->stream, [p] {
    run(p);
    return cudaSuccess;
  });
  return error == cudaSuccess ? kSuccess : kExecutionFailed;
}

}  // namespace

CUBLAS_API int cublasCreate_v2(cublasContext **handle) {
  if (handle == nullptr) return kInvalidValue;
  *handle = new cublasContext{nullptr};
  return kSuccess;
}

CUBLAS_API int cublasDestroy_v2(cublasContext *handle) {
  delete handle;
  return kSuccess;
}

CUBLAS_API int cublasGetProperty(int which, int *value) {
  if (which < 0 || which > 2 || value == nullptr) return kInvalidValue;
  *value = which == 0 ? 13 : 0;
  return kSuccess;
}

CUBLAS_API int cublasSetStream_v2(cublasContext *handle, cudaStream_t stream) {
  if (handle == nullptr) return kNotInitialized;
  handle->stream = stream;
  return kSuccess;
}

CUBLAS_API int cublasSetWorkspace_v2(cublasContext *handle, void *workspace, size_t) {
  if (handle == nullptr) return kNotInitialized;
  return reinterpret_cast<uintptr_t>(workspace) % 256 == 0 ? kSuccess : kInvalidValue;
}

/* These take one value only: what others would do is not emulated. */
static int only(cublasContext *handle, int mode) {
  if (handle == nullptr) return kNotInitialized;
  return mode == 0 ? kSuccess : kNotSupported;
}
CUBLAS_API int cublasSetMathMode(cublasContext *handle, int mode) { return only(handle, mode); }
CUBLAS_API int cublasSetAtomicsMode(cublasContext *handle, int mode) { return only(handle, mode); }
CUBLAS_API int cublasSetPointerMode_v2(cublasContext *handle, int mode) { return only(handle, mode); }

CUBLAS_API int cublasGemmStridedBatchedEx(cublasContext *handle, int transpose_a, int transpose_b, int m, int n, int k,
                                          const void *alpha, const void *a, int type_a, int lda, long long stride_a,
                                          const void *b, int type_b, int ldb, long long stride_b, const void *beta,
                                          void *c, int type_c, int ldc, long long stride_c, int batch, int compute,
                                          int) {
  if (alpha == nullptr || beta == nullptr || transpose_a < 0 || transpose_a > 1 || transpose_b < 0 || transpose_b > 1)
    return kInvalidValue;
  if (type_a != kTypeF32 || type_b != kTypeF32 || type_c != kTypeF32) return kNotSupported;
  if (compute != kComputeF32 && compute != kComputeTF32) return kNotSupported;
  return enqueue(
      handle, {transpose_a == 1, transpose_b == 1, compute == kComputeTF32, m, n, k, lda, ldb, ldc, stride_a, stride_b,
               stride_c, batch, *static_cast<const float *>(alpha), *static_cast<const float *>(beta),
               static_cast<const float *>(a), static_cast<const float *>(b), static_cast<float *>(c)});
}

CUBLAS_API int cublasGemmEx(cublasContext *handle, int transpose_a, int transpose_b, int m, int n, int k,
                            const void *alpha, const void *a, int type_a, int lda, const void *b, int type_b, int ldb,
                            const void *beta, void *c, int type_c, int ldc, int compute, int algorithm) {
  return cublasGemmStridedBatchedEx(handle, transpose_a, transpose_b, m, n, k, alpha, a, type_a, lda, 0, b, type_b, ldb,
                                    0, beta, c, type_c, ldc, 0, 1, compute, algorithm);
}

CUBLAS_API const char *cublasGetStatusString(int status) {
  switch (status) {
    case kSuccess:
      return "success";
    case kNotInitialized:
      return "the library was not initialized";
    case kInvalidValue:
      return "an unsupported value or parameter was passed to the function";
    case kExecutionFailed:
      return "the function failed to launch on the GPU";
    case kNotSupported:
      return "the functionality requested is not supported";
    default:
      return "unknown";
  }
}

/* cuBLAS: loading, handles, and products over row-major matrices.
 *
 * The few prototypes are declared here; names, numbers and layouts are those of the cuBLAS library documentation
 * (CUDA 11 to 13, "cuBLAS API"), where they are stable. Its headers are not needed to build, nor the library to load.
 *
 * Same bits twice: cuBLAS promises that between runs on the same architecture and number of multiprocessors, as long as
 * a handle's stream does not share its workspace with others and atomics are off ("Results Reproducibility"). So every
 * stream has its handle and its workspace. A workspace of ours is also what lets a graph hold products without
 * allocations ("cublasSetWorkspace"). */
#include "blas.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"

typedef struct cublasContext *handle_t;
enum { OP_N = 0, OP_T = 1 };
enum { TYPE_F32 = 0 };                                 /* cudaDataType_t */
enum { COMPUTE_F32 = 68, COMPUTE_F32_FAST_TF32 = 77 }; /* cublasComputeType_t */
enum { DEFAULT_MATH = 0, POINTERS_ON_HOST = 0, ATOMICS_NOT_ALLOWED = 0, GEMM_DEFAULT = -1 };
enum { SUCCESS = 0, ALLOC_FAILED = 3, ARCH_MISMATCH = 8, NOT_SUPPORTED = 15 }; /* cublasStatus_t */

/* What NVIDIA recommends ("cublasSetWorkspace"): 32 MiB from Hopper on, 4 MiB before. */
enum { WORKSPACE_HOPPER = 32 << 20, WORKSPACE_BEFORE = 4 << 20 };
enum { MOST_BATCH = 1 << 15 }; /* products per call: their number becomes a side of the grid, which has 16 bits */

/* Terms of one call's sums: kernels may add them up as one chain, whose error grows with its length (a normalised mean
 * square of 1.3e-12 for 4096 normal ones; 1e-12 is allowed). Longer sums are several calls, in order. */
enum { CHAIN = 2048 };

struct cu_blas {
  handle_t handle;
  void *workspace;
};

static struct {
  int (*create)(handle_t *);
  int (*destroy)(handle_t);
  int (*property)(int which, int *value);
  int (*set_stream)(handle_t, cudaStream_t);
  int (*set_workspace)(handle_t, void *, size_t);
  int (*set_math_mode)(handle_t, int);
  int (*set_atomics_mode)(handle_t, int);
  int (*set_pointer_mode)(handle_t, int);
  int (*gemm)(handle_t, int transpose_a, int transpose_b, int m, int n, int k, const void *alpha, const void *a,
              int type_a, int lda, const void *b, int type_b, int ldb, const void *beta, void *c, int type_c, int ldc,
              int compute, int algorithm);
  int (*gemm_batch)(handle_t, int transpose_a, int transpose_b, int m, int n, int k, const void *alpha, const void *a,
                    int type_a, int lda, long long stride_a, const void *b, int type_b, int ldb, long long stride_b,
                    const void *beta, void *c, int type_c, int ldc, long long stride_c, int batch, int compute,
                    int algorithm);
  const char *(*status_text)(int status); /* from CUDA 11.4 on; may be NULL */
} blas;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char missing[400]; /* why there is none; empty: it is loaded */
static char version[40] = "no cuBLAS";

static void add_reason(const char *reason) {
  const size_t at = strlen(missing);
  snprintf(missing + at, sizeof missing - at, "%s%s", at > 0 ? "; " : "", reason);
}

/* All functions that are needed, or the name of the first that the library lacks. */
static const char *resolve(void *library) {
  const struct {
    const char *name;
    void *to;
    bool needed;
  } symbols[] = {{"cublasCreate_v2", &blas.create, true},
                 {"cublasDestroy_v2", &blas.destroy, true},
                 {"cublasGetProperty", &blas.property, true},
                 {"cublasSetStream_v2", &blas.set_stream, true},
                 {"cublasSetWorkspace_v2", &blas.set_workspace, true},
                 {"cublasSetMathMode", &blas.set_math_mode, true},
                 {"cublasSetAtomicsMode", &blas.set_atomics_mode, true},
                 {"cublasSetPointerMode_v2", &blas.set_pointer_mode, true},
                 {"cublasGemmEx", &blas.gemm, true},
                 {"cublasGemmStridedBatchedEx", &blas.gemm_batch, true},
                 {"cublasGetStatusString", &blas.status_text, false}};
  for (size_t k = 0; k < sizeof symbols / sizeof *symbols; k++) {
    void *symbol = dlsym(library, symbols[k].name);
    memcpy(symbols[k].to, &symbol, sizeof symbol);
    if (symbol == NULL && symbols[k].needed) return symbols[k].name;
  }
  return NULL;
}

static void load(void) {
  static const char *const names[] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so.11"};
  for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
    void *library = dlopen(names[k], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
      const char *why = dlerror();
      add_reason(why != NULL ? why : names[k]);
      continue;
    }
    const char *lacks = resolve(library);
    int number[3] = {0, 0, 0}; /* MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL of library_types.h */
    for (int which = 0; lacks == NULL && which < 3; which++) blas.property(which, &number[which]);
    if (lacks == NULL) {
      snprintf(version, sizeof version, "cuBLAS %d.%d.%d", number[0], number[1], number[2]);
      missing[0] = '\0';
      return;
    }
    char reason[100];
    snprintf(reason, sizeof reason, "%s has no %s", names[k], lacks);
    add_reason(reason);
    dlclose(library);
  }
}

int32_t cu_blas_load(credence_error *err) {
  pthread_once(&once, load);
  if (missing[0] == '\0') return CREDENCE_OK;
  return cu_fail(err, CREDENCE_UNSUPPORTED, 0, "cuBLAS could not be loaded: %s; install libcublas (CUDA 11, 12 or 13)",
                 missing);
}

const char *cu_blas_version(void) {
  pthread_once(&once, load);
  return version;
}

static int32_t failed(const char *call, int status, credence_error *err) {
  int32_t code = CREDENCE_INTERNAL;
  if (status == ALLOC_FAILED) code = CREDENCE_OUT_OF_MEMORY;
  if (status == ARCH_MISMATCH || status == NOT_SUPPORTED) code = CREDENCE_UNSUPPORTED;
  return cu_fail(err, code, status, "%s fails with status %d: %s (%s)", call, status,
                 blas.status_text != NULL ? blas.status_text(status) : "see the cuBLAS documentation, cublasStatus_t",
                 version);
}

int32_t cu_blas_open(cudaStream_t stream, cu_blas **out, credence_error *err) {
  *out = NULL;
  int32_t status = cu_blas_load(err);
  if (status != CREDENCE_OK) return status;
  int device = 0, major = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  if (error != cudaSuccess) return cu_failed("cudaDeviceGetAttribute", error, err);
  cu_blas *b = calloc(1, sizeof *b);
  if (b == NULL) return cu_fail(err, CREDENCE_OUT_OF_MEMORY, 0, "no memory for a cuBLAS handle");
  const size_t bytes = major >= 9 ? WORKSPACE_HOPPER : WORKSPACE_BEFORE;
  error = cudaMalloc(&b->workspace, bytes);
  if (error != cudaSuccess) {
    status = cu_failed("cudaMalloc of the cuBLAS workspace", error, err);
    cu_blas_close(b);
    return status;
  }
  const char *call = "cublasCreate";
  int result = blas.create(&b->handle);
  if (result == SUCCESS) call = "cublasSetStream", result = blas.set_stream(b->handle, stream);
  if (result == SUCCESS) /* after the stream, which resets it */
    call = "cublasSetWorkspace", result = blas.set_workspace(b->handle, b->workspace, bytes);
  if (result == SUCCESS) call = "cublasSetMathMode", result = blas.set_math_mode(b->handle, DEFAULT_MATH);
  if (result == SUCCESS) call = "cublasSetAtomicsMode", result = blas.set_atomics_mode(b->handle, ATOMICS_NOT_ALLOWED);
  if (result == SUCCESS) call = "cublasSetPointerMode", result = blas.set_pointer_mode(b->handle, POINTERS_ON_HOST);
  if (result != SUCCESS) {
    status = failed(call, result, err);
    cu_blas_close(b);
    return status;
  }
  *out = b;
  return CREDENCE_OK;
}

void cu_blas_close(cu_blas *b) {
  if (b == NULL) return;
  if (b->handle != NULL) blas.destroy(b->handle);
  if (b->workspace != NULL) cudaFree(b->workspace);
  free(b);
}

/* The distance between rows as cuBLAS wants it: of a single row it does not matter, but must not be too small. */
static int64_t leading(int64_t ld, int64_t rows, int64_t length) { return rows > 1 || ld >= length ? ld : length; }

bool cu_gemm_fits(const cu_gemm *g) {
  const int64_t rows_a = g->transpose_a ? g->k : g->m, row_a = g->transpose_a ? g->m : g->k;
  const int64_t rows_b = g->transpose_b ? g->n : g->k, row_b = g->transpose_b ? g->k : g->n;
  const int64_t lda = leading(g->lda, rows_a, row_a), ldb = leading(g->ldb, rows_b, row_b);
  const int64_t ldy = leading(g->ldy, g->m, g->n);
  const int64_t sizes[] = {g->m, g->n, g->k, lda, ldb, ldy};
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
    if (sizes[k] > INT32_MAX) return false;
  return g->k > 0 && lda >= row_a && ldb >= row_b && ldy >= g->n;
}

/* Products from..from + count - 1 of the batch, and the terms k0 .. k0 + k - 1 of their sums. */
static int32_t run_part(const cr_ctx *ctx, const cu_gemm *g, int64_t from, int64_t count, int64_t k0, int64_t k,
                        credence_error *err) {
  /* y' = op(b)' op(a)': row-major matrices are column-major ones transposed */
  const int of_a = g->transpose_b ? OP_T : OP_N, of_b = g->transpose_a ? OP_T : OP_N;
  const int lda = (int)(g->transpose_b ? leading(g->ldb, g->n, g->k) : leading(g->ldb, g->k, g->n));
  const int ldb = (int)(g->transpose_a ? leading(g->lda, g->k, g->m) : leading(g->lda, g->m, g->k));
  const int ldc = (int)leading(g->ldy, g->m, g->n), compute = ctx->tf32 ? COMPUTE_F32_FAST_TF32 : COMPUTE_F32;
  const float alpha = g->alpha != 0 ? g->alpha : 1, beta = k0 > 0 ? 1 : g->beta;
  const float *a = g->b + from * g->stride_b + (g->transpose_b ? k0 : k0 * lda);
  const float *b = g->a + from * g->stride_a + (g->transpose_a ? k0 * ldb : k0);
  float *y = g->y + from * g->stride_y;
  if (count == 1) {
    const int result = blas.gemm(ctx->blas->handle, of_a, of_b, (int)g->n, (int)g->m, (int)k, &alpha, a, TYPE_F32, lda,
                                 b, TYPE_F32, ldb, &beta, y, TYPE_F32, ldc, compute, GEMM_DEFAULT);
    return result == SUCCESS ? CREDENCE_OK : failed("cublasGemmEx", result, err);
  }
  const int result = blas.gemm_batch(ctx->blas->handle, of_a, of_b, (int)g->n, (int)g->m, (int)k, &alpha, a, TYPE_F32,
                                     lda, g->stride_b, b, TYPE_F32, ldb, g->stride_a, &beta, y, TYPE_F32, ldc,
                                     g->stride_y, (int)count, compute, GEMM_DEFAULT);
  return result == SUCCESS ? CREDENCE_OK : failed("cublasGemmStridedBatchedEx", result, err);
}

int32_t cu_gemm_run(const cr_ctx *ctx, const cu_gemm *g, credence_error *err) {
  if (g->m == 0 || g->n == 0 || g->batch == 0) return CREDENCE_OK;
  if (!cu_gemm_fits(g)) return cu_gemm_plain(ctx, g, err);
  int32_t status = CREDENCE_OK;
  for (int64_t from = 0; from < g->batch; from += MOST_BATCH) {
    const int64_t count = g->batch - from < MOST_BATCH ? g->batch - from : MOST_BATCH;
    for (int64_t k = 0; k < g->k && status == CREDENCE_OK; k += CHAIN)
      status = run_part(ctx, g, from, count, k, g->k - k < CHAIN ? g->k - k : CHAIN, err);
  }
  return status;
}

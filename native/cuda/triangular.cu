/* Batches of small lower-triangular matrices l [B,D,D]. What lies above a diagonal is never read.
 *
 * Products and solves work on float32 with one multiply-add chain per element, so that a row's result depends on that
 * row alone. Factorisations, their gradient and the diagonal's transcendental functions are computed in double and
 * rounded once: they are rare, small, and what follows depends on their last bits. */
#include <string.h>

#include "kernel.cuh"

namespace {

constexpr int kThreads = 128;
constexpr size_t kShared = 96 << 10; /* bytes that a block may take */

/* A batch of matrices whose rows are adjacent elements; strides in elements. */
struct matrices {
  float *data;
  int64_t batch_step, row_step;
};

matrices matrices_of(const cr_tensor &t) {
  return {reinterpret_cast<float *>(t.data), t.stride[0] / 4, t.stride[1] / 4};
}

/* ---- products and solves: rows of x [B,N,D] against l ---- */

struct apply_job {
  matrices l, x, y;
  int64_t batch, n, d, blocks; /* blocks of a matrix */
  bool transpose;
};

/* Element (i,j), j <= i, of a lower-triangular matrix is l[i row + j col]; that of l' with both axes reversed is lower
 * triangular again. */
struct tri {
  const float *l;
  int64_t row, col;
};

__device__ inline tri tri_of(const float *l, int64_t d, int64_t step, bool transpose) {
  if (transpose) return {l + (d - 1) * (step + 1), -1, -step};
  return {l, step, 1};
}

/* A thread takes a row of x, whose elements lie kThreads apart in shared memory, beside l. Element k of the row is
 * place k, or d - 1 - k for l'. Products go from the last element to the first, solutions from the first to the last.
 */
template <bool kSolve>
__global__ void __launch_bounds__(kThreads) apply_in_shared(apply_job j) {
  CU_SHARED(bytes);
  float *l = reinterpret_cast<float *>(bytes);
  const int d = static_cast<int>(j.d);
  float *work = l + d * d + threadIdx.x;
  for (int64_t at = blockIdx.x; at < j.batch * j.blocks; at += gridDim.x) {
    const int64_t b = at / j.blocks, row = at % j.blocks * blockDim.x + threadIdx.x;
    const float *from = j.l.data + b * j.l.batch_step;
    __syncthreads(); /* l of the matrix before is no longer read */
    for (int k = threadIdx.x; k < d * d; k += blockDim.x)
      if (k % d <= k / d) l[k] = from[k / d * j.l.row_step + k % d];
    __syncthreads();
    if (row >= j.n) continue; /* what is left needs no other thread */
    const tri m = tri_of(l, d, d, j.transpose);
    const float *x = j.x.data + b * j.x.batch_step + row * j.x.row_step;
    float *y = j.y.data + b * j.y.batch_step + row * j.y.row_step;
    const int stride = blockDim.x;
    for (int k = 0; k < d; k++) work[(j.transpose ? d - 1 - k : k) * stride] = x[k];
    const int step_row = static_cast<int>(m.row), step_col = static_cast<int>(m.col);
    if (kSolve) {
      for (int i = 0; i < d; i++) {
        float sum = work[i * stride];
        const float *a = m.l + i * step_row;
#pragma unroll 4
        for (int k = 0; k < i; k++) sum = fmaf(-a[k * step_col], work[k * stride], sum);
        work[i * stride] = sum / a[i * step_col];
      }
    } else {
      for (int i = d - 1; i >= 0; i--) {
        float sum = 0;
        const float *a = m.l + i * step_row;
#pragma unroll 4
        for (int k = 0; k <= i; k++) sum = fmaf(a[k * step_col], work[k * stride], sum);
        work[i * stride] = sum;
      }
    }
    for (int k = 0; k < d; k++) y[k] = work[(j.transpose ? d - 1 - k : k) * stride];
  }
}

/* Matrices too large for that: a warp takes a row of x, and works in y. */
template <bool kSolve>
__global__ void __launch_bounds__(kThreads) apply_in_place(apply_job j) {
  const int lane = threadIdx.x % 32;
  const int64_t at = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / 32;
  if (at >= j.batch * j.n) return; /* the whole warp */
  const int64_t b = at / j.n, row = at % j.n;
  const tri m = tri_of(j.l.data + b * j.l.batch_step, j.d, j.l.row_step, j.transpose);
  const float *x = j.x.data + b * j.x.batch_step + row * j.x.row_step;
  float *y = j.y.data + b * j.y.batch_step + row * j.y.row_step;
  for (int64_t k = lane; k < j.d; k += 32) y[k] = x[k];
  __syncwarp();
  /* element i of the system is place first + i step of y */
  const int64_t first = j.transpose ? j.d - 1 : 0, step = j.transpose ? -1 : 1;
  for (int64_t n = 0; n < j.d; n++) {
    const int64_t i = kSolve ? n : j.d - 1 - n;
    float sum = 0;
    for (int64_t k = lane; k < i; k += 32) sum = fmaf(m.l[i * m.row + k * m.col], y[first + k * step], sum);
#pragma unroll
    for (int other = 16; other > 0; other /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, other);
    const float diagonal = m.l[i * m.row + i * m.col], own = y[first + i * step];
    __syncwarp(); /* all have read it */
    if (lane == 0) y[first + i * step] = kSolve ? (own - sum) / diagonal : fmaf(diagonal, own, sum);
    __syncwarp();
  }
}

template <bool kSolve>
int32_t run_apply(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor &x = call->in[1];
  if (cr_count(&x) == 0) return CREDENCE_OK;
  apply_job j = {matrices_of(call->in[0]), matrices_of(x), matrices_of(call->out[0]), x.dim[0], x.dim[1], x.dim[2], 0,
                 call->i[0] != 0};
  for (int threads = kThreads; threads >= 32; threads /= 2) {
    const size_t d = static_cast<size_t>(j.d), bytes = (d * d + d * static_cast<size_t>(threads)) * sizeof(float);
    if (j.d > 1024 || bytes > kShared || (threads > 32 && j.n <= threads / 2)) continue;
    j.blocks = cu_blocks(j.n, threads);
    const int64_t blocks = j.batch * j.blocks;
    return cu_launch(ctx, err, apply_in_shared<kSolve>, dim3(static_cast<unsigned>(blocks < 65536 ? blocks : 65536)),
                     dim3(threads), bytes, j);
  }
  return cu_launch(ctx, err, apply_in_place<kSolve>,
                   dim3(static_cast<unsigned>(cu_blocks(j.batch * j.n, kThreads / 32))), dim3(kThreads), 0, j);
}

/* ---- factorisation, in double ---- */

/* A block takes a matrix after another; it works in shared memory, or in scratch of its own. */
constexpr int64_t kFactorBlocks = 512;

struct factor_job {
  const float *l, *dl; /* of the gradient; a is l for the factorisation */
  float *to;
  int64_t batch, d;
  double *work;    /* null: shared memory */
  int64_t *failed; /* of each matrix, the pivot that failed and its value's bits; or -1 */
};

size_t work_bytes(int64_t d) { return static_cast<size_t>(d) * static_cast<size_t>(d + 1) * sizeof(double); }
bool in_shared(int64_t d) { return d <= 256 && work_bytes(d) <= kShared; }
int64_t factor_blocks(int64_t batch) { return batch < kFactorBlocks ? batch : kFactorBlocks; }

__device__ inline double *work_of(const factor_job &j, unsigned char *shared) {
  return j.work != nullptr ? j.work + blockIdx.x * j.d * (j.d + 1) : reinterpret_cast<double *>(shared);
}

/* u' u = a by rows of u, which hold the columns of l: every inner loop runs along a row. */
__global__ void __launch_bounds__(kThreads) factorize(factor_job j) {
  CU_SHARED(shared);
  double *u = work_of(j, shared);
  const int64_t d = j.d, pitch = d + 1;
  for (int64_t b = blockIdx.x; b < j.batch; b += gridDim.x) {
    const float *a = j.l + b * d * d;
    float *l = j.to + b * d * d;
    for (int64_t e = threadIdx.x; e < d * d; e += kThreads)
      if (e % d <= e / d) u[e % d * pitch + e / d] = a[e];
    if (threadIdx.x == 0) j.failed[2 * b] = -1;
    int64_t k = 0;
    for (; k < d; k++) {
      __syncthreads();
      double *uk = u + k * pitch;
      const double pivot = uk[k], root = sqrt(pivot);
      /* written so that NaN fails too; the root must not vanish when it is rounded */
      if (!(static_cast<float>(root) > 0 && root < INFINITY)) {
        if (threadIdx.x == 0) j.failed[2 * b] = k, j.failed[2 * b + 1] = __double_as_longlong(pivot);
        break; /* all threads read the same pivot */
      }
      __syncthreads(); /* all have read the pivot */
      for (int64_t e = k + threadIdx.x; e < d; e += kThreads) uk[e] = e == k ? root : uk[e] / root;
      __syncthreads();
      const int64_t left = d - k - 1;
      for (int64_t e = threadIdx.x; e < left * left; e += kThreads) {
        const int64_t i = k + 1 + e / left, c = k + 1 + e % left;
        if (c >= i) u[i * pitch + c] -= uk[i] * uk[c];
      }
    }
    __syncthreads();
    for (int64_t e = threadIdx.x; k == d && e < d * d; e += kThreads)
      l[e] = e % d <= e / d ? static_cast<float>(u[e % d * pitch + e / d]) : 0.0f;
    __syncthreads();
  }
}

/* The first matrix that failed becomes the submission's fault: at is batch d + pivot, value the pivot's bits. */
__global__ void __launch_bounds__(kThreads)
    report_failure(cu_fault *fault, uint32_t op, const int64_t *failed, int64_t batch, int64_t d) {
  __shared__ int64_t first[kThreads];
  int64_t found = batch;
  for (int64_t b = threadIdx.x; b < batch && found == batch; b += kThreads)
    if (failed[2 * b] >= 0) found = b;
  first[threadIdx.x] = found;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half && first[threadIdx.x + half] < first[threadIdx.x])
      first[threadIdx.x] = first[threadIdx.x + half];
  }
  if (threadIdx.x > 0 || first[0] == batch) return;
  cu_record(fault, op, CREDENCE_INVALID_ARGUMENT, first[0] * d + failed[2 * first[0]], failed[2 * first[0] + 1]);
}

void explain_cholesky(const cr_call *call, int64_t at, int64_t value, credence_error *err) {
  const int64_t d = call->in[0].dim[1];
  double pivot;
  memcpy(&pivot, &value, sizeof pivot);
  cr_fail(err, CREDENCE_INVALID_ARGUMENT, "cholesky: matrix %lld is not positive definite: pivot %lld is %g",
          static_cast<long long>(at / d), static_cast<long long>(at % d), pivot);
}

size_t failed_bytes(int64_t batch) { return (static_cast<size_t>(batch) * 2 * sizeof(int64_t) + 255) / 256 * 256; }

void factor_scratch(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  const int64_t batch = call->in[0].dim[0], d = call->in[0].dim[1];
  scratch->shared = failed_bytes(batch);
  if (!in_shared(d)) scratch->shared += static_cast<size_t>(factor_blocks(batch)) * work_bytes(d);
}

factor_job factor_of(const cr_call *call, const cr_ctx *ctx) {
  factor_job j = {};
  j.l = reinterpret_cast<const float *>(call->in[0].data);
  j.to = reinterpret_cast<float *>(call->out[0].data);
  j.batch = call->in[0].dim[0], j.d = call->in[0].dim[1];
  j.failed = reinterpret_cast<int64_t *>(ctx->scratch);
  if (!in_shared(j.d)) j.work = reinterpret_cast<double *>(ctx->scratch + failed_bytes(j.batch));
  return j;
}

int32_t run_cholesky(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const factor_job j = factor_of(call, ctx);
  if (j.batch * j.d == 0) return CREDENCE_OK;
  const int32_t status = cu_launch(ctx, err, factorize, dim3(static_cast<unsigned>(factor_blocks(j.batch))),
                                   dim3(kThreads), j.work != nullptr ? 0 : work_bytes(j.d), j);
  if (status != CREDENCE_OK) return status;
  return cu_launch(ctx, err, report_failure, dim3(1), dim3(kThreads), 0, ctx->fault, ctx->op,
                   static_cast<const int64_t *>(j.failed), j.batch, j.d);
}

/* Murray, "Differentiation of the Cholesky decomposition" (2016): da = (s + s') / 2, s = l^-T phi(l' dl) l^-1, where
 * phi keeps the lower triangle and halves the diagonal. In the solves a thread keeps to its column, then to its row. */
__global__ void __launch_bounds__(kThreads) factorize_gradient(factor_job j) {
  CU_SHARED(shared);
  double *s = work_of(j, shared);
  const int64_t d = j.d, pitch = d + 1;
  for (int64_t b = blockIdx.x; b < j.batch; b += gridDim.x) {
    const float *l = j.l + b * d * d, *dl = j.dl + b * d * d;
    float *da = j.to + b * d * d;
    for (int64_t e = threadIdx.x; e < d * d; e += kThreads) { /* phi(l' dl) */
      const int64_t i = e / d, c = e % d;
      double sum = 0;
      if (c <= i)
        for (int64_t k = i; k < d; k++)
          sum = fma(static_cast<double>(l[k * d + i]), static_cast<double>(dl[k * d + c]), sum);
      s[i * pitch + c] = c == i ? 0.5 * sum : sum;
    }
    __syncthreads();
    for (int64_t c = threadIdx.x; c < d; c += kThreads) /* l' s = phi, by rows of s from the last */
      for (int64_t i = d - 1; i >= 0; i--) {
        const double v = s[i * pitch + c] / static_cast<double>(l[i * d + i]);
        s[i * pitch + c] = v;
#pragma unroll 4
        for (int64_t k = 0; k < i; k++) s[k * pitch + c] -= static_cast<double>(l[i * d + k]) * v;
      }
    __syncthreads();
    for (int64_t i = threadIdx.x; i < d; i += kThreads) { /* s l = s, each row from its last element */
      double *si = s + i * pitch;
      for (int64_t k = d - 1; k >= 0; k--) {
        const double v = si[k] / static_cast<double>(l[k * d + k]);
        si[k] = v;
#pragma unroll 4
        for (int64_t c = 0; c < k; c++) si[c] -= static_cast<double>(l[k * d + c]) * v;
      }
    }
    __syncthreads();
    for (int64_t e = threadIdx.x; e < d * d; e += kThreads)
      da[e] = static_cast<float>(0.5 * (s[e / d * pitch + e % d] + s[e % d * pitch + e / d]));
    __syncthreads();
  }
}

int32_t run_cholesky_grad(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  factor_job j = factor_of(call, ctx);
  j.dl = reinterpret_cast<const float *>(call->in[1].data);
  if (j.batch * j.d == 0) return CREDENCE_OK;
  return cu_launch(ctx, err, factorize_gradient, dim3(static_cast<unsigned>(factor_blocks(j.batch))), dim3(kThreads),
                   j.work != nullptr ? 0 : work_bytes(j.d), j);
}

/* ---- log-determinant ---- */

/* A warp for each matrix. */
__global__ void __launch_bounds__(kThreads) log_det(const float *l, float *y, int64_t batch, int64_t d) {
  const int64_t b = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / 32;
  if (b >= batch) return; /* the whole warp */
  double sum = 0;
  for (int64_t i = threadIdx.x % 32; i < d; i += 32) sum += log(fabs(static_cast<double>(l[(b * d + i) * d + i])));
#pragma unroll
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if (threadIdx.x % 32 == 0) y[b] = static_cast<float>(sum);
}

int32_t run_log_det(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const int64_t batch = call->in[0].dim[0], d = call->in[0].dim[1];
  return cu_launch(ctx, err, log_det, dim3(static_cast<unsigned>(cu_blocks(batch, kThreads / 32))), dim3(kThreads), 0,
                   reinterpret_cast<const float *>(call->in[0].data), reinterpret_cast<float *>(call->out[0].data),
                   batch, d);
}

/* ---- element by element: what treats the diagonal, what is left and what is right of it differently ---- */

enum { LOG_DET_GRAD, TRIL, TRIL_SOFTPLUS, TRIL_SOFTPLUS_GRAD };

template <int kWhat>
__global__ void __launch_bounds__(kThreads)
    triangle(const float *x, const float *dl, float *y, int64_t elements, int64_t d, cu_scalar_value floor) {
  const double least = kWhat == TRIL_SOFTPLUS ? floor.get() : 0;
  for (int64_t e = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; e < elements;
       e += static_cast<int64_t>(gridDim.x) * kThreads) {
    const int64_t row = e / d, side = e - row * d - row % d; /* negative left of the diagonal */
    float v = 0;
    if (side < 0 && kWhat != LOG_DET_GRAD) v = kWhat == TRIL_SOFTPLUS_GRAD ? dl[e] : x[e];
    if (side == 0) {
      const float at = x[e];
      const double wide = static_cast<double>(at);
      switch (kWhat) {
        case LOG_DET_GRAD:
          v = dl[row / d] / at;
          break;
        case TRIL:
          v = at;
          break;
        case TRIL_SOFTPLUS:
          v = static_cast<float>((wide > 0 ? wide : 0) + log1p(exp(-fabs(wide))) + least);
          break;
        default:
          v = static_cast<float>(static_cast<double>(dl[e]) / (1 + exp(-wide)));
      }
    }
    y[e] = v;
  }
}

template <int kWhat>
int32_t run_triangle(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const int64_t elements = cr_count(&call->out[0]), blocks = cu_blocks(elements, kThreads);
  const cu_scalar_value floor = kWhat == TRIL_SOFTPLUS ? cu_scalar(ctx, 0) : cu_scalar_value{0, nullptr};
  return cu_launch(ctx, err, triangle<kWhat>, dim3(static_cast<unsigned>(blocks < (1 << 20) ? blocks : 1 << 20)),
                   dim3(kThreads), 0, reinterpret_cast<const float *>(call->in[0].data),
                   call->n_in > 1 ? reinterpret_cast<const float *>(call->in[1].data) : nullptr,
                   reinterpret_cast<float *>(call->out[0].data), elements, call->out[0].dim[1], floor);
}

}  // namespace

CU_FAMILY(triangular, {CREDENCE_OP_CHOLESKY, factor_scratch, run_cholesky, 0, explain_cholesky},
          {CREDENCE_OP_CHOLESKY_GRAD, factor_scratch, run_cholesky_grad, 0, nullptr},
          {CREDENCE_OP_TRI_MATMUL, nullptr, run_apply<false>, 0, nullptr},
          {CREDENCE_OP_TRI_SOLVE, nullptr, run_apply<true>, 0, nullptr},
          {CREDENCE_OP_TRI_LOG_DET, nullptr, run_log_det, 0, nullptr},
          {CREDENCE_OP_TRI_LOG_DET_GRAD, nullptr, run_triangle<LOG_DET_GRAD>, 0, nullptr},
          {CREDENCE_OP_TRIL, nullptr, run_triangle<TRIL>, 0, nullptr},
          {CREDENCE_OP_TRIL_SOFTPLUS, nullptr, run_triangle<TRIL_SOFTPLUS>, 0, nullptr},
          {CREDENCE_OP_TRIL_SOFTPLUS_GRAD, nullptr, run_triangle<TRIL_SOFTPLUS_GRAD>, 0, nullptr})

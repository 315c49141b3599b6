/* Normalisation of each row of x [R,C] by its own statistics: root mean square, or mean and variance. Both are summed
 * in float64 in one pass over the row.
 *
 * A team of threads makes a row: a warp where rows are many or short, else a block. The gradients of gamma and beta are
 * sums over rows: the rows' statistics are kept, a second kernel sums chunks of rows column by column, and where there
 * are several chunks a third adds them up, in order. */
#include "kernel.cuh"

namespace {

constexpr int kThreads = 256;
constexpr int kMostTeam = 1024;
constexpr int64_t kBlocks = 264, kMostChunks = 64; /* constants, so that every device gives the same bits */
constexpr int64_t kChunkRows = 64;                 /* at least */

/* xhat = fma(x - mean, rstd, offset); offset is what rounding the mean to float32 lost. */
struct row_stats {
  float mean, rstd, offset;
};

struct norm {
  const float *x, *gamma, *beta, *dy;
  float *y; /* or dx */
  row_stats *stats;
  int64_t rows, cols;
  cu_scalar_value eps;
};

__device__ float normalized(const row_stats &s, float x) { return fmaf(x - s.mean, s.rstd, s.offset); }

/* ---- a team's sums ---- */

/* Two sums over a team of kTeam threads, the same order for every team; all threads get them. kTeam above 32: the whole
 * block. */
template <int kTeam>
__device__ void team_sums(double *one, double *two) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    *one += __shfl_xor_sync(0xffffffffu, *one, step);
    *two += __shfl_xor_sync(0xffffffffu, *two, step);
  }
  if (kTeam == 32) return;
  __shared__ double shared[2][kMostTeam / 32];
  __syncthreads(); /* what the sums before left here has been read */
  if (threadIdx.x % 32 == 0) shared[0][threadIdx.x / 32] = *one, shared[1][threadIdx.x / 32] = *two;
  __syncthreads();
  *one = *two = 0;
  for (int warp = 0; warp < kTeam / 32; warp++) *one += shared[0][warp], *two += shared[1][warp];
}

/* Sums of x - centre and of its square. The centre is an element of the row: (mean - centre)^2 / n is then at most the
 * variance, so that subtracting the mean's square loses a factor of n at most of float64's precision. */
template <int kTeam, int V, bool kCentred>
__device__ row_stats stats_of(const norm &j, const float *x, int lane) {
  const float first = x[0];
  const double centre = kCentred && isfinite(first) ? static_cast<double>(first) : 0;
  double sum = 0, square = 0;
#pragma unroll 4
  for (int64_t k = lane * V; k < j.cols; k += kTeam * V) {
    float v[V];
    cu_load<V>(v, x + k);
#pragma unroll
    for (int e = 0; e < V; e++) {
      const double d = static_cast<double>(v[e]) - centre;
      if (kCentred) sum += d;
      square = fma(d, d, square);
    }
  }
  team_sums<kTeam>(&sum, &square);
  const double n = static_cast<double>(j.cols), eps = j.eps.get();
  square /= n;
  if (!kCentred) return {0, static_cast<float>(1 / sqrt(square + eps)), 0};
  sum /= n;
  const double mean = centre + sum, variance = square - sum * sum;
  const double rstd = 1 / sqrt((variance < 0 ? 0 : variance) + eps);
  const float rounded = static_cast<float>(mean);
  return {rounded, static_cast<float>(rstd), static_cast<float>((static_cast<double>(rounded) - mean) * rstd)};
}

/* ---- forward ---- */

template <int kTeam, int V, bool kCentred>
__global__ void __launch_bounds__(kTeam > kThreads ? kTeam : kThreads, kTeam > kThreads ? 1 : 4) forward(norm j) {
  const int lane = threadIdx.x % kTeam, teams = blockDim.x / kTeam;
  for (int64_t r = static_cast<int64_t>(blockIdx.x) * teams + threadIdx.x / kTeam; r < j.rows;
       r += static_cast<int64_t>(gridDim.x) * teams) {
    const float *x = j.x + r * j.cols;
    const row_stats s = stats_of<kTeam, V, kCentred>(j, x, lane);
    for (int64_t k = lane * V; k < j.cols; k += kTeam * V) {
      float v[V], gamma[V], beta[V] = {};
      cu_load<V>(v, x + k);
      cu_load<V>(gamma, j.gamma + k);
      if (kCentred) cu_load<V>(beta, j.beta + k);
#pragma unroll
      for (int e = 0; e < V; e++)
        v[e] = kCentred ? fmaf(normalized(s, v[e]), gamma[e], beta[e]) : v[e] * s.rstd * gamma[e];
      cu_store<V>(j.y + r * j.cols + k, v);
    }
  }
}

/* ---- gradient ---- */

/* dx of a row: with g = gamma dy, rstd (g - mean(g) - xhat mean(g xhat)). */
template <int kTeam, int V, bool kCentred>
__global__ void __launch_bounds__(kTeam > kThreads ? kTeam : kThreads, kTeam > kThreads ? 1 : 4) gradient(norm j) {
  const int lane = threadIdx.x % kTeam, teams = blockDim.x / kTeam;
  for (int64_t r = static_cast<int64_t>(blockIdx.x) * teams + threadIdx.x / kTeam; r < j.rows;
       r += static_cast<int64_t>(gridDim.x) * teams) {
    const float *x = j.x + r * j.cols, *dy = j.dy + r * j.cols;
    const row_stats s = stats_of<kTeam, V, kCentred>(j, x, lane);
    if (lane == 0) j.stats[r] = s;
    double sum = 0, dot = 0;
    for (int64_t k = lane * V; k < j.cols; k += kTeam * V) {
      float v[V], d[V], gamma[V];
      cu_load<V>(v, x + k);
      cu_load<V>(d, dy + k);
      cu_load<V>(gamma, j.gamma + k);
#pragma unroll
      for (int e = 0; e < V; e++) {
        const float g = gamma[e] * d[e];
        if (kCentred) sum += static_cast<double>(g);
        dot += static_cast<double>(g * normalized(s, v[e]));
      }
    }
    team_sums<kTeam>(&sum, &dot);
    const float a = static_cast<float>(sum / static_cast<double>(j.cols));
    const float b = static_cast<float>(dot / static_cast<double>(j.cols));
    for (int64_t k = lane * V; k < j.cols; k += kTeam * V) {
      float v[V], d[V], gamma[V];
      cu_load<V>(v, x + k);
      cu_load<V>(d, dy + k);
      cu_load<V>(gamma, j.gamma + k);
#pragma unroll
      for (int e = 0; e < V; e++) {
        float g = gamma[e] * d[e];
        if (kCentred) g -= a;
        v[e] = s.rstd * fmaf(-normalized(s, v[e]), b, g);
      }
      cu_store<V>(j.y + r * j.cols + k, v);
    }
  }
}

/* Sums of dy xhat and dy over a chunk of rows for 32 columns; to: what has been one chunk's place, or null where there
 * is one chunk and the results are made here. */
template <bool kCentred>
__global__ void __launch_bounds__(kThreads) sum_columns(norm j, int64_t per, double *to, float *dgamma, float *dbeta) {
  __shared__ double shared[kThreads / 32][2][32];
  const int lane = threadIdx.x % 32, team = threadIdx.x / 32;
  const int64_t col = static_cast<int64_t>(blockIdx.x) * 32 + lane;
  const int64_t end = (blockIdx.y + 1) * per < j.rows ? (blockIdx.y + 1) * per : j.rows;
  double gamma = 0, beta = 0;
  if (col < j.cols)
#pragma unroll 4
    for (int64_t r = blockIdx.y * per + team; r < end; r += kThreads / 32) {
      const float dy = j.dy[r * j.cols + col], xhat = normalized(j.stats[r], j.x[r * j.cols + col]);
      gamma = fma(static_cast<double>(dy), static_cast<double>(xhat), gamma);
      if (kCentred) beta += static_cast<double>(dy);
    }
  shared[team][0][lane] = gamma, shared[team][1][lane] = beta;
  __syncthreads();
  if (team > 0 || col >= j.cols) return;
  for (int other = 1; other < kThreads / 32; other++) gamma += shared[other][0][lane], beta += shared[other][1][lane];
  if (to != nullptr) {
    double *part = to + blockIdx.y * 2 * j.cols + col;
    part[0] = gamma, part[j.cols] = beta;
    return;
  }
  dgamma[col] = static_cast<float>(gamma);
  if (kCentred) dbeta[col] = static_cast<float>(beta);
}

/* Adds up the chunks. */
__global__ void __launch_bounds__(kThreads)
    add_chunks(const double *parts, int64_t chunks, int64_t cols, float *dgamma, float *dbeta) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= 2 * cols) return;
  double sum = 0;
#pragma unroll 8
  for (int64_t chunk = 0; chunk < chunks; chunk++) sum += parts[chunk * 2 * cols + at];
  if (at < cols)
    dgamma[at] = static_cast<float>(sum);
  else if (dbeta != nullptr)
    dbeta[at - cols] = static_cast<float>(sum);
}

/* ---- the ops ---- */

const float *floats(const cr_tensor &t) { return reinterpret_cast<const float *>(t.data); }
float *results(const cr_tensor &t) { return reinterpret_cast<float *>(t.data); }

/* Rows, or column vectors, that lie without gaps from here on and may be read 16 bytes at a time. */
bool fours(const void *p) { return p == nullptr || reinterpret_cast<uintptr_t>(p) % 16 == 0; }

norm job_of(const cr_call *call, const cr_ctx *ctx) {
  norm j = {};
  j.x = floats(call->in[0]), j.gamma = floats(call->in[1]), j.y = results(call->out[0]);
  j.rows = call->in[0].dim[0], j.cols = call->in[0].dim[1];
  j.stats = reinterpret_cast<row_stats *>(ctx->scratch);
  j.eps = cu_scalar(ctx, 0);
  return j;
}

/* A warp for each row where that gives work enough to all, or rows are short; the whole block for few and long rows. */
template <bool kCentred, bool kGradient, int kTeam, int V>
int32_t launch(const cr_ctx *ctx, const norm &j, credence_error *err) {
  const int threads = kTeam > kThreads ? kTeam : kThreads;
  const int64_t blocks = cu_blocks(j.rows, threads / kTeam);
  const dim3 grid(static_cast<unsigned>(blocks < (1 << 20) ? blocks : 1 << 20));
  return kGradient ? cu_launch(ctx, err, gradient<kTeam, V, kCentred>, grid, dim3(threads), 0, j)
                   : cu_launch(ctx, err, forward<kTeam, V, kCentred>, grid, dim3(threads), 0, j);
}

template <bool kCentred, bool kGradient, int V>
int32_t choose_team(const cr_ctx *ctx, const norm &j, credence_error *err) {
  if (j.cols <= 128 * V || j.rows * 32 >= kBlocks * kMostTeam * 4)
    return launch<kCentred, kGradient, 32, V>(ctx, j, err);
  if (j.cols >= 1024 * V && j.rows < kBlocks) return launch<kCentred, kGradient, kMostTeam, V>(ctx, j, err);
  return launch<kCentred, kGradient, kThreads, V>(ctx, j, err);
}

template <bool kCentred, bool kGradient>
int32_t run_rows(const cr_ctx *ctx, const norm &j, credence_error *err) {
  if (j.rows * j.cols == 0) return CREDENCE_OK;
  const bool four = j.cols % 4 == 0 && fours(j.x) && fours(j.y) && fours(j.gamma) && fours(j.beta) && fours(j.dy);
  return four ? choose_team<kCentred, kGradient, 4>(ctx, j, err) : choose_team<kCentred, kGradient, 1>(ctx, j, err);
}

int64_t chunks_of(int64_t rows, int64_t cols) {
  int64_t chunks = rows / kChunkRows, wanted = kBlocks / cu_blocks(cols, 32);
  if (chunks > wanted) chunks = wanted;
  if (chunks > kMostChunks) chunks = kMostChunks;
  return chunks < 1 ? 1 : chunks;
}

size_t stats_bytes(int64_t rows) { return (static_cast<size_t>(rows) * sizeof(row_stats) + 255) / 256 * 256; }

/* The chunks' sums must not grow when the columns get fewer, so they count as many as there may be. */
void gradient_scratch(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  const int64_t rows = call->in[0].dim[0], cols = call->in[0].dim[1];
  const int64_t most = rows / kChunkRows < kMostChunks ? rows / kChunkRows : kMostChunks;
  const int64_t sums = most * cols < kBlocks * 32 ? most * cols : kBlocks * 32;
  scratch->shared = stats_bytes(rows) + static_cast<size_t>(sums) * 2 * sizeof(double);
}

template <bool kCentred>
int32_t run_gradient(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  norm j = job_of(call, ctx);
  j.dy = floats(call->in[2]);
  float *dgamma = results(call->out[1]), *dbeta = kCentred ? results(call->out[2]) : nullptr;
  if (j.cols == 0) return CREDENCE_OK;
  int32_t status = run_rows<kCentred, true>(ctx, j, err);
  if (status != CREDENCE_OK) return status;
  const int64_t chunks = chunks_of(j.rows, j.cols), per = cu_blocks(j.rows, chunks);
  double *parts = chunks > 1 ? reinterpret_cast<double *>(ctx->scratch + stats_bytes(j.rows)) : nullptr;
  const dim3 grid(static_cast<unsigned>(cu_blocks(j.cols, 32)), static_cast<unsigned>(chunks));
  status = cu_launch(ctx, err, sum_columns<kCentred>, grid, dim3(kThreads), 0, j, per, parts, dgamma, dbeta);
  if (status != CREDENCE_OK || chunks == 1) return status;
  return cu_launch(ctx, err, add_chunks, dim3(static_cast<unsigned>(cu_blocks(2 * j.cols, kThreads))), dim3(kThreads),
                   0, parts, chunks, j.cols, dgamma, dbeta);
}

int32_t run_rms(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_rows<false, false>(ctx, job_of(call, ctx), err);
}

int32_t run_layer(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  norm j = job_of(call, ctx);
  j.beta = floats(call->in[2]);
  return run_rows<true, false>(ctx, j, err);
}

}  // namespace

CU_FAMILY(norm, {CREDENCE_OP_RMS_NORM, nullptr, run_rms, 0, nullptr},
          {CREDENCE_OP_RMS_NORM_GRAD, gradient_scratch, run_gradient<false>, 0, nullptr},
          {CREDENCE_OP_LAYER_NORM, nullptr, run_layer, 0, nullptr},
          {CREDENCE_OP_LAYER_NORM_GRAD, gradient_scratch, run_gradient<true>, 0, nullptr})

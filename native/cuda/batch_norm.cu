/* Normalisation of the channels of x [R,C] over its rows, with an activation in the same pass.
 *
 * A thread keeps to its channels, one or four adjacent ones, and goes down the rows; a block is `lanes` such threads
 * across and `teams` down. Statistics are summed in float64. Where there are many rows, the sums of chunks of them come
 * first, in a kernel of their own; every block of the second adds them up again for its channels, in the same order, so
 * that no third is needed. Few rows: one kernel reads them twice. */
#include "act.cuh"
#include "kernel.cuh"

namespace {

constexpr int kMostThreads = 512, kThreads = 256;
constexpr int64_t kAloneRows = 4096;                /* up to which one kernel does it all */
constexpr int64_t kMostChunks = 128, kBlocks = 264; /* constants, so that every device gives the same bits */
constexpr int kLanes = 32;

struct batch_norm {
  const float *x, *gamma, *beta, *dy;
  float *y;               /* or dx */
  float *mean, *variance; /* read, but by training, which writes them */
  float *dgamma, *dbeta;
  double *parts;                       /* of each chunk: two sums for each channel */
  int64_t rows, channels, chunks, per; /* per: rows of a chunk */
  int32_t lanes, act;
  cu_scalar_value eps, p;
};

/* ---- where a thread works ---- */

template <int V>
struct place {
  int lane, team, teams;
  int64_t channel, from, to; /* rows from .. to - 1, every teams-th from its own */
  bool active;

  __device__ explicit place(const batch_norm &j) {
    lane = threadIdx.x % j.lanes, team = threadIdx.x / j.lanes, teams = blockDim.x / j.lanes;
    channel = (static_cast<int64_t>(blockIdx.x) * j.lanes + lane) * V;
    active = channel < j.channels;
    from = blockIdx.y * j.per + team;
    to = (blockIdx.y + 1) * j.per < j.rows ? (blockIdx.y + 1) * j.per : j.rows;
    if (!active) to = 0;
  }
};

/* ---- two sums for each channel ---- */

template <int V>
struct sums {
  double one[V], two[V];

  __device__ void clear() {
#pragma unroll
    for (int k = 0; k < V; k++) one[k] = two[k] = 0;
  }

  /* Adds up the teams' sums as a tree; team 0 has the result. */
  __device__ void reduce(const place<V> &at) {
    __shared__ double shared[kMostThreads / 2][2 * V];
    for (int half = at.teams / 2; half > 0; half /= 2) {
      double *slot = shared[(at.team % half) * (blockDim.x / at.teams) + at.lane];
      if (at.team >= half && at.team < 2 * half)
#pragma unroll
        for (int k = 0; k < V; k++) slot[k] = one[k], slot[V + k] = two[k];
      __syncthreads();
      if (at.team < half)
#pragma unroll
        for (int k = 0; k < V; k++) one[k] += slot[k], two[k] += slot[V + k];
      __syncthreads();
    }
  }

  __device__ void put(const batch_norm &j, const place<V> &at) const {
    if (at.team > 0 || !at.active) return;
    double *to = j.parts + blockIdx.y * 2 * j.channels + at.channel;
#pragma unroll
    for (int k = 0; k < V; k++) to[k] = one[k], to[j.channels + k] = two[k];
  }

  /* The sums of all chunks. */
  __device__ void gather(const batch_norm &j, const place<V> &at) {
    clear();
    if (at.active)
      for (int64_t chunk = at.team; chunk < j.chunks; chunk += at.teams) {
        const double *from = j.parts + chunk * 2 * j.channels + at.channel;
#pragma unroll
        for (int k = 0; k < V; k++) one[k] += from[k], two[k] += from[j.channels + k];
      }
    reduce(at);
  }
};

/* Hands numbers of the channels from team 0 to all. */
template <int V, int kNumbers>
__device__ void share(float (&numbers)[kNumbers][V], const place<V> &at) {
  __shared__ float shared[kLanes][kNumbers * V];
  if (at.team == 0)
#pragma unroll
    for (int k = 0; k < kNumbers * V; k++) shared[at.lane][k] = numbers[k / V][k % V];
  __syncthreads();
#pragma unroll
  for (int k = 0; k < kNumbers * V; k++) numbers[k / V][k % V] = shared[at.lane][k];
}

/* ---- training ---- */

/* Sums of x - centre and of its square. The centre is one of the elements: (mean - centre)^2 / R is then at most the
 * variance, so that subtracting the mean's square from the mean square loses a factor of R at most of float64's
 * precision. */
template <int V>
__device__ void sum_rows(const batch_norm &j, const place<V> &at, int64_t from, int64_t to, sums<V> *s) {
  s->clear();
  if (!at.active || from >= to) return;
  float centre[V];
  cu_load<V>(centre, j.x + at.channel);
#pragma unroll
  for (int k = 0; k < V; k++)
    if (!isfinite(centre[k])) centre[k] = 0;
#pragma unroll 2
  for (int64_t r = from; r < to; r += at.teams) {
    float x[V];
    cu_load<V>(x, j.x + r * j.channels + at.channel);
#pragma unroll
    for (int k = 0; k < V; k++) {
      const double d = static_cast<double>(x[k]) - static_cast<double>(centre[k]);
      s->one[k] += d;
      s->two[k] = fma(d, d, s->two[k]);
    }
  }
}

template <int V>
__global__ void __launch_bounds__(kThreads) train_sums(batch_norm j) {
  const place<V> at(j);
  sums<V> s;
  sum_rows<V>(j, at, at.from, at.to, &s);
  s.reduce(at);
  s.put(j, at);
}

enum { MEAN, SCALE, SHIFT, RSTD, OF_ONE, OF_X };

/* y = act(scale (x - mean) + shift) for the rows of the block. y may be x. */
template <int V, int kNumbers>
__device__ void normalize(const batch_norm &j, const place<V> &at, const float (&n)[kNumbers][V]) {
  const float p = static_cast<float>(j.p.get());
#pragma unroll 2
  for (int64_t r = at.from; r < at.to; r += at.teams) {
    float x[V];
    cu_load<V>(x, j.x + r * j.channels + at.channel);
#pragma unroll
    for (int k = 0; k < V; k++) x[k] = fmaf(x[k] - n[MEAN][k], n[SCALE][k], n[SHIFT][k]);
    cu_act_apply_all(j.act, p, x);
    cu_store<V>(j.y + r * j.channels + at.channel, x);
  }
}

/* kAlone: there are no sums of chunks. */
template <int V, bool kAlone>
__global__ void __launch_bounds__(kMostThreads, 1) train(batch_norm j) {
  const place<V> at(j);
  sums<V> s;
  if (kAlone) {
    sum_rows<V>(j, at, at.from, at.to, &s); /* all rows are one chunk */
    s.reduce(at);
  } else {
    s.gather(j, at);
  }
  float n[3][V] = {};
  if (at.team == 0 && at.active) {
    const double rows = static_cast<double>(j.rows), eps = j.eps.get();
#pragma unroll
    for (int k = 0; k < V; k++) {
      const int64_t c = at.channel + k;
      const float first = j.rows > 0 ? j.x[c] : 0, centre = isfinite(first) ? first : 0;
      const double one = j.rows > 0 ? s.one[k] / rows : 0;
      const double difference = j.rows > 0 ? s.two[k] / rows - one * one : 0;
      const double m = static_cast<double>(centre) + one, v = difference < 0 ? 0 : difference;
      const double scale = static_cast<double>(j.gamma[c]) / sqrt(v + eps);
      n[MEAN][k] = static_cast<float>(m);
      n[SCALE][k] = static_cast<float>(scale);
      /* with what rounding the mean lost */
      n[SHIFT][k] = static_cast<float>(static_cast<double>(j.beta[c]) - (m - static_cast<double>(n[MEAN][k])) * scale);
      if (blockIdx.y == 0) j.mean[c] = n[MEAN][k], j.variance[c] = static_cast<float>(v);
    }
  }
  share<V, 3>(n, at);
  normalize<V, 3>(j, at, n);
}

/* ---- with given statistics ---- */

template <int V>
__device__ void given(const batch_norm &j, const place<V> &at, float (&n)[4][V]) {
  if (!at.active) return;
  const double eps = j.eps.get();
#pragma unroll
  for (int k = 0; k < V; k++) {
    const int64_t c = at.channel + k;
    const double rstd = 1 / sqrt(static_cast<double>(j.variance[c]) + eps);
    n[MEAN][k] = j.mean[c];
    n[SCALE][k] = static_cast<float>(static_cast<double>(j.gamma[c]) * rstd);
    n[SHIFT][k] = j.beta[c];
    n[RSTD][k] = static_cast<float>(rstd);
  }
}

template <int V>
__global__ void __launch_bounds__(kThreads) evaluate(batch_norm j) {
  const place<V> at(j);
  float n[4][V] = {};
  given<V>(j, at, n);
  normalize<V, 4>(j, at, n);
}

/* x becomes x - mean, dy becomes g = dy act'. */
template <int V>
__device__ void before_activation(const float (&n)[4][V], float (&x)[V], float (&dy)[V], int32_t act, float p) {
  float pre[V];
#pragma unroll
  for (int k = 0; k < V; k++) {
    x[k] -= n[MEAN][k];
    pre[k] = fmaf(x[k], n[SCALE][k], n[SHIFT][k]);
  }
  cu_act_grad_all(act, p, pre, dy);
}

/* Sums of g and of g xhat. */
template <int V>
__device__ void sum_gradient(const batch_norm &j, const place<V> &at, const float (&n)[4][V], sums<V> *s) {
  const float p = static_cast<float>(j.p.get());
  s->clear();
#pragma unroll 2
  for (int64_t r = at.from; r < at.to; r += at.teams) {
    float x[V], dy[V];
    cu_load<V>(x, j.x + r * j.channels + at.channel);
    cu_load<V>(dy, j.dy + r * j.channels + at.channel);
    before_activation<V>(n, x, dy, j.act, p);
#pragma unroll
    for (int k = 0; k < V; k++) {
      s->one[k] += static_cast<double>(dy[k]);
      s->two[k] = fma(static_cast<double>(dy[k]), static_cast<double>(x[k] * n[RSTD][k]), s->two[k]);
    }
  }
}

template <int V>
__global__ void __launch_bounds__(kThreads) gradient_sums(batch_norm j) {
  const place<V> at(j);
  float n[4][V] = {};
  given<V>(j, at, n);
  sums<V> s;
  sum_gradient<V>(j, at, n, &s);
  s.reduce(at);
  s.put(j, at);
}

/* dx = scale (g - of_one - of_x (x - mean)) */
template <int V, bool kAlone>
__global__ void __launch_bounds__(kMostThreads, 1) gradient(batch_norm j) {
  const place<V> at(j);
  float n[4][V] = {}, means[2][V] = {};
  given<V>(j, at, n);
  sums<V> s;
  if (kAlone) {
    sum_gradient<V>(j, at, n, &s);
    s.reduce(at);
  } else {
    s.gather(j, at);
  }
  if (at.team == 0 && at.active) {
    const double rows = static_cast<double>(j.rows);
#pragma unroll
    for (int k = 0; k < V; k++) {
      if (blockIdx.y == 0) {
        j.dbeta[at.channel + k] = static_cast<float>(s.one[k]);
        j.dgamma[at.channel + k] = static_cast<float>(s.two[k]);
      }
      means[0][k] = static_cast<float>(s.one[k] / rows);
      means[1][k] = static_cast<float>(s.two[k] / rows * static_cast<double>(n[RSTD][k]));
    }
  }
  share<V, 2>(means, at);
  const float p = static_cast<float>(j.p.get());
#pragma unroll 2
  for (int64_t r = at.from; r < at.to; r += at.teams) {
    float x[V], dy[V];
    cu_load<V>(x, j.x + r * j.channels + at.channel);
    cu_load<V>(dy, j.dy + r * j.channels + at.channel);
    before_activation<V>(n, x, dy, j.act, p);
#pragma unroll
    for (int k = 0; k < V; k++) x[k] = n[SCALE][k] * fmaf(x[k], -means[1][k], dy[k] - means[0][k]);
    cu_store<V>(j.y + r * j.channels + at.channel, x);
  }
}

/* ---- the ops ---- */

const float *floats(const cr_tensor &t) { return reinterpret_cast<const float *>(t.data); }
float *results(const cr_tensor &t) { return reinterpret_cast<float *>(t.data); }
bool aligned(const void *p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

struct shape {
  dim3 grid, block;
  bool vectors, alone;
};

/* reduces: there are sums to be made before. */
shape lay_out(batch_norm *j, bool reduces) {
  shape s = {};
  s.vectors = j->channels % 4 == 0 && aligned(j->x) && aligned(j->y) && (j->dy == nullptr || aligned(j->dy));
  s.alone = reduces && j->rows <= kAloneRows;
  const int64_t units = s.vectors ? j->channels / 4 : j->channels;
  /* alone, the channels are all there is to share out: a sector of 32 bytes for each block */
  const int64_t most = s.alone ? (s.vectors ? 2 : 8) : kLanes;
  j->lanes = 1;
  while (j->lanes < units && j->lanes < most) j->lanes *= 2;
  const int threads = s.alone ? kMostThreads : kThreads;
  const int64_t groups = cu_blocks(units, j->lanes), teams = threads / j->lanes;
  int64_t chunks = 1;
  if (!s.alone) {
    const int64_t most_chunks = reduces ? kMostChunks : 65535, wanted = (reduces ? 1 : 8) * kBlocks / groups;
    chunks = cu_blocks(j->rows, 4 * teams);
    if (chunks > wanted) chunks = wanted;
    if (chunks > most_chunks) chunks = most_chunks;
    if (chunks < 1) chunks = 1;
  }
  j->per = cu_blocks(j->rows, chunks);
  j->chunks = j->per > 0 ? cu_blocks(j->rows, j->per) : 1;
  s.grid = dim3(static_cast<unsigned>(groups), static_cast<unsigned>(j->chunks));
  s.block = dim3(threads);
  return s;
}

batch_norm job_of(const cr_call *call, const cr_ctx *ctx) {
  batch_norm j = {};
  j.x = floats(call->in[0]), j.gamma = floats(call->in[1]), j.beta = floats(call->in[2]);
  j.y = results(call->out[0]);
  j.rows = call->in[0].dim[0], j.channels = call->in[0].dim[1];
  j.parts = reinterpret_cast<double *>(ctx->scratch);
  j.act = static_cast<int32_t>(call->i[0]);
  j.eps = cu_scalar(ctx, 0), j.p = cu_scalar(ctx, 1);
  return j;
}

int32_t run_train(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  batch_norm j = job_of(call, ctx);
  j.mean = results(call->out[1]), j.variance = results(call->out[2]);
  if (j.channels == 0) return CREDENCE_OK;
  const shape s = lay_out(&j, true);
  if (s.alone)
    return s.vectors ? cu_launch(ctx, err, train<4, true>, s.grid, s.block, 0, j)
                     : cu_launch(ctx, err, train<1, true>, s.grid, s.block, 0, j);
  const int32_t status = s.vectors ? cu_launch(ctx, err, train_sums<4>, s.grid, s.block, 0, j)
                                   : cu_launch(ctx, err, train_sums<1>, s.grid, s.block, 0, j);
  if (status != CREDENCE_OK) return status;
  return s.vectors ? cu_launch(ctx, err, train<4, false>, s.grid, s.block, 0, j)
                   : cu_launch(ctx, err, train<1, false>, s.grid, s.block, 0, j);
}

int32_t run_gradient(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  batch_norm j = job_of(call, ctx);
  j.mean = results(call->in[3]), j.variance = results(call->in[4]), j.dy = floats(call->in[5]);
  j.dgamma = results(call->out[1]), j.dbeta = results(call->out[2]);
  if (j.channels == 0) return CREDENCE_OK;
  const shape s = lay_out(&j, true);
  if (s.alone)
    return s.vectors ? cu_launch(ctx, err, gradient<4, true>, s.grid, s.block, 0, j)
                     : cu_launch(ctx, err, gradient<1, true>, s.grid, s.block, 0, j);
  const int32_t status = s.vectors ? cu_launch(ctx, err, gradient_sums<4>, s.grid, s.block, 0, j)
                                   : cu_launch(ctx, err, gradient_sums<1>, s.grid, s.block, 0, j);
  if (status != CREDENCE_OK) return status;
  return s.vectors ? cu_launch(ctx, err, gradient<4, false>, s.grid, s.block, 0, j)
                   : cu_launch(ctx, err, gradient<1, false>, s.grid, s.block, 0, j);
}

int32_t run_eval(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  batch_norm j = job_of(call, ctx);
  j.mean = results(call->in[3]), j.variance = results(call->in[4]);
  if (j.channels * j.rows == 0) return CREDENCE_OK;
  const shape s = lay_out(&j, false);
  return s.vectors ? cu_launch(ctx, err, evaluate<4>, s.grid, s.block, 0, j)
                   : cu_launch(ctx, err, evaluate<1>, s.grid, s.block, 0, j);
}

void chunk_sums(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  const cr_tensor &x = call->in[0];
  if (x.dim[0] > kAloneRows) scratch->shared = sizeof(double) * 2 * kMostChunks * static_cast<size_t>(x.dim[1]);
}

}  // namespace

CU_FAMILY(batch_norm, {CREDENCE_OP_BATCH_NORM_TRAIN, chunk_sums, run_train, 0, nullptr},
          {CREDENCE_OP_BATCH_NORM_GRAD, chunk_sums, run_gradient, 0, nullptr},
          {CREDENCE_OP_BATCH_NORM_EVAL, nullptr, run_eval, 0, nullptr})

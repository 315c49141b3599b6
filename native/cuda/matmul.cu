/* MATMUL. cuBLAS multiplies what is large and lies evenly; bias, activation and a factor that is only known on the
 * device follow in one kernel. Our own kernel, which has all of that in it, multiplies what cuBLAS cannot take (rows
 * that repeat or run backwards, float16 and bfloat16), and what is so small that one launch less decides. */
#include "act.cuh"
#include "product.cuh"
#include "stored.cuh"

namespace {

constexpr int kThreads = 256;
constexpr int kFlush = 512;                 /* products of one chain of multiply-adds; the chains are added in order */
constexpr int64_t kSmallProducts = 1 << 22; /* multiply-adds that one launch of our kernel is soon done with */
constexpr int64_t kSmallDepth = 256;        /* and its longest row of them: the tiles of K pass one after the other */
constexpr int64_t kMostCalls = 8;           /* of cuBLAS for one op, where batch axes do not merge */

/* ---- our own kernel ---- */

struct stored_f32 {
  using type = float;
  static __device__ float get(const type *p) { return *p; }
};
struct stored_f16 {
  using type = uint16_t;
  static __device__ float get(const type *p) { return cu_f16_to_f32(*p); }
};
struct stored_bf16 {
  using type = uint16_t;
  static __device__ float get(const type *p) { return cu_bf16_to_f32(*p); }
};

/* A thread's part of a tile of `lines` x kDepth elements, where line i and depth l lie at i line + l depth:
 * neighbouring threads take neighbouring addresses. kCount elements per thread. */
template <class Stored, int kLines, int kDepth>
struct tile_reader {
  static constexpr int kCount = kLines * kDepth / kThreads;
  const typename Stored::type *at; /* the thread's first element, at depth 0 of the tile */
  int64_t step;                    /* to its next */
  int64_t depth_step;              /* to the next tile */
  int line, depth, line_step, depth_inner;
  int64_t lines_left; /* lines from `line` on */
  float value[kCount];

  __device__ void start(const typename Stored::type *tile, int64_t lines, int64_t line_stride, int64_t depth_stride) {
    const bool along_depth = depth_stride == 1;
    depth = along_depth ? threadIdx.x % kDepth : threadIdx.x / kLines;
    line = along_depth ? threadIdx.x / kDepth : threadIdx.x % kLines;
    line_step = along_depth ? kThreads / kDepth : 0;
    depth_inner = along_depth ? 0 : kThreads / kLines;
    step = along_depth ? line_step * line_stride : depth_inner * depth_stride;
    depth_step = kDepth * depth_stride;
    lines_left = lines - line;
    at = tile + line * line_stride + depth * depth_stride;
  }
  /* Fetches the tile that starts at depth `from` of k. */
  __device__ void fetch(int64_t from, int64_t k) {
#pragma unroll
    for (int j = 0; j < kCount; j++) {
      const bool inside = j * line_step < lines_left && from + depth + j * depth_inner < k;
      value[j] = inside ? Stored::get(at + j * step) : 0.0f;
    }
    at += depth_step;
  }
  __device__ void put(float (*to)[kLines + 4]) const {
#pragma unroll
    for (int j = 0; j < kCount; j++) to[depth + j * depth_inner][line + j * line_step] = value[j];
  }
};

/* One tile of y per block, kSide x kSide outputs per thread; the next tile of K is fetched while one is multiplied. */
template <class Stored, int kSide>
__global__ void __launch_bounds__(kThreads, kSide == 2                           ? 3
                                            : sizeof(typename Stored::type) == 4 ? 2
                                                                                 : 1)
    multiply(cu_product g, int64_t tiles_n) {
  constexpr int kTile = 16 * kSide, kDepth = kSide == 4 ? 16 : 32;
  alignas(16) __shared__ float a_tile[2][kDepth][kTile + 4], b_tile[2][kDepth][kTile + 4];
  const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  const int64_t row = blockIdx.x / tiles_n * kTile, col = blockIdx.x % tiles_n * kTile;
  const int64_t products = g.batch[0] * g.batch[1] * g.batch[2];
  const float alpha = static_cast<float>(g.alpha.get()), p = static_cast<float>(g.p.get());
  for (int64_t z = blockIdx.y; z < products; z += gridDim.y) {
    const int64_t z2 = z % g.batch[2], z1 = z / g.batch[2] % g.batch[1], z0 = z / g.batch[2] / g.batch[1];
    tile_reader<stored_f32, kTile, kDepth> a;
    tile_reader<Stored, kTile, kDepth> b;
    a.start(g.a + z0 * g.a_batch[0] + z1 * g.a_batch[1] + z2 * g.a_batch[2] + row * g.a_row, g.m - row, g.a_row,
            g.a_col);
    b.start(static_cast<const typename Stored::type *>(g.b) + z0 * g.b_batch[0] + z1 * g.b_batch[1] +
                z2 * g.b_batch[2] + col * g.b_col,
            g.n - col, g.b_col, g.b_row);
    float sum[kSide][kSide] = {}, chain[kSide][kSide] = {};
    a.fetch(0, g.k);
    b.fetch(0, g.k);
    int now = 0;
    for (int64_t from = 0; from < g.k; from += kDepth, now ^= 1) {
      a.put(a_tile[now]);
      b.put(b_tile[now]);
      __syncthreads(); /* one is enough: what is written next is the other half, which all have left by then */
      if (from + kDepth < g.k) {
        a.fetch(from + kDepth, g.k);
        b.fetch(from + kDepth, g.k);
      }
#pragma unroll
      for (int l = 0; l < kDepth; l++) {
        float x[kSide], w[kSide];
#pragma unroll
        for (int i = 0; i < kSide; i++) {
          x[i] = a_tile[now][l][ty * kSide + i];
          w[i] = b_tile[now][l][tx * kSide + i];
        }
#pragma unroll
        for (int i = 0; i < kSide; i++)
#pragma unroll
          for (int j = 0; j < kSide; j++) chain[i][j] = fmaf(x[i], w[j], chain[i][j]);
      }
      if ((from + kDepth) % kFlush == 0 || from + kDepth >= g.k) {
#pragma unroll
        for (int i = 0; i < kSide; i++)
#pragma unroll
          for (int j = 0; j < kSide; j++) {
            sum[i][j] += chain[i][j];
            chain[i][j] = 0;
          }
      }
    }
    __syncthreads(); /* the next product writes the tiles */
    float *y = g.y + z0 * g.y_batch[0] + z1 * g.y_batch[1] + z2 * g.y_batch[2];
#pragma unroll
    for (int j = 0; j < kSide; j++) {
      const int64_t c = col + tx * kSide + j;
      const float bias = g.bias != nullptr && c < g.n ? g.bias[c < g.bias_repeats ? c : c % g.bias_repeats] : 0;
#pragma unroll
      for (int i = 0; i < kSide; i++) {
        const int64_t r = row + ty * kSide + i;
        sum[i][j] *= alpha;
        if (g.bias != nullptr) sum[i][j] += bias;
        if (g.add && r < g.m && c < g.n) sum[i][j] += y[r * g.y_row + c];
      }
    }
    cu_act_apply_all(g.act, p, reinterpret_cast<float(&)[kSide * kSide]>(sum));
#pragma unroll
    for (int i = 0; i < kSide; i++) {
      const int64_t r = row + ty * kSide + i;
      if (r >= g.m) continue;
#pragma unroll
      for (int j = 0; j < kSide; j++) {
        const int64_t c = col + tx * kSide + j;
        if (c >= g.n) continue;
        y[r * g.y_row + c] = sum[i][j];
      }
    }
  }
}

template <class Stored>
int32_t launch_multiply(const cr_ctx *ctx, const cu_product &g, credence_error *err) {
  const int64_t products = g.batch[0] * g.batch[1] * g.batch[2];
  if (g.m == 0 || g.n == 0 || products == 0) return CREDENCE_OK;
  const unsigned y = static_cast<unsigned>(products < 65535 ? products : 65535);
  /* large tiles read less, small ones give every multiprocessor something to do */
  const int64_t large = cu_blocks(g.m, 64) * cu_blocks(g.n, 64);
  if (large * products >= ctx->multiprocessors)
    return cu_launch(ctx, err, multiply<Stored, 4>, dim3(static_cast<unsigned>(large), y), dim3(kThreads), 0, g,
                     cu_blocks(g.n, 64));
  const int64_t small = cu_blocks(g.m, 32) * cu_blocks(g.n, 32);
  return cu_launch(ctx, err, multiply<Stored, 2>, dim3(static_cast<unsigned>(small), y), dim3(kThreads), 0, g,
                   cu_blocks(g.n, 32));
}

/* ---- what follows cuBLAS ---- */

/* y = act(alpha y + bias), kWidth adjacent elements per thread. */
template <class Index, int kWidth>
__global__ void __launch_bounds__(kThreads) finish(cu_product g, Index groups, Index row_groups) {
  const float alpha = static_cast<float>(g.alpha.get()), p = static_cast<float>(g.p.get());
  for (int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; at < groups;
       at += static_cast<int64_t>(gridDim.x) * kThreads) {
    const Index row = static_cast<Index>(at) / row_groups, m = static_cast<Index>(g.m), z = row / m;
    const int64_t r = row - z * m, col = static_cast<int64_t>(static_cast<Index>(at) - row * row_groups) * kWidth;
    float *y = g.y + r * g.y_row + col;
    if (z > 0) { /* nothing to divide where there is no batch */
      const Index size1 = static_cast<Index>(g.batch[1]), size2 = static_cast<Index>(g.batch[2]), outer = z / size2;
      y += outer / size1 * g.y_batch[0] + outer % size1 * g.y_batch[1] + z % size2 * g.y_batch[2];
    }
    float v[kWidth];
    if (kWidth == 4) {
      const float4 four = *reinterpret_cast<const float4 *>(y);
      v[0] = four.x, v[1 % kWidth] = four.y, v[2 % kWidth] = four.z, v[3 % kWidth] = four.w;
    } else {
      v[0] = *y;
    }
#pragma unroll
    for (int k = 0; k < kWidth; k++) {
      v[k] *= alpha;
      if (g.bias != nullptr) v[k] += g.bias[col + k];
    }
    cu_act_apply_all(g.act, p, v);
    if (kWidth == 4)
      *reinterpret_cast<float4 *>(y) = make_float4(v[0], v[1 % kWidth], v[2 % kWidth], v[3 % kWidth]);
    else
      *y = v[0];
  }
}

template <int kWidth>
int32_t launch_finish(const cr_ctx *ctx, const cu_product &g, credence_error *err) {
  const int64_t row_groups = g.n / kWidth, groups = g.batch[0] * g.batch[1] * g.batch[2] * g.m * row_groups;
  const int64_t blocks = cu_blocks(groups, kThreads), most = static_cast<int64_t>(ctx->multiprocessors) * 32;
  const dim3 grid(static_cast<unsigned>(blocks < most ? blocks : most));
  if (groups <= INT32_MAX) /* divisions of 32 bits cost a fraction of those of 64 */
    return cu_launch(ctx, err, finish<uint32_t, kWidth>, grid, dim3(kThreads), 0, g, static_cast<uint32_t>(groups),
                     static_cast<uint32_t>(row_groups));
  return cu_launch(ctx, err, finish<int64_t, kWidth>, grid, dim3(kThreads), 0, g, groups, row_groups);
}

int32_t run_finish(const cr_ctx *ctx, cu_product g, credence_error *err) {
  if (g.bias != nullptr && g.bias_repeats < g.n) { /* one product, dense: as more rows that the bias fits */
    g.m *= g.n / g.bias_repeats;
    g.n = g.y_row = g.bias_repeats;
  }
  bool vectors = g.n % 4 == 0 && (g.y_row % 4 == 0 || g.m == 1) && reinterpret_cast<uintptr_t>(g.y) % 16 == 0;
  for (int d = 0; d < 3; d++) vectors = vectors && (g.batch[d] == 1 || g.y_batch[d] % 4 == 0);
  return vectors ? launch_finish<4>(ctx, g, err) : launch_finish<1>(ctx, g, err);
}

/* ---- which of them ---- */

/* A batch that shares b and whose rows lie evenly is one product with more rows. */
void fold(cu_product *g) {
  for (int d = 2; d >= 0 && g->a_col == 1; d--) {
    if (g->batch[d] == 1) continue;
    if (g->m == 1) g->a_row = g->a_batch[d], g->y_row = g->y_batch[d];
    if (g->b_batch[d] != 0 || g->a_batch[d] != g->m * g->a_row || g->y_batch[d] != g->m * g->y_row) break;
    g->m *= g->batch[d];
    g->batch[d] = 1;
  }
}

/* Drops batch axes of size 1 and joins those that all three tensors step through alike; the last one stays last. */
void join(cu_product *g) {
  int last = 2;
  for (int d = 1; d >= 0; d--) {
    if (g->batch[d] == 1) continue;
    const bool alone = g->batch[last] == 1, joined = !alone && g->a_batch[d] == g->a_batch[last] * g->batch[last] &&
                                                     g->b_batch[d] == g->b_batch[last] * g->batch[last] &&
                                                     g->y_batch[d] == g->y_batch[last] * g->batch[last];
    if (!alone && !joined) last--;
    const int64_t size = g->batch[d];
    if (joined) {
      g->batch[last] *= size;
      if (last != d) g->batch[d] = 1;
      continue;
    }
    g->batch[d] = 1;
    g->batch[last] = size;
    g->a_batch[last] = g->a_batch[d], g->b_batch[last] = g->b_batch[d], g->y_batch[last] = g->y_batch[d];
  }
}

bool constant(const cu_scalar_value &v) { return v.arg == nullptr; }

/* The product as cuBLAS would be called for one index of the outer batch axes. */
cu_gemm for_blas(const cu_product &g) {
  cu_gemm blas = {};
  blas.transpose_a = g.a_col != 1, blas.transpose_b = g.b_col != 1;
  blas.a = g.a, blas.b = static_cast<const float *>(g.b), blas.y = g.y;
  blas.m = g.m, blas.n = g.n, blas.k = g.k;
  blas.lda = blas.transpose_a ? g.a_col : g.a_row;
  blas.ldb = blas.transpose_b ? g.b_col : g.b_row;
  blas.ldy = g.y_row;
  blas.batch = g.batch[2], blas.stride_a = g.a_batch[2], blas.stride_b = g.b_batch[2], blas.stride_y = g.y_batch[2];
  return blas;
}

bool blas_takes(const cu_product &g, const cu_gemm &blas) {
  if (g.b_dtype != CREDENCE_F32 || !cu_gemm_fits(&blas) || g.batch[0] * g.batch[1] > kMostCalls) return false;
  return g.batch[2] == 1 || (blas.stride_a >= 0 && blas.stride_b >= 0 && blas.stride_y > 0);
}

int32_t run_blas(const cr_ctx *ctx, cu_product g, cu_gemm blas, credence_error *err) {
  /* cuBLAS does not read what it multiplies by 0, so NaN would not go through */
  const bool scaled = !constant(g.alpha) || g.alpha.value == 0;
  if (!scaled) {
    blas.alpha = static_cast<float>(g.alpha.value);
    g.alpha = {1, nullptr};
  }
  for (int64_t z = 0; z < g.batch[0] * g.batch[1]; z++) {
    const int64_t z1 = z % g.batch[1], z0 = z / g.batch[1];
    cu_gemm one = blas;
    one.a += z0 * g.a_batch[0] + z1 * g.a_batch[1];
    one.b += z0 * g.b_batch[0] + z1 * g.b_batch[1];
    one.y += z0 * g.y_batch[0] + z1 * g.y_batch[1];
    const int32_t status = cu_gemm_run(ctx, &one, err);
    if (status != CREDENCE_OK) return status;
  }
  if (!scaled && g.bias == nullptr && g.act == CREDENCE_ACT_NONE) return CREDENCE_OK;
  return run_finish(ctx, g, err);
}

cu_product describe(const cr_call *call, const cr_ctx *ctx) {
  const cr_tensor &a = call->in[0], &b = call->in[1], &y = call->out[0];
  const int n = y.ndim;
  const bool ta = call->i[0] != 0, tb = call->i[1] != 0;
  const int64_t size_b = static_cast<int64_t>(cr_dtype_size(b.dtype));
  cu_product g = {};
  g.a = reinterpret_cast<const float *>(a.data), g.b = b.data, g.y = reinterpret_cast<float *>(y.data);
  g.b_dtype = b.dtype;
  g.m = y.dim[n - 2], g.n = y.dim[n - 1], g.k = a.dim[ta ? n - 2 : n - 1];
  const int64_t rows_a = a.stride[n - 2] / 4, rows_b = b.stride[n - 2] / size_b;
  g.a_row = ta ? 1 : rows_a, g.a_col = ta ? rows_a : 1;
  g.b_row = tb ? 1 : rows_b, g.b_col = tb ? rows_b : 1;
  g.y_row = y.stride[n - 2] / 4;
  for (int d = 0; d < 3; d++) {
    const int from = n - 5 + d;
    g.batch[d] = from < 0 ? 1 : y.dim[from];
    if (from < 0) continue;
    g.a_batch[d] = a.stride[from] / 4, g.b_batch[d] = b.stride[from] / size_b, g.y_batch[d] = y.stride[from] / 4;
  }
  g.bias = call->n_in > 2 ? reinterpret_cast<const float *>(call->in[2].data) : nullptr;
  g.bias_repeats = g.n;
  g.alpha = cu_scalar(ctx, 0), g.p = cu_scalar(ctx, 1);
  g.act = static_cast<int32_t>(call->i[2]);
  return g;
}

int32_t run_matmul(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  cu_product g = describe(call, ctx);
  fold(&g);
  join(&g);
  return cu_product_run(ctx, g, err);
}

}  // namespace

int32_t cu_product_run(const cr_ctx *ctx, cu_product g, credence_error *err) {
  const int64_t outputs = g.batch[0] * g.batch[1] * g.batch[2] * g.m * g.n;
  if (outputs == 0) return CREDENCE_OK;
  if (g.b_dtype == CREDENCE_F16) return launch_multiply<stored_f16>(ctx, g, err);
  if (g.b_dtype == CREDENCE_BF16) return launch_multiply<stored_bf16>(ctx, g, err);
  const cu_gemm blas = for_blas(g);
  const bool bare = constant(g.alpha) && g.alpha.value != 0 && g.bias == nullptr && g.act == CREDENCE_ACT_NONE;
  const bool small = !bare && g.k <= kSmallDepth &&
                     static_cast<double>(outputs) * static_cast<double>(g.k) <= static_cast<double>(kSmallProducts);
  if (small || !blas_takes(g, blas)) return launch_multiply<stored_f32>(ctx, g, err);
  return run_blas(ctx, g, blas, err);
}

int32_t cu_gemm_plain(const cr_ctx *ctx, const cu_gemm *g, credence_error *err) {
  cu_product p = {};
  p.a = g->a, p.b = g->b, p.y = g->y;
  p.b_dtype = CREDENCE_F32;
  p.m = g->m, p.n = g->n, p.k = g->k;
  p.a_row = g->transpose_a ? 1 : g->lda, p.a_col = g->transpose_a ? g->lda : 1;
  p.b_row = g->transpose_b ? 1 : g->ldb, p.b_col = g->transpose_b ? g->ldb : 1;
  p.y_row = g->ldy;
  p.batch[0] = p.batch[1] = 1, p.batch[2] = g->batch;
  p.a_batch[2] = g->stride_a, p.b_batch[2] = g->stride_b, p.y_batch[2] = g->stride_y;
  p.alpha = {g->alpha != 0 ? g->alpha : 1, nullptr}, p.p = {0, nullptr};
  p.act = CREDENCE_ACT_NONE;
  p.add = g->beta != 0;
  return launch_multiply<stored_f32>(ctx, p, err);
}

CU_FAMILY(matmul, {CREDENCE_OP_MATMUL, nullptr, run_matmul, 0, nullptr})

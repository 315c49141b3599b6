/* Bilinear resizing of images [B,H,W,C] and its transpose. A thread makes one element, or four adjacent channels. */
#include "kernel.cuh"

namespace {

constexpr int kThreads = 256;

struct resize {
  const float *from;
  float *to;
  int64_t images, h, w, c, p, q; /* source [images,h,w,c], result [images,p,q,c] of the resizing */
};

/* near * source[at] + far * source[at + 1]; far is 0 where the second is not to be read. */
template <class Int>
struct tap {
  Int at;
  float near, far;
};

/* Output p of n samples ((2p + 1) size - n) / 2n, clamped to 0 .. size - 1: in integers, so that the whole part and a
 * rest of zero are exact. */
template <class Int>
__device__ tap<Int> tap_of(Int size, Int n, Int p) {
  const Int unit = 2 * n, most = (size - 1) * unit;
  Int at = (2 * p + 1) * size - n;
  at = at < 0 ? 0 : at > most ? most : at;
  const Int whole = at / unit, rest = at - whole * unit;
  return {whole, static_cast<float>(static_cast<double>(unit - rest) / static_cast<double>(unit)),
          static_cast<float>(static_cast<double>(rest) / static_cast<double>(unit))};
}

/* The first output that source row `at` may have a part in: the least p whose whole part is at least at - 1. */
template <class Int>
__device__ Int first_of(Int size, Int n, Int at) {
  const Int need = (at - 1) * 2 * n + n - size; /* (2p + 1) size - n >= (at - 1) 2n */
  return at < 1 || need <= 0 ? 0 : (need + 2 * size - 1) / (2 * size);
}

/* to = near a + far b, where far is not 0; else to = near a, which is a. */
template <class Int, int V>
__device__ void mix(const tap<Int> &t, float (&a)[V], const float (&b)[V]) {
#pragma unroll
  for (int k = 0; k < V; k++) a[k] = fmaf(t.far, b[k], t.near * a[k]);
}

template <class Int, int V>
__device__ void sample_row(float (&v)[V], const float *x, int64_t c, const tap<Int> &col) {
  cu_load<V>(v, x + col.at * c);
  if (col.far == 0) return;
  float next[V];
  cu_load<V>(next, x + (col.at + 1) * c);
  mix<Int, V>(col, v, next);
}

/* Int: wide enough for 4 h p and 4 w q. */
template <class Int, int V>
__global__ void __launch_bounds__(kThreads) forward(resize j, int64_t groups) {
  for (int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; at < groups;
       at += static_cast<int64_t>(gridDim.x) * kThreads) {
    const int64_t per = j.c / V, pixel = at / per, channel = (at - pixel * per) * V;
    const int64_t line = pixel / j.q, image = line / j.p;
    const tap<Int> row =
        tap_of<Int>(static_cast<Int>(j.h), static_cast<Int>(j.p), static_cast<Int>(line - image * j.p));
    const tap<Int> col =
        tap_of<Int>(static_cast<Int>(j.w), static_cast<Int>(j.q), static_cast<Int>(pixel - line * j.q));
    const float *x = j.from + (image * j.h + row.at) * j.w * j.c + channel;
    float v[V];
    sample_row<Int, V>(v, x, j.c, col);
    if (row.far != 0) {
      float below[V];
      sample_row<Int, V>(below, x + j.w * j.c, j.c, col);
      mix<Int, V>(row, v, below);
    }
    cu_store<V>(j.to + pixel * j.c + channel, v);
  }
}

/* dx gathers from the outputs that it had a part in, ascending. */
template <class Int, int V>
__global__ void __launch_bounds__(kThreads) gradient(resize j, int64_t groups) {
  for (int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; at < groups;
       at += static_cast<int64_t>(gridDim.x) * kThreads) {
    const int64_t per = j.c / V, pixel = at / per, channel = (at - pixel * per) * V;
    const int64_t line = pixel / j.w, image = line / j.h;
    const Int h = static_cast<Int>(line - image * j.h), w = static_cast<Int>(pixel - line * j.w);
    const Int size_h = static_cast<Int>(j.h), size_w = static_cast<Int>(j.w);
    const Int rows = static_cast<Int>(j.p), cols = static_cast<Int>(j.q), first_col = first_of<Int>(size_w, cols, w);
    const float *dy = j.from + image * j.p * j.q * j.c + channel;
    float sum[V] = {};
    for (Int p = first_of<Int>(size_h, rows, h); p < rows; p++) {
      const tap<Int> row = tap_of<Int>(size_h, rows, p);
      if (row.at > h) break;
      const float of_row = row.at == h ? row.near : row.far;
      if (of_row == 0) continue;
      for (Int q = first_col; q < cols; q++) {
        const tap<Int> col = tap_of<Int>(size_w, cols, q);
        if (col.at > w) break;
        const float of_col = col.at == w ? col.near : col.far;
        if (of_col == 0) continue;
        float v[V];
        cu_load<V>(v, dy + (static_cast<int64_t>(p) * j.q + q) * j.c);
#pragma unroll
        for (int k = 0; k < V; k++) sum[k] = fmaf(of_row * of_col, v[k], sum[k]);
      }
    }
    cu_store<V>(j.to + pixel * j.c + channel, sum);
  }
}

template <class Int, int V>
int32_t launch(const cr_ctx *ctx, const resize &j, bool transposed, credence_error *err) {
  const int64_t groups = j.images * (transposed ? j.h * j.w : j.p * j.q) * (j.c / V),
                blocks = cu_blocks(groups, kThreads);
  const dim3 grid(static_cast<unsigned>(blocks < (1 << 24) ? blocks : 1 << 24));
  return transposed ? cu_launch(ctx, err, gradient<Int, V>, grid, dim3(kThreads), 0, j, groups)
                    : cu_launch(ctx, err, forward<Int, V>, grid, dim3(kThreads), 0, j, groups);
}

bool aligned(const void *p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

int32_t run(const cr_call *call, const cr_ctx *ctx, bool transposed, credence_error *err) {
  const int64_t *s = transposed ? call->out[0].dim : call->in[0].dim,
                *r = transposed ? call->in[0].dim : call->out[0].dim;
  const resize j = {reinterpret_cast<const float *>(call->in[0].data),
                    reinterpret_cast<float *>(call->out[0].data),
                    s[0],
                    s[1],
                    s[2],
                    s[3],
                    r[1],
                    r[2]};
  if (cr_count(&call->out[0]) == 0) return CREDENCE_OK;
  const bool four = j.c % 4 == 0 && aligned(j.from) && aligned(j.to),
             small = j.h < 16384 && j.w < 16384 && j.p < 16384 && j.q < 16384;
  if (small) return four ? launch<int32_t, 4>(ctx, j, transposed, err) : launch<int32_t, 1>(ctx, j, transposed, err);
  return four ? launch<int64_t, 4>(ctx, j, transposed, err) : launch<int64_t, 1>(ctx, j, transposed, err);
}

int32_t run_forward(const cr_call *call, const cr_ctx *ctx, credence_error *err) { return run(call, ctx, false, err); }
int32_t run_gradient(const cr_call *call, const cr_ctx *ctx, credence_error *err) { return run(call, ctx, true, err); }

}  // namespace

CU_FAMILY(resize, {CREDENCE_OP_RESIZE_BILINEAR, nullptr, run_forward, 0, nullptr},
          {CREDENCE_OP_RESIZE_BILINEAR_GRAD, nullptr, run_gradient, 0, nullptr})

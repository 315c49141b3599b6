/* CONV2D, CONV2D_GRAD_INPUT and CONV2D_GRAD_WEIGHT: which kernel makes them. What is plainly a matrix product (1 x 1
 * kernels; a kernel that covers the picture) goes to cu_product_run. */
#include "conv_weight.cuh"
#include "conv_window.cuh"
#include "product.cuh"

namespace {

enum { FORWARD, GRAD_INPUT, GRAD_WEIGHT };

/* The kernels count within one picture and along a window in 32 bits, with room for taps beyond the end. */
constexpr int64_t kMost = int64_t{1} << 30, kBeyond = 80;

constexpr int64_t kMostTerms = 1024; /* of a weight gradient's sums that cuBLAS makes */

conv_shape shape_of(const cr_call *call, int what) {
  const cr_tensor &x = what == GRAD_INPUT ? call->out[0] : call->in[0];
  const cr_tensor &w = what == GRAD_WEIGHT ? call->out[0] : call->in[1];
  const cr_tensor &y = what == FORWARD ? call->out[0] : call->in[what == GRAD_INPUT ? 0 : 1];
  return {x.dim[0], x.dim[1], x.dim[2],   x.dim[3],   y.dim[1],   y.dim[2],  y.dim[3],
          w.dim[0], w.dim[1], call->i[0], call->i[1], call->i[2], call->i[3]};
}

const float *floats(const cr_tensor &t) { return reinterpret_cast<const float *>(t.data); }
float *results(const cr_tensor &t) { return reinterpret_cast<float *>(t.data); }

bool fits_32(const conv_shape &c) {
  const double r = static_cast<double>(c.r + kBeyond), s = static_cast<double>(c.s + 1);
  const double x = (static_cast<double>(c.h) + r) * (static_cast<double>(c.w) + s) * static_cast<double>(c.c);
  const double y = (static_cast<double>(c.p) + r) * (static_cast<double>(c.q) + s) * static_cast<double>(c.f);
  const double window = r * s * static_cast<double>(conv_larger(c.c, c.f));
  const double most = static_cast<double>(kMost);
  return x < most && y < most && window < most && c.h < kMost && c.w < kMost && c.p < kMost && c.q < kMost;
}

/* ---- plain products ---- */

bool as_product(const cr_call *call, const cr_ctx *ctx, int what, const conv_shape &c, cu_product *g) {
  const bool pointwise =
      c.r == 1 && c.s == 1 && c.sh == 1 && c.sw == 1 && c.top == 0 && c.left == 0 && c.p == c.h && c.q == c.w;
  const bool covers = c.p == 1 && c.q == 1 && c.top == 0 && c.left == 0 && c.r == c.h && c.s == c.w;
  if (!pointwise && !covers) return false;
  /* few sums, and long ones: they are better shared out by chunks */
  if (what == GRAD_WEIGHT && c.b * c.p * c.q > kMostTerms) return false;
  const int64_t rows = pointwise ? c.b * c.h * c.w : c.b, inner = pointwise ? c.c : c.r * c.s * c.c;
  *g = {};
  g->a = floats(call->in[0]), g->b = call->in[1].data, g->y = results(call->out[0]);
  g->b_dtype = CREDENCE_F32;
  g->batch[0] = g->batch[1] = g->batch[2] = 1;
  g->alpha = {1, nullptr}, g->p = cu_scalar(ctx, 0);
  g->act = static_cast<int32_t>(call->i[4]);
  switch (what) {
    case FORWARD: /* x weights */
      g->m = rows, g->k = inner, g->n = c.f;
      g->a_row = inner, g->a_col = 1, g->b_row = c.f, g->b_col = 1;
      break;
    case GRAD_INPUT: /* y weights' */
      g->m = rows, g->k = c.f, g->n = inner;
      g->a_row = c.f, g->a_col = 1, g->b_row = 1, g->b_col = c.f;
      break;
    default: /* x' dy */
      g->m = inner, g->k = rows, g->n = c.f;
      g->a_row = 1, g->a_col = inner, g->b_row = c.f, g->b_col = 1;
  }
  g->y_row = g->n;
  g->bias = call->n_in > 2 ? floats(call->in[2]) : nullptr;
  g->bias_repeats = what == GRAD_INPUT ? c.c : g->n; /* a kernel that covers the picture gives all pixels as columns */
  return true;
}

/* ---- windows ---- */

template <int kMicro, int kGroups, bool kFour>
int32_t launch_tiles(const cr_ctx *ctx, const conv_windows &v, int64_t rows, int64_t phases, int64_t depth,
                     credence_error *err) {
  using tile = conv_tile<kMicro>;
  const int64_t tiles_n = cu_blocks(v.n, tile::kCols), tiles = cu_blocks(rows, tile::kRows) * tiles_n;
  const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(conv_smaller(phases, 65535)));
  size_t shared = sizeof(float) * kGroups * 2 * tile::kStage;
  if (conv_flushes(depth, kGroups)) shared += sizeof(float) * kMicro * kMicro * kGroup * kGroups;
  return cu_launch(ctx, err, conv_tiles<kMicro, kGroups, kFour>, grid, dim3(kGroup * kGroups), shared, v, tiles_n);
}

template <bool kFour>
int32_t choose_tiles(const cr_ctx *ctx, const conv_windows &v, credence_error *err) {
  const conv_shape &c = v.c;
  const int64_t sh = v.gradient ? c.sh : 1, sw = v.gradient ? c.sw : 1;
  const int64_t rows = c.b * cu_blocks(v.dst_h, sh) * cu_blocks(v.dst_w, sw), phases = sh * sw; /* rows: at most */
  const int64_t depth = cu_blocks(c.r, sh) * cu_blocks(c.s, sw) * v.src_c;
  if (v.n > 32 && cu_blocks(rows, 128) * cu_blocks(v.n, 64) * phases >= kBlocks)
    return launch_tiles<8, 1, kFour>(ctx, v, rows, phases, depth, err);
  const int64_t tiles = cu_blocks(rows, 64) * cu_blocks(v.n, 32) * phases;
  if (tiles >= 2 * kBlocks || depth < 4 * kDepth) return launch_tiles<4, 1, kFour>(ctx, v, rows, phases, depth, err);
  if (tiles > kBlocks / 2 || depth < 8 * kDepth) return launch_tiles<4, 2, kFour>(ctx, v, rows, phases, depth, err);
  return launch_tiles<4, 4, kFour>(ctx, v, rows, phases, depth, err);
}

int32_t run_windows(const cr_call *call, const cr_ctx *ctx, const conv_shape &c, bool gradient, credence_error *err) {
  conv_windows v = {};
  v.c = c;
  v.gradient = gradient;
  v.src = floats(call->in[0]), v.weights = floats(call->in[1]), v.dst = results(call->out[0]);
  v.bias = call->n_in > 2 ? floats(call->in[2]) : nullptr;
  v.src_h = gradient ? c.p : c.h, v.src_w = gradient ? c.q : c.w, v.src_c = gradient ? c.f : c.c;
  v.dst_h = gradient ? c.h : c.p, v.dst_w = gradient ? c.w : c.q, v.n = gradient ? c.c : c.f;
  v.p = cu_scalar(ctx, 0);
  v.act = static_cast<int32_t>(call->i[4]);
  v.store4 = v.n % 4 == 0 && conv_aligned(v.dst);
  const int64_t pixels = c.b * v.dst_h * v.dst_w, outputs = pixels * v.n;
  if (outputs == 0) return CREDENCE_OK;
  if (!fits_32(c))
    return cu_launch(ctx, err, conv_huge, dim3(static_cast<unsigned>(conv_smaller(cu_blocks(outputs, 256), 1 << 20))),
                     dim3(256), 0, v, outputs);
  const bool read4 = v.src_c % 4 == 0 && conv_aligned(v.src) && conv_aligned(v.weights);
  if (gradient && v.n <= kFewChannels) {
    const dim3 grid(static_cast<unsigned>(cu_blocks(pixels, kFewThreads / kTeam)));
    return read4 ? cu_launch(ctx, err, conv_few<true>, grid, dim3(kFewThreads), 0, v, pixels)
                 : cu_launch(ctx, err, conv_few<false>, grid, dim3(kFewThreads), 0, v, pixels);
  }
  /* the weights are read along the channels made, but by the gradient */
  return read4 && (gradient || v.n % 4 == 0) ? choose_tiles<true>(ctx, v, err) : choose_tiles<false>(ctx, v, err);
}

/* ---- weights ---- */

int64_t most_chunk_sums(int64_t outputs) { return conv_smaller(kBlocks * 64 * 32, kMostChunks * outputs); }

/* Chunks of the pixels: as many as fill the device, if they are long enough; sums of several go through scratch. */
int64_t chunks_of(const conv_shape &c, int64_t rows, int64_t pixels) {
  const int64_t tiles = cu_blocks(rows, 64) * cu_blocks(c.f, 32);
  const int64_t most = conv_smaller(kMostChunks, pixels / (4 * kDepth * kWeightGroups));
  return conv_larger(1, conv_smaller(most, kBlocks / conv_larger(1, tiles)));
}

int32_t run_weights(const cr_call *call, const cr_ctx *ctx, const conv_shape &c, credence_error *err) {
  conv_weight v = {};
  v.c = c;
  v.x = floats(call->in[0]), v.dy = floats(call->in[1]);
  v.rows = c.r * c.s * c.c, v.pixels = c.b * c.p * c.q;
  const int64_t outputs = v.rows * c.f;
  float *dw = results(call->out[0]);
  if (outputs == 0) return CREDENCE_OK;
  v.to = dw;
  if (!fits_32(c))
    return cu_launch(ctx, err, conv_weight_huge,
                     dim3(static_cast<unsigned>(conv_smaller(cu_blocks(outputs, 256), 1 << 20))), dim3(256), 0, v,
                     outputs);
  constexpr int64_t kTurn = kDepth * kWeightGroups;
  v.per = cu_blocks(cu_blocks(v.pixels, chunks_of(c, v.rows, v.pixels)), kTurn) * kTurn;
  v.chunks = conv_larger(1, v.per > 0 ? cu_blocks(v.pixels, v.per) : 1);
  if (v.chunks > 1) v.to = reinterpret_cast<float *>(ctx->scratch);
  const int64_t tiles_n = cu_blocks(c.f, 32);
  const dim3 grid(static_cast<unsigned>(cu_blocks(v.rows, 64) * tiles_n), static_cast<unsigned>(v.chunks));
  const bool four = c.c % 4 == 0 && c.f % 4 == 0 && conv_aligned(v.x) && conv_aligned(v.dy);
  const dim3 block(kGroup * kWeightGroups);
  const int32_t status = four ? cu_launch(ctx, err, conv_weight_tiles<true>, grid, block, 0, v, tiles_n)
                              : cu_launch(ctx, err, conv_weight_tiles<false>, grid, block, 0, v, tiles_n);
  if (status != CREDENCE_OK || v.chunks == 1) return status;
  return cu_launch(ctx, err, conv_weight_sum, dim3(static_cast<unsigned>(cu_blocks(outputs, 256))), dim3(256), 0, v.to,
                   dw, outputs, v.chunks);
}

/* ---- the operations ---- */

int32_t run(const cr_call *call, const cr_ctx *ctx, int what, credence_error *err) {
  const conv_shape c = shape_of(call, what);
  cu_product g;
  if (as_product(call, ctx, what, c, &g)) return cu_product_run(ctx, g, err);
  return what == GRAD_WEIGHT ? run_weights(call, ctx, c, err) : run_windows(call, ctx, c, what == GRAD_INPUT, err);
}

int32_t run_forward(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run(call, ctx, FORWARD, err);
}
int32_t run_grad_input(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run(call, ctx, GRAD_INPUT, err);
}
int32_t run_grad_weight(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run(call, ctx, GRAD_WEIGHT, err);
}

void grad_weight_scratch(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  scratch->shared = sizeof(float) * static_cast<size_t>(most_chunk_sums(cr_count(&call->out[0])));
}

}  // namespace

CU_FAMILY(conv, {CREDENCE_OP_CONV2D, nullptr, run_forward, 0, nullptr},
          {CREDENCE_OP_CONV2D_GRAD_INPUT, nullptr, run_grad_input, 0, nullptr},
          {CREDENCE_OP_CONV2D_GRAD_WEIGHT, grad_weight_scratch, run_grad_weight, 0, nullptr})

/* CONV2D and CONV2D_GRAD_INPUT, and the operations' rows; the weight gradient is in conv_weight.c.
 *
 * Both are products of windows with weights. A window is a few pieces of adjacent floats, one per row of the kernel,
 * so the kernels of gemm.c read it where it lies; nothing is unfolded. At the borders the pieces are shorter or fewer:
 * outputs are grouped by the taps that lie inside the picture, and padding is neither copied nor multiplied. The input
 * gradient is cut by the strides into phases: the outputs of one phase all reach the same taps of the kernel, which lie
 * densely in y, so a phase is a convolution of stride 1 with its own part of the weights, and its results are written
 * with the stride. No product with a structural zero is computed.
 *
 * What is plainly a matrix product (1 x 1 kernels; a kernel that covers the picture) goes to cr_gemm_run. An input
 * gradient into a few channels would leave most lanes idle: there y times all weights is computed first, [p q, r s c],
 * and each output gathers its taps from that.
 *
 * Summation: blocks of CR_KC along (r, s, channel), each one chain of multiply-adds, added in order. */
#include "conv.h"

#include "act.h"

enum { TILE_STRIDE = CR_KC + CR_W };

/* One axis of a phase: output t reads taps source rows from t step + base on, and is row t out_step + out. */
typedef struct axis {
  int64_t taps, first, end; /* outputs first <= t < end */
  int64_t step, base, out_step, out;
} axis;

typedef struct phase {
  axis h, w;
  int64_t k;
  const float *weights; /* panels of k rows */
} phase;

typedef struct windows {
  const cr_conv *c;
  const cr_ctx *ctx;
  const float *src;
  int64_t src_h, src_w, src_c, dst_h, dst_w, n;
  bool gradient;
  int64_t phases, panels;
  int64_t first, end, band, bands, images, tasks; /* a task: a band of rows of one picture, or several pictures */
  float *packed;
  phase *phase;
  cr_epilogue epilogue;
} windows;

static cr_epilogue epilogue_of(const cr_conv *c) { return (cr_epilogue){1, c->act_p, c->act, c->bias}; }

static size_t round64(size_t n) { return (n + 63) / 64 * 64; }

static int64_t ceil_div_signed(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

/* Row h of the input gradient is t stride + remainder - pad; it is reached by taps remainder + i stride from row t - i.
 */
static axis gradient_axis(int64_t kernel, int64_t stride, int64_t pad, int64_t size, int64_t remainder) {
  const int64_t taps = remainder < kernel ? (kernel - remainder + stride - 1) / stride : 0;
  const int64_t first = cr_max(0, ceil_div_signed(pad - remainder, stride));
  return (axis){.taps = taps,
                .first = first,
                .end = cr_max(first, (size - 1 + pad - remainder + stride) / stride),
                .step = 1,
                .base = 1 - taps,
                .out_step = stride,
                .out = remainder - pad};
}

static phase make_phase(const cr_conv *c, bool gradient, int64_t index) {
  phase ph = {.h = {c->r, 0, c->p, c->sh, -c->top, 1, 0}, .w = {c->s, 0, c->q, c->sw, -c->left, 1, 0}};
  if (gradient) {
    ph.h = gradient_axis(c->r, c->sh, c->top, c->h, index / c->sw);
    ph.w = gradient_axis(c->s, c->sw, c->left, c->w, index % c->sw);
  }
  ph.k = ph.h.taps * ph.w.taps * (gradient ? c->f : c->c);
  return ph;
}

/* Everything but memory. */
static windows lay_out(const cr_conv *c, bool gradient, int64_t threads, cr_scratch *scratch) {
  windows v = {.c = c,
               .gradient = gradient,
               .phases = 1,
               .src = c->x,
               .src_h = c->h,
               .src_w = c->w,
               .src_c = c->c,
               .dst_h = c->p,
               .dst_w = c->q,
               .n = c->f,
               .end = c->p,
               .epilogue = epilogue_of(c)};
  if (gradient) {
    v.src = c->y, v.src_h = c->p, v.src_w = c->q, v.src_c = c->f, v.dst_h = c->h, v.dst_w = c->w, v.n = c->c;
    v.phases = c->sh * c->sw;
    v.first = INT64_MAX, v.end = 0;
    for (int64_t m = 0; m < c->sh; m++) {
      const axis a = gradient_axis(c->r, c->sh, c->top, c->h, m);
      if (a.end > a.first) v.first = cr_min(v.first, a.first), v.end = cr_max(v.end, a.end);
    }
    v.first = cr_min(v.first, v.end);
  }
  v.panels = cr_ceil_div(v.n, CR_NR);
  const int64_t rows = cr_max(1, v.end - v.first), taps = c->r * c->s, pixels = v.dst_h * v.dst_w;
  const double products = (double)taps * (double)v.src_c / (gradient ? (double)(c->sh * c->sw) : 1.0);
  const double work = (double)pixels * (products + 1) * (double)(v.panels * CR_NR) + 1;
  v.band = cr_max(1, work > CR_CONV_TASK ? (int64_t)((double)rows * CR_CONV_TASK / work) : rows);
  v.bands = cr_ceil_div(rows, v.band);
  v.images = v.bands > 1 ? 1 : cr_max(1, cr_min((int64_t)(CR_CONV_TASK / work), c->b / (4 * threads)));
  v.tasks = cr_ceil_div(c->b, v.images) * v.bands;
  const size_t weights = (size_t)(taps * v.src_c * v.panels * CR_NR) * 4;
  scratch->shared = weights + round64((size_t)v.phases * sizeof(phase));
  scratch->per_thread = CR_MR * TILE_STRIDE * sizeof(float);
  return v;
}

/* ---- weights ---- */

/* One panel of one phase. */
static int32_t pack_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const windows *v = arg;
  const cr_conv *c = v->c;
  const int64_t panel = index % v->panels, col = panel * CR_NR, cols = cr_min(CR_NR, v->n - col);
  const phase *ph = &v->phase[index / v->panels];
  float *to = (float *)ph->weights + panel * ph->k * CR_NR;
  if (!v->gradient) {
    const cr_matrix b = {(const char *)c->weights, c->f * 4, CREDENCE_F32, false};
    CR_NAME(cr_pack_panel)(&b, 0, ph->k, col, cols, to);
    return CREDENCE_OK;
  }
  const int64_t mh = ph->h.out + c->top, mw = ph->w.out + c->left;
  for (int64_t i = ph->h.taps - 1; i >= 0; i--) /* later rows of y come from earlier taps */
    for (int64_t j = ph->w.taps - 1; j >= 0; j--, to += c->f * CR_NR) {
      const int64_t tap = (mh + i * c->sh) * c->s + mw + j * c->sw;
      const cr_matrix b = {(const char *)(c->weights + tap * c->c * c->f), c->f * 4, CREDENCE_F32, true};
      CR_NAME(cr_pack_panel)(&b, 0, c->f, col, cols, to);
    }
  return CREDENCE_OK;
}

/* ---- windows times weights ---- */

/* Outputs whose windows lie in the picture with the same taps: t0 <= t < t1 and u0 <= u < u1 of several pictures, taps
 * [h0, h1) x [w0, w1). At the borders taps outside are left out, so that no padding is copied or multiplied. */
typedef struct region {
  const windows *v;
  const phase *ph;
  int64_t t0, t1, h0, h1, u0, u1, w0, w1;
  const float *src; /* of the first picture */
  float *dst;
  int64_t images;
} region;

/* The taps of output t that lie inside, and how far (below limit) the outputs after it have the same. */
static int64_t same_taps(const axis *a, int64_t size, int64_t t, int64_t limit, int64_t *low, int64_t *high) {
  int64_t end = t;
  for (; end < limit; end++) {
    const int64_t start = end * a->step + a->base;
    int64_t l = cr_min(cr_max(0, -start), a->taps), h = cr_max(l, cr_min(a->taps, size - start));
    if (l == h) l = h = 0;
    if (end == t) *low = l, *high = h;
    if (l != *low || h != *high) break;
  }
  return end;
}

/* Block k .. of the region's windows. */
static int64_t cut_pieces(const region *g, int64_t k, int64_t depth, cr_piece *piece) {
  const int64_t channels = g->v->src_c, line = g->ph->w.taps * channels;
  int64_t n = 0;
  if (depth == 0 || g->w0 == g->w1) return 0;
  for (int64_t i = cr_max(g->h0, k / line); i < g->h1 && i * line < k + depth; i++) {
    const int64_t begin = i * line + g->w0 * channels;
    const int64_t from = cr_max(begin, k), to = cr_min(i * line + g->w1 * channels, k + depth);
    if (from >= to) continue;
    piece[n++] = (cr_piece){(i - g->h0) * g->v->src_w * channels + from - begin, to - from, from - k};
  }
  return n;
}

/* Windows and outputs of consecutive rows of the product: a region's outputs, row by row, picture by picture. */
typedef struct cursor {
  const float *window;
  float *out;
  int64_t image, t, u;
} cursor;

static void seek(const region *g, cursor *at) {
  const windows *v = g->v;
  const axis *h = &g->ph->h, *w = &g->ph->w;
  const int64_t row = at->t * h->step + h->base + g->h0, col = at->u * w->step + w->base + g->w0;
  const bool taps = g->h0 < g->h1 && g->w0 < g->w1; /* without any there may be no such row */
  at->window = taps ? g->src + ((at->image * v->src_h + row) * v->src_w + col) * v->src_c : g->src;
  at->out =
      g->dst + ((at->image * v->dst_h + at->t * h->out_step + h->out) * v->dst_w + at->u * w->out_step + w->out) * v->n;
}

static void advance(const region *g, cursor *at) {
  at->window += g->ph->w.step * g->v->src_c;
  at->out += g->ph->w.out_step * g->v->n;
  if (++at->u < g->u1) return;
  at->u = g->u0;
  if (++at->t == g->t1) at->t = g->t0, at->image++;
  if (at->image < g->images) seek(g, at);
}

static int32_t run_region(const region *g, float *copy_to) {
  const windows *v = g->v;
  const phase *ph = g->ph;
  const int64_t rows = g->images * (g->t1 - g->t0) * (g->u1 - g->u0), tiles = cr_tile_count(rows);
  /* windows may lie a multiple of 4096 bytes apart and share one set of the first-level cache, see matmul.c */
  const bool copy = v->panels >= 4 || (v->panels >= 2 && ph->w.step * v->src_c * 4 % 2048 == 0);
  int64_t k = 0;
  do {
    const int64_t depth = cr_min(CR_KC, ph->k - k);
    cr_piece piece[CR_KC], copied[CR_KC];
    const int64_t pieces = cut_pieces(g, k, depth, piece);
    for (int64_t n = 0, at = 0; copy && n < pieces; at += piece[n++].length)
      copied[n] = (cr_piece){at, piece[n].length, piece[n].row};
    const float *a[CR_MR];
    float *out[CR_MR], *y[CR_MR];
    cr_tile t = {.a = a,
                 .piece = copy ? copied : piece,
                 .pieces = pieces,
                 .b_stride = CR_NR,
                 .y = y,
                 .add = k > 0,
                 .epilogue = k + depth == ph->k ? &v->epilogue : NULL};
    cursor at = {.t = g->t0, .u = g->u0};
    seek(g, &at);
    for (int64_t tile = 0; tile < tiles; tile++) {
      const int64_t height = cr_tile_start(rows, tiles, tile + 1) - cr_tile_start(rows, tiles, tile);
      for (int64_t i = 0; i < height; i++) {
        a[i] = at.window, out[i] = at.out;
        advance(g, &at);
      }
      for (int64_t i = 0; copy && i < height; i++) {
        float *to = copy_to + i * TILE_STRIDE;
        for (int64_t n = 0; n < pieces; n++)
          memcpy(to + copied[n].offset, a[i] + piece[n].offset, (size_t)piece[n].length * 4);
        a[i] = to;
      }
      for (int64_t p = 0; p < v->panels; p++) {
        for (int64_t i = 0; i < height; i++) y[i] = out[i] + p * CR_NR;
        t.b = ph->weights + (p * ph->k + k) * CR_NR;
        t.bias_at = p * CR_NR;
        t.cols = cr_min(CR_NR, v->n - t.bias_at);
        CR_NAME(cr_tile_rows)(&t, height);
      }
    }
    k += depth;
    if (cr_cancelled(v->ctx)) return CREDENCE_CANCELLED;
  } while (k < ph->k);
  return CREDENCE_OK;
}

static int32_t window_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  const windows *v = arg;
  float *copy_to = (float *)cr_worker_scratch(v->ctx, worker);
  const int64_t image = index / v->bands * v->images;
  const int64_t first = v->first + index % v->bands * v->band, end = cr_min(first + v->band, v->end);
  for (int64_t n = 0; n < v->phases; n++) {
    const phase *ph = &v->phase[n];
    region g = {.v = v,
                .ph = ph,
                .images = cr_min(v->images, v->c->b - image),
                .src = v->src + image * v->src_h * v->src_w * v->src_c,
                .dst = v->c->out + image * v->dst_h * v->dst_w * v->n};
    const int64_t last = cr_min(end, ph->h.end);
    for (g.t0 = cr_max(first, ph->h.first); g.t0 < last; g.t0 = g.t1) {
      g.t1 = same_taps(&ph->h, v->src_h, g.t0, last, &g.h0, &g.h1);
      for (g.u0 = ph->w.first; g.u0 < ph->w.end; g.u0 = g.u1) {
        g.u1 = same_taps(&ph->w, v->src_w, g.u0, ph->w.end, &g.w0, &g.w1);
        const int32_t status = run_region(&g, copy_to);
        if (status != CREDENCE_OK) return cr_fail(err, status, "conv2d: cancelled");
      }
    }
  }
  return CREDENCE_OK;
}

static int32_t run_windows(const cr_conv *c, bool gradient, const cr_ctx *ctx, credence_error *err) {
  cr_scratch need;
  windows v = lay_out(c, gradient, ctx->threads, &need);
  int32_t status = cr_conv_fits(&need, ctx, err);
  if (status != CREDENCE_OK || c->b * v.dst_h * v.dst_w * v.n == 0) return status;
  v.ctx = ctx;
  v.phase = (phase *)ctx->scratch;
  v.packed = (float *)(ctx->scratch + round64((size_t)v.phases * sizeof(phase)));
  float *at = v.packed;
  for (int64_t n = 0; n < v.phases; n++) {
    v.phase[n] = make_phase(c, gradient, n);
    v.phase[n].weights = at;
    at += v.panels * v.phase[n].k * CR_NR;
  }
  if (!gradient && c->f == CR_NR)
    v.phase[0].weights = c->weights; /* they are a panel */
  else
    status = cr_parallel(ctx, v.phases * v.panels, pack_task, &v, err);
  return status == CREDENCE_OK ? cr_parallel(ctx, v.tasks, window_task, &v, err) : status;
}

/* ---- an input gradient into a few channels ---- */

typedef struct gather {
  const cr_conv *c;
  const cr_ctx *ctx;
  float *packed;
  int64_t n, panels, images; /* n: taps times channels */
} gather;

static bool few_channels(const cr_conv *c) {
  return c->c < CR_W / 2 && (double)c->p * (double)c->q * (double)(c->r * c->s * c->c) <= 2e6;
}

static gather lay_out_gather(const cr_conv *c, int64_t threads, cr_scratch *scratch) {
  gather v = {.c = c, .n = c->r * c->s * c->c};
  v.panels = cr_ceil_div(v.n, CR_NR);
  const double work =
      (double)(c->p * c->q) * (double)c->f * (double)(v.panels * CR_NR) + (double)(c->h * c->w * c->c) + 1;
  v.images = cr_max(1, cr_min((int64_t)(CR_CONV_TASK / work), c->b / (4 * threads)));
  scratch->shared = (size_t)(v.panels * CR_NR * c->f) * 4;
  scratch->per_thread = (size_t)(c->p * c->q * v.n) * 4;
  return v;
}

static int32_t pack_gather_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const gather *v = arg;
  const cr_matrix b = {(const char *)v->c->weights, v->c->f * 4, CREDENCE_F32, true};
  CR_NAME(cr_pack_panel)
  (&b, 0, v->c->f, index * CR_NR, cr_min(CR_NR, v->n - index * CR_NR), v->packed + index * v->c->f * CR_NR);
  return CREDENCE_OK;
}

/* taps = y of one picture times all weights */
static void all_taps(const gather *v, const float *y, float *taps) {
  const cr_conv *c = v->c;
  const int64_t rows = c->p * c->q, tiles = cr_tile_count(rows);
  int64_t k = 0;
  do {
    const cr_piece piece = {0, cr_min(CR_KC, c->f - k), 0};
    const float *a[CR_MR];
    float *to[CR_MR];
    cr_tile t = {.a = a, .piece = &piece, .pieces = 1, .b_stride = CR_NR, .y = to, .add = k > 0};
    for (int64_t tile = 0; tile < tiles; tile++) {
      const int64_t row = cr_tile_start(rows, tiles, tile), height = cr_tile_start(rows, tiles, tile + 1) - row;
      for (int64_t i = 0; i < height; i++) a[i] = y + (row + i) * c->f + k;
      for (int64_t p = 0; p < v->panels; p++) {
        for (int64_t i = 0; i < height; i++) to[i] = taps + (row + i) * v->n + p * CR_NR;
        t.b = v->packed + (p * c->f + k) * CR_NR;
        t.cols = cr_min(CR_NR, v->n - p * CR_NR);
        CR_NAME(cr_tile_rows)(&t, height);
      }
    }
    k += piece.length;
  } while (k < c->f);
}

/* to[i to_step + ch] += from[i from_step + ch]. One channel, the usual case, has a loop of its own: four times as fast.
 */
static void add_taps(float *to, int64_t to_step, const float *from, int64_t from_step, int64_t n, int64_t channels) {
  if (channels == 1) {
    for (int64_t i = 0; i < n; i++) to[i * to_step] += from[i * from_step];
    return;
  }
  for (int64_t i = 0; i < n; i++)
    for (int64_t ch = 0; ch < channels; ch++) to[i * to_step + ch] += from[i * from_step + ch];
}

/* One row of the result: its taps in order of r, then s; then bias and activation. */
static void gather_row(const gather *v, const float *taps, int64_t h, float *x) {
  const cr_conv *c = v->c;
  memset(x, 0, (size_t)(c->w * c->c) * 4);
  for (int64_t r = 0; r < c->r; r++) {
    const int64_t reach = h + c->top - r, p = reach / c->sh;
    if (reach < 0 || reach % c->sh != 0 || p >= c->p) continue;
    for (int64_t s = 0; s < c->s; s++) {
      const int64_t q0 = cr_max(0, ceil_div_signed(c->left - s, c->sw));
      const int64_t q1 = cr_min(c->q, (c->w - 1 + c->left - s + c->sw) / c->sw);
      const float *from = taps + (p * c->q + q0) * v->n + (r * c->s + s) * c->c;
      float *to = x + (q0 * c->sw + s - c->left) * c->c;
      add_taps(to, c->sw * c->c, from, v->n, q1 - q0, c->c);
    }
  }
  for (int64_t ch = 0; c->bias != NULL && ch < c->c; ch++) {
    const float bias = c->bias[ch];
    for (int64_t w = 0; w < c->w; w++) x[w * c->c + ch] += bias;
  }
  act_row(c->act, c->act_p, x, c->w * c->c);
}

static int32_t gather_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  const gather *v = arg;
  const cr_conv *c = v->c;
  float *taps = (float *)cr_worker_scratch(v->ctx, worker);
  const int64_t end = cr_min((index + 1) * v->images, c->b);
  for (int64_t image = index * v->images; image < end; image++) {
    if (cr_cancelled(v->ctx)) return cr_fail(err, CREDENCE_CANCELLED, "conv2d: cancelled");
    all_taps(v, c->y + image * c->p * c->q * c->f, taps);
    for (int64_t h = 0; h < c->h; h++) gather_row(v, taps, h, c->out + (image * c->h + h) * c->w * c->c);
  }
  return CREDENCE_OK;
}

static int32_t run_gather(const cr_conv *c, const cr_ctx *ctx, credence_error *err) {
  cr_scratch need;
  gather v = lay_out_gather(c, ctx->threads, &need);
  int32_t status = cr_conv_fits(&need, ctx, err);
  if (status != CREDENCE_OK || c->b * c->h * c->w * c->c == 0) return status;
  v.ctx = ctx;
  v.packed = (float *)ctx->scratch;
  status = cr_parallel(ctx, v.panels, pack_gather_task, &v, err);
  return status == CREDENCE_OK ? cr_parallel(ctx, cr_ceil_div(c->b, v.images), gather_task, &v, err) : status;
}

/* ---- plain products ---- */

/* Whether the operation is one matrix product, and which. */
static bool as_product(const cr_conv *c, cr_conv_op what, cr_gemm *g) {
  const bool pointwise =
      c->r == 1 && c->s == 1 && c->sh == 1 && c->sw == 1 && c->top == 0 && c->left == 0 && c->p == c->h && c->q == c->w;
  const bool covers = c->p == 1 && c->q == 1 && c->top == 0 && c->left == 0 && c->r == c->h && c->s == c->w;
  if (!pointwise && !covers) return false;
  const int64_t rows = pointwise ? c->b * c->h * c->w : c->b, inner = pointwise ? c->c : c->r * c->s * c->c;
  *g = (cr_gemm){.epilogue = epilogue_of(c), .batch = {1, 1, 1}, .y = (char *)c->out};
  const cr_matrix weights = {(const char *)c->weights, c->f * 4, CREDENCE_F32, what == CR_CONV_GRAD_INPUT};
  switch (what) {
    case CR_CONV_FORWARD:
      g->m = rows, g->k = inner, g->n = c->f, g->a = (const char *)c->x, g->a_stride = inner * 4, g->b = weights;
      break;
    case CR_CONV_GRAD_INPUT:
      g->m = rows, g->k = c->f, g->n = inner, g->a = (const char *)c->y, g->a_stride = c->f * 4, g->b = weights;
      break;
    default:
      g->m = inner, g->k = rows, g->n = c->f, g->a = (const char *)c->x, g->a_stride = inner * 4;
      g->a_transposed = true;
      g->b = (cr_matrix){(const char *)c->y, c->f * 4, CREDENCE_F32, false};
  }
  g->y_stride = g->n * 4;
  return true;
}

/* A kernel that covers the picture gives all pixels of the input gradient as columns: the bias repeats. */
static size_t bias_bytes(const cr_conv *c, cr_conv_op what, const cr_gemm *g) {
  return what == CR_CONV_GRAD_INPUT && c->bias != NULL && g->n != c->c ? round64((size_t)g->n * 4) : 0;
}

static int32_t run_product(const cr_conv *c, cr_conv_op what, cr_gemm *g, const cr_ctx *ctx, credence_error *err) {
  cr_ctx inner = *ctx;
  cr_scratch need = {0, 0};
  const size_t bytes = bias_bytes(c, what, g);
  CR_NAME(cr_gemm_scratch)(g, ctx->threads, &need);
  need.shared = bytes; /* cr_gemm_run makes do with what shared scratch there is */
  const int32_t status = cr_conv_fits(&need, ctx, err);
  if (status != CREDENCE_OK) return status;
  if (bytes > 0) {
    float *bias = (float *)ctx->scratch;
    for (int64_t i = 0; i < g->n; i++) bias[i] = c->bias[i % c->c];
    g->epilogue.bias = bias;
    inner.scratch += bytes;
    inner.scratch_shared -= bytes;
  }
  return CR_NAME(cr_gemm_run)(g, &inner, err);
}

/* ---- the operations ---- */

static void scratch_of(const cr_call *call, cr_conv_op what, int32_t threads, cr_scratch *scratch) {
  cr_conv c;
  cr_gemm g;
  cr_conv_describe(call, what, &c, NULL);
  if (as_product(&c, what, &g)) {
    CR_NAME(cr_gemm_scratch)(&g, threads, scratch);
    scratch->shared += what == CR_CONV_GRAD_INPUT && call->n_in > 2 ? round64((size_t)g.n * 4) : 0;
  } else if (what == CR_CONV_GRAD_WEIGHT) {
    CR_NAME(cr_conv_weight_scratch)(&c, threads, scratch);
  } else if (what == CR_CONV_GRAD_INPUT && few_channels(&c)) {
    lay_out_gather(&c, threads, scratch);
  } else {
    lay_out(&c, what == CR_CONV_GRAD_INPUT, threads, scratch);
  }
}

static int32_t run(const cr_call *call, cr_conv_op what, const cr_ctx *ctx, credence_error *err) {
  cr_conv c;
  cr_gemm g;
  const int32_t status = cr_conv_describe(call, what, &c, err);
  if (status != CREDENCE_OK) return status;
  if (as_product(&c, what, &g)) return run_product(&c, what, &g, ctx, err);
  if (what == CR_CONV_GRAD_WEIGHT) return CR_NAME(cr_conv_weight_run)(&c, ctx, err);
  if (what == CR_CONV_GRAD_INPUT && few_channels(&c)) return run_gather(&c, ctx, err);
  return run_windows(&c, what == CR_CONV_GRAD_INPUT, ctx, err);
}

#define OP(name, what)                                                                     \
  static void scratch_##name(const cr_call *call, int32_t threads, cr_scratch *scratch) {  \
    scratch_of(call, what, threads, scratch);                                              \
  }                                                                                        \
  static int32_t run_##name(const cr_call *call, const cr_ctx *ctx, credence_error *err) { \
    return run(call, what, ctx, err);                                                      \
  }
OP(forward, CR_CONV_FORWARD)
OP(grad_input, CR_CONV_GRAD_INPUT)
OP(grad_weight, CR_CONV_GRAD_WEIGHT)

CR_FAMILY(conv, {CREDENCE_OP_CONV2D, .scratch = scratch_forward, .run = run_forward},
          {CREDENCE_OP_CONV2D_GRAD_INPUT, .scratch = scratch_grad_input, .run = run_grad_input},
          {CREDENCE_OP_CONV2D_GRAD_WEIGHT, .scratch = scratch_grad_weight, .run = run_grad_weight})

/* CONV2D and CONV2D_GRAD_INPUT, and the operations' rows; the weight gradient is in conv_weight.c.
 *
 * Both are products of windows with weights. A window is a few pieces of adjacent floats, one per row of the kernel,
 * so the kernels of gemm.c read it where it lies, in a copy of the picture that has its padding around it; nothing is
 * unfolded. The input gradient is cut by the strides into phases: the outputs of one phase all reach the same taps of
 * the kernel, which lie densely in y, so a phase is a convolution of stride 1 with its own part of the weights, and its
 * results are written with the stride. No product with a structural zero is computed.
 *
 * What is plainly a matrix product (1 x 1 kernels; a kernel that covers the picture) goes to cr_gemm_run. An input
 * gradient into a few channels would leave most lanes idle: there y times all weights is computed first, [p q, r s c],
 * and each output gathers its taps from that.
 *
 * Summation: blocks of CR_KC along (r, s, channel), each one chain of multiply-adds, added in order. */
#include "conv.h"

#include "act.h"

typedef struct phase {
  int64_t taps_h, taps_w, k;
  int64_t t0, t1, u0, u1; /* outputs by their place in the phase: row t, column u */
  int64_t base_h, base_w; /* the window of (t, u) begins at padded row t step_h + base_h ... */
  int64_t out_h, out_w;   /* and its output is row t out_step_h + out_h ... */
  const float *weights;   /* panels of k rows */
} phase;

typedef struct windows {
  const cr_conv *c;
  const cr_ctx *ctx;
  const float *src;
  int64_t src_h, src_w, src_c, dst_h, dst_w, n;
  int64_t step_h, step_w, out_step_h, out_step_w;
  int64_t pad_h, pad_w, pitch; /* pitch: pixels in a row of the padded picture */
  int64_t t0, t1, low, high;   /* all outputs; a band of rows t .. reads padded rows t step_h + low .. + high - 1 */
  bool gradient, copy;
  int64_t phases, panels, band, bands, images, tasks; /* a task: a band of rows of one picture, or several pictures */
  size_t picture;                                     /* floats of a padded band */
  float *packed;
  phase *phase;
} windows;

static size_t round64(size_t n) { return (n + 63) / 64 * 64; }

static int64_t ceil_div_signed(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

/* One axis of a phase of the input gradient: its taps, outputs and where the first window begins. */
static void phase_axis(int64_t kernel, int64_t stride, int64_t pad, int64_t size, int64_t remainder, int64_t *taps,
                       int64_t *first, int64_t *end) {
  *taps = remainder < kernel ? (kernel - remainder + stride - 1) / stride : 0;
  *first = cr_max(0, ceil_div_signed(pad - remainder, stride));
  *end = cr_max(*first, (size - 1 + pad - remainder + stride) / stride);
}

/* How far windows reach outside before the first row or column, over all phases of one axis; and the extent of what
 * they read: low and high are the least begin and the greatest end of a window of t = 0. */
static void input_axis(int64_t kernel, int64_t stride, int64_t pad, int64_t size, int64_t *padding, int64_t *t0,
                       int64_t *t1, int64_t *low, int64_t *high) {
  *padding = 0, *t0 = INT64_MAX, *t1 = 0, *low = 0;
  for (int64_t m = 0; m < stride; m++) {
    int64_t taps, first, end;
    phase_axis(kernel, stride, pad, size, m, &taps, &first, &end);
    if (end > first) {
      *padding = cr_max(*padding, taps - 1 - first);
      *t0 = cr_min(*t0, first);
      *t1 = cr_max(*t1, end);
    }
  }
  *t0 = cr_min(*t0, *t1);
  *low = *padding - ((kernel + stride - 1) / stride - 1);
  *high = *padding + 1;
}

static phase make_phase(const cr_conv *c, const windows *v, int64_t index) {
  if (!v->gradient) return (phase){.taps_h = c->r, .taps_w = c->s, .k = c->r * c->s * c->c, .t1 = c->p, .u1 = c->q};
  phase ph = {0};
  const int64_t mh = index / c->sw, mw = index % c->sw;
  phase_axis(c->r, c->sh, c->top, c->h, mh, &ph.taps_h, &ph.t0, &ph.t1);
  phase_axis(c->s, c->sw, c->left, c->w, mw, &ph.taps_w, &ph.u0, &ph.u1);
  if (ph.taps_h == 0 || ph.taps_w == 0) ph.taps_h = ph.taps_w = 0;
  ph.k = ph.taps_h * ph.taps_w * c->f;
  ph.base_h = v->pad_h - (ph.taps_h - 1), ph.base_w = v->pad_w - (ph.taps_w - 1);
  ph.out_h = mh - c->top, ph.out_w = mw - c->left;
  return ph;
}

static int64_t packed_floats(const windows *v, int64_t k) { return v->panels * k * CR_NR; }

/* Everything but memory. */
static windows lay_out(const cr_conv *c, bool gradient, int64_t threads, cr_scratch *scratch) {
  windows v = {.c = c, .phases = 1, .gradient = gradient};
  int64_t width_end;
  if (gradient) {
    int64_t u0, u1, low, high;
    v.src = c->y, v.src_h = c->p, v.src_w = c->q, v.src_c = c->f, v.dst_h = c->h, v.dst_w = c->w, v.n = c->c;
    v.step_h = v.step_w = 1, v.out_step_h = c->sh, v.out_step_w = c->sw, v.phases = c->sh * c->sw;
    input_axis(c->s, c->sw, c->left, c->w, &v.pad_w, &u0, &u1, &low, &high);
    width_end = cr_max(1, u1 - 1 + high);
    input_axis(c->r, c->sh, c->top, c->h, &v.pad_h, &v.t0, &v.t1, &v.low, &v.high);
  } else {
    v.src = c->x, v.src_h = c->h, v.src_w = c->w, v.src_c = c->c, v.dst_h = c->p, v.dst_w = c->q, v.n = c->f;
    v.step_h = c->sh, v.step_w = c->sw, v.out_step_h = v.out_step_w = 1;
    v.pad_h = c->top, v.pad_w = c->left, v.t1 = c->p, v.high = c->r;
    width_end = cr_max(1, (c->q - 1) * c->sw + c->s);
  }
  const int64_t height_end = (v.t1 - 1) * v.step_h + v.high;
  v.copy = v.pad_h > 0 || v.pad_w > 0 || height_end > v.src_h || width_end > v.src_w;
  v.pitch = v.copy ? width_end : v.src_w;
  v.panels = cr_ceil_div(v.n, CR_NR);

  const int64_t rows = cr_max(1, v.t1 - v.t0), taps = c->r * c->s, pixels = v.dst_h * v.dst_w;
  const double work = (double)pixels * (double)taps * (double)v.src_c * (double)(v.panels * CR_NR) /
                          (gradient ? (double)(c->sh * c->sw) : 1.0) +
                      (double)pixels * (double)v.n + 1;
  v.band = cr_max(1, work > CR_CONV_TASK ? (int64_t)((double)rows * CR_CONV_TASK / work) : rows);
  for (;;) {
    v.picture = v.copy ? (size_t)(((v.band - 1) * v.step_h + v.high - v.low) * v.pitch * v.src_c) : 0;
    if (v.band == 1 || v.picture * 4 <= CR_CONV_BAND) break;
    v.band = (v.band + 1) / 2;
  }
  v.bands = cr_ceil_div(rows, v.band);
  v.images = 1;
  if (v.bands == 1) {
    v.images = cr_max(1, cr_min((int64_t)(CR_CONV_TASK / work), c->b / (4 * threads)));
    if (v.picture > 0) v.images = cr_max(1, cr_min(v.images, CR_CONV_BAND / (int64_t)(v.picture * 4)));
  }
  v.tasks = cr_ceil_div(c->b, v.images) * v.bands;
  const size_t weights = (size_t)(taps * v.src_c * v.panels * CR_NR) * 4;
  scratch->shared = weights + round64((size_t)v.phases * sizeof(phase));
  scratch->per_thread = ((size_t)v.images * v.picture + CR_MR * (CR_KC + CR_W)) * 4;
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
  const int64_t mh = ph->out_h + c->top, mw = ph->out_w + c->left;
  for (int64_t i = ph->taps_h - 1; i >= 0; i--) /* later rows of y come from earlier taps */
    for (int64_t j = ph->taps_w - 1; j >= 0; j--, to += c->f * CR_NR) {
      const int64_t tap = (mh + i * c->sh) * c->s + mw + j * c->sw;
      const cr_matrix b = {(const char *)(c->weights + tap * c->c * c->f), c->f * 4, CREDENCE_F32, true};
      CR_NAME(cr_pack_panel)(&b, 0, c->f, col, cols, to);
    }
  return CREDENCE_OK;
}

/* ---- windows times weights ---- */

/* Block k .. of a window, whose rows are length floats each, pitch floats apart. */
static int64_t cut_pieces(int64_t length, int64_t pitch, int64_t k, int64_t depth, cr_piece *piece) {
  int64_t n = 0;
  for (const int64_t end = k + depth; k < end; n++) {
    const int64_t at = k % length;
    piece[n] = (cr_piece){k / length * pitch + at, cr_min(length - at, end - k)};
    k += piece[n].length;
  }
  return n;
}

/* Windows and outputs of consecutive rows of the product: a phase's outputs, row by row, picture by picture. */
typedef struct cursor {
  const float *window;
  float *out;
  int64_t image, t, u;
} cursor;

typedef struct stage {
  const windows *v;
  const phase *ph;
  const float *base;     /* padded row t0 step_h + low of the first picture */
  float *dst;            /* of the first picture */
  int64_t t0, t1, first; /* of this band; first: the padded row at base */
  int64_t base_step;
} stage;

static void seek(const stage *s, cursor *at) {
  const windows *v = s->v;
  const phase *ph = s->ph;
  const int64_t row = at->t * v->step_h + ph->base_h - s->first, col = at->u * v->step_w + ph->base_w;
  at->window = s->base + at->image * s->base_step + (row * v->pitch + col) * v->src_c;
  const int64_t h = at->t * v->out_step_h + ph->out_h, w = at->u * v->out_step_w + ph->out_w;
  at->out = s->dst + ((at->image * v->dst_h + h) * v->dst_w + w) * v->n;
}

static void advance(const stage *s, cursor *at) {
  const windows *v = s->v;
  at->window += v->step_w * v->src_c;
  at->out += v->out_step_w * v->n;
  if (++at->u < s->ph->u1) return;
  at->u = s->ph->u0;
  if (++at->t == s->t1) at->t = s->t0, at->image++;
  seek(s, at);
}

static int32_t run_phase(const stage *s, int64_t images, float *copy_to) {
  const windows *v = s->v;
  const phase *ph = s->ph;
  const int64_t rows = images * (s->t1 - s->t0) * (ph->u1 - ph->u0), tiles = cr_tile_count(rows);
  /* windows may lie a multiple of 4096 bytes apart and share one set of the first-level cache, see matmul.c */
  const bool copy = v->panels >= 4 || (v->panels >= 2 && v->step_w * v->src_c * 4 % 2048 == 0);
  const cr_epilogue *e = &v->c->epilogue;
  int64_t k = 0;
  do {
    const int64_t depth = cr_min(CR_KC, ph->k - k);
    cr_piece piece[CR_KC];
    const cr_piece whole = {0, depth};
    const int64_t pieces = depth == 0 ? 0 : cut_pieces(ph->taps_w * v->src_c, v->pitch * v->src_c, k, depth, piece);
    const float *a[CR_MR];
    float *out[CR_MR], *y[CR_MR];
    cr_tile t = {.a = a,
                 .piece = copy ? &whole : piece,
                 .pieces = copy ? 1 : pieces,
                 .b_stride = CR_NR,
                 .y = y,
                 .add = k > 0,
                 .epilogue = k + depth == ph->k ? e : NULL};
    cursor at = {.t = s->t0, .u = ph->u0};
    seek(s, &at);
    for (int64_t tile = 0; tile < tiles; tile++) {
      const int64_t height = cr_tile_start(rows, tiles, tile + 1) - cr_tile_start(rows, tiles, tile);
      for (int64_t i = 0; i < height; i++) {
        a[i] = at.window, out[i] = at.out;
        advance(s, &at);
      }
      if (copy) {
        for (int64_t i = 0; i < height; i++) {
          float *to = copy_to + i * (CR_KC + CR_W);
          for (int64_t n = 0, j = 0; n < pieces; j += piece[n++].length)
            memcpy(to + j, a[i] + piece[n].offset, (size_t)piece[n].length * 4);
          a[i] = to;
        }
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
  float *copy_to = (float *)cr_worker_scratch(v->ctx, worker), *padded = copy_to + CR_MR * (CR_KC + CR_W);
  const int64_t image = index / v->bands * v->images, images = cr_min(v->images, v->c->b - image);
  const int64_t t0 = v->t0 + index % v->bands * v->band, t1 = cr_min(t0 + v->band, v->t1);
  const int64_t floats = v->src_h * v->src_w * v->src_c, first = v->copy ? t0 * v->step_h + v->low : 0;
  if (v->copy)
    for (int64_t i = 0; i < images; i++)
      cr_pad_rows(v->src + (image + i) * floats, v->src_h, v->src_w, v->src_c, v->pad_h, v->pad_w, first,
                  (t1 - t0 - 1) * v->step_h + v->high - v->low, v->pitch, padded + (size_t)i * v->picture);
  for (int64_t n = 0; n < v->phases; n++) {
    const phase *ph = &v->phase[n];
    const stage s = {.v = v,
                     .ph = ph,
                     .base = v->copy ? padded : v->src + image * floats,
                     .base_step = v->copy ? (int64_t)v->picture : floats,
                     .dst = v->c->out + image * v->dst_h * v->dst_w * v->n,
                     .t0 = cr_max(t0, ph->t0),
                     .t1 = cr_min(t1, ph->t1),
                     .first = first};
    if (s.t0 >= s.t1 || ph->u0 >= ph->u1) continue;
    const int32_t status = run_phase(&s, images, copy_to);
    if (status != CREDENCE_OK) return cr_fail(err, status, "conv2d: cancelled");
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
    v.phase[n] = make_phase(c, &v, n);
    v.phase[n].weights = at;
    at += packed_floats(&v, v.phase[n].k);
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
    const cr_piece piece = {0, cr_min(CR_KC, c->f - k)};
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
  const cr_epilogue *e = &c->epilogue;
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
  if (e->bias != NULL)
    for (int64_t w = 0; w < c->w; w++)
      for (int64_t ch = 0; ch < c->c; ch++) x[w * c->c + ch] += e->bias[ch];
  act_row(e->act, e->p, x, c->w * c->c);
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

enum { FORWARD, GRAD_INPUT, GRAD_WEIGHT };

/* Whether the operation is one matrix product, and which. */
static bool as_product(const cr_conv *c, int what, cr_gemm *g) {
  const bool pointwise =
      c->r == 1 && c->s == 1 && c->sh == 1 && c->sw == 1 && c->top == 0 && c->left == 0 && c->p == c->h && c->q == c->w;
  const bool covers = c->p == 1 && c->q == 1 && c->top == 0 && c->left == 0 && c->r == c->h && c->s == c->w;
  if (!pointwise && !covers) return false;
  const int64_t rows = pointwise ? c->b * c->h * c->w : c->b, inner = pointwise ? c->c : c->r * c->s * c->c;
  *g = (cr_gemm){.epilogue = c->epilogue, .batch = {1, 1, 1}, .y = (char *)c->out};
  const cr_matrix weights = {(const char *)c->weights, c->f * 4, CREDENCE_F32, what == GRAD_INPUT};
  switch (what) {
    case FORWARD:
      g->m = rows, g->k = inner, g->n = c->f, g->a = (const char *)c->x, g->a_stride = inner * 4, g->b = weights;
      break;
    case GRAD_INPUT:
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
static size_t bias_bytes(const cr_conv *c, int what, const cr_gemm *g) {
  return what == GRAD_INPUT && c->epilogue.bias != NULL && g->n != c->c ? round64((size_t)g->n * 4) : 0;
}

static int32_t run_product(const cr_conv *c, int what, cr_gemm *g, const cr_ctx *ctx, credence_error *err) {
  cr_ctx inner = *ctx;
  cr_scratch need = {0, 0};
  const size_t bytes = bias_bytes(c, what, g);
  CR_NAME(cr_gemm_scratch)(g, ctx->threads, &need);
  need.shared = bytes; /* cr_gemm_run makes do with what shared scratch there is */
  const int32_t status = cr_conv_fits(&need, ctx, err);
  if (status != CREDENCE_OK) return status;
  if (bytes > 0) {
    float *bias = (float *)ctx->scratch;
    for (int64_t i = 0; i < g->n; i++) bias[i] = c->epilogue.bias[i % c->c];
    g->epilogue.bias = bias;
    inner.scratch += bytes;
    inner.scratch_shared -= bytes;
  }
  return CR_NAME(cr_gemm_run)(g, &inner, err);
}

/* ---- the operations ---- */

static const char *const names[] = {"conv2d", "conv2d_grad_input", "conv2d_grad_weight"};

static int32_t describe(const cr_call *call, int what, cr_conv *c, credence_error *err) {
  const cr_tensor *x = what == GRAD_INPUT ? &call->out[0] : &call->in[0];
  const cr_tensor *w = what == GRAD_WEIGHT ? &call->out[0] : &call->in[1];
  const cr_tensor *y = what == FORWARD ? &call->out[0] : &call->in[what == GRAD_INPUT ? 0 : 1];
  const cr_tensor *bias = call->n_in > 2 ? &call->in[2] : NULL;
  char sx[96], sw[96], sy[96];
  if (x->ndim != 4 || w->ndim != 4 || y->ndim != 4 || x->dim[0] != y->dim[0] || x->dim[3] != w->dim[2] ||
      y->dim[3] != w->dim[3] || w->dim[0] < 1 || w->dim[1] < 1)
    return cr_fail(
        err, CREDENCE_INVALID_ARGUMENT,
        "%s: x is %s, w is %s, y is %s; [B,H,W,C], [R,S,C,F] and [B,P,Q,F] with R and S at least 1 are needed",
        names[what], cr_shape(x, sx), cr_shape(w, sw), cr_shape(y, sy));
  *c = (cr_conv){.b = x->dim[0],
                 .h = x->dim[1],
                 .w = x->dim[2],
                 .c = x->dim[3],
                 .p = y->dim[1],
                 .q = y->dim[2],
                 .f = y->dim[3],
                 .r = w->dim[0],
                 .s = w->dim[1],
                 .sh = call->i[0],
                 .sw = call->i[1],
                 .top = call->i[2],
                 .left = call->i[3],
                 .x = what == GRAD_INPUT ? NULL : (const float *)x->data,
                 .weights = what == GRAD_WEIGHT ? NULL : (const float *)w->data,
                 .y = what == FORWARD ? NULL : (const float *)y->data,
                 .out = (float *)call->out[0].data,
                 .epilogue = {1, (float)call->f[0], call->i[4], bias != NULL ? (const float *)bias->data : NULL}};
  const int64_t most = 1 << 20;
  if (c->sh < 1 || c->sw < 1 || c->sh > most || c->sw > most || c->sh * c->sw > most || c->top < 0 || c->left < 0 ||
      c->top > most || c->left > most || (c->p - 1) * c->sh + c->r - c->top - c->h > most ||
      (c->q - 1) * c->sw + c->s - c->left - c->w > most)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT,
                   "%s: strides %lld %lld and padding %lld %lld do not place w (%s) on x (%s) for y (%s)", names[what],
                   (long long)c->sh, (long long)c->sw, (long long)c->top, (long long)c->left, cr_shape(w, sw),
                   cr_shape(x, sx), cr_shape(y, sy));
  const int64_t channels = what == GRAD_INPUT ? c->c : c->f;
  if (bias != NULL && (bias->ndim != 1 || bias->dim[0] != channels))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: bias is %s, %lld values are needed", names[what],
                   cr_shape(bias, sx), (long long)channels);
  return CREDENCE_OK;
}

static int32_t check(const cr_call *call, int what, int32_t threads, cr_scratch *scratch, credence_error *err) {
  int32_t status = cr_expect(call, names[what], 2, what == GRAD_WEIGHT ? 2 : 3, 1, 0, 5, 1, err);
  for (uint32_t k = 0; status == CREDENCE_OK && k <= call->n_in; k++) {
    const cr_tensor *t = k < call->n_in ? &call->in[k] : &call->out[0];
    const char *tensor = k == call->n_in ? "the output" : k == 0 ? "input 0" : k == 1 ? "input 1" : "the bias";
    status = cr_expect_dtype(t, CREDENCE_F32, names[what], tensor, err);
    if (status == CREDENCE_OK) status = cr_expect_dense(t, names[what], tensor, err);
  }
  cr_conv c;
  cr_gemm g;
  if (status == CREDENCE_OK) status = describe(call, what, &c, err);
  if (status != CREDENCE_OK) return status;
  if (!act_valid(call->i[4], call->f[0]) || (what == GRAD_WEIGHT && call->i[4] != CREDENCE_ACT_NONE))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: no activation %lld with parameter %g", names[what],
                   (long long)call->i[4], call->f[0]);
  if (as_product(&c, what, &g)) {
    CR_NAME(cr_gemm_scratch)(&g, threads, scratch);
    scratch->shared += what == GRAD_INPUT && call->n_in > 2 ? round64((size_t)g.n * 4) : 0;
  } else if (what == GRAD_WEIGHT) {
    CR_NAME(cr_conv_weight_scratch)(&c, threads, scratch);
  } else if (what == GRAD_INPUT && few_channels(&c)) {
    lay_out_gather(&c, threads, scratch);
  } else {
    lay_out(&c, what == GRAD_INPUT, threads, scratch);
  }
  return CREDENCE_OK;
}

static int32_t run(const cr_call *call, int what, const cr_ctx *ctx, credence_error *err) {
  cr_conv c;
  cr_gemm g;
  const int32_t status = describe(call, what, &c, err);
  if (status != CREDENCE_OK) return status;
  if (as_product(&c, what, &g)) return run_product(&c, what, &g, ctx, err);
  if (what == GRAD_WEIGHT) return CR_NAME(cr_conv_weight_run)(&c, ctx, err);
  if (what == GRAD_INPUT && few_channels(&c)) return run_gather(&c, ctx, err);
  return run_windows(&c, what == GRAD_INPUT, ctx, err);
}

#define OP(name, what)                                                                                          \
  static int32_t check_##name(const cr_call *call, int32_t threads, cr_scratch *scratch, credence_error *err) { \
    return check(call, what, threads, scratch, err);                                                            \
  }                                                                                                             \
  static int32_t run_##name(const cr_call *call, const cr_ctx *ctx, credence_error *err) {                      \
    return run(call, what, ctx, err);                                                                           \
  }
OP(forward, FORWARD)
OP(grad_input, GRAD_INPUT)
OP(grad_weight, GRAD_WEIGHT)

CR_FAMILY(conv, {CREDENCE_OP_CONV2D, check_forward, run_forward},
          {CREDENCE_OP_CONV2D_GRAD_INPUT, check_grad_input, run_grad_input},
          {CREDENCE_OP_CONV2D_GRAD_WEIGHT, check_grad_weight, run_grad_weight})

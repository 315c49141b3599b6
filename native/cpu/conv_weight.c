/* The weight gradient of a convolution, dw[r,s,c,f] = sum over pixels of x's window times dy: a product whose left side
 * is read by columns. For each pixel the S C floats of a row of its window are adjacent, and so are its F values of dy,
 * so the kernel of gemm.h needs one pointer per pixel; nothing is unfolded.
 *
 * Outputs are few and pixels many, so pixels are what is shared out: in chunks, whose number follows the shapes only.
 * A chunk's blocks of CR_KC pixels are summed in order, then the chunks in order. */
#include "conv.h"

enum { UNIT_PIXELS = 2048, CHUNKS = 32 };
#define PART_FLOATS (8 << 20) /* of all chunks together */

typedef struct layout {
  const cr_conv *c;
  const cr_ctx *ctx;
  int64_t outputs;                    /* floats of dw */
  int64_t images, band, bands, units; /* a unit: several whole pictures, or a band of rows of one */
  int64_t chunks, row_groups, panels, panel_groups;
  int64_t pitch;  /* pixels in a row of a padded picture */
  size_t picture; /* floats of a padded band */
  bool copy;
  float *parts; /* sums of chunks 1 .. */
} layout;

static layout lay_out(const cr_conv *c, int64_t threads, cr_scratch *scratch) {
  layout v = {.c = c, .outputs = c->r * c->s * c->c * c->f, .panels = cr_max(1, cr_ceil_div(c->f, CR_NR))};
  const int64_t width = cr_max(1, (c->q - 1) * c->sw + c->s), pixels = cr_max(1, c->p * c->q);
  v.copy = c->top > 0 || c->left > 0 || (c->p - 1) * c->sh + c->r > c->h || width > c->w;
  v.pitch = v.copy ? width : c->w;
  v.band = cr_max(1, pixels > UNIT_PIXELS ? UNIT_PIXELS / c->q : c->p);
  for (;;) {
    v.picture = v.copy ? (size_t)(((v.band - 1) * c->sh + c->r) * v.pitch * c->c) : 0;
    if (v.band == 1 || v.picture * 4 <= CR_CONV_BAND) break;
    v.band = (v.band + 1) / 2;
  }
  v.bands = cr_max(1, cr_ceil_div(c->p, v.band));
  v.images = 1;
  if (v.bands == 1) { /* whole blocks of pixels, as many as stay in cache */
    const int64_t block = cr_ceil_div(CR_KC, pixels);
    int64_t blocks = cr_max(1, UNIT_PIXELS / (pixels * block));
    if (v.picture > 0) blocks = cr_max(1, cr_min(blocks, CR_CONV_BAND / 2 / ((int64_t)(v.picture * 4) * block)));
    v.images = cr_min(block * blocks, cr_max(1, c->b));
  }
  v.units = cr_ceil_div(c->b, v.images) * v.bands;
  v.chunks = cr_max(1, cr_min(cr_min(v.units, CHUNKS), PART_FLOATS / cr_max(1, v.outputs)));
  const int64_t want = cr_ceil_div(4 * threads, v.chunks);
  v.row_groups = cr_min(c->r, want);
  v.panel_groups = cr_min(v.panels, cr_ceil_div(want, v.row_groups));
  scratch->shared = (size_t)((v.chunks - 1) * v.outputs) * 4;
  scratch->per_thread = ((size_t)v.images * v.picture + CR_KC * CR_NR) * 4;
  return v;
}

/* The window rows of pixels first .. of a unit, and where a pixel's dy lies follows from its number alone. */
static void point(const layout *v, const float *base, int64_t picture, int64_t rows, int64_t first, int64_t n,
                  const float **at) {
  const cr_conv *c = v->c;
  int64_t q = first % c->q, p = first / c->q % rows, image = first / c->q / rows;
  for (int64_t i = 0; i < n; i++) {
    at[i] = base + image * picture + (p * c->sh * v->pitch + q * c->sw) * c->c;
    if (++q < c->q) continue;
    q = 0;
    if (++p < rows) continue;
    p = 0;
    image++;
  }
}

/* One block of pixels times the rows [r0, r1) of the kernel and the panels [p0, p1). */
static void block(const layout *v, const float *const *at, int64_t depth, const float *dy, int64_t r0, int64_t r1,
                  int64_t p0, int64_t p1, bool add, float *panel, float *dw) {
  const cr_conv *c = v->c;
  const int64_t line = c->s * c->c, tiles = cr_tile_count(line);
  for (int64_t p = p0; p < p1; p++) {
    const int64_t col = p * CR_NR, cols = cr_min(CR_NR, c->f - col);
    float *y[CR_MR];
    cr_tile t = {.a = at, .depth = depth, .b = dy + col, .b_stride = c->f, .y = y, .cols = cols, .add = add};
    if (cols < CR_NR || (c->f != CR_NR && (r1 - r0) * tiles > 2)) {
      const cr_matrix b = {(const char *)dy, c->f * 4, CREDENCE_F32, false};
      CR_NAME(cr_pack_panel)(&b, 0, depth, col, cols, panel);
      t.b = panel, t.b_stride = CR_NR;
    }
    for (int64_t r = r0; r < r1; r++)
      for (int64_t tile = 0; tile < tiles; tile++) {
        const int64_t m = cr_tile_start(line, tiles, tile), height = cr_tile_start(line, tiles, tile + 1) - m;
        t.column = r * v->pitch * c->c + m;
        for (int64_t i = 0; i < height; i++) y[i] = dw + (r * line + m + i) * c->f + col;
        CR_NAME(cr_tile_columns)(&t, height);
      }
  }
}

static int32_t chunk_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  const layout *v = arg;
  const cr_conv *c = v->c;
  float *panel = (float *)cr_worker_scratch(v->ctx, worker), *padded = panel + CR_KC * CR_NR;
  const int64_t panels = index % v->panel_groups, rows = index / v->panel_groups % v->row_groups;
  const int64_t chunk = index / v->panel_groups / v->row_groups;
  const int64_t r0 = cr_tile_start(c->r, v->row_groups, rows), r1 = cr_tile_start(c->r, v->row_groups, rows + 1);
  const int64_t p0 = cr_tile_start(v->panels, v->panel_groups, panels);
  const int64_t p1 = cr_tile_start(v->panels, v->panel_groups, panels + 1);
  float *dw = chunk == 0 ? c->out : v->parts + (chunk - 1) * v->outputs;
  const int64_t floats = c->h * c->w * c->c, end = cr_tile_start(v->units, v->chunks, chunk + 1);
  bool add = false;
  for (int64_t unit = cr_tile_start(v->units, v->chunks, chunk); unit < end; unit++) {
    const int64_t image = unit / v->bands * v->images, images = cr_min(v->images, c->b - image);
    const int64_t row = unit % v->bands * v->band, height = cr_min(v->band, c->p - row);
    const float *base = c->x + image * floats + row * c->sh * c->w * c->c;
    int64_t picture = floats;
    if (v->copy) {
      picture = (int64_t)v->picture;
      base = padded;
      for (int64_t i = 0; i < images; i++)
        cr_pad_rows(c->x + (image + i) * floats, c->h, c->w, c->c, c->top, c->left, row * c->sh,
                    (height - 1) * c->sh + c->r, v->pitch, padded + i * picture);
    }
    const int64_t pixels = images * height * c->q;
    const float *dy = c->y + (image * c->p + row) * c->q * c->f;
    for (int64_t k = 0; k < pixels; k += CR_KC, add = true) {
      const float *at[CR_KC];
      const int64_t depth = cr_min(CR_KC, pixels - k);
      point(v, base, picture, height, k, depth, at);
      block(v, at, depth, dy + k * c->f, r0, r1, p0, p1, add, panel, dw);
    }
    if (cr_cancelled(v->ctx)) return cr_fail(err, CREDENCE_CANCELLED, "conv2d_grad_weight: cancelled");
  }
  return CREDENCE_OK;
}

enum { COMBINE = 8192 };

static int32_t combine_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const layout *v = arg;
  const int64_t at = index * COMBINE, n = cr_min(COMBINE, v->outputs - at);
  for (int64_t chunk = 1; chunk < v->chunks; chunk++)
    CR_NAME(cr_combine_row)(v->c->out + at, v->parts + (chunk - 1) * v->outputs + at, n, NULL, 0);
  return CREDENCE_OK;
}

void CR_NAME(cr_conv_weight_scratch)(const cr_conv *c, int32_t threads, cr_scratch *scratch) {
  lay_out(c, threads, scratch);
}

int32_t CR_NAME(cr_conv_weight_run)(const cr_conv *c, const cr_ctx *ctx, credence_error *err) {
  cr_scratch need;
  layout v = lay_out(c, ctx->threads, &need);
  int32_t status = cr_conv_fits(&need, ctx, err);
  if (status != CREDENCE_OK || v.outputs == 0) return status;
  if (c->b * c->p * c->q == 0) {
    memset(c->out, 0, (size_t)v.outputs * 4);
    return CREDENCE_OK;
  }
  v.ctx = ctx;
  v.parts = (float *)ctx->scratch;
  status = cr_parallel(ctx, v.chunks * v.row_groups * v.panel_groups, chunk_task, &v, err);
  if (status == CREDENCE_OK && v.chunks > 1)
    status = cr_parallel(ctx, cr_ceil_div(v.outputs, COMBINE), combine_task, &v, err);
  return status;
}

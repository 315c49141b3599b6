/* resize.c: bilinear resizing of images [B,H,W,C] and its transpose. A coordinate of the result is made of one or two
 * coordinates of the source; the taps of both axes are computed once per run. Where a pixel fills a vector, vectors run
 * over its channels; else a whole row is worked on vertically first, and then element by element across. */
#include "cr.h"
#include "isa.h"
#include "vec.h"

enum { TASK_ELEMENTS = 16384 };

static int64_t blocks_of(int64_t n, int64_t size) { return (n + size - 1) / size; }
static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* near * source[at] + far * source[at + 1]; far is 0 where the second is not to be read. */
typedef struct tap {
  int32_t at;
  float near, far;
} tap;

/* Output p of n samples ((2p + 1) size - n) / 2n, clamped to 0 .. size - 1: in integers, so that the whole part and a
 * rest of zero are exact. */
static void make_taps(tap *taps, int64_t size, int64_t n) {
  for (int64_t p = 0; p < n; p++) {
    const int64_t unit = 2 * n, most = (size - 1) * unit;
    int64_t at = (2 * p + 1) * size - n;
    at = at < 0 ? 0 : at > most ? most : at;
    const int64_t rest = at % unit;
    taps[p] = (tap){(int32_t)(at / unit), (float)((double)(unit - rest) / (double)unit),
                    (float)((double)rest / (double)unit)};
  }
}

/* Source [images,h,w,c] and result [images,p,q,c] of the resizing; the gradient goes from the result to the source. */
typedef struct resize_job {
  const cr_ctx *ctx;
  const float *from;
  float *to;
  const tap *rows, *cols; /* of result rows and columns */
  const int32_t *first;   /* gradient: the first result row that source row h may have a part in */
  int64_t images, h, w, c, p, q, rows_per_task;
} resize_job;

/* to = a from, or to += a from */
static inline void scale_row(float *to, const float *from, int64_t n, float a) {
  for (int64_t k = 0; k < n; k++) to[k] = a * from[k];
}

static inline void add_row(float *to, const float *from, int64_t n, float a) {
  const vf w = vf_set(a);
  int64_t k = 0;
  for (; k + CR_W <= n; k += CR_W) vf_store(to + k, vf_fma(w, vf_load(from + k), vf_load(to + k)));
  for (; k < n; k++) to[k] += a * from[k];
}

/* ---- forward ---- */

static inline vf mix(tap t, vf near, vf far) { return vf_fma(vf_set(t.far), far, vf_set(t.near) * near); }

/* One pixel; below is the distance to the next source row, 0 if that is not to be read. */
static inline void resize_pixel(float *y, const float *x, int64_t c, tap row, tap col, int64_t below) {
  for (int64_t k = 0; k < c; k += CR_W) {
    const float *at = x + k;
    const int64_t n = c - k;
    const bool whole = n >= CR_W;
#define LOAD(p) (whole ? vf_load(p) : vf_load_n(p, n))
    vf v = LOAD(at);
    if (col.far != 0) v = mix(col, v, LOAD(at + c));
    if (below != 0) {
      vf u = LOAD(at + below);
      if (col.far != 0) u = mix(col, u, LOAD(at + below + c));
      v = mix(row, v, u);
    }
#undef LOAD
    if (whole)
      vf_store(y + k, v);
    else
      vf_store_n(y + k, v, n);
  }
}

/* A row of pixels of few channels, from the source row that has been made for it. */
static inline void resize_few(float *restrict y, const float *restrict x, const tap *cols, int64_t q, int64_t c) {
  for (; q > 0; q--, cols++, y += c) {
    const float *near = x + cols->at * c, *far = cols->far != 0 ? near + c : near;
    for (int64_t k = 0; k < c; k++) y[k] = cols->far != 0 ? cols->near * near[k] + cols->far * far[k] : near[k];
  }
}

/* With a constant number of channels the inner loop unrolls. */
#define EACH_FEW(call) \
  switch (c) {         \
    case 1:            \
      call(1);         \
      break;           \
    case 2:            \
      call(2);         \
      break;           \
    case 3:            \
      call(3);         \
      break;           \
    case 4:            \
      call(4);         \
      break;           \
    default:           \
      call(c);         \
  }

static void resize_across(float *y, const float *x, const tap *cols, int64_t q, int64_t c) {
#define CALL(n) resize_few(y, x, cols, q, n)
  EACH_FEW(CALL)
#undef CALL
}

static int32_t resize_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)err;
  const resize_job j = *(const resize_job *)arg;
  float *made = (float *)(void *)cr_worker_scratch(j.ctx, worker);
  const int64_t to = smaller((index + 1) * j.rows_per_task, j.images * j.p), width = j.w * j.c;
  for (int64_t r = index * j.rows_per_task; r < to; r++) {
    const tap row = j.rows[r % j.p];
    const float *x = j.from + (r / j.p * j.h + row.at) * width;
    float *y = j.to + r * j.q * j.c;
    if (j.c >= CR_W) {
      const int64_t below = row.far != 0 ? width : 0;
      for (int64_t q = 0; q < j.q; q++) resize_pixel(y + q * j.c, x + j.cols[q].at * j.c, j.c, row, j.cols[q], below);
      continue;
    }
    if (row.far != 0) {
      scale_row(made, x, width, row.near);
      add_row(made, x + width, width, row.far);
      x = made;
    }
    resize_across(y, x, j.cols, j.q, j.c);
  }
  return CREDENCE_OK;
}

/* ---- gradient ---- */

/* Adds a row of dy, already weighted, to the pixels of dx that it was made of. */
static inline void add_few(float *restrict dx, const float *restrict dy, const tap *cols, int64_t q, int64_t c) {
  for (; q > 0; q--, cols++, dy += c) {
    float *near = dx + cols->at * c, *far = near + c;
    for (int64_t k = 0; k < c; k++) near[k] += cols->near * dy[k];
    if (cols->far != 0)
      for (int64_t k = 0; k < c; k++) far[k] += cols->far * dy[k];
  }
}

static void add_across(float *dx, const float *dy, const tap *cols, int64_t q, int64_t c) {
  if (c < CR_W) {
#define CALL(n) add_few(dx, dy, cols, q, n)
    EACH_FEW(CALL)
#undef CALL
    return;
  }
  for (; q > 0; q--, cols++, dy += c) {
    float *near = dx + cols->at * c;
    add_row(near, dy, c, cols->near);
    if (cols->far != 0) add_row(near + c, dy, c, cols->far);
  }
}

/* A task owns rows of dx. What result rows give to one of them is added up first, ascending. */
static int32_t gradient_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)err;
  const resize_job j = *(const resize_job *)arg;
  float *sum = (float *)(void *)cr_worker_scratch(j.ctx, worker);
  const int64_t to = smaller((index + 1) * j.rows_per_task, j.images * j.h), width = j.q * j.c;
  for (int64_t r = index * j.rows_per_task; r < to; r++) {
    const int64_t h = r % j.h;
    float *dx = j.to + r * j.w * j.c;
    memset(dx, 0, (size_t)(j.w * j.c) * sizeof *dx);
    bool some = false;
    for (int64_t p = j.first[h]; p < j.p && j.rows[p].at <= h; p++) {
      const float weight = j.rows[p].at == h ? j.rows[p].near : j.rows[p].far;
      if (weight == 0) continue;
      const float *dy = j.from + (r / j.h * j.p + p) * width;
      if (some)
        add_row(sum, dy, width, weight);
      else
        scale_row(sum, dy, width, weight);
      some = true;
    }
    if (some) add_across(dx, sum, j.cols, j.q, j.c);
  }
  return CREDENCE_OK;
}

/* ---- both ---- */

/* source [B,H,W,C], result [B,P,Q,C] */
static void scratch_of(const cr_call *call, const cr_tensor *source, const cr_tensor *result, cr_scratch *scratch) {
  const int64_t *s = source->dim, *r = result->dim;
  scratch->shared = (size_t)(r[1] + r[2]) * sizeof(tap) + (size_t)s[1] * sizeof(int32_t);
  scratch->per_thread = (size_t)((source == call->in ? s[2] : r[2]) * s[3]) * sizeof(float);
}

static void scratch_resize(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  scratch_of(call, call->in, call->out, scratch);
}

static void scratch_resize_grad(const cr_call *call, int32_t threads, cr_scratch *scratch) {
  (void)threads;
  scratch_of(call, call->out, call->in, scratch);
}

static int32_t run_images(const cr_call *call, const cr_ctx *ctx, const cr_tensor *source, const cr_tensor *result,
                          bool gradient, credence_error *err) {
  const int64_t *s = source->dim, *r = result->dim;
  const int64_t rows = gradient ? s[1] : r[1], row_elements = (gradient ? s[2] : r[2]) * s[3];
  if (s[0] * rows * row_elements == 0) return CREDENCE_OK;
  tap *taps = (tap *)(void *)ctx->scratch;
  int32_t *first = (int32_t *)(void *)(taps + r[1] + r[2]);
  make_taps(taps, s[1], r[1]);
  make_taps(taps + r[1], s[2], r[2]);
  for (int64_t h = 0, p = 0; h < s[1]; h++) {
    while (p < r[1] && taps[p].at < h - 1) p++;
    first[h] = (int32_t)p;
  }
  resize_job job = {.ctx = ctx,
                    .from = (const float *)(const void *)call->in[0].data,
                    .to = (float *)(void *)call->out[0].data,
                    .rows = taps,
                    .cols = taps + r[1],
                    .first = first,
                    .images = s[0],
                    .h = s[1],
                    .w = s[2],
                    .c = s[3],
                    .p = r[1],
                    .q = r[2],
                    .rows_per_task = blocks_of(TASK_ELEMENTS, row_elements)};
  return cr_spread(ctx, cr_count(result), blocks_of(s[0] * rows, job.rows_per_task),
                   gradient ? gradient_task : resize_task, &job, err);
}

static int32_t run_resize(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_images(call, ctx, call->in, call->out, false, err);
}

static int32_t run_resize_grad(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  return run_images(call, ctx, call->out, call->in, true, err);
}

CR_FAMILY(resize, {CREDENCE_OP_RESIZE_BILINEAR, .scratch = scratch_resize, .run = run_resize},
          {CREDENCE_OP_RESIZE_BILINEAR_GRAD, .scratch = scratch_resize_grad, .run = run_resize_grad})

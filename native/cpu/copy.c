/* copy.c: fill and copy: between any strides and types. */
#include "isa.h"
#include "narrow.h"
#include "strided.h"
#include "transpose.h"

#define TASK 65536 /* elements of a task, about */
#define BLOCK 256  /* elements converted at a time */
#define STREAM                                                                                           \
  (16 << 20) /* bytes: results this large bypass the caches; measured 1.5 to 1.8 times as fast at 128 MB \
              */
/* Transposed copies go in narrow tiles: as many rows of the source as the processor follows, far along each. */
#define TILE_COLUMNS 16
#define TILE_ROWS 256
#define TILE_ROWS_STREAM 1024

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* ---- values ---- */

/* Nearest even, saturating; NaN is 0. */
static double clamped(double v, double lo, double hi) {
  double r = v == v ? v : 0;
  r = r < lo ? lo : r;
  return rint(r > hi ? hi : r);
}

static int64_t to_int64(double v) {
  double r = clamped(v, -0x1p63, 0x1p63);
  return r == 0x1p63 ? INT64_MAX : (int64_t)r;
}

/* n <= BLOCK elements, step bytes apart, as doubles. */
#define WIDEN(TYPE)                                                        \
  if (step == (int64_t)sizeof(TYPE)) {                                     \
    for (int64_t k = 0; k < n; k++) to[k] = (double)((const TYPE *)at)[k]; \
    return;                                                                \
  }                                                                        \
  for (int64_t k = 0; k < n; k++, at += step) to[k] = (double)*(const TYPE *)at;
static void widen(int32_t dtype, const char *at, int64_t step, double *to, int64_t n) {
  switch (dtype) {
    case CREDENCE_F32:
      WIDEN(float)
      return;
    case CREDENCE_F64:
      WIDEN(double)
      return;
    case CREDENCE_I32:
      WIDEN(int32_t)
      return;
    case CREDENCE_I64:
      WIDEN(int64_t)
      return;
    case CREDENCE_U8:
      WIDEN(uint8_t)
      return;
    default: { /* F16, BF16 */
      uint16_t raw[BLOCK];
      float single[BLOCK];
      for (int64_t k = 0; k < n; k++, at += step) memcpy(raw + k, at, 2);
      cr_widen_row(dtype == CREDENCE_F16 ? CREDENCE_F16 : CREDENCE_BF16, (const char *)raw, single, n);
      for (int64_t k = 0; k < n; k++) to[k] = single[k];
    }
  }
}

/* n <= BLOCK doubles to elements that lie step bytes apart. Floating types narrower than double are rounded to float
 * first. */
#define NARROW(TYPE, VALUE)                                          \
  if (step == (int64_t)sizeof(TYPE)) {                               \
    for (int64_t k = 0; k < n; k++) ((TYPE *)at)[k] = (TYPE)(VALUE); \
    return;                                                          \
  }                                                                  \
  for (int64_t k = 0; k < n; k++, at += step) *(TYPE *)at = (TYPE)(VALUE);
static void narrow(int32_t dtype, const double *from, char *at, int64_t step, int64_t n) {
  switch (dtype) {
    case CREDENCE_F32:
      NARROW(float, from[k])
      return;
    case CREDENCE_F64:
      NARROW(double, from[k])
      return;
    case CREDENCE_I32:
      NARROW(int32_t, clamped(from[k], INT32_MIN, INT32_MAX))
      return;
    case CREDENCE_I64:
      NARROW(int64_t, to_int64(from[k]))
      return;
    case CREDENCE_U8:
      NARROW(uint8_t, clamped(from[k], 0, 255))
      return;
    default: { /* F16, BF16 */
      uint16_t raw[BLOCK];
      float single[BLOCK];
      for (int64_t k = 0; k < n; k++) single[k] = (float)from[k];
      cr_narrow_row(dtype, single, (char *)raw, n);
      for (int64_t k = 0; k < n; k++, at += step) memcpy(at, raw + k, 2);
    }
  }
}

/* ---- the description of the work ---- */

typedef struct work {
  char *to;
  const char *from;
  int32_t to_type, from_type;
  int64_t size; /* of an element, where nothing is converted */
  int64_t total, chunk;
  bool stream;
  int64_t tile_rows;
  cr_nest nest;   /* tensor 0 is written, tensor 1 read */
  int32_t turned; /* transposed copy: the axis along which the source is contiguous */
  char pattern[8];
} work;

/* The tensors with their axes in the order in which the result lies in memory: what is written should be adjacent. */
static void order_axes(const cr_tensor *y, const cr_tensor *x, cr_tensor *y_sorted, cr_tensor *x_sorted) {
  *y_sorted = *y;
  *x_sorted = *x;
  for (int32_t k = 1; k < y->ndim; k++)
    for (int32_t j = k; j > 0 && y_sorted->stride[j] > y_sorted->stride[j - 1]; j--) {
      cr_tensor *both[2] = {y_sorted, x_sorted};
      for (int32_t t = 0; t < 2; t++) {
        int64_t d = both[t]->dim[j], s = both[t]->stride[j];
        both[t]->dim[j] = both[t]->dim[j - 1], both[t]->stride[j] = both[t]->stride[j - 1];
        both[t]->dim[j - 1] = d, both[t]->stride[j - 1] = s;
      }
    }
}

/* Calls rows for tasks of about TASK elements. */
static int32_t in_chunks(work *w, const cr_ctx *ctx, cr_task_fn task, credence_error *err) {
  if (w->total < CR_SERIAL_ELEMENTS) {
    w->chunk = w->total;
    return task(w, 0, 0, err);
  }
  w->chunk = w->nest.dim[0] < TASK ? TASK / w->nest.dim[0] * w->nest.dim[0] : TASK;
  return cr_parallel(ctx, ceil_div(w->total, w->chunk), task, w, err);
}

/* ---- copies of one type ---- */

/* n elements of a row; steps in bytes. */
#define MOVE(TYPE) \
  for (int64_t k = 0; k < n; k++, to += to_step, from += from_step) memcpy(to, from, sizeof(TYPE));
static void move_row(char *to, int64_t to_step, const char *from, int64_t from_step, int64_t size, int64_t n) {
  if (to_step == size && from_step == size) {
    memcpy(to, from, (size_t)(n * size));
    return;
  }
  switch (size) {
    case 1:
      MOVE(uint8_t)
      return;
    case 2:
      MOVE(uint16_t)
      return;
    case 4:
      MOVE(uint32_t)
      return;
    default:
      MOVE(uint64_t)
  }
}

/* Bytes up to an address that can be streamed to, at most n. */
static int64_t head_of(const char *to, int64_t n) { return least((int64_t)(-(uintptr_t)to % (4 * CR_W)), n); }

static void stream_row(char *to, const char *from, int64_t bytes) {
  int64_t k = head_of(to, bytes);
  memcpy(to, from, (size_t)k);
  for (vf v; k + 4 * CR_W <= bytes; k += 4 * CR_W) {
    memcpy(&v, from + k, sizeof v);
    vf_stream((float *)(to + k), v);
  }
  memcpy(to + k, from + k, (size_t)(bytes - k));
}

static int32_t move_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const work *w = arg;
  const cr_nest *nest = &w->nest;
  const int64_t to_step = nest->step[0][0], from_step = nest->step[1][0];
  const bool stream = w->stream && to_step == w->size && from_step == w->size;
  int64_t start = index * w->chunk, end = least(start + w->chunk, w->total);
  cr_nest_at at;
  cr_nest_seek(nest, 2, start, &at);
  while (start < end) {
    int64_t n = least(nest->dim[0] - at.index[0], end - start);
    if (stream)
      stream_row(w->to + at.offset[0], w->from + at.offset[1], n * w->size);
    else
      move_row(w->to + at.offset[0], to_step, w->from + at.offset[1], from_step, w->size, n);
    start += n;
    cr_nest_advance(nest, 2, n, &at);
  }
  if (stream) vf_stream_end();
  return CREDENCE_OK;
}

/* One tile of a transposed copy: rows x columns elements, contiguous along columns in the result and along rows in the
 * source. */
static void turn_tile(const work *w, char *to, const char *from, int64_t rows, int64_t columns) {
  const int64_t to_step = w->nest.step[0][w->turned], from_step = w->nest.step[1][0];
  const bool stream = w->stream && ((uintptr_t)to | (uintptr_t)to_step) % (4 * CR_W) == 0;
  int64_t r = 0;
  for (; w->size == 4 && r + CR_W <= rows; r += CR_W) {
    int64_t c = 0;
    for (; c + CR_W <= columns; c += CR_W) { /* all of a cache line of the result */
      vf v[CR_W];
      for (int32_t k = 0; k < CR_W; k++) v[k] = vf_load((const float *)(from + (c + k) * from_step + 4 * r));
      cr_turn(v);
      char *y = to + r * to_step + 4 * c;
      for (int32_t k = 0; k < CR_W; k++, y += to_step) {
        if (stream)
          vf_stream((float *)y, v[k]);
        else
          vf_store((float *)y, v[k]);
      }
    }
    for (int32_t k = 0; k < CR_W; k++)
      move_row(to + (r + k) * to_step + 4 * c, 4, from + c * from_step + 4 * (r + k), from_step, 4, columns - c);
  }
  for (; r < rows; r++) move_row(to + r * to_step, w->size, from + r * w->size, from_step, w->size, columns);
  if (stream) vf_stream_end();
}

static int32_t turn_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const work *w = arg;
  const cr_nest *nest = &w->nest;
  const int64_t columns = nest->dim[0], rows = nest->dim[w->turned];
  int64_t c = index % ceil_div(columns, TILE_COLUMNS) * TILE_COLUMNS;
  index /= ceil_div(columns, TILE_COLUMNS);
  int64_t r = index % ceil_div(rows, w->tile_rows) * w->tile_rows;
  index /= ceil_div(rows, w->tile_rows);
  char *to = w->to + c * nest->step[0][0] + r * nest->step[0][w->turned];
  const char *from = w->from + c * nest->step[1][0] + r * nest->step[1][w->turned];
  for (int32_t k = 1; k < nest->axes; k++) {
    if (k == w->turned) continue;
    int64_t i = index % nest->dim[k];
    index /= nest->dim[k];
    to += i * nest->step[0][k];
    from += i * nest->step[1][k];
  }
  turn_tile(w, to, from, least(rows - r, w->tile_rows), least(columns - c, TILE_COLUMNS));
  return CREDENCE_OK;
}

static int32_t move(work *w, const cr_ctx *ctx, credence_error *err) {
  const cr_nest *nest = &w->nest;
  w->size = (int64_t)cr_dtype_size(w->to_type);
  w->stream = w->total * w->size >= STREAM;
  w->tile_rows = w->stream ? TILE_ROWS_STREAM : TILE_ROWS;
  if (nest->step[0][0] == w->size && nest->step[1][0] != w->size && nest->step[1][0] != 0)
    for (int32_t k = 1; k < nest->axes; k++)
      if (nest->step[1][k] == w->size && nest->dim[k] > 1) w->turned = k;
  if (w->turned == 0) return in_chunks(w, ctx, move_task, err);
  int64_t tiles = ceil_div(nest->dim[0], TILE_COLUMNS) * ceil_div(nest->dim[w->turned], w->tile_rows);
  for (int32_t k = 1; k < nest->axes; k++)
    if (k != w->turned) tiles *= nest->dim[k];
  if (w->total >= CR_SERIAL_ELEMENTS) return cr_parallel(ctx, tiles, turn_task, w, err);
  for (int64_t i = 0; i < tiles; i++) turn_task(w, i, 0, err);
  return CREDENCE_OK;
}

/* ---- conversions ---- */

static bool is_block(int32_t dtype) { return dtype == CREDENCE_Q8_0 || dtype == CREDENCE_Q4_0; }

/* Types that float32 holds exactly and that rows of it are made from, and made into. */
static bool widens(int32_t t) { return t == CREDENCE_F32 || t == CREDENCE_F16 || t == CREDENCE_BF16 || is_block(t); }
static bool narrows(int32_t t) { return t == CREDENCE_F32 || t == CREDENCE_F16 || t == CREDENCE_BF16; }

static void convert_row(const work *w, char *to, int64_t to_step, const char *from, int64_t from_step, int64_t n) {
  const bool by_rows = is_block(w->from_type) || (widens(w->from_type) && from_step == w->size);
  float single[BLOCK];
  double wide[BLOCK];
  for (int64_t k = 0; k < n; k += BLOCK) {
    int64_t m = least(n - k, BLOCK);
    const char *source = by_rows ? from + cr_row_bytes(w->from_type, k) : from + k * from_step;
    if (by_rows && narrows(w->to_type) && to_step == (int64_t)cr_dtype_size(w->to_type)) {
      char *target = to + k * to_step;
      if (w->to_type == CREDENCE_F32) {
        cr_widen_row(w->from_type, source, (float *)target, m);
      } else if (w->from_type == CREDENCE_F32) {
        cr_narrow_row(w->to_type, (const float *)source, target, m);
      } else {
        cr_widen_row(w->from_type, source, single, m);
        cr_narrow_row(w->to_type, single, target, m);
      }
      continue;
    }
    if (is_block(w->from_type)) {
      cr_widen_row(w->from_type, source, single, m);
      widen(CREDENCE_F32, (const char *)single, 4, wide, m);
    } else {
      widen(w->from_type, source, from_step, wide, m);
    }
    narrow(w->to_type, wide, to + k * to_step, to_step, m);
  }
}

static int32_t convert_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const work *w = arg;
  const cr_nest *nest = &w->nest;
  int64_t start = index * w->chunk, end = least(start + w->chunk, w->total);
  cr_nest_at at;
  cr_nest_seek(nest, 2, start, &at);
  while (start < end) {
    int64_t n = least(nest->dim[0] - at.index[0], end - start);
    convert_row(w, w->to + at.offset[0], nest->step[0][0], w->from + at.offset[1], nest->step[1][0], n);
    start += n;
    cr_nest_advance(nest, 2, n, &at);
  }
  return CREDENCE_OK;
}

/* Rows of blocks: one index per row of the outer axes, which are the nest. */
typedef struct block_rows {
  work w;
  int64_t n, to_step, share;
} block_rows;

static int32_t block_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const block_rows *b = arg;
  int64_t end = least((index + 1) * b->share, b->w.total);
  for (int64_t r = index * b->share; r < end; r++) {
    cr_nest_at at;
    cr_nest_seek(&b->w.nest, 2, r, &at);
    convert_row(&b->w, b->w.to + at.offset[0], b->to_step, b->w.from + at.offset[1], 0, b->n);
  }
  return CREDENCE_OK;
}

static int32_t run_blocks(const cr_tensor *x, const cr_tensor *y, const cr_ctx *ctx, credence_error *err) {
  cr_tensor x_rows = *x, y_rows = *y;
  x_rows.ndim--;
  y_rows.ndim--;
  block_rows b = {.w = {.to = y->data, .from = x->data, .to_type = y->dtype, .from_type = x->dtype},
                  .n = y->dim[y_rows.ndim],
                  .to_step = y->stride[y_rows.ndim]};
  b.w.total = cr_nest_make(&b.w.nest, (const cr_tensor *const[]){&y_rows, &x_rows}, 2);
  if (b.w.total == 0 || b.n == 0) return CREDENCE_OK;
  b.share = b.n < TASK ? TASK / b.n : 1;
  if (b.w.total * b.n >= CR_SERIAL_ELEMENTS) return cr_parallel(ctx, ceil_div(b.w.total, b.share), block_task, &b, err);
  b.share = b.w.total;
  return block_task(&b, 0, 0, err);
}

static int32_t run_copy(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *x = &call->in[0], *y = &call->out[0];
  if (is_block(x->dtype)) return run_blocks(x, y, ctx, err);
  cr_tensor x_sorted, y_sorted;
  order_axes(y, x, &y_sorted, &x_sorted);
  work w = {.to = y->data,
            .from = x->data,
            .to_type = y->dtype,
            .from_type = x->dtype,
            .size = (int64_t)cr_dtype_size(x->dtype)};
  w.total = cr_nest_make(&w.nest, (const cr_tensor *const[]){&y_sorted, &x_sorted}, 2);
  if (w.total == 0) return CREDENCE_OK;
  return x->dtype == y->dtype ? move(&w, ctx, err) : in_chunks(&w, ctx, convert_task, err);
}

/* ---- fill ---- */

static void fill_row(char *to, int64_t step, const char *pattern, int64_t size, int64_t n, bool stream) {
  if (step != size) {
    move_row(to, step, pattern, 0, size, n);
    return;
  }
  char line[4 * CR_W];
  for (int64_t k = 0; k < (int64_t)sizeof line; k += size) memcpy(line + k, pattern, (size_t)size);
  vf v;
  memcpy(&v, line, sizeof v);
  int64_t bytes = n * size, k = stream ? head_of(to, bytes) : 0;
  memcpy(to, line, (size_t)k);
  if (stream)
    for (; k + (int64_t)sizeof v <= bytes; k += (int64_t)sizeof v) vf_stream((float *)(to + k), v);
  for (; k + (int64_t)sizeof v <= bytes; k += (int64_t)sizeof v) memcpy(to + k, &v, sizeof v);
  memcpy(to + k, line, (size_t)(bytes - k));
  if (stream) vf_stream_end();
}

static int32_t fill_task(void *arg, int64_t index, int32_t worker, credence_error *err) {
  (void)worker, (void)err;
  const work *w = arg;
  int64_t start = index * w->chunk, end = least(start + w->chunk, w->total);
  cr_nest_at at;
  cr_nest_seek(&w->nest, 1, start, &at);
  while (start < end) {
    int64_t n = least(w->nest.dim[0] - at.index[0], end - start);
    fill_row(w->to + at.offset[0], w->nest.step[0][0], w->pattern, w->size, n, w->stream);
    start += n;
    cr_nest_advance(&w->nest, 1, n, &at);
  }
  return CREDENCE_OK;
}

static int32_t run_fill(const cr_call *call, const cr_ctx *ctx, credence_error *err) {
  const cr_tensor *y = &call->out[0];
  work w = {.to = y->data, .to_type = y->dtype, .size = (int64_t)cr_dtype_size(y->dtype)};
  narrow(y->dtype, &call->f[0], w.pattern, w.size, 1);
  if (call->dense >= 0 && call->dense < CR_SERIAL_ELEMENTS) {
    fill_row(w.to, w.size, w.pattern, w.size, call->dense, false);
    return CREDENCE_OK;
  }
  cr_tensor y_sorted, again;
  order_axes(y, y, &y_sorted, &again);
  w.total = cr_nest_make(&w.nest, (const cr_tensor *const[]){&y_sorted}, 1);
  if (w.total == 0) return CREDENCE_OK;
  w.stream = w.total * w.size >= STREAM;
  return in_chunks(&w, ctx, fill_task, err);
}

CR_FAMILY(copy, {CREDENCE_OP_FILL, .run = run_fill}, {CREDENCE_OP_COPY, .run = run_copy})

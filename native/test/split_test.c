/* split_test.c: a batch in parts gives the same bits as at once. Ops split their work into tasks by size, so the parts
 * take other paths than the whole: rows in pieces instead of rows, sums in parts instead of sums, stores that pass
 * through the caches instead of past them.
 *
 *   split_test LIBRARY */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>

#include "harness.h"

static const credence_backend *b;
static credence_stream *stream;
static credence_device *device;
static credence_buffer *buffer;
static credence_error err;
static uint64_t tag;

enum { ROOM = 128 << 20, RESULT = 96 << 20 };

static void run(recipe *r) {
  r->n_slots = 1;
  r->slot_bytes[0] = ROOM;
  const credence_plan_desc desc = desc_of(r);
  credence_plan *plan = NULL;
  CHECK_STATUS(b->plan_open(device, &desc, &plan, &err), CREDENCE_OK, &err);
  if (plan == NULL) return;
  const credence_slot slot = {buffer, 0, ROOM};
  CHECK_STATUS(b->stream_submit(stream, plan, ++tag, &slot, 1, NULL, 0, NULL, 0, &err), CREDENCE_OK, &err);
  CHECK_STATUS(b->stream_sync(stream, &err), CREDENCE_OK, &err);
  b->plan_close(plan);
}

/* A tensor like a dense [outer, ..] one, but only the part of the outermost axis that begins at `first`. */
static void part(credence_tensor *t, int64_t outer_stride, int64_t first, int64_t count) {
  t->dim[0] = constant(count);
  t->base += first * outer_stride;
}

/* How an op reads and writes a batch of `outer` examples of middle x inner numbers. */
typedef struct op {
  uint32_t opcode;
  int64_t mask;             /* of a reduction; -1: none */
  uint32_t pairs;           /* inputs of the shape of the first */
  bool labels, dloss, rows; /* rows: the result has the input's shape; else one number per row */
} op;

enum { LABELS = 80 << 20, LOSSES = 88 << 20, PAIR = 40 << 20 };

/* Records examples first .. first + count - 1; row_gap widens the step between rows of an example. */
static void record(recipe *r, const op *o, int64_t count, int64_t middle, int64_t inner, int64_t first,
                   int64_t row_gap) {
  *r = (recipe){0};
  const bool reduces = o->mask >= 0, integers = o->opcode == CREDENCE_OP_ARG_MAX;
  start_op(r, o->opcode, 1 + (o->pairs ? 1 : 0) + (o->labels ? 1 : 0) + (o->dloss ? 1 : 0), 1, 0);
  for (uint32_t k = 0; k <= o->pairs; k++) {
    credence_tensor *x =
        add_tensor(r, 0, k * PAIR, CREDENCE_F32, count, reduces ? middle : inner, reduces ? inner : -1);
    if (reduces) {
      x->stride[1] = 4 * (inner + row_gap);
      x->stride[0] = middle * x->stride[1];
    }
    part(x, x->stride[0], first, count);
  }
  if (o->labels) part(add_tensor(r, 0, LABELS, CREDENCE_I32, count, -1, -1), 4, first, count);
  if (o->dloss) part(add_tensor(r, 0, LOSSES, CREDENCE_F32, count, -1, -1), 4, first, count);
  if (reduces) {
    const int64_t m = o->mask & 2 ? 1 : middle, n = o->mask & 4 ? 1 : inner;
    credence_tensor *y = add_tensor(r, 0, RESULT, CREDENCE_F32, count, m, n);
    part(y, y->stride[0], first, count);
    add_i(r, constant(o->mask));
  } else {
    credence_tensor *y =
        add_tensor(r, 0, RESULT, integers ? CREDENCE_I32 : CREDENCE_F32, count, o->rows ? inner : -1, -1);
    part(y, y->stride[0], first, count);
  }
}

static void compare(const op *o, int64_t outer, int64_t middle, int64_t inner, int64_t row_gap) {
  char *memory = b->buffer_host(buffer);
  recipe *r = malloc(sizeof *r);
  record(r, o, outer, middle, inner, 0, row_gap);
  const credence_tensor *y = &r->tensors[r->n_tensors - 1];
  int64_t bytes = 4;
  for (int32_t k = 0; k < y->ndim; k++) bytes *= y->dim[k].value;
  run(r);
  char *whole = malloc((size_t)bytes);
  memcpy(whole, memory + RESULT, (size_t)bytes);
  memset(memory + RESULT, 0xff, (size_t)bytes);
  for (int64_t first = 0; first < outer;) { /* one, then two, then the rest */
    const int64_t count = first == 0 ? 1 : first == 1 && outer > 3 ? 2 : outer - first;
    record(r, o, count, middle, inner, first, row_gap);
    run(r);
    first += count;
  }
  if (memcmp(whole, memory + RESULT, (size_t)bytes) != 0)
    fprintf(stderr, "opcode %u, mask %lld, %lld x %lld x %lld\n", o->opcode, (long long)o->mask, (long long)outer,
            (long long)middle, (long long)inner);
  CHECK(memcmp(whole, memory + RESULT, (size_t)bytes) == 0);
  free(whole);
  free(r);
}

/* Results past the caches where no part of them can be compared: a fill, and transposed copies. */
static void large(void) {
  float *memory = b->buffer_host(buffer), *result = memory + RESULT / 4;
  recipe *r = calloc(1, sizeof *r);
  const int64_t n = 5000003;
  result[n] = -1;
  add_fill(r, 1.5, n - 1, RESULT + 4); /* not at a cache line */
  run(r);
  int64_t wrong = 0;
  for (int64_t k = 1; k < n; k++) wrong += result[k] != 1.5f;
  CHECK(wrong == 0 && result[n] == -1);
  for (int64_t columns = 2048; columns <= 2051; columns += 3) { /* rows at cache lines, and not */
    const int64_t rows = 2100;
    *r = (recipe){0};
    start_op(r, CREDENCE_OP_COPY, 1, 1, 0);
    credence_tensor *x = add_tensor(r, 0, 0, CREDENCE_F32, rows, columns, -1);
    x->stride[0] = 4;
    x->stride[1] = 4 * rows;
    add_tensor(r, 0, RESULT, CREDENCE_F32, rows, columns, -1);
    run(r);
    for (int64_t k = 0; k < rows * columns; k++) wrong += result[k] != memory[k % columns * rows + k / columns];
    CHECK(wrong == 0);
  }
  free(r);
}

int main(int argc, char **argv) {
  void *library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  const credence_backend *(*entry)(void);
  *(void **)&entry = dlsym(library, "credence_backend_entry");
  b = entry();
  static const char *const sets[] = {"auto", "generic", "avx2"};
  for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
    CHECK_STATUS(b->device_open(0, 3, &device, &err), CREDENCE_OK, &err);
    if (b->set_option(device, "cpu_isa", sets[s], &err) != CREDENCE_OK) { /* not on this processor */
      b->device_close(device);
      continue;
    }
    CHECK_STATUS(b->buffer_alloc(device, ROOM, CREDENCE_BUFFER_DEVICE, &buffer, &err), CREDENCE_OK, &err);
    CHECK_STATUS(b->stream_open(device, &stream, &err), CREDENCE_OK, &err);
    char *memory = b->buffer_host(buffer);
    uint64_t state = 7;
    for (int64_t k = 0; k < LABELS / 4; k++) ((float *)memory)[k] = (float)(int64_t)draw(&state) * 0x1p-62f;
    for (int64_t k = 0; k < 4096; k++) {
      ((int32_t *)(memory + LABELS))[k] = (int32_t)draw_range(&state, -1, 6);
      ((float *)(memory + LOSSES))[k] = (float)(int64_t)draw(&state) * 0x1p-63f;
    }

    static const op rows[] = {{CREDENCE_OP_SOFTMAX, -1, 0, false, false, true},
                              {CREDENCE_OP_SOFTMAX_GRAD, -1, 1, false, false, true},
                              {CREDENCE_OP_LOG_SOFTMAX, -1, 0, false, false, true},
                              {CREDENCE_OP_LOG_SOFTMAX_GRAD, -1, 1, false, false, true},
                              {CREDENCE_OP_LOG_SUM_EXP, -1, 0, false, false, false},
                              {CREDENCE_OP_CROSS_ENTROPY, -1, 0, true, false, false},
                              {CREDENCE_OP_CROSS_ENTROPY_GRAD, -1, 0, true, true, true},
                              {CREDENCE_OP_ARG_MAX, -1, 0, false, false, false}};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
      compare(&rows[k], 37, 1, 10, 0);
      compare(&rows[k], 700, 1, 101, 0);
      compare(&rows[k], 33, 1, 70001, 0); /* more rows than are split, fewer that are */
      compare(&rows[k], 5, 1, 300007, 0);
    }
    static const op maps[] = {{CREDENCE_OP_ADD, -1, 1, false, false, true},
                              {CREDENCE_OP_EXP, -1, 0, false, false, true},
                              {CREDENCE_OP_COPY, -1, 0, false, false, true}};
    for (size_t k = 0; k < sizeof maps / sizeof *maps; k++) compare(&maps[k], 5, 1, 1000003, 0);
    large();
    static const uint32_t sums[] = {CREDENCE_OP_REDUCE_SUM, CREDENCE_OP_REDUCE_MEAN, CREDENCE_OP_REDUCE_MAX,
                                    CREDENCE_OP_REDUCE_SUM_SQUARES};
    for (size_t k = 0; k < sizeof sums / sizeof *sums; k++) {
      for (int64_t mask = 2; mask <= 6; mask += 2) { /* middle, inner, both */
        const op o = {sums[k], mask, 0, false, false, false};
        compare(&o, 40, 5003, 16, 0);
        compare(&o, 33, 3, 70003, 0);
        compare(&o, 33, 3, 70003, 5); /* rows apart: two reduced axes */
        compare(&o, 40, 300, 300, 1);
        compare(&o, 35, 20000, 3, 2);
      }
    }
    b->stream_close(stream);
    b->buffer_free(buffer);
    b->device_close(device);
  }
  return report("split");
}

/* backend_test.c: what every backend owes its host beyond the results of operations: copies of any size, submissions
 * that come again with other values, memory and shapes, errors found late, cancelling, memory that is not there.
 *
 *   backend_test LIBRARY */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#include "harness.h"

static const credence_backend *b;
static credence_device *device;

enum { KIB = 1 << 10, MIB = 1 << 20 };

/* A device's stream with one buffer, as most tests need them. */
typedef struct bench {
  credence_stream *stream;
  credence_buffer *buffer;
  uint64_t bytes, tag;
  credence_error err;
} bench;

static bench open_bench(uint64_t bytes) {
  bench t = {.bytes = bytes};
  CHECK_STATUS(b->stream_open(device, &t.stream, &t.err), CREDENCE_OK, &t.err);
  CHECK_STATUS(b->buffer_alloc(device, bytes, CREDENCE_BUFFER_DEVICE, &t.buffer, &t.err), CREDENCE_OK, &t.err);
  return t;
}

static void close_bench(bench *t) {
  b->stream_close(t->stream);
  b->buffer_free(t->buffer);
}

static credence_plan *open_plan(bench *t, recipe *r) {
  if (r->n_slots == 0) {
    r->n_slots = 1;
    r->slot_bytes[0] = t->bytes;
  }
  const credence_plan_desc desc = desc_of(r);
  credence_plan *plan = NULL;
  CHECK_STATUS(b->plan_open(device, &desc, &plan, &t->err), CREDENCE_OK, &t->err);
  return plan;
}

/* Submits over the bench's buffer and waits: the first error of the two. */
static int32_t run(bench *t, credence_plan *plan, const int64_t *iargs, uint32_t n_iargs, const double *fargs,
                   uint32_t n_fargs) {
  if (plan == NULL) return CREDENCE_INTERNAL;
  const credence_slot slot = {t->buffer, 0, t->bytes};
  int32_t status = b->stream_submit(t->stream, plan, ++t->tag, &slot, 1, iargs, n_iargs, fargs, n_fargs, &t->err);
  return status != CREDENCE_OK ? status : b->stream_sync(t->stream, &t->err);
}

static void write_at(bench *t, uint64_t offset, const void *from, uint64_t bytes) {
  CHECK_STATUS(b->buffer_write(t->stream, t->buffer, offset, from, bytes, &t->err), CREDENCE_OK, &t->err);
}

static void read_at(bench *t, uint64_t offset, void *to, uint64_t bytes) {
  CHECK_STATUS(b->buffer_read(t->stream, to, t->buffer, offset, bytes, &t->err), CREDENCE_OK, &t->err);
  CHECK_STATUS(b->stream_sync(t->stream, &t->err), CREDENCE_OK, &t->err);
}

/* ---- copies ---- */

static unsigned char *noise(uint64_t bytes, uint64_t seed) {
  unsigned char *p = malloc(bytes > 0 ? bytes : 1);
  for (uint64_t k = 0; k < bytes; k += 8) {
    const uint64_t word = draw(&seed);
    memcpy(p + k, &word, bytes - k < 8 ? bytes - k : 8);
  }
  return p;
}

/* Sizes on both sides of what a backend may copy in one piece; from and to odd addresses; with a stream and without. */
static void test_copies(void) {
  static const uint64_t sizes[] = {0, 1, 4 * KIB + 3, MIB - 1, MIB, MIB + 1, 21 * MIB + 5};
  bench t = open_bench(24 * MIB);
  unsigned char *back = malloc(24 * MIB);
  read_at(&t, 0, back, 24 * MIB);
  uint64_t sum = 0;
  for (uint64_t k = 0; k < 24 * MIB; k++) sum += back[k];
  CHECK(sum == 0); /* buffers begin with zeros */
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
    unsigned char *from = noise(sizes[k], k);
    for (int streamed = 0; streamed < 2; streamed++) {
      credence_stream *s = streamed ? t.stream : NULL;
      CHECK_STATUS(b->buffer_write(s, t.buffer, 7, from, sizes[k], &t.err), CREDENCE_OK, &t.err);
      if (streamed) CHECK_STATUS(b->stream_sync(s, &t.err), CREDENCE_OK, &t.err);
      memset(back, 0, sizes[k]);
      CHECK_STATUS(b->buffer_read(s, back, t.buffer, 7, sizes[k], &t.err), CREDENCE_OK, &t.err);
      if (streamed) CHECK_STATUS(b->stream_sync(s, &t.err), CREDENCE_OK, &t.err);
      CHECK(memcmp(back, from, sizes[k]) == 0);
    }
    free(from);
  }
  CHECK_STATUS(b->buffer_write(NULL, t.buffer, 24 * MIB - 1, back, 2, &t.err), CREDENCE_INVALID_ARGUMENT, &t.err);
  CHECK_STATUS(b->buffer_read(NULL, back, t.buffer, UINT64_MAX, 2, &t.err), CREDENCE_INVALID_ARGUMENT, &t.err);
  free(back);
  close_bench(&t);
}

/* Between buffers, and within one where the ranges overlap, in both directions. */
static void test_copies_on_the_device(void) {
  enum { N = 3 * MIB };
  bench t = open_bench(N);
  unsigned char *from = noise(N, 1), *want = malloc(N), *back = malloc(N);
  for (int up = 0; up < 2; up++) {
    write_at(&t, 0, from, N);
    const uint64_t to = up ? 1000 : 0, at = up ? 0 : 1000, n = N - 1000;
    CHECK_STATUS(b->buffer_copy(t.stream, t.buffer, to, t.buffer, at, n, &t.err), CREDENCE_OK, &t.err);
    memcpy(want, from, N);
    memmove(want + to, want + at, n);
    read_at(&t, 0, back, N);
    CHECK(memcmp(back, want, N) == 0);
  }
  credence_buffer *other = NULL;
  CHECK_STATUS(b->buffer_alloc(device, N, CREDENCE_BUFFER_PINNED_HOST, &other, &t.err), CREDENCE_OK, &t.err);
  CHECK_STATUS(b->buffer_copy(NULL, other, 5, t.buffer, 3, N - 5, &t.err), CREDENCE_OK, &t.err);
  unsigned char *host = b->buffer_host(other);
  CHECK(host != NULL && host[0] == 0 && memcmp(host + 5, back + 3, N - 5) == 0);
  b->buffer_free(other);

  credence_buffer *wrapped = NULL;
  CHECK_STATUS(b->buffer_wrap(device, from, N, &wrapped, &t.err), CREDENCE_OK, &t.err);
  CHECK_STATUS(b->buffer_write(NULL, wrapped, 0, from, 4, &t.err), CREDENCE_INVALID_ARGUMENT, &t.err);
  CHECK_STATUS(b->buffer_read(NULL, back, wrapped, 0, N, &t.err), CREDENCE_OK, &t.err);
  CHECK(memcmp(back, from, N) == 0);
  b->buffer_free(wrapped);
  free(from);
  free(want);
  free(back);
  close_bench(&t);
}

/* ---- submissions ---- */

/* y = arg0 x over `arg0` floats: a scalar and a shape that change, many times over: what a backend keeps of earlier
 * submissions must not show. */
static void test_values_and_shapes(void) {
  enum { N = 1000 };
  bench t = open_bench(64 * KIB);
  recipe r = {.n_iargs = 1, .n_fargs = 1, .iarg_min = {0}, .iarg_max = {N}};
  start_op(&r, CREDENCE_OP_AFFINE, 1, 1, 0);
  add_tensor(&r, 0, 0, CREDENCE_F32, N, -1, -1)->dim[0] = times_arg(1, 0);
  add_tensor(&r, 0, 8 * KIB, CREDENCE_F32, N, -1, -1)->dim[0] = times_arg(1, 0);
  add_f(&r, 2, 0);
  add_f(&r, 1, -1);
  credence_plan *plan = open_plan(&t, &r);
  float x[N], y[N];
  for (int k = 0; k < N; k++) x[k] = (float)k;
  write_at(&t, 0, x, sizeof x);
  for (int round = 0; round < 40; round++) {
    const int64_t n = round % 3 == 2 ? round * 7 % N : N;
    const double scale = round % 4 < 2 ? 3 : round;
    for (int k = 0; k < N; k++) y[k] = -1;
    write_at(&t, 8 * KIB, y, sizeof y);
    CHECK_STATUS(run(&t, plan, &n, 1, &scale, 1), CREDENCE_OK, &t.err);
    read_at(&t, 8 * KIB, y, sizeof y);
    int wrong = 0;
    for (int k = 0; k < N; k++) wrong += y[k] != (k < n ? 2 * (float)scale * x[k] + 1 : -1);
    CHECK(wrong == 0);
  }
  const int64_t beyond = N + 1;
  const double scale = 1;
  CHECK_STATUS(run(&t, plan, &beyond, 1, &scale, 1), CREDENCE_INVALID_ARGUMENT, &t.err);
  b->plan_close(plan);
  close_bench(&t);
}

/* The same plan over other memory, in turn; the memory of one round is freed before the next. */
static void test_other_memory(void) {
  enum { N = 300, BYTES = 4 * KIB };
  bench t = open_bench(BYTES);
  recipe r = {.n_slots = 2, .slot_bytes = {BYTES, BYTES}};
  start_op(&r, CREDENCE_OP_SQUARE, 1, 1, 0);
  add_tensor(&r, 0, 0, CREDENCE_F32, N, -1, -1);
  add_tensor(&r, 1, 0, CREDENCE_F32, N, -1, -1);
  credence_plan *plan = open_plan(&t, &r);
  float x[N], y[N];
  for (int round = 0; round < 30 && plan != NULL; round++) {
    credence_buffer *out = NULL;
    CHECK_STATUS(b->buffer_alloc(device, BYTES * (1 + round % 5), CREDENCE_BUFFER_DEVICE, &out, &t.err), CREDENCE_OK,
                 &t.err);
    const uint64_t offset = round % 5 == 4 ? BYTES : 0;
    for (int k = 0; k < N; k++) x[k] = (float)(k - round);
    write_at(&t, 0, x, sizeof x);
    const credence_slot slots[2] = {{t.buffer, 0, BYTES}, {out, offset, BYTES}};
    for (int again = 0; again < 3; again++)
      CHECK_STATUS(b->stream_submit(t.stream, plan, ++t.tag, slots, 2, NULL, 0, NULL, 0, &t.err), CREDENCE_OK, &t.err);
    CHECK_STATUS(b->buffer_read(t.stream, y, out, offset, sizeof y, &t.err), CREDENCE_OK, &t.err);
    CHECK_STATUS(b->stream_sync(t.stream, &t.err), CREDENCE_OK, &t.err);
    int wrong = 0;
    for (int k = 0; k < N; k++) wrong += y[k] != x[k] * x[k];
    CHECK(wrong == 0);
    b->buffer_free(out);
  }
  b->plan_close(plan);
  close_bench(&t);
}

/* Submissions queued without waiting run in order. */
static void test_order(void) {
  enum { N = 5000 };
  bench t = open_bench(64 * KIB);
  recipe add = {.n_fargs = 1}, twice = {0};
  start_op(&add, CREDENCE_OP_AFFINE, 1, 1, 0);
  for (int k = 0; k < 2; k++) add_tensor(&add, 0, 0, CREDENCE_F32, N, -1, -1);
  add_f(&add, 1, -1);
  add_f(&add, 1, 0);
  start_op(&twice, CREDENCE_OP_AFFINE, 1, 1, 0);
  for (int k = 0; k < 2; k++) add_tensor(&twice, 0, 0, CREDENCE_F32, N, -1, -1);
  add_f(&twice, 2, -1);
  add_f(&twice, 0, -1);
  credence_plan *plans[2] = {open_plan(&t, &add), open_plan(&t, &twice)};
  const credence_slot slot = {t.buffer, 0, t.bytes};
  float want = 0, y[N];
  for (int k = 0; k < 20; k++) {
    const double v = k;
    want = 2 * (want + (float)v);
    CHECK_STATUS(b->stream_submit(t.stream, plans[0], ++t.tag, &slot, 1, NULL, 0, &v, 1, &t.err), CREDENCE_OK, &t.err);
    CHECK_STATUS(b->stream_submit(t.stream, plans[1], ++t.tag, &slot, 1, NULL, 0, NULL, 0, &t.err), CREDENCE_OK,
                 &t.err);
  }
  read_at(&t, 0, y, sizeof y);
  CHECK(y[0] == want && y[N - 1] == want);
  for (int k = 0; k < 2; k++) b->plan_close(plans[k]);
  close_bench(&t);
}

/* ---- what goes wrong ---- */

enum { TABLE = 0, INDEX = 4 * KIB, PICKED = 8 * KIB, TOTAL = 12 * KIB };

/* picked = table[index]; total += picked. */
static credence_plan *pick_and_add(bench *t) {
  recipe r = {0};
  start_op(&r, CREDENCE_OP_GATHER_ROWS, 2, 1, 0);
  add_tensor(&r, 0, TABLE, CREDENCE_F32, 10, 4, -1);
  add_tensor(&r, 0, INDEX, CREDENCE_I32, 8, -1, -1);
  add_tensor(&r, 0, PICKED, CREDENCE_F32, 8, 4, -1);
  start_op(&r, CREDENCE_OP_AXPY, 1, 0, 1);
  add_tensor(&r, 0, PICKED, CREDENCE_F32, 8, 4, -1);
  add_tensor(&r, 0, TOTAL, CREDENCE_F32, 8, 4, -1);
  add_f(&r, 1, -1);
  return open_plan(t, &r);
}

/* An index that came as data is wrong: the error names op, place and value, what lasts is as it was, and the stream
 * goes on; at the first submission and at later ones, which a backend may run otherwise. */
static void test_late_errors(void) {
  bench t = open_bench(16 * KIB);
  credence_plan *plan = pick_and_add(&t);
  float table[40], total[32];
  int32_t index[8] = {0, 9, 3, 3, 7, 1, 2, 8};
  for (int k = 0; k < 40; k++) table[k] = 1;
  write_at(&t, TABLE, table, sizeof table);
  float want = 0;
  for (int round = 0; round < 12; round++) {
    const bool bad = round % 3 == 0;
    index[5] = bad ? 10 + round : 1;
    write_at(&t, INDEX, index, sizeof index);
    CHECK_STATUS(run(&t, plan, NULL, 0, NULL, 0), bad ? CREDENCE_INVALID_ARGUMENT : CREDENCE_OK, &t.err);
    if (bad) {
      char expected[64];
      snprintf(expected, sizeof expected, "op 0, gather_rows: index[5] is %d, outside 0 to 9", 10 + round);
      CHECK(strcmp(t.err.msg, expected) == 0);
      if (strcmp(t.err.msg, expected) != 0) fprintf(stderr, "  %s\n", t.err.msg);
      CHECK_STATUS(b->stream_sync(t.stream, &t.err), CREDENCE_OK, &t.err); /* told once */
    } else {
      want += 1;
    }
    read_at(&t, TOTAL, total, sizeof total);
    CHECK(total[0] == want && total[31] == want);
  }
  b->plan_close(plan);
  close_bench(&t);
}

/* Two wrong submissions in a row: the first error is told, and both changed nothing. */
static void test_late_errors_in_a_row(void) {
  bench t = open_bench(16 * KIB);
  credence_plan *plan = pick_and_add(&t);
  const int32_t index[8] = {0, 0, -1, 0, 0, 0, 0, 0}, right[8] = {0};
  float total[32];
  const credence_slot slot = {t.buffer, 0, t.bytes};
  write_at(&t, INDEX, index, sizeof index);
  int32_t status = CREDENCE_OK;
  for (int k = 0; k < 2 && plan != NULL; k++) {
    int32_t s = b->stream_submit(t.stream, plan, ++t.tag, &slot, 1, NULL, 0, NULL, 0, &t.err);
    if (status == CREDENCE_OK) status = s;
  }
  if (status == CREDENCE_OK) status = b->stream_sync(t.stream, &t.err);
  CHECK(status == CREDENCE_INVALID_ARGUMENT);
  CHECK_STATUS(b->stream_sync(t.stream, &t.err), CREDENCE_OK, &t.err);
  write_at(&t, INDEX, right, sizeof right);
  const float ones[40] = {1, 1, 1, 1};
  write_at(&t, TABLE, ones, sizeof ones);
  CHECK_STATUS(run(&t, plan, NULL, 0, NULL, 0), CREDENCE_OK, &t.err);
  read_at(&t, TOTAL, total, sizeof total);
  CHECK(total[0] == 1 && total[31] == 1);
  b->plan_close(plan);
  close_bench(&t);
}

static void test_cancel(void) {
  bench t = open_bench(16 * KIB);
  recipe r = {0};
  add_fill(&r, 7, 100, 0);
  credence_plan *plan = open_plan(&t, &r);
  float y[100];
  for (int round = 0; round < 6; round++) {
    const bool stop = round % 2 == 1;
    b->stream_cancel(t.stream, stop ? t.tag + 1 : t.tag); /* the next one, or one that is over */
    CHECK_STATUS(run(&t, plan, NULL, 0, NULL, 0), stop ? CREDENCE_CANCELLED : CREDENCE_OK, &t.err);
    read_at(&t, 0, y, sizeof y);
    CHECK(round == 0 || y[99] == 7);
  }
  b->plan_close(plan);
  close_bench(&t);
}

/* More memory than there is: refused with the size, and everything else goes on. */
static void test_no_memory(void) {
  bench t = open_bench(16 * KIB);
  credence_device_info info = {.struct_size = sizeof info};
  CHECK_STATUS(b->device_info(0, device, &info, &t.err), CREDENCE_OK, &t.err);
  CHECK(info.memory_total > 0 && info.memory_free <= info.memory_total);
  credence_buffer *much = NULL;
  CHECK_STATUS(b->buffer_alloc(device, info.memory_total + MIB, CREDENCE_BUFFER_DEVICE, &much, &t.err),
               CREDENCE_OUT_OF_MEMORY, &t.err);
  CHECK(much == NULL && strstr(t.err.msg, "bytes") != NULL);
  credence_buffer *some = NULL;
  CHECK_STATUS(b->buffer_alloc(device, MIB, CREDENCE_BUFFER_DEVICE, &some, &t.err), CREDENCE_OK, &t.err);
  b->buffer_free(some);
  close_bench(&t);
}

/* ---- several streams ---- */

static void *use_stream(void *arg) {
  (void)arg;
  for (int k = 0; k < 3; k++) test_values_and_shapes();
  return NULL;
}

static void test_streams_side_by_side(void) {
  pthread_t threads[4];
  for (int k = 0; k < 4; k++) CHECK(pthread_create(&threads[k], NULL, use_stream, NULL) == 0);
  for (int k = 0; k < 4; k++) pthread_join(threads[k], NULL);
}

static void test_clock(void) {
  bench t = open_bench(16 * MIB);
  recipe r = {0};
  add_fill(&r, 1, 4 * MIB, 0);
  credence_plan *plan = open_plan(&t, &r);
  uint64_t before = 0, after = 0;
  CHECK_STATUS(b->stream_clock(t.stream, &before, &t.err), CREDENCE_OK, &t.err);
  for (int k = 0; k < 3; k++) CHECK_STATUS(run(&t, plan, NULL, 0, NULL, 0), CREDENCE_OK, &t.err);
  CHECK_STATUS(b->stream_clock(t.stream, &after, &t.err), CREDENCE_OK, &t.err);
  CHECK(after > before);
  b->plan_close(plan);
  close_bench(&t);
}

/* What is opened and closed many times leaves nothing behind: the device has as much memory free as before. */
static void test_nothing_leaks(void) {
  credence_error err;
  uint64_t first = 0;
  for (int k = 0; k < 1000; k++) {
    credence_device *d = NULL;
    CHECK_STATUS(b->device_open(0, 1, &d, &err), CREDENCE_OK, &err);
    if (d == NULL) return;
    credence_device_info info = {.struct_size = sizeof info};
    CHECK_STATUS(b->device_info(0, d, &info, &err), CREDENCE_OK, &err);
    if (k == 100) first = info.memory_free;
    if (k == 999 && !info.integrated_memory) /* a machine has others that use its memory */
      CHECK(info.memory_free + 64 * (uint64_t)MIB > first);
    if (k % 10 == 0) { /* in the wrong order: what is still held keeps the device */
      credence_buffer *buffer = NULL;
      credence_stream *stream = NULL;
      CHECK_STATUS(b->buffer_alloc(d, MIB, CREDENCE_BUFFER_DEVICE, &buffer, &err), CREDENCE_OK, &err);
      CHECK_STATUS(b->stream_open(d, &stream, &err), CREDENCE_OK, &err);
      b->device_close(d);
      b->buffer_free(buffer);
      b->stream_close(stream);
    } else {
      b->device_close(d);
    }
  }
}

int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "usage: backend_test LIBRARY\n"), 2;
  void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) return fprintf(stderr, "%s\n", dlerror()), 2;
  const credence_backend *(*entry)(void);
  void *symbol = dlsym(library, "credence_backend_entry");
  memcpy(&entry, &symbol, sizeof entry);
  b = entry();
  credence_error err;
  int32_t count = 0;
  if (b->device_count(&count, &err) != CREDENCE_OK) {
    printf("backend_test: skipped: %s\n", err.msg);
    return 77;
  }
  CHECK_STATUS(b->device_open(0, 2, &device, &err), CREDENCE_OK, &err);
  if (device == NULL) return report("backend_test");
  test_copies();
  test_copies_on_the_device();
  test_values_and_shapes();
  test_other_memory();
  test_order();
  test_late_errors();
  test_late_errors_in_a_row();
  test_cancel();
  test_no_memory();
  test_streams_side_by_side();
  test_clock();
  b->device_close(device);
  test_nothing_leaks();
  return report("backend_test");
}

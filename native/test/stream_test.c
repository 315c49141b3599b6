/* Submissions on the core with probe ops: bounds, bindings, arguments, cancellation, faults, several streams. */
#include <pthread.h>
#include <time.h>

#include "harness.h"

static const credence_backend *b;
static credence_error err;

typedef struct rig {
  credence_device *device;
  credence_stream *stream;
  credence_buffer *buffer;
  float *memory;
  uint64_t tag;
} rig;

enum { RIG_BYTES = 1 << 16, GUARD = 0x5a };

static rig open_rig(int32_t threads) {
  rig r = {0};
  CHECK_STATUS(b->device_open(0, threads, &r.device, &err), CREDENCE_OK, &err);
  CHECK_STATUS(b->stream_open(r.device, &r.stream, &err), CREDENCE_OK, &err);
  CHECK_STATUS(b->buffer_alloc(r.device, RIG_BYTES, 0, &r.buffer, &err), CREDENCE_OK, &err);
  r.memory = b->buffer_host(r.buffer);
  return r;
}

static void close_rig(rig *r) {
  b->buffer_free(r->buffer);
  b->stream_close(r->stream);
  b->device_close(r->device);
}

static credence_plan *open_plan(rig *r, const recipe *p) {
  credence_plan_desc desc = desc_of(p);
  credence_plan *plan = NULL;
  CHECK_STATUS(b->plan_open(r->device, &desc, &plan, &err), CREDENCE_OK, &err);
  return plan;
}

static int32_t submit(rig *r, credence_plan *plan, const int64_t *iargs, uint32_t n_iargs, const double *fargs,
                      uint32_t n_fargs) {
  const credence_slot slot = {r->buffer, 0, RIG_BYTES};
  return b->stream_submit(r->stream, plan, ++r->tag, &slot, 1, iargs, n_iargs, fargs, n_fargs, &err);
}

static void arguments(void) {
  rig r = open_rig(2);
  recipe p = {
      .n_slots = 1, .slot_bytes = {RIG_BYTES}, .n_iargs = 2, .iarg_min = {1, 0}, .iarg_max = {8, 16}, .n_fargs = 1};
  add_fill(&p, 3, 1, 0); /* fill of element arg1, with 3 * farg0 */
  p.tensors[0].offset = times_arg(4, 1);
  p.f[0].arg = 0;
  add_map(&p, CREDENCE_OP_NEG, 0, 1024, 2048); /* 2 * arg0 elements */
  p.tensors[1].dim[0] = p.tensors[2].dim[0] = times_arg(2, 0);
  credence_plan *plan = open_plan(&r, &p);
  for (int k = 0; k < 16; k++) r.memory[256 + k] = (float)k + 1;
  for (int64_t n = 8; n >= 1; n--) {
    memset(r.memory + 512, 0, 64);
    CHECK_STATUS(submit(&r, plan, (int64_t[]){n, n}, 2, (double[]){2.0 * (double)n}, 1), CREDENCE_OK, &err);
    CHECK(r.memory[n] == 6.0f * (float)n);
    for (int k = 0; k < 16; k++) CHECK(r.memory[512 + k] == (k < 2 * n ? -(float)(k + 1) : 0));
  }
  CHECK_STATUS(submit(&r, plan, (int64_t[]){1, 1}, 2, (double[]){5}, 1), CREDENCE_OK, &err); /* the scalar alone */
  CHECK(r.memory[1] == 15);
  const credence_slot slot = {r.buffer, 0, RIG_BYTES}, wide[] = {{r.buffer, 1, RIG_BYTES},
                                                                 {r.buffer, UINT64_MAX, RIG_BYTES},
                                                                 {r.buffer, 0, RIG_BYTES - 1},
                                                                 {r.buffer, 0, UINT64_MAX},
                                                                 {NULL, 0, RIG_BYTES}};
  const int64_t good[] = {1, 1}, low[] = {0, 1}, high[] = {1, 17};
  const double one[] = {1};
  const int32_t bad = CREDENCE_INVALID_ARGUMENT;
  credence_stream *s = r.stream;
  for (size_t k = 0; k < sizeof wide / sizeof *wide; k++)
    CHECK(b->stream_submit(s, plan, ++r.tag, &wide[k], 1, good, 2, one, 1, &err) == bad && err.msg[0] != '\0');
  CHECK(b->stream_submit(s, plan, ++r.tag, &slot, 0, good, 2, one, 1, &err) == bad);
  CHECK(b->stream_submit(s, plan, ++r.tag, &slot, 2, good, 2, one, 1, &err) == bad);
  CHECK(b->stream_submit(s, plan, ++r.tag, &slot, 1, good, 1, one, 1, &err) == bad);
  CHECK(b->stream_submit(s, plan, ++r.tag, &slot, 1, good, 2, one, 0, &err) == bad);
  CHECK(b->stream_submit(s, plan, ++r.tag, NULL, 1, good, 2, one, 1, &err) == bad);
  CHECK(b->stream_submit(s, plan, ++r.tag, &slot, 1, NULL, 2, one, 1, &err) == bad);
  CHECK(b->stream_submit(s, plan, ++r.tag, &slot, 1, good, 2, NULL, 1, &err) == bad);
  CHECK(b->stream_submit(s, plan, ++r.tag, &slot, 1, low, 2, one, 1, &err) == bad);
  CHECK(b->stream_submit(s, plan, ++r.tag, &slot, 1, high, 2, one, 1, &err) == bad && strstr(err.msg, "17") != NULL);
  CHECK(b->stream_submit(s, plan, 0, &slot, 1, good, 2, one, 1, &err) == bad);
  r.memory[1] = 0;
  CHECK_STATUS(b->stream_submit(s, plan, ++r.tag, &slot, 1, good, 2, one, 1, &err), CREDENCE_OK, &err);
  CHECK(r.memory[1] == 3);                                                         /* refusals left nothing behind */
  CHECK(b->stream_submit(s, plan, r.tag, &slot, 1, good, 2, one, 1, &err) == bad); /* the same tag twice */
  rig other = open_rig(1);
  const credence_slot foreign = {other.buffer, 0, RIG_BYTES};
  CHECK(b->stream_submit(other.stream, plan, 1, &foreign, 1, good, 2, one, 1, &err) == bad);
  CHECK(b->stream_submit(s, plan, ++r.tag, &foreign, 1, good, 2, one, 1, &err) == bad);
  CHECK(b->buffer_write(s, other.buffer, 0, one, 8, &err) == bad);
  close_rig(&other);
  b->plan_close(plan);
  close_rig(&r);
}

/* A submission that binds other memory, or the same plan after others, sees what it was given. */
static void bindings(void) {
  rig r = open_rig(1);
  credence_plan *plans[12];
  for (int k = 0; k < 12; k++) {
    recipe p = {.n_slots = 1, .slot_bytes = {4096}};
    add_fill(&p, k + 1, 1, 4 * k);
    plans[k] = open_plan(&r, &p);
  }
  uint64_t seed = 1;
  for (int round = 0; round < 500; round++) {
    const int k = (int)draw_range(&seed, 0, 11);
    const uint64_t offset = 64 * (uint64_t)draw_range(&seed, 0, 3);
    if (draw(&seed) % 8 == 0) { /* memory that comes back at the same handle or elsewhere */
      b->buffer_free(r.buffer);
      CHECK_STATUS(b->buffer_alloc(r.device, RIG_BYTES, 0, &r.buffer, &err), CREDENCE_OK, &err);
      r.memory = b->buffer_host(r.buffer);
    }
    memset(r.memory, 0, 4096);
    const credence_slot slot = {r.buffer, offset, 4096};
    CHECK_STATUS(b->stream_submit(r.stream, plans[k], ++r.tag, &slot, 1, NULL, 0, NULL, 0, &err), CREDENCE_OK, &err);
    for (int at = 0; at < 64; at++) CHECK(r.memory[at] == ((uint64_t)at * 4 == offset + 4 * (uint64_t)k ? k + 1 : 0));
  }
  for (int k = 0; k < 12; k++) b->plan_close(plans[k]);
  close_rig(&r);
}

/* What a slot may be bound to: aligned, writable where written, apart from other slots where written. */
static void slots(void) {
  rig r = open_rig(1);
  recipe p = {.n_slots = 2, .slot_bytes = {256, 256}};
  start_op(&p, CREDENCE_OP_NEG, 1, 1, 0);
  add_tensor(&p, 0, 0, CREDENCE_F32, 64, -1, -1);
  add_tensor(&p, 1, 0, CREDENCE_F32, 64, -1, -1);
  credence_plan *plan = open_plan(&r, &p);
  float host[80];
  for (int k = 0; k < 80; k++) host[k] = (float)k;
  credence_buffer *wrapped = NULL, *odd = NULL;
  CHECK_STATUS(b->buffer_wrap(r.device, host, sizeof host, &wrapped, &err), CREDENCE_OK, &err);
  CHECK_STATUS(b->buffer_wrap(r.device, (char *)host + 1, sizeof host - 1, &odd, &err), CREDENCE_OK, &err);
  const struct {
    credence_slot slot[2];
    int32_t status;
  } cases[] = {{{{wrapped, 0, 256}, {r.buffer, 0, 256}}, CREDENCE_OK},
               {{{wrapped, 4, 256}, {r.buffer, 4, 256}}, CREDENCE_OK},
               {{{wrapped, 64, 256}, {r.buffer, 1024, 300}}, CREDENCE_OK},
               {{{wrapped, 65, 255}, {r.buffer, 0, 256}}, CREDENCE_INVALID_ARGUMENT},
               {{{wrapped, 2, 256}, {r.buffer, 0, 256}}, CREDENCE_INVALID_ARGUMENT},
               {{{odd, 0, 256}, {r.buffer, 0, 256}}, CREDENCE_INVALID_ARGUMENT},
               {{{wrapped, 0, 256}, {r.buffer, 2, 256}}, CREDENCE_INVALID_ARGUMENT},
               {{{r.buffer, 0, 256}, {wrapped, 0, 256}}, CREDENCE_INVALID_ARGUMENT},
               {{{r.buffer, 0, 256}, {r.buffer, 252, 256}}, CREDENCE_INVALID_ARGUMENT},
               {{{r.buffer, 0, 256}, {r.buffer, 0, 256}}, CREDENCE_INVALID_ARGUMENT},
               {{{r.buffer, 0, 256}, {r.buffer, 256, 256}}, CREDENCE_OK}};
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    int32_t status = b->stream_submit(r.stream, plan, ++r.tag, cases[k].slot, 2, NULL, 0, NULL, 0, &err);
    CHECK_STATUS(status, cases[k].status, &err);
    if (status != CREDENCE_OK || k > 2) continue;
    const float *y = r.memory + cases[k].slot[1].offset / 4;
    for (int n = 0; n < 64; n++) CHECK(y[n] == -(float)(n + (int)cases[k].slot[0].offset / 4));
  }
  b->buffer_free(odd);
  b->buffer_free(wrapped);
  b->plan_close(plan);
  close_rig(&r);
}

static void guards_and_errors(void) {
  for (int32_t threads = 1; threads <= 4; threads++) {
    rig r = open_rig(threads);
    memset(r.memory, GUARD, RIG_BYTES);
    recipe p = {.n_slots = 1, .slot_bytes = {RIG_BYTES}};
    add_map(&p, CREDENCE_OP_ABS, 1000, 0, 4096);
    add_map(&p, CREDENCE_OP_NEG, 1000, 0, 8192 + 64);
    add_map(&p, CREDENCE_OP_LOG, 30, 0, 16384);
    credence_plan *plan = open_plan(&r, &p);
    for (int k = 0; k < 1000; k++) r.memory[k] = (float)(k % 7);
    CHECK_STATUS(submit(&r, plan, NULL, 0, NULL, 0), CREDENCE_OK, &err);
    for (int k = 0; k < 1000; k++) CHECK(r.memory[1024 + k] == r.memory[k] && r.memory[2064 + k] == -r.memory[k]);
    for (int k = 0; k < 30; k++) CHECK(r.memory[4096 + k] == 4 * 21 + 1);
    const unsigned char *bytes = (const unsigned char *)r.memory;
    for (int k = 8096; k < 8192 + 64; k++) CHECK(bytes[k] == GUARD);
    for (int k = 8256 + 4000; k < 16384; k++) CHECK(bytes[k] == GUARD);
    for (int k = 16384 + 120; k < RIG_BYTES; k++) CHECK(bytes[k] == GUARD);
    for (int round = 0; round < 200; round++) { /* the lowest failing task is told, whoever ran it */
      for (int k = 0; k < 1000; k++) r.memory[k] = k == 17 || k == 18 || k >= 500 ? -1 : 1;
      CHECK(submit(&r, plan, NULL, 0, NULL, 0) == CREDENCE_INVALID_ARGUMENT);
      CHECK(strcmp(err.msg, "op 0, abs: element 17") == 0);
    }
    b->plan_close(plan);
    close_rig(&r);
  }
}

/* An op whose integer attributes come from arguments is checked again when they change. */
static void attribute_arguments(void) {
  rig r = open_rig(1);
  recipe p = {.n_slots = 1, .slot_bytes = {64}, .n_iargs = 1, .iarg_min = {-5}, .iarg_max = {1000}};
  start_op(&p, CREDENCE_OP_RANDOM_BITS, 0, 1, 0);
  add_tensor(&p, 0, 0, CREDENCE_I32, 3, -1, -1);
  add_i(&p, constant(7));
  add_i(&p, constant(8));
  add_i(&p, times_arg(1, 0));
  credence_plan *plan = open_plan(&r, &p), *wide = NULL;
  for (int64_t v = -5; v <= 1000; v += 201) {
    CHECK_STATUS(submit(&r, plan, &v, 1, NULL, 0), CREDENCE_OK, &err);
    const int32_t *y = (const int32_t *)r.memory;
    CHECK(y[0] == 7 && y[1] == 8 && y[2] == v);
  }
  p.i[2].value = -300; /* at the maximum it is small, at the minimum too large for the op */
  wide = open_plan(&r, &p);
  int64_t v = -5;
  CHECK(submit(&r, wide, &v, 1, NULL, 0) == CREDENCE_INVALID_ARGUMENT && strstr(err.msg, "op 0, random_bits") != NULL);
  v = -3;
  CHECK_STATUS(submit(&r, wide, &v, 1, NULL, 0), CREDENCE_OK, &err);
  b->plan_close(plan);
  b->plan_close(wide);
  close_rig(&r);
}

/* What a call says of its dense elements, with `rows` rows at first and then, where these are an argument, with one. */
static void dense_elements(void) {
  rig r = open_rig(1);
  enum { GAP = 12 * 4 }; /* a step of a row that is longer than the row */
  static const struct {
    int64_t rows, columns, x_row, x_column, y_row;
    int32_t x_dtype;
    int64_t dense, with_one_row;
  } cases[] = {{5, 8, 32, 4, 32, CREDENCE_F32, 40, 8},  {5, 8, GAP, 4, 32, CREDENCE_F32, -1, 8},
               {5, 8, 32, 4, GAP, CREDENCE_F32, -1, 8}, {5, 8, 4, 20, 32, CREDENCE_F32, -1, -1},
               {5, 8, 0, 4, 32, CREDENCE_F32, -1, 8},   {1, 8, GAP, 4, 32, CREDENCE_F32, 8, 8},
               {5, 1, 4, GAP, 4, CREDENCE_F32, 5, 1},   {1, 1, 0, 0, 0, CREDENCE_F32, 1, 1},
               {5, 8, 64, 8, 32, CREDENCE_F64, 40, 8},  {5, 8, 32, 8, 32, CREDENCE_F64, -1, 8},
               {5, 8, 8, 1, 32, CREDENCE_U8, 40, 8},    {5, 32, 34, 0, 128, CREDENCE_Q8_0, -1, -1}};
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    recipe p = {.n_slots = 1, .slot_bytes = {RIG_BYTES}, .n_iargs = 1, .iarg_min = {1}, .iarg_max = {5}};
    start_op(&p, CREDENCE_OP_SIGN, 1, 1, 0);
    credence_tensor *x = add_tensor(&p, 0, 0, cases[k].x_dtype, cases[k].rows, cases[k].columns, -1);
    credence_tensor *y = add_tensor(&p, 0, 8192, CREDENCE_F32, cases[k].rows, cases[k].columns, -1);
    x->stride[0] = cases[k].x_row;
    x->stride[1] = cases[k].x_column;
    y->stride[0] = cases[k].y_row;
    if (cases[k].rows > 1) x->dim[0] = y->dim[0] = times_arg(1, 0);
    credence_plan *plan = open_plan(&r, &p);
    for (int round = 0; round < 2; round++) {
      CHECK_STATUS(submit(&r, plan, (int64_t[]){5}, 1, NULL, 0), CREDENCE_OK, &err);
      CHECK(r.memory[2048] == (float)cases[k].dense);
      CHECK_STATUS(submit(&r, plan, (int64_t[]){1}, 1, NULL, 0), CREDENCE_OK, &err);
      CHECK(r.memory[2048] == (float)cases[k].with_one_row);
    }
    b->plan_close(plan);
  }
  close_rig(&r);
}

typedef struct canceller {
  credence_stream *stream;
  uint64_t tag;
  _Atomic int go;
} canceller;

static void *cancel_soon(void *arg) {
  canceller *c = arg;
  const struct timespec pause = {0, 5000000};
  while (!atomic_load(&c->go)) {
  }
  nanosleep(&pause, NULL);
  b->stream_cancel(c->stream, c->tag);
  return NULL;
}

static void cancellation(void) {
  for (int32_t threads = 1; threads <= 3; threads++) {
    rig r = open_rig(threads);
    recipe p = {.n_slots = 1, .slot_bytes = {RIG_BYTES}, .n_fargs = 1};
    add_map(&p, CREDENCE_OP_EXP, 2000, 0, 8192); /* two seconds if it is not stopped */
    add_f(&p, 1e6, -1);
    credence_plan *plan = open_plan(&r, &p);
    const double none[] = {0};
    pthread_t thread;
    canceller c = {r.stream, r.tag + 1, 0};
    pthread_create(&thread, NULL, cancel_soon, &c);
    atomic_store(&c.go, 1);
    uint64_t start, end;
    b->stream_clock(r.stream, &start, &err);
    CHECK(submit(&r, plan, NULL, 0, none, 1) == CREDENCE_CANCELLED && err.code == CREDENCE_CANCELLED);
    b->stream_clock(r.stream, &end, &err);
    CHECK(end - start < 1000000000u);
    pthread_join(thread, NULL);
    b->plan_close(plan);
    recipe q = {.n_slots = 1, .slot_bytes = {64}};
    for (int k = 0; k < 8; k++) add_fill(&q, k, 1, 4 * k);
    plan = open_plan(&r, &q);
    b->stream_cancel(r.stream, r.tag); /* stale: that submission is over */
    b->stream_cancel(r.stream, 1);
    CHECK_STATUS(submit(&r, plan, NULL, 0, NULL, 0), CREDENCE_OK, &err);
    b->stream_cancel(r.stream, r.tag + 1); /* before it starts */
    b->stream_cancel(r.stream, r.tag);     /* a stale one does not undo it */
    memset(r.memory, GUARD, 64);
    CHECK(submit(&r, plan, NULL, 0, NULL, 0) == CREDENCE_CANCELLED);
    CHECK(((const unsigned char *)r.memory)[0] == GUARD);
    CHECK_STATUS(submit(&r, plan, NULL, 0, NULL, 0), CREDENCE_OK, &err);
    for (int n = 0; n < 8; n++) { /* at every op: what came before is done, what comes after is not */
      char text[8];
      snprintf(text, sizeof text, "%d", n);
      CHECK_STATUS(b->set_option(r.device, "fault.cancel", text, &err), CREDENCE_OK, &err);
      memset(r.memory, GUARD, 64);
      CHECK(submit(&r, plan, NULL, 0, NULL, 0) == CREDENCE_CANCELLED);
      for (int k = 0; k < 8; k++) CHECK((r.memory[k] == (float)k) == (k < n));
      CHECK_STATUS(submit(&r, plan, NULL, 0, NULL, 0), CREDENCE_OK, &err);
    }
    b->plan_close(plan);
    close_rig(&r);
  }
}

static int32_t whole_life(credence_device *device) {
  credence_buffer *buffer = NULL, *large = NULL;
  credence_stream *stream = NULL;
  credence_plan *plan = NULL;
  recipe p = {.n_slots = 1, .slot_bytes = {8192}, .n_iargs = 1, .iarg_min = {0}, .iarg_max = {4}};
  add_map(&p, CREDENCE_OP_NEG, 100, 0, 4096);
  credence_plan_desc desc = desc_of(&p);
  const int64_t arg = 1;
  int32_t status = b->buffer_alloc(device, 8192, 0, &buffer, &err);
  if (status == CREDENCE_OK) status = b->buffer_alloc(device, 5 << 20, 0, &large, &err);
  if (status == CREDENCE_OK) status = b->stream_open(device, &stream, &err);
  if (status == CREDENCE_OK) status = b->op_supported(device, &desc, 0, &err);
  if (status == CREDENCE_OK) status = b->plan_open(device, &desc, &plan, &err);
  const credence_slot slot = {buffer, 0, 8192};
  if (status == CREDENCE_OK) status = b->stream_submit(stream, plan, 1, &slot, 1, &arg, 1, NULL, 0, &err);
  if (status == CREDENCE_OUT_OF_MEMORY && plan != NULL) /* the same submission works once there is memory */
    CHECK_STATUS(b->stream_submit(stream, plan, 1, &slot, 1, &arg, 1, NULL, 0, &err), CREDENCE_OK, &err);
  b->plan_close(plan);
  b->stream_close(stream);
  b->buffer_free(large);
  b->buffer_free(buffer);
  return status;
}

static void faults(void) {
  rig r = open_rig(2);
  char text[16];
  int n = 0;
  for (;; n++) { /* every allocation fails once, until a whole life passes */
    snprintf(text, sizeof text, "%d", n);
    CHECK_STATUS(b->set_option(r.device, "fault.alloc", text, &err), CREDENCE_OK, &err);
    int32_t status = whole_life(r.device);
    if (status == CREDENCE_OK) break;
    CHECK_STATUS(status, CREDENCE_OUT_OF_MEMORY, &err);
  }
  CHECK(n >= 8);
  CHECK_STATUS(b->set_option(r.device, "fault.alloc", "-1", &err), CREDENCE_OK, &err);
  CHECK(b->set_option(r.device, "fault.alloc", "two", &err) == CREDENCE_INVALID_ARGUMENT);
  CHECK(b->set_option(r.device, "fault.weather", "1", &err) == CREDENCE_UNSUPPORTED);
  recipe p = {.n_slots = 1, .slot_bytes = {64}};
  for (int k = 0; k < 4; k++) add_fill(&p, k + 1, 1, 4 * k);
  credence_plan *plan = open_plan(&r, &p), *none = NULL;
  for (int k = 0; k < 4; k++) {
    snprintf(text, sizeof text, "%d", k);
    memset(r.memory, 0, 64);
    CHECK_STATUS(b->set_option(r.device, "fault.op", text, &err), CREDENCE_OK, &err);
    CHECK(submit(&r, plan, NULL, 0, NULL, 0) == CREDENCE_FAULT && err.code == CREDENCE_FAULT);
    for (int at = 0; at < 4; at++) CHECK(r.memory[at] == (float)(at < k ? at + 1 : 0));
    CHECK_STATUS(submit(&r, plan, NULL, 0, NULL, 0), CREDENCE_OK, &err);
  }
  CHECK_STATUS(b->set_option(r.device, "fault.lost", "2", &err), CREDENCE_OK, &err);
  CHECK(submit(&r, plan, NULL, 0, NULL, 0) == CREDENCE_DEVICE_LOST);
  CHECK(submit(&r, plan, NULL, 0, NULL, 0) == CREDENCE_DEVICE_LOST); /* sticky */
  CHECK(b->stream_sync(r.stream, &err) == CREDENCE_DEVICE_LOST);
  credence_plan_desc desc = desc_of(&p);
  credence_buffer *buffer = NULL;
  CHECK(b->plan_open(r.device, &desc, &none, &err) == CREDENCE_DEVICE_LOST && none == NULL);
  CHECK(b->buffer_alloc(r.device, 64, 0, &buffer, &err) == CREDENCE_DEVICE_LOST && buffer == NULL);
  CHECK(b->buffer_read(NULL, text, r.buffer, 0, 4, &err) == CREDENCE_DEVICE_LOST);
  b->plan_close(plan);
  close_rig(&r);
}

typedef struct runner {
  rig *shared;
  credence_plan *plan;
  int number, rounds;
} runner;

static void *run_stream(void *arg) {
  const runner *me = arg;
  credence_error e;
  credence_stream *stream = NULL;
  credence_buffer *buffer = NULL;
  CHECK_STATUS(b->stream_open(me->shared->device, &stream, &e), CREDENCE_OK, &e);
  CHECK_STATUS(b->buffer_alloc(me->shared->device, RIG_BYTES, 0, &buffer, &e), CREDENCE_OK, &e);
  float *memory = b->buffer_host(buffer);
  const credence_slot slot = {buffer, 0, RIG_BYTES};
  for (int round = 1; round <= me->rounds; round++) {
    const float value = (float)(me->number * 1000 + round);
    for (int k = 0; k < 1000; k++) memory[k] = value;
    CHECK_STATUS(b->stream_submit(stream, me->plan, (uint64_t)round, &slot, 1, NULL, 0, NULL, 0, &e), CREDENCE_OK, &e);
    int wrong = 0;
    for (int k = 0; k < 1000; k++) wrong += memory[2048 + k] != -value || memory[4096 + k] != value;
    CHECK(wrong == 0);
  }
  b->buffer_free(buffer);
  b->stream_close(stream);
  return NULL;
}

static void several_streams(void) {
  enum { STREAMS = 5 };
  rig r = open_rig(3);
  recipe p = {.n_slots = 1, .slot_bytes = {RIG_BYTES}};
  add_map(&p, CREDENCE_OP_NEG, 1000, 0, 8192);
  add_map(&p, CREDENCE_OP_NEG, 1000, 8192, 16384);
  credence_plan *plan = open_plan(&r, &p);
  pthread_t threads[STREAMS];
  runner runners[STREAMS];
  for (int k = 0; k < STREAMS; k++) {
    runners[k] = (runner){&r, plan, k, 300};
    pthread_create(&threads[k], NULL, run_stream, &runners[k]);
  }
  for (int k = 0; k < STREAMS; k++) pthread_join(threads[k], NULL);
  b->plan_close(plan);
  close_rig(&r);
}

static void lives(void) {
  for (int k = 0; k < 1000; k++) {
    rig r = open_rig(1 + k % 4);
    CHECK_STATUS(whole_life(r.device), CREDENCE_OK, &err);
    if (k % 2 == 0) { /* any order */
      b->device_close(r.device);
      b->stream_close(r.stream);
      b->buffer_free(r.buffer);
    } else {
      close_rig(&r);
    }
  }
}

static void options(void) {
  rig r = open_rig(1);
  CHECK(b->set_option(r.device, "cpu_isa", "mmx", &err) == CREDENCE_UNSUPPORTED && strstr(err.msg, "generic") != NULL);
  CHECK_STATUS(b->set_option(r.device, "cpu_isa", "generic", &err), CREDENCE_OK, &err);
  CHECK_STATUS(b->set_option(r.device, "cpu_isa", "auto", &err), CREDENCE_OK, &err);
  CHECK_STATUS(whole_life(r.device), CREDENCE_OK, &err);
  CHECK(b->set_option(r.device, "cpu_isa", "generic", &err) == CREDENCE_INVALID_ARGUMENT);
  close_rig(&r);
}

int main(void) {
  b = credence_backend_entry();
  arguments();
  bindings();
  slots();
  guards_and_errors();
  attribute_arguments();
  dense_elements();
  cancellation();
  faults();
  several_streams();
  options();
  lives();
  return report("stream_test");
}

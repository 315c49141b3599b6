/* Memory-bound operations against the rate at which one thread reads memory: run by hand, prints one line per figure.
 *
 *   bandwidth_bench LIBRARY [MIB]    MIB: of a tensor, 1024; several times the last cache, which neighbours share
 *
 * The read rate is that of the fastest of several loops that do nothing but add up vectors. Loops and operations take
 * turns on one thread; medians of its processor time, in which other processes show less. What counts as traffic of an
 * operation: each input read once, each output written once. */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "credence_native.h"
#include "credence_ops.h"

enum { ROUNDS = 11, LANES = 16, UNROLL = 8 };
typedef int32_t lanes __attribute__((vector_size(4 * LANES)));

static const credence_backend *backend;
static credence_error err;
static volatile int32_t sink;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void must(int32_t status) {
  if (status == CREDENCE_OK) return;
  fprintf(stderr, "%s\n", err.msg);
  exit(1);
}

/* Adds up `streams` parts of the memory side by side, fetching `ahead` bytes in front. */
#define READ(NAME, TARGET)                                                                   \
  TARGET static int32_t NAME(const char *from, size_t bytes, size_t streams, size_t ahead) { \
    const size_t part = bytes / streams, step = sizeof(lanes) * UNROLL / streams;            \
    lanes sum[UNROLL] = {{0}};                                                               \
    for (size_t k = 0; k + step <= part; k += step)                                          \
      for (size_t u = 0; u < UNROLL; u++) {                                                  \
        const char *p = from + u % streams * part + k + u / streams * sizeof(lanes);         \
        if (ahead > 0) __builtin_prefetch(p + ahead, 0, 3);                                  \
        sum[u] += *(const lanes *)p;                                                         \
      }                                                                                      \
    for (int u = 1; u < UNROLL; u++) sum[0] += sum[u];                                       \
    int32_t all = 0;                                                                         \
    for (int k = 0; k < LANES; k++) all += sum[0][k];                                        \
    return all;                                                                              \
  }

READ(read_plain, )
#if defined(__x86_64__)
READ(read_avx2, __attribute__((target("avx2"))))
READ(read_avx512, __attribute__((target("avx512f"))))
#endif

typedef int32_t (*read_fn)(const char *from, size_t bytes, size_t streams, size_t ahead);

static read_fn widest(const char **name) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  *name = "avx512";
  if (__builtin_cpu_supports("avx512f")) return read_avx512;
  *name = "avx2";
  if (__builtin_cpu_supports("avx2")) return read_avx2;
#endif
  *name = "generic";
  return read_plain;
}

static const struct { size_t streams, ahead; } loops[] = {{1, 0}, {1, 1024}, {1, 4096}, {2, 0}, {4, 0}, {4, 1024}};

/* An operation over n_in inputs of n elements, one behind the other, and one output behind them. */
typedef struct operation {
  const char *name;
  uint32_t opcode, n_in;
  bool reduces;   /* to one number */
  bool activates; /* by ReLU */
  double traffic; /* tensors read and written */
  credence_plan *plan;
} operation;

static void record(credence_device *device, operation *o, int64_t n, uint64_t bytes) {
  credence_tensor t[3];
  memset(t, 0, sizeof t);
  for (uint32_t k = 0; k <= o->n_in; k++) {
    const int64_t size = k == o->n_in && o->reduces ? 1 : n;
    t[k] = (credence_tensor){.dtype = CREDENCE_F32,
                             .ndim = 1,
                             .base = (int64_t)k * n * 4,
                             .offset = {0, -1, 0},
                             .dim = {{size, -1, 0}},
                             .stride = {4}};
  }
  const credence_op op = {.opcode = o->opcode,
                          .n_in = o->n_in,
                          .n_out = 1,
                          .n_i = o->reduces || o->activates ? 1 : 0,
                          .n_f = o->activates ? 1 : 0};
  const credence_value i = {o->activates ? CREDENCE_ACT_RELU : 1, -1, 0};
  const credence_scalar f = {0, -1, 0};
  const credence_plan_desc desc = {.struct_size = sizeof desc,
                                   .n_ops = 1,
                                   .n_tensors = o->n_in + 1,
                                   .n_i = op.n_i,
                                   .n_f = op.n_f,
                                   .n_slots = 1,
                                   .ops = &op,
                                   .tensors = t,
                                   .i = &i,
                                   .f = &f,
                                   .slot_bytes = &bytes};
  must(backend->plan_open(device, &desc, &o->plan, &err));
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *v) {
  qsort(v, ROUNDS, sizeof *v, by_value);
  return v[ROUNDS / 2];
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  const credence_backend *(*entry)(void) = NULL;
  if (library != NULL) *(void **)&entry = dlsym(library, "credence_backend_entry");
  if (entry == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  backend = entry();
  const size_t one = (size_t)(argc > 2 ? atoi(argv[2]) : 1024) << 20, all = 3 * one;
  const int64_t n = (int64_t)(one / 4);
  credence_device *device;
  credence_buffer *buffer;
  credence_stream *stream;
  must(backend->device_open(0, 1, &device, &err));
  must(backend->buffer_alloc(device, all, 0, &buffer, &err));
  must(backend->stream_open(device, &stream, &err));
  char *memory = backend->buffer_host(buffer);
  for (size_t k = 0; k < all / 4; k++) ((float *)memory)[k] = (float)(k % 1021) - 510;

  enum { LOOPS = sizeof loops / sizeof *loops, OPS = 5 };
  operation ops[OPS] = {{"reduce_sum", CREDENCE_OP_REDUCE_SUM, 1, true, false, 1, NULL},
                        {"reduce_sum_squares", CREDENCE_OP_REDUCE_SUM_SQUARES, 1, true, false, 1, NULL},
                        {"reduce_max", CREDENCE_OP_REDUCE_MAX, 1, true, false, 1, NULL},
                        {"activation relu", CREDENCE_OP_ACTIVATION, 1, false, true, 2, NULL},
                        {"add", CREDENCE_OP_ADD, 2, false, false, 3, NULL}};
  for (int k = 0; k < OPS; k++) record(device, &ops[k], n, all);
  const credence_slot slot = {buffer, 0, all};
  const char *width;
  const read_fn read = widest(&width);
  static double loop_seconds[LOOPS][ROUNDS], op_seconds[OPS][ROUNDS], copy_seconds[ROUNDS];
  uint64_t tag = 0;
  for (int round = -1; round < ROUNDS; round++) { /* the first is for warmth */
    const int at = round < 0 ? 0 : round;
    for (int k = 0; k < LOOPS; k++) {
      double start = now();
      sink = read(memory, one, loops[k].streams, loops[k].ahead);
      loop_seconds[k][at] = now() - start;
    }
    for (int k = 0; k < OPS; k++) {
      double start = now();
      must(backend->stream_submit(stream, ops[k].plan, ++tag, &slot, 1, NULL, 0, NULL, 0, &err));
      op_seconds[k][at] = now() - start;
    }
    double start = now();
    memcpy(memory + 2 * one, memory, one);
    copy_seconds[at] = now() - start;
  }

  const double gib = (double)one / (1u << 30);
  double best = 0;
  printf("%s\none thread, tensors of %zu MiB, in turn, medians of %d\n", backend->build, one >> 20, ROUNDS);
  for (int k = 0; k < LOOPS; k++) {
    double rate = gib / median(loop_seconds[k]);
    if (rate > best) best = rate;
    printf("  read loop, %s, %zu at once, prefetch %4zu %7.2f GiB/s\n", width, loops[k].streams, loops[k].ahead, rate);
  }
  printf("  read bandwidth: the fastest         %7.2f GiB/s\n", best);
  for (int k = 0; k < OPS; k++) {
    double rate = ops[k].traffic * gib / median(op_seconds[k]);
    printf("  %-19s %.0f read, %.0f written %7.2f GiB/s, %.2f of the read bandwidth\n", ops[k].name,
           ops[k].traffic - !ops[k].reduces, (double)!ops[k].reduces, rate, rate / best);
  }
  double rate = 2 * gib / median(copy_seconds);
  printf("  %-19s 1 read, 1 written %7.2f GiB/s, %.2f of the read bandwidth\n", "the C library's memcpy", rate,
         rate / best);
  for (int k = 0; k < OPS; k++) backend->plan_close(ops[k].plan);
  backend->stream_close(stream);
  backend->buffer_free(buffer);
  backend->device_close(device);
  return 0;
}

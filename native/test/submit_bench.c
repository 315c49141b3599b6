/* Times submissions and the pool: run by hand, prints one line per figure.
 *
 *   submit_bench THREADS            the core, with probe ops that do next to nothing, and the pool
 *   submit_bench THREADS LIBRARY    a backend, with its own kernels */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "credence_native.h"
#include "credence_ops.h"

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static const credence_backend *backend;
static credence_error err;

static void must(int32_t status) {
  if (status == CREDENCE_OK) return;
  fprintf(stderr, "%s\n", err.msg);
  exit(1);
}

static uint64_t tag;

/* Nanoseconds per submission: median of 15 runs. */
static double time_submit(credence_stream *s, credence_plan *p, const credence_slot *slot, int count) {
  double ns[15];
  for (int run = 0; run < 15; run++) {
    double start = now();
    for (int k = 0; k < count; k++) must(backend->stream_submit(s, p, ++tag, slot, 1, NULL, 0, NULL, 0, &err));
    ns[run] = (now() - start) / count;
  }
  qsort(ns, 15, sizeof *ns, by_value);
  return ns[7];
}

static credence_plan *plan_of(credence_device *device, uint32_t n, uint32_t opcode, int64_t elements, uint64_t bytes) {
  credence_op ops[16];
  credence_tensor tensors[48];
  credence_scalar f[16];
  memset(tensors, 0, sizeof tensors);
  uint32_t per_op = opcode == CREDENCE_OP_FILL ? 1 : opcode == CREDENCE_OP_ADD ? 3 : 2, n_t = 0;
  for (uint32_t k = 0; k < n; k++) {
    ops[k] = (credence_op){.opcode = opcode, .n_in = per_op - 1, .n_out = 1, .first_tensor = n_t, .first_f = k};
    ops[k].n_f = per_op == 1 ? 1 : 0;
    f[k] = (credence_scalar){.value = 1, .arg = -1};
    for (uint32_t t = 0; t < per_op; t++, n_t++)
      tensors[n_t] = (credence_tensor){.dtype = CREDENCE_F32,
                                       .ndim = 1,
                                       .base = (int64_t)t * ((elements * 4 + 63) / 64 * 64),
                                       .offset = {0, -1, 0},
                                       .dim = {{elements, -1, 0}},
                                       .stride = {4}};
  }
  credence_plan_desc desc = {.struct_size = sizeof desc,
                             .n_ops = n,
                             .n_tensors = n_t,
                             .n_f = n,
                             .n_slots = 1,
                             .ops = ops,
                             .tensors = tensors,
                             .f = f,
                             .slot_bytes = &bytes};
  credence_plan *p = NULL;
  must(backend->plan_open(device, &desc, &p, &err));
  return p;
}

/* One parallel op, with workers still watching (gap 0) or asleep. */
static double time_parallel(credence_stream *s, credence_plan *p, const credence_slot *slot, long gap_us) {
  double ns[101];
  for (int k = 0; k < 101; k++) {
    struct timespec gap = {0, gap_us * 1000};
    if (gap_us > 0) nanosleep(&gap, NULL);
    double start = now();
    must(backend->stream_submit(s, p, ++tag, slot, 1, NULL, 0, NULL, 0, &err));
    ns[k] = now() - start;
  }
  qsort(ns, 101, sizeof *ns, by_value);
  return ns[50];
}

static void measure(int32_t threads, bool probe) {
  const uint64_t bytes = 1 << 20;
  credence_device *device;
  credence_buffer *buffer;
  credence_stream *s;
  must(backend->device_open(0, threads, &device, &err));
  must(backend->buffer_alloc(device, bytes, 0, &buffer, &err));
  must(backend->stream_open(device, &s, &err));
  const credence_slot slot = {buffer, 0, bytes};
  static const struct {
    const char *name;
    uint32_t opcode;
  } tiny[] = {{"fill", CREDENCE_OP_FILL}, {"neg", CREDENCE_OP_NEG}, {"add", CREDENCE_OP_ADD}};
  for (size_t k = 0; k < (probe ? 1 : sizeof tiny / sizeof *tiny); k++)
    for (uint32_t n = 0; n <= 16; n = n == 0 ? 1 : n * 16) {
      credence_plan *p = plan_of(device, n, tiny[k].opcode, 4, bytes);
      printf("%2d threads, %2u x %-4s of 4 elements: %8.1f ns\n", threads, n, tiny[k].name,
             time_submit(s, p, &slot, 5000));
      backend->plan_close(p);
    }
  for (int64_t tasks = 2; probe && tasks <= 2 * threads; tasks *= 2) { /* 64 elements each */
    credence_plan *p = plan_of(device, 1, CREDENCE_OP_NEG, tasks * 64, bytes);
    printf("%2d threads, %3lld tasks: %8.0f ns at once, %8.0f ns after 1 ms\n", threads, (long long)tasks,
           time_parallel(s, p, &slot, 0), time_parallel(s, p, &slot, 1000));
    backend->plan_close(p);
  }
  backend->stream_close(s);
  backend->buffer_free(buffer);
  backend->device_close(device);
}

int main(int argc, char **argv) {
  const credence_backend *(*entry)(void) = credence_backend_entry;
  if (argc < 2 || atoi(argv[1]) < 1) {
    fprintf(stderr, "usage: submit_bench THREADS [LIBRARY]\n");
    return 2;
  }
  if (argc > 2) {
    void *library = dlopen(argv[2], RTLD_NOW | RTLD_LOCAL);
    if (library != NULL) *(void **)&entry = dlsym(library, "credence_backend_entry");
    if (library == NULL || entry == NULL) {
      fprintf(stderr, "%s\n", dlerror());
      return 1;
    }
  }
  backend = entry();
  printf("%s\n", backend->build);
  for (int32_t threads = 1; threads <= atoi(argv[1]); threads *= 2) measure(threads, argc == 2);
  return 0;
}

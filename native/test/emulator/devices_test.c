/* devices_test.c: a backend with two devices leaves each thread's current device as the host has set it, whichever of
 * them it uses and in whatever order they are closed.
 *
 *   CREDENCE_EMULATOR_DEVICES=2 devices_test LIBRARY */
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include "harness.h"

static int current(void) {
  int device = -1;
  cudaGetDevice(&device);
  return device;
}

int main(int argc, char **argv) {
  void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  const credence_backend *(*entry)(void) = NULL;
  if (library != NULL) *(void **)&entry = dlsym(library, "credence_backend_entry");
  if (entry == NULL) return fprintf(stderr, "usage: devices_test LIBRARY\n"), 2;
  const credence_backend *b = entry();
  credence_error err;
  credence_device *device[2] = {NULL, NULL};
  credence_stream *stream[2] = {NULL, NULL};
  credence_buffer *buffer[2] = {NULL, NULL};
  for (int host = 0; host < 2; host++) {
    CHECK(cudaSetDevice(host) == cudaSuccess);
    for (int d = 0; d < 2; d++) {
      CHECK_STATUS(b->device_open(d, 1, &device[d], &err), CREDENCE_OK, &err);
      CHECK_STATUS(b->stream_open(device[d], &stream[d], &err), CREDENCE_OK, &err);
      CHECK_STATUS(b->buffer_alloc(device[d], 64, CREDENCE_BUFFER_DEVICE, &buffer[d], &err), CREDENCE_OK, &err);
      CHECK(current() == host);
    }
    for (int d = 0; d < 2; d++) {
      static recipe r;
      r = (recipe){.n_slots = 1, .slot_bytes = {64}};
      add_fill(&r, d + 1, 16, 0);
      const credence_plan_desc desc = desc_of(&r);
      const credence_slot slot = {buffer[d], 0, 64};
      credence_plan *plan = NULL;
      float y[16];
      CHECK_STATUS(b->plan_open(device[d], &desc, &plan, &err), CREDENCE_OK, &err);
      for (uint64_t tag = 1; tag < 4; tag++)
        CHECK_STATUS(b->stream_submit(stream[d], plan, tag, &slot, 1, NULL, 0, NULL, 0, &err), CREDENCE_OK, &err);
      CHECK_STATUS(b->buffer_read(stream[d], y, buffer[d], 0, sizeof y, &err), CREDENCE_OK, &err);
      CHECK_STATUS(b->stream_sync(stream[d], &err), CREDENCE_OK, &err);
      CHECK(y[0] == (float)(d + 1) && y[15] == (float)(d + 1) && current() == host);
      b->plan_close(plan);
    }
    const credence_slot foreign = {buffer[1], 0, 64}; /* the other device's memory is refused */
    recipe r = {.n_slots = 1, .slot_bytes = {64}};
    add_fill(&r, 1, 16, 0);
    const credence_plan_desc desc = desc_of(&r);
    credence_plan *plan = NULL;
    CHECK_STATUS(b->plan_open(device[0], &desc, &plan, &err), CREDENCE_OK, &err);
    CHECK_STATUS(b->stream_submit(stream[0], plan, 10, &foreign, 1, NULL, 0, NULL, 0, &err), CREDENCE_INVALID_ARGUMENT,
                 &err);
    b->plan_close(plan);
    for (int d = 1; d >= 0; d--) {
      b->device_close(device[d]);
      b->buffer_free(buffer[d]);
      b->stream_close(stream[d]);
      CHECK(current() == host);
    }
  }
  return report("devices_test");
}

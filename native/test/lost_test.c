/* lost_test.c: a device that breaks under the backend. A kernel of somebody else in the process writes where no memory
 * is; from then on every call must say DEVICE_LOST, with CUDA's words, and closing must still work. For backends on
 * CUDA.
 *
 *   lost_test LIBRARY */
#include <dlfcn.h>
#include <stdio.h>

#include "break_device.h"
#include "harness.h"

int main(int argc, char **argv) {
  void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  const credence_backend *(*entry)(void) = NULL;
  if (library != NULL) *(void **)&entry = dlsym(library, "credence_backend_entry");
  if (entry == NULL) {
    fprintf(stderr, "usage: lost_test LIBRARY\n%s\n", argc > 1 ? dlerror() : "");
    return 2;
  }
  const credence_backend *b = entry();
  const uint64_t bytes = 1 << 20;
  credence_error err;
  credence_device *device = NULL, *again = NULL;
  credence_stream *stream = NULL;
  credence_buffer *buffer = NULL, *more = NULL;
  credence_plan *plan = NULL;
  CHECK_STATUS(b->device_open(0, 1, &device, &err), CREDENCE_OK, &err);
  CHECK_STATUS(b->stream_open(device, &stream, &err), CREDENCE_OK, &err);
  CHECK_STATUS(b->buffer_alloc(device, bytes, CREDENCE_BUFFER_DEVICE, &buffer, &err), CREDENCE_OK, &err);
  if (report("lost_test, before") != 0) return 1;
  static recipe r;
  r.n_slots = 1;
  r.slot_bytes[0] = bytes;
  add_map(&r, CREDENCE_OP_NEG, 1000, 0, 8192);
  const credence_plan_desc desc = desc_of(&r);
  const credence_slot slot = {buffer, 0, bytes};
  CHECK_STATUS(b->plan_open(device, &desc, &plan, &err), CREDENCE_OK, &err);
  uint64_t tag = 0;
  for (int k = 0; k < 3; k++) { /* the third as a graph */
    CHECK_STATUS(b->stream_submit(stream, plan, ++tag, &slot, 1, NULL, 0, NULL, 0, &err), CREDENCE_OK, &err);
    CHECK_STATUS(b->stream_sync(stream, &err), CREDENCE_OK, &err);
  }

  CHECK(break_device() == 0);
  float host[4] = {0};
  for (int k = 0; k < 2; k++) {
    int32_t status = b->stream_submit(stream, plan, ++tag, &slot, 1, NULL, 0, NULL, 0, &err);
    if (status == CREDENCE_OK) status = b->stream_sync(stream, &err);
    CHECK_STATUS(status, CREDENCE_DEVICE_LOST, &err);
    printf("%s\n", err.msg);
    CHECK(strstr(err.msg, "illegal") != NULL);
    CHECK_STATUS(b->buffer_read(NULL, host, buffer, 0, sizeof host, &err), CREDENCE_DEVICE_LOST, &err);
    CHECK_STATUS(b->buffer_alloc(device, bytes, CREDENCE_BUFFER_DEVICE, &more, &err), CREDENCE_DEVICE_LOST, &err);
    CHECK(more == NULL);
  }
  b->plan_close(plan);
  b->buffer_free(buffer);
  b->stream_close(stream);
  b->device_close(device);
  CHECK(b->device_open(0, 1, &again, &err) != CREDENCE_OK && again == NULL && err.msg[0] != '\0');
  return report("lost_test");
}

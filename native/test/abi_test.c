/* The handshake and the arguments of every function of a backend's table. Takes the library as its argument, and what
 * the reason must say where it opens no device. */
#include <dlfcn.h>
#include <stddef.h>

#include "harness.h"

static credence_error err;

static void handshake(const credence_backend *b) {
  CHECK(b->abi == CREDENCE_ABI);
  CHECK(b->struct_size == sizeof *b);
  CHECK(b->name != NULL && b->name[0] != '\0');
  CHECK(b->build != NULL && b->build[0] != '\0');
  /* no function may be missing: the host calls them without looking */
  const char *table = (const char *)b;
  for (size_t at = offsetof(credence_backend, device_count); at < sizeof *b; at += sizeof(void (*)(void))) {
    void (*f)(void);
    memcpy(&f, table + at, sizeof f);
    CHECK(f != NULL);
  }
  CHECK(offsetof(credence_backend, struct_size) == 0 && offsetof(credence_backend, abi) == 4); /* for ever */
}

/* Null handles are refused or ignored, never followed; a null error is allowed. */
static void null_handles(const credence_backend *b) {
  credence_device *device = NULL;
  credence_buffer *buffer = NULL;
  credence_stream *stream = NULL;
  credence_plan *plan = NULL;
  recipe r = {0};
  credence_plan_desc desc = desc_of(&r);
  char bytes[8];
  uint64_t ns;
  for (int round = 0; round < 2; round++) {
    credence_error *e = round == 0 ? &err : NULL;
    CHECK(b->device_count(NULL, e) == CREDENCE_INVALID_ARGUMENT);
    CHECK(b->device_open(0, 1, NULL, e) == CREDENCE_INVALID_ARGUMENT);
    CHECK(b->device_info(0, NULL, NULL, e) == CREDENCE_INVALID_ARGUMENT);
    CHECK(b->set_option(NULL, "math", "strict", e) == CREDENCE_INVALID_ARGUMENT);
    CHECK(b->buffer_alloc(NULL, 8, 0, &buffer, e) == CREDENCE_INVALID_ARGUMENT);
    CHECK(b->buffer_wrap(NULL, bytes, 8, &buffer, e) == CREDENCE_INVALID_ARGUMENT);
    CHECK(b->buffer_write(NULL, NULL, 0, bytes, 8, e) == CREDENCE_INVALID_ARGUMENT);
    CHECK(b->buffer_read(NULL, bytes, NULL, 0, 8, e) == CREDENCE_INVALID_ARGUMENT);
    CHECK(b->buffer_copy(NULL, NULL, 0, NULL, 0, 8, e) == CREDENCE_INVALID_ARGUMENT);
    CHECK(b->op_supported(NULL, &desc, 0, e) == CREDENCE_INVALID_ARGUMENT);
    CHECK(b->plan_open(NULL, &desc, &plan, e) == CREDENCE_INVALID_ARGUMENT);
    CHECK(b->stream_open(NULL, &stream, e) == CREDENCE_INVALID_ARGUMENT);
    CHECK(b->stream_submit(NULL, NULL, 1, NULL, 0, NULL, 0, NULL, 0, e) == CREDENCE_INVALID_ARGUMENT);
    CHECK(b->stream_sync(NULL, e) == CREDENCE_INVALID_ARGUMENT);
    CHECK(b->stream_clock(NULL, &ns, e) == CREDENCE_INVALID_ARGUMENT);
  }
  CHECK(err.code == CREDENCE_INVALID_ARGUMENT && err.msg[0] != '\0');
  CHECK(b->buffer_host(NULL) == NULL);
  b->device_close(device);
  b->buffer_free(buffer);
  b->plan_close(plan);
  b->stream_close(stream);
  b->stream_cancel(stream, 1);
}

static void devices(const credence_backend *b, int32_t count) {
  credence_device *device = NULL;
  credence_device_info info = {.struct_size = sizeof info};
  CHECK(b->device_open(count, 1, &device, &err) == CREDENCE_NO_DEVICE && device == NULL && err.msg[0] != '\0');
  CHECK(b->device_open(-1, 1, &device, &err) == CREDENCE_NO_DEVICE && device == NULL);
  CHECK(b->device_open(0, 0, &device, &err) == CREDENCE_INVALID_ARGUMENT && device == NULL);
  CHECK(b->device_open(0, -5, &device, &err) == CREDENCE_INVALID_ARGUMENT);
  const int32_t many =
      b->device_open(0, INT32_MAX, &device, &err); /* more than there can be; a GPU has no use for them */
  CHECK(many == CREDENCE_INVALID_ARGUMENT || (many == CREDENCE_OK && strcmp(b->name, "cuda") == 0));
  b->device_close(device);
  CHECK(b->device_info(count, NULL, &info, &err) == CREDENCE_NO_DEVICE);
  CHECK_STATUS(b->device_info(0, NULL, &info, &err), CREDENCE_OK, &err);
  CHECK(info.name[0] != '\0' && info.arch[0] != '\0' && info.compute_units >= 1);
  CHECK(info.memory_total > 0 && info.memory_free <= info.memory_total);
  info.struct_size = 8;
  CHECK(b->device_info(0, NULL, &info, &err) == CREDENCE_INVALID_ARGUMENT);
  info.struct_size = sizeof info;
  CHECK_STATUS(b->device_open(0, 3, &device, &err), CREDENCE_OK, &err);
  CHECK_STATUS(b->device_info(0, device, &info, &err), CREDENCE_OK, &err);
  CHECK(info.detail[0] != '\0');
  CHECK(b->set_option(device, NULL, "x", &err) == CREDENCE_INVALID_ARGUMENT);
  CHECK(b->set_option(device, "math", NULL, &err) == CREDENCE_INVALID_ARGUMENT);
  CHECK(b->set_option(device, "colour", "red", &err) == CREDENCE_UNSUPPORTED && strstr(err.msg, "colour") != NULL);
  CHECK(b->set_option(device, "math", "fast", &err) == CREDENCE_UNSUPPORTED && strstr(err.msg, "strict") != NULL);
  CHECK_STATUS(b->set_option(device, "math", "strict", &err), CREDENCE_OK, &err);
  b->device_close(device);
}

static void memory(const credence_backend *b) {
  credence_device *device = NULL;
  credence_buffer *buffer = NULL, *other = NULL;
  char from[100], to[100];
  memset(from, 7, sizeof from);
  CHECK_STATUS(b->device_open(0, 1, &device, &err), CREDENCE_OK, &err);
  CHECK(b->buffer_alloc(device, 64, 99, &buffer, &err) == CREDENCE_INVALID_ARGUMENT);
  CHECK(b->buffer_alloc(device, UINT64_MAX, 0, &buffer, &err) == CREDENCE_OUT_OF_MEMORY && buffer == NULL);
  CHECK(b->buffer_alloc(device, UINT64_MAX / 2, 0, &buffer, &err) == CREDENCE_OUT_OF_MEMORY && buffer == NULL);
  CHECK(b->buffer_alloc(device, UINT64_C(1) << 50, 0, &buffer, &err) == CREDENCE_OUT_OF_MEMORY && buffer == NULL);
  CHECK(b->buffer_alloc(device, 64, 0, NULL, &err) == CREDENCE_INVALID_ARGUMENT);
  const uint64_t sizes[] = {0, 1, 100, 4096, (4u << 20) - 1, (4u << 20), (9u << 20) + 3};
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
    CHECK_STATUS(b->buffer_alloc(device, sizes[k], k % 2, &buffer, &err), CREDENCE_OK, &err);
    const char *host = b->buffer_host(buffer);
    if (host != NULL) { /* a device with its own memory shows none */
      CHECK((uintptr_t)host % 64 == 0);
      uint64_t bad = 0;
      for (uint64_t at = 0; at < sizes[k]; at++) bad += host[at] != 0;
      CHECK(bad == 0);
    }
    b->buffer_free(buffer);
  }
  CHECK_STATUS(b->buffer_alloc(device, 100, 0, &buffer, &err), CREDENCE_OK, &err);
  CHECK_STATUS(b->buffer_alloc(device, 50, 0, &other, &err), CREDENCE_OK, &err);
  CHECK_STATUS(b->buffer_write(NULL, buffer, 0, from, 100, &err), CREDENCE_OK, &err);
  CHECK_STATUS(b->buffer_write(NULL, buffer, 100, NULL, 0, &err), CREDENCE_OK, &err);
  CHECK(b->buffer_write(NULL, buffer, 1, from, 100, &err) == CREDENCE_INVALID_ARGUMENT);
  CHECK(b->buffer_write(NULL, buffer, UINT64_MAX, from, 2, &err) == CREDENCE_INVALID_ARGUMENT);
  CHECK(b->buffer_write(NULL, buffer, 0, NULL, 1, &err) == CREDENCE_INVALID_ARGUMENT);
  CHECK(b->buffer_read(NULL, to, buffer, 99, 2, &err) == CREDENCE_INVALID_ARGUMENT);
  CHECK(b->buffer_read(NULL, NULL, buffer, 0, 1, &err) == CREDENCE_INVALID_ARGUMENT);
  CHECK(b->buffer_copy(NULL, other, 0, buffer, 0, 51, &err) == CREDENCE_INVALID_ARGUMENT);
  CHECK(b->buffer_copy(NULL, other, 51, buffer, 0, 0, &err) == CREDENCE_INVALID_ARGUMENT);
  CHECK_STATUS(b->buffer_copy(NULL, other, 10, buffer, 20, 40, &err), CREDENCE_OK, &err);
  CHECK_STATUS(b->buffer_copy(NULL, buffer, 1, buffer, 0, 99, &err), CREDENCE_OK, &err); /* over itself */
  CHECK_STATUS(b->buffer_read(NULL, to, other, 0, 50, &err), CREDENCE_OK, &err);
  for (int k = 0; k < 50; k++) CHECK(to[k] == (k < 10 ? 0 : 7));
  b->buffer_free(other);
  CHECK(b->buffer_wrap(device, NULL, 8, &other, &err) == CREDENCE_INVALID_ARGUMENT);
  CHECK(b->buffer_wrap(device, from, UINT64_MAX, &other, &err) == CREDENCE_INVALID_ARGUMENT);
  CHECK_STATUS(b->buffer_wrap(device, from, sizeof from, &other, &err), CREDENCE_OK, &err);
  CHECK(b->buffer_write(NULL, other, 0, to, 1, &err) == CREDENCE_INVALID_ARGUMENT); /* read-only */
  CHECK(b->buffer_copy(NULL, other, 0, buffer, 0, 1, &err) == CREDENCE_INVALID_ARGUMENT);
  CHECK_STATUS(b->buffer_copy(NULL, buffer, 0, other, 0, 100, &err), CREDENCE_OK, &err);
  b->device_close(device); /* buffers may outlive the host's hold on the device */
  b->buffer_free(buffer);
  b->buffer_free(other);
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
  const credence_backend *b = entry();
  CHECK(b == entry());
  handshake(b);
  null_handles(b);
  int32_t count = -1, status = b->device_count(&count, &err);
  CHECK((status == CREDENCE_OK && count >= 1) || (status == CREDENCE_NO_DEVICE && count == 0));
  credence_device *device = NULL;
  const int32_t opened = b->device_open(0, 1, &device, &err);
  if (opened == CREDENCE_OK) {
    CHECK(argc < 3); /* a reason was to be given */
    b->device_close(device);
    devices(b, count);
    memory(b);
  } else { /* a reason, and nothing that crashes */
    CHECK(opened == CREDENCE_NO_DEVICE || opened == CREDENCE_UNSUPPORTED);
    CHECK(device == NULL && err.code == opened && err.msg[0] != '\0');
    CHECK(argc < 3 || strstr(err.msg, argv[2]) != NULL);
    printf("%s: no device: %s\n", b->name, err.msg);
  }
  return report(b->name);
}

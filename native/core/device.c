/* What all devices share: references, their loss, faults, and the checks of a copy. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

void cr_device_init(credence_device *device, const char *backend, int32_t threads, void (*destroy)(credence_device *)) {
  device->refs = 1;
  device->backend = backend;
  device->threads = threads;
  device->destroy = destroy;
  device->faults.alloc = device->faults.op = device->faults.cancel = device->faults.lost = -1;
}

void cr_device_retain(credence_device *device) { atomic_fetch_add_explicit(&device->refs, 1, memory_order_relaxed); }

void cr_device_release(credence_device *device) {
  if (atomic_fetch_sub_explicit(&device->refs, 1, memory_order_acq_rel) != 1) return;
  device->destroy(device);
}

int32_t cr_device_alive(credence_device *device, credence_error *err) {
  if (device->alive != NULL) return device->alive(device, err);
  if (atomic_load_explicit(&device->lost, memory_order_relaxed) == 0) return CREDENCE_OK;
  return cr_fail(err, CREDENCE_DEVICE_LOST, "the device was lost (injected); close it");
}

int32_t cr_set_fault(credence_device *device, const char *key, const char *value, credence_error *err) {
  _Atomic int64_t *count = strcmp(key, "fault.alloc") == 0    ? &device->faults.alloc
                           : strcmp(key, "fault.op") == 0     ? &device->faults.op
                           : strcmp(key, "fault.cancel") == 0 ? &device->faults.cancel
                           : strcmp(key, "fault.lost") == 0   ? &device->faults.lost
                                                              : NULL;
  if (count == NULL)
    return cr_fail(err, CREDENCE_UNSUPPORTED, "option %.32s is unknown; faults are alloc, op, cancel and lost", key);
#ifdef CREDENCE_FAULTS
  char *end;
  errno = 0;
  long long n = strtoll(value, &end, 10);
  if (*value == '\0' || *end != '\0' || errno != 0)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s=%.32s: not a whole number", key, value);
  atomic_store(count, n);
  return CREDENCE_OK;
#else
  (void)value;
  return cr_fail(err, CREDENCE_UNSUPPORTED, "%s: this build injects no faults (CREDENCE_FAULTS=ON)", key);
#endif
}

int32_t cr_check_buffer_alloc(credence_device *device, uint32_t flags, credence_buffer **out, credence_error *err) {
  if (device == NULL || out == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "buffer_alloc: null argument");
  *out = NULL;
  if (flags != CREDENCE_BUFFER_DEVICE && flags != CREDENCE_BUFFER_PINNED_HOST)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "buffer_alloc: flags are %u; 0 (device) and 1 (pinned) are known",
                   flags);
  return cr_device_alive(device, err);
}

int32_t cr_check_buffer_wrap(credence_device *device, const void *host, uint64_t bytes, credence_buffer **out,
                             credence_error *err) {
  if (device == NULL || out == NULL || host == NULL)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "buffer_wrap: null argument");
  *out = NULL;
  if (bytes > PTRDIFF_MAX || (uintptr_t)host > UINTPTR_MAX - bytes)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "buffer_wrap: %llu bytes do not fit behind the address",
                   (unsigned long long)bytes);
  return cr_device_alive(device, err);
}

int32_t cr_check_copy(const char *call, const credence_stream *stream, const credence_buffer *b, uint64_t offset,
                      uint64_t bytes, bool write, credence_error *err) {
  if (b == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: null buffer", call);
  if (stream != NULL && stream->device != b->device)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: buffer and stream belong to different devices", call);
  if (offset > b->bytes || bytes > b->bytes - offset)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: %llu bytes at %llu do not lie in a buffer of %llu", call,
                   (unsigned long long)bytes, (unsigned long long)offset, (unsigned long long)b->bytes);
  if (write && b->read_only)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "%s: the buffer wraps host memory and is read-only", call);
  return cr_device_alive(b->device, err);
}

/* The backend's functions where the library was built without nvcc: it finds and describes the devices and says why it
 * opens none. No handle can therefore exist, and what takes one has nothing to do but say so. */
#include <string.h>

#include "driver.h"
#include "table.h"

static int32_t null_argument(const char *call, credence_error *err) {
  return cu_fail(err, CREDENCE_INVALID_ARGUMENT, 0, "%s: null argument", call);
}

int32_t cu_device_count(int32_t *count, credence_error *err) {
  if (count == NULL) return null_argument("device_count", err);
  return cu_driver_count(count, err);
}

static int32_t check_index(const char *call, int32_t index, credence_error *err) {
  int32_t count, status = cu_driver_count(&count, err);
  if (status != CREDENCE_OK || (index >= 0 && index < count)) return status;
  return cu_fail(err, CREDENCE_NO_DEVICE, 0, "%s: there is no device %d; there are %d, from 0", call, index, count);
}

int32_t cu_device_open(int32_t index, int32_t threads, credence_device **out, credence_error *err) {
  if (out == NULL) return null_argument("device_open", err);
  *out = NULL;
  int32_t status = check_index("device_open", index, err);
  if (status != CREDENCE_OK) return status;
  if (threads < 1) return cu_fail(err, CREDENCE_INVALID_ARGUMENT, 0, "device_open: %d threads; at least 1", threads);
  credence_device_info info = {.struct_size = sizeof info};
  status = cu_driver_info(index, &info, err);
  if (status != CREDENCE_OK) return status;
  return cu_fail(
      err, CREDENCE_UNSUPPORTED, 0,
      "%s (%s) is here, but this library has no kernels: it was built without nvcc (CREDENCE_CUDA=ON needs it)",
      info.name, info.arch);
}

void cu_device_close(credence_device *device) { (void)device; }

int32_t cu_device_info(int32_t index, const credence_device *device, credence_device_info *out, credence_error *err) {
  (void)device;
  if (out == NULL) return null_argument("device_info", err);
  const uint32_t size = out->struct_size;
  if (size < sizeof *out)
    return cu_fail(err, CREDENCE_INVALID_ARGUMENT, 0, "device_info: struct_size is %u, %zu is needed", size,
                   sizeof *out);
  int32_t status = check_index("device_info", index, err);
  if (status != CREDENCE_OK) return status;
  memset(out, 0, sizeof *out);
  out->struct_size = size;
  return cu_driver_info(index, out, err);
}

int32_t cu_set_option(credence_device *device, const char *key, const char *value, credence_error *err) {
  (void)device, (void)key, (void)value;
  return null_argument("set_option", err);
}

int32_t cu_buffer_alloc(credence_device *device, uint64_t bytes, uint32_t flags, credence_buffer **out,
                        credence_error *err) {
  (void)device, (void)bytes, (void)flags, (void)out;
  return null_argument("buffer_alloc", err);
}

int32_t cu_buffer_wrap(credence_device *device, const void *host, uint64_t bytes, credence_buffer **out,
                       credence_error *err) {
  (void)device, (void)host, (void)bytes, (void)out;
  return null_argument("buffer_wrap", err);
}

void cu_buffer_free(credence_buffer *buffer) { (void)buffer; }

void *cu_buffer_host(credence_buffer *buffer) {
  (void)buffer;
  return NULL;
}

int32_t cu_buffer_write(credence_stream *stream, credence_buffer *dst, uint64_t offset, const void *src, uint64_t bytes,
                        credence_error *err) {
  (void)stream, (void)dst, (void)offset, (void)src, (void)bytes;
  return null_argument("buffer_write", err);
}

int32_t cu_buffer_read(credence_stream *stream, void *dst, credence_buffer *src, uint64_t offset, uint64_t bytes,
                       credence_error *err) {
  (void)stream, (void)dst, (void)src, (void)offset, (void)bytes;
  return null_argument("buffer_read", err);
}

int32_t cu_buffer_copy(credence_stream *stream, credence_buffer *dst, uint64_t dst_offset, credence_buffer *src,
                       uint64_t src_offset, uint64_t bytes, credence_error *err) {
  (void)stream, (void)dst, (void)dst_offset, (void)src, (void)src_offset, (void)bytes;
  return null_argument("buffer_copy", err);
}

int32_t cr_op_supported(credence_device *device, const credence_plan_desc *desc, uint32_t op_index,
                        credence_error *err) {
  (void)device, (void)desc, (void)op_index;
  return null_argument("op_supported", err);
}

int32_t cr_plan_open(credence_device *device, const credence_plan_desc *desc, credence_plan **out,
                     credence_error *err) {
  (void)device, (void)desc, (void)out;
  return null_argument("plan_open", err);
}

void cr_plan_close(credence_plan *plan) { (void)plan; }

int32_t cu_stream_open(credence_device *device, credence_stream **out, credence_error *err) {
  (void)device, (void)out;
  return null_argument("stream_open", err);
}

void cu_stream_close(credence_stream *stream) { (void)stream; }

int32_t cu_stream_submit(credence_stream *stream, credence_plan *plan, uint64_t tag, const credence_slot *slots,
                         uint32_t n_slots, const int64_t *iargs, uint32_t n_iargs, const double *fargs,
                         uint32_t n_fargs, credence_error *err) {
  (void)stream, (void)plan, (void)tag, (void)slots, (void)n_slots, (void)iargs, (void)n_iargs, (void)fargs,
      (void)n_fargs;
  return null_argument("stream_submit", err);
}

int32_t cu_stream_sync(credence_stream *stream, credence_error *err) {
  (void)stream;
  return null_argument("stream_sync", err);
}

void cr_stream_cancel(credence_stream *stream, uint64_t tag) { (void)stream, (void)tag; }

int32_t cu_stream_clock(credence_stream *stream, uint64_t *nanoseconds, credence_error *err) {
  (void)stream, (void)nanoseconds;
  return null_argument("stream_clock", err);
}

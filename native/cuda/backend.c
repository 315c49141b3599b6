/* The CUDA backend's table. This version finds and describes the devices and says why it opens none: it has no
 * operations yet. No handle can therefore exist, and what takes one has nothing to do but say so. */
#include <string.h>

#include "driver.h"

#ifdef CREDENCE_CUDA_KERNELS
#define BUILD "credence " CREDENCE_VERSION ", " CREDENCE_COMPILER ", nvcc " CREDENCE_NVCC
#else
#define BUILD "credence " CREDENCE_VERSION ", " CREDENCE_COMPILER ", without nvcc: no kernels"
#endif

static int32_t null_argument(const char *call, credence_error *err) {
  return cu_fail(err, CREDENCE_INVALID_ARGUMENT, 0, "%s: null argument", call);
}

/* Why device `index` cannot be opened, though it is there. */
static int32_t unusable(int32_t index, credence_error *err) {
  credence_device_info info = {.struct_size = sizeof info};
  int32_t status = cu_driver_info(index, &info, err);
  if (status != CREDENCE_OK) return status;
#ifdef CREDENCE_CUDA_KERNELS
  status = cu_probe(index, err);
  if (status != CREDENCE_OK) return status;
  return cu_fail(err, CREDENCE_UNSUPPORTED, 0,
                 "%s (%s) is here and runs kernels, but this version has no operations for it", info.name, info.arch);
#else
  return cu_fail(
      err, CREDENCE_UNSUPPORTED, 0,
      "%s (%s) is here, but this library has no kernels: it was built without nvcc (CREDENCE_CUDA=ON needs it)",
      info.name, info.arch);
#endif
}

static int32_t device_count(int32_t *count, credence_error *err) {
  if (count == NULL) return null_argument("device_count", err);
  return cu_driver_count(count, err);
}

static int32_t check_index(const char *call, int32_t index, credence_error *err) {
  int32_t count, status = cu_driver_count(&count, err);
  if (status != CREDENCE_OK || (index >= 0 && index < count)) return status;
  return cu_fail(err, CREDENCE_NO_DEVICE, 0, "%s: there is no device %d; there are %d, from 0", call, index, count);
}

static int32_t device_open(int32_t index, int32_t threads, credence_device **out, credence_error *err) {
  if (out == NULL) return null_argument("device_open", err);
  *out = NULL;
  int32_t status = check_index("device_open", index, err);
  if (status != CREDENCE_OK) return status;
  if (threads < 1) return cu_fail(err, CREDENCE_INVALID_ARGUMENT, 0, "device_open: %d threads; at least 1", threads);
  return unusable(index, err);
}

static void device_close(credence_device *device) { (void)device; }

static int32_t device_info(int32_t index, const credence_device *device, credence_device_info *out,
                           credence_error *err) {
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

/* ---- what takes a handle ---- */

static int32_t set_option(credence_device *device, const char *key, const char *value, credence_error *err) {
  (void)device, (void)key, (void)value;
  return null_argument("set_option", err);
}

static int32_t buffer_alloc(credence_device *device, uint64_t bytes, uint32_t flags, credence_buffer **out,
                            credence_error *err) {
  (void)device, (void)bytes, (void)flags, (void)out;
  return null_argument("buffer_alloc", err);
}

static int32_t buffer_wrap(credence_device *device, const void *host, uint64_t bytes, credence_buffer **out,
                           credence_error *err) {
  (void)device, (void)host, (void)bytes, (void)out;
  return null_argument("buffer_wrap", err);
}

static void buffer_free(credence_buffer *buffer) { (void)buffer; }

static void *buffer_host(credence_buffer *buffer) {
  (void)buffer;
  return NULL;
}

static int32_t buffer_write(credence_stream *stream, credence_buffer *dst, uint64_t offset, const void *src,
                            uint64_t bytes, credence_error *err) {
  (void)stream, (void)dst, (void)offset, (void)src, (void)bytes;
  return null_argument("buffer_write", err);
}

static int32_t buffer_read(credence_stream *stream, void *dst, credence_buffer *src, uint64_t offset, uint64_t bytes,
                           credence_error *err) {
  (void)stream, (void)dst, (void)src, (void)offset, (void)bytes;
  return null_argument("buffer_read", err);
}

static int32_t buffer_copy(credence_stream *stream, credence_buffer *dst, uint64_t dst_offset, credence_buffer *src,
                           uint64_t src_offset, uint64_t bytes, credence_error *err) {
  (void)stream, (void)dst, (void)dst_offset, (void)src, (void)src_offset, (void)bytes;
  return null_argument("buffer_copy", err);
}

static int32_t op_supported(credence_device *device, const credence_plan_desc *desc, uint32_t op_index,
                            credence_error *err) {
  (void)device, (void)desc, (void)op_index;
  return null_argument("op_supported", err);
}

static int32_t plan_open(credence_device *device, const credence_plan_desc *desc, credence_plan **out,
                         credence_error *err) {
  (void)device, (void)desc, (void)out;
  return null_argument("plan_open", err);
}

static void plan_close(credence_plan *plan) { (void)plan; }

static int32_t stream_open(credence_device *device, credence_stream **out, credence_error *err) {
  (void)device, (void)out;
  return null_argument("stream_open", err);
}

static void stream_close(credence_stream *stream) { (void)stream; }

static int32_t stream_submit(credence_stream *stream, credence_plan *plan, uint64_t tag, const credence_slot *slots,
                             uint32_t n_slots, const int64_t *iargs, uint32_t n_iargs, const double *fargs,
                             uint32_t n_fargs, credence_error *err) {
  (void)stream, (void)plan, (void)tag, (void)slots, (void)n_slots, (void)iargs, (void)n_iargs, (void)fargs,
      (void)n_fargs;
  return null_argument("stream_submit", err);
}

static int32_t stream_sync(credence_stream *stream, credence_error *err) {
  (void)stream;
  return null_argument("stream_sync", err);
}

static void stream_cancel(credence_stream *stream, uint64_t tag) { (void)stream, (void)tag; }

static int32_t stream_clock(credence_stream *stream, uint64_t *nanoseconds, credence_error *err) {
  (void)stream, (void)nanoseconds;
  return null_argument("stream_clock", err);
}

static const credence_backend backend = {
    .struct_size = sizeof(credence_backend),
    .abi = CREDENCE_ABI,
    .name = "cuda",
    .build = BUILD,
    .device_count = device_count,
    .device_open = device_open,
    .device_close = device_close,
    .device_info = device_info,
    .set_option = set_option,
    .buffer_alloc = buffer_alloc,
    .buffer_wrap = buffer_wrap,
    .buffer_free = buffer_free,
    .buffer_host = buffer_host,
    .buffer_write = buffer_write,
    .buffer_read = buffer_read,
    .buffer_copy = buffer_copy,
    .op_supported = op_supported,
    .plan_open = plan_open,
    .plan_close = plan_close,
    .stream_open = stream_open,
    .stream_close = stream_close,
    .stream_submit = stream_submit,
    .stream_sync = stream_sync,
    .stream_cancel = stream_cancel,
    .stream_clock = stream_clock,
};

__attribute__((visibility("default"))) const credence_backend *credence_backend_entry(void) { return &backend; }

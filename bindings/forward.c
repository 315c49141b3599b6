// clang-format off
//go:build cgo && unix

// clang-format on

/* forward.c: one forwarder per entry of the backend's table. */
#include "forward.h"

/* A backend that fails without filling err must not leave an older message in it. */
static credence_error *fresh(credence_error *err) {
  err->code = err->native_code = 0;
  err->msg[0] = '\0';
  return err;
}

static const credence_backend *table(const crb_backend *b) { return (const credence_backend *)b; }

int32_t crb_device_count(const crb_backend *b, int32_t *count, credence_error *err) {
  return table(b)->device_count(count, fresh(err));
}

int32_t crb_device_open(const crb_backend *b, int32_t index, int32_t threads, credence_device **out,
                        credence_error *err) {
  return table(b)->device_open(index, threads, out, fresh(err));
}

void crb_device_close(const crb_backend *b, credence_device *device) { table(b)->device_close(device); }

int32_t crb_device_info(const crb_backend *b, int32_t index, const credence_device *device, credence_device_info *out,
                        credence_error *err) {
  out->struct_size = sizeof *out;
  return table(b)->device_info(index, device, out, fresh(err));
}

int32_t crb_set_option(const crb_backend *b, credence_device *device, const char *key, const char *value,
                       credence_error *err) {
  return table(b)->set_option(device, key, value, fresh(err));
}

int32_t crb_buffer_alloc(const crb_backend *b, credence_device *device, uint64_t bytes, uint32_t flags,
                         credence_buffer **out, void **host, credence_error *err) {
  int32_t status = table(b)->buffer_alloc(device, bytes, flags, out, fresh(err));
  if (status == CREDENCE_OK && *out != NULL) *host = table(b)->buffer_host(*out);
  return status;
}

int32_t crb_buffer_wrap(const crb_backend *b, credence_device *device, const void *host, uint64_t bytes,
                        credence_buffer **out, void **seen, credence_error *err) {
  int32_t status = table(b)->buffer_wrap(device, host, bytes, out, fresh(err));
  if (status == CREDENCE_OK && *out != NULL) *seen = table(b)->buffer_host(*out);
  return status;
}

void crb_buffer_free(const crb_backend *b, credence_buffer *buffer) { table(b)->buffer_free(buffer); }

int32_t crb_buffer_write(const crb_backend *b, credence_stream *stream, credence_buffer *dst, uint64_t offset,
                         const void *src, uint64_t bytes, credence_error *err) {
  return table(b)->buffer_write(stream, dst, offset, src, bytes, fresh(err));
}

int32_t crb_buffer_read(const crb_backend *b, credence_stream *stream, void *dst, credence_buffer *src, uint64_t offset,
                        uint64_t bytes, credence_error *err) {
  return table(b)->buffer_read(stream, dst, src, offset, bytes, fresh(err));
}

/* Without a stream the backend's copy is done on return anyway. */
static int32_t settle(const crb_backend *b, credence_stream *stream, int32_t status, credence_error *err) {
  return status != CREDENCE_OK || stream == NULL ? status : table(b)->stream_sync(stream, fresh(err));
}

int32_t crb_buffer_write_now(const crb_backend *b, credence_stream *stream, credence_buffer *dst, uint64_t offset,
                             const void *src, uint64_t bytes, credence_error *err) {
  return settle(b, stream, crb_buffer_write(b, stream, dst, offset, src, bytes, err), err);
}

int32_t crb_buffer_read_now(const crb_backend *b, credence_stream *stream, void *dst, credence_buffer *src,
                            uint64_t offset, uint64_t bytes, credence_error *err) {
  return settle(b, stream, crb_buffer_read(b, stream, dst, src, offset, bytes, err), err);
}

int32_t crb_buffer_copy(const crb_backend *b, credence_stream *stream, credence_buffer *dst, uint64_t dst_offset,
                        credence_buffer *src, uint64_t src_offset, uint64_t bytes, credence_error *err) {
  return table(b)->buffer_copy(stream, dst, dst_offset, src, src_offset, bytes, fresh(err));
}

int32_t crb_plan(const crb_backend *b, credence_device *device, const credence_op *ops, uint32_t n_ops,
                 const credence_tensor *tensors, uint32_t n_tensors, const credence_value *i, uint32_t n_i,
                 const credence_scalar *f, uint32_t n_f, const int64_t *iarg_min, const int64_t *iarg_max,
                 uint32_t n_iargs, uint32_t n_fargs, const uint64_t *slot_bytes, uint32_t n_slots, uint32_t op_index,
                 credence_plan **out, credence_error *err) {
  credence_plan_desc desc = {
      .struct_size = sizeof desc,
      .n_ops = n_ops,
      .n_tensors = n_tensors,
      .n_i = n_i,
      .n_f = n_f,
      .n_slots = n_slots,
      .n_iargs = n_iargs,
      .n_fargs = n_fargs,
      .ops = ops,
      .tensors = tensors,
      .i = i,
      .f = f,
      .iarg_min = iarg_min,
      .iarg_max = iarg_max,
      .slot_bytes = slot_bytes,
  };
  if (out == NULL) return table(b)->op_supported(device, &desc, op_index, fresh(err));
  return table(b)->plan_open(device, &desc, out, fresh(err));
}

void crb_plan_close(const crb_backend *b, credence_plan *plan) { table(b)->plan_close(plan); }

int32_t crb_stream_open(const crb_backend *b, credence_device *device, credence_stream **out, credence_error *err) {
  return table(b)->stream_open(device, out, fresh(err));
}

void crb_stream_close(const crb_backend *b, credence_stream *stream) { table(b)->stream_close(stream); }

int32_t crb_stream_submit(const crb_backend *b, credence_stream *stream, credence_plan *plan, uint64_t tag,
                          const crb_slots *slots, uint32_t n_slots, const int64_t *iargs, uint32_t n_iargs,
                          const double *fargs, uint32_t n_fargs, credence_error *err) {
  return table(b)->stream_submit(stream, plan, tag, (const credence_slot *)slots, n_slots, iargs, n_iargs, fargs,
                                 n_fargs, fresh(err));
}

int32_t crb_stream_sync(const crb_backend *b, credence_stream *stream, credence_error *err) {
  return table(b)->stream_sync(stream, fresh(err));
}

int32_t crb_stream_run(const crb_backend *b, credence_stream *stream, credence_plan *plan, uint64_t tag,
                       const crb_slots *slots, uint32_t n_slots, const int64_t *iargs, uint32_t n_iargs,
                       const double *fargs, uint32_t n_fargs, credence_error *err) {
  const int32_t status = crb_stream_submit(b, stream, plan, tag, slots, n_slots, iargs, n_iargs, fargs, n_fargs, err);
  return status != CREDENCE_OK ? status : table(b)->stream_sync(stream, err);
}

void crb_stream_cancel(const crb_backend *b, credence_stream *stream, uint64_t tag) {
  table(b)->stream_cancel(stream, tag);
}

int32_t crb_stream_clock(const crb_backend *b, credence_stream *stream, uint64_t *nanoseconds, credence_error *err) {
  return table(b)->stream_clock(stream, nanoseconds, fresh(err));
}

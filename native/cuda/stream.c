/* Streams: queues of submissions on the device, and what becomes known about them only when they have run. */
#include "device.h"

#include <string.h>

static int32_t open_parts(cu_stream *s, cu_device *d, credence_error *err) {
  int32_t status =
      cu_check(d, "cudaStreamCreateWithFlags", cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking), err);
  for (int k = 0; k < 2 && status == CREDENCE_OK; k++)
    status = cu_check(d, "cudaEventCreate", cudaEventCreateWithFlags(&s->clock[k], cudaEventDefault), err);
  if (status == CREDENCE_OK) status = cu_check(d, "cudaEventRecord", cudaEventRecord(s->clock[0], s->stream), err);
  if (status == CREDENCE_OK)
    status = cu_memory_alloc(d, s->stream, sizeof *s->fault, "a stream's record of faults", (char **)&s->fault, err);
  if (status == CREDENCE_OK)
    status = cu_check(d, "cudaMemsetAsync", cudaMemsetAsync(s->fault, 0, sizeof *s->fault, s->stream), err);
  if (status == CREDENCE_OK)
    status = cu_check(d, "cudaHostAlloc",
                      cudaHostAlloc((void **)&s->fault_seen, sizeof *s->fault_seen, cudaHostAllocPortable), err);
  if (status == CREDENCE_OK) memset(s->fault_seen, 0, sizeof *s->fault_seen);
  if (status == CREDENCE_OK) status = cu_blas_open(s->stream, &s->blas, err);
  return status;
}

static void close_parts(cu_stream *s, cu_device *d) {
  cr_bindings_free(&s->base);
  cu_blas_close(s->blas);
  cu_staging_close(&s->staging);
  if (s->fault_seen != NULL) cudaFreeHost(s->fault_seen);
  cu_memory_free(d, s->stream, (char *)s->fault);
  cu_memory_free(d, s->stream, s->scratch);
  for (int k = 0; k < 2; k++)
    if (s->clock[k] != NULL) cudaEventDestroy(s->clock[k]);
  if (s->stream != NULL) cudaStreamDestroy(s->stream);
}

int32_t cu_stream_open(credence_device *device, credence_stream **out, credence_error *err) {
  if (device == NULL || out == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "stream_open: null argument");
  *out = NULL;
  int32_t status = cr_device_alive(device, err);
  if (status != CREDENCE_OK) return status;
  cu_stream *s = cr_alloc(device, sizeof *s, "a stream", err);
  if (s == NULL) return CREDENCE_OUT_OF_MEMORY;
  cu_device *d = cu_device_of(device);
  s->base.device = device;
  void *before = cu_enter(d);
  status = open_parts(s, d, err);
  if (status != CREDENCE_OK) close_parts(s, d);
  cu_leave(d, before);
  if (status != CREDENCE_OK) {
    cr_free(s);
    return status;
  }
  cr_device_retain(device);
  *out = &s->base;
  return CREDENCE_OK;
}

void cu_stream_close(credence_stream *stream) {
  if (stream == NULL) return;
  cu_stream *s = cu_stream_of(stream);
  credence_device *device = stream->device;
  cu_device *d = cu_device_of(device);
  void *before = cu_enter(d);
  close_parts(s, d);
  cu_leave(d, before);
  cr_free(s);
  cr_device_release(device);
}

/* Waits, and turns what a kernel found wrong into words, while the submission it belongs to is still known. */
static int32_t settle(cu_stream *s, credence_error *err) {
  cu_device *d = cu_device_of(s->base.device);
  int32_t status = cu_check(d, "the stream's work", cudaStreamSynchronize(s->stream), err);
  const credence_plan *p = s->unreported;
  const cr_binding *b = s->unreported_binding;
  s->unreported = NULL;
  if (status != CREDENCE_OK || p == NULL || s->fault_seen->code == CREDENCE_OK) return status;
  const cu_fault fault = *s->fault_seen;
  memset(s->fault_seen, 0, sizeof *s->fault_seen);
  status = cu_check(d, "cudaMemsetAsync", cudaMemsetAsync(s->fault, 0, sizeof *s->fault, s->stream), err);
  if (status != CREDENCE_OK) return status;
  if (fault.op >= p->n_ops)
    return cr_fail(err, CREDENCE_INTERNAL, "a kernel recorded a fault of operation %u of %u", fault.op, p->n_ops);
  const cr_op_row *row = p->ops[fault.op].row;
  cr_clear(err);
  if (row->explain != NULL) row->explain(&b->steps[fault.op].call, fault.at, fault.value, err);
  if (err != NULL) err->code = fault.code;
  return cr_name_op(fault.op, row->opcode, fault.code, err);
}

/* The first late error is kept for stream_sync. */
static void settle_early(cu_stream *s) {
  credence_error e;
  const int32_t status = settle(s, &e);
  if (status != CREDENCE_OK && s->late.code == CREDENCE_OK) s->late = e;
}

int32_t cu_stream_sync(credence_stream *stream, credence_error *err) {
  if (stream == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "stream_sync: null stream");
  int32_t status = cr_device_alive(stream->device, err);
  if (status != CREDENCE_OK) return status;
  cu_stream *s = cu_stream_of(stream);
  cu_device *d = cu_device_of(stream->device);
  void *before = cu_enter(d);
  status = settle(s, err);
  cu_leave(d, before);
  if (s->late.code == CREDENCE_OK) return status;
  if (err != NULL) *err = s->late;
  status = s->late.code;
  s->late.code = CREDENCE_OK;
  return status;
}

/* Time between events comes as a float of milliseconds: the clock is set forward at each reading, so that the intervals
 * stay short enough for it. */
int32_t cu_stream_clock(credence_stream *stream, uint64_t *nanoseconds, credence_error *err) {
  if (stream == NULL || nanoseconds == NULL)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "stream_clock: null argument");
  cu_stream *s = cu_stream_of(stream);
  cu_device *d = cu_device_of(stream->device);
  int32_t status = cr_device_alive(stream->device, err);
  if (status != CREDENCE_OK) return status;
  void *before = cu_enter(d);
  float milliseconds = 0;
  status = cu_check(d, "cudaEventRecord", cudaEventRecord(s->clock[1], s->stream), err);
  if (status == CREDENCE_OK) status = cu_check(d, "cudaEventSynchronize", cudaEventSynchronize(s->clock[1]), err);
  if (status == CREDENCE_OK)
    status = cu_check(d, "cudaEventElapsedTime", cudaEventElapsedTime(&milliseconds, s->clock[0], s->clock[1]), err);
  cu_leave(d, before);
  if (status != CREDENCE_OK) return status;
  const cudaEvent_t now = s->clock[1];
  s->clock[1] = s->clock[0];
  s->clock[0] = now;
  s->clock_ns += (uint64_t)((double)milliseconds * 1e6 + .5);
  *nanoseconds = s->clock_ns;
  return CREDENCE_OK;
}

static int32_t grow_scratch(cu_stream *s, cu_device *d, size_t bytes, credence_error *err) {
  if (bytes <= s->scratch_bytes) return CREDENCE_OK;
  char *scratch = NULL;
  int32_t status = cu_memory_alloc(d, s->stream, bytes, "a stream's scratch", &scratch, err);
  if (status != CREDENCE_OK) return status;
  cu_memory_free(d, s->stream, s->scratch); /* after the work enqueued so far */
  s->scratch = scratch;
  s->scratch_bytes = bytes;
  s->scratch_version++;
  return CREDENCE_OK;
}

static bool may_fault(const credence_plan *p) {
  for (uint32_t k = 0; k < p->n_ops; k++)
    if (p->ops[k].row->explain != NULL) return true;
  return false;
}

int32_t cu_stream_submit(credence_stream *stream, credence_plan *p, uint64_t tag, const credence_slot *slots,
                         uint32_t n_slots, const int64_t *iargs, uint32_t n_iargs, const double *fargs,
                         uint32_t n_fargs, credence_error *err) {
  if (stream == NULL || p == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "submit: null stream or plan");
  cu_stream *s = cu_stream_of(stream);
  cu_device *d = cu_device_of(stream->device);
  void *before = cu_enter(d);
  /* A fault's words need the submission's shapes, so one that can fail late is settled before the next. */
  if (s->unreported != NULL) settle_early(s);
  int32_t status = CREDENCE_OK;
  cr_binding *b = cr_bind(stream, p, tag, slots, n_slots, iargs, n_iargs, fargs, n_fargs, &status, err);
  if (b != NULL) status = grow_scratch(s, d, p->scratch, err);
  if (b != NULL && status == CREDENCE_OK) {
    stream->last_tag = tag;
    status = cu_run_plan(s, b, p, tag, fargs, err);
    if (status == CREDENCE_OK && may_fault(p)) {
      s->unreported = p;
      s->unreported_binding = b;
    } else if (status != CREDENCE_OK && s->fault != NULL) { /* what it left behind must not stop the next */
      cudaMemsetAsync(s->fault, 0, sizeof *s->fault, s->stream);
    }
  }
  cu_leave(d, before);
  return status;
}

/* fake.c: a small backend for the tests of package bindings. Each -DFAKE_... makes one thing wrong; without any it is a
 * right one that records what it was given. */
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "credence_native.h"

struct credence_device {
  int32_t index, threads;
  char option[64];
};
struct credence_buffer {
  char *host;
  uint64_t bytes;
  int wrapped, hidden;
};
struct credence_plan {
  uint32_t n_slots, n_iargs, n_fargs;
};
struct credence_stream {
  _Atomic uint64_t cancelled;
  double sum;
};

static int32_t fail(credence_error *err, int32_t code, int32_t native, const char *msg) {
  err->code = code;
  err->native_code = native;
  snprintf(err->msg, sizeof err->msg, "%s", msg);
  return code;
}

static int32_t device_count(int32_t *count, credence_error *err) {
#ifdef FAKE_NO_DEVICE
  (void)count;
  return fail(err, CREDENCE_NO_DEVICE, 100, "driver too old");
#else
  (void)err;
  *count = 2;
  return CREDENCE_OK;
#endif
}

static int32_t device_open(int32_t index, int32_t threads, credence_device **out, credence_error *err) {
  if (index == 1) return CREDENCE_OK; /* claims success, gives nothing */
  if (index != 0) {
    memset(err->msg, 0xff, sizeof err->msg); /* no NUL, no UTF-8 */
    return 42;
  }
  *out = calloc(1, sizeof **out);
  (*out)->threads = threads;
  return CREDENCE_OK;
}

static void device_close(credence_device *d) { free(d); }

static int32_t device_info(int32_t index, const credence_device *d, credence_device_info *out, credence_error *err) {
  if (out->struct_size < sizeof *out) return fail(err, CREDENCE_INVALID_ARGUMENT, 0, "struct_size");
  out->index = index;
  snprintf(out->name, sizeof out->name, "fake %d", index);
  memset(out->uuid, 'u', sizeof out->uuid); /* full to the last byte */
  snprintf(out->detail, sizeof out->detail, "%s", d ? d->option : "closed");
  out->memory_total = 1 << 20;
  out->compute_units = d ? d->threads : 0;
  out->integrated_memory = 1;
  return CREDENCE_OK;
}

static int32_t set_option(credence_device *d, const char *key, const char *value, credence_error *err) {
  if (strcmp(key, "math") != 0) return fail(err, CREDENCE_UNSUPPORTED, 0, "unknown option");
  snprintf(d->option, sizeof d->option, "%s=%s", key, value);
  return CREDENCE_OK;
}

static int32_t buffer_alloc(credence_device *d, uint64_t bytes, uint32_t flags, credence_buffer **out,
                            credence_error *err) {
  (void)d;
  if (bytes > 1 << 20) return fail(err, CREDENCE_OUT_OF_MEMORY, 2, "1048576 bytes at most");
  *out = calloc(1, sizeof **out);
  (*out)->bytes = bytes;
  (*out)->host = aligned_alloc(64, (bytes + 64) / 64 * 64);
  (*out)->hidden = flags == CREDENCE_BUFFER_PINNED_HOST; /* the wrong way round, to tell the two apart */
  memset((*out)->host, 0, bytes);
  return CREDENCE_OK;
}

static int32_t buffer_wrap(credence_device *d, const void *host, uint64_t bytes, credence_buffer **out,
                           credence_error *err) {
  (void)d, (void)err;
  *out = calloc(1, sizeof **out);
  (*out)->host = (char *)host;
  (*out)->bytes = bytes;
  (*out)->wrapped = 1;
  return CREDENCE_OK;
}

static void buffer_free(credence_buffer *b) {
  if (!b->wrapped) free(b->host);
  free(b);
}

static void *buffer_host(credence_buffer *b) { return b->hidden ? NULL : b->host; }

static int32_t buffer_write(credence_stream *s, credence_buffer *dst, uint64_t offset, const void *src, uint64_t bytes,
                            credence_error *err) {
  (void)s;
  if (offset + bytes > dst->bytes) return fail(err, CREDENCE_INVALID_ARGUMENT, 0, "write past the end");
  memcpy(dst->host + offset, src, bytes);
  return CREDENCE_OK;
}

static int32_t buffer_read(credence_stream *s, void *dst, credence_buffer *src, uint64_t offset, uint64_t bytes,
                           credence_error *err) {
  (void)s;
  if (offset + bytes > src->bytes) return fail(err, CREDENCE_INVALID_ARGUMENT, 0, "read past the end");
  memcpy(dst, src->host + offset, bytes);
  return CREDENCE_OK;
}

static int32_t buffer_copy(credence_stream *s, credence_buffer *dst, uint64_t dst_offset, credence_buffer *src,
                           uint64_t src_offset, uint64_t bytes, credence_error *err) {
  if (src_offset + bytes > src->bytes) return fail(err, CREDENCE_INVALID_ARGUMENT, 0, "copy past the end");
  return buffer_write(s, dst, dst_offset, src->host + src_offset, bytes, err);
}

/* Says what it was given, for the test to compare. */
static int32_t op_supported(credence_device *d, const credence_plan_desc *p, uint32_t op, credence_error *err) {
  (void)d;
  if (op >= p->n_ops) return fail(err, CREDENCE_INVALID_ARGUMENT, 0, "no such op");
  const credence_op *o = &p->ops[op];
  const credence_tensor *t = &p->tensors[o->first_tensor];
  char text[248];
  snprintf(text, sizeof text,
           "size=%u opcode=%u io=%u,%u,%u attr=%u,%u first=%u,%u,%u slot=%d dtype=%d ndim=%d flags=%d base=%lld "
           "offset=%lld*%d dim4=%lld*%d stride4=%lld i=%lld*%d f=%g*%d iargs=%u[%lld,%lld] fargs=%u slots=%u[%llu]",
           p->struct_size == sizeof *p, o->opcode, o->n_in, o->n_out, o->n_inout, o->n_i, o->n_f, o->first_tensor,
           o->first_i, o->first_f, t->slot, t->dtype, t->ndim, t->flags, (long long)t->base, (long long)t->offset.value,
           t->offset.arg, (long long)t->dim[4].value, t->dim[4].arg, (long long)t->stride[4],
           (long long)p->i[o->first_i].value, p->i[o->first_i].arg, p->f[o->first_f].value, p->f[o->first_f].arg,
           p->n_iargs, (long long)p->iarg_min[0], (long long)p->iarg_max[0], p->n_fargs, p->n_slots,
           (unsigned long long)p->slot_bytes[p->n_slots - 1]);
  return fail(err, CREDENCE_UNSUPPORTED, 0, text);
}

static int32_t plan_open(credence_device *d, const credence_plan_desc *p, credence_plan **out, credence_error *err) {
  (void)d, (void)err;
  *out = calloc(1, sizeof **out);
  (*out)->n_slots = p->n_slots;
  (*out)->n_iargs = p->n_iargs;
  (*out)->n_fargs = p->n_fargs;
  return CREDENCE_OK;
}

static void plan_close(credence_plan *p) { free(p); }

static int32_t stream_open(credence_device *d, credence_stream **out, credence_error *err) {
  (void)d, (void)err;
  *out = calloc(1, sizeof **out);
  return CREDENCE_OK;
}

static void stream_close(credence_stream *s) { free(s); }

/* "Computes" sum of offsets + sizes + iargs + fargs, which stream_clock then reports. */
static int32_t stream_submit(credence_stream *s, credence_plan *p, uint64_t tag, const credence_slot *slots,
                             uint32_t n_slots, const int64_t *iargs, uint32_t n_iargs, const double *fargs,
                             uint32_t n_fargs, credence_error *err) {
  if (n_slots != p->n_slots || n_iargs != p->n_iargs || n_fargs != p->n_fargs)
    return fail(err, CREDENCE_INVALID_ARGUMENT, 0, "counts");
  s->sum = 0;
  for (uint32_t k = 0; k < n_slots; k++) {
    if (slots[k].buffer == NULL) return fail(err, CREDENCE_INVALID_ARGUMENT, 0, "null buffer");
    s->sum += (double)(slots[k].offset + slots[k].size);
  }
  for (uint32_t k = 0; k < n_iargs; k++) s->sum += (double)iargs[k];
  for (uint32_t k = 0; k < n_fargs; k++) s->sum += fargs[k];
  if (atomic_load(&s->cancelled) == tag) return CREDENCE_CANCELLED; /* without a message */
  return CREDENCE_OK;
}

static int32_t stream_sync(credence_stream *s, credence_error *err) {
  if (s->sum < 0) return fail(err, CREDENCE_DEVICE_LOST, 719, "negative sum");
  return CREDENCE_OK;
}

static void stream_cancel(credence_stream *s, uint64_t tag) { atomic_store(&s->cancelled, tag); }

static int32_t stream_clock(credence_stream *s, uint64_t *ns, credence_error *err) {
  (void)err;
  *ns = (uint64_t)s->sum;
  return CREDENCE_OK;
}

static const credence_backend table = {
#ifdef FAKE_SMALL
    .struct_size = offsetof(credence_backend, stream_clock),
#else
    .struct_size = sizeof(credence_backend),
#endif
#ifdef FAKE_ABI
    .abi = FAKE_ABI,
#else
    .abi = CREDENCE_ABI,
#endif
    .name = "fake",
    .build = "fake 1.0, for tests",
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
#ifndef FAKE_NULL_ENTRY
    .stream_submit = stream_submit,
#endif
    .stream_sync = stream_sync,
    .stream_cancel = stream_cancel,
    .stream_clock = stream_clock,
};

#ifdef FAKE_UNRESOLVED
extern int32_t credence_test_symbol_that_nobody_defines(void);
#endif

#ifndef FAKE_NO_SYMBOL
__attribute__((visibility("default"))) const credence_backend *credence_backend_entry(void) {
#ifdef FAKE_UNRESOLVED
  if (credence_test_symbol_that_nobody_defines()) return NULL;
#endif
#ifdef FAKE_NO_TABLE
  return NULL;
#else
  return &table;
#endif
}
#else
const void *credence_test_table(void) { return &table; }
#endif

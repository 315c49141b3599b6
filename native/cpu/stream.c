/* Streams: running plans. On a CPU a submission is complete when the call returns. */
#include "device.h"

int32_t cr_stream_open(credence_device *device, credence_stream **out, credence_error *err) {
  if (device == NULL || out == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "stream_open: null argument");
  *out = NULL;
  int32_t status = cr_device_alive(device, err);
  if (status != CREDENCE_OK) return status;
  cpu_stream *s = cr_alloc(device, sizeof *s, "a stream", err);
  if (s == NULL) return CREDENCE_OUT_OF_MEMORY;
  const cpu_device *cpu = (const cpu_device *)device;
  s->ctx = (cr_ctx){
      .pool = cpu->pool, .threads = device->threads, .blas_panels = cpu->blas_panels, .cancel = &s->base.cancel};
  s->base.device = device;
  s->opened_at = cr_now();
  cr_device_retain(device);
  *out = &s->base;
  return CREDENCE_OK;
}

void cr_stream_close(credence_stream *s) {
  if (s == NULL) return;
  cr_bindings_free(s);
  cr_free(((cpu_stream *)s)->ctx.scratch);
  cr_device_release(s->device);
  cr_free(s);
}

int32_t cr_stream_sync(credence_stream *s, credence_error *err) {
  if (s == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "stream_sync: null stream");
  return cr_device_alive(s->device, err);
}

int32_t cr_stream_clock(credence_stream *s, uint64_t *nanoseconds, credence_error *err) {
  if (s == NULL || nanoseconds == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "stream_clock: null argument");
  *nanoseconds = cr_now() - ((const cpu_stream *)s)->opened_at;
  return CREDENCE_OK;
}

static int32_t grow_scratch(cpu_stream *s, size_t bytes, credence_error *err) {
  char *scratch = cr_alloc(s->base.device, bytes, "the stream's scratch", err);
  if (scratch == NULL) return CREDENCE_OUT_OF_MEMORY;
  cr_free(s->ctx.scratch);
  s->ctx.scratch = scratch;
  s->scratch_bytes = bytes;
  return CREDENCE_OK;
}

#ifdef CREDENCE_FAULTS
/* Faults that a test asked for: before op k. */
static int32_t inject(credence_stream *s, uint64_t tag, uint32_t k, credence_error *err) {
  cr_faults *faults = &s->device->faults;
  if (cr_fault(&faults->cancel)) cr_stream_cancel(s, tag);
  if (cr_fault(&faults->lost)) {
    atomic_store(&s->device->lost, 1);
    return cr_device_alive(s->device, err);
  }
  if (cr_fault(&faults->op)) return cr_fail(err, CREDENCE_FAULT, "op %u failed (injected)", k);
  return CREDENCE_OK;
}
#endif

static int32_t run(cpu_stream *s, const cr_binding *b, const credence_plan *p, credence_error *err) {
  cr_ctx *ctx = &s->ctx;
  cr_clear(err);
  for (uint32_t k = 0; k < p->n_ops; k++) {
    const cr_step *step = &b->steps[k];
#ifdef CREDENCE_FAULTS
    int32_t injected = inject(&s->base, ctx->tag, k, err);
    if (injected != CREDENCE_OK) return injected;
#endif
    if (cr_cancelled(ctx)) {
      cr_fail(err, CREDENCE_CANCELLED, "cancelled");
      return cr_name_op(k, p->ops[k].row->opcode, CREDENCE_CANCELLED, err);
    }
    ctx->scratch_shared = step->scratch_shared;
    ctx->scratch_per_thread = step->scratch_per_thread;
    int32_t status = step->run(&step->call, ctx, err);
    if (__builtin_expect(status != CREDENCE_OK, 0)) return cr_name_op(k, p->ops[k].row->opcode, status, err);
  }
  return CREDENCE_OK;
}

int32_t cr_stream_submit(credence_stream *s, credence_plan *p, uint64_t tag, const credence_slot *slots,
                         uint32_t n_slots, const int64_t *iargs, uint32_t n_iargs, const double *fargs,
                         uint32_t n_fargs, credence_error *err) {
  int32_t status;
  const cr_binding *b = cr_bind(s, p, tag, slots, n_slots, iargs, n_iargs, fargs, n_fargs, &status, err);
  if (b == NULL) return status;
  cpu_stream *cpu = (cpu_stream *)s;
  if (p->scratch > cpu->scratch_bytes && (status = grow_scratch(cpu, p->scratch, err)) != CREDENCE_OK) return status;
  s->last_tag = cpu->ctx.tag = tag;
  const uint32_t state = cr_float_default();
  status = run(cpu, b, p, err);
  cr_float_restore(state);
  return status;
}

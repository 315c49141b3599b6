/* Submissions resolved. A stream keeps the plans it ran last with tensors resolved to addresses and attributes to
 * values (a binding). A submission that binds the same memory and passes the same integers, as a training or decoding
 * loop does, then only refreshes what an argument changes. */
#include <time.h>

#include "core.h"

uint64_t cr_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void cr_stream_cancel(credence_stream *s, uint64_t tag) {
  if (s == NULL) return;
  uint64_t now = atomic_load_explicit(&s->cancel, memory_order_relaxed);
  while (now < tag &&
         !atomic_compare_exchange_weak_explicit(&s->cancel, &now, tag, memory_order_relaxed, memory_order_relaxed)) {
  }
}

static cr_binding *new_binding(credence_device *device, const credence_plan *p, credence_error *err) {
  size_t size = 0;
  if (!cr_size_add(&size, 1, sizeof(cr_binding)) || !cr_size_add(&size, p->n_slots, sizeof(char *)) ||
      !cr_size_add(&size, p->n_iargs, sizeof(int64_t)) || !cr_size_add(&size, p->n_tensors, sizeof(cr_tensor)) ||
      !cr_size_add(&size, p->n_ops, sizeof(cr_step)) || !cr_size_add(&size, p->n_i, sizeof(int64_t)) ||
      !cr_size_add(&size, p->n_f, sizeof(double))) {
    cr_fail(err, CREDENCE_OUT_OF_MEMORY, "no memory for a submission: its size overflows");
    return NULL;
  }
  char *at = cr_alloc(device, size, "a submission", err);
  if (at == NULL) return NULL;
  cr_binding *b = cr_take(&at, 1, sizeof *b);
  b->base = cr_take(&at, p->n_slots, sizeof *b->base);
  b->iargs = cr_take(&at, p->n_iargs, sizeof *b->iargs);
  b->tensors = cr_take(&at, p->n_tensors, sizeof *b->tensors);
  b->steps = cr_take(&at, p->n_ops, sizeof *b->steps);
  b->i = cr_take(&at, p->n_i, sizeof *b->i);
  b->f = cr_take(&at, p->n_f, sizeof *b->f);
  b->plan_id = p->id;
  for (uint32_t k = 0; k < p->n_ops; k++) {
    const cr_plan_op *op = &p->ops[k];
    const cr_tensor *t = b->tensors + op->first_tensor;
    b->steps[k] = (cr_step){.run = op->row->run,
                            .scratch_shared = op->scratch_shared,
                            .scratch_per_thread = op->scratch_per_thread,
                            .call = {.in = t,
                                     .out = t + op->n_in,
                                     .inout = t + op->n_in + op->n_out,
                                     .i = b->i + op->first_i,
                                     .f = b->f + op->first_f,
                                     .n_in = op->n_in,
                                     .n_out = op->n_out,
                                     .n_inout = op->n_inout,
                                     .n_i = op->n_i,
                                     .n_f = op->n_f}};
  }
  for (uint32_t k = 0; k < p->n_i; k++) b->i[k] = p->i[k].value;
  for (uint32_t k = 0; k < p->n_f; k++) b->f[k] = p->f[k].value;
  return b;
}

static void free_binding(cr_binding *b) {
  if (b != NULL && b->detach != NULL) b->detach(b->attached);
  cr_free(b);
}

void cr_bindings_free(credence_stream *s) {
  for (int32_t k = 0; k < CR_BINDINGS; k++) free_binding(s->bindings[k]);
}

/* The stream's binding of a plan; a new one takes the place of the one unused for longest. */
static cr_binding *find_binding(credence_stream *s, const credence_plan *p, credence_error *err) {
  int32_t oldest = 0;
  for (int32_t k = 0; k < CR_BINDINGS; k++) {
    cr_binding *b = s->bindings[k];
    if (b != NULL && b->plan_id == p->id) {
      b->used = ++s->uses;
      return s->current = b;
    }
    if (s->bindings[oldest] != NULL && (b == NULL || b->used < s->bindings[oldest]->used)) oldest = k;
  }
  cr_binding *b = new_binding(s->device, p, err);
  if (b == NULL) return NULL;
  free_binding(s->bindings[oldest]);
  s->bindings[oldest] = b;
  b->used = ++s->uses;
  return s->current = b;
}

static int32_t bad_slot(const credence_plan *p, const credence_stream *s, const credence_slot *slots, uint32_t k,
                        credence_error *err) {
  const credence_slot *slot = &slots[k];
  if (slot->buffer == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "submit: slot %u has no buffer", k);
  if (slot->buffer->device != s->device)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "submit: slot %u has memory of another device", k);
  if (p->slots[k].written && slot->buffer->read_only)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "submit: the plan writes to slot %u, which is read-only memory", k);
  if (slot->size < p->slots[k].bytes)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "submit: slot %u has %llu bytes, the plan needs %llu", k,
                   (unsigned long long)slot->size, (unsigned long long)p->slots[k].bytes);
  return cr_fail(
      err, CREDENCE_INVALID_ARGUMENT, "submit: slot %u, %llu bytes at %llu, does not lie in a buffer of %llu", k,
      (unsigned long long)slot->size, (unsigned long long)slot->offset, (unsigned long long)slot->buffer->bytes);
}

/* What cr_call.dense says of a call whose tensors are resolved. */
static int64_t dense_elements(const cr_call *call) {
  const cr_tensor *t = call->in; /* the others follow */
  const uint32_t n = call->n_in + call->n_out + call->n_inout;
  int64_t elements = 1;
  if (n == 0) return -1;
  for (uint32_t a = 0; a < n; a++) {
    int64_t step = (int64_t)cr_dtype_size(t[a].dtype), size = step;
    if (size == 0 || t[a].ndim != t[0].ndim) return -1;
    for (int32_t k = t[a].ndim - 1; k >= 0; k--) {
      if (t[a].dim[k] != t[0].dim[k] || (t[a].stride[k] != step && t[a].dim[k] != 1)) return -1;
      step *= t[a].dim[k];
    }
    elements = step / size;
  }
  return elements;
}

/* Binds other memory: proves alignment and that no slot that is written shares memory with another, then resolves all.
 */
static int32_t rebind(cr_binding *b, const credence_plan *p, const credence_slot *slots, const int64_t *iargs,
                      credence_error *err) {
  b->resolved = false;
  for (uint32_t k = 0; k < p->n_slots; k++) {
    const uintptr_t at = (uintptr_t)(slots[k].buffer->data + slots[k].offset);
    if (at % p->slots[k].align != 0)
      return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "submit: the memory of slot %u is not aligned to %u bytes", k,
                     p->slots[k].align);
    for (uint32_t j = 0; j < k; j++) {
      const uintptr_t other = (uintptr_t)b->base[j];
      const uint64_t bytes = p->slots[k].bytes, others = p->slots[j].bytes;
      if ((p->slots[k].written || p->slots[j].written) && bytes > 0 && others > 0 && at < other + others &&
          other < at + bytes)
        return cr_fail(err, CREDENCE_INVALID_ARGUMENT,
                       "submit: slots %u and %u share memory, and the plan writes there", j, k);
    }
    b->base[k] = slots[k].buffer->data + slots[k].offset;
  }
  for (uint32_t k = 0; k < p->n_tensors; k++) {
    cr_resolve_shape(&p->tensors[k], iargs, &b->tensors[k]);
    b->tensors[k].data = b->base[p->tensors[k].slot] + cr_place(&p->tensors[k], iargs);
  }
  for (uint32_t k = 0; k < p->n_ops; k++) b->steps[k].call.dense = dense_elements(&b->steps[k].call);
  return CREDENCE_OK;
}

static int32_t check_integers(const credence_plan *p, const int64_t *iargs, credence_error *err) {
  for (uint32_t k = 0; k < p->n_iargs; k++)
    if (iargs[k] < p->iarg_min[k] || iargs[k] > p->iarg_max[k])
      return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "submit: argument %u is %lld, outside %lld to %lld", k,
                     (long long)iargs[k], (long long)p->iarg_min[k], (long long)p->iarg_max[k]);
  return CREDENCE_OK;
}

/* Resolves what depends on the integer arguments. */
static int32_t apply_integers(const credence_device *device, cr_binding *b, const credence_plan *p,
                              const int64_t *iargs, credence_error *err) {
  b->resolved = false;
  for (uint32_t k = 0; k < p->n_iargs; k++) b->iargs[k] = iargs[k];
  for (uint32_t n = 0; n < p->n_moving; n++) {
    const credence_tensor *t = &p->tensors[p->moving[n]];
    cr_tensor *out = &b->tensors[p->moving[n]];
    out->data = b->base[t->slot] + cr_place(t, iargs);
    for (int32_t k = 0; k < t->ndim; k++) out->dim[k] = cr_value_at(t->dim[k], iargs);
  }
  for (uint32_t n = 0; n < p->n_reshaped; n++) {
    cr_call *call = &b->steps[p->reshaped[n]].call;
    call->dense = dense_elements(call);
  }
  for (uint32_t n = 0; n < p->n_i_args; n++) b->i[p->i_args[n]] = cr_value_at(p->i[p->i_args[n]], iargs);
  for (uint32_t n = 0; n < p->n_recheck; n++) {
    const uint32_t k = p->recheck[n];
    cr_scratch scratch;
    cr_clear(err);
    int32_t status = cr_ask_op(p->ops[k].row, p->ops[k].rule, &b->steps[k].call, device->threads, &scratch, err);
    if (status != CREDENCE_OK) return cr_name_op(k, p->ops[k].row->opcode, status, err);
    if (scratch.shared > p->ops[k].scratch_shared || scratch.per_thread > p->ops[k].scratch_per_thread)
      return cr_name_op(k, p->ops[k].row->opcode,
                        cr_fail(err, CREDENCE_INTERNAL, "it wants more scratch than at the arguments' maxima"), err);
  }
  return CREDENCE_OK;
}

/* Brings the binding in line with a submission whose counts are right. */
static int32_t bind(credence_stream *s, cr_binding *b, const credence_plan *p, const credence_slot *slots,
                    const int64_t *iargs, const double *fargs, credence_error *err) {
  bool moved = !b->resolved, changed = !b->resolved;
  for (uint32_t k = 0; k < p->n_slots; k++) {
    const credence_buffer *buffer = slots[k].buffer;
    if (buffer == NULL || buffer->device != s->device || (p->slots[k].written && buffer->read_only) ||
        slots[k].size < p->slots[k].bytes || slots[k].offset > buffer->bytes ||
        slots[k].size > buffer->bytes - slots[k].offset)
      return bad_slot(p, s, slots, k, err);
    moved |= buffer->data + slots[k].offset != b->base[k];
  }
  for (uint32_t k = 0; k < p->n_iargs; k++) changed |= iargs[k] != b->iargs[k];
  if (moved || changed) {
    int32_t status = CREDENCE_OK;
    if (changed) status = check_integers(p, iargs, err);
    if (status == CREDENCE_OK && moved) status = rebind(b, p, slots, iargs, err);
    if (status == CREDENCE_OK && changed) status = apply_integers(s->device, b, p, iargs, err);
    if (status != CREDENCE_OK) return status;
    b->resolved = true;
    b->version++;
  }
  for (uint32_t n = 0; n < p->n_f_args; n++) {
    const uint32_t k = p->f_args[n];
    b->f[k] = cr_scalar_at(p->f[k], fargs);
  }
  return CREDENCE_OK;
}

/* Handles, tag and counts: all that does not depend on what was bound before. */
static int32_t check_submission(const credence_stream *s, const credence_plan *p, uint64_t tag,
                                const credence_slot *slots, uint32_t n_slots, const int64_t *iargs, uint32_t n_iargs,
                                const double *fargs, uint32_t n_fargs, credence_error *err) {
  if (s == NULL || p == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "submit: null stream or plan");
  if (p->device != s->device)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "submit: plan and stream belong to different devices");
  if (tag <= s->last_tag)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "submit: tag %llu after %llu; tags must rise",
                   (unsigned long long)tag, (unsigned long long)s->last_tag);
  if (n_slots != p->n_slots || n_iargs != p->n_iargs || n_fargs != p->n_fargs)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT,
                   "submit: %u slots, %u integers and %u scalars given, the plan has %u, %u and %u", n_slots, n_iargs,
                   n_fargs, p->n_slots, p->n_iargs, p->n_fargs);
  if ((n_slots > 0 && slots == NULL) || (n_iargs > 0 && iargs == NULL) || (n_fargs > 0 && fargs == NULL))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "submit: a list is null though its count is not 0");
  return cr_device_alive(s->device, err);
}

cr_binding *cr_bind(credence_stream *s, const credence_plan *p, uint64_t tag, const credence_slot *slots,
                    uint32_t n_slots, const int64_t *iargs, uint32_t n_iargs, const double *fargs, uint32_t n_fargs,
                    int32_t *status, credence_error *err) {
  *status = check_submission(s, p, tag, slots, n_slots, iargs, n_iargs, fargs, n_fargs, err);
  if (*status != CREDENCE_OK) return NULL;
  cr_binding *b = s->current;
  if ((b == NULL || b->plan_id != p->id) && (b = find_binding(s, p, err)) == NULL) {
    *status = CREDENCE_OUT_OF_MEMORY;
    return NULL;
  }
  *status = bind(s, b, p, slots, iargs, fargs, err);
  return *status == CREDENCE_OK ? b : NULL;
}

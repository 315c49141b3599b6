/* Plans: a proven copy of a description, with what depends on arguments listed apart. */
#include <string.h>

#include "core.h"

static _Atomic uint64_t next_plan_id = 1;

void cr_resolve_shape(const credence_tensor *t, const int64_t *iargs, cr_tensor *out) {
  out->dtype = t->dtype;
  out->ndim = t->ndim;
  for (int32_t k = 0; k < CREDENCE_MAX_DIMS; k++) {
    out->dim[k] = k < t->ndim ? cr_value_at(t->dim[k], iargs) : 1;
    out->stride[k] = k < t->ndim ? t->stride[k] : 0;
  }
}

int32_t cr_ask_op(const cr_op_row *row, cr_rule_fn rule, const cr_call *call, int32_t threads, cr_scratch *scratch,
                  credence_error *err) {
  *scratch = (cr_scratch){0, 0};
  int32_t status = rule(call, err);
  if (status == CREDENCE_OK && row->scratch != NULL) row->scratch(call, threads, scratch);
  return status;
}

/* Asks about op k, with the given arguments (a scalar argument counts as 1; tensors have no memory yet), and
 * keeps the most scratch it ever wanted in *most. */
static int32_t check_at(const credence_device *device, const credence_plan_desc *d, uint32_t k, const int64_t *iargs,
                        cr_scratch *most, credence_error *err) {
  const credence_op *op = &d->ops[k];
  cr_tensor tensors[CR_MAX_TENSORS];
  int64_t i[CR_MAX_ATTRIBUTES];
  double f[CR_MAX_ATTRIBUTES];
  const uint32_t n = op->n_in + op->n_out + op->n_inout;
  for (uint32_t a = 0; a < n; a++) {
    cr_resolve_shape(&d->tensors[op->first_tensor + a], iargs, &tensors[a]);
    tensors[a].data = NULL;
  }
  for (uint32_t a = 0; a < op->n_i; a++) i[a] = cr_value_at(d->i[op->first_i + a], iargs);
  for (uint32_t a = 0; a < op->n_f; a++) f[a] = d->f[op->first_f + a].value;
  const cr_call call = {.in = tensors,
                        .out = tensors + op->n_in,
                        .inout = tensors + op->n_in + op->n_out,
                        .i = i,
                        .f = f,
                        .n_in = op->n_in,
                        .n_out = op->n_out,
                        .n_inout = op->n_inout,
                        .n_i = op->n_i,
                        .n_f = op->n_f};
  cr_scratch scratch;
  cr_clear(err);
  int32_t status = cr_ask_op(device->rows[op->opcode], cr_op_rule(op->opcode), &call, device->threads, &scratch, err);
  if (status != CREDENCE_OK) return cr_name_op(k, op->opcode, status, err);
  if (scratch.shared > most->shared) most->shared = scratch.shared;
  if (scratch.per_thread > most->per_thread) most->per_thread = scratch.per_thread;
  return CREDENCE_OK;
}

/* Proves op k. Its rule is asked with every argument at its maximum and then with each argument alone one lower:
 * dimensions are multiples of one argument, so shapes that fit in both cases fit for all arguments. */
static int32_t prove_op(const credence_device *device, const credence_plan_desc *d, uint32_t k, int64_t *iargs,
                        cr_scratch *most, credence_error *err) {
  int32_t status = cr_validate_op(d, k, err);
  if (status != CREDENCE_OK) return status;
  const cr_op_row *row = device->rows[d->ops[k].opcode];
  if (row == NULL)
    return cr_fail(err, CREDENCE_UNSUPPORTED, "op %u, %s: the %s backend does not have it yet", k,
                   cr_op_name(d->ops[k].opcode), device->backend);
  *most = (cr_scratch){0, 0};
  for (uint32_t a = 0; a < d->n_iargs; a++) iargs[a] = d->iarg_max[a];
  status = check_at(device, d, k, iargs, most, err);
  for (uint32_t a = 0; a < d->n_iargs && status == CREDENCE_OK; a++) {
    if (d->iarg_max[a] <= 1 || d->iarg_max[a] == d->iarg_min[a]) continue;
    iargs[a] = d->iarg_max[a] - 1;
    status = check_at(device, d, k, iargs, most, err);
    iargs[a] = d->iarg_max[a];
  }
  return status;
}

int32_t cr_op_supported(credence_device *device, const credence_plan_desc *d, uint32_t k, credence_error *err) {
  if (device == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "op_supported: null device");
  int32_t status = cr_validate_arguments(d, err);
  if (status != CREDENCE_OK) return status;
  if (k >= d->n_ops) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "op_supported: op %u of %u", k, d->n_ops);
  int64_t *iargs = cr_alloc(device, d->n_iargs * sizeof *iargs, "arguments", err);
  if (iargs == NULL) return CREDENCE_OUT_OF_MEMORY;
  cr_scratch most;
  status = prove_op(device, d, k, iargs, &most, err);
  cr_free(iargs);
  return status;
}

static bool has_argument(const credence_tensor *t) {
  bool any = t->offset.arg >= 0;
  for (int32_t k = 0; k < t->ndim; k++) any = any || t->dim[k].arg >= 0;
  return any;
}

/* One block of memory for the plan and its tables. */
static credence_plan *plan_memory(credence_device *device, const credence_plan_desc *d, credence_error *err) {
  size_t size = 0;
  bool fits = cr_size_add(&size, 1, sizeof(credence_plan)) && cr_size_add(&size, d->n_ops, sizeof(cr_plan_op)) &&
              cr_size_add(&size, d->n_tensors, sizeof *d->tensors) && cr_size_add(&size, d->n_i, sizeof *d->i) &&
              cr_size_add(&size, d->n_f, sizeof *d->f) && cr_size_add(&size, d->n_iargs, sizeof(int64_t)) &&
              cr_size_add(&size, d->n_iargs, sizeof(int64_t)) && cr_size_add(&size, d->n_slots, sizeof(cr_plan_slot)) &&
              cr_size_add(&size, d->n_tensors, sizeof(uint32_t)) && cr_size_add(&size, d->n_i, sizeof(uint32_t)) &&
              cr_size_add(&size, d->n_f, sizeof(uint32_t)) && cr_size_add(&size, d->n_ops, sizeof(uint32_t)) &&
              cr_size_add(&size, d->n_ops, sizeof(uint32_t));
  char *at = fits ? cr_alloc(device, size, "a plan", err) : NULL;
  if (at == NULL) {
    if (!fits) cr_fail(err, CREDENCE_OUT_OF_MEMORY, "no memory for a plan: its size overflows");
    return NULL;
  }
  credence_plan *p = cr_take(&at, 1, sizeof *p);
  p->ops = cr_take(&at, d->n_ops, sizeof *p->ops);
  p->tensors = cr_take(&at, d->n_tensors, sizeof *p->tensors);
  p->i = cr_take(&at, d->n_i, sizeof *p->i);
  p->f = cr_take(&at, d->n_f, sizeof *p->f);
  p->iarg_min = cr_take(&at, d->n_iargs, sizeof *p->iarg_min);
  p->iarg_max = cr_take(&at, d->n_iargs, sizeof *p->iarg_max);
  p->slots = cr_take(&at, d->n_slots, sizeof *p->slots);
  p->moving = cr_take(&at, d->n_tensors, sizeof *p->moving);
  p->i_args = cr_take(&at, d->n_i, sizeof *p->i_args);
  p->f_args = cr_take(&at, d->n_f, sizeof *p->f_args);
  p->reshaped = cr_take(&at, d->n_ops, sizeof *p->reshaped);
  p->recheck = cr_take(&at, d->n_ops, sizeof *p->recheck);
  return p;
}

static void copy_table(void *to, const void *from, size_t n, size_t size) {
  if (n > 0) memcpy(to, from, n * size);
}

static void copy_tables(credence_plan *p, const credence_plan_desc *d) {
  p->n_ops = d->n_ops;
  p->n_tensors = d->n_tensors;
  p->n_i = d->n_i;
  p->n_f = d->n_f;
  p->n_slots = d->n_slots;
  p->n_iargs = d->n_iargs;
  p->n_fargs = d->n_fargs;
  copy_table(p->tensors, d->tensors, d->n_tensors, sizeof *d->tensors);
  copy_table(p->i, d->i, d->n_i, sizeof *d->i);
  copy_table(p->f, d->f, d->n_f, sizeof *d->f);
  copy_table(p->iarg_min, d->iarg_min, d->n_iargs, sizeof *d->iarg_min);
  copy_table(p->iarg_max, d->iarg_max, d->n_iargs, sizeof *d->iarg_max);
  for (uint32_t k = 0; k < d->n_slots; k++) p->slots[k] = (cr_plan_slot){.bytes = d->slot_bytes[k], .align = 1};
  for (uint32_t k = 0; k < d->n_tensors; k++) {
    uint32_t align = (uint32_t)cr_dtype_align(d->tensors[k].dtype);
    cr_plan_slot *slot = &p->slots[d->tensors[k].slot];
    if (align > slot->align) slot->align = align;
    if (has_argument(&d->tensors[k])) p->moving[p->n_moving++] = k;
  }
  for (uint32_t k = 0; k < d->n_i; k++)
    if (d->i[k].arg >= 0) p->i_args[p->n_i_args++] = k;
  for (uint32_t k = 0; k < d->n_f; k++)
    if (d->f[k].arg >= 0) p->f_args[p->n_f_args++] = k;
}

static int32_t add_op(credence_plan *p, const credence_device *device, const credence_plan_desc *d, uint32_t k,
                      const cr_scratch *scratch, credence_error *err) {
  const credence_op *op = &d->ops[k];
  size_t shared = 0, per_thread = 0, all = 0;
  if (!cr_size_add(&shared, scratch->shared, 1) || !cr_size_add(&per_thread, scratch->per_thread, 1) ||
      !cr_size_add(&all, (uint64_t)device->threads, per_thread) || __builtin_add_overflow(all, shared, &all))
    return cr_fail(err, CREDENCE_OUT_OF_MEMORY, "op %u, %s: the scratch memory overflows", k, cr_op_name(op->opcode));
  p->ops[k] = (cr_plan_op){.row = device->rows[op->opcode],
                           .rule = cr_op_rule(op->opcode),
                           .first_tensor = op->first_tensor,
                           .n_in = op->n_in,
                           .n_out = op->n_out,
                           .n_inout = op->n_inout,
                           .first_i = op->first_i,
                           .n_i = op->n_i,
                           .first_f = op->first_f,
                           .n_f = op->n_f,
                           .scratch_shared = shared,
                           .scratch_per_thread = per_thread};
  if (all > p->scratch) p->scratch = all;
  for (uint32_t a = 0; a < op->n_out + op->n_inout; a++)
    p->slots[d->tensors[op->first_tensor + op->n_in + a].slot].written = true;
  bool reshaped = false, recheck = false;
  for (uint32_t a = 0; a < op->n_in + op->n_out + op->n_inout; a++)
    reshaped = reshaped || has_argument(&d->tensors[op->first_tensor + a]);
  for (uint32_t a = 0; a < op->n_i; a++) recheck = recheck || d->i[op->first_i + a].arg >= 0;
  if (reshaped) p->reshaped[p->n_reshaped++] = k;
  if (recheck) p->recheck[p->n_recheck++] = k;
  return CREDENCE_OK;
}

int32_t cr_plan_open(credence_device *device, const credence_plan_desc *d, credence_plan **out, credence_error *err) {
  if (device == NULL || out == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "plan_open: null argument");
  *out = NULL;
  int32_t status = cr_device_alive(device, err);
  if (status == CREDENCE_OK) status = cr_validate_arguments(d, err);
  if (status == CREDENCE_OK) status = cr_validate_tables(d, err);
  if (status != CREDENCE_OK) return status;
  credence_plan *p = plan_memory(device, d, err);
  int64_t *iargs = p == NULL ? NULL : cr_alloc(device, d->n_iargs * sizeof *iargs, "arguments", err);
  if (iargs == NULL) {
    cr_free(p);
    return CREDENCE_OUT_OF_MEMORY;
  }
  atomic_store(&device->planned, 1);
  copy_tables(p, d);
  for (uint32_t k = 0; k < d->n_ops && status == CREDENCE_OK; k++) {
    cr_scratch scratch;
    status = prove_op(device, d, k, iargs, &scratch, err);
    if (status == CREDENCE_OK) status = add_op(p, device, d, k, &scratch, err);
  }
  cr_free(iargs);
  if (status != CREDENCE_OK) {
    cr_free(p);
    return status;
  }
  p->id = atomic_fetch_add(&next_plan_id, 1);
  p->device = device;
  cr_device_retain(device);
  *out = p;
  return CREDENCE_OK;
}

void cr_plan_close(credence_plan *p) {
  if (p == NULL) return;
  cr_device_release(p->device);
  cr_free(p);
}

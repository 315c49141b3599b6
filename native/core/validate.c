/* Proofs about a plan's description. A description comes from the host as it is: every number in it is suspect. What is
 * proven here is what the kernels rely on: whatever the arguments, an element of a tensor lies in the tensor's slot,
 * and what an op writes overlaps nothing else it uses. */
#include "core.h"

#define MAX_ELEMENTS (INT64_C(1) << 48) /* of a tensor, repetitions by a stride of 0 included */

int32_t cr_dtype_align(int32_t dtype) {
  if (dtype == CREDENCE_Q8_0 || dtype == CREDENCE_Q4_0) return 2; /* a block starts with its f16 scale */
  return (int32_t)cr_dtype_size(dtype);
}

static bool is_block(int32_t dtype) { return dtype == CREDENCE_Q8_0 || dtype == CREDENCE_Q4_0; }

/* Least and greatest value over all arguments; false if it names no argument or overflows. */
static bool value_range(const credence_plan_desc *d, credence_value v, int64_t *lo, int64_t *hi) {
  if (v.reserved != 0) return false;
  if (v.arg < 0) {
    *lo = *hi = v.value;
    return true;
  }
  int64_t a, b;
  if ((uint32_t)v.arg >= d->n_iargs || __builtin_mul_overflow(v.value, d->iarg_min[v.arg], &a) ||
      __builtin_mul_overflow(v.value, d->iarg_max[v.arg], &b))
    return false;
  *lo = a < b ? a : b;
  *hi = a < b ? b : a;
  return true;
}

/* A tensor over all arguments. Elements lie in [lo, hi) bytes of the slot. */
typedef struct extent {
  int64_t lo, hi;
  int64_t dim[CREDENCE_MAX_DIMS]; /* greatest */
  int64_t element;                /* bytes without a stride of their own: an element, or a row of blocks */
  int32_t strided;                /* dimensions that have a stride */
  bool empty;
} extent;

/* Fills *e for a tensor whose numbers may overflow; false if they do. */
static bool measure(const credence_plan_desc *d, const credence_tensor *t, extent *e) {
  int64_t lo, hi, min, count = 1;
  *e = (extent){.strided = t->ndim, .element = (int64_t)cr_dtype_size(t->dtype)};
  for (int32_t k = 0; k < t->ndim; k++) {
    if (t->stride[k] == INT64_MIN) return false; /* has no magnitude */
    if (!value_range(d, t->dim[k], &min, &e->dim[k]) || min < 0) return false;
    if (e->dim[k] == 0) e->empty = true;
    if (__builtin_mul_overflow(count, e->dim[k] == 0 ? 1 : e->dim[k], &count) || count > MAX_ELEMENTS) return false;
  }
  if (is_block(t->dtype)) {
    if (t->ndim < 1 || t->dim[t->ndim - 1].value % 32 != 0) return false;
    e->strided = t->ndim - 1;
    e->element = e->dim[t->ndim - 1] / 32 * (t->dtype == CREDENCE_Q8_0 ? 34 : 18);
  }
  if (!value_range(d, t->offset, &lo, &hi) || __builtin_add_overflow(lo, t->base, &lo) ||
      __builtin_add_overflow(hi, t->base, &hi))
    return false;
  for (int32_t k = 0; k < e->strided && !e->empty; k++) {
    int64_t reach, *end = t->stride[k] < 0 ? &lo : &hi;
    if (__builtin_mul_overflow(e->dim[k] - 1, t->stride[k], &reach) || __builtin_add_overflow(*end, reach, end))
      return false;
  }
  if (!e->empty && __builtin_add_overflow(hi, e->element, &hi)) return false;
  e->lo = lo;
  e->hi = hi;
  return true;
}

static int32_t check_tensor(const credence_plan_desc *d, uint32_t n, credence_error *err) {
  const credence_tensor *t = &d->tensors[n];
  const int32_t align = cr_dtype_align(t->dtype);
  if (align == 0) return cr_fail(err, CREDENCE_UNSUPPORTED, "plan: tensor %u has the unknown type %d", n, t->dtype);
  if (t->slot < 0 || (uint32_t)t->slot >= d->n_slots)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "plan: tensor %u lies in slot %d of %u", n, t->slot, d->n_slots);
  if (t->ndim < 0 || t->ndim > CREDENCE_MAX_DIMS)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "plan: tensor %u has %d dimensions; 0 to %d are possible", n,
                   t->ndim, CREDENCE_MAX_DIMS);
  if (t->flags != 0)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "plan: tensor %u has unknown flags %#x", n, (unsigned)t->flags);
  extent e;
  if (!measure(d, t, &e))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT,
                   "plan: the size or place of tensor %u is negative, overflows, is no whole number of blocks or names "
                   "no argument",
                   n);
  if (e.lo < 0 || (uint64_t)e.hi > d->slot_bytes[t->slot])
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT,
                   "plan: tensor %u reaches bytes %lld to %lld of slot %d, which has %llu", n, (long long)e.lo,
                   (long long)e.hi, t->slot, (unsigned long long)d->slot_bytes[t->slot]);
  bool aligned = t->base % align == 0 && t->offset.value % align == 0;
  for (int32_t k = 0; k < e.strided; k++) aligned = aligned && t->stride[k] % align == 0;
  if (!aligned)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT,
                   "plan: base, offset and strides of tensor %u must be multiples of %d", n, align);
  return CREDENCE_OK;
}

int32_t cr_validate_arguments(const credence_plan_desc *d, credence_error *err) {
  if (d == NULL) return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "plan: null description");
  if (d->struct_size < sizeof *d)
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "plan: struct_size is %u, %zu is needed", d->struct_size, sizeof *d);
  if ((d->n_ops > 0 && d->ops == NULL) || (d->n_tensors > 0 && d->tensors == NULL) || (d->n_i > 0 && d->i == NULL) ||
      (d->n_f > 0 && d->f == NULL) || (d->n_slots > 0 && d->slot_bytes == NULL) ||
      (d->n_iargs > 0 && (d->iarg_min == NULL || d->iarg_max == NULL)))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "plan: a table is null though its count is not 0");
  for (uint32_t k = 0; k < d->n_iargs; k++)
    if (d->iarg_min[k] > d->iarg_max[k])
      return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "plan: argument %u ranges from %lld to %lld", k,
                     (long long)d->iarg_min[k], (long long)d->iarg_max[k]);
  for (uint32_t k = 0; k < d->n_slots; k++)
    if (d->slot_bytes[k] > PTRDIFF_MAX)
      return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "plan: slot %u has %llu bytes", k,
                     (unsigned long long)d->slot_bytes[k]);
  return CREDENCE_OK;
}

/* A run of entries of the three tables. */
static int32_t check_entries(const credence_plan_desc *d, uint32_t tensor, uint32_t n_tensors, uint32_t i, uint32_t n_i,
                             uint32_t f, uint32_t n_f, credence_error *err) {
  int64_t lo, hi;
  int32_t status = CREDENCE_OK;
  for (uint32_t k = i; k < i + n_i; k++)
    if (!value_range(d, d->i[k], &lo, &hi))
      return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "plan: integer attribute %u overflows or names no argument", k);
  for (uint32_t k = f; k < f + n_f; k++)
    if (d->f[k].reserved != 0 || (d->f[k].arg >= 0 && (uint32_t)d->f[k].arg >= d->n_fargs))
      return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "plan: scalar attribute %u names argument %d of %u", k,
                     d->f[k].arg, d->n_fargs);
  for (uint32_t k = tensor; k < tensor + n_tensors && status == CREDENCE_OK; k++) status = check_tensor(d, k, err);
  return status;
}

int32_t cr_validate_tables(const credence_plan_desc *d, credence_error *err) {
  return check_entries(d, 0, d->n_tensors, 0, d->n_i, 0, d->n_f, err);
}

static int64_t magnitude(int64_t v) { return v < 0 ? -v : v; }

/* Two elements share memory, as far as this can tell: the strides are not nested. */
static bool overlaps_itself(const credence_tensor *t, const extent *e) {
  if (e->empty) return false;
  bool used[CREDENCE_MAX_DIMS] = {false};
  int64_t reach = e->element;
  for (int32_t round = 0; round < e->strided; round++) { /* dimensions by ascending stride */
    int32_t next = -1;
    for (int32_t k = 0; k < e->strided; k++)
      if (!used[k] && (next < 0 || magnitude(t->stride[k]) < magnitude(t->stride[next]))) next = k;
    used[next] = true;
    if (e->dim[next] == 1) continue;
    if (magnitude(t->stride[next]) < reach) return true;
    reach += (e->dim[next] - 1) * magnitude(t->stride[next]);
  }
  return false;
}

/* Where a tensor lies within each period of s bytes: [start, start + span), on a circle; false if not in one piece. */
static bool residue(const credence_tensor *t, const extent *e, int64_t s, int64_t *start, int64_t *span) {
  if (t->offset.arg >= 0 && t->offset.value % s != 0) return false;
  int64_t from = t->base + (t->offset.arg < 0 ? t->offset.value : 0);
  *span = e->element;
  for (int32_t k = 0; k < e->strided; k++) {
    if (t->stride[k] % s == 0) continue;
    int64_t reach = (e->dim[k] - 1) * t->stride[k];
    if (reach < 0) from += reach;
    *span += magnitude(reach);
  }
  *start = ((from % s) + s) % s;
  return *span <= s;
}

/* The tensors may share memory. Exact where one lies behind the other, and for parts of a common buffer (columns of a
 * matrix); otherwise it errs on the side of yes. */
static bool may_overlap(const credence_tensor *a, const extent *ea, const credence_tensor *b, const extent *eb) {
  if (a->slot != b->slot || ea->empty || eb->empty || ea->hi <= eb->lo || eb->hi <= ea->lo) return false;
  for (int32_t k = 0; k < ea->strided; k++) {
    int64_t s = magnitude(a->stride[k]), start_a, start_b, span_a, span_b;
    if (s == 0 || !residue(a, ea, s, &start_a, &span_a) || !residue(b, eb, s, &start_b, &span_b)) continue;
    if ((start_b - start_a + s) % s >= span_a && (start_a - start_b + s) % s >= span_b && start_a != start_b)
      return false;
  }
  return true;
}

static bool same_value(credence_value a, credence_value b) {
  return a.value == b.value && (a.arg == b.arg || (a.arg < 0 && b.arg < 0));
}

static bool same_memory(const credence_tensor *a, const credence_tensor *b, const extent *e) {
  bool same = a->slot == b->slot && a->dtype == b->dtype && a->ndim == b->ndim && a->base == b->base &&
              same_value(a->offset, b->offset);
  for (int32_t k = 0; same && k < a->ndim; k++)
    same = same_value(a->dim[k], b->dim[k]) && (e->dim[k] <= 1 || a->stride[k] == b->stride[k]);
  return same;
}

static bool range_ok(uint32_t first, uint32_t n, uint32_t size) { return (uint64_t)first + n <= size; }

int32_t cr_validate_op(const credence_plan_desc *d, uint32_t k, credence_error *err) {
  const credence_op *op = &d->ops[k];
  const char *name = cr_op_name(op->opcode);
  if (name == NULL) return cr_fail(err, CREDENCE_UNSUPPORTED, "op %u: opcode %u is unknown", k, op->opcode);
  const uint64_t n = (uint64_t)op->n_in + op->n_out + op->n_inout;
  if (n > CR_MAX_TENSORS || !range_ok(op->first_tensor, (uint32_t)n, d->n_tensors))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "op %u, %s: tensors %u to %llu of %u; at most %d per op", k, name,
                   op->first_tensor, (unsigned long long)(op->first_tensor + n), d->n_tensors, CR_MAX_TENSORS);
  if (op->n_i > CR_MAX_ATTRIBUTES || op->n_f > CR_MAX_ATTRIBUTES || !range_ok(op->first_i, op->n_i, d->n_i) ||
      !range_ok(op->first_f, op->n_f, d->n_f))
    return cr_fail(err, CREDENCE_INVALID_ARGUMENT,
                   "op %u, %s: attributes lie outside the plan's %u integers or %u scalars, or are more than %d", k,
                   name, d->n_i, d->n_f, CR_MAX_ATTRIBUTES);
  int32_t status = check_entries(d, op->first_tensor, (uint32_t)n, op->first_i, op->n_i, op->first_f, op->n_f, err);
  if (status != CREDENCE_OK) return status;
  const credence_tensor *t = &d->tensors[op->first_tensor];
  extent e[CR_MAX_TENSORS];
  for (uint32_t a = 0; a < n; a++) measure(d, &t[a], &e[a]);
  for (uint32_t w = op->n_in; w < n; w++) {
    if (overlaps_itself(&t[w], &e[w]))
      return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "op %u, %s: elements of output %u overlap each other", k, name,
                     w - op->n_in);
    for (uint32_t a = 0; a < w; a++) {
      if (!may_overlap(&t[a], &e[a], &t[w], &e[w])) continue;
      if (a == 0 && op->n_in > 0 && w == op->n_in && op->n_out > 0 && cr_op_in_place(op->opcode) &&
          same_memory(&t[a], &t[w], &e[w]))
        continue;
      return cr_fail(err, CREDENCE_INVALID_ARGUMENT, "op %u, %s: output %u overlaps %s %u in memory", k, name,
                     w - op->n_in, a < op->n_in ? "input" : "output", a < op->n_in ? a : a - op->n_in);
    }
  }
  return CREDENCE_OK;
}
